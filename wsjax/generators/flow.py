"""Normalizing flow: exact likelihoods of weights.

Source: Dinh et al. 2017, arXiv:1605.08803, equation 2 (change of variables).
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.generators import generator
from wsjax.generators.parts import coupling as coupling_lib
from wsjax.generators.parts import spline

COUPLINGS = ('affine', 'spline')


@dataclasses.dataclass(frozen=True)
class Flow:
  """Generator by couplings between tokens and Gaussian noise.

  Attributes:
    num_layers: number of couplings.
    width: of the hidden layers inside a coupling.
    depth: number of them.
    noise_std: of noise added to the tokens while training, in their units. Without it the
      likelihood of a few networks grows without bound.
    condition_size: features of the condition; 0 = unconditional.
    coupling: one of `COUPLINGS`.
    num_bins: of each spline; of no use to 'affine'.
    tail_bound: where the splines end; of no use to 'affine'.
  """

  num_layers: int
  width: int
  depth: int
  noise_std: float
  condition_size: int
  coupling: str
  num_bins: int
  tail_bound: float

  def init(self, key: jax.Array, example: typing.Array) -> typing.PyTree:
    """Parameters for tokens of the shape of `example`, [T, D]."""
    given = jnp.zeros(self.condition_size) if self.condition_size else None
    stack = self._stack(example.shape)
    x = jnp.ravel(example)
    return stack.init(key, x, given, method='forward')['params']

  def loss(
    self,
    params: typing.PyTree,
    batch: typing.Array,
    key: jax.Array,
    condition: typing.Array | None = None,
    *,
    train: bool = True,
  ) -> tuple[jax.Array, generator.Metrics]:
    """Negative log-likelihood, nats per weight.

    Args:
      params: from `init`.
      batch: [B, T, D] tokens.
      key: of the noise on them.
      condition: [B, C], or None.
      train: whether noise is added to the tokens.

    Returns:
      The mean over the batch, and 'bits_per_weight'.
    """
    if train and self.noise_std:
      noise = jax.random.normal(key, batch.shape, jnp.float32)
      batch = batch + self.noise_std * noise
    nats = -jnp.mean(self.log_prob(params, batch, condition))
    loss = nats / math.prod(batch.shape[1:])
    return loss, {'bits_per_weight': loss / math.log(2)}

  @functools.partial(jax.jit, static_argnames='self')
  def log_prob(
    self, params: typing.PyTree, x: typing.Array, condition: typing.Array | None = None
  ) -> jax.Array:
    """Exact log-density of tokens.

    Args:
      params: from `init`.
      x: [B, T, D] tokens.
      condition: [B, C], or None.

    Returns:
      [B] nats per network, with respect to the units of the tokens.
    """
    stack = self._stack(x.shape[1:])

    def one(x: jax.Array, given: jax.Array | None) -> jax.Array:
      noise, log_det = stack.apply({'params': params}, jnp.ravel(x), given, method='forward')
      return jnp.sum(jax.scipy.stats.norm.logpdf(noise)) + log_det

    return jax.vmap(one)(jnp.asarray(x), condition)

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
    """Draws tokens.

    Args:
      params: from `init`.
      key: of the noise.
      num: how many.
      shape: (T, D).
      condition: [num, C], or None.

    Returns:
      [num, T, D] tokens.
    """
    stack = self._stack(shape)

    def one(noise: jax.Array, given: jax.Array | None) -> jax.Array:
      data, _ = stack.apply({'params': params}, noise, given, method='inverse')
      return data

    noise = jax.random.normal(key, (num, math.prod(shape)))
    return jax.vmap(one)(noise, condition).reshape(num, *shape)

  def _stack(self, shape: tuple[int, ...]) -> coupling_lib.Stack:
    size = math.prod(shape)

    def make_coupling(number: int) -> coupling_lib.Coupling:
      shared = (number, size, self.width, self.depth)
      if self.coupling == 'affine':
        return coupling_lib.AffineCoupling(*shared)
      return spline.SplineCoupling(*shared, self.num_bins, self.tail_bound)

    return coupling_lib.Stack(size, self.num_layers, make_coupling)


def make(
  num_layers: int = 8,
  width: int = 256,
  depth: int = 2,
  noise_std: float = 0.0,
  condition_size: int = 0,
  coupling: str = 'affine',
  num_bins: int = 8,
  tail_bound: float = 4.0,
) -> Flow:
  """The normalizing flow.

  Args:
    num_layers: number of couplings; twice log2 of the number of weights lets every weight see every
      other one.
    width: of the hidden layers inside a coupling.
    depth: number of them.
    noise_std: of noise added to the tokens while training, in their units.
    condition_size: features of the condition; 0 = unconditional.
    coupling: one of `COUPLINGS`.
    num_bins: of each spline; of no use to 'affine'.
    tail_bound: where the splines end, in units of the tokens; beyond it they are the identity. Of
      no use to 'affine'.

  Raises:
    ValueError: if `num_layers` < 1, `noise_std` < 0, the coupling is unknown, `num_bins` < 2 or
      `tail_bound` <= 0.
  """
  if num_layers < 1 or noise_std < 0:
    raise ValueError(
      f'A flow needs num_layers >= 1 and noise_std >= 0; got {num_layers} and {noise_std}.'
    )
  if coupling not in COUPLINGS:
    raise ValueError(f'Unknown coupling {coupling!r}; allowed: {", ".join(COUPLINGS)}.')
  if num_bins < 2 or tail_bound <= 0:
    raise ValueError(
      f'A spline needs num_bins >= 2 and tail_bound > 0; got {num_bins} and {tail_bound}.'
    )
  return Flow(
    num_layers=num_layers,
    width=width,
    depth=depth,
    noise_std=noise_std,
    condition_size=condition_size,
    coupling=coupling,
    num_bins=num_bins,
    tail_bound=tail_bound,
  )
