"""A method knows its networks; seeds are blocks of them."""

import numpy as np
import pytest

from wsjax.evaluation import methods


def _params(n, value=0.0):
  return {
    'layer1/bias': np.full((n, 2), value, np.float32),
    'layer0/kernel': np.arange(n * 6, dtype=np.float32).reshape(n, 2, 3),
  }


def test_merged_seeds_are_blocks():
  merged = methods.merge(
    [methods.Method(f'flow/{s}', 'model', _params(3, s), 2.0, 5, (s,))
     for s in (7, 9)],
    'flow',
  )  # fmt: skip
  assert merged.seeds == (7, 9) and merged.num_networks == 6
  assert merged.groups.tolist() == [0, 0, 0, 1, 1, 1]
  assert merged.params['layer1/bias'][:, 0].tolist() == [7] * 3 + [9] * 3
  assert merged.seconds == 4.0 and merged.num_bytes == 10


def test_unusable_networks_are_named():
  params = _params(4)
  params['layer1/bias'][1, 0] = np.nan
  params['layer0/kernel'][2, 0, 0] = np.inf
  params['layer0/kernel'][3, 0, 0] = 1e9
  usable = methods.Method('x', 'baseline', params).usable
  assert usable.tolist() == [True, False, False, False]


@pytest.mark.parametrize(
  'arguments, message',
  [
    (('x', 'winner', _params(2)), 'kind'),
    (('x', 'control', {'a': np.zeros((0, 1))}), 'at least 1'),
    (('x', 'control', {'a': np.zeros(1), 'b': np.zeros(2)}), 'every parameter'),
    (('x', 'model', _params(3), 0.0, 0, (1, 2)), 'equal blocks'),
  ],
)
def test_a_wrong_arm_is_refused(arguments, message):
  with pytest.raises(ValueError, match=message):
    methods.Method(*arguments)


def test_only_like_arms_merge():
  one = methods.Method('a', 'model', _params(2), seeds=(1,))
  other = methods.Method('b', 'model', _params(3), seeds=(2,))
  with pytest.raises(ValueError, match='equally many'):
    methods.merge([one, other], 'both')
