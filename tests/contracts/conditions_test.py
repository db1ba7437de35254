"""Every condition: one finite vector per record, and it tells them apart."""

import functools

import numpy as np
import pytest

from wsjax import config, testing
from wsjax.generators import conditions
from wsjax.generators.conditions import task_code, text
from wsjax.zoo import build
from wsjax.zoo.data import subsets

SMALL = {
  'recipe': {
    'names': ('learning_rate', 'dropout'),
    'low': (1e-3, 0.0),
    'high': (1e-1, 0.5),
    'optimizers': ('adam', 'sgd'),
  },
  'combined': {'parts': ({'name': 'task_code'}, {'name': 'metric'})},
}


def make(name, **options):
  section = {'name': name, **SMALL.get(name, {}), **options}
  return config.build('generators.conditions', section)


@pytest.fixture(scope='module')
def records(tmp_path_factory):
  """Ten nets that differ in task, recipe, quality and activation."""
  section = dict(
    architecture=dict(name='mlp', widths=(64, 6, 2), activation=('relu', 'tanh')),
    dataset=dict(name='digits', labels='subsets'),
    recipe=dict(
      optimizer=('adam', 'sgd'), learning_rate=(1e-3, 1e-1), dropout=(0.0, 0.5), steps=20
    ),
    splits=dict(train=10, holdout_audit=0),
    chunk_size=8,
  )
  path = tmp_path_factory.mktemp('zoo') / 'a'
  return build.build(section, path, seed=2, progress=False).records


@pytest.mark.parametrize('name', config.plugins('generators.conditions'))
def test_a_condition_keeps_the_contract(name, records):
  vectors = testing.check_condition(make(name), records)
  assert np.abs(vectors).max() < 4


def test_a_condition_that_looks_at_other_records_is_caught(records):
  class Ranks:
    size = 1

    def of_records(self, records):
      return np.arange(len(records), dtype=np.float32)[:, None]

  with pytest.raises(AssertionError, match='more than its record'):
    testing.check_condition(Ranks(), records)


def test_task_codes_are_those_of_the_zoo(records):
  codes = subsets.codes(10, seed=2)[:10]
  np.testing.assert_array_equal(task_code.bits(records), codes)
  np.testing.assert_array_equal(make('task_code').of_records(records), 2.0 * codes - 1)
  with pytest.raises(ValueError, match='of 10 classes, and the condition of 4'):
    make('task_code', size=4).of_records(records)
  plain = {**records[0], 'datasets': [{'name': 'digits'}]}
  with pytest.raises(ValueError, match='not trained on a subset'):
    make('task_code').of_records([plain])
  with pytest.raises(ValueError, match='was not fitted to one image'):
    make('task_code', kind='class').of_records(records)


def test_a_drawn_picture_has_the_class_of_its_image(tmp_path):
  section = dict(
    architecture=dict(name='siren', widths=(2, 4, 1)),
    dataset=dict(name='digits'),
    recipe=dict(steps=1),
    splits=dict(train=6, holdout_audit=0),
    chunk_size=8,
  )
  zoo = build.build(section, tmp_path / 'a', seed=0, progress=False)
  vectors = make('task_code', kind='class').of_records(zoo.records)
  from wsjax.zoo.data import datasets

  np.testing.assert_array_equal(vectors, np.eye(10)[datasets.load('digits').train_y[:6]])
  with pytest.raises(ValueError, match='draws class'):
    make('task_code', kind='class', size=1).of_records(zoo.records)


def test_hyper_parameters_are_read_on_the_scale_they_are_drawn_on(records):
  vectors = make('recipe').of_records(records)
  hparams = [record['optimizer']['hparams'] for record in records]
  rates = np.log10([h['learning_rate'] for h in hparams])
  np.testing.assert_allclose(vectors[:, 0], rates + 2, atol=1e-6)
  dropout = np.array([h['dropout'] for h in hparams])
  np.testing.assert_allclose(vectors[:, 1], 4 * dropout - 1, atol=1e-6)
  assert vectors[:, 2:].tolist() == [[1, 0], [0, 1]] * 5


def test_a_metric_is_that_of_the_checkpoint(records):
  accuracy = [
    m['value']
    for record in records
    for m in record['final']
    if (m['split'], m['metric']) == ('val', 'accuracy')
  ]
  vectors = make('metric').of_records(records)
  np.testing.assert_allclose(vectors[:, 0], 2 * np.array(accuracy) - 1)
  losses = make('metric', metric='loss', low=0.01, high=10.0, log=True)
  assert losses.of_records(records).shape == (10, 1)
  with pytest.raises(ValueError, match='psnr'):
    make('metric', metric='psnr').of_records(records)


def test_architectures_differ_in_what_they_are(records):
  made = make('architecture', max_depth=3, max_width=36)
  vector = made.of_records(records[:1])[0]
  # 1 of 3 hidden layers, of width 6, the square root of the largest.
  np.testing.assert_allclose(vector[:7], [-1 / 3, 1, 0, 0, 0, 0, 0], atol=1e-6)
  names = ['relu', 'relu', 'tanh', 'tanh']
  found = made.of_records(records[:4])[:, 8:]
  assert found.sum() == 4 and found[:2, 0].all() and found[2:, 2].all()
  assert [record['activation'] for record in records[:4]] == names
  deep = {**records[0], 'symmetry': 4 * records[0]['symmetry']}
  with pytest.raises(ValueError, match='has 4 hidden layers'):
    made.of_records([deep])


def test_words_say_the_task_and_vectors_may_be_given(records, tmp_path):
  texts = [text.describe(record) for record in records]
  assert texts[0].startswith('classification of digits: class ')
  vectors = make('text').of_records(records)
  np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
  # What shares words is nearer than what shares none.
  one, two, other = (
    text.bag_of_words(words, 256)
    for words in ('find class 3', 'find the class 3!', 'draw a picture')
  )
  assert one @ two > 0.6 > abs(one @ other)
  path = tmp_path / 'own.npz'
  given = np.random.default_rng(0).standard_normal((10, 5))
  np.savez(path, texts=np.array(texts), vectors=given)
  made = make('text', path=str(path))
  assert made.size == 5
  np.testing.assert_allclose(made.of_records(records), given, atol=1e-6)
  np.savez(path, texts=np.array(texts[:3]), vectors=given[:3])
  with pytest.raises(ValueError, match='the first of 7'):
    make('text', path=str(path)).of_records(records)


def test_parts_stand_behind_each_other(records):
  both = make('combined').of_records(records)
  parts = [make(name).of_records(records) for name in ('task_code', 'metric')]
  np.testing.assert_array_equal(both, np.concatenate(parts, 1))


@pytest.mark.parametrize(
  ('name', 'options', 'words'),
  [
    ('task_code', {'kind': 'words'}, 'condition.kind'),
    ('recipe', {'names': ('speed',)}, 'condition.names'),
    ('recipe', {'low': (1.0,)}, 'a low and a high for each'),
    ('recipe', {'optimizers': ('adam',)}, "trained by 'sgd'"),
    ('metric', {'split': 'test'}, 'condition.split'),
    ('architecture', {'max_depth': 0}, 'condition.max_depth'),
    ('text', {'words': 0}, 'condition.words'),
    ('text', {'path': 'nowhere.npz'}, 'is no .npz'),
    ('combined', {'parts': ()}, 'parts is empty'),
  ],
)
def test_wrong_conditions_end_in_one_sentence(name, options, words, records):
  with pytest.raises(ValueError, match=words):
    make(name, **options).of_records(records)


@pytest.mark.parametrize('bounds', [(1, 1, False), (0, 1, True), (2, 1, True)])
def test_bounds_that_do_not_increase_are_refused(bounds):
  with pytest.raises(ValueError, match='low < high'):
    conditions.Scale(*bounds)
  scale = functools.partial(conditions.Scale(1e-3, 1e-1, True), name='rate')
  np.testing.assert_allclose(scale(np.array([1e-3, 1e-2, 1e-1])), [-1, 0, 1])
  with pytest.raises(ValueError, match='logarithm; got -1'):
    scale(np.array([-1.0]))
  with pytest.raises(ValueError, match='have no rate'):
    scale(np.array([np.nan]))
