"""Nets that tell a subset of the classes from the others; no split leaks."""

import dataclasses

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from wsjax.models import mlp
from wsjax.zoo import build
from wsjax.zoo import entries as entries_lib
from wsjax.zoo import train as train_lib
from wsjax.zoo.data import datasets, subsets
from wsjax.zoo.store import log, record, store

SECTION = dict(
  architecture=dict(name='mlp', widths=(64, 6, 2)),
  dataset=dict(name='digits', labels='subsets'),
  recipe=dict(learning_rate=1e-2, batch_size=64, steps=60),
  splits=dict(train=8, val=2, test=4, holdout_audit=2),
  chunk_size=8,
)


@pytest.fixture(scope='module')
def zoo(tmp_path_factory):
  path = tmp_path_factory.mktemp('zoo') / 'a'
  return build.build(SECTION, path, seed=1, progress=False)


@pytest.fixture(scope='module')
def digits():
  dataset = datasets.load('digits')
  return dataclasses.replace(dataset, codes=subsets.codes(10, seed=1))


def train(digits, indices, **changes):
  recipe = train_lib.Recipe(**{**SECTION['recipe'], **changes})
  net = mlp.MLP(SECTION['architecture']['widths'])
  return train_lib.train_networks(net, digits, recipe, indices, seed=1)


@hypothesis.given(num_classes=st.integers(2, 10), seed=st.integers(0, 99))
def test_every_subset_is_there_once_beside_its_complement(num_classes, seed):
  codes = subsets.codes(num_classes, seed=seed)
  names = [subsets.text(code) for code in codes]
  every = {f'{i:0{num_classes}b}' for i in range(2**num_classes)}
  assert set(names) == every - {'0' * num_classes, '1' * num_classes}
  assert len(names) == 2**num_classes - 2
  np.testing.assert_array_equal(codes[::2] + codes[1::2], 1)
  pairs = [subsets.pair(name) for name in names]
  assert pairs[::2] == pairs[1::2] and len(set(pairs)) == len(names) // 2


@hypothesis.given(
  counts=st.fixed_dictionaries(
    {s: st.integers(s == 'train', 10).map(lambda n: 2 * n) for s in record.SPLITS}
  ),
  seed=st.integers(0, 5),
)
def test_complements_are_of_one_split(counts, seed):
  names = build.assign(counts, seed=seed, in_pairs=True)
  assert names[::2] == names[1::2]
  assert {split: names.count(split) for split in counts} == counts


def test_records_tell_the_task_and_the_zoo_has_no_leak(zoo):
  codes = subsets.codes(10, seed=1)
  of_split = {}
  for i, entry in enumerate(zoo.records):
    record.validate(entry)
    code = entry['datasets'][0]['labels']
    assert code == subsets.text(codes[i])
    of_split.setdefault(subsets.pair(code), set()).add(entry['split'])
  assert len(of_split) == 8
  assert all(len(names) == 1 for names in of_split.values())


def test_a_planted_leak_is_refused(digits, tmp_path):
  """One net moves to the test split; its complement stays in training."""
  net = mlp.MLP(SECTION['architecture']['widths'])
  recipe = train_lib.Recipe(**SECTION['recipe'])
  trained = train(digits, np.arange(4))
  how = dict(seed=1, config_sha256='0' * 64)
  for names in ('train train test test', 'train train test train'):
    made = entries_lib.of_trained(trained, net, digits, recipe, splits=names.split(), **how)
    folder = tmp_path / names.replace(' ', '_')
    with log.Log(folder / 'log.lmdb') as entries:
      entries.append(made)
      if names.endswith('train'):
        with pytest.raises(ValueError, match='in both .test. and .train.'):
          store.publish(entries, folder)
      else:
        assert len(store.publish(entries, folder)) == 4


def test_every_net_learns_its_own_labels(zoo, digits):
  params = zoo.params(np.arange(16))
  net = mlp.MLP(SECTION['architecture']['widths'])
  right = np.zeros((16, 16))
  for i in range(16):
    one = {path: value[i] for path, value in params.items()}
    said = np.asarray(net.apply(one, digits.val_x)).argmax(-1)
    for task, code in enumerate(digits.codes[:16]):
      right[i, task] = np.mean(said == code[digits.val_y])
  own = [record['final'] for record in zoo.records]
  own = [{m['split']: m['value'] for m in f if m['metric'] == 'accuracy'}
         for f in own]  # fmt: skip
  np.testing.assert_allclose([f['val'] for f in own], np.diag(right), atol=1e-6)
  assert np.all(right.argmax(1) == np.arange(16))
  assert np.diag(right).min() > 0.8
  # What is right for a task is wrong for its complement.
  np.testing.assert_allclose(right[:, ::2] + right[:, 1::2], 1, atol=1e-6)


def test_a_net_is_bitwise_the_same_alone(zoo, digits):
  alone = train(digits, [5])
  for path, value in zoo.params([5]).items():
    np.testing.assert_array_equal(alone.params[path], value)


def test_labels_that_are_the_classes_are_the_plain_zoo(digits):
  """The table is the only thing that differs."""
  net, recipe = mlp.MLP((64, 6, 10)), train_lib.Recipe(steps=20)
  plain = dataclasses.replace(digits, codes=None)
  identity = np.tile(np.arange(10, dtype=np.int32), (3, 1))
  same = dataclasses.replace(digits, codes=identity)
  one, two = (
    train_lib.train_networks(net, dataset, recipe, [0, 2], seed=0) for dataset in (plain, same)
  )
  for path, value in one.params.items():
    np.testing.assert_array_equal(value, two.params[path])


def test_a_shared_start_is_one_start(digits):
  still = dict(optimizer='sgd', learning_rate=1e-50, steps=1)
  shared = train(digits, [0, 3], shared_init=True, **still).params
  own = train(digits, [0, 3], **still).params
  assert np.array_equal(*shared['layer0/kernel'])
  assert not np.array_equal(*own['layer0/kernel'])


@pytest.mark.parametrize(
  ('changes', 'words'),
  [
    (dict(dataset=dict(name='digits', labels='pairs')), 'zoo.dataset.labels'),
    (dict(splits=dict(train=3, holdout_audit=0)), r"zoo.splits has \{'train': 3\}"),
    (dict(splits=dict(train=1024, holdout_audit=0)), 'zoo.splits has 1024 networks'),
    (
      dict(architecture=dict(name='mlp', widths=(64, 6, 10))),
      'zoo.architecture: mlp has 10 outputs',
    ),
    (dict(architecture=dict(name='siren', widths=(2, 6, 1))), 'zoo.dataset.labels'),
  ],
)
def test_wrong_sections_end_in_one_sentence(changes, words, tmp_path):
  with pytest.raises(ValueError, match=words):
    build.build({**SECTION, **changes}, tmp_path, seed=0, progress=False)


def test_a_net_without_a_code_is_refused(digits):
  with pytest.raises(ValueError, match='up to 1022 and 1022 codes'):
    train(digits, [1022])
  with pytest.raises(ValueError, match='2 to 16 classes; got 1'):
    subsets.codes(1, seed=0)
