"""Steps to the zoo are counted on the right networks and the right batches."""

import numpy as np
import pytest

from tests.evaluation import given
from wsjax import networks
from wsjax.evaluation import baselines, methods
from wsjax.evaluation.metrics import finetuning

LADDER = finetuning.LADDER


def _right(*accuracies):
  """[L, N, 10] whose networks have the given accuracies, rung by rung."""
  share = np.array(accuracies).T
  return np.arange(10)[None, None] < np.round(10 * share[..., None])


def _measured(right, target):
  sample = given.Given(
    np.zeros(right.shape[1]),
    right.shape[2],
    known=[
      (finetuning.right, right), (finetuning.steps, finetuning.steps_to(right, target))
    ],
  )  # fmt: skip
  return given.measured('finetuning', sample)


def test_steps_are_the_first_that_are_enough():
  right = _right([0.9] * 7, [0.1, 0.2, 0.9, 0.5, 0.9, 0.9, 0.9], [0.1] * 6 + [0.8], [0.7] * 7)
  assert right.shape == (len(LADDER), 4, 10)
  np.testing.assert_array_equal(finetuning.steps_to(right, 0.8), [0, 10, 160, np.inf])


def test_a_median_beyond_the_ladder_has_no_value():
  slow, quick = [0.1] * 7, [0.1] + [0.9] * 6
  found = _measured(_right(slow, slow, quick), 0.8)
  assert '160' in found['finetune_steps']['not_run']
  assert found['finetune_reached']['value'] == pytest.approx(1 / 3)
  found = _measured(_right(slow, quick, quick), 0.8)
  assert found['finetune_steps']['value'] == 5
  # A resample may hold the slow one most of the time, and that is said.
  assert found['finetune_steps']['high'] is None
  assert 'upper end' in found['finetune_steps']['note']
  assert found['finetune_accuracy']['value'] == pytest.approx(1.9 / 3)


def test_of_an_even_number_the_median_is_the_lower_one():
  start, slow, quick = [0.9] * 7, [0.1] * 7, [0.1] + [0.9] * 6

  def median(*nets):
    found = _measured(_right(*nets), 0.8)
    return found['finetune_steps']

  assert median(quick, quick, slow, slow)['value'] == 5
  assert median(start, start, slow, slow)['value'] == 0
  assert median(start, quick, start, quick)['value'] == 0
  assert median(quick, slow, slow)['value'] is None
  many = median(*[quick] * 40, *[slow] * 8)
  assert (many['low'], many['value'], many['high']) == (5, 5, 5)


@pytest.mark.slow
def test_training_on_helps_those_that_need_it(zoo_reference):
  def climb(params):
    method = methods.Method('some', 'model', params)
    sample = methods.Sample(method, zoo_reference)
    assert len(finetuning.curve(sample)['accuracy']) == len(LADDER)
    return finetuning.right(sample)

  zoo = climb(networks.take(zoo_reference.heldout, np.arange(4)))
  target = float(np.median(zoo[0].mean(axis=1)))
  fresh = climb(baselines.random_init(np.random.default_rng(0), zoo_reference, 4))
  assert finetuning.steps_to(zoo, target).min() == 0
  assert finetuning.steps_to(fresh, target).min() > 20
  accuracy = fresh.mean(axis=(1, 2))
  assert accuracy[0] < 0.3 < 0.8 < accuracy[-1]
  # Batches depend on the seed alone.
  again = climb(networks.take(zoo_reference.heldout, np.arange(4)))
  np.testing.assert_array_equal(zoo, again)
