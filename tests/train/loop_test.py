"""Stopping and starting again ends where not stopping would have ended."""

import dataclasses
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import marks
from tests.faults import runs
from tests.reference import toy
from wsjax.train import loop

DATA = np.random.default_rng(0).standard_normal((50, 1, 3)).astype(np.float32)


def section(**changes):
  return {
    'steps': 60,
    'batch_size': 8,
    'learning_rate': 1e-2,
    'schedule': 'cosine',
    'warmup_steps': 5,
    'ema_decay': 0.99,
    'inner_steps': 10,
    'checkpoint_every_steps': 25,
    'mesh': (('data', -1),),
    **changes,
  }


def fit(workdir, *, generator=None, data=DATA, val=None, seed=0, **changes):
  return loop.fit(
    generator or toy.Shift(),
    data,
    section(**changes),
    seed=seed,
    workdir=workdir,
    val=val,
    progress=False,
  )


def final_state(workdir):
  """Step of the newest checkpoint, and every array of it as bytes."""
  return runs.state(workdir)[:2]


@pytest.mark.parametrize('number', marks.slow([signal.SIGTERM, signal.SIGINT], signal.SIGINT))
def test_a_run_that_was_stopped_ends_bitwise_like_one_that_was_not(tmp_path, number):
  want, want_history = fit(tmp_path / 'whole', val=DATA[:9])
  with pytest.raises(loop.Interrupted) as error:
    fit(tmp_path / 'stopped', generator=toy.Killed(30, number), val=DATA[:9])
  assert 30 <= error.value.step < 60 and error.value.signal == number
  got, history = fit(tmp_path / 'stopped', val=DATA[:9])
  assert history == want_history
  jax.tree.map(np.testing.assert_array_equal, got, want)
  # Parameters, average and optimizer state alike.
  assert final_state(tmp_path / 'stopped') == final_state(tmp_path / 'whole')


def test_signals_are_as_before_afterwards(tmp_path):
  before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
  fit(tmp_path, steps=10)
  after = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
  assert after == before


def test_a_finished_run_is_read_back_not_repeated(tmp_path):
  want, _ = fit(tmp_path)
  got, _ = fit(tmp_path, generator=toy.Killed(0, signal.SIGTERM))
  jax.tree.map(np.testing.assert_array_equal, got, want)


def test_training_fits_and_is_a_function_of_the_seed(tmp_path):
  long = {'steps': 400, 'learning_rate': 0.05}
  params, history = fit(tmp_path / 'a', val=DATA[:9], **long)
  np.testing.assert_allclose(params['shift'], DATA.mean((0, 1)), atol=0.3)
  assert history['step'][-1] == 400
  assert len(history['loss']) == len(history['val_loss'])
  assert history['val_loss'][-1] < history['val_loss'][0]
  again, _ = fit(tmp_path / 'b', **long)
  other, _ = fit(tmp_path / 'c', **long, seed=1)
  np.testing.assert_array_equal(again['shift'], params['shift'])
  assert not np.array_equal(other['shift'], params['shift'])


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
  with pytest.raises(ValueError, match='loss is nan between steps 20 and 30'):
    fit(
      tmp_path,
      generator=toy.Exploding(22),
      schedule='constant',
      warmup_steps=0,
      checkpoint_every_steps=10,
    )
  assert final_state(tmp_path)[0] == 20


@dataclasses.dataclass(frozen=True)
class Steep(toy.Shift):
  """Has a finite loss whose derivative is not."""

  def loss(self, params, batch, key, condition=None, *, train=True):
    loss, metrics = super().loss(params, batch, key, condition, train=train)
    return loss + jnp.sqrt(jnp.sum(params['shift'] * 0)), metrics


def test_parameters_that_are_not_finite_are_never_saved(tmp_path):
  with pytest.raises(ValueError, match='not finite at step 1, though the loss'):
    fit(tmp_path, generator=Steep(), steps=1, warmup_steps=0)
  assert not [p for p in tmp_path.iterdir() if p.name.isdigit()]


def test_bad_input_is_refused(tmp_path):
  with pytest.raises(ValueError, match="no field 'learning_rat'"):
    fit(tmp_path, learning_rat=1.0)
  for seed in (-1, 0.5, 1 << 32):
    with pytest.raises(ValueError, match='seed is'):
      fit(tmp_path, seed=seed)
  with pytest.raises(ValueError, match='data to train on is not finite'):
    fit(tmp_path, data=np.full((9, 1, 3), np.nan, np.float32))
  assert os.listdir(tmp_path) == []


def test_checkpoints_of_another_model_are_refused_and_kept(tmp_path):
  fit(tmp_path, steps=10)
  with pytest.raises(ValueError, match=r'of another model.*float32\[3\] there'):
    fit(tmp_path, data=np.zeros((9, 1, 4), np.float32), steps=10)
  assert not list(tmp_path.glob('*.corrupt*'))


def test_a_loss_that_is_not_finite_names_only_a_checkpoint_that_is_there(tmp_path):
  still = {'schedule': 'constant', 'warmup_steps': 0, 'checkpoint_every_steps': 10}
  with pytest.raises(ValueError, match='no checkpoint yet'):
    fit(tmp_path / 'a', generator=toy.Exploding(2), **still)
  with pytest.raises(ValueError, match='last checkpoint is of step 20'):
    fit(tmp_path / 'b', generator=toy.Exploding(22), **still)


@pytest.mark.slow
def test_a_nan_is_found_where_it_arises_and_not_where_constants_are_transferred(tmp_path):
  with jax.disable_jit():
    params, _ = fit(tmp_path / 'a', steps=4, inner_steps=2, warmup_steps=0)
  same, _ = fit(tmp_path / 'b', steps=4, inner_steps=2, warmup_steps=0)
  np.testing.assert_allclose(params['shift'], same['shift'], rtol=1e-5)
  with jax.debug_nans(True), pytest.raises(FloatingPointError):
    fit(tmp_path / 'c', generator=toy.Exploding(2), schedule='constant', warmup_steps=0)
