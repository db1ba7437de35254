"""Scores of predictors against slow references; the page opens and is read."""

import json

import numpy as np
import pytest
import scipy.stats

from wsjax.evaluation.report import report
from wsjax.experiments import property_comparison, property_metrics, property_report, reports

OPTIONS = dict(num_bootstrap=200, seed=0)


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
  scores, half = property_metrics.regression(outputs, truth, numbers(1), **OPTIONS)
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
  scores, _ = property_metrics.regression(
    outputs, truth, (val, val_truth), num_bootstrap=20, seed=0
  )
  assert scores['coverage']['value'] == pytest.approx(0.9, abs=0.02)


def test_scores_of_classes_are_those_of_the_textbook():
  rng = np.random.default_rng(0)
  labels = rng.integers(4, size=50)
  logits = 2 * rng.normal(size=(3, 50, 4)) + 2 * np.eye(4)[labels]
  scores = property_metrics.classification(logits, labels, **OPTIONS)
  p = scipy.special.softmax(logits, -1)
  assert scores['accuracy']['value'] == np.mean(p.argmax(-1) == labels)
  nll = [-np.log(p[s, i, labels[i]]) for s in range(3) for i in range(50)]
  assert scores['nll']['value'] == pytest.approx(np.mean(nll))
  assert 0 < scores['ece']['value'] < 1


def test_the_interval_shrinks_with_networks():
  widths = []
  for n in (50, 5000):
    outputs, truth = numbers(0, n, 1)
    stat = property_metrics.regression(outputs, truth, numbers(1, n, 1), num_bootstrap=100, seed=0)[
      0
    ]['mae']
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
  scores, _ = property_metrics.regression(outputs, truth, numbers(1, 5, 3), **OPTIONS)
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


def fake(kind):
  """A small report of one kind of property."""
  if kind == 'class':
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=40)
    logits = rng.normal(size=(2, 40, 3)) + 2 * np.eye(3)[labels]
    metrics = property_metrics.classification(logits, labels, **OPTIONS)
    outcome = {'confusion': [[10, 2, 0], [0, 12, 3], [1, 0, 12]]}
    constant = {'accuracy': 0.4}
  else:
    outputs, truth = numbers()
    metrics, half = property_metrics.regression(outputs, truth, numbers(1), **OPTIONS)
    outcome = {
      'truth': truth, 'mean': outputs[0, :, 0], 'half_width': half[0]
    }  # fmt: skip
    constant = {'tau': 0.0, 'r2': 0.0, 'mae': 1.0}
  return {
    'schema_version': '1.0.0',
    'name': 'x',
    'config': {},
    'config_text': '{}',
    'created_at': 'now',
    'device': 'cpu',
    'versions': {},
    'property': {
      'target': 'val_accuracy', 'kind': kind,
      'names': ['a', 'b<c', 'd'] if kind == 'class' else [],
      'num_train': 5, 'num_test': 40,
    },
    'encoder': {
      'name': 'statistics', 'num_params': 12345, 'steps': 3,
      'train_seconds': 1.0, 'seeds': [0, 1],
    },
    'metrics': metrics,
    'constant': constant,
    'outcome': outcome,
    'training': {'step': [1, 2], 'loss': [2.0, 1.0], 'val_loss': [2.0, 1.5]},
    'wall_seconds': {'train': 2.0},
  }  # fmt: skip


@pytest.mark.parametrize('kind', ('class', 'number'))
def test_the_page_says_what_was_found(kind, tmp_path):
  path = reports.write(fake(kind), tmp_path)
  text = path.read_text()
  loaded = reports.load(tmp_path)
  assert property_report.headline(loaded).split(' reads')[0] in text
  assert 'b&lt;c' in text or kind == 'number'
  assert '<svg' in text and 'src=' not in text and 'http' not in text
  before = path.read_bytes()
  reports.write(loaded, tmp_path)
  assert path.read_bytes() == before
  assert reports.of(loaded) is property_report
  assert property_report.table(loaded).row_count == len(loaded['metrics'])


def test_a_report_that_lacks_something_is_refused(tmp_path):
  broken = fake('number')
  del broken['metrics']
  with pytest.raises(ValueError, match='missing: metrics'):
    reports.write(broken, tmp_path)
  assert not (tmp_path / 'report.json').exists()


def test_runs_stand_side_by_side(tmp_path):
  runs = {'arm/a': fake('number'), 'arm/b': fake('number')}
  assert reports.comparison_of(runs) is property_comparison
  gathered = property_comparison.gather('ablation', runs)
  path = report.publish(tmp_path, 'sweep', gathered, property_comparison.page)
  assert 'arm/a/report.html' in path.read_text()
  assert len(json.loads((tmp_path / 'sweep.json').read_text())['runs']) == 2
  assert property_comparison.table(gathered).row_count == 2
  with pytest.raises(ValueError, match='no common table'):
    reports.comparison_of({**runs, 'c': {'arms': []}})
