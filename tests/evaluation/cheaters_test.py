"""Every planted cheater is named by its own name, a truthful one by none."""

import dataclasses

import numpy as np
import pytest

from wsjax import networks as networks_lib
from wsjax.evaluation import baselines, evaluator, methods
from wsjax.evaluation import metrics as metrics_lib
from wsjax.evaluation import reference as reference_lib
from wsjax.evaluation.metrics import copying, diversity, fidelity, flags

_FIDELITY = {metric.name: metric for metric in fidelity.METRICS}
NUM_SAMPLES = 32
PARTIAL = {
  metric.name
  for group in ('copying', 'diversity', 'fidelity')
  for metric in metrics_lib.load(group).metrics
}


def _noisy(params, sigma, seed):
  rng = np.random.default_rng(seed)
  return {
    path: value + np.float32(sigma) * rng.standard_normal(value.shape, 'f')
    for path, value in params.items()
  }


def _cheaters(context, fresh):
  """Name -> networks, each made as a generator that cheats would make them."""
  train, n = context.train, NUM_SAMPLES
  spec = context.architecture.spec
  rng = np.random.default_rng(0)
  some = networks_lib.take(train, rng.integers(context.num_train, size=n))
  vectors = networks_lib.flatten(context.aligned_train)
  apart = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
  kin = np.argsort(apart, axis=1)[rng.integers(len(apart), size=n), :3]
  mean = np.repeat(vectors.mean(axis=0, keepdims=True), n, axis=0)
  one = {path: np.repeat(value[:1], n, axis=0) for path, value in fresh.items()}

  def unflatten(rows):
    return networks_lib.Networks.from_flat(rows, spec).params

  return {
    'copies': some,
    'moved copies': baselines.move(some, spec, seed=1),
    'noise': _noisy(some, 0.03, 2),
    'moved noise': baselines.move(_noisy(some, 0.03, 3), spec, seed=4),
    'neighbours': unflatten(vectors[kin].mean(axis=1)),
    'lines': unflatten(baselines.interpolation(rng, n, len(vectors)) @ vectors),
    'mean': _noisy(unflatten(mean), 0.01, 5),
    'one': baselines.move(_noisy(one, 0.02, 6), spec, seed=7),
    'static': _noisy(unflatten(0 * mean), 0.2, 8),
    'truth': fresh,
    'moved truth': baselines.move(fresh, spec, seed=9),
  }


OWN = {
  'copies': 'copies',
  'moved copies': 'copies',
  'noise': 'copies with noise',
  'moved noise': 'copies with noise',
  'neighbours': 'averages neighbours',
  'lines': 'averages neighbours',
  'mean': 'collapsed to the mean',
  'one': 'one mode',
  'static': 'not working',
}


@pytest.fixture(scope='session')
def audited(zoo_reference, further_runs):
  """Cheater -> its row of the report."""
  made = [
    methods.Method(name, 'model', params)
    for name, params in _cheaters(zoo_reference, further_runs).items()
  ]
  return evaluator.evaluate(made, zoo_reference, progress=False).rows


def _named(row):
  return {entry['name'] for entry in row.flags}


@pytest.mark.parametrize('cheater', OWN)
def test_cheaters_are_named_by_their_own_name(audited, cheater):
  row = audited[cheater]
  assert OWN[cheater] in _named(row), row.flags
  assert all(any(c.isdigit() for c in e['evidence']) for e in row.flags)


@pytest.mark.parametrize(
  ('cheater', 'metric'),
  [
    ('noise', copying.copying_z),
    ('moved noise', copying.copying_z),
    ('neighbours', copying.hull_residual),
    ('lines', copying.hull_residual),
    ('mean', diversity.centre_distance),
    ('one', _FIDELITY['mmd_weights']),
    ('static', _FIDELITY['mmd_functional']),
  ],
)
def test_tests_flag_cheaters_too(audited, cheater, metric):
  assert metric.flag in _named(audited[cheater]), audited[cheater].flags


@pytest.mark.parametrize('name', ['truth', 'moved truth', methods.ZOO])
def test_truth_and_the_zoo_itself_are_not_named(audited, name):
  assert audited[name].flags == []


@pytest.mark.parametrize(
  'name, own',
  [
    ('retrieval', 'copies'),
    ('permuted copy', 'copies'),
    ('noise(0.05)', 'copies with noise'),
    ('interpolation aligned', 'averages neighbours'),
    ('soup-2 aligned', 'averages neighbours'),
    ('soup-16 aligned', 'collapsed to the mean'),
    ('random init', 'not working'),
  ],
)
def test_baselines_are_named_for_what_they_are(rows, name, own):
  assert own in _named(rows[name])


def test_fresh_runs_of_the_panel_are_not_named(rows):
  assert rows['fresh runs'].flags == []
  assert rows['fresh runs'].value('coverage_weights') > 0.8


def test_one_new_network_and_noise_passes_every_test_against_the_zoo(audited):
  values = {k: s['value'] for k, s in audited['one'].stats.items()}
  assert values['novelty'] > 0.8 and values['copy_rate'] == 0
  assert values['replica_rate'] == 0 and values['gate_half'] > 0.9
  # What catches it.
  assert values['self_distance'] < 0.2 and values['vendi_ratio'] < 0.6
  assert values['coverage_functional'] < 0.3
  assert _named(audited['one']) >= {'one mode', _FIDELITY['mmd_functional'].flag}


def test_numbers_of_the_truth_are_those_of_held_out_runs(audited):
  metrics = audited['truth'].stats
  for key in (
    'hull_residual', 'neighbour_ratio', 'self_distance', 'centre_distance'
  ):  # fmt: skip
    entry = metrics[key]
    assert entry['value'] == pytest.approx(entry['heldout'], rel=0.05), key
  assert abs(metrics['copying_z']['value']) < 3
  assert abs(metrics['iou_excess']['value']) < 0.05
  assert metrics['mmd_weights']['p'] > 0.01
  assert metrics['mmd_functional']['p'] > 0.01
  collapsed = audited['one'].stats
  for space in ('weights', 'functional'):
    for name in ('energy', 'sliced'):
      key = f'{name}_{space}'
      assert metrics[key]['value'] < 0.5 * collapsed[key]['value'], key
    assert abs(metrics[f'energy_{space}']['value']) < 0.1
  assert metrics['vendi_ratio']['value'] == pytest.approx(1, abs=0.3)


def test_copies_show_in_every_axis_against_the_zoo(audited):
  for name in ('copies', 'moved copies', 'moved noise'):
    metrics = audited[name].stats
    assert metrics['replica_rate']['value'] == 1
    assert metrics['replica_rate_ratio']['value'] == 1
    assert metrics['neighbour_ratio']['value'] < 0.5
    assert '32 held-out' in metrics['replica_rate']['note']
    assert metrics['copying_z']['value'] < -5
    assert metrics['copying_z']['p'] < 0.01
    assert metrics['authenticity']['value'] == 0
    assert metrics['hull_residual']['value'] > 0.9
  assert audited['copies'].stats['iou_excess']['value'] > 0.1


def test_averages_are_in_the_hull(audited):
  for name in ('neighbours', 'lines'):
    entry = audited[name].stats['hull_residual']
    assert entry['value'] < 0.2 < 0.5 < entry['heldout']


def test_no_axis_of_weights_sees_the_group(audited):
  here, there = (audited[n].stats for n in ('truth', 'moved truth'))
  for key in PARTIAL - {'rms_ratio', 'norm_ratio', 'disagreement'}:
    assert there[key]['value'] == pytest.approx(here[key]['value'], rel=1e-3, abs=1e-4), key


def test_a_finding_needs_its_numbers(audited):
  row = dataclasses.replace(audited['noise'], per_network={'accuracy': [0.9] * 4})
  assert flags.find(row, 0.5) == []
  assert [e['name'] for e in flags.find(row, 0.95)] == ['not working']


def test_without_held_out_runs_the_rest_says_why(zoo_reference):
  context = dataclasses.replace(zoo_reference, heldout=None)
  copies = networks_lib.take(zoo_reference.train, np.arange(12))
  row = evaluator.evaluate(
    [methods.Method('copies', 'model', copies)], context, progress=False
  ).rows['copies']
  assert _named(row) == {'copies'}
  assert row.stats['hull_residual']['value'] == 1
  for key in ('replica_rate', 'vendi_ratio', 'mmd_weights'):
    assert 'no held-out' in row.stats[key]['not_run']


@pytest.mark.slow
def test_rates_of_false_and_missed_flags_over_partitions_of_real_runs(zoo_parts):
  """Honest: runs that neither side was shown. Copies: training runs with noise of 0.05."""
  data, architecture, _, nets = zoo_parts
  honest, missed = [], []
  for seed in range(12):
    order = np.random.default_rng(seed).permutation(112)
    train, heldout, fresh = (networks_lib.take(nets, x) for x in np.split(order, (48, 80)))
    reference = reference_lib.Reference(
      architecture=architecture,
      test_x=data.test_x,
      test_y=data.test_y,
      train=train,
      heldout=heldout,
      reference={path: value[0] for path, value in train.items()},
      num_bootstrap=50,
      seed=seed,
    )
    noisy = _noisy(networks_lib.take(train, np.arange(32)), 0.05, seed)
    made = [methods.Method(*x) for x in (('a', 'model', fresh), ('b', 'model', noisy))]
    rows = evaluator.evaluate(made, reference, progress=False).rows
    honest.append(bool(rows['a'].flags))
    missed.append(copying.replica_rate.flag not in _named(rows['b']))
  assert np.sum(honest) <= 1, honest
  assert not any(missed)
