import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from wsjax.zoo.store import digest

JSON = st.recursive(
  st.none()
  | st.booleans()
  | st.integers(-(2**53) + 1, 2**53 - 1)
  | st.floats(allow_nan=False, allow_infinity=False)
  | st.text(max_size=5),
  lambda inner: (
    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
  ),
  max_leaves=5,
)


@hypothesis.given(value=JSON)
@hypothesis.example(value=2.0**53)
@hypothesis.example(value=1.910257809142911e16)
@hypothesis.example(value=-1e20)
@hypothesis.example(value=2**53 - 1)
def test_canonical_json_is_json_and_does_not_change_when_repeated(value):
  text = digest.canonical_json(value)
  assert digest.parse_json(text) == value
  assert digest.canonical_json(digest.parse_json(text)) == text


@pytest.mark.parametrize('value', [float('nan'), 2**60, {1: 2}, '\ud800'])
def test_what_json_cannot_hold_is_an_error(value):
  with pytest.raises(ValueError, match='Not a JSON value'):
    digest.canonical_json(value)


def views(rng):
  """One matrix of values in every memory order, with the values it has."""
  a = rng.standard_normal((6, 4)).astype(np.float32)
  return [
    ('C', a),
    ('transposed', np.ascontiguousarray(a.T).T),
    ('Fortran', np.asfortranarray(a)),
    ('strided', np.repeat(a, 2, axis=1)[:, ::2]),
    ('reversed', a[::-1].copy()[::-1]),
    ('big-endian', a.astype('>f4')),
  ]


def test_digest_depends_on_values_not_on_memory_order():
  digests = {name: digest.of_tensors({'w': view}) for name, view in views(np.random.default_rng(0))}
  assert len(set(digests.values())) == 1, digests


def test_digest_sees_name_shape_dtype_and_value():
  a = np.arange(6, dtype=np.float32)
  others = [
    {'v': a},
    {'w': a.reshape(2, 3)},
    {'w': a.view(np.int32)},
    {'w': a + np.float32([0, 0, 0, 0, 0, 1])},
    {'w': a, 'x': a[:0]},
    {},
  ]
  digests = {digest.of_tensors(params) for params in [{'w': a}, *others]}
  assert len(digests) == 1 + len(others)


def test_contiguous_keeps_scalars_and_does_not_copy_without_need():
  assert digest.contiguous(np.float32(3)).shape == ()
  a = np.zeros((2, 3), np.float32)
  assert digest.contiguous(a) is a


@pytest.mark.parametrize('shape', [(3, 2, 2), (3,), (3, 0)])
def test_digests_of_a_stack_are_those_of_its_networks(shape):
  rng = np.random.default_rng(0)
  stacked = {
    'b': rng.standard_normal(shape).astype(np.float32),
    'a': rng.standard_normal((3, 4)).astype(np.float64),
  }
  assert digest.of_stacked(stacked) == [
    digest.of_tensors({name: array[i] for name, array in stacked.items()}) for i in range(3)
  ]
  assert digest.of_stacked({}) == []


def test_file_digest_is_that_of_its_bytes(tmp_path):
  (tmp_path / 'f').write_bytes(b'abc')
  assert digest.of_file(tmp_path / 'f').startswith('ba7816bf8f01cfea')
