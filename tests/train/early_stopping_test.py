"""Training ends early where it overfits or collapses, and says why."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.train import loop_test
from wsjax.train import loop, objective


class Overfits(objective.Objective):
  """Its one parameter grows by about a step; val_loss is lowest at 0.2."""

  def init(self, key, example):
    return {'x': jnp.zeros(())}

  def loss(self, params, batch, key, *, train=True):
    value = -params['x'] if train else (params['x'] - 0.2) ** 2
    return value + 0 * jnp.sum(batch), {}


class Collapses(Overfits):
  """Its samples come together as the parameter grows."""

  min_diversity = 0.5

  def diversity(self, params, batch, key):
    return 1 - params['x']


def fit(path, model, **changes):
  return loop_test.fit(
    path,
    generator=model,
    val=loop_test.DATA[:5],
    **{'schedule': 'constant', 'warmup_steps': 0, 'ema_decay': 0.0,
       'keep_best': 1, 'checkpoint_every_steps': 30, **changes},
  )  # fmt: skip


def test_patience_goes_back_to_the_lowest_validation_loss(tmp_path):
  params, history = fit(tmp_path, Overfits(), patience=2)
  # Adam takes steps of 0.01: the lowest block of 10 steps is the second.
  assert history['step'] == [10, 20, 30, 40]
  assert int(np.argmin(history['val_loss'])) == 1
  assert float(params['x']) == pytest.approx(0.2, abs=1e-3)
  assert loop.is_over(history, 2) and not loop.is_over(history, 3)


def test_a_run_that_ended_early_is_over_when_it_is_opened_again(tmp_path):
  params, history = fit(tmp_path, Overfits(), patience=2)
  again, same = fit(tmp_path, Overfits(), patience=2)
  assert same == history and float(again['x']) == float(params['x'])


def test_without_patience_training_goes_to_the_end(tmp_path):
  params, history = fit(tmp_path, Overfits())
  assert history['step'][-1] == 60
  assert float(params['x']) == pytest.approx(0.6, abs=1e-3)


def test_patience_needs_something_to_lose_it_with(tmp_path):
  with pytest.raises(ValueError, match='no validation split'):
    loop_test.fit(tmp_path, patience=2, keep_best=1, checkpoint_every_steps=30)
  with pytest.raises(ValueError, match='train.keep_best is 0'):
    loop_test.fit(tmp_path, patience=2)
  with pytest.raises(ValueError, match='train.checkpoint_every_steps'):
    loop_test.fit(tmp_path, patience=2, keep_best=1)


def test_a_collapse_ends_training_with_a_reason(tmp_path):
  with pytest.raises(ValueError, match='collapsed at step 60.*min_diversity'):
    fit(tmp_path, Collapses())


def test_the_diversity_is_part_of_the_history(tmp_path):
  _, history = fit(tmp_path, Collapses(), steps=40)
  np.testing.assert_allclose(history['diversity'], [0.9, 0.8, 0.7, 0.6], atol=1e-3)
