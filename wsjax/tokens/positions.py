"""Positions of tokens in a network, as numbers and as features."""

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import layout


def positions(tokenizer: layout.Tokenizer, spec: spec_lib.Spec) -> np.ndarray:
  """Layer, row and column of the first weight of every token.

  Returns:
    [T, 3] int. The column counts along the last axis of the parameter (the neuron), the row along
    all axes before it (the inputs of the neuron; a bias is one row more), the layer from 0 in
    forward order.
  """
  table = tokenizer.table(spec)
  where = np.zeros((spec.num_params, 3), int)
  indices = layout.leaf_indices(spec)
  for number, leaves in enumerate(layout.layers(spec).values()):
    above = 0
    for leaf in leaves:
      grid = indices[leaf.path].reshape(-1, *leaf.shape[-1:] or (1,))
      rows, columns = np.indices(grid.shape)
      place = [np.full_like(rows, number), rows + above, columns]
      where[grid] = np.stack(place, -1)
      above += len(grid)
  return where[table[:, 0]]


def sinusoidal(values: typing.Array, features: int) -> jax.Array:
  """Sines, then cosines of numbers [*b], at wavelengths from 2 pi to nearly 2 pi 10^4.

  Returns:
    [*b, features] in [-1, 1].

  Raises:
    ValueError: if `features` is odd or below 2.

  Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5.
  """
  if features < 2 or features % 2:
    raise ValueError(f'Encodings need an even size >= 2; got {features}.')
  half = features // 2
  frequencies = 1e4 ** -(np.arange(half, dtype=np.float32) / half)
  angles = jnp.multiply.outer(jnp.asarray(values, jnp.float32), frequencies)
  return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)
