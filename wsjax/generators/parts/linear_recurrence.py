"""Linear recurrence over a sequence, all steps at once or one by one.

Sources: Blelloch 1990, CMU-CS-90-190, section 1.4 (a first-order recurrence as a scan); De et al.
2024, arXiv:2402.19427, equations 3 and 4 (decays that depend on the input, and its scale).
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

Pair = tuple[jax.Array, jax.Array]


def scan(decay: jax.Array, inputs: jax.Array) -> jax.Array:
  """Computes states h[t] = decay[t] h[t - 1] + inputs[t], all [T, S], from h[-1] = 0.

  Composing two steps gives a step, so a tree of logarithmic depth and linear work computes all.
  """

  def compose(first: Pair, second: Pair) -> Pair:
    return first[0] * second[0], second[0] * first[1] + second[1]

  return jax.lax.associative_scan(compose, (decay, inputs))[1]


class Layer(nn.Module):
  """Residual block whose only link between steps is a linear recurrence.

  The recurrence is diagonal; its real decays depend on the input, so that the state can forget.
  """

  width: int
  state_size: int

  def setup(self):
    """Creates the layers, which act on one step each."""
    self.norm = nn.LayerNorm()
    self.drive = nn.Dense(self.state_size)
    self.speed = nn.Dense(self.state_size)
    self.gate = nn.Dense(self.state_size)
    self.out = nn.Dense(self.width)
    # Memories of about 1 to 1000 steps, evenly on a logarithmic axis.
    draw = functools.partial(jax.random.uniform, minval=-7, maxval=0)
    self.log_rate = self.param('log_rate', draw, (self.state_size,))

  def __call__(self, x: jax.Array) -> jax.Array:
    """[T, width] from [T, width]; output t reads inputs up to t."""
    decay, inputs, gate = self._terms(x)
    return x + self.out(gate * scan(decay, inputs))

  def step(self, state: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One step: the next state [S] and output [width] of [S] and [width]."""
    decay, inputs, gate = self._terms(x)
    state = decay * state + inputs
    return state, x + self.out(gate * state)

  def _terms(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """[..., S] decays, inputs and gates of [..., width]."""
    x = self.norm(x)
    rate = jnp.exp(self.log_rate).reshape((1,) * (x.ndim - 1) + (-1,))
    log_decay = -rate * nn.softplus(self.speed(x))
    # The square root keeps the variance of the state at that of its drive.
    scale = jnp.sqrt(-jnp.expm1(2 * log_decay))
    return jnp.exp(log_decay), scale * self.drive(x), nn.silu(self.gate(x))
