import collections

import hypothesis
import pytest
from hypothesis import strategies as st

from wsjax.zoo import splits


@hypothesis.given(
  counts=st.fixed_dictionaries({split: st.integers(0, 20) for split in splits.SPLITS}),
  seed=st.integers(0, 5),
)
def test_counts_are_exact(counts, seed):
  names = splits.assign(sum(counts.values()), counts, seed=seed)
  found = collections.Counter(names)
  assert {split: found[split] for split in splits.SPLITS} == counts
  assert names == splits.assign(sum(counts.values()), counts, seed=seed)


def test_another_seed_draws_another_split():
  counts = {'train': 50, 'holdout_audit': 50}
  assert splits.assign(100, counts, seed=0) != splits.assign(100, counts, seed=1)


@pytest.mark.parametrize(
  'counts, message',
  [
    ({'train': 10}, 'holdout_audit'),
    ({'train': 9, 'holdout_audit': 0}, 'add up to 9'),
    ({'train': 11, 'val': -1, 'holdout_audit': 0}, '>= 0'),
    ({'train': 9, 'dev': 1, 'holdout_audit': 0}, "'dev'"),
  ],
)
def test_wrong_counts_are_refused(counts, message):
  with pytest.raises(ValueError, match=message):
    splits.assign(10, counts, seed=0)


def test_a_run_in_two_splits_is_caught():
  splits.check(['a', 'a', 'b'], ['train', 'train', 'val'])
  with pytest.raises(ValueError, match="'a' is in both 'train' and 'val'"):
    splits.check(['a', 'b', 'a'], ['train', 'train', 'val'])
