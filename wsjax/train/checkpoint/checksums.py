"""Description of a checkpoint, with checksums of its weights however they are sharded.

Every element is a word, or several; each is mixed with its place in the array, and the mixed words
are added modulo 2^32, in two lanes. A sum does not depend on the order of its terms, so it is the
same on any devices and in any number of processes, and no array leaves its device.

A changed word always changes both lanes, since mixing is one to one. Anything else is missed once
in 2^64. This finds accidents, not forgeries: for those see `wsjax.zoo.store.digest`.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import distributed, typing
from wsjax.zoo.store import digest

Description = dict[str, Any]


class Damaged(Exception):
  """A checkpoint that is not what was saved."""


def describe(
  step: int, tree: typing.PyTree, history: dict[str, list[float]], metric: float | None
) -> Description:
  """Describes a tree of arrays: leaves, checksums, history, metric, and a digest of all that.

  The history is copied; a metric that is not finite becomes None.
  """
  if metric is not None:
    metric = float(metric) if math.isfinite(metric) else None
  described = {'step': step, 'leaves': leaves(tree), 'history': history, 'metric': metric}
  described |= {'checksums': checksums(tree)}
  described = json.loads(json.dumps(described))
  return {**described, 'digest': _digest(described)}


def check_description(described: Description, step: int) -> None:
  """Raises `Damaged` unless this is the description of a step, unchanged."""
  is_old = 'digests' in described  # Of a version before checksums.
  if not {'leaves', 'history'} <= set(described) or (
    not is_old and described.get('digest') != _digest(described)
  ):
    raise Damaged('its description was changed')
  if not is_old and described['step'] != step:
    raise Damaged(f'it was saved as step {described["step"]}')


def check_model(described: Description, like: typing.PyTree) -> str | None:
  """What in a checkpoint is not as in a tree, or None if it fits."""
  there, here = described['leaves'], leaves(like)
  for path in sorted({*there, *here}):
    if there.get(path) != here.get(path):
      return f'{path} is {there.get(path, "not")} there and {here.get(path, "not")} here'
  return None


def check_values(described: Description, tree: typing.PyTree) -> None:
  """Raises `Damaged` unless these are the values that were saved."""
  if 'checksums' in described:
    changed = damaged(described['checksums'], tree)
  else:
    found = {
      jax.tree_util.keystr(path): digest.of_tensors({'leaf': distributed.everywhere(leaf)})
      for path, leaf in jax.tree.leaves_with_path(tree)
    }
    changed = sorted(path for path in found if found[path] != described['digests'].get(path))
  if changed:
    more = f' and {len(changed) - 3} more' if changed[3:] else ''
    raise Damaged(f'the values of {", ".join(changed[:3])}{more} were changed')


def leaves(tree: typing.PyTree) -> dict[str, str]:
  """Type and shape of every leaf, by its path."""
  return {
    jax.tree_util.keystr(path): f'{leaf.dtype}{list(leaf.shape)}'
    for path, leaf in jax.tree.leaves_with_path(tree)
  }


def _digest(described: Description) -> str:
  rest = {key: value for key, value in described.items() if key != 'digest'}
  return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


# Of a lane: step between the keys of neighbours, and the finaliser as (shift, factor, shift,
# factor, shift). Source: MurmurHash3 by A. Appleby; lowbias32 by C. Wellons. Checkpoints of the
# past need them as they are.
_LANES = (
  (0x9E3779B1, (16, 0x85EBCA6B, 13, 0xC2B2AE35, 16)),
  (0x85EBCA77, (16, 0x7FEB352D, 15, 0x846CA68B, 16)),
)
_WORD = 1 << 32


def checksums(tree: typing.PyTree) -> dict[str, str]:
  """A checksum of every leaf, by its path: 16 hex digits.

  They depend on every bit of the leaf, on the order of its elements, its dtype and its shape, and
  on nothing else. In a run of several processes all of them call this, with the same global arrays.

  Raises:
    ValueError: for a leaf that is no array of whole bytes, or whose index does not fit in 64 bits.
  """
  paths, inputs, headers = [], [], []
  for path, leaf in jax.tree.leaves_with_path(tree):
    paths.append(jax.tree_util.keystr(path))
    leaf = leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
    if not _is_supported(leaf.dtype):
      raise ValueError(
        f'{paths[-1]} has dtype {leaf.dtype}; only numbers of whole bytes, booleans and typed '
        'keys have a checksum.'
      )
    headers.append(f'{leaf.dtype}{list(leaf.shape)}')
    inputs.append(_input(leaf))
  texts = {}
  for path, header, sums in zip(paths, headers, jax.device_get(_sums(inputs)), strict=True):
    # The same bytes under another dtype or shape are another leaf.
    start = np.frombuffer(hashlib.sha256(header.encode()).digest()[:8], '<u4')
    lanes = [(int(a) + int(b)) % _WORD for a, b in zip(start, sums, strict=True)]
    texts[path] = ''.join(f'{lane:08x}' for lane in lanes)
  return texts


def damaged(expected: Mapping[str, str], tree: typing.PyTree) -> list[str]:
  """Sorted paths of a tree whose checksum is not the expected one, or that only one of both has."""
  found = checksums(tree)
  return sorted(path for path in {*expected, *found} if expected.get(path) != found.get(path))


def _is_supported(dtype: np.dtype) -> bool:
  if jnp.issubdtype(dtype, jax.dtypes.prng_key) or dtype.kind == 'b':
    return True
  if not jnp.issubdtype(dtype, np.number):
    return False
  is_integer = jnp.issubdtype(dtype, np.integer)
  return (jnp.iinfo if is_integer else jnp.finfo)(dtype).bits % 8 == 0


def _input(leaf: typing.Array) -> typing.Array:
  """The leaf as an argument of jit, which would take half of the bits of 64-bit NumPy arrays."""
  if isinstance(leaf, jax.Array) or leaf.dtype.itemsize < 8:
    return leaf
  return np.ascontiguousarray(leaf)[..., None].view(np.uint32)


@jax.jit
def _sums(leaves: list[jax.Array]) -> list[tuple[jax.Array, jax.Array]]:
  return [_sum(_words(leaf)) for leaf in leaves]


def _words(leaf: jax.Array) -> jax.Array:
  """Unsigned integers of at most 32 bits that hold every bit of a leaf."""
  if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    leaf = jax.random.key_data(leaf)
  if jnp.issubdtype(leaf.dtype, np.complexfloating):
    leaf = jnp.stack([leaf.real, leaf.imag], axis=-1)
  if leaf.dtype.kind == 'b':
    return leaf.astype(np.uint32)
  # Types of 8 bytes get an axis of 2 words. A word of its own for every smaller element: to pack
  # them would mix elements of different devices.
  size = min(leaf.dtype.itemsize, 4)
  return jax.lax.bitcast_convert_type(leaf, f'uint{8 * size}').astype(np.uint32)


def _sum(words: jax.Array) -> tuple[jax.Array, ...]:
  high, low = _index(words.shape)
  mixed = []
  for step, constants in _LANES:
    key = low * np.uint32(step)
    if high is not None:
      key = key + _finalise(high + np.uint32(1), constants)
    mixed.append(_finalise(words ^ key, constants))

  def add(x: list[jax.Array], y: list[jax.Array]) -> list[jax.Array]:
    return [a + b for a, b in zip(x, y, strict=True)]

  # Both at once: the compiler does not vectorise two sums on CPU, which takes 10 times as long.
  return tuple(jax.lax.reduce(mixed, [np.uint32(0)] * len(mixed), add, range(words.ndim)))


def _finalise(x: jax.Array, constants: tuple[int, ...]) -> jax.Array:
  """A bijection of words after which every bit depends on every bit."""
  a, first, b, second, c = constants
  x = (x ^ (x >> a)) * np.uint32(first)
  x = (x ^ (x >> b)) * np.uint32(second)
  return x ^ (x >> c)


def _index(shape: tuple[int, ...], *, limit: int = _WORD) -> tuple[jax.Array | None, jax.Array]:
  """Place of every element, as two words (high, low) of `limit` values.

  `low` counts along as many of the last axes as a word has room for, `high` along the others; it is
  None if there are none, so that `low` is the linear index.

  Raises:
    ValueError: if a word has too little room.
  """
  low, high = jnp.zeros(shape, np.uint32), None
  stride, is_low = 1, True
  for axis in reversed(range(len(shape))):
    if stride * shape[axis] > limit:
      if not is_low or shape[axis] > limit:
        raise ValueError(f'An array of shape {shape} has too many elements.')
      stride, is_low, high = 1, False, jnp.zeros(shape, np.uint32)
    along = jax.lax.broadcasted_iota(np.uint32, shape, axis)
    along = along * np.uint32(stride % _WORD)
    if is_low:
      low = low + along
    else:
      high = high + along
    stride *= shape[axis]
  return high, low
