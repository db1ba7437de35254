"""Find the watermark of a generator in networks, from weights alone.

  wsjax detect suspects/*.safetensors --run runs/demo --watermark ~/.wsjax/release.pem

The noise that the generator of RUN would have needed to draw each network is recovered and compared
with the noise of every sample that was issued under the key: those of the run, and of zoos that
`wsjax sample --watermark` made. p is the chance that a network which is independent of the key fits
one of them as well. Reordered and rescaled units, rounding, pruning, noise and fine-tuning leave
most marks in place; a generator that was trained anew on samples does not carry them on, and a
network of another architecture is refused.
"""

import argparse

from wsjax import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('networks', metavar='NET', nargs='+', help='files, or the folder of a zoo')
  parser.add_argument('--run', required=True, metavar='RUN', help='work directory of the generator')
  parser.add_argument('--watermark', required=True, metavar='KEY', help='key of the samples')
  parser.add_argument(
    '--issued', action='append', default=[], metavar='ZOO',
    help='other samples of this generator; may be given several times',
  )  # fmt: skip


def run(args: argparse.Namespace) -> int:
  """Prints p of every network, and which sample it was."""
  from wsjax.governance import watermark

  for key, p, name in watermark.search(args.networks, args.run, args.watermark, args.issued):
    said = f'marked, sample {name}' if p < watermark.LEVEL else 'no mark found'
    terminal.show_line(f'{key}: {said} (p = {p:.2g})')
  return 0
