"""Networks: N networks of one model, as one pytree, and the batched runner over them."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, overload

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from wsjax import typing
from wsjax.symmetry import spec as spec_lib

CHUNK = 128  # Networks per compiled call.

Indices: TypeAlias = Int[typing.Array, ' m'] | Bool[typing.Array, ' n']


@flax.struct.dataclass(eq=False)
class Networks:
  """N networks of one model; a pytree, so it passes through `jit` and `grad`.

  Attributes:
    params: path -> [n, ...].
    spec: shapes of the parameters of one network, and its symmetries; static.
  """

  params: typing.StackedParams
  spec: spec_lib.Spec = flax.struct.field(pytree_node=False)

  def __len__(self) -> int:
    return length(self.params)

  @overload
  def __getitem__(self, rows: int) -> typing.Params: ...
  @overload
  def __getitem__(self, rows: slice | Indices) -> 'Networks': ...
  def __getitem__(self, rows: Any) -> Any:
    """One network as path -> [...] for an integer; else those of a slice, indices or a mask."""
    taken = {path: value[rows] for path, value in self.params.items()}
    return taken if isinstance(rows, int | np.integer) else Networks(taken, self.spec)

  def __iter__(self) -> Iterator[typing.Params]:
    return (self[row] for row in range(len(self)))

  def __repr__(self) -> str:
    return f'Networks({len(self)} of {self.spec.num_params} weights)'

  def check(self) -> 'Networks':
    """Returns itself; raises ValueError unless paths and shapes are those of the spec."""
    self.spec.check(self.params, stacked=True)
    lengths = {path: len(value) for path, value in self.params.items()}
    if len(set(lengths.values())) > 1:
      raise ValueError(f'Networks need one leading length for all parameters; got {lengths}.')
    return self

  def host(self) -> 'Networks':
    """Copies the weights to NumPy arrays."""
    return Networks(jax.device_get(self.params), self.spec)

  @staticmethod
  def concat(parts: 'Sequence[Networks]') -> 'Networks':
    """Joins networks on the host; raises ValueError if there are no parts or their specs differ."""
    if len({part.spec for part in parts}) != 1:
      raise ValueError(f'concat needs parts of one spec; got {len(parts)} parts.')
    return Networks(join([part.params for part in parts]), parts[0].spec)

  def flat(self) -> Float[typing.Array, 'n p']:
    """Every network as one float32 vector, parameters in sorted order of their paths."""
    if all(isinstance(value, np.ndarray) for value in self.params.values()):
      return flatten(self.params)
    parts = (jnp.asarray(self.params[path], jnp.float32) for path in sorted(self.params))
    return jnp.concatenate([part.reshape(len(self), -1) for part in parts], axis=1)

  @classmethod
  def from_flat(cls, vectors: Float[typing.Array, 'n p'], spec: spec_lib.Spec) -> 'Networks':
    """Inverts `flat`; raises ValueError for vectors of another length than the spec has weights."""
    if vectors.ndim != 2 or vectors.shape[1] != spec.num_params:
      raise ValueError(f'Vectors have shape {vectors.shape}; needed is [n, {spec.num_params}].')
    params, start = {}, 0
    for leaf in sorted(spec.leaves, key=lambda leaf: leaf.path):
      stop = start + int(np.prod(leaf.shape))
      params[leaf.path] = vectors[:, start:stop].reshape(len(vectors), *leaf.shape)
      start = stop
    return cls(params, spec)

  def finite(self) -> Bool[np.ndarray, ' n']:
    """Whether all weights of each network are finite and at most 1e6 in size."""
    return spec_lib.finite(self.params)

  def map(self, fn: Callable[[typing.Params], Any], chunk: int | None = None) -> Any:
    """Runs a function of one network on all of them.

    Args:
      fn: params of one network -> pytree of arrays; compiled once per function object.
      chunk: networks per compiled call; None is all of them, at most 128.

    Returns:
      As `in_chunks`.
    """
    vmapped = functools.partial(_vmapped, fn)
    return in_chunks(vmapped, self.params, chunk or min(len(self), CHUNK))


def in_chunks(fn: Callable[[Any], Any], stacked: typing.PyTree, chunk: int = CHUNK) -> Any:
  """Runs a compiled function on many examples, in calls of one shape.

  Args:
    fn: arrays [chunk, ...] -> pytree of arrays [chunk, ...].
    stacked: pytree of arrays [n, ...], n >= 1. The last call is filled up with the last example.
    chunk: examples per call.

  Returns:
    The pytree with NumPy arrays [n, ...].
  """
  count = length(stacked)
  parts = []
  for start in range(0, count, chunk):
    rows = np.minimum(np.arange(start, start + chunk), count - 1)
    parts.append(jax.device_get(fn(jax.tree.map(lambda x, rows=rows: x[rows], stacked))))
  return jax.tree.map(lambda *x: np.concatenate(x)[:count], *parts)


def length(stacked: typing.PyTree) -> int:
  """Number of networks, or of other examples, in a pytree of arrays [n, ...]."""
  return len(jax.tree.leaves(stacked)[0])


def take(params: typing.StackedParams, rows: Indices | slice) -> typing.StackedParams:
  """Some of the networks of a stack, on the host."""
  return {path: np.asarray(value)[rows] for path, value in params.items()}


def join(parts: Sequence[typing.StackedParams]) -> typing.StackedParams:
  """The networks of all parts, one part behind the other, on the host."""
  return {path: np.concatenate([np.asarray(part[path]) for part in parts]) for path in parts[0]}


def flatten(params: typing.StackedParams) -> Float[np.ndarray, 'n p']:
  """Every network as one vector on the host; see `Networks.flat`."""
  parts = (np.asarray(params[path], np.float32) for path in sorted(params))
  return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def evenly(count: int, limit: int) -> Int[np.ndarray, ' m']:
  """At most `limit` >= 1 of `count` indices, evenly spaced, increasing.

  Networks lie in blocks, one per seed, so that the first ones would be of one seed.
  """
  return np.linspace(0, count - 1, min(count, limit)).round().astype(int)


@jax.jit(static_argnums=0)
def _vmapped(fn: Callable[[typing.Params], Any], params: typing.StackedParams) -> Any:
  return jax.vmap(fn)(params)
