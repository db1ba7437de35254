"""Break-even by hand, and FLOPs against what XLA counts without a loop."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.evaluation import given
from wsjax import networks
from wsjax.evaluation import methods
from wsjax.evaluation.metrics import cost
from wsjax.models import mlp

# A zoo of 100 runs of 10 s; a generator of 500 s; each network then costs 2 s instead of 10 s.
COSTS = dict(zoo=1000.0, generator=500.0, finetune=10.0, sample=1.5, select=0.5)


def test_break_even_by_hand():
  sample = given.Given(np.zeros(1), known=[(cost.costs, cost.Costs(**COSTS))])
  entries = {key: getattr(cost, key)(sample, None) for key in ('break_even', 'break_even_with_zoo')}
  assert entries['break_even']['value'] == 500 / 8
  assert entries['break_even_with_zoo']['value'] == 1500 / 8
  for entry in entries.values():
    assert entry['method'] == 'none' and entry['low'] is None


@pytest.mark.parametrize('with_zoo', [False, True])
def test_at_break_even_both_ways_cost_the_same(with_zoo):
  costs = cost.Costs(**COSTS)
  count = cost.networks_to_break_even(costs, with_zoo=with_zoo)['value']
  generated = costs.generator + count * (costs.sample + costs.select)
  without = count * costs.finetune
  assert generated + with_zoo * costs.zoo == pytest.approx(without)


def test_best_of_k_is_paid_for():
  few, many = (
    cost.networks_to_break_even(cost.Costs(**{**COSTS, 'select': 0.1 * k}), with_zoo=False)['value']
    for k in (1, 64)
  )
  assert few == pytest.approx(500 / 8.4)
  assert many == pytest.approx(500 / 2.1)


@pytest.mark.parametrize(('finetune', 'reason'), [(2.0, 'as much'), (1.0, '1 more')])
def test_never_says_why(finetune, reason):
  costs = cost.Costs(**{**COSTS, 'finetune': finetune})
  entry = cost.networks_to_break_even(costs, with_zoo=False)
  assert entry['value'] is None
  assert 'never' in entry['not_run'] and reason in entry['not_run']


def test_negative_costs_are_refused():
  with pytest.raises(ValueError, match='sample'):
    cost.Costs(**{**COSTS, 'sample': -1.0})


def test_flops_by_hand():
  # Kernels 3 x 4 and 4 x 2.
  assert cost.mlp_forward_flops((3, 4, 2)) == 2 * (12 + 8)
  # Forward 40; by weights 40; by inputs of the second layer 16.
  assert cost.mlp_train_flops((3, 4, 2)) == 40 + 40 + 16


WIDTHS, BATCH = (64, 96, 80, 10), 50


def _counted(function, *args):
  """FLOPs by XLA's estimate."""
  return jax.jit(function).lower(*args).compile().cost_analysis()['flops']


def test_flops_are_those_of_xla_but_for_a_few():
  architecture = mlp.MLP(widths=WIDTHS)
  params = architecture.init(jax.random.key(0))
  x = jnp.ones((BATCH, 64))

  def loss(params):
    return jnp.sum(architecture.apply(params, x) ** 2)

  # Biases, non-linearities and the loss are the rest.
  assert _counted(architecture.apply, params, x) == pytest.approx(
    BATCH * cost.mlp_forward_flops(WIDTHS), rel=0.05
  )
  assert _counted(jax.grad(loss), params) == pytest.approx(
    BATCH * cost.mlp_train_flops(WIDTHS), rel=0.05
  )


def test_xla_counts_one_turn_of_a_loop():
  matrix = jnp.ones((40, 40))

  def turns(x):
    return jax.lax.scan(lambda c, _: (matrix @ c, None), x, length=10)[0]

  assert _counted(turns, matrix) < 2 * 2 * 40**3, 'then count by XLA instead'


def test_networks_drawn_in_vain_count_and_unmeasured_times_are_said(zoo_reference):
  reference = dataclasses.replace(zoo_reference, fresh_seconds=2.0)
  good = networks.take(reference.train, np.argsort(reference.train_errors.mean(axis=1))[:2])
  dead = {path: np.zeros_like(value[:6]) for path, value in reference.train.items()}
  # One in four, so that one costs four.
  nets = networks.join([networks.take(x, slice(k)) for x, k in ((good, 2), (dead, 6))])
  made = methods.Method('a', 'model', nets, 8.0, 16, (0, 1), fit_seconds=20.0)

  def measured(reference=reference, **changes):
    sample = methods.Sample(dataclasses.replace(made, **changes), reference)
    return given.measured('cost', sample, reference)

  found = measured()
  assert found['seconds_per_net']['value'] == 1
  assert 'never' in found['break_even']['not_run']  # 4 s against 2 s.
  found = measured(seconds=0.8)
  # 10 s per seed over 2 - 4 x 0.1 s; the zoo was 2 s each.
  assert found['break_even']['value'] == pytest.approx(10 / 1.6)
  with_zoo = (10 + 2 * reference.num_train) / 1.6
  assert found['break_even_with_zoo']['value'] == pytest.approx(with_zoo)
  useless = measured(seconds=0.8, params=dead, seeds=(0,))
  assert 'as accurate' in useless['break_even']['not_run']
  unknown = measured(dataclasses.replace(reference, fresh_seconds=None), seconds=0.8)
  assert 'fresh run' in unknown['break_even']['not_run']
