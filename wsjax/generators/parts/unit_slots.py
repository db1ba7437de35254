"""Weights of one network, grouped by the hidden units that they join, and equivariant layers.

Pinned axes, pixels and classes, are channels. So an MLP with one hidden layer has one row of
channels per hidden unit, its incoming and outgoing weights, and one row for the output biases; a
kernel between two hidden layers has one entry per pair of units. The map is lossless.
"""

import functools
from collections.abc import Mapping
from typing import TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.layers import slots as slots_lib
from wsjax.layers import spec_layers
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import flat, layout

Labels = spec_layers.Labels
# Sorted group ids -> [*units of each, c].
Slots: TypeAlias = Mapping[Labels, jax.Array]
Channels: TypeAlias = tuple[tuple[Labels, int], ...]

# Longer than any pinned axis: every one is channels.
MAX_FOLDED = 1 << 30


def read(params: typing.Params, spec: spec_lib.Spec) -> Slots:
  """Groups the weights of one network: {labels: [*axes, c]}; see `channels`."""
  parts: dict[Labels, list[jax.Array]] = {}
  for view, (labels, order) in _sorted(spec).items():
    value = slots_lib.split(params[view.path][..., None], view)
    value = value.transpose(*order, len(order))
    parts.setdefault(labels, []).append(value)
  return {labels: jnp.concatenate(p, -1) for labels, p in parts.items()}


def of_tokens(x: typing.Array, spec: spec_lib.Spec) -> Slots:
  """Groups the flat tokens [1, D] of one network; raises ValueError for another shape."""
  return read(flat.Flat().detokenize(x, spec), spec)


def to_tokens(slots: Slots, spec: spec_lib.Spec) -> jax.Array:
  """Inverse of `of_tokens`."""
  return layout.flatten(write(slots, spec), spec)[None]


def write(slots: Slots, spec: spec_lib.Spec) -> typing.Params:
  """Inverse of `read`."""
  starts = dict.fromkeys(slots, 0)
  params = {}
  shapes = {leaf.path: leaf.shape for leaf in spec.leaves}
  for view, (labels, order) in _sorted(spec).items():
    start = starts[labels]
    starts[labels] = stop = start + view.folded
    back = sorted(range(len(order)), key=lambda i, order=order: order[i])
    value = slots[labels][..., start:stop].transpose(*back, len(back))
    params[view.path] = slots_lib.join(value, view, shapes[view.path])[..., 0]
  return params


@functools.cache
def channels(spec: spec_lib.Spec) -> Channels:
  """(labels, channels) of every slot of an architecture."""
  widths: dict[Labels, int] = {}
  for view, (labels, _) in _sorted(spec).items():
    widths[labels] = widths.get(labels, 0) + view.folded
  return tuple(widths.items())


def name(labels: Labels) -> str:
  """Name of the parameters of a slot."""
  return ' '.join(labels) or 'rest'


def along(vector: typing.Array, value: jax.Array) -> typing.Array:
  """Adds leading axes to a vector [c], so that it broadcasts to a slot [*units, c]."""
  return vector.reshape(*(1,) * (value.ndim - vector.ndim), *vector.shape)


@functools.cache
def _sorted(spec: spec_lib.Spec) -> dict[slots_lib.View, tuple[Labels, tuple[int, ...]]]:
  """View -> its labels in canonical order, and the axes that have them."""
  found = {}
  for view in slots_lib.views(spec, MAX_FOLDED):
    order = tuple(sorted(range(len(view.labels)), key=lambda i: (view.labels[i], i)))
    found[view] = tuple(view.labels[i] for i in order), order
  return found


class SlotNet(nn.Module):
  """Pre-norm residual blocks of equivariant linear maps.

  For an MLP with one hidden layer it is a deep set over hidden units, beside one row for the output
  biases. The output is zero at initialisation.

  Attributes:
    channels: labels -> channels of every slot that is written.
    width: of every slot between.
    depth: number of blocks.
    dropout: share of features dropped while training.

  Source: Zhou et al. 2024, arXiv:2402.05232 (the linear maps between slots).
  """

  channels: Channels
  width: int
  depth: int
  dropout: float = 0.0

  @nn.compact
  def __call__(self, slots: Slots, given: jax.Array | None = None, *, train=False) -> Slots:
    """{labels: [*axes, c]}, features [g] or None -> {labels: [*axes, c']}."""
    names = {labels: name(labels) for labels in slots}
    linear = functools.partial(
      spec_layers.SlotLinear,
      tuple((names[labels], labels) for labels in slots),
      tuple((names[labels], labels, self.width) for labels in slots),
    )
    drop = nn.Dropout(self.dropout, deterministic=not train)
    state = linear(name='in')({names[labels]: value for labels, value in slots.items()})
    for number in range(self.depth):
      update = {key: nn.LayerNorm(name=f'norm{number} {key}')(x) for key, x in state.items()}
      update = linear(name=f'wide{number}')(update)
      for key, value in update.items():
        if given is not None:
          shift = nn.Dense(self.width, name=f'given{number} {key}')(given)
          value += along(shift, value)
        back = nn.Dense(self.width, name=f'back{number} {key}')
        state[key] += back(drop(nn.gelu(value)))
    out, zeros = {}, nn.initializers.zeros
    for labels, width in self.channels:
      value = nn.LayerNorm(name=f'norm {names[labels]}')(state[names[labels]])
      out[labels] = nn.Dense(width, kernel_init=zeros, name=f'out {names[labels]}')(value)
    return out


class Gains(nn.Module):
  """Slots scaled by numbers that depend on time and condition; zero at initialisation.

  A field over noisy weights is mostly such a multiple of them, which is hard to learn behind
  normalized layers.
  """

  @nn.compact
  def __call__(self, slots: Slots, given: jax.Array) -> Slots:
    """{labels: [*axes, c]}, features [g] -> slots with every channel scaled."""
    scaled, zeros = {}, nn.initializers.zeros
    for labels, value in slots.items():
      dense = nn.Dense(value.shape[-1], kernel_init=zeros, name=name(labels))
      scaled[labels] = value * along(dense(given), value)
    return scaled
