"""Regression of a number with its uncertainty: mean and standard deviation of a normal.

The mean is trained by squared error, and the deviation by the likelihood given that mean. No
gradient of the deviation goes to the encoder, which would memorize its errors on training networks.

Source: Nix and Weigend 1994, ICNN (a variance as a second output); Seitzer et al. 2022,
arXiv:2203.09168 (why the likelihood alone learns worse means).
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import config

# Bounds of the log standard deviation, in units of the target's own.
_LOG_STD = (-5.0, 2.0)


class Regressor(config.Section, nn.Module):
  """Mean and log standard deviation of one number, a property of a network."""

  num_outputs: Literal[1] = 1

  @nn.compact
  def __call__(self, embedding: Float[Array, ' d']) -> Float[Array, '2']:
    """Mean and log standard deviation of an embedding."""
    mean = nn.Dense(1, name='mean')(embedding)
    fixed = jax.lax.stop_gradient(embedding)
    log_std = nn.Dense(1, name='log_std')(fixed)
    return jnp.concatenate([mean, jnp.clip(log_std, *_LOG_STD)])

  def loss(
    self, outputs: Float[Array, 'b 2'], target: Float[Array, ' b']
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Mean squared error plus negative log likelihood, and the former alone."""
    mean, log_std = outputs.T
    error = target - mean
    z = jax.lax.stop_gradient(error) * jnp.exp(-log_std)
    likelihood = jnp.mean(0.5 * z**2 + log_std)
    return jnp.mean(error**2) + likelihood, {'mse': jnp.mean(error**2)}
