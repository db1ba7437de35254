"""Prepare a data set once, so that runs read it without a network.

  wsjax data prepare mnist --from DIR
  wsjax data prepare lexicon --from DIR

DIR holds the original idx files of mnist or fashion_mnist, which are downloaded without --from; or
of lexicon the files of three packages, see docs/how-to/personalize.md.
"""

import argparse
import pathlib

from wsjax import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  actions = parser.add_subparsers(dest='action', required=True, metavar='prepare')
  prepare = actions.add_parser('prepare', help='write the prepared form', allow_abbrev=False)
  prepare.add_argument('name', help='mnist, fashion_mnist or lexicon')
  prepare.add_argument('--from', dest='source', metavar='DIR', help='folder of the original files')
  prepare.add_argument(
    '--root',
    metavar='DIR',
    help='where prepared data live; default: WSJAX_DATASETS or ~/.cache/wsjax',
  )


def run(args: argparse.Namespace) -> int:
  """Prepares the data set and prints where it is."""
  source = None if args.source is None else pathlib.Path(args.source)
  if source is not None and not source.is_dir():
    raise ValueError(f'There is no folder {source}.')
  from wsjax.zoo.data import datasets

  root = datasets.default_root(args.root)
  if args.name == 'lexicon':
    from wsjax.zoo.data import lexicon

    terminal.show_line(lexicon.prepare(source, root))
    return 0
  from wsjax.zoo.data import builders

  terminal.show_line(builders.prepare(args.name, source, root))
  return 0
