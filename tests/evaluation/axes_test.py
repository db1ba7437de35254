"""Optional axes of an evaluation: there if asked for, and only then."""

import dataclasses
import json

import numpy as np
import pytest

from wsjax.evaluation import baselines, evaluator, methods, statistics
from wsjax.evaluation.report import axes, axis_words, columns, measures

WORDS = {key for words in axis_words.AXES.values() for key in words}


def _extend(chosen, context, names, **keywords):
  rows = [{'name': arm.name, 'n': arm.num_nets, 'metrics': {}}
          for arm in chosen]  # fmt: skip
  return axes.extend(
    {'metrics': {}, 'arms': rows}, chosen, context, statistics.Resampler(0, 50), names, **keywords
  )


@pytest.fixture(scope='module')
def nets(zoo_context):
  return methods.take(zoo_context.heldout, np.arange(32))


@pytest.fixture(scope='module')
def made(zoo_context, nets):
  """The evaluation of held-out networks, the same in disguise, and others."""
  spec = zoo_context.architecture.spec
  moved = baselines.move(nets, spec, seed=3)
  dead = {path: np.full_like(value, np.nan) for path, value in nets.items()}
  one = methods.take(nets, np.zeros(32, int))
  return _extend(
    [
      methods.Arm('zoo', 'reference', zoo_context.train),
      methods.Arm('runs', 'generator', nets, seeds=(0, 1)),
      methods.Arm('moved', 'control', moved, seeds=(0, 1)),
      methods.Arm('copies', 'control', one),
      methods.Arm('dead', 'control', methods.take(dead, np.arange(3))),
    ],
    zoo_context,
    axes.NAMES,
    limits={'finetuning': (8, 360), 'adversarial': (16, 128)},
  )


@pytest.fixture(scope='module')
def values(made):
  return {
    row['name']: {key: stat['value'] for key, stat in row['metrics'].items()}
    for row in made['arms']
  }


def test_every_metric_has_words_and_a_column(made):
  for row in made['arms']:
    assert set(row['metrics']) == WORDS
  assert set(made['metrics']) == WORDS
  headed = {key for group in columns.COLUMNS.values() for key in group}
  assert WORDS <= headed and not WORDS & set(measures.METRICS)
  assert set(columns.groups_of(made)) == {
    'Calibration', 'Robustness', 'Barriers, nats', 'Fine-tuning', 'Ensembles'
  }  # fmt: skip
  for words in axis_words.AXES.values():
    for word in words.values():
      assert word['better'] in ('higher', 'lower', 'none')
      assert word['description']


def test_an_evaluation_has_what_it_was_asked_for(zoo_context, nets):
  result = evaluator.evaluate(
    [methods.Arm('runs', 'generator', methods.take(nets, np.arange(8)))],
    zoo_context,
    num_bootstrap=20,
    progress=False,
    axes=('ensembles',),
    axis_limits={'ensembles': (4, 50)},
  )
  asked = set(measures.METRICS) | set(axis_words.AXES['ensembles'])
  for row in result['arms']:
    assert set(row['metrics']) == asked
    assert row['metrics']['ensemble4_gain']['n'] == 1
  assert set(result['metrics']) == asked
  groups = columns.groups_of(result)
  assert 'Ensembles' in groups and 'Robustness' not in groups


def test_every_number_has_its_n_and_its_method(made):
  for row in made['arms']:
    for key in WORDS:
      stat = row['metrics'][key]
      if stat['value'] is None:
        assert stat['not_run'], (row['name'], key)
        continue
      assert stat['n'] <= row['n'] and stat['method'], (row['name'], key)
      assert stat['n'] == 1 or stat['low'] <= stat['high']
  assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_a_disguise_changes_nothing(values):
  # Units as they stand are what the first one of these looks at.
  for key in WORDS - {'barrier_train_raw', 'ensemble16_gain'}:
    here, there = values['runs'][key], values['moved'][key]
    # Of the attack, rounding decides where a step ends.
    tolerance = 2e-3 if key.startswith(('robust', 'transfer')) else 1e-5
    if key.startswith('finetune'):  # Training multiplies rounding.
      tolerance = 2e-3
    assert there == pytest.approx(here, abs=tolerance), key


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


def test_copies_of_one_network_gain_nothing_together(values):
  assert values['copies']['ensemble4_gain'] == pytest.approx(0, abs=1e-5)
  assert values['copies']['barrier_self'] == pytest.approx(0, abs=1e-3)
  assert values['runs']['ensemble16_gain'] > values['runs']['ensemble4_gain']
  assert values['runs']['ensemble4_gain'] > 0.003


def test_broken_networks_break_nothing(values):
  dead = values['dead']
  assert dead['mce'] > 1 and dead['robust_linf'] == 0
  assert dead['weight_prune_drop'] is None and dead['ensemble4_nll'] is None
  assert dead['finetune_steps'] is None and dead['barrier_self'] is None


def test_curves_are_there_for_figures(made):
  names = {row['name'] for row in made['arms']}
  assert set(made['robustness']) == set(made['adversarial']) == names
  assert set(made['finetuning']) == names - {'dead'}
  assert len(made['robustness']['runs']['noise']) == 6
  curve = made['adversarial']['runs']['linf']
  assert len(curve['epsilon']) == len(curve['robust']) == len(curve['noise'])
  assert np.all(np.diff(curve['robust']) < 0)


def test_items_that_are_no_images_say_so(zoo_context, nets):
  flat = dataclasses.replace(zoo_context, test_x=zoo_context.test_x.reshape(360, 64))
  result = _extend([methods.Arm('runs', 'generator', nets)], flat, ('robustness', 'adversarial'))
  metrics = result['arms'][0]['metrics']
  assert 'no images' in metrics['mce']['not_run']
  assert 'no images' in metrics['robust_l2']['not_run']
  assert 'robustness' not in result


def test_networks_that_cannot_be_trained_on_say_so(zoo_context, nets):
  fixed = dataclasses.replace(zoo_context, finetune=None)
  result = _extend([methods.Arm('runs', 'generator', nets)], fixed, ('finetuning',))
  assert 'train' in result['arms'][0]['metrics']['finetune_steps']['not_run']
  assert 'finetuning' not in result


def test_limits_bound_networks_and_items(zoo_context, nets):
  result = _extend(
    [methods.Arm('runs', 'generator', nets, seeds=(0, 1))],
    zoo_context,
    ('ensembles',),
    limits={'ensembles': (8, 20)},
  )
  stat = result['arms'][0]['metrics']['ensemble4_gain']
  assert stat['n'] == 2 and stat['method'] == 'two-way-seeds'


@pytest.mark.parametrize(
  ('keywords', 'match'),
  [
    ({'axes': ('colour',)}, 'colour'),
    ({'axes': ('weights', 'weights')}, 'differ'),
    ({'axes': (), 'axis_limits': {'weights': (0, 5)}}, 'at least'),
    ({'axes': (), 'axis_limits': {'colour': (1, 5)}}, 'colour'),
  ],
)
def test_wrong_axes_are_refused_before_the_work(zoo_context, keywords, match):
  with pytest.raises(ValueError, match=match):
    evaluator.evaluate([], zoo_context, **keywords)
