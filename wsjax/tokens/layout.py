"""Tokenizers of arrays as tables: the index of the weight at every place of every token.

Tokenizing gathers weights and never computes with them, so the round trip is exact.
"""

import abc
import dataclasses
import functools
import math

import flax.struct
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from wsjax import typing
from wsjax.symmetry import spec as spec_lib


@flax.struct.dataclass
class Tokens:
  """One network as tokens.

  Attributes:
    values: weights; 0 where padded.
    mask: True = a real weight.
  """

  values: Float[Array, 't d']
  mask: Bool[Array, 't d']


@dataclasses.dataclass(frozen=True)
class Tokenizer(abc.ABC):
  """Tokenizer by a table, which a subclass defines."""

  @abc.abstractmethod
  def table(self, spec: spec_lib.Spec) -> Int[np.ndarray, 't d']:
    """Indices of weights in the order of `flatten`; -1 = padding."""

  def shape(self, spec: spec_lib.Spec) -> tuple[int, int]:
    """(T, D) of the tokens of one network."""
    return _table(self, spec).shape

  def tokenize(self, params: typing.Params, spec: spec_lib.Spec) -> Tokens:
    """Weights of one network as tokens; vmap for many.

    Raises:
      ValueError: if `params` do not fit `spec`, or have several dtypes.
    """
    table = _table(self, spec)
    vector, flat = flatten(params, spec), table.reshape(-1)
    if np.array_equal(flat, np.arange(len(flat))):
      # A gather would copy for nothing.
      values = jnp.reshape(vector[: len(flat)], table.shape)
    else:
      values = jnp.where(table >= 0, vector[np.maximum(table, 0)], jnp.zeros((), vector.dtype))
    return Tokens(values, jnp.asarray(table >= 0))

  def detokenize(self, values: Float[Array, 't d'], spec: spec_lib.Spec) -> typing.Params:
    """Weights of the network whose tokens have these values; padding is ignored.

    Raises:
      ValueError: if `values` has another shape than the tokens of `spec`.
    """
    table = _table(self, spec)
    if tuple(values.shape) != table.shape:
      raise ValueError(
        f'Token values have shape {tuple(values.shape)}; this architecture '
        f'has tokens of shape {table.shape}.'
      )
    flat, vector = table.reshape(-1), jnp.reshape(values, (-1,))
    if not np.array_equal(flat, np.arange(spec.num_params)):
      place = np.full(spec.num_params, -1)
      place[flat[flat >= 0]] = np.flatnonzero(flat >= 0)
      vector = vector[place]
    return unflatten(vector, spec)


@functools.cache
def _table(tokenizer: Tokenizer, spec: spec_lib.Spec) -> np.ndarray:
  """The table of a tokenizer, computed once per architecture."""
  return tokenizer.table(spec)


def flatten(params: typing.Params, spec: spec_lib.Spec) -> Float[Array, ' p']:
  """Weights of one network, parameter after parameter in the order of the spec.

  Raises:
    ValueError: if `params` do not fit `spec`, or have several dtypes.
  """
  check(params, spec)
  return jnp.concatenate([jnp.reshape(params[leaf.path], (-1,)) for leaf in spec.leaves])


def check(params: typing.Params, spec: spec_lib.Spec) -> None:
  """Raises ValueError unless `params` fit `spec` and have one dtype."""
  spec.check(params)
  dtypes = {jnp.result_type(params[leaf.path]) for leaf in spec.leaves}
  if len(dtypes) > 1:
    raise ValueError(f'Weights have dtypes {sorted(map(str, dtypes))}; tokens need one.')


def unflatten(vector: Float[Array, ' p'], spec: spec_lib.Spec) -> typing.Params:
  """Inverse of `flatten`."""
  params, start = {}, 0
  for leaf in spec.leaves:
    stop = start + math.prod(leaf.shape)
    params[leaf.path] = jnp.reshape(vector[start:stop], leaf.shape)
    start = stop
  return params


def leaf_indices(spec: spec_lib.Spec) -> dict[str, np.ndarray]:
  """Path -> array of the parameter's shape that holds indices into `flatten`."""
  sizes = [math.prod(leaf.shape) for leaf in spec.leaves]
  pieces = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
  return {
    leaf.path: piece.reshape(leaf.shape) for leaf, piece in zip(spec.leaves, pieces, strict=True)
  }


def layers(spec: spec_lib.Spec) -> dict[str, tuple[spec_lib.Leaf, ...]]:
  """Layer name, the path up to the last slash -> its parameters in forward order."""
  found: dict[str, list[spec_lib.Leaf]] = {}
  for leaf in spec.leaves:  # What a layer does not compute with comes last, apart from the rest.
    found.setdefault(leaf.path.rpartition('/')[0], []).append(leaf)
  return {name: tuple(leaves) for name, leaves in found.items()}
