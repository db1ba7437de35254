"""Infer from weights alone whether networks are copies, fine-tuned, merged or independent.

  wsjax kin a.safetensors suspects/*.safetensors --zoo runs/demo/zoo

What a distance means depends on the family of networks. So relatives of the independent networks
of ZOO, which `wsjax zoo build` trained, are made on its data, and a classifier learns to tell them,
also after units were reordered and rescaled. Of independent networks at most 1 % are called
related; all four relations are as likely before.
"""

import argparse

from wsjax import terminal
from wsjax.cli import align


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  align.add_networks(parser)
  parser.add_argument('--zoo', required=True, metavar='ZOO', help='independent networks')


def run(args: argparse.Namespace) -> int:
  """Prints the relation of each network to A, with probabilities."""
  import numpy as np

  from wsjax.governance import kinship
  from wsjax.zoo.store import store

  first, others = align.read(args)
  zoo = store.Zoo.open(args.zoo)
  if zoo.spec != first.spec:
    raise ValueError(f'The networks of {args.zoo} are of another model than {args.first}.')
  params = others.params(np.arange(len(others)))
  same = {path: np.repeat(value, len(others), axis=0) for path, value in first.params([0]).items()}
  kin = kinship.of_zoo(zoo)
  found = kin.probabilities(same, params)
  for key, relation, row in zip(others.keys, kin.relation(found), found, strict=True):
    odds = ', '.join(
      f'{name} {value:.3f}' for name, value in zip(kinship.RELATIONS, row, strict=True)
    )
    terminal.show_line(f'{key}: {relation} ({odds})')
  return 0
