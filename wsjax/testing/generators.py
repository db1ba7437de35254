"""Contracts of generators, backbones, codecs and conditions."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from wsjax import codecs, typing
from wsjax.generators import conditions
from wsjax.generators import generator as generator_lib

_STD = 0.3  # Of both modes of the data that generators learn.
_STEPS = 1000  # Of training, by Adam on batches of 128.


def check_generator(
  generator: generator_lib.Generator | generator_lib.Fitted,
  *,
  shape: generator_lib.Shape = (2, 2),
  conditional: generator_lib.Generator | None = None,
) -> None:
  """Checks a generator by training it on two modes of equal weight.

  Args:
    generator: unconditional; trained in steps or fitted at once.
    shape: (T, D) of the latents that it is for; best of few numbers.
    conditional: the generator with a condition of 2 features, if it can have one.

  Raises:
    AssertionError: naming the broken law: a loss that does not fall; samples of another shape, not
      finite, not reproducible or alike for all keys; moments, modes or a density that are not those
      of the data; a fit that is not reproducible or accepts a condition; a condition that changes
      nothing.
  """
  keys = jax.random.split(jax.random.key(0), 4)
  data = _two_modes(2000, shape)
  fitted = hasattr(generator, 'fit')
  _require(fitted != hasattr(generator, 'loss'), 'A generator has `fit`, or `init` and `loss`.')
  selects = getattr(generator, 'NEEDS_SCORE', False)
  _require(selects == hasattr(generator, 'num_scored'), '`num_scored` belongs to NEEDS_SCORE.')
  if fitted:
    params = _fit(generator, data[:1000], keys[0])
    _check_fit(generator, data[:1000], keys[0], params)
  else:
    params = _train(generator, data[:1000], keys[0])
    # Traced twice, so that randomness of the host is seen, too.
    values = [
      jax.jit(functools.partial(generator.loss, train=False))(params, data[:16], keys[1])[0]
      for _ in range(2)
    ]
    _require(float(values[0]) == float(values[1]), 'The loss depends on more than its key.')
  draw = functools.partial(generator.sample, params, shape=shape)
  # As many each time, so that one program draws them all.
  samples, again, other = (np.asarray(draw(key, 1000)) for key in (keys[2], keys[2], keys[3]))
  chex.assert_shape(samples, (1000, *shape))
  chex.assert_tree_all_finite(samples)
  _require(np.array_equal(samples, again), '`sample` depends on more than its key.')
  _require(not np.array_equal(samples, other), '`sample` does not depend on its key.')
  _check_modes(samples, data, _centre(shape))
  if hasattr(generator, 'log_prob'):
    _check_density(generator, params, data[1000:1500])
  if conditional is not None:
    _check_condition(conditional, data[:4], shape, keys[0])


def check_backbone(backbone: Any, example: Float[Array, 't d'], *, dropout: Any = None) -> None:
  """Checks a backbone, a Flax module, on example tokens: shapes, inputs, batches and dropout.

  `dropout` is the backbone with dropout, if it can have it.

  Raises:
    AssertionError: naming the broken law: an output that is not zero at initialisation or of
      another shape; an input without influence; a batch that is no `vmap`; dropout outside of
      training, or none in it.
  """
  keys = jax.random.split(jax.random.key(0), 3)
  t, condition = np.float32(0.3), np.ones(2, np.float32)
  params = jax.jit(backbone.init)(keys[0], example, t, condition)
  run = jax.jit(backbone.apply)
  out = run(params, example, t, condition)
  chex.assert_equal_shape([out, example])
  _require(not np.any(out), 'The output is not zero at initialisation.')
  params = _jittered(params)
  jacobians = jax.jit(jax.jacrev(backbone.apply, (1, 2, 3)))(params, example, t, condition)
  for name, jacobian in zip(('tokens', 'time', 'condition'), jacobians, strict=True):
    chex.assert_tree_all_finite(jacobian)
    _require(np.mean(np.asarray(jacobian) != 0) > 0.9, f'Outputs do not depend on the {name}.')
  batch, times = np.stack([example, 2 * example]), np.asarray([0.1, 0.7], np.float32)
  outs = jax.jit(jax.vmap(backbone.apply, (None, 0, 0, None)))(params, batch, times, condition)
  each = np.stack([run(params, x, t, condition) for x, t in zip(batch, times, strict=True)])
  chex.assert_trees_all_close(outs, each, rtol=1e-5, atol=1e-5)
  if dropout is None:
    return

  @functools.partial(jax.jit, static_argnums=1)
  def out_of(key: jax.Array, train: bool) -> jax.Array:
    return dropout.apply(params, example, t, condition, train=train, rngs={'dropout': key})

  _require(not np.array_equal(out_of(keys[1], True), out_of(keys[2], True)), 'Nothing is dropped.')
  _require(np.array_equal(out_of(keys[1], False), out_of(keys[2], False)), 'Dropout in prediction.')


def check_codec(codec: codecs.Codec, *, tolerance: float = 1e-4) -> None:
  """Checks a codec on 20 networks that span 4 dimensions.

  `tolerance` is the largest error of a decoded token, in units of tokens of size 2.

  Raises:
    AssertionError: naming the broken law: decoding that does not invert encoding; a batch that is
      no `vmap`; decoding without finite gradients.
  """
  rng = np.random.default_rng(0)
  low = rng.standard_normal((20, 4)) @ rng.standard_normal((4, 15))
  x = (1 + low).reshape(20, 3, 5).astype(np.float32)
  state = codec.fit(x)
  z = codec.encode(state, x)
  _require(z.ndim == 3 and len(z) == len(x), f'Latents have shape {z.shape}, not [20, T, D].')
  error = float(np.abs(np.asarray(codec.decode(state, z)) - x).max())
  _require(error <= tolerance, f'Decoding misses the tokens by {error:.2g}.')
  chex.assert_trees_all_close(jax.vmap(lambda x: codec.encode(state, x))(x), z, atol=1e-5)
  back = jax.jit(jax.vmap(lambda z: codec.decode(state, z)))(z)
  chex.assert_trees_all_close(back, codec.decode(state, z), atol=1e-5)
  chex.assert_tree_all_finite(jax.grad(lambda z: jnp.sum(codec.decode(state, z) ** 2))(z))


def check_condition(
  condition: conditions.Condition, records: Sequence[Mapping[str, Any]]
) -> np.ndarray:
  """Checks a condition: a finite vector per record that depends on that record alone.

  Two of the records at least must differ in what the condition reads.

  Returns:
    The vectors [N, C].

  Raises:
    AssertionError: naming the broken law.
  """
  vectors = condition.of_records(records)
  chex.assert_shape(vectors, (len(records), condition.size))
  _require(vectors.dtype == np.float32, f'Vectors are {vectors.dtype}, not float32.')
  chex.assert_tree_all_finite(vectors)
  again = condition.of_records(records[::-1])
  _require(np.array_equal(again, vectors[::-1]), 'A vector depends on more than its record.')
  _require(len(np.unique(vectors, axis=0)) > 1, 'All records have one vector.')
  return vectors


def _require(law: bool, broken: str) -> None:
  if not law:
    raise AssertionError(broken)


def _centre(shape: generator_lib.Shape) -> np.ndarray:
  """One of the two modes, whose negative is the other; entries of size 0.5 to 1.5."""
  rng = np.random.default_rng(0)
  return rng.choice([-1, 1], shape) * rng.uniform(0.5, 1.5, shape)


def _two_modes(num: int, shape: generator_lib.Shape) -> np.ndarray:
  rng = np.random.default_rng(1)
  sign = rng.choice([-1, 1], (num, 1, 1))
  noise = _STD * rng.standard_normal((num, *shape))
  return (sign * _centre(shape)[None] + noise).astype(np.float32)


def _jittered(params: typing.PyTree) -> typing.PyTree:
  """Parameters that are nowhere zero, as after training."""
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda x: np.asarray(x) + 0.3 * rng.standard_normal(x.shape).astype(np.float32), params
  )


def _fit(generator: Any, data: np.ndarray, key: jax.Array, **options: Any) -> typing.PyTree:
  if getattr(generator, 'NEEDS_SCORE', False):
    options['score'] = lambda latents: np.zeros(len(latents))  # No preference.
  return generator.fit(data, key, **options)


def _check_fit(generator: Any, data: np.ndarray, key: jax.Array, params: typing.PyTree) -> None:
  chex.assert_tree_all_finite(params)
  again = _fit(generator, data, key)
  _require(
    all(map(np.array_equal, jax.tree.leaves(params), jax.tree.leaves(again))),
    '`fit` depends on more than its key.',
  )
  try:
    _fit(generator, data, key, condition=np.ones((len(data), 2), np.float32))
  except ValueError:
    return
  raise AssertionError('`fit` ignores a condition in silence.')


def _train(generator: Any, data: np.ndarray, key: jax.Array) -> typing.PyTree:
  init_key, train_key = jax.random.split(key)
  data = jnp.asarray(data)
  params = jax.jit(generator.init)(init_key, data[0])
  tx = optax.adam(optax.cosine_decay_schedule(3e-3, _STEPS))

  def train_step(carry, key):
    params, opt_state = carry
    order_key, loss_key = jax.random.split(key)
    batch = data[jax.random.randint(order_key, (128,), 0, len(data))]
    (loss, _), grads = jax.value_and_grad(generator.loss, has_aux=True)(params, batch, loss_key)
    updates, opt_state = tx.update(grads, opt_state)
    return (optax.apply_updates(params, updates), opt_state), loss

  run = jax.jit(functools.partial(jax.lax.scan, train_step))
  (params, _), losses = run((params, tx.init(params)), jax.random.split(train_key, _STEPS))
  chex.assert_tree_all_finite(losses)
  first, last = losses[:5].mean(), losses[-50:].mean()
  _require(last < first - 0.1, f'The loss does not fall: from {first:.3g} to {last:.3g}.')
  return params


def _check_modes(samples: np.ndarray, data: np.ndarray, centre: np.ndarray) -> None:
  """Compares moments and modes; a mean off by 0.25 is a mode drawn 8 % too often."""
  for name, moment, most in (('mean', np.mean, 0.25), ('spread', np.std, 0.2)):
    error = np.abs(moment(samples, 0) - moment(data, 0)).max()
    _require(error < most, f'The {name} of samples is off by {error:.2g}.')
  place = np.tensordot(samples, centre, 2) / np.sum(centre**2)
  between, share = np.mean(np.abs(place) < 0.4), np.mean(place > 0)
  _require(between < 0.15, f'{between:.0%} of the samples lie between the two modes.')
  _require(0.35 < share < 0.65, f'{share:.0%} of the samples are of one of two equal modes.')


def _check_density(generator: Any, params: typing.PyTree, data: np.ndarray) -> None:
  """Compares the mean density with the entropy of the mixture, log 2 + that of Gaussians."""
  size = data[0].size
  noise = data.std(0)[None] * np.random.default_rng(0).standard_normal(data.shape)
  density, other = (
    float(np.mean(np.asarray(generator.log_prob(params, x)))) for x in (data, np.float32(noise))
  )
  _require(density > other, '`log_prob` is higher for noise than for data.')
  entropy = np.log(2) + size * (0.5 * np.log(2 * np.pi * np.e) + np.log(_STD))
  _require(
    -0.1 < -density - entropy < 0.125 * size,
    f'`log_prob` of data is {density:.3g} nats on average; the data have {-entropy:.3g}.',
  )


def _check_condition(
  generator: Any, batch: np.ndarray, shape: generator_lib.Shape, key: jax.Array
) -> None:
  # A new model may have one output for all.
  params = _jittered(jax.jit(generator.init)(key, batch[0]))
  loss = jax.jit(functools.partial(generator.loss, train=False))

  def values(condition: list[float]) -> dict[str, jax.Array]:
    given = np.tile(np.asarray(condition, np.float32), (len(batch), 1))
    found = {
      'loss': loss(params, batch, key, given)[0],
      'sample': generator.sample(params, key, len(batch), shape=shape, condition=given),
    }
    if hasattr(generator, 'log_prob'):
      found['log_prob'] = generator.log_prob(params, batch, given)
    return found

  one, two = values([1.0, 0.0]), values([0.0, 2.0])
  for name in one:
    chex.assert_tree_all_finite(one[name])
    changed = np.all(np.abs(np.asarray(one[name] - two[name])) > 1e-4)
    _require(bool(changed), f'The condition does not change `{name}`.')
