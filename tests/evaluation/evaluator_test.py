"""Planted cheaters: every way to look good must be named by a number."""

import dataclasses

import numpy as np
import pytest

from wsjax import networks
from wsjax.evaluation import baselines, evaluator, methods
from wsjax.evaluation import metrics as metrics_lib
from wsjax.evaluation.report import html, model
from wsjax.experiments.generation import verdict

PARTIAL = {'novelty', 'max_iou_at_threshold'} | {
  metric.name
  for group in ('copying', 'diversity', 'fidelity')
  for metric in metrics_lib.load(group).metrics
}
GATES = ('gate_strict', 'gate_half', 'gate_functional')


def _values(row):
  return {key: stat['value'] for key, stat in row.stats.items()}


def _evaluate(cheats, context):
  rows = evaluator.evaluate(
    [methods.Method(name, 'model', params) for name, params in cheats.items()],
    context,
    progress=False,
  ).rows
  return {name: _values(row) for name, row in rows.items()}


@pytest.mark.parametrize('name', ['retrieval', 'permuted copy'])
def test_exact_copies_are_named_however_they_are_disguised(rows, name):
  values = _values(rows[name])
  assert values['novelty'] < 1e-3
  assert values['copy_rate'] == 1
  assert values['max_iou'] == 1
  assert [values[gate] for gate in GATES] == [0, 0, 0]


def test_noisy_copies_are_copies(rows):
  values = _values(rows['noise(0.01)'])
  assert values['copy_rate'] == 1 and values['gate_half'] == 0
  order = [_values(rows[f'noise({s})'])['novelty'] for s in (0.01, 0.02, 0.05)]
  assert order == sorted(order)


def test_soups_have_lost_their_spread(rows):
  spread = [_values(rows[f'soup-{k} aligned'])['rms_ratio'] for k in (2, 4, 16)]
  np.testing.assert_allclose(spread, 1 / np.sqrt([2, 4, 16]), rtol=0.25)
  assert _values(rows['soup-16 aligned'])['gate_strict'] == 0


def test_averages_of_neighbours_are_no_new_networks(rows):
  for name in ('interpolation aligned', 'interpolation raw'):
    assert _values(rows[name])['gate_strict'] == 0
    assert _values(rows[name])['novelty'] < 0.6


def test_collapse_to_the_mean_shows_in_the_spread(zoo_reference):
  mean = networks.flatten(zoo_reference.aligned_train).mean(axis=0, keepdims=True)
  noise = np.random.default_rng(0).standard_normal((8, mean.shape[1]))
  vectors = np.float32(mean + 1e-3 * noise)
  made = networks.Networks.from_flat(vectors, zoo_reference.architecture.spec).params
  values = _evaluate({'mean': made}, zoo_reference)['mean']
  assert values['rms_ratio'] < 0.02
  assert values['disagreement'] < 0.2
  assert values['gate_strict'] == 0


def test_fresh_runs_pass_about_half(rows):
  values = _values(rows['fresh runs'])
  assert 0.2 < values['gate_strict'] < 0.8
  assert values['gate_half'] > 0.7
  assert values['copy_rate'] == 0
  assert 0.8 < values['novelty'] < 1.25
  assert values['rms_ratio'] == pytest.approx(1, abs=0.15)
  assert values['disagreement'] > 0.5


def test_the_zoo_left_out_one_by_one_is_the_scale(rows, zoo_reference):
  row = rows[methods.ZOO]
  values = _values(row)
  assert row.kind == 'reference'
  assert values['novelty'] == pytest.approx(1)
  assert values['rms_ratio'] == pytest.approx(1)
  assert values['max_iou'] == pytest.approx(zoo_reference.thresholds.max_iou)
  assert 0.3 < values['gate_strict'] < 0.6


def test_untrained_networks_are_new_and_useless(rows):
  values = _values(rows['random init'])
  assert values['nonfunctional_rate'] > 0.5
  assert values['copy_rate'] == 0
  assert [values[gate] for gate in GATES] == [0, 0, 0]


def test_nothing_changes_when_networks_are_moved_by_the_group(zoo_reference):
  nets = networks.take(zoo_reference.heldout, np.arange(8))
  moved = baselines.move(nets, zoo_reference.architecture.spec, seed=3)
  values = _evaluate({'here': nets, 'there': moved}, zoo_reference)
  for key, value in values['here'].items():
    if key not in ('seconds_per_net', 'novelty', 'rms_ratio', 'norm_ratio'):
      assert values['there'][key] == pytest.approx(value, abs=1e-4), key
  # Matching is a heuristic: from elsewhere it may end in another optimum.
  for key in ('novelty', 'rms_ratio', 'norm_ratio'):
    assert values['there'][key] == pytest.approx(values['here'][key], rel=0.05)


def test_broken_networks_fail_and_break_nothing(zoo_reference):
  nets = networks.take(zoo_reference.heldout, np.arange(4))
  nets['layer0/kernel'][0] = np.nan
  dead = {path: np.full_like(value, np.inf) for path, value in nets.items()}
  values = _evaluate({'some': nets, 'all': dead}, zoo_reference)
  assert values['some']['nonfunctional_rate'] == 0.25
  assert values['some']['novelty'] > 0.5
  assert values['all']['nonfunctional_rate'] == 1
  assert values['all']['novelty'] is None and values['all']['rms_ratio'] is None


def test_every_number_has_its_n_and_its_method(report):
  for name, row in report.rows.items():
    assert list(row.stats) == [metric.name for metric in report.metrics]
    for key, stat in row.stats.items():
      if stat['value'] is None:
        assert stat['not_run'], (name, key)
        continue
      assert stat['method'], (name, key)
      assert stat['n'] <= row.n if key in PARTIAL else stat['n'] == row.n
      if stat['low'] is not None and stat['method'] == 'clopper-pearson':
        assert stat['low'] <= stat['value'] <= stat['high']
    assert {len(values) for values in row.per_network.values()} == {row.n}


def test_seeds_are_resampled_and_listed(rows):
  row = rows['generator']
  assert row.seeds == [0, 1] and row.n == 24
  assert row.stats['accuracy']['method'] == 'two-way-seeds'
  by_seed = row.stats['accuracy']['per_seed']
  assert len(by_seed) == 2 and np.mean(by_seed) == pytest.approx(row.value('accuracy'))


def test_an_evaluation_becomes_a_report(report, tmp_path):
  made = verdict.report(report)
  made.write(tmp_path, html.page)
  again = model.load(tmp_path)
  assert list(again.tables['methods'].rows) == list(report.rows)
  page = (tmp_path / 'report.html').read_text()
  for name in report.rows:
    assert f'>{name}<' in page
  assert 'overstated' not in page  # Permuted copies are read as copies.
  assert 'Generators less baselines' in page and page.count('<svg ') == 6
  density = report.histograms['layer0/kernel']
  assert len(density['bins']) == len(density['zoo']) + 1
  assert len(density['soup-4 raw']) == len(density['zoo'])


def test_arms_of_one_name_are_refused(zoo_reference):
  method = methods.Method('twice', 'control', zoo_reference.heldout)
  with pytest.raises(ValueError, match='twice'):
    evaluator.evaluate([method, method], zoo_reference)
  with pytest.raises(ValueError, match='reserved|differ'):
    evaluator.evaluate([methods.Method('bins', 'control', zoo_reference.heldout)], zoo_reference)


def _kill(params, row):
  """Two dead hidden neurons: nothing reaches the one, the other reaches nothing."""
  params = {path: value.copy() for path, value in params.items()}
  params['layer0/kernel'][row, :, 3] = 0
  params['layer0/bias'][row, 3] = 0
  params['layer1/kernel'][row, 7] = 0
  return params


def test_a_rescaled_copy_with_a_dead_neuron_is_a_copy(zoo_reference):
  """Its distance to the original must not depend on the weights that no function sees."""
  rows = np.arange(zoo_reference.num_train)
  reference = dataclasses.replace(zoo_reference, train=_kill(zoo_reference.train, rows))
  copies = networks.take(reference.train, np.arange(8))
  scale = np.float32(1e3)
  for neuron in (3, 7):
    copies['layer0/kernel'][..., neuron] *= scale
    copies['layer0/bias'][:, neuron] *= scale
    copies['layer1/kernel'][:, neuron] /= scale
  values = _evaluate({'copy': copies}, reference)['copy']
  assert values['novelty'] < 0.01 and values['copy_rate'] == 1
  assert [values[gate] for gate in GATES] == [0, 0, 0]


def test_no_gate_opens_where_the_zoo_is_at_chance(zoo_reference):
  rng = np.random.default_rng(0)
  train = {
    path: (0.01 * rng.standard_normal(value.shape)).astype(np.float32)
    for path, value in zoo_reference.train.items()
  }
  fresh = networks.take(train, slice(24))
  reference = dataclasses.replace(zoo_reference, train=networks.take(train, slice(24, None)))
  found = evaluator.evaluate(
    [methods.Method('dead', 'model', fresh), methods.Method('again', 'baseline', fresh)],
    reference,
    progress=False,
  )
  for row in found.rows.values():
    for gate in GATES:
      assert row.value(gate) is None and 'at chance' in row.stats[gate]['not_run']
  assert [set(row.stats) for row in found.differences.values()] == [{'accuracy'}]
