"""Build a zoo of trained networks, look into one, select from it, or import one.

  wsjax zoo build --config configs/digits_flow.py --workdir runs/demo
  wsjax zoo inspect runs/demo/zoo
  wsjax zoo query runs/demo/zoo 'accuracy > 0.95 and optimizer == "adam"' --out best
  wsjax zoo dedup runs/demo/zoo
  wsjax zoo import --model my.py:net --from 'ckpts/*.pt' --records runs.csv --out DIR
  wsjax zoo import rl_agents --from DIR --out DIR

Build trains what the section `zoo` of the config says, into WORKDIR/zoo or config.zoo.path; it may
be killed and started again. Query lists the networks whose records meet a condition, and with --out
copies them to a new zoo. Dedup finds networks that are one network up to reordered and rescaled
units, and networks that are derived from each other.

Import makes a zoo of networks that were trained elsewhere: safetensors, npz, PyTorch (.pt), ONNX,
Orbax, PEFT, folders and hub:OWNER/NAME of the Hugging Face Hub, folders of the ModelZoo project.
my.py:net is a Model, or a function that returns one: without arguments, or of the tensors of one
network where networks differ. A column of the records such as 'file' names the network of a row.
What is not finite or unlike all others is put aside, in the folder OUT.quarantine, with the
reason. A folder may also be of a published family that is known by name.
"""

import argparse
import importlib
from collections.abc import Sequence

from wsjax import terminal
from wsjax.cli import run as run_command
from wsjax.experiments import configs

_SHOWN = 20  # Networks put aside that are named.
# Modules of wsjax.interop.families.
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
  foreign.add_argument('family', nargs='?', choices=FAMILIES, help='of a known source')
  foreign.add_argument('--model', metavar='FILE.py:FN', help='their model, or what makes it')
  foreign.add_argument(
    '--from', dest='source', required=True, action='append', metavar='PATH',
    help='file, pattern, folder or hub:OWNER/NAME; may be given several times',
  )  # fmt: skip
  foreign.add_argument('--records', metavar='FILE', help='table: .csv, .tsv, .json or .jsonl')
  foreign.add_argument('--out', required=True, metavar='DIR', help='folder of the zoo')
  foreign.add_argument(
    '--layout', choices=('torch', 'jax', 'same'),
    help='of matrices: [out, in], [in, out] or as the model; by default as names and format tell',
  )  # fmt: skip
  foreign.add_argument(
    '--flatten', choices=('channels_first', 'channels_last'), help='order of a flattened image'
  )
  foreign.add_argument(
    '--name',
    action='append',
    default=[],
    metavar='TENSOR=PARAMETER',
    help='where names do not tell',
  )
  foreign.add_argument(
    '--ignore', action='append', default=[], metavar='PATTERN', help='tensors that are left out'
  )
  foreign.add_argument(
    '--max-z', type=float, default=6.0,
    help='networks with a statistic of a layer so many robust deviations off are put aside',
  )  # fmt: skip
  foreign.add_argument('--split', metavar='train=0.8,val=0.1,test=0.1', help='shares of the runs')


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
    for part in inspect_zoo.describe(zoo, console.width):
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
  if args.family:
    if len(args.source) > 1 or args.model or args.records:
      raise ValueError(f'{args.family} is one folder, and needs neither --model nor --records.')
    family = importlib.import_module(f'wsjax.interop.families.{args.family}').FAMILY
    zoo = family.import_zoo(args.source[0], args.out)
  else:
    from wsjax import files
    from wsjax.governance import quarantine
    from wsjax.models import model as model_lib

    zoo, aside = quarantine.import_checkpoints(
      model_lib.load(args.model, '--model') if args.model else None,
      args.source,
      args.records,
      out=files.folder(args.out, '--out'),
      layout=args.layout,
      names=_pairs(args.name, '--name', 'TENSOR=PARAMETER'),
      ignore=args.ignore,
      flatten=args.flatten,
      split=_shares(args.split) if args.split else None,
      max_z=args.max_z,
    )
    for reason in aside[:_SHOWN]:
      terminal.show_line(f'put aside {reason.id}: {reason.screen}: {reason.detail}')
    if aside:
      terminal.show_line(f'{len(aside)} networks in {args.out}.quarantine')
  terminal.show_line(f'{len(zoo)} networks')
  terminal.show_line(zoo.path)
  return 0


def _pairs(words: Sequence[str], option: str, form: str) -> dict[str, str]:
  pairs = dict(word.partition('=')[::2] for word in words)
  if len(pairs) < len(words) or '' in pairs or '' in pairs.values():
    raise ValueError(f'{option} takes {form}, each once; got {" ".join(words)}.')
  return pairs


def _shares(text: str) -> dict[str, float]:
  pairs = _pairs(text.split(','), '--split', 'train=0.8,val=0.1,test=0.1')
  try:
    return {split: float(share) for split, share in pairs.items()}
  except ValueError as error:
    raise ValueError(f'--split is {text!r}; its shares have to be numbers.') from error
