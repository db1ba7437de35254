"""Optional groups of metrics: in an evaluation if asked for, and only then."""

import dataclasses
import json

import numpy as np
import pytest

from wsjax import networks as networks_lib
from wsjax.evaluation import baselines, evaluator, methods, metrics
from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation.report import html, model

OPTIONAL = {metric.name for name in metrics.OPTIONAL for metric in metrics.load(name).metrics}
STANDARD = {metric.name for group in metrics.load_all(()) for metric in group.metrics}


def _measure(chosen, reference, names, limits=None):
  """Optional metrics of methods, as an evaluation has them; it takes much less time."""
  made = {'metrics': {}, 'methods': []}
  for name in names:
    group = metrics.load(name)
    size = (limits or {}).get(name, group.limit)
    made['metrics'] |= {metric.name: metric.declaration() for metric in group.metrics}
    curves = {}
    for number, method in enumerate(chosen):
      sample = methods.Sample(method, reference, size)
      if method.params is reference.train:
        sample = methods.zoo(reference, size)
      if len(made['methods']) <= number:
        made['methods'].append({'name': method.name, 'n': method.num_networks, 'metrics': {}})
      row = made['methods'][number]
      row['metrics'] |= {metric.name: metric(sample, reference) for metric in group.metrics}
      if group.curve:
        try:
          curves[method.name] = group.curve(sample)
        except metric_lib.NotRun:
          pass
    if curves:
      made[name] = curves
  return made


@pytest.fixture(scope='module')
def nets(zoo_reference):
  return networks_lib.take(zoo_reference.heldout, np.arange(32))


@pytest.fixture(scope='module')
def made(zoo_reference, nets):
  """The evaluation of held-out networks, the same in disguise, and others."""
  spec = zoo_reference.architecture.spec
  moved = baselines.move(nets, spec, seed=3)
  dead = {path: np.full_like(value, np.nan) for path, value in nets.items()}
  one = networks_lib.take(nets, np.zeros(32, int))
  return _measure(
    [
      methods.Method('zoo', 'reference', zoo_reference.train),
      methods.Method('runs', 'model', nets, seeds=(0, 1)),
      methods.Method('moved', 'control', moved, seeds=(0, 1)),
      methods.Method('copies', 'control', one),
      methods.Method('dead', 'control', networks_lib.take(dead, np.arange(3))),
    ],
    zoo_reference,
    metrics.OPTIONAL,
    limits={
      'adversarial': (8, 128),
      'barriers': (8, 128),
      'finetuning': (6, 360),
      'weight_robustness': (8, 128),
    },
  )


@pytest.fixture(scope='module')
def values(made):
  return {
    row['name']: {key: stat['value'] for key, stat in row['metrics'].items()}
    for row in made['methods']
  }


def test_every_metric_declares_itself():
  groups = [metrics.load(name) for name in metrics.OPTIONAL]
  declared = [metric.declaration() for group in groups for metric in group.metrics]
  assert not OPTIONAL & STANDARD
  for fields in declared:
    assert fields['doc'] and fields['label'] and fields['group']


# Of all groups at once, which takes long; each has these laws tested in a file of its own.
@pytest.mark.slow
def test_every_metric_has_a_column(made):
  for row in made['methods']:
    assert set(row['metrics']) == OPTIONAL
  assert set(made['metrics']) == OPTIONAL


@metric_lib.metric('churn', group='Stability')
def churn(method, reference):
  """A metric of somebody else."""
  return method.over_networks(np.ones(len(method.networks)))


def test_an_evaluation_has_what_it_was_asked_for(zoo_reference, nets):
  result = evaluator.evaluate(
    [methods.Method('runs', 'model', networks_lib.take(nets, np.arange(8)))],
    zoo_reference,
    progress=False,
    metrics=('ensembles', f'{__name__}:churn'),
    limits={'ensembles': (4, 50)},
  )
  asked = STANDARD | {metric.name for metric in metrics.load('ensembles').metrics} | {'churn'}
  for row in result.rows.values():
    assert set(row.stats) == asked
    assert row.stats['ensemble4_gain']['n'] == 1
  assert {metric.name for metric in result.metrics} == asked
  assert result.rows['runs'].value('churn') == 1
  table = model.Table('Methods', result.metrics, result.rows)
  page = html.page(model.Report('A table.', {'methods': table}))
  assert '>Ensembles<' in page and '>Stability<' in page and '>Fine-tuning<' not in page


@pytest.mark.slow
def test_every_number_has_its_n_and_its_method(made):
  for row in made['methods']:
    for key in OPTIONAL:
      stat = row['metrics'][key]
      if stat['value'] is None:
        assert stat['not_run'], (row['name'], key)
        continue
      assert stat['n'] <= row['n'] and stat['method'], (row['name'], key)
      assert stat['n'] == 1 or stat['low'] <= stat['high']
  assert json.loads(json.dumps(made, allow_nan=False)) == made


@pytest.mark.slow
def test_a_disguise_changes_nothing(values):
  # Units as they stand are what the first one of these looks at.
  for key in OPTIONAL - {'barrier_train_raw', 'ensemble16_gain'}:
    here, there = values['runs'][key], values['moved'][key]
    # Of the attack, rounding decides where a step ends.
    tolerance = 2e-3 if key.startswith(('robust', 'transfer')) else 1e-5
    if key.startswith('finetune'):  # Training multiplies rounding.
      tolerance = 2e-3
    assert there == pytest.approx(here, abs=tolerance), key


@pytest.mark.slow
def test_the_zoo_is_its_own_reference(values):
  zoo = values['zoo']
  assert zoo['mce'] == pytest.approx(1)
  assert zoo['relative_mce'] == pytest.approx(1)
  assert values['runs']['mce'] == pytest.approx(1, abs=0.1)
  assert zoo['robust_linf'] < zoo['noise_linf'] - 0.05
  assert zoo['robust_l2'] < zoo['noise_l2'] - 0.05
  # What is made for others is stronger than noise, and weaker than one's own.
  for norm in ('linf', 'l2'):
    own, other = (values['runs'][f'robust_{norm}'], values['runs'][f'transfer_{norm}'])
    assert own < other < values['runs'][f'noise_{norm}']
  assert zoo['finetune_steps'] <= 5 and zoo['finetune_reached'] > 0.5


@pytest.mark.slow
def test_copies_of_one_network_gain_nothing_together(values):
  assert values['copies']['ensemble4_gain'] == pytest.approx(0, abs=1e-5)
  assert values['copies']['barrier_self'] == pytest.approx(0, abs=1e-3)
  assert values['runs']['ensemble16_gain'] > values['runs']['ensemble4_gain']
  assert values['runs']['ensemble4_gain'] > 0.003


@pytest.mark.slow
def test_broken_networks_break_nothing(values):
  dead = values['dead']
  assert dead['mce'] > 1 and dead['robust_linf'] == 0
  assert dead['weight_prune_drop'] is None and dead['ensemble4_nll'] is None
  assert dead['finetune_steps'] is None and dead['barrier_self'] is None


@pytest.mark.slow
def test_curves_are_there_for_figures(made):
  names = {row['name'] for row in made['methods']}
  assert set(made['corruptions']) == set(made['adversarial']) == names
  assert set(made['finetuning']) == names - {'dead'}
  assert len(made['corruptions']['runs']['noise']) == 6
  curve = made['adversarial']['runs']['linf']
  assert len(curve['epsilon']) == len(curve['robust']) == len(curve['noise'])
  assert np.all(np.diff(curve['robust']) < 0)


def test_items_that_are_no_images_say_so(zoo_reference, nets):
  flat = dataclasses.replace(zoo_reference, test_x=zoo_reference.test_x.reshape(360, 64))
  result = _measure([methods.Method('runs', 'model', nets)], flat, ('corruptions', 'adversarial'))
  metrics = result['methods'][0]['metrics']
  assert 'no images' in metrics['mce']['not_run']
  assert 'no images' in metrics['robust_l2']['not_run']
  assert 'corruptions' not in result


def test_networks_that_cannot_be_trained_on_say_so(zoo_reference, nets):
  fixed = dataclasses.replace(zoo_reference, finetune=None)
  result = _measure([methods.Method('runs', 'model', nets)], fixed, ('finetuning',))
  assert 'train' in result['methods'][0]['metrics']['finetune_steps']['not_run']
  assert 'finetuning' not in result


def test_limits_bound_networks_and_items(zoo_reference, nets):
  result = _measure(
    [methods.Method('runs', 'model', nets, seeds=(0, 1))],
    zoo_reference,
    ('ensembles',),
    limits={'ensembles': (8, 20)},
  )
  stat = result['methods'][0]['metrics']['ensemble4_gain']
  assert stat['n'] == 2 and stat['method'] == 'two-way-seeds'


@pytest.mark.parametrize(
  ('keywords', 'match'),
  [
    ({'metrics': ('colour',)}, 'colour'),
    ({'metrics': ('barriers', 'barriers')}, 'differ'),
    ({'limits': {'barriers': (0, 5)}}, 'at least'),
    ({'limits': {'colour': (1, 5)}}, 'colour'),
    ({'metrics': ('no_such.module:metric',)}, 'no_such'),
    ({'metrics': ('json:dumps',)}, 'no metric'),
  ],
)
def test_wrong_groups_are_refused_before_the_work(zoo_reference, keywords, match):
  with pytest.raises(ValueError, match=match):
    evaluator.evaluate([], zoo_reference, **keywords)
