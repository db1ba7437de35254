"""Measure how far networks are from another one, up to symmetry.

  wsjax distance a.safetensors b.safetensors --model net.py:net
  wsjax distance runs/demo/zoo_of_one runs/demo/zoo

The quotient distance is the Euclidean distance of the weights after the units of both are rescaled
and reordered in the best way that a search finds: 0 for a copy that was moved by a symmetry. It is
an upper bound. Beside it stands its share of the norm of A.
"""

import argparse

from wsjax import terminal
from wsjax.cli import align


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  align.add_networks(parser)


def run(args: argparse.Namespace) -> int:
  """Prints a line per network."""
  import numpy as np

  first, others = align.read(args)
  nets = first.networks()
  found = first.spec.distance(
    nets.params, others.params(np.arange(len(others))), reference=nets[0], restarts=args.restarts
  )[0]
  norm = float(np.linalg.norm(nets.flat()))
  for key, value in zip(others.keys, found, strict=True):
    terminal.show_line(f'{key}: {value:.6g} ({100 * value / norm:.3g} % of the norm of A)')
  return 0
