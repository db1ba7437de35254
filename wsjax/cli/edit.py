"""Edit a network by the differences of others: add a task, take one away, or by analogy.

  wsjax edit net --plus tuned --minus base --out learned
  wsjax edit net --plus base --minus tuned --factor 0.5 --out forgotten
  wsjax edit a1 --plus b2 c2 d2 --minus b1 c1 d1 --out a2

The result is A + factor * (mean of PLUS - mean of MINUS). With a --model networks are aligned to A
first, as in `wsjax merge`.
"""

import argparse

from wsjax import terminal
from wsjax.cli import merge


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('network', metavar='A', help='the network: file or folder')
  parser.add_argument('--plus', nargs='+', required=True, metavar='P', help='networks, likewise')
  parser.add_argument('--minus', nargs='+', required=True, metavar='M', help='networks, likewise')
  parser.add_argument('--factor', type=float, default=1.0, help='of the difference (default 1)')
  merge.add_shared(parser)


def run(args: argparse.Namespace) -> int:
  """Edits, and writes the network."""
  from wsjax import files
  from wsjax.fusion import editing

  out = files.folder(args.out, '--out')
  if not merge.in_memory(args, [args.network, *args.plus, *args.minus]):
    merge.refuse_without_model(args)
    terminal.show_line(
      editing.edit_files(args.network, args.plus, args.minus, out, factor=args.factor)
    )
    return 0
  merge.check_out(out)
  zoo = editing.edit(
    args.network, args.plus, args.minus, factor=args.factor, **merge.alignment(args)
  )
  merge.write(zoo, args, out, args.network)
  return 0
