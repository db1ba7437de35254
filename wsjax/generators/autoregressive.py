"""Autoregressive generator: a recurrence encodes the tokens so far, a flow draws the next one.

Cost is linear in the number of tokens. Training sees all tokens at once (teacher forcing).

Source: Wang et al. 2025, arXiv:2501.11587, section 2 (a recurrent model whose output conditions the
diffusion of each token); here with flow matching.
"""

import dataclasses
import functools
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import config
from wsjax.generators import backbones
from wsjax.generators.generator import Condition, Latents, Metrics, Params, Shape
from wsjax.generators.parts import guidance, linear_recurrence, ode


class Contexts(nn.Module):
  """Recurrence over `length` tokens whose output for a token depends on the tokens before it."""

  length: int
  width: int
  state_size: int
  depth: int

  def setup(self):
    """Creates the recurrence and the layers that read its inputs."""
    self.embed = nn.Dense(self.width)
    self.given = nn.Dense(self.width)
    self.places = self.param('places', nn.initializers.normal(0.5), (self.length, self.width))
    self.layers = [linear_recurrence.Layer(self.width, self.state_size) for _ in range(self.depth)]
    self.norm = nn.LayerNorm()

  def __call__(
    self, tokens: Float[Array, 't d'], condition: Float[Array, ' c'] | None = None
  ) -> Float[Array, 't width']:
    """Computes the contexts of all tokens."""
    before = jnp.concatenate([jnp.zeros_like(tokens[:1]), tokens[:-1]])
    h = self.embed(before) + self.places
    if condition is not None:
      h += self.given(condition)[None]
    for layer in self.layers:
      h = layer(h)
    return self.norm(h)

  def step(
    self,
    states: Float[Array, 'depth s'],
    before: Float[Array, ' d'],
    index: jax.Array,
    condition: Float[Array, ' c'] | None = None,
  ) -> tuple[Float[Array, 'depth s'], Float[Array, ' width']]:
    """Computes the next states and the context of the token at an index.

    The states of the layers and the token before are 0 at the start.
    """
    h = self.embed(before) + self.places[index]
    if condition is not None:
      h += self.given(condition)
    following = []
    for layer, state in zip(self.layers, states, strict=True):
      new, h = layer.step(state, h)
      following.append(new)
    return jnp.stack(following), self.norm(h)


@dataclasses.dataclass(frozen=True)
class Autoregressive(config.Section):
  """Generator of one token after the other.

  Attributes:
    head: backbone of the velocity of one token [1, D], whose condition is the context.
    width: of a context.
    state_size: of the recurrence, per layer.
    depth: number of layers of the recurrence.
    context_noise: standard deviation of noise on the tokens that contexts read in training, in
      units of the tokens. It makes up for sampled tokens being less exact than those of the data.
    solver: key of `ode.SOLVERS`.
    num_steps: of the solver, per token.
    condition_size: features of the condition; 0 is unconditional.
  """

  head: backbones.Backbone
  width: config.PositiveInt = 128
  state_size: config.PositiveInt = 256
  depth: config.PositiveInt = 2
  context_noise: config.NonNegativeFloat = 0.0
  solver: Annotated[str, config.OneOf(ode.SOLVERS)] = 'heun'
  num_steps: config.PositiveInt = 8
  condition_size: config.NonNegativeInt = 0

  def init(self, key: jax.Array, example: Float[Array, 't d']) -> Params:
    """Draws parameters of the recurrence and the head."""
    context_key, head_key = jax.random.split(key)
    given = jnp.zeros(self.condition_size) if self.condition_size else None
    x = jnp.asarray(example)
    contexts = self._contexts(len(x)).init(context_key, x, given)['params']
    return {'contexts': contexts, 'head': self._field.init(head_key, x[:1])}

  def loss(
    self, params: Params, batch: Latents, key: jax.Array, condition: Condition = None, *, train=True
  ) -> tuple[Float[Array, ''], Metrics]:
    """Computes the mean squared error of the velocity of every token, given those before."""
    source_key, time_key, noise_key, drop_key = jax.random.split(key, 4)
    num, length, size = batch.shape
    seen = batch
    if train and self.context_noise:
      seen = batch + self.context_noise * jax.random.normal(noise_key, batch.shape)
    contexts = self.contexts(params, seen, condition)
    source = jax.random.normal(source_key, batch.shape)
    t = jax.random.uniform(time_key, (num, length, 1))
    x = (1 - t) * source + t * batch
    keys = jax.random.split(drop_key, num * length) if train else None
    contexts = contexts.reshape(-1, self.width)
    velocity = self._velocity(params, x.reshape(-1, size), t.ravel(), contexts, keys)
    error = velocity.reshape(batch.shape) - (batch - source)
    return jnp.mean(error**2), {}

  def contexts(
    self, params: Params, tokens: Latents, condition: Condition = None
  ) -> Float[Array, 'n t width']:
    """Computes the contexts of tokens, each from the tokens before it."""
    module, variables = self._contexts(tokens.shape[1]), {'params': params['contexts']}
    return jax.vmap(functools.partial(module.apply, variables))(tokens, condition)

  @functools.partial(jax.jit, static_argnames=('self', 'num', 'shape'))
  def sample(
    self, params: Params, key: jax.Array, num: int, *, shape: Shape, condition: Condition = None
  ) -> Latents:
    """Carries noise to one token after the other."""
    length, size = shape
    variables = {'params': params['contexts']}
    step = functools.partial(self._contexts(length).apply, variables, method='step')

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

  def _velocity(self, params, x, t, contexts, keys) -> Float[Array, 'n d']:
    """Predicts velocities of single tokens x [n, D] at times t [n]; dropout by keys, or none."""
    one = functools.partial(self._field.train_field, params['head'])
    return jax.vmap(one)(x[:, None], t, contexts, keys)[:, 0]

  @property
  def _field(self) -> guidance.ConditionalField:
    return guidance.ConditionalField(self.head, self.width)
