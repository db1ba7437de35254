"""Steps of a denoiser from one noise level to the next.

Source: Song et al. 2021, arXiv:2010.02502 (DDIM), equations 12 and 16.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

# Share of new noise in each step: none, or that of the reversed noising process.
ETAS = {'ddim': 0.0, 'ancestral': 1.0}


def along(
  denoise: Callable[[jax.Array, jax.Array], jax.Array],
  x: jax.Array,
  levels: np.ndarray,
  *,
  eta: float,
  key: jax.Array,
) -> jax.Array:
  """Steps down the noise levels.

  The paper scales x to unit variance: its x is ours times sqrt(alpha), and the noise level is
  sqrt((1 - alpha) / alpha).

  Args:
    denoise: ([*b], scalar noise level) -> [*b], the expected clean value.
    x: [*b] at the first level.
    levels: [s] decreasing and positive, in units of x; the result is at the last.
    eta: in [0, 1]; 0 = without new noise (DDIM), 1 = ancestral (DDPM).
    key: of new noise.
  """

  def step(x: jax.Array, inputs: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, None]:
    level, lower, key = inputs
    clean = denoise(x, level)
    new = eta * lower * jnp.sqrt(1 - (lower / level) ** 2)
    old = jnp.sqrt(lower**2 - new**2)
    noise = jax.random.normal(key, x.shape)
    return clean + old / level * (x - clean) + new * noise, None

  keys = jax.random.split(key, len(levels) - 1)
  levels = jnp.asarray(levels)
  x, _ = jax.lax.scan(step, x, (levels[:-1], levels[1:], keys))
  return x
