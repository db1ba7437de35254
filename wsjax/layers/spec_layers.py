"""The universal linear equivariant map between any two parameter trees.

Every equivariant linear map is a sum of simple ones: read the entries of a slot whose indices agree
in some pattern (the diagonal of a recurrent kernel), average over some of the indices, mix
channels, and write the result along the indices that are left, on entries that agree in some
pattern. Averages are taken once, and all over one set of neurons go through one matrix product.

Source: Zhou et al. 2024, arXiv:2402.05232, theorem 4.1 and appendix (universal neural functionals);
Maron et al. 2019, arXiv:1812.09902 (the basis by partitions of the indices).
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from wsjax import config, typing
from wsjax.layers import slots as slots_lib
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib

# Labels of the axes of a slot before the channels: sets of neurons, or long pinned factors.
Labels = tuple[str, ...]
_FREQUENCIES = 4  # Of positions along long pinned axes.


class SlotLinear(nn.Module):
  """Linear and equivariant between slots.

  Attributes:
    inputs: (name, labels) of every input slot.
    outputs: (name, labels, channels) of every output slot; each label is one of an input.
  """

  inputs: tuple[tuple[str, Labels], ...]
  outputs: tuple[tuple[str, Labels, int], ...]

  @nn.compact
  def __call__(
    self, slots: Mapping[str, Float[Array, '*axes c']]
  ) -> dict[str, Float[Array, '*axes channels']]:
    """Maps slots by name."""
    sizes = _sizes(self.inputs, slots)
    pooled: dict[Labels, list[jax.Array]] = {}
    for name, labels in self.inputs:
      for units, value in pools(slots[name], labels):
        pooled.setdefault(units, []).append(value)
    writes = _writes(self.outputs, pooled)
    result = {}
    for name, labels, width in self.outputs:
      bias = self.param(f'bias {name}', nn.initializers.zeros, (width,))
      result[name] = bias.reshape(*(1,) * len(labels), width)
    # Few axes first: the small sums are added up before the large one.
    for units in sorted(writes, key=lambda units: (len(units), units)):
      widths = [write.width for write in writes[units]]
      x = jnp.concatenate(pooled[units], -1)
      scales, lecun = _scales(writes, units), nn.initializers.lecun_normal()
      kernel = self.param(
        f'mix {" ".join(units) or "all"}',
        lambda key, shape: lecun(key, shape) * scales[None],
        (x.shape[-1], sum(widths)),
      )
      ends = list(itertools.accumulate(widths))[:-1]
      values = jnp.split(x @ kernel, ends, axis=-1)
      for write, value in zip(writes[units], values, strict=True):
        result[write.name] += spread(value, write.labels, write.pattern, write.kept, sizes)
    return {
      name: jnp.broadcast_to(result[name], (*(sizes[label] for label in labels), width))
      for name, labels, width in self.outputs
    }


class SpecLinear(nn.Module):
  """The universal equivariant linear map, from c to `features` features per weight of `spec`."""

  spec: spec_lib.Spec
  features: int
  max_folded: int = 64

  @nn.compact
  def __call__(self, features: slots_lib.Features) -> dict[str, Float[Array, '*shape features']]:
    """Maps features of weights by path."""
    views = slots_lib.views(self.spec, self.max_folded)
    inputs = {v.path: slots_lib.split(features[v.path], v) for v in views}
    outputs = SlotLinear(
      tuple((view.path, view.labels) for view in views),
      tuple((v.path, v.labels, v.folded * self.features) for v in views),
    )(inputs)
    return {
      view.path: slots_lib.join(outputs[view.path], view, leaf.shape)
      for view, leaf in zip(views, self.spec.leaves, strict=True)
    }


class SlotOptions(config.Section, nn.Module):
  """Options of modules that read networks as slots, and of the layers that they share.

  Attributes:
    architecture: model whose weights are read.
    channels: width of every slot of the hidden state.
    depth: number of linear layers.
    fourier: learned frequencies at which each weight is read besides its value; 0 for none.
    max_folded: most pinned weights that share channels; see `slots.views`.
  """

  architecture: model_lib.Model
  channels: config.PositiveInt = 64
  depth: config.NonNegativeInt = 3
  fourier: config.NonNegativeInt = 0
  max_folded: config.PositiveInt = 64

  def stack(self) -> 'SlotStack':
    """Makes the shared layers, inside a compact method."""
    options = dataclasses.fields(SlotOptions)
    own = {x.name: getattr(self, x.name) for x in options if x.name not in ('name', 'parent')}
    return SlotStack(**own, name='stack')


class SlotStack(SlotOptions):
  """Linear layers and non-linearities in turn, from weights to features of slots.

  The hidden state has one slot per set of neurons that some parameter joins, not one per parameter:
  a first-layer kernel, which joins pinned inputs to hidden neurons, and that layer's bias share a
  slot on the neurons alone.

  Source: Zhou et al. 2023, arXiv:2302.14040 (NFN); Navon et al. 2023, arXiv:2301.12780 (DWSNets).
  """

  @nn.compact
  def __call__(self, params: typing.Params) -> dict[Labels, Float[Array, '*axes channels']]:
    """Features of the slots of one network, by their labels."""
    state = self._read(params)
    for layer in range(self.depth):
      names = {' '.join(labels): labels for labels in state}
      state = SlotLinear(
        tuple(names.items()),
        tuple((name, labels, self.channels) for name, labels in names.items()),
        name=f'layer{layer}',
      )({name: state[labels] for name, labels in names.items()})
      state = {names[name]: nn.relu(value) for name, value in state.items()}
    return state

  def _read(self, params: typing.Params) -> dict[Labels, jax.Array]:
    """Weights, side by side where they join the same sets of neurons."""
    frequencies = None
    if self.fourier:
      frequencies = self.param('frequencies', nn.initializers.normal(2.0), (self.fourier,))
    parts: dict[Labels, list[jax.Array]] = {}
    for view in slots_lib.views(self.architecture.spec, self.max_folded):
      value = jnp.asarray(params[view.path])[..., None]
      if frequencies is not None:
        angles = jnp.multiply.outer(value[..., 0], frequencies)
        value = jnp.concatenate([value, jnp.sin(angles), jnp.cos(angles)], -1)
      # Labels in one order, so that kernels stored either way share a slot.
      order = sorted(range(len(view.labels)), key=lambda i, view=view: (view.labels[i], i))
      labels = tuple(view.labels[i] for i in order)
      for part in (slots_lib.split(value, view), slots_lib.positions(view, _FREQUENCIES)):
        parts.setdefault(labels, []).append(part.transpose(*order, len(order)))
    return {labels: jnp.concatenate(p, -1) for labels, p in parts.items()}


class _Write(NamedTuple):
  """One way to write an average to an output."""

  name: str
  labels: Labels
  width: int
  pattern: tuple[int, ...]
  kept: tuple[int, ...]


def _writes(
  outputs: tuple[tuple[str, Labels, int], ...], pooled: Mapping[Labels, list[jax.Array]]
) -> dict[Labels, list[_Write]]:
  """Every way to write averages to outputs, by their labels."""
  writes: dict[Labels, list[_Write]] = {}
  for name, labels, width in outputs:
    for pattern in patterns(labels):
      for units, kept in subsets(labels, pattern):
        if units in pooled:
          writes.setdefault(units, []).append(_Write(name, labels, width, pattern, kept))
  return writes


def _scales(writes: Mapping[Labels, list[_Write]], units: Labels) -> np.ndarray:
  """Factor per column of a mix, so that sums of k terms have variance 1."""
  terms = collections.Counter(w.name for ws in writes.values() for w in ws)
  scales = [np.full(w.width, terms[w.name] ** -0.5, np.float32) for w in writes[units]]
  return np.concatenate(scales)


def _sizes(
  inputs: tuple[tuple[str, Labels], ...], slots: Mapping[str, jax.Array]
) -> dict[str, int]:
  """Length of the axes of every label; raises ValueError for slots that do not fit their labels."""
  sizes: dict[str, int] = {}
  for name, labels in inputs:
    shape = slots[name].shape
    if len(shape) != len(labels) + 1:
      raise ValueError(f'Slot {name!r} has shape {shape}; its axes are {labels} and channels.')
    for label, size in zip(labels, shape, strict=False):
      if sizes.setdefault(label, size) != size:
        raise ValueError(f'Slot {name!r} has {size} of {label!r}; another has {sizes[label]}.')
  return sizes


def patterns(labels: Labels) -> list[tuple[int, ...]]:
  """Partitions of the axes of a slot into those that share an index; labels do not mix.

  A partition has the number of the block of every axis, numbered by first occurrence.
  """
  found: list[tuple[int, ...]] = [()]
  for place, label in enumerate(labels):
    longer = []
    for blocks in found:
      new = max(blocks, default=-1) + 1
      joined = sorted({blocks[i] for i in range(place) if labels[i] == label})
      longer += [(*blocks, block) for block in (*joined, new)]
    found = longer
  return found


def subsets(labels: Labels, pattern: tuple[int, ...]) -> Iterator[tuple[Labels, tuple[int, ...]]]:
  """Blocks of a pattern that may be kept: (their labels, sorted; the blocks in that order)."""
  label = {block: labels[pattern.index(block)] for block in set(pattern)}
  for count in range(len(label) + 1):
    for kept in itertools.combinations(sorted(label), count):
      ordered = tuple(sorted(kept, key=lambda block: (label[block], block)))
      yield tuple(label[block] for block in ordered), ordered


def pools(slot: jax.Array, labels: Labels) -> Iterator[tuple[Labels, jax.Array]]:
  """Every average that an equivariant map may read from a slot [*axes, c].

  Yields:
    (labels of the axes left, sorted; the average). Axes of one label come in every order.
  """
  for pattern in patterns(labels):
    # Entries whose indices agree within blocks: [*blocks, c].
    channel, own = len(pattern), sorted(set(pattern))
    tied = slot if len(own) == channel else jnp.einsum(slot, [*pattern, channel], [*own, channel])
    means = {tuple(own): tied}
    # From large to small, so that every mean is taken of the smallest array.
    for units, kept in sorted(subsets(labels, pattern), key=lambda s: -len(s[0])):
      ordered = tuple(sorted(kept))
      if ordered not in means:
        parent = min(
          (k for k in means if set(ordered) < set(k)), key=lambda k: (len(k), means[k].size)
        )
        axes = tuple(i for i, block in enumerate(parent) if block not in kept)
        means[ordered] = means[parent].mean(axes)
      for turned in _orders(units, kept):
        value = means[ordered]
        order = [ordered.index(block) for block in turned]
        yield units, value.transpose(*order, len(order))


def spread(
  value: jax.Array,
  labels: Labels,
  pattern: tuple[int, ...],
  kept: tuple[int, ...],
  sizes: Mapping[str, int],
) -> jax.Array:
  """Writes an average [*kept blocks, c] along the axes of a slot.

  It repeats along the blocks that are not kept; entries off the diagonal of the pattern are 0.

  Returns:
    [*axes, c], or with axes of length 1 where plain repetition is enough.
  """
  blocks = max(pattern, default=-1) + 1
  order = sorted(range(len(kept)), key=lambda i: kept[i])
  value = value.transpose(*order, len(order))
  for block in range(blocks):
    if block not in kept:
      value = jnp.expand_dims(value, block)
  for axis, block in enumerate(pattern):
    if block in pattern[:axis]:
      # Indices up to here are axes 0 .. axis - 1; tie a new one to its first.
      value = _tie(value, pattern.index(block), axis, sizes[labels[axis]])
  return value


def _tie(value: jax.Array, first: int, axis: int, size: int) -> jax.Array:
  """Inserts an axis that is 0 unless its index is that of axis `first`."""
  shape = [1] * (value.ndim + 1)
  shape[first] = shape[axis] = size
  return jnp.expand_dims(value, axis) * jnp.eye(size).reshape(shape)


def _orders(units: Labels, kept: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
  """Orders of the kept blocks that agree with sorted labels."""
  runs = [
    [block for _, block in run]
    for _, run in itertools.groupby(zip(units, kept, strict=True), key=lambda pair: pair[0])
  ]
  for choice in itertools.product(*map(itertools.permutations, runs)):
    yield tuple(itertools.chain.from_iterable(choice))
