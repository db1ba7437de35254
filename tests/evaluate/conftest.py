"""A zoo of small networks on the digits, trained here in seconds."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wsjax.evaluate import arms
from wsjax.zoo import datasets
from wsjax.zoo.architectures import mlp

NUM_TRAIN, NUM_FRESH, STEPS = 48, 32, 400


def _fit(architecture, params, x, y, steps, seed):
  """Adam on batches of its own for every network."""
  optimizer = optax.adam(3e-3)

  def loss(net, batch):
    logits = architecture.apply(net, x[batch])
    return optax.softmax_cross_entropy_with_integer_labels(
      logits, y[batch]
    ).mean()

  def one(net, key):
    def step(state, number):
      net, opt = state
      batch = jax.random.randint(
        jax.random.fold_in(key, number), (64,), 0, len(x)
      )
      grads = jax.grad(loss)(net, batch)
      updates, opt = optimizer.update(grads, opt)
      return (optax.apply_updates(net, updates), opt), None

    return jax.lax.scan(step, (net, optimizer.init(net)), jnp.arange(steps))[0][
      0
    ]

  count = len(params['layer0/bias'])
  keys = jax.random.split(jax.random.key(seed), count)
  trained = jax.jit(jax.vmap(one))(params, keys)
  return {path: np.asarray(value) for path, value in trained.items()}


@pytest.fixture(scope='session')
def zoo_context():
  """48 training and 32 held-out networks 64-16-10, and 360 test digits."""
  from wsjax.evaluate import context

  data = datasets.load('digits')
  architecture = mlp.make(widths=(64, 16, 10))
  x, y = jnp.asarray(data.train_x), jnp.asarray(data.train_y)
  keys = jax.random.split(jax.random.key(0), NUM_TRAIN + NUM_FRESH)
  zoo = _fit(architecture, jax.vmap(architecture.init)(keys), x, y, STEPS, 1)
  train = arms.take(zoo, np.arange(NUM_TRAIN))

  def finetune(params, *, steps, seed):
    return _fit(architecture, params, x, y, steps, seed)

  return context.Context(
    architecture=architecture,
    test_x=data.test_x,
    test_y=data.test_y,
    train=train,
    heldout=arms.take(zoo, np.arange(NUM_TRAIN, NUM_TRAIN + NUM_FRESH)),
    reference={path: value[0] for path, value in train.items()},
    finetune=finetune,
    finetune_steps=(20,),
    fresh_seconds=0.1,
  )


@pytest.fixture(scope='session')
def panel(zoo_context):
  """The baselines of that zoo, 24 networks each."""
  from wsjax.evaluate import baselines

  return {
    arm.name: arm
    for arm in baselines.panel(zoo_context, num_samples=24, seed=0)
  }


@pytest.fixture(scope='session')
def report(zoo_context, panel):
  """The evaluation of the panel and of one method with two seeds."""
  from wsjax.evaluate import evaluator

  seeds = [
    arms.Arm(f'generator/{seed}', 'generator', arms.take(
      zoo_context.heldout, np.arange(12) + 12 * seed), 1.0, 100, (seed,))
    for seed in range(2)
  ]  # fmt: skip
  return evaluator.evaluate(
    [arms.merge(seeds, 'generator'), *panel.values()],
    zoo_context,
    num_bootstrap=300,
    progress=False,
  )


@pytest.fixture
def rows(report):
  """Arm name -> its entry in the report."""
  return {row['name']: row for row in report['arms']}
