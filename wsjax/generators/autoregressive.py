"""Token after token: a recurrence remembers, a small flow draws the next one.

Cost is linear in the number of tokens. Training sees all tokens at once, since the tokens before
each are known (teacher forcing); sampling goes one by one.

Source: Wang et al. 2025, arXiv:2501.11587, section 2 (a recurrent model whose output conditions the
diffusion of each token); here with flow matching.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax import config as config_lib
from wsjax import typing
from wsjax.generators import generator
from wsjax.generators.parts import guidance, linear_recurrence, ode


class Contexts(nn.Module):
  """What each token of a sequence may know: the tokens before it.

  Attributes:
    length: number of tokens T.
    width: of a context.
    state_size: S of every layer.
    depth: number of layers.
  """

  length: int
  width: int
  state_size: int
  depth: int

  def setup(self):
    """Layers, and what reads the token before, its place and the condition."""
    self.embed = nn.Dense(self.width)
    self.given = nn.Dense(self.width)
    self.places = self.param('places', nn.initializers.normal(0.5), (self.length, self.width))
    self.layers = [linear_recurrence.Layer(self.width, self.state_size) for _ in range(self.depth)]
    self.norm = nn.LayerNorm()

  def __call__(self, tokens: jax.Array, condition: jax.Array | None = None) -> jax.Array:
    """[T, width] contexts of tokens [T, D] and a condition [C]."""
    before = jnp.concatenate([jnp.zeros_like(tokens[:1]), tokens[:-1]])
    h = self.embed(before) + self.places
    if condition is not None:
      h += self.given(condition)[None]
    for layer in self.layers:
      h = layer(h)
    return self.norm(h)

  def step(
    self, states: jax.Array, before: jax.Array, index: jax.Array, condition: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array]:
    """The same for one token.

    Args:
      states: [depth, S] of the layers; 0 at the start.
      before: [D] the token before; 0 at the start.
      index: of the token to come, scalar.
      condition: [C], or None.

    Returns:
      The next states, and the context [width].
    """
    h = self.embed(before) + self.places[index]
    if condition is not None:
      h += self.given(condition)
    following = []
    for layer, state in zip(self.layers, states, strict=True):
      state, h = layer.step(state, h)
      following.append(state)
    return jnp.stack(following), self.norm(h)


@dataclasses.dataclass(frozen=True)
class Recurrent:
  """Generator of one token after the other.

  Attributes:
    head: backbone of the velocity of one token, [1, D]; the context is its condition.
    width: of a context.
    state_size: of the recurrence, per layer.
    depth: number of layers of the recurrence.
    context_noise: standard deviation of noise on the tokens that contexts read while training, in
      units of the tokens. It makes up for sampled tokens being less exact than those of the data.
    solver: key of `samplers.SOLVERS`.
    num_steps: of the solver, per token.
    condition_size: features of the condition; 0 = unconditional.
  """

  head: nn.Module
  width: int
  state_size: int
  depth: int
  context_noise: float
  solver: str
  num_steps: int
  condition_size: int

  def init(self, key: jax.Array, example: typing.Array) -> typing.PyTree:
    """Parameters of the recurrence and the head."""
    context_key, head_key = jax.random.split(key)
    given = jnp.zeros(self.condition_size) if self.condition_size else None
    x = jnp.asarray(example)
    contexts = self._contexts(len(x)).init(context_key, x, given)
    head = self._field.init(head_key, x[:1])
    return {'contexts': contexts['params'], 'head': head}

  def loss(
    self,
    params: typing.PyTree,
    batch: typing.Array,
    key: jax.Array,
    condition: typing.Array | None = None,
    *,
    train: bool = True,
  ) -> tuple[jax.Array, generator.Metrics]:
    """Mean squared error of the velocity of every token, given those before.

    Args:
      params: from `init`.
      batch: [b, T, D].
      key: of sources, times, noise and dropout.
      condition: [b, C], or None.
      train: whether there is noise on contexts, and dropout.

    Returns:
      The mean, and no metrics.
    """
    source_key, time_key, noise_key, drop_key = jax.random.split(key, 4)
    num, length, size = batch.shape
    seen = batch
    if train and self.context_noise:
      noise = jax.random.normal(noise_key, batch.shape)
      seen = batch + self.context_noise * noise
    contexts = self.contexts(params, seen, condition)
    source = jax.random.normal(source_key, batch.shape)
    t = jax.random.uniform(time_key, (num, length, 1))
    x = (1 - t) * source + t * batch
    velocity = self._velocity(
      params,
      x.reshape(-1, size),
      t.ravel(),
      contexts.reshape(-1, self.width),
      jax.random.split(drop_key, num * length) if train else None,
    )
    error = velocity.reshape(batch.shape) - (batch - source)
    return jnp.mean(error**2), {}

  def contexts(
    self, params: typing.PyTree, tokens: typing.Array, condition: typing.Array | None = None
  ) -> jax.Array:
    """[b, T, width] of tokens [b, T, D]: each knows the tokens before it."""
    module = self._contexts(tokens.shape[1])
    variables = {'params': params['contexts']}
    return jax.vmap(functools.partial(module.apply, variables))(tokens, condition)

  @functools.partial(jax.jit, static_argnames=('self', 'num', 'shape'))
  def sample(
    self,
    params: typing.PyTree,
    key: jax.Array,
    num: int,
    *,
    shape: tuple[int, int],
    condition: typing.Array | None = None,
  ) -> jax.Array:
    """[num, T, D]: noise carried to one token after the other."""
    length, size = shape
    module = self._contexts(length)

    def step(states, before, index, condition):
      variables = {'params': params['contexts']}
      return module.apply(variables, states, before, index, condition, method='step')

    def draw(carry, inputs):
      states, before = carry
      index, noise = inputs
      states, contexts = jax.vmap(step, (0, 0, None, 0))(states, before, index, condition)

      def field(x, t):
        return self._velocity(params, x, jnp.full(num, t), contexts, None)

      token = ode.integrate(field, noise, solver=self.solver, num_steps=self.num_steps)
      return (states, token), token

    states = jnp.zeros((num, self.depth, self.state_size))
    start = states, jnp.zeros((num, size))
    noise = jax.random.normal(key, (length, num, size))
    _, tokens = jax.lax.scan(draw, start, (jnp.arange(length), noise))
    return jnp.moveaxis(tokens, 0, 1)

  def _contexts(self, length: int) -> Contexts:
    return Contexts(length, self.width, self.state_size, self.depth)

  def _velocity(
    self,
    params: typing.PyTree,
    x: jax.Array,
    t: jax.Array,
    contexts: jax.Array,
    keys: jax.Array | None,
  ) -> jax.Array:
    """[n, D] at tokens [n, D], t [n], [n, width]; dropout by keys, or none."""

    one = functools.partial(self._field.train, params['head'])
    return jax.vmap(one)(x[:, None], t, contexts, keys)[:, 0]

  @property
  def _field(self) -> guidance.ConditionalField:
    return guidance.ConditionalField(self.head, self.width)


def make(
  head: Mapping[str, Any],
  width: int = 128,
  state_size: int = 256,
  depth: int = 2,
  context_noise: float = 0.0,
  solver: str = 'heun',
  num_steps: int = 8,
  condition_size: int = 0,
) -> Recurrent:
  """The recurrent generator.

  Args:
    head: config section of a plug-in of `generators.backbones`, for one token.
    width: of a context.
    state_size: of the recurrence, per layer.
    depth: number of layers of the recurrence.
    context_noise: standard deviation of noise on the tokens that contexts read while training, in
      units of the tokens.
    solver: key of `samplers.SOLVERS`.
    num_steps: of the solver, per token.
    condition_size: features of the condition; 0 = unconditional.

  Raises:
    ValueError: if the head or the solver is unknown, a size is not positive or `context_noise` is
      negative.
  """
  ode.check(solver, num_steps)
  if min(width, state_size, depth) < 1 or context_noise < 0:
    raise ValueError(
      'recurrent needs width, state_size and depth >= 1 and context_noise >= '
      f'0; got {width}, {state_size}, {depth} and {context_noise}.'
    )
  return Recurrent(
    head=config_lib.build('generators.backbones', head),
    width=width,
    state_size=state_size,
    depth=depth,
    context_noise=context_noise,
    solver=solver,
    num_steps=num_steps,
    condition_size=condition_size,
  )
