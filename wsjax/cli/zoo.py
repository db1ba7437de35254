"""Build a zoo of trained networks, look into one, select from it, or import one.

  wsjax zoo build --config configs/digits_flow.py --workdir runs/demo
  wsjax zoo inspect runs/demo/zoo
  wsjax zoo query runs/demo/zoo 'accuracy > 0.95 and optimizer == "adam"' --out best
  wsjax zoo dedup runs/demo/zoo
  wsjax zoo import rl_agents --from DIR --out DIR

Build trains what the section `zoo` of the config says, into WORKDIR/zoo or config.zoo.path; it may
be killed and started again. Query lists the networks whose records meet a condition, and with --out
copies them to a new zoo. Dedup finds networks that are one network up to reordered and rescaled
units, and networks that are derived from each other. Import makes a zoo of networks that others
have published.
"""

import argparse
import importlib

from wsjax import terminal
from wsjax.cli import run as run_command
from wsjax.experiments import configs

# Modules of wsjax.zoo.importers.
FAMILIES = ('rl_agents', 'es_policies', 'third_party_classifiers')


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  actions = parser.add_subparsers(
    dest='action', required=True, metavar='build | inspect | query | dedup | import'
  )
  build = actions.add_parser('build', help='train, describe, split, publish', allow_abbrev=False)
  run_command.add_config_arguments(build)
  inspect = actions.add_parser(
    'inspect', help='counts, accuracy, lineage, digests', allow_abbrev=False
  )
  inspect.add_argument('path', help='folder of a zoo')
  inspect.add_argument('--record', type=int, metavar='I', help='print the record of network I')
  query = actions.add_parser('query', help='networks that meet a condition', allow_abbrev=False)
  query.add_argument('path', help='folder of a zoo')
  query.add_argument('condition', help='on fields of records: accuracy > 0.9 and split == "train"')
  query.add_argument('--out', metavar='DIR', help='folder of a new zoo of these networks')
  dedup = actions.add_parser('dedup', help='copies and relatives', allow_abbrev=False)
  dedup.add_argument('path', help='folder of a zoo')
  foreign = actions.add_parser('import', help='networks of others', allow_abbrev=False)
  foreign.add_argument('family', choices=FAMILIES)
  foreign.add_argument('--from', dest='source', required=True, metavar='DIR', help='their arrays')
  foreign.add_argument('--out', required=True, metavar='DIR', help='folder of the zoo')


def run(args: argparse.Namespace) -> int:
  """Builds, inspects or imports."""
  if args.action == 'build':
    return _build(args)
  if args.action == 'import':
    return _import(args)
  if args.action == 'query':
    return _query(args)
  if args.action == 'dedup':
    return _dedup(args)
  from wsjax.cli import inspect_zoo
  from wsjax.zoo.store import store

  zoo = store.Zoo.open(args.path)
  console = terminal.console()
  if args.record is None:
    for part in inspect_zoo.describe(zoo):
      console.print(part)
  elif 0 <= args.record < len(zoo):
    console.print_json(data=zoo.records[args.record])
  else:
    raise ValueError(f'--record is {args.record}; {args.path} has networks 0 to {len(zoo) - 1}.')
  return 0


def _build(args: argparse.Namespace) -> int:
  config, _ = configs.load(args.config, args.overrides)

  from wsjax import files
  from wsjax.experiments import base

  configs.check(config)

  workdir = files.folder(args.workdir, '--workdir')
  zoo = base.open_zoo(config, workdir, progress=True)
  terminal.show_line(zoo.path)
  return 0


def _query(args: argparse.Namespace) -> int:
  from wsjax.cli import inspect_zoo
  from wsjax.zoo.store import store

  found = store.Zoo.open(args.path).query(args.condition)
  for key, record in zip(found.keys, found.records, strict=True):
    accuracy = inspect_zoo.accuracy(record)
    shown = '' if accuracy is None else f'  accuracy {accuracy:.4f}'
    terminal.show_line(f'{key}  {record["split"]}  run {record["run_id"]}{shown}')
  terminal.show_line(f'{len(found)} networks')
  if args.out:
    terminal.show_line(found.save(args.out).path)
  return 0


def _dedup(args: argparse.Namespace) -> int:
  from wsjax.zoo import duplicates
  from wsjax.zoo.store import store

  zoo = store.Zoo.open(args.path)
  found = duplicates.find(zoo)
  for title, groups in (('copies', found.copies), ('related', found.related)):
    terminal.show_line(f'{title}: {len(groups)} groups, {sum(map(len, groups))} networks')
    for group in groups:
      keys = ', '.join(f'{zoo.keys[i]} ({zoo.records[i]["run_id"]})' for i in group)
      terminal.show_line(f'  {keys}')
  terminal.show_line(f'typical distance of two networks: {found.typical:.4g}')
  return 0


def _import(args: argparse.Namespace) -> int:
  family = importlib.import_module(f'wsjax.zoo.importers.{args.family}').FAMILY
  zoo = family.import_zoo(args.source, args.out)
  terminal.show_line(zoo.path)
  return 0
