"""Diffusion: a denoiser whose inputs and outputs have unit variance.

Source: Karras et al. 2022, arXiv:2206.00364 (EDM); equation numbers below.
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
from wsjax.generate import generator, samplers, schedules


@dataclasses.dataclass(frozen=True)
class Diffusion:
  """Generator by denoising.

  Attributes:
    backbone: predicts the scaled residual of the denoiser.
    schedule: noise levels of the sampler.
    data_std: standard deviation of the tokens.
    log_sigma_mean: of the logarithm of the noise level while training.
    log_sigma_std: the same, standard deviation.
    solver: key of `samplers.SOLVERS`.
    num_steps: of the solver, plus one last step to no noise.
    condition_size: features of the condition; 0 = unconditional.
  """

  backbone: nn.Module
  schedule: schedules.Karras
  data_std: float
  log_sigma_mean: float
  log_sigma_std: float
  solver: str
  num_steps: int
  condition_size: int

  def init(self, key: jax.Array, example: typing.Array) -> typing.PyTree:
    """Parameters for tokens of the shape of `example`, [T, D]."""
    given = jnp.zeros(self.condition_size) if self.condition_size else None
    x = jnp.asarray(example)
    return self.backbone.init(key, x, jnp.float32(0), given)['params']

  def loss(
    self,
    params: typing.PyTree,
    batch: typing.Array,
    key: jax.Array,
    condition: typing.Array | None = None,
    *,
    train: bool = True,
  ) -> tuple[jax.Array, generator.Metrics]:
    """Squared error of the backbone, the weighted denoising loss (eq. 8).

    Args:
      params: from `init`.
      batch: [B, T, D] tokens.
      key: of noise, noise levels and dropout.
      condition: [B, C], or None.
      train: whether to drop out.

    Returns:
      The mean, about 1 for a backbone that outputs 0; no metrics.
    """
    level_key, noise_key, drop_key = jax.random.split(key, 3)
    num = len(batch)
    log_sigma = self.log_sigma_mean + self.log_sigma_std * jax.random.normal(
      level_key, (num, 1, 1)
    )
    sigma = jnp.exp(log_sigma)
    noisy = batch + sigma * jax.random.normal(noise_key, batch.shape)
    keys = jax.random.split(drop_key, num) if train else None
    c_skip, c_out, _ = self._scales(sigma)
    residual = self._residual(params, noisy, sigma, condition, keys)
    # The weight of eq. 8 cancels c_out: see its appendix B.6.
    return jnp.mean((residual - (batch - c_skip * noisy) / c_out) ** 2), {}

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
    """Draws tokens by the probability-flow equation (eq. 1, algorithm 1).

    Args:
      params: from `init`.
      key: of the noise.
      num: how many.
      shape: (T, D).
      condition: [num, C], or None.

    Returns:
      [num, T, D] tokens.
    """

    def denoise(x: jax.Array, sigma: jax.Array) -> jax.Array:
      sigma = jnp.full((num, 1, 1), sigma)
      c_skip, c_out, _ = self._scales(sigma)
      return c_skip * x + c_out * (
        self._residual(params, x, sigma, condition, None)
      )

    levels = self.schedule.levels(self.num_steps + 1)
    x = levels[0] * jax.random.normal(key, (num, *shape))
    x = samplers.along(
      lambda x, sigma: (x - denoise(x, sigma)) / sigma,
      x,
      levels,
      solver=self.solver,
    )
    # An Euler step from the last level to no noise ends at the denoised.
    return denoise(x, levels[-1])

  def _scales(self, sigma: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """c_skip, c_out and c_in (table 1)."""
    total = sigma**2 + self.data_std**2
    return (
      self.data_std**2 / total,
      sigma * self.data_std / jnp.sqrt(total),
      1 / jnp.sqrt(total),
    )

  def _residual(
    self,
    params: typing.PyTree,
    x: jax.Array,
    sigma: jax.Array,
    condition: jax.Array | None,
    keys: jax.Array | None,
  ) -> jax.Array:
    """F of eq. 7 at x [B, T, D], sigma [B, 1, 1]; dropout by keys, or none."""
    _, _, c_in = self._scales(sigma)
    # Noise levels of the schedule map to t in [0, 1], as backbones want it.
    t = jnp.clip(self.schedule.time(sigma[:, 0, 0]), 0, 1)

    def one(
      x: jax.Array,
      t: jax.Array,
      condition: jax.Array | None,
      key: jax.Array | None,
    ) -> jax.Array:
      return self.backbone.apply(
        {'params': params},
        x,
        t,
        condition,
        train=key is not None,
        rngs=None if key is None else {'dropout': key},
      )

    return jax.vmap(one)(c_in * x, t, condition, keys)


def make(
  backbone: Mapping[str, Any],
  data_std: float = 1.0,
  sigma_min: float = 0.002,
  sigma_max: float = 80.0,
  rho: float = 7.0,
  log_sigma_mean: float = -1.2,
  log_sigma_std: float = 1.2,
  solver: str = 'heun',
  num_steps: int = 32,
  condition_size: int = 0,
) -> Diffusion:
  """Diffusion with the settings of EDM.

  Args:
    backbone: config section of a plug-in of `generate.backbones`.
    data_std: standard deviation of the tokens.
    sigma_min: smallest noise level of the sampler, units of the tokens.
    sigma_max: largest noise level of the sampler.
    rho: how strongly the levels crowd at the low end.
    log_sigma_mean: of the logarithm of the noise level while training.
    log_sigma_std: the same, standard deviation.
    solver: key of `samplers.SOLVERS`.
    num_steps: of the solver, plus one last step to no noise.
    condition_size: features of the condition; 0 = unconditional.

  Raises:
    ValueError: if the backbone or the solver is unknown, the noise levels are
      out of order, or `data_std` <= 0.
  """
  samplers.check(solver, num_steps)
  if data_std <= 0:
    raise ValueError(f'data_std is {data_std}, not > 0.')
  return Diffusion(
    backbone=config_lib.build('generate.backbones', backbone),
    schedule=schedules.Karras(sigma_min, sigma_max, rho),
    data_std=data_std,
    log_sigma_mean=log_sigma_mean,
    log_sigma_std=log_sigma_std,
    solver=solver,
    num_steps=num_steps,
    condition_size=condition_size,
  )
