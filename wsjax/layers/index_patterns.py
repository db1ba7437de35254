"""Patterns of indices that a linear equivariant map may read and write.

A slot has one axis per set of neurons. Two axes on one set may share an index (the diagonal), and
any axis may be averaged over; a map writes along the axes that are left, to entries whose indices
agree in a pattern of their own.

Source: Maron et al. 2019, arXiv:1812.09902 (the basis by partitions of the indices).
"""

import itertools
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp

# Labels of the axes of a slot before the channels: sets of neurons, or long pinned factors.
Labels = tuple[str, ...]


def patterns(labels: Labels) -> list[tuple[int, ...]]:
  """Partitions of the axes of a slot into those that share an index.

  Args:
    labels: of the axes.

  Returns:
    Partitions as block numbers per axis, numbered by first occurrence; axes of different labels are
    never in one block.
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
  """Blocks of a pattern that may be kept, in canonical order.

  Args:
    labels: of the axes.
    pattern: block number of each axis.

  Yields:
    (labels of the kept blocks, sorted; the blocks in that order).
  """
  label = {block: labels[pattern.index(block)] for block in set(pattern)}
  for count in range(len(label) + 1):
    for kept in itertools.combinations(sorted(label), count):
      ordered = tuple(sorted(kept, key=lambda block: (label[block], block)))
      yield tuple(label[block] for block in ordered), ordered


def pools(slot: jax.Array, labels: Labels) -> Iterator[tuple[Labels, jax.Array]]:
  """Every average that an equivariant map may read from a slot.

  Args:
    slot: [*axes, c].
    labels: of its axes.

  Yields:
    (labels of the axes left, sorted; the average). Axes of one label come in every order.
  """
  for pattern in patterns(labels):
    tied = _diagonal(slot, pattern)
    blocks = max(pattern, default=-1) + 1
    means = {tuple(range(blocks)): tied}
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
  """Writes an average along the axes of a slot.

  Args:
    value: [*kept blocks, c].
    labels: of the axes of the slot.
    pattern: which of them share an index; entries off that diagonal are 0.
    kept: block along each axis of `value`; it repeats along the other blocks.
    sizes: label -> length.

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


def _diagonal(slot: jax.Array, pattern: tuple[int, ...]) -> jax.Array:
  """Entries whose indices agree within blocks: [*blocks, c]."""
  if len(set(pattern)) == len(pattern):
    return slot
  channel = len(pattern)
  out = sorted(set(pattern))
  return jnp.einsum(slot, [*pattern, channel], [*out, channel])


def _orders(units: Labels, kept: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
  """Orders of the kept blocks that agree with sorted labels."""
  runs = [
    [block for _, block in run]
    for _, run in itertools.groupby(zip(units, kept, strict=True), key=lambda pair: pair[0])
  ]
  for choice in itertools.product(*map(itertools.permutations, runs)):
    yield tuple(itertools.chain.from_iterable(choice))
