import numpy as np
import pytest

from wsjax.zoo.store import fields


def test_values_that_python_calls_equal_are_kept_apart():
  assert fields.canonical('diverged', True) == b'true'
  for number in (1, 1.0, 0, False):
    if number is not False:
      with pytest.raises(ValueError, match="'diverged'"):
        fields.canonical('diverged', number)
  with pytest.raises(ValueError, match="'batch_size'"):
    fields.canonical('batch_size', True)
  assert fields.canonical('batch_size', 1) == b'1'
  # RFC 8785 has one kind of number.
  assert fields.canonical('epoch', 1.0) == fields.canonical('epoch', 1)


def test_joined_parts_are_canonical_json():
  parts = {'b': b'1', 'a': b'{"c":null}'}
  assert fields.join(parts) == b'{"a":{"c":null},"b":1}'


def test_plain_values_are_copies_of_json():
  value = {'a': (np.int8(1), [np.float64(0.5)]), 'b': np.bool_(True)}
  assert fields.plain(value) == {'a': [1, [0.5]], 'b': True}
  assert fields.plain({'a': [float('inf'), np.float32('nan')]}) == {'a': [None, None]}
  with pytest.raises(ValueError, match='Not a JSON value'):
    fields.plain({'a': object()})


def test_a_long_value_does_not_make_a_long_error():
  with pytest.raises(ValueError, match="'task'") as caught:
    fields.canonical('task', ['x' * 10_000])
  assert len(str(caught.value)) < 300
