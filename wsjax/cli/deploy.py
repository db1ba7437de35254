"""Write a network for a device: the best one that fits budgets of bytes and latency.

  wsjax deploy runs/deploy/zoo --data images.npz --max-bytes 20k --max-us 100 --out net.onnx
  wsjax deploy small_zoo large_zoo --data images.npz --max-bytes 16KiB --out net.stablehlo
  wsjax deploy net.pt --model net.py:net --data inputs.npz --precision int4 --out net.safetensors

Weights are rounded to int8, int4 or ternary so that layers change least at the inputs; the file is
run before it is kept, and its record is written beside it. --data is .npz with inputs x and, where
several networks are compared, classes or values y. The suffix of --out is the format: .onnx,
.stablehlo, or .safetensors, packed weights that wsjax reads.
"""

import argparse
import re

from wsjax import terminal

_UNITS = {'': 1, 'b': 1, 'k': 1e3, 'kb': 1e3, 'kib': 1 << 10, 'm': 1e6, 'mb': 1e6, 'mib': 1 << 20}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('networks', nargs='+', metavar='A', help='zoos, or files of networks')
  parser.add_argument('--data', required=True, metavar='FILE', help='.npz with x, and y if known')
  parser.add_argument('--out', required=True, metavar='PATH', help='file, which is new')
  parser.add_argument('--max-bytes', metavar='SIZE', help='of the file, as 20000, 20k or 16KiB')
  parser.add_argument('--max-us', type=float, metavar='US', help='of one input on one thread')
  parser.add_argument('--precision', choices=('float32', 'int8', 'int4', 'ternary'))
  parser.add_argument('--keep', action='append', metavar='PATH', help='parameter left in float32')
  parser.add_argument('--model', metavar='FILE.py:FN', help='their model; a zoo may say it')
  parser.add_argument('--where', metavar='CONDITION', help='of zoos, such as "accuracy > 0.9"')


def run(args: argparse.Namespace) -> int:
  """Chooses, writes and verifies the network."""
  from wsjax import files
  from wsjax.experiments.deploy import exported, fit
  from wsjax.fusion import merging
  from wsjax.models import model as model_lib
  from wsjax.zoo.store import published

  out = files.folder(args.out, '--out')
  formats = {suffix: name for name, suffix in exported.FORMATS.items()}
  if out.suffix not in formats:
    raise ValueError(f'--out is {args.out!r}; allowed: a name that ends with {", ".join(formats)}.')
  max_bytes = None if args.max_bytes is None else _bytes(args.max_bytes)
  arrays = files.read_npz(args.data)
  if 'x' not in arrays:
    raise ValueError(f'{args.data} has arrays {sorted(arrays)[:5]}; the inputs are to be x.')
  model = model_lib.load_one(args.model, '--model') if args.model else None
  are_zoos = list(map(published.is_zoo, args.networks))
  if all(are_zoos):
    networks = [merging.read(path, model) for path in args.networks]
    if args.where:
      networks = [zoo.query(args.where) for zoo in networks]
  elif any(are_zoos) or args.where:
    raise ValueError('Zoos and files are not mixed, and --where is for zoos.')
  else:
    networks = args.networks
  made = fit.deploy(
    networks,
    out,
    data=arrays['x'],
    targets=arrays.get('y'),
    format=formats[out.suffix],
    precision=args.precision,
    max_bytes=max_bytes,
    max_us=args.max_us,
    keep=args.keep,
    model=model,
  )
  words = f'{made.precision}, {made.bytes:,} bytes, score {made.score:.4f}'
  words += f' (float32 {made.float_score:.4f}), largest difference {made.difference:.1e}'
  if made.microseconds is not None:
    words += f', {made.microseconds:.1f} us, {made.peak_bytes / 1e6:.1f} MB at its peak'
  terminal.show_line(words)
  terminal.show_line(out)
  return 0


def _bytes(text: str) -> float:
  """A size such as '20k' or '16KiB'."""
  found = re.fullmatch(r'([0-9]*\.?[0-9]+)\s*([A-Za-z]*)', text.strip())
  if not found or found[2].lower() not in _UNITS:
    raise ValueError(f'--max-bytes is {text!r}; allowed: a number, with k, KiB, M or MiB.')
  return float(found[1]) * _UNITS[found[2].lower()]
