"""The loss of a hypernetwork is that of its networks on the right images."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from wsjax.models import mlp
from wsjax.train import subset_tasks

NET = mlp.MLP((6, 4, 2))
RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 2, (5, 3)).astype(np.int32)
VAL = np.array([[1, 0, 0], [0, 1, 1]], np.int32)
BATCH = {
  'x': RNG.standard_normal((24, 2, 3)).astype(np.float32),
  'y': RNG.integers(0, 3, 24).astype(np.int32),
}


class Told(nn.Module):
  """One network, and the mean of what it is told, in every weight."""

  @nn.compact
  def __call__(self, given):
    base = self.param('base', NET.init)
    return {path: x + given.mean() for path, x in base.items()}


class Deaf(nn.Module):
  """One network, whatever it is told."""

  @nn.compact
  def __call__(self, given):
    del given
    return self.param('base', NET.init)


def make(module, codes=CODES, set_size=0, num_tasks=4):
  return subset_tasks.SubsetTasks(
    module, NET, codes, 2.0 * codes - 1, VAL, 2.0 * VAL - 1, num_tasks, set_size
  )


def reference(params, code, x, y):
  """Slow and obvious: cross-entropy and accuracy of one network."""
  h = np.maximum(x.reshape(len(x), -1) @ params['layer0/kernel'] + params['layer0/bias'], 0)
  logits = h @ params['layer1/kernel'] + params['layer1/bias']
  labels = [code[c] for c in y]
  log_p = scipy.special.log_softmax(logits, -1)
  losses = [-log_p[i, label] for i, label in enumerate(labels)]
  return np.mean(losses), np.mean(logits.argmax(-1) == labels)


def test_validation_deals_the_images_out_to_all_its_tasks():
  objective = make(Told())
  variables = objective.init(jax.random.key(0), None)
  loss, metrics = objective.loss(variables, BATCH, jax.random.key(1), train=False)
  expected = []
  for place, code in enumerate(VAL):
    params = {
      path: np.asarray(x) + (2.0 * code - 1).mean()
      for path, x in variables['params']['base'].items()
    }
    part = slice(12 * place, 12 * place + 12)
    expected.append(reference(params, code, BATCH['x'][part], BATCH['y'][part]))
  np.testing.assert_allclose([loss, metrics['accuracy']], np.mean(expected, 0), rtol=1e-5)


def test_training_draws_training_tasks_and_no_others():
  objective = make(Deaf())
  variables = objective.init(jax.random.key(0), None)
  params = {k: np.asarray(x) for k, x in variables['params']['base'].items()}
  of_codes = [
    [reference(params, code, BATCH['x'][i : i + 6], BATCH['y'][i : i + 6])[0]
     for code in CODES]
    for i in range(0, 24, 6)
  ]  # fmt: skip
  for seed in range(3):
    key = jax.random.key(seed)
    loss, _ = objective.loss(variables, BATCH, key)
    rows = jax.random.randint(key, (4,), 0, len(CODES))
    expected = np.mean([of_codes[i][row] for i, row in enumerate(rows)])
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_images_that_are_given_are_not_those_that_are_scored():
  objective = make(Deaf(), set_size=2)
  example = {part: x[0] for part, x in BATCH.items()}
  variables = objective.init(jax.random.key(0), example)

  def loss(x):
    return objective.loss(variables, {**BATCH, 'x': x}, jax.random.key(0))[0]

  slopes = np.abs(np.asarray(jax.grad(loss)(jnp.asarray(BATCH['x']))))
  slopes = slopes.reshape(4, 6, -1).max(-1)
  assert np.all(slopes[:, :2] == 0)
  # But for an image that no unit of four answers to.
  assert np.mean(slopes[:, 2:] > 0) > 0.9


def test_the_labels_of_a_task_are_given_with_its_images():
  given = np.asarray(subset_tasks.labelled(jnp.asarray(BATCH['x'][:3]), jnp.array([0, 1, 1])))
  np.testing.assert_array_equal(given[:, -1], [-1, 1, 1])
  np.testing.assert_array_equal(given[:, :-1], BATCH['x'][:3].reshape(3, -1))


def test_a_batch_that_is_too_small_is_refused():
  objective = make(Deaf(), num_tasks=4, set_size=6)
  with pytest.raises(ValueError, match='are 6 each; more than 6'):
    objective.loss({}, BATCH, jax.random.key(0))
