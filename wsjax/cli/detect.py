"""Find out whether a generator drew networks: by its watermark, or by what they compute.

  wsjax detect suspects/*.safetensors --run runs/demo --watermark ~/.wsjax/release.pem
  wsjax detect suspects/*.safetensors --run runs/demo --watermark ~/.wsjax/release.pem --by outputs

The noise that the generator of RUN would have needed to draw each network is recovered and compared
with the noise of every sample that was issued under the key: those of the run, and of zoos that
`wsjax sample --watermark` made. p is the chance that a network which is independent of the key fits
one of them as well. Reordered and rescaled units, rounding, pruning, noise and fine-tuning leave
most marks in place; a generator that was trained anew on samples does not carry them on, and a
network of another architecture is refused.

By outputs, networks are asked on secret inputs, which are made from the key, and compared with the
samples of the run, marked or not, and with the networks of its zoo. p is the share of these, the
suspect counted with them, that answer as much like one of the samples. It finds more samples of the
same generator, and networks of another architecture that compute the same; long fine-tuning, of
samples that were not accurate above all, loses it.
"""

import argparse

from wsjax import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('networks', metavar='NET', nargs='+', help='files, or the folder of a zoo')
  parser.add_argument('--run', required=True, metavar='RUN', help='work directory of the generator')
  parser.add_argument('--watermark', required=True, metavar='KEY', help='key of the samples')
  parser.add_argument(
    '--by', choices=('noise', 'outputs'), default='noise', help='what is compared (default: noise)'
  )
  parser.add_argument(
    '--model', metavar='FILE.py:FN', help='model of the networks, if it is another; only by outputs'
  )
  parser.add_argument(
    '--issued', action='append', default=[], metavar='ZOO',
    help='other samples of this generator; may be given several times',
  )  # fmt: skip


def run(args: argparse.Namespace) -> int:
  """Prints p of every network, and which sample it was."""
  from wsjax.governance import fingerprint, watermark
  from wsjax.models import model as model_lib

  given = (args.networks, args.run, args.watermark, args.issued)
  if args.by == 'outputs':
    model = None if args.model is None else model_lib.load_one(args.model, '--model')
    for key, p, name in fingerprint.search(*given, model=model):
      said = f'answers like sample {name}' if p < fingerprint.LEVEL else 'answers like none'
      terminal.show_line(f'{key}: {said} (p = {p:.2g})')
    return 0
  if args.model is not None:
    raise ValueError('--model is for --by outputs; marks are in the model of the run.')
  for key, p, name in watermark.search(*given):
    said = f'marked, sample {name}' if p < watermark.LEVEL else 'no mark found'
    terminal.show_line(f'{key}: {said} (p = {p:.2g})')
  return 0
