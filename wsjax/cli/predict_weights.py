"""Make weights for a dense network that nobody trained, by the hypernetwork of a finished run.

  wsjax predict-weights net.py:net --workdir runs/architect --out net.safetensors
  wsjax predict-weights 196-48-32-10:relu --workdir runs/architect --format torch --out net.st

The model is one of any JAX library, as `wsjax zoo import --model` takes it, or the widths of a
dense network and its activation. Its graph is inferred from what it computes; --format zoo keeps
the record, which names the hypernetwork.
"""

import argparse
import re

from wsjax import terminal

_FORMATS = ('safetensors', 'npz', 'torch', 'zoo', 'onnx', 'stablehlo')


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('model', metavar='MODEL', help='FILE.py:FN, or widths as 196-48-10:relu')
  parser.add_argument('--workdir', required=True, metavar='DIR', help='a run of architect')
  parser.add_argument('--out', required=True, metavar='PATH', help='file or folder, which is new')
  parser.add_argument('--format', default='safetensors', choices=_FORMATS)
  parser.add_argument('--seed', type=int, default=0, help='training seed of the hypernetwork')


def run(args: argparse.Namespace) -> int:
  """Predicts and writes the weights."""
  from wsjax import files, interop
  from wsjax.experiments.architect import prediction
  from wsjax.models import mlp
  from wsjax.models import model as model_lib

  out = files.folder(args.out, '--out')
  if not files.is_free(out):
    raise ValueError(f'{out} is there already; nothing is overwritten.')
  found = re.fullmatch(r'(\d+(?:-\d+)+):(\w+)', args.model)
  if found:
    model = mlp.MLP(tuple(int(n) for n in found[1].split('-')), found[2])
  elif ':' not in args.model:
    raise ValueError(f'MODEL is {args.model!r}; allowed: FILE.py:FN, or widths as 196-48-10:relu.')
  else:
    model = model_lib.load_one(args.model, 'MODEL')
  zoo = prediction.predict_weights(model, args.workdir, seed=args.seed)
  if args.format == 'zoo':
    zoo.save(out)
  else:
    interop.export(zoo, args.format, out, model=model)
  terminal.show_line(f'{model.spec.num_params:,} weights')
  terminal.show_line(out)
  return 0
