"""Equivariance error of every layer in float32, against width.

The largest relative difference between moving the units of a network before an encoder and not
moving them, over every group and kind that it claims.
"""

import argparse
from typing import Any

import jax

from benchmarks import timing
from wsjax import config, testing
from wsjax.layers import spec_layers
from wsjax.models import model as model_lib

# Tasks: widths, activation of an MLP. Widths are those of the network read.
NETWORKS = {
  'mlp 8-{n}-{n}-4 relu': ('mlp', dict(activation='relu'), (8, 4)),
  'siren 2-{n}-{n}-1': ('siren', {}, (2, 1)),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Options of `python -m benchmarks equivariance`."""
  parser.add_argument(
    '--widths', nargs='+', type=int, default=(32, 128, 512),
    help='of the networks that are read',
  )  # fmt: skip
  parser.add_argument(
    '--channels', nargs='+', type=int, default=(8, 512),
    help='of the linear layers, on networks of the first width',
  )  # fmt: skip
  parser.add_argument(
    '--encoders', nargs='*', default=config.plugins('encoders'),
    choices=config.plugins('encoders'),
  )  # fmt: skip
  parser.add_argument('--seeds', type=int, default=3)


def run(args: argparse.Namespace) -> dict[str, Any]:
  """Measures every layer and encoder.

  Args:
    args: what `add_arguments` reads.

  Returns:
    rows: layer, network, channels, the kinds tried, and the largest relative error over groups,
    kinds and seeds. notes: lines.
  """
  rows = []
  for label, (name, options, (fan_in, fan_out)) in NETWORKS.items():
    for width in args.widths:
      architecture = config.build(
        'models', {'name': name, 'widths': (fan_in, width, width, fan_out), **options}
      )
      network = label.format(n=width)
      channels = args.channels if width == args.widths[0] else args.channels[:1]
      for count in channels:
        rows.append(_layer(architecture, network, count, args.seeds))
      rows += [
        row
        for encoder in args.encoders
        if (row := _encoder(encoder, architecture, network, args.seeds))
      ]
  worst = max(row['relative_error'] for row in rows)
  return {'rows': rows, 'notes': [timing.machine(), f'largest relative error: {worst:.2g}']}


def _layer(
  architecture: model_lib.Model, network: str, channels: int, seeds: int
) -> dict[str, Any]:
  """The universal linear layer on `channels` features per weight."""
  layer = spec_layers.SpecLinear(architecture.spec, channels)
  errors = [
    testing.assert_equivariant(
      layer, architecture.spec, channels=channels, seed=seed,
      tolerance=float('inf'),
    )
    for seed in range(seeds)
  ]  # fmt: skip
  return {
    'layer': 'spec_layers.SpecLinear',
    'network': network,
    'channels': channels,
    'kinds': 'permutation',
    'relative_error': max(errors),
  }


def _encoder(
  name: str, architecture: model_lib.Model, network: str, seeds: int
) -> dict[str, Any] | None:
  """A plug-in of `encoders`; None if it claims no invariance."""
  encoder = config.build('encoders', {'name': name, 'architecture': architecture})
  kinds = type(encoder).INVARIANT_TO
  if not kinds:
    return None
  errors = [
    testing.assert_invariant(
      encoder,
      architecture.spec,
      architecture.init(jax.random.key(seed)),
      kinds=kinds,
      seed=seed,
      tolerance=float('inf'),
    )
    for seed in range(seeds)
  ]
  return {
    'layer': name,
    'network': network,
    'channels': None,
    'kinds': ', '.join(kinds),
    'relative_error': max(errors),
  }
