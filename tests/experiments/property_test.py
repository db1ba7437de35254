"""Metrics of predictors against slow references; the report has them."""

import json

import numpy as np
import pytest
import scipy.stats
from ml_collections import config_dict

from wsjax.evaluation.report import html
from wsjax.experiments import property


class Fake(property.Property):
  """An experiment of no zoo."""

  def __init__(self, kind='number', num_bootstrap=200):
    self.kind, self.names = kind, ('a', 'b<c', 'd') if kind == 'class' else ()
    self.train, self.test = {'target': [0] * 5}, {'target': [0] * 40}
    self.config = config_dict.ConfigDict({
      'seed': 0, 'evaluate': {'num_bootstrap': num_bootstrap},
      'train': {'seeds': (0, 1), 'steps': 3}, 'encoder': {'name': 'statistics'},
      'property': {'target': 'val_accuracy'},
    })  # fmt: skip

  def scores(self, tables):
    return self.row(tables, 'model').stats


def slow_tau(a, b):
  """Kendall's tau-a by counting pairs, for values without ties."""
  pairs = [(i, j) for i in range(len(a)) for j in range(i)]
  signs = [np.sign((a[i] - a[j]) * (b[i] - b[j])) for i, j in pairs]
  return sum(signs) / len(pairs)


def numbers(seed=0, n=60, seeds=2, noise=0.5):
  rng = np.random.default_rng(seed)
  truth = rng.normal(size=n)
  mean = truth + noise * rng.normal(size=(seeds, n))
  return np.stack([mean, np.full_like(mean, noise)], -1), truth


def test_scores_of_numbers_are_those_of_the_textbook():
  outputs, truth = numbers()
  scores, half = property.regression(outputs, truth, numbers(1))
  scores = Fake().scores(scores)
  mean = outputs[..., 0]
  assert scores['tau']['per_seed'] == pytest.approx([slow_tau(m, truth) for m in mean])
  r2 = [1 - ((truth - m) ** 2).sum() / ((truth - truth.mean()) ** 2).sum() for m in mean]
  assert scores['r2']['value'] == pytest.approx(np.mean(r2))
  assert scores['mae']['value'] == pytest.approx(np.abs(truth - mean).mean())
  inside = np.abs(truth - mean) <= half
  assert scores['coverage']['value'] == pytest.approx(inside.mean())
  for stat in scores.values():
    assert stat['low'] <= stat['value'] <= stat['high']


def test_conformal_intervals_hold_what_they_promise():
  """Also where the deviations that were predicted are three times too small."""
  outputs, truth = numbers(0, 4000, 1)
  val, val_truth = numbers(1, 4000, 1)
  outputs[..., 1] /= 3
  val[..., 1] /= 3
  tables, _ = property.regression(outputs, truth, (val, val_truth))
  scores = Fake(num_bootstrap=20).scores({'coverage': tables['coverage']})
  assert scores['coverage']['value'] == pytest.approx(0.9, abs=0.02)


def test_scores_of_classes_are_those_of_the_textbook():
  rng = np.random.default_rng(0)
  labels = rng.integers(4, size=50)
  logits = 2 * rng.normal(size=(3, 50, 4)) + 2 * np.eye(4)[labels]
  scores = Fake().scores(property.classification(logits, labels))
  p = scipy.special.softmax(logits, -1)
  assert scores['accuracy']['value'] == np.mean(p.argmax(-1) == labels)
  nll = [-np.log(p[s, i, labels[i]]) for s in range(3) for i in range(50)]
  assert scores['nll']['value'] == pytest.approx(np.mean(nll))
  assert 0 < scores['ece']['value'] < 1


def test_the_interval_shrinks_with_networks():
  widths = []
  for n in (50, 5000):
    outputs, truth = numbers(0, n, 1)
    tables, _ = property.regression(outputs, truth, numbers(1, n, 1))
    stat = Fake(num_bootstrap=100).scores({'mae': tables['mae']})['mae']
    widths.append(stat['high'] - stat['low'])
  assert widths[1] < widths[0] / 5


@pytest.mark.parametrize('n', (1, 2, 3, 4))
@pytest.mark.parametrize('constant', ('none', 'target', 'one prediction'))
def test_every_number_is_finite_or_missing_however_few_the_networks(n, constant):
  outputs, truth = numbers(0, n, 3)
  if constant == 'target':
    truth[:] = 0.5
  if constant == 'one prediction':
    outputs[1, :, 0] = 0.5
  tables, _ = property.regression(outputs, truth, numbers(1, 5, 3))
  scores = Fake().scores(tables)
  json.dumps(scores, allow_nan=False)
  for stat in scores.values():
    assert len(stat['per_seed']) == 3
    assert stat['value'] is not None or stat['not_run']
  assert scores['mae']['value'] is not None
  if constant == 'target' or n == 1:
    assert scores['tau']['value'] is None and scores['tau']['per_seed'] == [None] * 3
  elif constant == 'one prediction':
    assert [each is None for each in scores['tau']['per_seed']] == [False, True, False]
  else:
    assert scores['tau']['low'] <= scores['tau']['value'] <= scores['tau']['high']


@pytest.mark.parametrize('kind', ('class', 'number'))
def test_the_page_says_what_was_found(kind):
  rng = np.random.default_rng(0)
  if kind == 'class':
    labels = rng.integers(3, size=40)
    logits = rng.normal(size=(2, 40, 3)) + 2 * np.eye(3)[labels]
    report = Fake(kind).report_classes(logits, labels, 0)
  else:
    report = Fake(kind).report_numbers(*numbers(), numbers(1), 0.0)
  text = html.page(report)
  assert 'statistics predicts the val accuracy at' in text and 'without weights' in text
  assert 'b&lt;c' in text or kind == 'number'
  assert '<svg' in text and 'src=' not in text and 'http' not in text
