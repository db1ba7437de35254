"""Batches are functions of the step; devices do not change the training."""

import jax
import numpy as np
import optax
import pytest

from tests.reference import toy
from tests.train import settings_test
from wsjax.train import loop, sharding, step

DATA = np.random.default_rng(0).standard_normal((50, 1, 3)).astype(np.float32)


def block(batch_size=8, **options):
  return step.make_train_block(
    toy.Shift().loss,
    optax.adam(0.1),
    sharding.make_mesh((('data', -1),)),
    key=jax.random.key(1),
    batch_size=batch_size,
    **{'ema_decay': 0.9, **options},
  )


def start():
  params = toy.Shift().init(jax.random.key(0), DATA[0])
  return step.create(params, optax.adam(0.1))


def test_an_epoch_sees_every_example_once():
  key = jax.random.key(0)
  batches = [step.batch_indices(key, s, 50, 8) for s in range(12)]
  for epoch in (batches[:6], batches[6:]):
    seen = np.concatenate(epoch)
    assert len(set(seen.tolist())) == 48 and seen.min() >= 0
    assert seen.max() < 50
  assert not np.array_equal(batches[0], batches[6])
  again = step.batch_indices(key, 7, 50, 8)  # Any step, without the others.
  np.testing.assert_array_equal(again, batches[7])


def test_blocks_of_any_length_take_the_same_steps():
  one, metrics = block()(start(), DATA, 12)
  two = start()
  for count in (5, 7):
    two, _ = block()(two, DATA, count)
  assert int(one.step) == int(two.step) == 12
  assert metrics['loss'].shape == (12,)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), one, two)


def mean_square(params, batch, key):
  del key
  loss = ((batch[:, 0] - params['shift'][None] * batch[:, 0, ::-1]) ** 2).mean()
  return loss, {'size': abs(batch).mean()}


def test_gradients_of_parts_add_up_to_that_of_the_batch(monkeypatch):
  monkeypatch.setattr(toy.Shift, 'loss', lambda self, *args: mean_square(*args))
  whole, metrics = block()(start(), DATA, 6)
  parts, same = block(microbatch=2)(start(), DATA, 6)
  for a, b in ((metrics, same), (whole.params, parts.params)):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), a, b)
  large, _ = block(microbatch=64)(start(), DATA, 6)  # Larger than the batch.
  np.testing.assert_array_equal(large.params['shift'], whole.params['shift'])
  with pytest.raises(ValueError, match='microbatches of 3'):
    block(microbatch=3)


def test_a_step_that_is_not_finite_is_skipped_where_that_is_allowed():
  data = DATA.copy()
  data[7] = np.nan
  start_params = np.asarray(start().params['shift'])
  # One batch of the epoch has the example.
  got, metrics = block(skip_nonfinite=True)(start(), data, 6)
  assert metrics['skipped'].sum() == 1 and int(got.step) == 6
  for leaf in jax.tree.leaves(got):
    assert np.isfinite(leaf).all()
  assert not np.array_equal(got.params['shift'], start_params)
  spoilt, _ = block()(start(), data, 6)
  assert np.isnan(spoilt.params['shift']).any()
  # Without one, the guard changes nothing.
  a, _ = block(skip_nonfinite=True)(start(), DATA, 6)
  b, _ = block()(start(), DATA, 6)
  np.testing.assert_array_equal(a.params['shift'], b.params['shift'])


def test_the_average_is_of_the_parameters_since_the_start():
  train, train_block, seen = start(), block(ema_decay=0.9), []
  want = None
  for number in range(1, 15):
    train, _ = train_block(train, DATA, 1)
    seen.append(np.asarray(train.params['shift']))
    decay = min(0.9, 1 - 1 / number)
    want = seen[-1] * (1 - decay) + (0 if want is None else want * decay)
  np.testing.assert_allclose(train.ema['shift'], want, rtol=1e-5)
  train, _ = block(ema_decay=0.0)(train, DATA, 3)
  np.testing.assert_array_equal(train.ema['shift'], train.params['shift'])


def test_meshes_and_batches_that_do_not_fit_are_refused():
  with pytest.raises(ValueError, match='does not fit'):
    sharding.make_mesh((('data', 1000),))
  with pytest.raises(ValueError, match='no axis data'):
    step.make_train_block(
      toy.Shift().loss,
      optax.adam(0.1),
      sharding.make_mesh((('model', -1),)),
      key=jax.random.key(0),
      batch_size=8,
      ema_decay=0.9,
    )


def adamw(**changes):
  return loop.read_settings(settings_test.SECTION | changes).optimizer()


def test_the_schedule_rises_and_falls():
  tx = adamw(steps=100, learning_rate=1e-2, schedule='cosine', warmup_steps=10)
  params, grads = {'w': np.float32(0)}, {'w': np.float32(1)}
  opt_state, sizes = tx.init(params), []
  for _ in range(100):
    updates, opt_state = tx.update(grads, opt_state, params)
    sizes.append(-float(updates['w']))
  # Adam's step is the learning rate while the gradient is constant.
  np.testing.assert_allclose(sizes[:11], np.arange(11) * 1e-3, atol=1e-6)
  assert sizes[99] < 1e-4 and np.all(np.diff(sizes[10:]) <= 1e-9)


def test_gradients_are_clipped_and_weights_decay():
  sgd_like = adamw(steps=1, learning_rate=1.0, weight_decay=0.1)
  params = {'w': np.float32(2)}
  updates, _ = sgd_like.update({'w': np.float32(0)}, sgd_like.init(params), params)
  np.testing.assert_allclose(updates['w'], -0.2, rtol=1e-5)
  clipped = adamw(steps=1, learning_rate=1.0, clip_norm=1.0)
  opt_state = clipped.init(params)
  _, opt_state = clipped.update({'w': np.float32(50)}, opt_state, params)
  moment = optax.tree.get(opt_state, 'mu')['w']
  np.testing.assert_allclose(moment, 0.1, rtol=1e-5)
