"""Splits by run: checkpoints of one run are never in both train and test."""

from collections.abc import Iterable, Mapping

import numpy as np

# Networks of 'holdout_audit' are reserved for memorization and privacy audits when a zoo is built;
# they cannot be set aside afterwards.
SPLITS = ('train', 'val', 'test', 'holdout_audit')
# Their names are a list in memory.
_MOST = 10_000_000


def assign(counts: Mapping[str, int], *, seed: int) -> list[str]:
  """Draws one of `SPLITS` for every run (not checkpoint), exactly as many of each as given.

  The count of 'holdout_audit' must be given, if only as 0, so that nobody forgets it.

  Raises:
    ValueError: for an unknown split, a missing 'holdout_audit', a count that is no whole number, or
      no run at all.
  """
  if unknown := sorted(set(counts) - set(SPLITS)):
    raise ValueError(f'zoo.splits has no split {unknown[0]!r}; allowed: {", ".join(SPLITS)}.')
  if 'holdout_audit' not in counts:
    advice = 'which cannot be added later: give the number of runs to reserve, or 0'
    raise ValueError(f'zoo.splits is {dict(counts)} without holdout_audit, {advice}.')
  if any(type(n) is not int or n < 0 for n in counts.values()) or not sum(counts.values()):
    allowed = 'numbers of runs, whole and not negative, not all 0'
    raise ValueError(f'zoo.splits is {dict(counts)}; allowed: {allowed}.')
  if sum(counts.values()) > _MOST:
    raise ValueError(f'zoo.splits is {dict(counts)}; allowed: {_MOST} runs together.')
  names = [split for split in SPLITS for _ in range(counts.get(split, 0))]
  order = np.random.default_rng(seed).permutation(len(names))
  return [names[place] for place in order]


def check(groups: Iterable[str], splits: Iterable[str]) -> None:
  """Raises ValueError, naming the group, unless all checkpoints of a group are in one split."""
  seen = {}
  for group, split in zip(groups, splits, strict=True):
    if seen.setdefault(group, split) != split:
      raise ValueError(
        f'Split group {group!r} is in both {seen[group]!r} and {split!r}; a run has one split.'
      )
