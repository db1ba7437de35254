"""Neural functional: equivariant linear layers and non-linearities in turn.

The hidden state has one slot per set of units that some weight joins, not one per weight: a
first-layer kernel, which joins pinned inputs to hidden units,
and that layer's bias share a slot on the units alone. Nothing is lost, since what is pinned is only
more channels, and the layers are cheaper.

Source: Zhou et al. 2023, arXiv:2302.14040 (NFN); Navon et al. 2023, arXiv:2301.12780 (DWSNets);
Zhou et al. 2024, arXiv:2402.05232 (any spec).
"""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.layers import maxima, spec_layers
from wsjax.layers import slots as slots_lib
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib

_FREQUENCIES = 4  # Of positions along long pinned axes.


class Stack(nn.Module):
  """The equivariant part: weights to a hidden state.

  Attributes:
    spec: the architecture that is read.
    channels: width of every slot of the hidden state.
    depth: number of linear layers.
    fourier: learned frequencies at which each weight is read besides its value; 0 for none.
    max_folded: see `slots.views`.
  """

  spec: spec_lib.Spec
  channels: int = 64
  depth: int = 3
  fourier: int = 0
  max_folded: int = 64

  @nn.compact
  def __call__(self, params: typing.Params) -> dict[spec_layers.Labels, jax.Array]:
    """Weights of one network -> {labels: [*axes, channels]}."""
    state = self._read(params)
    for layer in range(self.depth):
      names = {' '.join(labels): labels for labels in state}
      state = spec_layers.SlotLinear(
        tuple(names.items()),
        tuple((name, labels, self.channels) for name, labels in names.items()),
        name=f'layer{layer}',
      )({name: state[labels] for name, labels in names.items()})
      state = {names[name]: nn.relu(value) for name, value in state.items()}
    return state

  def _read(self, params: typing.Params) -> dict[spec_layers.Labels, jax.Array]:
    """Weights, side by side where they join the same units."""
    frequencies = None
    if self.fourier:
      frequencies = self.param('frequencies', nn.initializers.normal(2.0), (self.fourier,))
    parts: dict[spec_layers.Labels, list[jax.Array]] = {}
    for view in slots_lib.views(self.spec, self.max_folded):
      features = _waves(jnp.asarray(params[view.path]), frequencies)
      labels, order = _sorted(view.labels)
      for value in (slots_lib.split(features, view), slots_lib.positions(view, _FREQUENCIES)):
        value = value.transpose(*order, len(order))
        parts.setdefault(labels, []).append(value)
    return {labels: jnp.concatenate(p, -1) for labels, p in parts.items()}


class NeuralFunctional(nn.Module):
  """An invariant embedding of one network.

  Attributes:
    stack: the equivariant part.
    embedding: length of the embedding.
    dropout: share of the pooled features that is dropped in training.
  """

  INVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)

  stack: Stack
  embedding: int = 128
  dropout: float = 0.0

  @nn.compact
  def __call__(self, params: typing.Params, *, train: bool = False) -> jax.Array:
    """Weights of one network -> [embedding]."""
    x = pool(self.stack(params))
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return nn.relu(nn.Dense(self.embedding)(x))


def pool(state: Mapping[spec_layers.Labels, jax.Array]) -> jax.Array:
  """Mean and maximum over the units of every slot, side by side: [d]."""
  parts = []
  for value in state.values():
    axes = tuple(range(value.ndim - 1))
    parts += [value.mean(axes), maxima.over(value, axes)] if axes else [value]
  return jnp.concatenate(parts)


def make(
  architecture: model_lib.Model,
  *,
  channels: int = 64,
  depth: int = 3,
  fourier: int = 0,
  max_folded: int = 64,
  embedding: int = 128,
  dropout: float = 0.0,
) -> NeuralFunctional:
  """The encoder for one architecture; see `Stack` and `NeuralFunctional`."""
  stack = Stack(architecture.spec, channels, depth, fourier, max_folded)
  return NeuralFunctional(stack, embedding, dropout)


def _waves(weight: jax.Array, frequencies: jax.Array | None) -> jax.Array:
  """[*shape] -> [*shape, 1 + 2 k]: a weight, its sines and its cosines."""
  if frequencies is None:
    return weight[..., None]
  angles = jnp.multiply.outer(weight, frequencies)
  return jnp.concatenate([weight[..., None], jnp.sin(angles), jnp.cos(angles)], -1)


def _sorted(labels: spec_layers.Labels) -> tuple[spec_layers.Labels, tuple[int, ...]]:
  """Labels in canonical order, and the axes that have them."""
  order = tuple(sorted(range(len(labels)), key=lambda i: (labels[i], i)))
  return tuple(labels[i] for i in order), order
