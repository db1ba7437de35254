import collections

import hypothesis
import pytest
from hypothesis import strategies as st

from wsjax.zoo import build
from wsjax.zoo.store import record


@hypothesis.given(
  counts=st.fixed_dictionaries(
    {split: st.integers(int(split == 'train'), 20) for split in record.SPLITS}
  ),
  seed=st.integers(0, 5),
)
def test_counts_are_exact(counts, seed):
  names = build.assign(counts, seed=seed)
  found = collections.Counter(names)
  assert {split: found[split] for split in record.SPLITS} == counts
  assert names == build.assign(counts, seed=seed)


def test_another_seed_draws_another_split():
  counts = {'train': 50, 'holdout_audit': 50}
  assert build.assign(counts, seed=0) != build.assign(counts, seed=1)


@pytest.mark.parametrize(
  'counts, message',
  [
    ({'train': 10}, 'holdout_audit'),
    ({'train': 0, 'holdout_audit': 0}, 'zoo.splits'),
    ({'train': 2.5, 'holdout_audit': 0}, 'zoo.splits'),
    ({'train': 11, 'val': -1, 'holdout_audit': 0}, 'zoo.splits'),
    ({'train': 9, 'dev': 1, 'holdout_audit': 0}, "'dev'"),
  ],
)
def test_wrong_counts_are_refused(counts, message):
  with pytest.raises(ValueError, match=message):
    build.assign(counts, seed=0)


def test_a_run_in_two_splits_is_caught():
  record.check_splits(['a', 'a', 'b'], ['train', 'train', 'val'])
  with pytest.raises(ValueError, match="'a' is in both 'train' and 'val'"):
    record.check_splits(['a', 'b', 'a'], ['train', 'train', 'val'])
