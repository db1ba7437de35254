"""Move networks onto another one by their symmetry, so that they can be compared and averaged.

  wsjax align a.safetensors b.safetensors --model net.py:net --out b_aligned.safetensors
  wsjax align a.pt runs/*.pt --model net.py:net --out aligned --format torch

Every network that follows the first keeps the function that it computes; its hidden units are
reordered, and turned in sign where its symmetry allows that, to be as near to the first as a search
finds. Files are read as `wsjax zoo import` reads them; a zoo is named by its folder.
"""

import argparse
import pathlib
from typing import TYPE_CHECKING, Any

from wsjax import terminal

if TYPE_CHECKING:
  from wsjax.zoo.store import store

_FORMATS = ('safetensors', 'npz', 'torch')


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  add_networks(parser)
  parser.add_argument('--out', required=True, metavar='PATH', help='file, or folder of several')
  parser.add_argument('--format', choices=_FORMATS, default='safetensors')


def add_networks(parser: argparse.ArgumentParser) -> None:
  """Adds arguments that name a network and others to compare with it."""
  parser.add_argument('first', metavar='A', help='a network: file, or folder of a zoo')
  parser.add_argument('others', metavar='B', nargs='+', help='networks, likewise')
  parser.add_argument('--model', metavar='FILE.py:FN', help='their model; a zoo may say it')
  parser.add_argument('--restarts', type=int, default=3, help='starts of every search (default 3)')


def run(args: argparse.Namespace) -> int:
  """Aligns, says how near the networks were and are, and writes them."""
  import numpy as np

  from wsjax import files, interop
  from wsjax import networks as networks_lib
  from wsjax.symmetry import canonicalize

  first, others = read(args)
  spec, reference = first.spec, first.networks()[0]
  params = others.params(np.arange(len(others)))
  moved = canonicalize.apply_all(
    spec.match(reference, params, restarts=args.restarts), params, spec
  )
  aligned = networks_lib.Networks(moved, spec)
  target = first.networks().flat()
  before, after = (
    np.linalg.norm(nets.flat() - target, axis=1)
    for nets in (networks_lib.Networks(params, spec), aligned)
  )
  for key, old, new in zip(others.keys, before, after, strict=True):
    terminal.show_line(f'{key}: distance {old:.6g} before, {new:.6g} after')
  source: Any = aligned if len(aligned) > 1 else aligned[0]
  like = (
    args.others[0] if args.format == 'torch' and pathlib.Path(args.others[0]).is_file() else None
  )
  interop.export(
    source, args.format, files.folder(args.out, '--out'), model=others.model, like=like
  )
  terminal.show_line(args.out)
  return 0


def read(args: argparse.Namespace) -> 'tuple[store.Zoo, store.Zoo]':
  """The network A and the networks B, as zoos of one model.

  Raises:
    ValueError: if they cannot be read, differ in their parameters, or A is several networks.
  """
  from wsjax import interop
  from wsjax.models import model as model_lib
  from wsjax.zoo.store import published, store

  model = model_lib.load(args.model, '--model') if args.model else None
  if args.restarts < 1:
    raise ValueError(f'--restarts is {args.restarts}; it must be 1 or more.')

  def one(paths: list[str]) -> store.Zoo:
    if len(paths) == 1 and published.is_zoo(paths[0]):
      if model is not None and not isinstance(model, model_lib.Model):
        raise ValueError(f'--model: {args.model} makes a model of tensors; {paths[0]} is a zoo.')
      return store.Zoo.open(paths[0], model=model)
    if model is None:
      raise ValueError(f'{paths[0]} is no zoo, so --model must say which model it is of.')
    return interop.import_checkpoints(model, paths)

  first, others = one([args.first]), one(args.others)
  if len(first) != 1:
    raise ValueError(f'{args.first} holds {len(first)} networks; A must be one.')
  if first.spec != others.spec:
    raise ValueError(f'{args.first} and {args.others[0]} are networks of different models.')
  return first, others
