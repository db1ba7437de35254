"""Merge networks into one, after their units are aligned; large checkpoints tensor by tensor.

  wsjax merge a.safetensors b.safetensors --method linear --out merged.safetensors
  wsjax merge recipe.yml --out merged
  wsjax merge tuned1 tuned2 --method ties --base original --option density=0.2 --out merged
  wsjax merge a.pt b.pt --model net.py:net --align weights --out merged.safetensors
  wsjax merge a.pt b.pt --model net.py:net --align activations --data inputs.npz --method regmean \\
    --option propagate=true --out merged.safetensors

A recipe is a YAML file as mergekit has them. Networks that were fine-tuned from one base share
their units; networks that were trained from different seeds do not, and need --align, which needs
their --model. Without it, files and folders of safetensors are merged tensor by tensor, whatever
their size. Options are those of mergekit: one value, or one for each network, as in weight=0.3,0.7.
"""

import argparse
import pathlib
from typing import Any

from wsjax import terminal

_FORMATS = ('safetensors', 'npz', 'torch', 'zoo')


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument(
    'networks', nargs='+', metavar='A', help='networks: files or folders; or one recipe, .yml'
  )
  parser.add_argument('--method', metavar='NAME', help='such as linear, ties, regmean')
  parser.add_argument('--base', metavar='PATH', help='the network they were fine-tuned from')
  parser.add_argument(
    '--option', action='append', default=[], metavar='NAME=VALUE', help='of the method'
  )
  add_shared(parser)
  parser.add_argument('--dtype', metavar='TYPE', help='of the merged tensors, without a model')


def add_shared(parser: argparse.ArgumentParser) -> None:
  """Adds arguments about models, alignment and what is written."""
  parser.add_argument('--out', required=True, metavar='PATH', help='file or folder, which is new')
  parser.add_argument('--model', metavar='FILE.py:FN', help='their model; a zoo may say it')
  parser.add_argument('--align', default='none', choices=('none', 'weights', 'activations'))
  parser.add_argument(
    '--reference', default='first', choices=('first', 'barycentre'), help='what is aligned to'
  )
  parser.add_argument('--data', metavar='FILE', help='inputs: .npz with an array x, or .npy')
  parser.add_argument('--repair', action='store_true', help='reset statistics of hidden units')
  parser.add_argument('--restarts', type=int, default=3, help='of matching by weights (default 3)')
  parser.add_argument('--seed', type=int, default=0, help='of everything random (default 0)')
  parser.add_argument(
    '--format', default='safetensors', choices=_FORMATS, help='with a model; zoo keeps the record'
  )


def run(args: argparse.Namespace) -> int:
  """Merges, and writes the network."""
  from wsjax import files
  from wsjax.fusion import merging, methods, recipe, stream

  out = files.folder(args.out, '--out')
  given = [pathlib.Path(path) for path in args.networks]
  is_recipe = len(given) == 1 and given[0].suffix in ('.yml', '.yaml')
  options = dict(_option(word) for word in args.option)
  if is_recipe:
    _refuse(args, ('method', 'base', 'option', 'dtype'), 'the recipe says that')
    _refuse(args, ('model',), 'recipes are merged tensor by tensor')
    made = recipe.read(given[0])
  elif args.method is None:
    raise ValueError('--method is missing; a .yml recipe says it by itself.')
  elif args.method not in merging.NAMES:
    raise ValueError(f'--method is {args.method!r}; allowed: {", ".join(merging.NAMES)}.')
  if is_recipe or not in_memory(args, args.networks):
    refuse_without_model(args)
    if not is_recipe:
      if args.method not in methods.METHODS:
        raise ValueError(f'--method {args.method} looks at networks at work; give --model.')
      made = _recipe(args, options)
    written = stream.merge_files(made, out, seed=args.seed)
    terminal.show_line(written)
    return 0
  _refuse(args, ('dtype',), 'the networks of a model keep their types')
  return _run_in_memory(args, out, options)


def _run_in_memory(args: argparse.Namespace, out: pathlib.Path, options: dict[str, Any]) -> int:
  from wsjax.fusion import merging

  check_out(out)
  networks = args.networks if len(args.networks) > 1 else args.networks[0]
  zoo = merging.merge(networks, args.method, base=args.base, **alignment(args), **options)
  write(zoo, args, out, args.networks[0])
  return 0


def in_memory(args: argparse.Namespace, paths: list[str]) -> bool:
  """Whether networks are read whole, as networks of a model."""
  from wsjax.zoo.store import published

  return args.model is not None or any(map(published.is_zoo, paths))


def check_out(out: pathlib.Path) -> None:
  """Raises ValueError if there is something where a network is to be written."""
  from wsjax import files

  if not files.is_free(out):
    raise ValueError(f'{out} is there already; nothing is overwritten.')


def alignment(args: argparse.Namespace) -> dict[str, Any]:
  """Arguments of `merging.merge` that `add_shared` adds."""
  from wsjax.models import model as model_lib

  return {
    'model': model_lib.load_one(args.model, '--model') if args.model else None,
    'align': args.align,
    'reference': args.reference,
    'data': read_inputs(args.data) if args.data else None,
    'repair': args.repair,
    'restarts': args.restarts,
    'seed': args.seed,
  }


def write(zoo: Any, args: argparse.Namespace, out: pathlib.Path, first: str) -> None:
  """Writes the one network of a zoo; with --format torch like the first network."""
  from wsjax import interop

  if args.format == 'zoo':
    zoo.save(out)
  else:
    like = first if args.format == 'torch' and pathlib.Path(first).is_file() else None
    interop.export(zoo, args.format, out, model=zoo.model, like=like)
  terminal.show_line(out)


def refuse_without_model(args: argparse.Namespace) -> None:
  """Raises ValueError for options that need a model."""
  _refuse(args, ('align', 'repair', 'data'), 'it needs --model')


def _recipe(args: argparse.Namespace, options: dict[str, Any]) -> Any:
  """The recipe that the words of a command line say."""
  from wsjax.fusion import methods, recipe

  each, count = methods.METHODS[args.method].each, len(args.networks)
  for name, value in options.items():
    if isinstance(value, list) and (name not in each or len(value) != count):
      raise ValueError(f'--option {name} has {len(value)} values for {count} networks.')
  if args.dtype not in (None, *recipe.DTYPES):
    raise ValueError(f'--dtype is {args.dtype!r}; allowed: {", ".join(recipe.DTYPES)}.')
  return recipe.of_options(
    args.method, args.networks, options, base=args.base, out_dtype=args.dtype
  )


def _refuse(args: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
  """Raises ValueError for an option that was given although it means nothing here."""
  for name in names:
    if getattr(args, name) not in (None, [], False, 'none'):
      raise ValueError(f'--{name} is not for this merge: {why}.')


def _option(word: str) -> tuple[str, Any]:
  """Name and value of NAME=VALUE; several values by commas are a list."""
  name, _, text = word.partition('=')
  if not name.isidentifier() and name != 'lambda' or not text:
    raise ValueError(f'--option is {word!r}; it is NAME=VALUE, or NAME=V1,V2 for two networks.')

  def value(part: str) -> Any:
    if part.lower() in ('true', 'false'):
      return part.lower() == 'true'
    try:
      number = float(part)
    except ValueError:
      raise ValueError(f'--option {name} is {text!r}; values are numbers, true or false.') from None
    return int(number) if number.is_integer() and '.' not in part and 'e' not in part else number

  values = [value(part) for part in text.split(',')]
  return name, values if len(values) > 1 else values[0]


def read_inputs(path: str) -> Any:
  """Reads inputs [b, ...] from an .npy file, or from an .npz file that has one array or an x.

  Raises:
    ValueError: naming the file, if it is neither.
  """
  import numpy as np

  from wsjax import files

  if path.endswith('.npz'):
    arrays = files.read_npz(path)
    if len(arrays) != 1 and 'x' not in arrays:
      raise ValueError(f'{path} has arrays {sorted(arrays)[:5]}; the inputs are to be x.')
    found = arrays['x'] if 'x' in arrays else next(iter(arrays.values()))
  else:
    found = files.read_npy(path)
  if found.dtype.kind not in 'fiub' or found.ndim < 2:
    raise ValueError(f'{path} has inputs {found.dtype} {list(found.shape)}; needed: [b, ...].')
  return found.astype(np.float32) if found.dtype.kind == 'f' else found
