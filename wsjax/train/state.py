"""All that training changes, in one pytree."""

import jax
import jax.numpy as jnp
import optax
from flax import struct

from wsjax import typing


@struct.dataclass
class TrainState:
  """State after `step` updates.

  Keys and batches are functions of (seed, step), so they need no state.

  Attributes:
    step: int32 scalar, updates so far.
    params: of the generator.
    ema: exponential moving average of `params`, what is sampled from.
    opt_state: of the optimizer.
  """

  step: jax.Array
  params: typing.PyTree
  ema: typing.PyTree
  opt_state: typing.PyTree


def create(params: typing.PyTree, optimizer: optax.GradientTransformation) -> TrainState:
  """The state before the first update."""
  return TrainState(
    step=jnp.int32(0),
    params=params,
    # A copy: the state is donated, and no buffer may be donated twice.
    ema=jax.tree.map(jnp.copy, params),
    opt_state=optimizer.init(params),
  )
