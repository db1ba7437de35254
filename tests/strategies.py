"""Random networks of every kind of symmetry, for property-based tests.

Widths come from a small pool, because every new shape is compiled again; weights and group elements
vary by seed.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from wsjax.models import mlp
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib

OMEGA = 30.0
SEEDS = st.integers(0, 2**20)
ACTIVATIONS = mlp.ACTIVATIONS | {'sine': lambda x: jnp.sin(OMEGA * x)}


@dataclasses.dataclass(frozen=True)
class Case:
  """A network: its symmetry, its function, and where its inputs live."""

  name: str
  spec: spec_lib.Spec
  forward: Callable
  input_shape: tuple[int, ...]
  activation: str

  @property
  def model(self):
    return CaseModel(self)

  def params(self, seed, num=None):
    """Random weights of one net, or stacked weights of `num` nets."""
    rng = np.random.default_rng(seed)
    lead = () if num is None else (num,)
    params = {}
    for leaf in self.spec.leaves:
      fan_in = max(math.prod(leaf.shape[:-1]), 1)
      bound = math.sqrt(6 / fan_in)
      if self.activation == 'sine' and leaf.path != 'layer0/kernel':
        bound /= OMEGA if leaf.path.endswith('kernel') else 1
      if leaf.path.endswith('bias'):
        bound = 0.2
      params[leaf.path] = rng.uniform(-bound, bound, (*lead, *leaf.shape)).astype(np.float32)
    return params

  def inputs(self, seed, num=6):
    rng = np.random.default_rng(seed + 1)
    return rng.uniform(-1, 1, (num, *self.input_shape)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class CaseModel(model_lib.Model):
  """A case as a model, for what reads models."""

  case: Case
  spec = property(lambda self: self.case.spec)
  input_shape = property(lambda self: self.case.input_shape)

  def init(self, key):
    del key
    return {path: jnp.asarray(value) for path, value in self.case.params(0).items()}

  def forward(self, params, inputs, dropout=None):
    del dropout
    return self.case.forward(params, inputs), {}


def make_mlp(widths=(5, 4, 3, 2), activation='relu'):
  """An MLP, or with activation 'sine' a SIREN."""
  ids = [None, *(f'hidden{i}' for i in range(len(widths) - 2)), None]
  kinds = spec_lib.ACTIVATION_KINDS[activation]
  half_turn = math.pi / OMEGA if 'phase' in kinds else 0.0
  groups = tuple(
    spec_lib.Group(id, n, kinds, half_turn) for id, n in zip(ids[1:-1], widths[1:-1], strict=True)
  )
  leaves = []
  for i in range(len(widths) - 1):
    leaves += spec_lib.dense(f'layer{i}', widths[i], widths[i + 1], reads=ids[i], feeds=ids[i + 1])

  def forward(params, x):
    for i in range(len(widths) - 1):
      bias = jnp.asarray(params[f'layer{i}/bias'])
      x = x @ params[f'layer{i}/kernel'] + bias[None]
      if i < len(widths) - 2:
        x = ACTIVATIONS[activation](x)
    return x

  return Case(
    f'mlp{widths}-{activation}',
    spec_lib.Spec(groups, tuple(leaves)),
    forward,
    (widths[0],),
    activation,
  )


def make_cnn(channels=(3, 4), hidden=5, activation='relu'):
  """Two convolutions on 4 x 4 images, a flatten, two dense layers."""
  kinds = spec_lib.ACTIVATION_KINDS[activation]
  sizes = (*channels, hidden)
  groups = tuple(spec_lib.Group(f'hidden{i}', n, kinds) for i, n in enumerate(sizes))
  one, two, three = (group.id for group in groups)
  leaves = (
    *spec_lib.conv('layer0', (3, 3), 2, sizes[0], reads=None, feeds=one),
    *spec_lib.conv('layer1', (3, 3), *sizes[:2], reads=one, feeds=two),
    *spec_lib.dense('layer2', 16 * sizes[1], hidden, reads=two, feeds=three, outer=16),
    *spec_lib.dense('layer3', hidden, 2, reads=three, feeds=None),
  )

  def forward(params, x):
    for i in range(2):
      x = jax.lax.conv_general_dilated(
        x,
        jnp.asarray(params[f'layer{i}/kernel']),
        (1, 1),
        'SAME',
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      )
      bias = jnp.asarray(params[f'layer{i}/bias'])
      x = ACTIVATIONS[activation](x + bias[None, None, None])
    x = x.reshape(x.shape[0], -1)
    for i in (2, 3):
      bias = jnp.asarray(params[f'layer{i}/bias'])
      x = x @ params[f'layer{i}/kernel'] + bias[None]
      x = ACTIVATIONS[activation](x) if i == 2 else x
    return x

  return Case(
    f'cnn{channels}-{hidden}-{activation}',
    spec_lib.Spec(groups, leaves),
    forward,
    (4, 4, 2),
    activation,
  )


def make_recurrent(width=4, activation='tanh', steps=3):
  """A recurrent net: one kernel has the same group on both axes."""
  group = spec_lib.Group('state', width, spec_lib.ACTIVATION_KINDS[activation])
  feeds = spec_lib.Axis('state')
  reads = spec_lib.Axis('state', power=-1)
  leaves = (
    *spec_lib.dense('input', 3, width, reads=None, feeds='state'),
    spec_lib.Leaf('recurrent/kernel', (width, width), (reads, feeds)),
    *spec_lib.dense('output', width, 2, reads='state', feeds=None),
  )

  def forward(params, x):
    state = jnp.zeros((x.shape[0], width))
    for step in range(steps):
      state = ACTIVATIONS[activation](
        x[:, step] @ params['input/kernel']
        + jnp.asarray(params['input/bias'])[None]
        + state @ params['recurrent/kernel']
      )
    bias = jnp.asarray(params['output/bias'])
    return state @ params['output/kernel'] + bias[None]

  return Case(
    f'rnn{width}-{activation}', spec_lib.Spec((group,), leaves), forward, (steps, 3), activation
  )


CASES = (
  make_mlp((5, 4, 2), 'relu'),
  make_mlp((5, 4, 3, 2), 'relu'),
  make_mlp((3, 6, 5, 4, 2), 'leaky_relu'),
  make_mlp((5, 4, 3, 2), 'tanh'),
  make_mlp((2, 6, 5, 1), 'sine'),
  make_mlp((5, 4, 3, 2), 'gelu'),
  make_cnn((3, 4), 5, 'relu'),
  make_cnn((2, 3), 4, 'tanh'),
  make_recurrent(4, 'tanh'),
  make_recurrent(5, 'relu'),
)


def cases(kind=None):
  """Draws a network; `kind` restricts to specs with a group of that kind."""
  return st.sampled_from(
    [case for case in CASES if kind is None or any(kind in g.kinds for g in case.spec.groups)]
  )
