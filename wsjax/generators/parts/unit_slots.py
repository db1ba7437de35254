"""Weights of one network, grouped by the hidden units that they join.

Pinned axes, pixels and classes, are channels. So an MLP with one hidden layer has one row of
channels per hidden unit, its incoming and outgoing weights, and one row for the output biases; a
kernel between two hidden layers has one entry per pair of units. The map is lossless.
"""

import functools
from collections.abc import Mapping
from typing import TypeAlias

import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.layers import index_patterns
from wsjax.layers import slots as slots_lib
from wsjax.symmetry import spec as spec_lib

Labels = index_patterns.Labels
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
