"""Unseen tasks as a stage: no leak goes in, and the nulls are what they say."""

import dataclasses
import itertools
import json
import pathlib

import numpy as np
import pytest
import scipy.special

from wsjax import run as run_lib
from wsjax.cli import configs
from wsjax.experiments import (
  prepare,
  reports,
  task_baselines,
  task_lines,
  task_outputs,
  tasks_report,
  unseen_tasks,
)
from wsjax.zoo.data import subsets

ROOT = pathlib.Path(__file__).parents[2] / 'configs'


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('run')
  config = configs.load(f'{ROOT}/unseen_tasks.py:smoke', [])[0]
  return run_lib.run(config, workdir, progress=False), workdir, config


@pytest.fixture(scope='module')
def zoo(finished):
  _, workdir, config = finished
  return prepare.open_zoo(config, workdir, progress=False)


@pytest.fixture(scope='module')
def tasks(finished, zoo):
  return unseen_tasks.prepare(finished[2], zoo)


def leaky(config):
  changed = config.copy_and_resolve_references()
  changed.tasks.split = 'leaky'
  return changed


def test_a_run_ends_in_a_report_with_every_null(finished):
  result, workdir, _ = finished
  rows = {row['name']: row for row in result['rows']}
  assert list(rows)[:2] == ['trained one by one', 'generated from the code']
  assert {row['n'] for row in rows.values()} == {12} and len(rows) == 12
  for row in rows.values():
    for stat in row['metrics'].values():
      assert stat['low'] <= stat['value'] <= stat['high']
  accuracy = {k: r['metrics']['accuracy']['value'] for k, r in rows.items()}
  # The mean of all networks does not know the task.
  assert 0.4 < accuracy['mean of the training networks'] < 0.6
  assert accuracy['trained one by one'] > 0.7
  assert result['tasks']['complements_seen'] == 0
  assert 'is not met' in tasks_report.verdict(result)
  text = (workdir / 'report.html').read_text()
  assert tasks_report.headline(result) in text and 'http' not in text


def test_a_finished_run_is_read_and_rendered_again_the_same(finished):
  _, workdir, config = finished
  before = (workdir / 'report.html').read_bytes()
  again = run_lib.run(config, workdir, progress=False)
  assert again == json.loads((workdir / 'report.json').read_text())
  assert reports.of(again) is tasks_report
  reports.write(again, workdir)
  assert (workdir / 'report.html').read_bytes() == before
  assert tasks_report.table(again).row_count == 12
  with pytest.raises(ValueError, match='unseen tasks have no common table'):
    reports.comparison_of({'a': again, 'b': again})
  del again['rows'][0]
  with pytest.raises(ValueError, match='not reference, generator'):
    tasks_report.check(again)


def test_no_test_task_or_complement_is_trained_on(tasks):
  seen = {subsets.text(code) for code in tasks.codes['train']}
  seen |= {subsets.text(1 - code) for code in tasks.codes['train']}
  assert not seen & {subsets.text(code) for code in tasks.codes['test']}
  assert tasks.num_leaks == 0


def test_a_planted_leak_is_caught(finished, zoo):
  """The record of a test net says that it learned what a training net did."""

  class Leaky:
    path, architecture = zoo.path, zoo.architecture
    records = list(zoo.records)
    select, params = zoo.select, zoo.params

  train, test = (zoo.select(split=split)[0] for split in ('train', 'test'))
  bits = zoo.records[train]['datasets'][0]['labels']
  flipped = bits.translate(str.maketrans('01', '10'))
  lineage = {**zoo.records[test]['datasets'][0], 'labels': flipped}
  Leaky.records[test] = {**zoo.records[test], 'datasets': [lineage]}
  with pytest.raises(ValueError, match='1 of 12 test tasks have their compl'):
    unseen_tasks.prepare(finished[2], Leaky())


def test_the_leaky_control_sees_every_complement_and_the_swap_finds_it(finished, zoo):
  tasks = unseen_tasks.prepare(leaky(finished[2]), zoo)
  assert len(tasks.codes['test']) == tasks.num_leaks == 6
  assert len(tasks.codes['train']) == 46
  swap = task_baselines.retrieval(tasks)[-1]
  assert swap.name == 'complement, outputs swapped'
  both = zoo.params(zoo.select(split='test'))
  second = {path: value[1::2] for path, value in both.items()}
  of_complement = task_outputs.accuracy(tasks, second, 1 - tasks.codes['test'])
  # Two outputs that are equal to the last bit are nobody's.
  np.testing.assert_allclose(swap.accuracy[0], of_complement, atol=1e-3)


def test_accuracy_is_that_of_the_forward_pass(tasks):
  params = tasks.params['test']
  x = tasks.dataset.test_x.reshape(len(tasks.dataset.test_y), -1)
  found = task_outputs.accuracy(tasks, tasks.params['test'], tasks.codes['test'])
  for i, code in enumerate(tasks.codes['test']):
    p = {k: v[i] for k, v in params.items()}
    h = np.maximum(x @ p['layer0/kernel'] + p['layer0/bias'], 0)
    said = (h @ p['layer1/kernel'] + p['layer1/bias']).argmax(-1)
    right = np.mean(said == code[tasks.dataset.test_y])
    assert found[i] == pytest.approx(right, abs=3e-3)


def test_the_nearest_codes_are_the_nearest(tasks):
  alone, vote = (arm.accuracy[0] for arm in task_baselines.retrieval(tasks))
  y = tasks.dataset.test_y
  margins = task_outputs.margins(tasks.architecture, tasks.params['train'], tasks.dataset.test_x)
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
  params = task_lines.least_squares(tasks, backbone, codes)
  found = task_outputs.margins(tasks.architecture, params, tasks.dataset.test_x)
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
  monkeypatch.setattr(task_lines, '_PENALTIES', (1e-9,))
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
  found = task_lines._ridge(many, train, mean, list(train))
  expected = planted(tasks.codes['test'])
  for path, value in found(tasks.codes['test']).items():
    error = np.abs(value - expected[path]).max()
    assert error < 1e-3 * np.abs(expected[path]).max()
  last = [path for path in train if path.startswith('layer1/')]
  head = task_lines._ridge(many, train, mean, last)(tasks.codes['test'])
  for path, value in head.items():
    right = expected[path] if path in last else mean[path][None]
    assert np.abs(value - right).max() < 1e-3 * np.abs(right).max()


def test_odds_of_a_subset_are_sums_of_probabilities():
  rng = np.random.default_rng(0)
  logits = rng.standard_normal((7, 10))
  codes = subsets.codes(10, seed=0)[:4]
  p = scipy.special.softmax(logits, -1)
  for row, code in zip(task_baselines._log_odds(logits, codes), codes,
                       strict=True):  # fmt: skip
    inside = p[:, code == 1].sum(1)
    np.testing.assert_allclose(row, np.log(inside / (1 - inside)), rtol=1e-6)


def test_sets_of_images_are_training_images_with_the_labels_of_the_task(finished, tasks):
  config = configs.load(f'{ROOT}/unseen_tasks.py:smoke,told=images', [])[0]
  given = unseen_tasks.requests(config, tasks)
  assert given.shape == (12, 4, 65)
  train = tasks.dataset.train_x.reshape(-1, 64)
  for code, examples in zip(tasks.codes['test'], given, strict=True):
    for example in examples:
      (row,) = np.flatnonzero((train == example[:-1]).all(1))
      assert example[-1] == 2 * code[tasks.dataset.train_y[row]] - 1
  with pytest.raises(ValueError, match="allowed: 'pair', 'leaky'"):
    config.tasks.split = 'random'
    unseen_tasks.prepare(config, None)
