"""Unseen tasks: no test task leaks into training, and each baseline is what it says."""

import dataclasses
import itertools
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from wsjax.experiments import base, configs, unseen_tasks
from wsjax.experiments.unseen_tasks import baselines
from wsjax.experiments.unseen_tasks import tasks as tasks_lib
from wsjax.models import mlp
from wsjax.zoo.data import subsets

ROOT = pathlib.Path(__file__).parents[2] / 'configs'
NET = mlp.MLP((6, 4, 2))
RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 2, (5, 3)).astype(np.int32)
VAL = np.array([[1, 0, 0], [0, 1, 1]], np.int32)
BATCH = {
  'x': RNG.standard_normal((24, 2, 3)).astype(np.float32),
  'y': RNG.integers(0, 3, 24).astype(np.int32),
}


class Conditioned(nn.Module):
  """One network, and the mean of its condition, in every weight."""

  @nn.compact
  def __call__(self, given):
    base = self.param('base', NET.init)
    return {path: x + given.mean() for path, x in base.items()}


class Unconditioned(nn.Module):
  """One network, whatever the condition."""

  @nn.compact
  def __call__(self, given):
    del given
    return self.param('base', NET.init)


def make(module, codes=CODES, set_size=0, num_tasks=4):
  codes = {'train': codes, 'val': VAL}
  conditions = {split: 2.0 * each - 1 for split, each in codes.items()}
  return unseen_tasks.Objective(module, NET, codes, conditions, num_tasks, set_size)


def reference(params, code, x, y):
  """Slow and obvious: cross-entropy and accuracy of one network."""
  h = np.maximum(x.reshape(len(x), -1) @ params['layer0/kernel'] + params['layer0/bias'], 0)
  logits = h @ params['layer1/kernel'] + params['layer1/bias']
  labels = [code[c] for c in y]
  log_p = scipy.special.log_softmax(logits, -1)
  losses = [-log_p[i, label] for i, label in enumerate(labels)]
  return np.mean(losses), np.mean(logits.argmax(-1) == labels)


@pytest.fixture(scope='module')
def finished(smoke_run):
  return smoke_run('unseen_tasks')


@pytest.fixture(scope='module')
def zoo(finished):
  _, workdir, config = finished
  return base.open_zoo(config, workdir, progress=False)


@pytest.fixture(scope='module')
def tasks(finished, zoo):
  return unseen_tasks.read(finished[2], zoo)


def leaky(config):
  changed = config.copy_and_resolve_references()
  changed.tasks.split = 'leaky'
  return changed


def test_a_run_ends_in_a_report_with_every_baseline(finished):
  report, workdir, _ = finished
  rows = report.tables['methods'].rows
  assert rows['trained one by one'].kind == 'reference'
  assert rows['generated from the code'].seeds == [0, 1]
  assert {row.n for row in rows.values()} == {12} and len(rows) == 12
  for row in rows.values():
    for name in ('accuracy', 'gap', 'worst'):
      assert row.stats[name]['low'] <= row.value(name) <= row.stats[name]['high']
  # The mean of all networks does not know the task.
  assert 0.4 < rows['mean of the training networks'].value('accuracy') < 0.6
  assert rows['trained one by one'].value('accuracy') > 0.7
  assert report.facts['Tasks']['complements_seen'] == 0
  assert 'is not met' in report.findings['threshold']
  text = (workdir / 'report.html').read_text()
  assert report.headline in text and 'http' not in text


def test_gaps_are_paired_by_task_and_the_worst_one_is_found(finished, zoo):
  experiment = unseen_tasks.UnseenTasks(finished[2], zoo)
  trained = np.random.default_rng(0).uniform(0.9, 1.0, 60)

  def score(*accuracy):
    return experiment.score(baselines.Method(np.stack(accuracy), 'model'), trained).stats

  found = score(trained)
  for name in ('gap', 'worst'):
    assert found[name]['value'] == found[name]['low'] == found[name]['high'] == 0
  # A constant gap has no spread, however far apart the tasks are; seeds that differ widen it.
  found = score(trained - 0.02, trained - 0.02)['gap']
  assert (found['low'], found['high']) == pytest.approx((0.02, 0.02))
  found = score(trained - 0.01, trained - 0.03)['gap']
  assert found['per_seed'] == pytest.approx([0.01, 0.03])
  assert (found['low'], found['high']) == pytest.approx((0.01, 0.03))
  one = trained.copy()
  one[7] -= 0.3
  assert score(one)['worst']['value'] == pytest.approx(0.3)


def test_no_test_task_or_complement_is_trained_on(tasks):
  seen = {subsets.text(code) for code in tasks.codes['train']}
  seen |= {subsets.text(1 - code) for code in tasks.codes['train']}
  assert not seen & {subsets.text(code) for code in tasks.codes['test']}
  assert tasks.num_leaks == 0


def test_a_planted_leak_is_caught(finished, zoo):
  """The record of a test net says that it learned what a training net did."""

  class Leaky:
    path, model = zoo.path, zoo.model
    records = list(zoo.records)
    select, params = zoo.select, zoo.params

  train, test = (zoo.select(split=split)[0] for split in ('train', 'test'))
  bits = zoo.records[train]['datasets'][0]['labels']
  flipped = bits.translate(str.maketrans('01', '10'))
  lineage = {**zoo.records[test]['datasets'][0], 'labels': flipped}
  Leaky.records[test] = {**zoo.records[test], 'datasets': [lineage]}
  with pytest.raises(ValueError, match='1 of 12 test tasks have their compl'):
    unseen_tasks.read(finished[2], Leaky())


def test_the_leaky_control_sees_every_complement_and_the_swap_finds_it(finished, zoo):
  tasks = unseen_tasks.read(leaky(finished[2]), zoo)
  assert len(tasks.codes['test']) == tasks.num_leaks == 6
  assert len(tasks.codes['train']) == 46
  swap = baselines.retrieval(tasks)['complement, outputs swapped']
  both = zoo.params(zoo.select(split='test'))
  second = {path: value[1::2] for path, value in both.items()}
  of_complement = tasks.accuracy(second, 1 - tasks.codes['test'])
  # Two outputs that are equal to the last bit are nobody's.
  np.testing.assert_allclose(swap.accuracy[0], of_complement, atol=1e-3)


def test_accuracy_is_that_of_the_forward_pass(tasks):
  params = tasks.params['test']
  x = tasks.dataset.test_x.reshape(len(tasks.dataset.test_y), -1)
  found = tasks.accuracy(tasks.params['test'], tasks.codes['test'])
  for i, code in enumerate(tasks.codes['test']):
    p = {k: v[i] for k, v in params.items()}
    h = np.maximum(x @ p['layer0/kernel'] + p['layer0/bias'], 0)
    said = (h @ p['layer1/kernel'] + p['layer1/bias']).argmax(-1)
    right = np.mean(said == code[tasks.dataset.test_y])
    assert found[i] == pytest.approx(right, abs=3e-3)


def test_the_nearest_codes_are_the_nearest(tasks):
  alone, vote = (method.accuracy[0] for method in baselines.retrieval(tasks).values())
  y = tasks.dataset.test_y
  margins = tasks_lib.margins(tasks.architecture, tasks.params['train'], tasks.dataset.test_x)
  for i, code in enumerate(tasks.codes['test']):
    distance = [sum(a != b for a, b in zip(code, other, strict=True))
                for other in tasks.codes['train']]  # fmt: skip
    near = [j for j, d in enumerate(distance) if d == min(distance)]
    right = [np.mean((margins[j] > 0) == code[y]) for j in near]
    assert alone[i] == pytest.approx(np.mean(right), abs=1e-6)
    votes = sum(np.where(margins[j] > 0, 1, -1) for j in near)
    assert vote[i] == pytest.approx(np.mean((votes > 0) == code[y]), abs=1e-6)


def test_one_least_squares_fit_is_the_fit_of_every_task(tasks):
  backbone = {path: x[3] for path, x in tasks.params['train'].items()}
  codes = tasks.codes['test'][:3]
  params = baselines.least_squares(tasks, backbone, codes)
  found = tasks_lib.margins(tasks.architecture, params, tasks.dataset.test_x)
  data = tasks.dataset

  def features(images):
    flat = images.reshape(len(images), -1)
    h = flat @ backbone['layer0/kernel'] + backbone['layer0/bias']
    return np.append(np.maximum(h, 0), np.ones((len(h), 1)), 1)

  for margin, code in zip(found, codes, strict=True):
    signs = 2.0 * code[data.train_y] - 1
    fit = np.linalg.lstsq(features(data.train_x), signs, rcond=None)[0]
    expected = features(data.test_x) @ fit
    np.testing.assert_allclose(margin, expected, atol=5e-3)


def test_a_ridge_recovers_weights_that_are_linear_in_the_features(tasks, monkeypatch):
  """Planted: each weight is a sum over bits and products of two."""
  # Of random weights accuracy says nothing, so it may not choose.
  monkeypatch.setattr(baselines, '_PENALTIES', (1e-9,))
  rng = np.random.default_rng(0)
  shapes = {path: x.shape[1:] for path, x in tasks.params['train'].items()}
  slopes = {path: rng.standard_normal((56, *s)) for path, s in shapes.items()}

  def planted(codes):
    signs = 2.0 * codes - 1
    products = [signs[:, a] * signs[:, b] for a, b in itertools.combinations(range(10), 2)]
    x = np.column_stack([np.ones(len(codes)), signs, *products])
    return {p: np.tensordot(x, w, 1).astype('f4') for p, w in slopes.items()}

  train = planted(subsets.codes(10, seed=0))
  many = dataclasses.replace(tasks, codes={**tasks.codes, 'train': subsets.codes(10, seed=0)})
  mean = {path: x.mean(0) for path, x in train.items()}
  found = baselines.ridge(many, train, mean, list(train))
  expected = planted(tasks.codes['test'])
  for path, value in found(tasks.codes['test']).items():
    error = np.abs(value - expected[path]).max()
    assert error < 1e-3 * np.abs(expected[path]).max()
  last = [path for path in train if path.startswith('layer1/')]
  head = baselines.ridge(many, train, mean, last)(tasks.codes['test'])
  for path, value in head.items():
    right = expected[path] if path in last else mean[path][None]
    assert np.abs(value - right).max() < 1e-3 * np.abs(right).max()


def test_odds_of_a_subset_are_sums_of_probabilities():
  rng = np.random.default_rng(0)
  logits = rng.standard_normal((7, 10))
  codes = subsets.codes(10, seed=0)[:4]
  p = scipy.special.softmax(logits, -1)
  for row, code in zip(baselines.log_odds(logits, codes), codes,
                       strict=True):  # fmt: skip
    inside = p[:, code == 1].sum(1)
    np.testing.assert_allclose(row, np.log(inside / (1 - inside)), rtol=1e-6)


def test_sets_of_images_are_training_images_with_the_labels_of_the_task(finished, tasks):
  config = configs.load(f'{ROOT}/unseen_tasks.py:smoke,condition=images', [])[0]
  given = unseen_tasks.requests(config, tasks)
  assert given.shape == (12, 4, 65)
  train = tasks.dataset.train_x.reshape(-1, 64)
  for code, examples in zip(tasks.codes['test'], given, strict=True):
    for example in examples:
      (row,) = np.flatnonzero((train == example[:-1]).all(1))
      assert example[-1] == 2 * code[tasks.dataset.train_y[row]] - 1
  with pytest.raises(ValueError, match="allowed: 'pair', 'leaky'"):
    config.tasks.split = 'random'
    unseen_tasks.read(config, None)


def test_validation_deals_the_images_out_to_all_its_tasks():
  objective = make(Conditioned())
  variables = jax.jit(objective.init)(jax.random.key(0), None)
  loss, metrics = jax.jit(objective.loss, static_argnames='train')(
    variables, BATCH, jax.random.key(1), train=False
  )
  expected = []
  for place, code in enumerate(VAL):
    params = {
      path: np.asarray(x) + (2.0 * code - 1).mean()
      for path, x in variables['params']['base'].items()
    }
    part = slice(12 * place, 12 * place + 12)
    expected.append(reference(params, code, BATCH['x'][part], BATCH['y'][part]))
  np.testing.assert_allclose([loss, metrics['accuracy']], np.mean(expected, 0), rtol=1e-5)


def test_training_draws_training_tasks_and_no_others():
  objective = make(Unconditioned())
  variables = jax.jit(objective.init)(jax.random.key(0), None)
  params = {k: np.asarray(x) for k, x in variables['params']['base'].items()}
  of_codes = [
    [reference(params, code, BATCH['x'][i : i + 6], BATCH['y'][i : i + 6])[0]
     for code in CODES]
    for i in range(0, 24, 6)
  ]  # fmt: skip
  for seed in range(3):
    key = jax.random.key(seed)
    loss, _ = jax.jit(objective.loss)(variables, BATCH, key)
    rows = jax.random.randint(key, (4,), 0, len(CODES))
    expected = np.mean([of_codes[i][row] for i, row in enumerate(rows)])
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_images_that_are_given_are_not_those_that_are_scored():
  objective = make(Unconditioned(), set_size=2)
  example = {part: x[0] for part, x in BATCH.items()}
  variables = jax.jit(objective.init)(jax.random.key(0), example)

  def loss(x):
    return jax.jit(objective.loss)(variables, {**BATCH, 'x': x}, jax.random.key(0))[0]

  slopes = np.abs(np.asarray(jax.grad(loss)(jnp.asarray(BATCH['x']))))
  slopes = slopes.reshape(4, 6, -1).max(-1)
  assert np.all(slopes[:, :2] == 0)
  # But for an image that no unit of four answers to.
  assert np.mean(slopes[:, 2:] > 0) > 0.9


def test_the_labels_of_a_task_are_given_with_its_images():
  given = np.asarray(unseen_tasks.labelled(jnp.asarray(BATCH['x'][:3]), jnp.array([0, 1, 1])))
  np.testing.assert_array_equal(given[:, -1], [-1, 1, 1])
  np.testing.assert_array_equal(given[:, :-1], BATCH['x'][:3].reshape(3, -1))


def test_a_batch_that_is_too_small_is_refused():
  objective = make(Unconditioned(), num_tasks=4, set_size=6)
  with pytest.raises(ValueError, match='are 6 each; more than 6'):
    objective.loss({}, BATCH, jax.random.key(0))
