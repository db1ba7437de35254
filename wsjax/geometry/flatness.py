"""How the loss of one network changes around it: curvature, sharpness, landscapes.

`loss` is a function of the parameters of one network. Under `jax.vmap`, or `Networks.map`, each
function measures many networks in one program.
"""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from matfree import decomp, stochtrace

from wsjax import typing
from wsjax.geometry.connectivity import Loss


def spectrum(
  loss: Loss, params: typing.Params, key: jax.Array, *, num_products: int = 32
) -> tuple[Float[Array, ' k'], Float[Array, ' k']]:
  """Eigenvalues of the Hessian as Lanczos sees them from a random vector, and their weights.

  The largest one converges to the largest eigenvalue. The weights sum to 1, and are a quadrature of
  the spectral density: with them the mean of f(eigenvalue) is that over all eigenvalues, on average
  over random vectors, for polynomials f of degree below 2 `num_products`.

  Args:
    loss: of one network.
    params: of one network.
    key: of the random vector.
    num_products: k, of the Hessian with a vector; at most the number of parameters.

  Source: Ghorbani et al. 2019, arXiv:1901.10159, section 2; Lanczos with full reorthogonalisation
    by `matfree`.
  """
  product, flat = _hessian(loss, params)
  lanczos = decomp.tridiag_sym(min(num_products, flat.size), custom_vjp=False)
  start = jax.random.normal(key, flat.shape, flat.dtype)
  values, vectors = jnp.linalg.eigh(lanczos(product, start).J_small)
  return values, vectors[0] ** 2


def density(
  values: Float[Array, 'r k'],
  weights: Float[Array, 'r k'],
  grid: Float[Array, ' g'],
  *,
  width: float,
) -> Float[Array, ' g']:
  """Spectral density on a grid, from `spectrum` of r random vectors, blurred by a Gaussian.

  Source: Ghorbani et al. 2019, arXiv:1901.10159, section 2.
  """
  z = (grid[:, None, None] - values[None]) / width
  bumps = jnp.exp(-(z**2) / 2) / (width * jnp.sqrt(2 * jnp.pi))
  return jnp.mean(jnp.sum(weights[None] * bumps, axis=-1), axis=-1)


def trace(
  loss: Loss, params: typing.Params, key: jax.Array, *, num_vectors: int = 16
) -> Float[Array, '']:
  """Trace of the Hessian by random signs; without bias.

  Source: Hutchinson 1990, Communications in Statistics 19:433; by `matfree`.
  """
  product, flat = _hessian(loss, params)
  sampler = stochtrace.sampler_signs(flat, num=num_vectors)
  return stochtrace.estimator_monte_carlo(stochtrace.monte_carlo_trace(), sampler)(product, key)


def direction(params: typing.Params, key: jax.Array) -> typing.Params:
  """A random direction, each filter of which has the norm of the filter of the network.

  The filter of an output unit is all of its incoming weights: the last axis of a kernel counts
  units, as in JAX's libraries. Biases and gains do not move.

  Source: Li et al. 2018, arXiv:1712.09913, section 4.
  """
  keys = jax.random.split(key, len(params))

  def one(value: jax.Array, key: jax.Array) -> jax.Array:
    if value.ndim < 2:
      return jnp.zeros_like(value)
    axes = tuple(range(value.ndim - 1))
    noise = jax.random.normal(key, value.shape, value.dtype)
    norms = [jnp.sqrt(jnp.sum(x**2, axes, keepdims=True)) for x in (value, noise)]
    return noise * norms[0] / norms[1]

  return {path: one(params[path], key) for path, key in zip(sorted(params), keys, strict=True)}


def filter_sharpness(
  loss: Loss,
  params: typing.Params,
  key: jax.Array,
  *,
  radius: float = 0.5,
  num_directions: int = 16,
) -> Float[Array, '']:
  """Mean rise of the loss at steps of `radius` in filter-normalised directions; see `direction`."""

  def at(key: jax.Array) -> jax.Array:
    return loss(_moved(params, direction(params, key), radius))

  return jnp.mean(jax.lax.map(at, jax.random.split(key, num_directions))) - loss(params)


def adaptive_sharpness(loss: Loss, params: typing.Params, *, rho: float = 0.5) -> Float[Array, '']:
  """Rise of the loss at the worst step whose parts, over the weights, have norm `rho`.

  The step is the first-order one. Rescaling of units does not change the result, since each part of
  the step scales as its weight does.

  Source: Kwon et al. 2021, arXiv:2102.11600, eq. 8, with T = |w|.
  """
  gradient = jax.grad(loss)(params)
  scaled = jax.tree.map(lambda w, g: jnp.abs(w) * g, params, gradient)
  norm = jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(scaled)))
  step = jax.tree.map(lambda w, s: jnp.abs(w) * s / jnp.maximum(norm, 1e-12), params, scaled)
  return loss(_moved(params, step, rho)) - loss(params)


def landscape(
  loss: Loss, params: typing.Params, key: jax.Array, *, span: float = 1.0, num_points: int = 21
) -> Float[Array, 's s']:
  """Losses on a square around a network, spanned by two filter-normalised directions.

  Source: Li et al. 2018, arXiv:1712.09913.
  """
  x, y = (direction(params, key) for key in jax.random.split(key))
  steps = jnp.linspace(-span, span, num_points)
  row = jax.vmap(lambda s, t: loss(_moved(_moved(params, x, s), y, t)), (None, 0))
  return jax.lax.map(lambda s: row(s, steps), steps)


def _hessian(loss: Loss, params: typing.Params):
  """Product of the Hessian with a vector, and the parameters as one vector."""
  flat, unflatten = ravel_pytree(params)
  gradient = jax.grad(lambda x: loss(unflatten(x)))
  return lambda v: jax.jvp(gradient, (flat,), (v,))[1], flat


def _moved(params: typing.Params, step: typing.Params, size: jax.Array | float) -> typing.Params:
  return jax.tree.map(lambda w, s: w + size * s, params, step)
