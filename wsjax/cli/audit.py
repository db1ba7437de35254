"""Audit the generator of a run: membership of its training networks, collapse of its samples.

  wsjax audit runs/demo

Whether a network was in the training set is guessed from its distance to the nearest sample; the
share that is found at a false positive rate of 1 % has an exact interval. The result is written to
audit.json in the run, which the gates of a release look into.
"""

import argparse

from wsjax import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('workdir', metavar='RUN', help='work directory of a run with a generator')
  parser.add_argument('--level', type=float, default=0.01, help='false positive rate')


def run(args: argparse.Namespace) -> int:
  """Audits and prints what was found."""
  from wsjax.governance import audit

  if not 0 < args.level < 1:
    raise ValueError(f'--level is {args.level}; it has to be between 0 and 1.')
  found = audit.audit(args.workdir, level=args.level)
  attack = found['membership']
  names = (f'share of members found at {args.level:g}', 'share of others found')
  for name, stat in zip(
    ('AUROC of membership', *names, 'collapsed samples'),
    (*(attack[key] for key in ('auroc', 'tpr', 'fpr')), found['collapse']),
    strict=True,
  ):
    if stat is None or stat['value'] is None:
      terminal.show_line(f'{name}: not run. {(stat or {}).get("not_run", "")}'.rstrip())
    else:
      bounds = f'[{stat["low"]:.3f}, {stat["high"]:.3f}]'
      terminal.show_line(f'{name}: {stat["value"]:.3f} {bounds}, n = {stat["n"]}')
  return 0
