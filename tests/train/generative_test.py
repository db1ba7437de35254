"""The objective of generators: distribution and functional loss, orbits, diversity."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sklearn.metrics

from wsjax import config
from wsjax.experiments.generation import prepare
from wsjax.generators import hypernetwork
from wsjax.train import generative

MLP = config.build('models', {'name': 'mlp', 'widths': (6, 5, 3), 'activation': 'relu'})
NETS = jax.vmap(MLP.init)(jax.random.split(jax.random.key(0), 12))
DECODER, LATENTS = prepare.fit(
  NETS, MLP.spec, tokens={'name': 'flat'}, normalize={'how': 'layer'}, codec={'name': 'identity'}
)
RNG = np.random.default_rng(0)
# The class is the largest of the first three inputs.
INPUTS = RNG.standard_normal((300, 6)).astype(np.float32)
LABELS = INPUTS[:, :3].argmax(1)
TASK = generative.Task(MLP, DECODER.networks, INPUTS, LABELS, INPUTS[:1], LABELS[:1])
GENERATOR = hypernetwork.Hypernetwork(width=16, depth=1, noise_size=4)


def objective(task=TASK, move=None, **strategy):
  return generative.GeneratorObjective(GENERATOR, generative.Strategy(**strategy), task, move, 1.0)


def move(key, latents):
  net = {k: v[0] for k, v in DECODER.networks(latents[None]).items()}
  net = MLP.spec.act(MLP.spec.random(key), net)
  return DECODER.latents({k: v[None] for k, v in net.items()})[0]


def batch():
  return {'latents': jnp.asarray(LATENTS)}


PARAMS = jax.jit(GENERATOR.init)(jax.random.key(1), jnp.asarray(LATENTS[0]))


def test_the_task_loss_is_the_mean_log_loss_of_the_decoded_networks():
  # One item only, so that what is drawn is known.
  for label in range(3):
    task = generative.Task(MLP, DECODER.networks, INPUTS[:1], [label])
    got = task.loss(jnp.asarray(LATENTS), jax.random.key(0), 4, train=True)
    want = []
    for i in range(len(LATENTS)):
      net = {path: value[i] for path, value in NETS.items()}
      shares = jax.nn.softmax(MLP.apply(net, INPUTS[:1]))
      want.append(sklearn.metrics.log_loss([label], shares, labels=[0, 1, 2]))
    assert float(got) == pytest.approx(np.mean(want), rel=1e-4)


def test_validation_sees_the_validation_split_only():
  broken = INPUTS + np.nan
  task = generative.Task(MLP, DECODER.networks, broken, LABELS, INPUTS[:9], LABELS[:9])
  latents = jnp.asarray(LATENTS)
  assert np.isnan(task.loss(latents, jax.random.key(0), 4, train=True))
  assert np.isfinite(task.loss(latents, jax.random.key(0), 4, train=False))


def test_the_plain_objective_is_the_loss_of_the_family():
  key = jax.random.key(3)
  got, metrics = objective(task=None).loss(PARAMS, batch(), key)
  want, _ = jax.jit(GENERATOR.loss)(PARAMS, batch()['latents'], key)
  assert float(got) == float(want) == float(metrics['distribution'])


def test_the_parts_add_up_with_their_weights():
  total, metrics = objective(distribution=2.0, functional=3.0).loss(
    PARAMS, batch(), jax.random.key(3)
  )
  want = 2 * metrics['distribution'] + 3 * metrics['functional']
  assert float(total) == pytest.approx(float(want), rel=1e-5)


@pytest.mark.slow
def test_a_functional_loss_alone_makes_networks_that_work_and_ignores_the_zoo():
  alone = objective(distribution=0.0, functional=1.0)
  other = {'latents': 5 + batch()['latents']}
  key = jax.random.key(4)
  assert jax.jit(alone.loss)(PARAMS, batch(), key)[0] == jax.jit(alone.loss)(PARAMS, other, key)[0]
  tx = optax.adam(1e-2)

  def step(carry, key):
    params, state = carry
    grads, metrics = jax.grad(alone.loss, has_aux=True)(params, batch(), key)
    updates, state = tx.update(grads, state)
    return (optax.apply_updates(params, updates), state), metrics['functional']

  keys = jax.random.split(jax.random.key(5), 300)
  run = jax.jit(lambda carry: jax.lax.scan(step, carry, keys))
  (params, _), losses = run((PARAMS, tx.init(PARAMS)))
  assert losses[-20:].mean() < 0.5 * losses[:20].mean()
  made = GENERATOR.sample(params, jax.random.key(6), 8, shape=LATENTS.shape[1:])
  outputs = jax.vmap(lambda net: MLP.apply(net, INPUTS))(DECODER.networks(made))
  assert np.mean(np.asarray(outputs).argmax(-1) == LABELS[None]) > 0.7


def test_augmentation_moves_weights_and_not_functions():
  keys = jax.random.split(jax.random.key(7), len(LATENTS))
  moved = jax.vmap(move)(keys, jnp.asarray(LATENTS))
  assert np.abs(moved - LATENTS).max() > 0.1

  def outputs(latents):
    nets = DECODER.networks(jnp.asarray(latents))
    return jax.vmap(lambda net: MLP.apply(net, INPUTS))(nets)

  np.testing.assert_allclose(outputs(moved), outputs(LATENTS), atol=1e-4)
  key = jax.random.key(8)
  plain = objective(task=None).loss(PARAMS, batch(), key)[0]
  augmented = objective(task=None, move=move).loss(PARAMS, batch(), key)[0]
  assert float(plain) != float(augmented)


def test_diversity_is_0_for_one_network_and_1_for_the_zoo():
  class Fixed:
    """Samples the rows that it holds."""

    def sample(self, params, key, num, *, shape, condition=None):
      return params

  latents = batch()['latents']
  spread = float(jnp.sqrt(jnp.mean((latents - latents.mean(0, keepdims=True)) ** 2)))
  model = generative.GeneratorObjective(Fixed(), generative.Strategy(), None, None, spread)
  key = jax.random.key(0)
  whole = model.diversity(latents, batch(), key)
  one = model.diversity(jnp.broadcast_to(latents[:1], latents.shape),
                         batch(), key)  # fmt: skip
  assert float(whole) == pytest.approx((12 / 11) ** 0.5, rel=1e-5) and float(one) < 1e-6
