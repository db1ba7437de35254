"""Equivariant generators on raw weights of digit classifiers.

  wsjax run --config configs/digits_equivariant.py --workdir runs/equivariant

The zoo of `digits_flow`, all 1,210 weights: no codec, no principal components. Flow matching with
a graph transformer, whose distribution is invariant to permutations of the hidden neurons.
Options: `generator`, `graph_flow` for an equivariant flow with exact likelihoods; `backbone`,
`neural_functional` for linear maps instead of attention; `canonicalize`, which symmetry is
removed first; `smoke`.

Hardware: 2 CPU cores, both of them busy with other work.
Time: with a zoo at hand 7 min, `graph_flow` 19, three seeds, evaluation included. A training step
takes 33 ms of one core at a batch of 64; 22 ms with the neural functional, 54 ms for the graph
flow.
Measured: results/digits_equivariant.json.
"""

from ml_collections import config_dict

from configs import common
from wsjax import config as config_lib


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """Equivariant generators of digit classifiers."""
  arg = config_lib.parse_arg(
    arg,
    smoke=False,
    canonicalize=('permutation+scale', 'permutation', 'none'),
    generator=('flow_matching', 'graph_flow'),
    backbone=('graph_transformer', 'neural_functional'),
  )
  c = common.start('digits_equivariant', 'generation')
  c.zoo = common.digits_zoo()
  c.symmetry = dict(canonicalize=arg['canonicalize'], restarts=3)
  # The generators read the weights by architecture: flat, and no codec.
  c.tokens = dict(name='flat')
  c.normalize = dict(how='layer')
  c.codec = dict(name='identity')
  architecture = c.zoo.architecture.to_dict()
  if arg['generator'] == 'graph_flow':
    c.generator = dict(
      name='graph_flow', architecture=architecture, num_layers=8, width=64, depth=1, noise_std=0.1
    )
  else:
    c.generator = dict(
      name='flow_matching',
      backbone=dict(
        name=arg['backbone'],
        architecture=architecture,
        width=64 if arg['backbone'] == 'graph_transformer' else 128,
        depth=3,
      ),
      source_std=1.0,
      source_draws=0,
      path_std=0.0,
      solver='heun',
      num_steps=32,
    )
  c.train = common.train(seeds=(0, 1, 2), steps=4_000)
  c.evaluate = dict(num_samples=128, num_bootstrap=1_000, finetune_steps=50)
  if arg['smoke']:
    common.smoke(c)
    if arg['generator'] == 'graph_flow':
      c.generator.num_layers, c.generator.width = 2, 8
    else:
      c.generator.backbone.width, c.generator.backbone.depth = 8, 1
      c.generator.num_steps = 2
    c.train.seeds = (0,)
  return c.lock()
