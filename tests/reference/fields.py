"""Backbones that are right by arithmetic, so that samplers can be judged."""

import flax.linen as nn
import jax.numpy as jnp


class Velocity(nn.Module):
  """Of the straight paths from N(0, I) to N(mean, std^2), exactly.

  At time t, x is Gaussian with mean t mean and variance
  (1 - t)^2 + t^2 std^2; the velocity is the expected x1 - x0 given x.

  Attributes:
    mean: [T][D] nested tuples.
    std: the same.
  """

  mean: tuple
  std: tuple

  @nn.compact
  def __call__(self, x, t, condition=None, *, train=False):
    del condition, train
    self.param('unused', nn.initializers.zeros, ())
    mean, std = jnp.asarray(self.mean), jnp.asarray(self.std)
    variance = (1 - t) ** 2 + t**2 * std**2
    return mean + (t * std**2 - (1 - t)) / variance * (x - t * mean)


class Linear(nn.Module):
  """The field a x + c (sum of the features of the condition) + b.

  Its parameters are `a`, `b` and `c`, scalars.
  """

  @nn.compact
  def __call__(self, x, t, condition=None, *, train=False):
    del t, train
    a, b, c = (self.param(name, nn.initializers.zeros, ()) for name in ('a', 'b', 'c'))
    given = 0.0 if condition is None else jnp.sum(condition)
    return a * x + b + c * given


class Residual(nn.Module):
  """That makes EDM's denoiser exact for data N(mean, data_std^2).

  Attributes:
    mean: of every coordinate.
    data_std: as the model has it.
    sigma: of a time, the model's schedule.
  """

  mean: float
  data_std: float
  sigma: object

  @nn.compact
  def __call__(self, x, t, condition=None, *, train=False):
    del condition, train
    self.param('unused', nn.initializers.zeros, ())
    # D - c_skip x = mean sigma^2 / (sigma^2 + data_std^2) = c_out F.
    sigma = self.sigma(t)
    total = sigma**2 + self.data_std**2
    return jnp.full_like(x, self.mean * sigma / (self.data_std * jnp.sqrt(total)))
