"""Draw what a network was made from, and what was made from it, across zoos and generators.

  wsjax lineage wsr1:7f8540d2 runs/demo/zoo runs/demo/samples/seed0

RECORD is the id of a record, its beginning, a digest of weights, a generator or a zoo. The licence
is the meet of those of all ancestors.
"""

import argparse

from wsjax import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('record', metavar='RECORD', help='id, or its beginning')
  parser.add_argument('zoos', nargs='+', metavar='ZOO', help='folders of zoos to look into')


def run(args: argparse.Namespace) -> int:
  """Prints both trees and the licence."""
  from wsjax.governance import lineage
  from wsjax.zoo.store import store

  graph = lineage.graph(store.Zoo.open(path) for path in args.zoos)
  id = graph.find(args.record)
  console = terminal.console()
  terminal.show_line('ancestors')
  console.print(graph.tree(id, up=True), soft_wrap=True)
  terminal.show_line('descendants')
  console.print(graph.tree(id, up=False), soft_wrap=True)
  found = graph.licence(id)
  allowed = 'redistribution is allowed' if found.redistributable else 'not redistributable'
  terminal.show_line(f'licence: {found.expression or "unknown"}, {allowed}. {found.reason}'.strip())
  return 0
