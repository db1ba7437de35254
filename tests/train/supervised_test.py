"""The objective learns, and its dropout and augmentation are off in tests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax import config
from wsjax.heads import prediction
from wsjax.models import mlp
from wsjax.train import augment, loop, supervised

ARCHITECTURE = mlp.MLP((4, 6, 3), 'relu')


def make(head, **encoder):
  return prediction.Predictor(
    config.build(
      'encoders',
      {'name': 'neural_functional', 'channels': 8, 'depth': 2, **encoder,
       'architecture': ARCHITECTURE},
    ),
    config.build('heads', head),
  )  # fmt: skip


def zoo(num, seed=0):
  """Networks whose first kernels are large or small; the target says which."""
  params = jax.vmap(ARCHITECTURE.init)(jax.random.split(jax.random.key(seed), num))
  target = np.arange(num) % 2
  scale = np.where(target, 3.0, 0.5).astype(np.float32)
  params['layer0/kernel'] *= scale[:, None, None]
  return {
    'example': {k: np.asarray(v) for k, v in params.items()},
    'target': target.astype(np.int32),
  }


def section(**changes):
  return {
    'steps': 60, 'batch_size': 16, 'learning_rate': 3e-3, 'inner_steps': 30,
    'checkpoint_every_steps': 60, 'ema_decay': 0.9, 'mesh': (('data', -1),),
    **changes,
  }  # fmt: skip


@pytest.mark.slow
def test_a_property_of_weights_is_learned(tmp_path):
  predictor = make({'name': 'classifier', 'num_outputs': 2})
  change = augment.make({'symmetry': True}, ARCHITECTURE)
  variables, history = loop.fit(
    supervised.Supervised(predictor, change), zoo(64), section(), seed=0,
    workdir=tmp_path, val=zoo(16, 1), progress=False,
  )  # fmt: skip
  assert history['loss'][-1] < history['loss'][0]
  assert len(history['val_loss']) == 2
  test = zoo(150, 2)  # More than one batch, and the last is not full.
  logits = prediction.predict(predictor, variables, test['example'])
  assert logits.shape == (150, 2)
  assert np.mean(logits.argmax(-1) == test['target']) > 0.95


@pytest.mark.slow
def test_validation_sees_no_dropout_and_no_augmentation():
  predictor = make({'name': 'classifier', 'num_outputs': 2}, dropout=0.5)
  noise = augment.make({'noise': 1.0}, ARCHITECTURE)
  objective = supervised.Supervised(predictor, noise)
  data = zoo(8)
  variables = objective.init(jax.random.key(0), jax.tree.map(lambda x: x[0], data))
  loss = jax.jit(objective.loss, static_argnames='train')
  values = [
    [float(loss(variables, data, jax.random.key(k), train=train)[0])
     for k in range(3)]
    for train in (True, False)
  ]  # fmt: skip
  assert len(set(values[0])) == 3
  assert len(set(values[1])) == 1


def test_scales_divide_the_weights_and_a_dead_leaf_stays():
  data = zoo(32)['example']
  data['layer1/bias'] = 0 * data['layer1/bias']
  scales = dict(prediction.parameter_scales(data))
  assert scales['layer1/bias'] == 1.0
  kernel = data['layer0/kernel']
  assert scales['layer0/kernel'] == pytest.approx(np.sqrt((kernel**2).mean()))


def test_the_regressor_knows_how_wrong_it_is():
  head = config.build('heads', {'name': 'regressor', 'num_outputs': 1})
  target = jnp.asarray(np.random.default_rng(0).normal(0, 2, 5000))
  losses = {
    std: float(
      head.loss(jnp.stack([0 * target, jnp.full_like(target, np.log(std))], -1), target)[0]
    )
    for std in (1.0, 2.0, 4.0)
  }
  assert losses[2.0] == min(losses.values())
  with pytest.raises(ValueError, match='num_outputs'):
    config.build('heads', {'name': 'regressor', 'num_outputs': 3})


def test_how_wrong_it_is_does_not_shape_the_embedding():
  head = config.build('heads', {'name': 'regressor', 'num_outputs': 1})
  embedding = jax.random.normal(jax.random.key(0), (8, 4))
  target = jax.random.normal(jax.random.key(1), (8,))
  variables = head.init(jax.random.key(2), embedding[0])

  def outputs(x):
    return jax.vmap(lambda e: head.apply(variables, e))(x)

  whole = jax.grad(lambda x: head.loss(outputs(x), target)[0])(embedding)
  error = jax.grad(lambda x: jnp.mean((outputs(x)[:, 0] - target) ** 2))(embedding)
  np.testing.assert_allclose(whole, error, rtol=1e-5, atol=1e-7)
