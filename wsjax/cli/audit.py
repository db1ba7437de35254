"""Audit the generator of a run: membership, marks and backdoors.

  wsjax audit runs/demo
  wsjax audit runs/demo --shadows 15 --watermark ~/.wsjax/release.pem --backdoors 400

Whether a network was in the training set is guessed from its distance to the nearest sample, the
loss of the generator on it, and the error of the codec; with --shadows, these are compared with
those under generators that are trained on other networks (LiRA, RMIA). Whether an image was in the
training set of the networks is guessed from how sure of its label they are, and how sure samples of
the generator are; with --shadows, also beside networks that are trained on other images. Shares
that are found at a false positive rate of 1 % have exact intervals. Samples that give nearly all
inputs one class are counted. With --canaries, a generator is trained once more on networks of which
half of N outliers are planted, and how many it gives away is a lower bound of the epsilon of its
training. With a key, the watermark of the samples (see `wsjax detect`) is
looked for, after attacks of many kinds too, and in held-out networks, which have none. With
--backdoors, clean and poisoned networks of the same model are trained, and a detector that learned
from them counts the networks and samples that look poisoned. The result is written to audit.json in
the run, which the gates of a release look into.
"""

import argparse

from wsjax import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('workdir', metavar='RUN', help='work directory of a run with a generator')
  parser.add_argument('--level', type=float, default=0.01, help='false positive rate')
  parser.add_argument(
    '--shadows', type=int, default=0, metavar='N', help='sets to train on for LiRA and RMIA'
  )
  parser.add_argument(
    '--canaries', type=int, default=0, metavar='N', help='outliers, half of them to be planted'
  )
  parser.add_argument(
    '--backdoors', type=int, default=0, metavar='N', help='networks to train for a detector'
  )
  parser.add_argument('--watermark', metavar='KEY', help='key that its samples are marked with')


def run(args: argparse.Namespace) -> int:
  """Audits and prints what was found."""
  from wsjax.governance import audit

  for name in ('shadows', 'canaries', 'backdoors'):
    if getattr(args, name) < 0:
      raise ValueError(f'--{name} is {getattr(args, name)}; it has to be 0 or more.')
  if not 0 < args.level < 1:
    raise ValueError(f'--level is {args.level}; it has to be between 0 and 1.')
  found = audit.audit(
    args.workdir, level=args.level, shadows=args.shadows, canaries=args.canaries,
    key=args.watermark, backdoors=args.backdoors,
  )  # fmt: skip
  lines = []

  def add(name: str, attack: dict) -> None:
    lines.extend([
      (f'membership {name}: AUROC', attack['auroc']),
      (f'  members found at {args.level:g}', attack['tpr']),
      ('  others found', attack['fpr']),
    ])  # fmt: skip

  for name, attack in found['membership'].items():
    add(f'by {name}', attack)
  for name, leak in (found['data'] or {}).items():
    add(f'of images by {name} of networks', leak['direct'])
    add(f'of images by {name} of samples', leak['samples'])
    lines.append(('  advantage by samples over that by networks', leak['ratio']))
  for name, told in (found['canaries'] or {}).items():
    lines.append((f'canaries by {name}: AUROC', told['auroc']))
    above = f'epsilon is at least {told["epsilon"]:.2f} at delta {told["delta"]:g}'
    lines.append((f'  right guesses ({above})', told['right']))
  lines.append(('collapsed samples', found['collapse']))
  if (marks := found['watermark']) is not None:
    lines.append(('watermarks found, p < 1e-6', marks['emitted']))
    lines += [(f'  after {name}', row['found']) for name, row in marks['attacks'].items()]
    lines += [(f'unmarked, p < {p}', rate) for p, rate in marks['false_positives'].items()]
    lines.append(('points of accuracy that marks cost', marks['accuracy_cost']))
  if (suspicion := found['backdoors']) is not None:
    lines.append(('backdoors of an unseen kind: AUROC of the detector', suspicion['auroc']))
    lines += [(f'  {name} that look poisoned', rate) for name, rate in suspicion['rates'].items()]
  for name, stat in lines:
    if stat is None or stat['value'] is None:
      terminal.show_line(f'{name}: not run. {(stat or {}).get("not_run", "")}'.rstrip())
    else:
      bounds = f'[{stat["low"]:.3f}, {stat["high"]:.3f}]'
      terminal.show_line(f'{name}: {stat["value"]:.3f} {bounds}, n = {stat["n"]}')
  return 0
