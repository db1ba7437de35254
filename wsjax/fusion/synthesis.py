"""Inputs that networks themselves suggest, for methods with data where no data are left.

Random inputs are moved until networks, each by itself, recognize classes that were drawn for them:
what all of them respond to is what they have in common.

Source: Yin et al. 2020, arXiv:1912.08795 (DeepInversion: inputs by gradient ascent, and the
agreement of several networks).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wsjax import typing
from wsjax.models import model as model_lib


def inputs(
  model: model_lib.Model,
  params: typing.StackedParams,
  *,
  num: int,
  seed: int = 0,
  steps: int = 100,
  learning_rate: float = 0.05,
  scale: float = 0.3,
) -> np.ndarray:
  """Draws inputs [num, ...] that all of N classifiers recognize as classes drawn at random.

  Args:
    model: of the networks.
    params: N networks, path -> [N, ...].
    num: number of inputs.
    seed: of the first inputs and the classes.
    steps: updates of Adam.
    learning_rate: of Adam.
    scale: standard deviation of the first inputs.
  """
  one, two = jax.random.split(jax.random.key(seed))
  start = scale * jax.random.normal(one, (num, *model.input_shape))
  nets = {path: jnp.asarray(x) for path, x in params.items()}
  classes = model.num_outputs(start[:1])
  labels = jax.random.randint(two, (num,), 0, classes)
  return np.asarray(_invert(model, steps, learning_rate, scale, nets, start, labels))


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _invert(
  model: model_lib.Model,
  steps: int,
  learning_rate: float,
  scale: float,
  nets: Any,
  start: jax.Array,
  labels: jax.Array,
) -> jax.Array:
  optimizer = optax.adam(learning_rate)

  def loss(x: jax.Array) -> jax.Array:
    logits = jax.vmap(lambda net: model.apply(net, x))(nets)
    given = jnp.broadcast_to(labels[None], logits.shape[:2])
    surprise = optax.softmax_cross_entropy_with_integer_labels(logits, given)
    # Inputs stay as large as they were: certainty could be had by size alone.
    return surprise.mean(0).sum() + 0.5 * jnp.square(x / scale).mean() * len(x)

  def step(carry: Any, _: None) -> tuple[Any, None]:
    x, state = carry
    update, state = optimizer.update(jax.grad(loss)(x), state)
    return (optax.apply_updates(x, update), state), None

  return jax.lax.scan(step, (start, optimizer.init(start)), None, length=steps)[0][0]
