"""A number with its uncertainty: mean and standard deviation of a normal.

The mean is trained by squared error, and the deviation by the likelihood given that mean, so that a
network that is hard to read does not count less. The deviation reads the embedding without shaping
it: an encoder that may learn how wrong it was on each training network learns them by heart.

Source: Nix and Weigend 1994, ICNN (a variance as a second output); Seitzer et al. 2022,
arXiv:2203.09168 (why the likelihood alone learns worse means).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

# Standard deviations between these, in units of the target's own.
_LOG_STD = (-5.0, 2.0)


class Regressor(nn.Module):
  """Mean and log standard deviation of one network's property."""

  @nn.compact
  def __call__(self, embedding: jax.Array) -> jax.Array:
    """[d] -> (mean, log standard deviation) [2]."""
    mean = nn.Dense(1, name='mean')(embedding)
    fixed = jax.lax.stop_gradient(embedding)
    log_std = nn.Dense(1, name='log_std')(fixed)
    return jnp.concatenate([mean, jnp.clip(log_std, *_LOG_STD)])

  def loss(self, outputs: jax.Array, target: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Squared error plus negative log likelihood of [b, 2] and targets [b]."""
    mean, log_std = outputs.T
    error = target - mean
    z = jax.lax.stop_gradient(error) * jnp.exp(-log_std)
    likelihood = jnp.mean(0.5 * z**2 + log_std)
    return jnp.mean(error**2) + likelihood, {'mse': jnp.mean(error**2)}


def make(num_outputs: int) -> Regressor:
  """The head for one number.

  Raises:
    ValueError: if there are more.
  """
  if num_outputs != 1:
    raise ValueError(
      f'The regressor reads one number; the target has {num_outputs} classes: use the classifier.'
    )
  return Regressor()
