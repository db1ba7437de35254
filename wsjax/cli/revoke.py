"""Take down networks, generators, zoos or files: add them to a signed list.

  wsjax revoke --key KEY --list revoked.jsonl
  wsjax revoke wsr1:7f85... --reason 'withdrawn consent' --key KEY --list revoked.jsonl
  wsjax revoke wsr1:7f85... --reason ... --key KEY --list revoked.jsonl --zoo zoo --zoo samples

`wsjax verify --revocations revoked.jsonl` refuses every release that has one of them among its
contents or its ancestors. Without an ID an empty list is started, which a release needs. With
--zoo, what those zoos have that was made from them is listed too.
"""

import argparse

from wsjax import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('ids', nargs='*', metavar='ID', help='of a record, generator, zoo or file')
  parser.add_argument('--reason', default='', help='for those who are refused')
  parser.add_argument('--key', required=True, metavar='KEY', help='private key')
  parser.add_argument('--list', required=True, metavar='FILE', help='the list; made if not there')
  parser.add_argument(
    '--zoo', action='append', default=[], metavar='DIR', help='where descendants are looked for'
  )


def run(args: argparse.Namespace) -> int:
  """Signs the list, and prints how many entries it has."""
  from wsjax.governance import revocation

  ids = list(args.ids)
  if ids and args.zoo:
    from wsjax.governance import lineage
    from wsjax.zoo.store import store

    graph = lineage.graph(store.Zoo.open(path) for path in args.zoo)
    ids = [graph.find(id) for id in ids]
    made = [id for id in graph.descendants(*ids) if graph.nodes[id].kind != 'zoo']
    for id in made:
      terminal.show_line(f'also {graph.describe(id)}')
    ids += made
  value = revocation.revoke(ids, args.reason, args.key, args.list)
  terminal.show_line(f'{args.list}: number {value["number"]}, {len(value["revoked"])} entries')
  return 0
