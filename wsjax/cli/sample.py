"""Draw networks from the generator of a finished run, as a zoo of its own.

  wsjax sample --workdir runs/demo --num 100 --seed 1 --out samples
  wsjax sample --workdir runs/demo --num 100 --watermark ~/.wsjax/release.pem --out marked

With a key, the noise of the samples is made from it, so that `wsjax detect` finds them again; to
all others they are distributed as without.
"""

import argparse

from wsjax import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('--workdir', required=True, metavar='DIR', help='a run that has trained')
  parser.add_argument('--num', type=int, default=100, help='networks to draw')
  parser.add_argument('--seed', type=int, default=0, help='of the draw')
  parser.add_argument('--watermark', metavar='KEY', help='private key, of `wsjax key`')
  parser.add_argument('--out', required=True, metavar='ZOO', help='folder of the new zoo')


def run(args: argparse.Namespace) -> int:
  """Samples and prints where the networks are."""
  if args.num < 1:
    raise ValueError(f'--num is {args.num}; at least 1 is needed.')
  from wsjax import pipeline

  made = pipeline.sample(
    args.workdir, num=args.num, seed=args.seed, out=args.out, watermark=args.watermark
  )
  terminal.show_line(made)
  return 0
