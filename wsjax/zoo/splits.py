"""Splits by run: checkpoints of one run never straddle train and test."""

from collections.abc import Iterable, Mapping

import numpy as np

# Networks of 'holdout_audit' are reserved for memorization and privacy audits when a zoo is built;
# they cannot be set aside afterwards.
SPLITS = ('train', 'val', 'test', 'holdout_audit')


def assign(num_runs: int, counts: Mapping[str, int], *, seed: int) -> list[str]:
  """Draws a split for every run.

  Args:
    num_runs: number of runs (split groups), not of checkpoints.
    counts: split -> number of runs; they add up to `num_runs`. 'holdout_audit' must be there, if
      only as 0, so that nobody forgets it.
    seed: of the draw.

  Returns:
    One of `SPLITS` per run, exactly as many of each as asked for.

  Raises:
    ValueError: for an unknown split, a missing 'holdout_audit', a negative count, or counts that do
      not add up.
  """
  if unknown := sorted(set(counts) - set(SPLITS)):
    raise ValueError(f'Unknown split {unknown[0]!r}; allowed: {", ".join(SPLITS)}.')
  if 'holdout_audit' not in counts:
    raise ValueError(
      "Split counts lack 'holdout_audit'; it cannot be added later, so write "
      f'how many runs to reserve, or 0; got {dict(counts)}.'
    )
  if any(count < 0 for count in counts.values()):
    raise ValueError(f'Split counts must be >= 0; got {dict(counts)}.')
  if sum(counts.values()) != num_runs:
    raise ValueError(
      f'Split counts {dict(counts)} add up to {sum(counts.values())}, not to the {num_runs} runs.'
    )
  names = [split for split in SPLITS for _ in range(counts.get(split, 0))]
  order = np.random.default_rng(seed).permutation(num_runs)
  return [names[place] for place in order]


def check(groups: Iterable[str], splits: Iterable[str]) -> None:
  """Raises if two checkpoints of one group are in different splits.

  Args:
    groups: `split_group` of every checkpoint.
    splits: split of every checkpoint.

  Raises:
    ValueError: naming the first group that straddles two splits.
  """
  seen = {}
  for group, split in zip(groups, splits, strict=True):
    if seen.setdefault(group, split) != split:
      raise ValueError(
        f'Split group {group!r} is in both {seen[group]!r} and {split!r}; a '
        'run must be in one split.'
      )
