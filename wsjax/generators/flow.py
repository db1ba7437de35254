"""Normalizing flow: exact likelihoods of weights.

Source: Dinh et al. 2017, arXiv:1605.08803, equation 2 (change of variables).
"""

import dataclasses
import functools
import math
from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import config
from wsjax.generators.generator import Condition, Latents, LogDensity, Metrics, Params, Shape
from wsjax.generators.parts import coupling as coupling_lib
from wsjax.generators.parts import spline

COUPLINGS = ('affine', 'spline')


@dataclasses.dataclass(frozen=True)
class Flow(config.Section):
  """Generator by couplings between latents and Gaussian noise.

  Attributes:
    num_layers: number of couplings; twice log2 of the number of weights lets every weight see every
      other one.
    width: of the hidden layers inside a coupling.
    depth: number of these layers.
    noise_std: standard deviation of the noise on the latents in training, in their units. Without
      it the likelihood of a few networks grows without bound.
    condition_size: features of the condition; 0 is unconditional.
    coupling: 'affine' or 'spline'.
    num_bins: of each spline; unused by 'affine'.
    tail_bound: end of the splines in units of the latents, beyond which they are the identity;
      unused by 'affine'.
  """

  num_layers: config.PositiveInt = 8
  width: config.PositiveInt = 256
  depth: config.NonNegativeInt = 2
  noise_std: config.NonNegativeFloat = 0.0
  condition_size: config.NonNegativeInt = 0
  coupling: Annotated[str, config.OneOf(COUPLINGS)] = 'affine'
  num_bins: Annotated[int, config.Range(min=2)] = 8
  tail_bound: config.PositiveFloat = 4.0

  def init(self, key: jax.Array, example: Float[Array, 't d']) -> Params:
    """Draws parameters of the couplings."""
    given = jnp.zeros(self.condition_size) if self.condition_size else None
    stack = self._stack(example.shape)
    return stack.init(key, jnp.ravel(example), given, method='forward')['params']

  def loss(
    self, params: Params, batch: Latents, key: jax.Array, condition: Condition = None, *, train=True
  ) -> tuple[Float[Array, ''], Metrics]:
    """Computes the mean negative log-likelihood in nats per weight, and 'bits_per_weight'."""
    if train and self.noise_std:
      batch = batch + self.noise_std * jax.random.normal(key, batch.shape, jnp.float32)
    nats = -jnp.mean(self.log_prob(params, batch, condition))
    loss = nats / math.prod(batch.shape[1:])
    return loss, {'bits_per_weight': loss / math.log(2)}

  @functools.partial(jax.jit, static_argnames='self')
  def log_prob(self, params: Params, x: Latents, condition: Condition = None) -> LogDensity:
    """Computes the exact density."""
    stack = self._stack(x.shape[1:])

    def one(x: jax.Array, given: jax.Array | None) -> jax.Array:
      noise, log_det = stack.apply({'params': params}, jnp.ravel(x), given, method='forward')
      return jnp.sum(jax.scipy.stats.norm.logpdf(noise)) + log_det

    return jax.vmap(one)(jnp.asarray(x), condition)

  @functools.partial(jax.jit, static_argnames=('self', 'num', 'shape'))
  def sample(
    self, params: Params, key: jax.Array, num: int, *, shape: Shape, condition: Condition = None
  ) -> Latents:
    """Carries noise through the inverse of the couplings."""
    stack = self._stack(shape)

    inverse = functools.partial(stack.apply, {'params': params}, method='inverse')
    data, _ = jax.vmap(inverse)(jax.random.normal(key, (num, math.prod(shape))), condition)
    return data.reshape(num, *shape)

  def _stack(self, shape: tuple[int, ...]) -> coupling_lib.Stack:
    size = math.prod(shape)

    def make_coupling(number: int) -> coupling_lib.Coupling:
      shared = (number, size, self.width, self.depth)
      if self.coupling == 'affine':
        return coupling_lib.AffineCoupling(*shared)
      return spline.SplineCoupling(*shared, self.num_bins, self.tail_bound)

    return coupling_lib.Stack(size, self.num_layers, make_coupling)
