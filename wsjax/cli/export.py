"""Write networks of a zoo for another stack.

  wsjax export runs/demo/zoo --format torch --out weights
  wsjax export zoo --format torch --like ckpts/net0.pt --out back --where 'accuracy > 0.9'
  wsjax export zoo --format onnx --model my.py:net --rows 0 --out net.onnx

One network is a file (or a folder of PEFT, Orbax or the Hub), several are a folder of them. Weights
are the stored ones, bit by bit. --like gives PyTorch files the names and layout of a checkpoint.
ONNX, StableHLO and LiteRT hold what a network computes: --model is needed where wsjax has no such
model.
"""

import argparse

from wsjax import terminal

FORMATS = ('safetensors', 'npz', 'torch', 'peft', 'onnx', 'stablehlo', 'litert', 'orbax', 'hub')


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('zoo', metavar='ZOO', help='folder of a zoo')
  parser.add_argument('--format', required=True, choices=FORMATS)
  parser.add_argument('--out', required=True, metavar='PATH', help='file or folder')
  parser.add_argument('--where', metavar='CONDITION', help='such as "accuracy > 0.9"')
  parser.add_argument('--rows', metavar='I,J,...', help='networks by their places in the zoo')
  parser.add_argument('--model', metavar='FILE.py:FN', help='model of the networks')
  parser.add_argument('--like', metavar='PATH', help='checkpoint with the wanted names')
  parser.add_argument('--layout', choices=('torch', 'jax', 'same'), help='of --like')


def run(args: argparse.Namespace) -> int:
  """Writes the networks."""
  from wsjax import files, interop
  from wsjax.models import model as model_lib
  from wsjax.zoo.store import store

  model = model_lib.load_one(args.model, '--model') if args.model else None
  zoo = store.Zoo.open(args.zoo, model=model)
  if args.where:
    zoo = zoo.query(args.where)
  if args.rows:
    try:
      zoo = zoo.subset([int(row) for row in args.rows.split(',')])
    except ValueError as error:
      raise ValueError(f'--rows is {args.rows!r}: {error}') from error
  written = interop.export(
    zoo,
    args.format,
    files.folder(args.out, '--out'),
    model=model,
    like=args.like,
    layout=args.layout,
  )
  terminal.show_line(f'{len(written)} networks')
  terminal.show_line(args.out)
  return 0
