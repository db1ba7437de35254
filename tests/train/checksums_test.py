"""A checksum sees every bit, every place and every name, on any devices."""

import os
import subprocess
import sys

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.reference import integrity as reference
from wsjax.train.checkpoint import checksums

DTYPES = (
  'bool', 'uint8', 'int16', 'float16', 'bfloat16', 'float8_e4m3fn', 'int32',
  'float32', 'complex64', 'int64', 'float64', 'complex128',
)  # fmt: skip
# Few, since every new shape is compiled.
SHAPES = ((), (1,), (7,), (3, 5), (2, 3, 4), (0, 3))


@st.composite
def arrays(draw, *, shapes=SHAPES, dtypes=DTYPES):
  """Arrays of random bits: NaN with any payload, infinities, -0.0."""
  dtype = jnp.dtype(draw(st.sampled_from(dtypes)))
  shape = draw(st.sampled_from(shapes))
  rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
  if dtype.kind == 'b':
    return rng.integers(0, 2, shape).astype(bool)
  size = int(np.prod(shape)) * dtype.itemsize
  return np.frombuffer(rng.bytes(size), dtype).reshape(shape).copy()


def checksum(array):
  return checksums.checksums({'x': array})["['x']"]


@hypothesis.settings(max_examples=60)
@hypothesis.given(arrays())
def test_it_is_the_sum_of_the_definition(array):
  assert checksum(array) == reference.checksum(array)


def test_it_never_changes():
  # Of checkpoints that are written already.
  array = np.arange(6, dtype=np.float32).reshape(2, 3)
  assert checksum(array) == reference.checksum(array) == '596c9b86c53e9e28'


@pytest.mark.parametrize('dtype', DTYPES[:9])
def test_arrays_of_jax_and_of_numpy_agree(dtype):
  array = (np.arange(15) % 4).astype(jnp.dtype(dtype)).reshape(3, 5)
  assert checksum(jnp.asarray(array)) == checksum(array)


@hypothesis.settings(max_examples=40)
@hypothesis.given(arrays(shapes=((7,), (2, 3, 4))), st.data())
def test_every_flipped_bit_is_seen(array, data):
  before = checksum(array)
  raw = array.reshape(-1).view(np.uint8)
  if array.dtype.kind == 'b':
    at = data.draw(st.integers(0, raw.size - 1))
    raw[at] ^= 1
  else:
    at = data.draw(st.integers(0, 8 * raw.size - 1))
    raw[at // 8] ^= 1 << at % 8
  assert checksum(array) != before


@hypothesis.given(arrays(shapes=((3, 5),)), st.data())
def test_two_elements_or_rows_that_changed_places_are_seen(array, data):
  before = checksum(array)
  swapped = array[[1, 0, 2]]
  if swapped.tobytes() != array.tobytes():
    assert checksum(swapped) != before
  places = st.integers(0, array.size - 1)
  one, two = data.draw(places), data.draw(places)
  swapped = array.copy().reshape(-1)
  swapped[[one, two]] = swapped[[two, one]]
  if swapped.tobytes() != array.tobytes():
    assert checksum(swapped.reshape(array.shape)) != before


def test_a_sum_that_forgets_the_place_misses_the_swap(monkeypatch):
  # So that the test above is about the place.
  array = np.arange(6, dtype=np.float32)
  lanes = [(0, constants) for _, constants in checksums._LANES]
  monkeypatch.setattr(checksums, '_LANES', lanes)
  monkeypatch.setattr(checksums, '_sums', checksums._sums.__wrapped__)
  assert checksum(array) == checksum(array[::-1])


def test_a_nan_is_not_another_nan_and_a_zero_has_a_sign():
  bits = np.array([0x7FC00000, 0x7FC00001, 0xFFC00000, 0, 0x80000000], np.uint32)
  values = bits.view(np.float32)
  one = {checksum(value) for value in values}
  assert len(one) == len(bits)
  assert len({checksum(jnp.asarray(value)) for value in values}) == len(bits)


def test_the_same_bytes_under_another_dtype_or_shape_are_another_leaf():
  zeros = [
    np.zeros(shape, dtype)
    for shape in ((4,), (4, 1), (2, 2), (5,), (0,), (0, 4))
    for dtype in ('float32', 'int32', 'float64')
  ]
  assert len({checksum(array) for array in zeros}) == len(zeros)


def test_typed_keys_count():
  keys = [jax.random.key(seed) for seed in range(3)]
  assert len({checksum(key) for key in keys}) == 3
  assert checksum(jax.random.key_data(keys[0])) != checksum(keys[0])
  assert checksum(jax.random.key(0)) == checksum(keys[0])


def tree():
  rng = np.random.default_rng(0)
  one, two = rng.standard_normal((2, 4, 3)).astype(np.float32)
  return {'a': {'kernel': one}, 'b': {'kernel': two}, 'count': np.int32(3)}


def test_leaves_are_named_that_differ_or_are_missing_or_extra():
  expected = checksums.checksums(tree())
  assert checksums.damaged(expected, tree()) == []
  swapped = tree()
  swapped['a'], swapped['b'] = swapped['b'], swapped['a']
  assert checksums.damaged(expected, swapped) == ["['a']['kernel']", "['b']['kernel']"]
  other = tree()
  other['extra'] = other.pop('count')
  assert checksums.damaged(expected, other) == ["['count']", "['extra']"]


@pytest.mark.parametrize('leaf', [np.array('a'), np.array(None), 'jax int4'])
def test_what_has_no_checksum_is_refused_by_name(leaf):
  if isinstance(leaf, str):
    leaf = jnp.ones(3, jnp.int4)
  with pytest.raises(ValueError, match=r"\['x'\] has dtype .*; only numbers"):
    checksum(leaf)


def test_every_place_has_its_own_index_when_one_word_is_too_small():
  # As if a word had room for 12 values: (4, 3) is counted by the low one.
  high, low = checksums._index((5, 4, 3), limit=12)
  assert int(low.max()) == 11 and int(high.max()) == 4
  pairs = set(zip(high.ravel().tolist(), low.ravel().tolist(), strict=True))
  assert len(pairs) == 60
  high, low = checksums._index((5, 4, 3))
  assert high is None
  np.testing.assert_array_equal(low.ravel(), np.arange(60))
  with pytest.raises(ValueError, match='too many elements'):
    checksums._index((13,), limit=12)


def test_arrays_of_more_than_2_to_the_32_elements_can_be_summed():
  # Their program; nobody has the memory to run it here.
  array = jax.ShapeDtypeStruct((3, 1 << 17, 1 << 16), jnp.uint8)
  jax.eval_shape(lambda x: checksums._sum(x.astype(jnp.uint32)), array)
  with pytest.raises(ValueError, match='too many elements'):
    jax.eval_shape(checksums._sum, jax.ShapeDtypeStruct((1 << 33,), jnp.uint32))


SHARDED = """
import re, sys
import jax, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from wsjax.train.checkpoint import checksums

array = np.random.default_rng(0).standard_normal((16, 24, 8)).astype('float32')
for kind in (AxisType.Auto, AxisType.Explicit):
  mesh = jax.make_mesh((4, 2), ('a', 'b'), axis_types=(kind,) * 2)
  for spec in (
    P(), P('a'), P(('b', 'a')), P('a', 'b'), P(None, None, ('a', 'b')),
    P('b', None, 'a'),
  ):
    leaf = jax.device_put(array, NamedSharding(mesh, spec))
    print(checksums.checksums(leaf)[''])
    # Only sums travel between devices.
    program = checksums._sums.lower([leaf]).compile().as_text()
    for words in re.findall(r'u32\\[([0-9,]*)\\]\\S* all-', program):
      assert np.prod([int(n) for n in words.split(',') if n]) <= 8, program
"""


def test_it_is_the_same_under_every_sharding():
  environment = os.environ | {
    'XLA_FLAGS': '--xla_force_host_platform_device_count=8',
    'NPROC': '16',
  }
  output = subprocess.run(
    [sys.executable, '-c', SHARDED], env=environment, check=True, capture_output=True, text=True
  ).stdout.split()
  array = np.random.default_rng(0).standard_normal((16, 24, 8))
  assert output == [checksum(array.astype(np.float32))] * 12
