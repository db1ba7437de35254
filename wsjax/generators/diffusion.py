"""Diffusion: a denoiser whose inputs and outputs have unit variance.

Source: Karras et al. 2022, arXiv:2206.00364 (EDM); equation numbers below.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from wsjax import config as config_lib
from wsjax import typing
from wsjax.generators import generator
from wsjax.generators.parts import denoising, likelihood, ode, schedules
from wsjax.generators.parts import guidance as guidance_lib


@dataclasses.dataclass(frozen=True)
class Diffusion:
  """Generator by denoising.

  Attributes:
    field: predicts the scaled residual of the denoiser.
    schedule: noise levels of the sampler.
    data_std: standard deviation of the tokens.
    log_sigma_mean: of the logarithm of the noise level while training.
    log_sigma_std: the same, standard deviation.
    solver: key of `samplers.SOLVERS` or of `denoising.ETAS`.
    num_steps: of the solver, plus one last step to no noise.
  """

  field: guidance_lib.ConditionalField
  schedule: schedules.Karras
  data_std: float
  log_sigma_mean: float
  log_sigma_std: float
  solver: str
  num_steps: int

  def init(self, key: jax.Array, example: typing.Array) -> typing.PyTree:
    """Parameters for tokens of the shape of `example`, [T, D]."""
    return self.field.init(key, example)

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
      key: of noise, noise levels and what is dropped.
      condition: [B, C], or None.
      train: whether conditions and hidden units are dropped.

    Returns:
      The mean, about 1 for a backbone that outputs 0; no metrics.
    """
    level_key, noise_key, drop_key = jax.random.split(key, 3)
    num = len(batch)
    log_sigma = self.log_sigma_mean + self.log_sigma_std * jax.random.normal(level_key, (num, 1, 1))
    sigma = jnp.exp(log_sigma)
    noisy = batch + sigma * jax.random.normal(noise_key, batch.shape)
    keys = jax.random.split(drop_key, num) if train else None
    c_skip, c_out, c_in = self._scales(sigma)
    one = functools.partial(self.field.train, params)
    times = self._time(sigma[:, 0, 0])
    residual = jax.vmap(one)(c_in * noisy, times, condition, keys)
    # The weight of eq. 8 cancels c_out: see its appendix B.6.
    return jnp.mean((residual - (batch - c_skip * noisy) / c_out) ** 2), {}

  @functools.partial(jax.jit, static_argnames=('self', 'num', 'shape', 'task_loss', 'task_scale'))
  def sample(
    self,
    params: typing.PyTree,
    key: jax.Array,
    num: int,
    *,
    shape: tuple[int, int],
    condition: typing.Array | None = None,
    task_loss: guidance_lib.TaskLoss | None = None,
    task_scale: float = 0.0,
  ) -> jax.Array:
    """Draws tokens along the noise levels.

    By the probability-flow equation (eq. 1, algorithm 1), or by the steps of `denoising`, of which
    'ancestral' draws noise anew in each.

    Args:
      params: from `init`.
      key: of the noise.
      num: how many.
      shape: (T, D).
      condition: [num, C]; None = unconditional.
      task_loss: of clean tokens [T, D] -> scalar, or None; each function is compiled for.
      task_scale: of its gradient, which is taken off the score: to first order samples are weighted
        by exp(-task_scale x task_loss).

    Returns:
      [num, T, D] tokens.
    """

    def denoise(x: jax.Array, sigma: jax.Array) -> jax.Array:
      one = functools.partial(self._denoise, params)
      return jax.vmap(one, (0, None, 0))(x, sigma, condition)

    denoise = _steered(denoise, task_loss, task_scale)
    levels = self.schedule.levels(self.num_steps + 1)
    if self.solver in denoising.ETAS:
      key, steps_key = jax.random.split(key)
    x = levels[0] * jax.random.normal(key, (num, *shape))
    if self.solver in denoising.ETAS:
      eta = denoising.ETAS[self.solver]
      x = denoising.along(denoise, x, levels, eta=eta, key=steps_key)
    else:
      x = ode.along(lambda x, sigma: (x - denoise(x, sigma)) / sigma, x, levels, solver=self.solver)
    # An Euler step from the last level to no noise ends at the denoised.
    return denoise(x, levels[-1])

  @functools.partial(jax.jit, static_argnames=('self', 'trace', 'num_probes'))
  def log_prob(
    self,
    params: typing.PyTree,
    x: typing.Array,
    condition: typing.Array | None = None,
    *,
    trace: str = 'exact',
    num_probes: int = 1,
    key: jax.Array | None = None,
  ) -> jax.Array:
    """Log-density of tokens under the probability-flow equation.

    It is the density at the smallest noise level, guidance included. `sample` denoises once more,
    and 'ancestral' follows another process, of the same density where the denoiser is exact.

    Args:
      params: from `init`.
      x: [B, T, D] tokens.
      condition: [B, C]; None = unconditional.
      trace: of the Jacobian, one of `likelihood.TRACES`.
      num_probes: of 'hutchinson'.
      key: of 'hutchinson'.

    Returns:
      [B] nats per network, with respect to the units of the tokens, up to the error of `num_steps`
      steps of `likelihood.SOLVER`.

    Raises:
      ValueError: as `likelihood.log_prob`.
    """

    def field(x: jax.Array, sigma: jax.Array, condition: jax.Array | None) -> jax.Array:
      return (x - self._denoise(params, x, sigma, condition)) / sigma

    return likelihood.log_prob(
      field,
      x,
      condition,
      times=self.schedule.levels(self.num_steps + 1)[::-1],
      noise_std=self.schedule.sigma_max,
      trace=trace,
      num_probes=num_probes,
      key=key,
    )

  def _scales(self, sigma: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """c_skip, c_out and c_in (table 1)."""
    total = sigma**2 + self.data_std**2
    return (self.data_std**2 / total, sigma * self.data_std / jnp.sqrt(total), 1 / jnp.sqrt(total))

  def _time(self, sigma: jax.Array) -> jax.Array:
    """Noise levels of the schedule as t in [0, 1], as backbones want it."""
    return jnp.clip(self.schedule.time(sigma), 0, 1)

  def _denoise(
    self, params: typing.PyTree, x: jax.Array, sigma: jax.Array, condition: jax.Array | None
  ) -> jax.Array:
    """[T, D] of eq. 7 at x [T, D], a noise level and a condition [C].

    Guidance on the residual is guidance on the denoised: no scale depends on the condition.
    """
    c_skip, c_out, c_in = self._scales(sigma)
    t = self._time(sigma)
    return c_skip * x + c_out * self.field.sample(params, c_in * x, t, condition)


def _steered(
  denoise: guidance_lib.Field, task_loss: guidance_lib.TaskLoss | None, scale: float
) -> guidance_lib.Field:
  """The denoiser whose score has the guidance of a task loss (eq. 3)."""
  if task_loss is None or scale == 0:
    return denoise
  score = guidance_lib.guided_field(
    lambda x, sigma: (denoise(x, sigma) - x) / sigma**2, denoise, task_loss, scale
  )
  return lambda x, sigma: x + sigma**2 * score(x, sigma)


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
  drop_condition: float = 0.0,
  guidance: float = 1.0,
) -> Diffusion:
  """Diffusion with the settings of EDM.

  Args:
    backbone: config section of a plug-in of `generators.backbones`.
    data_std: standard deviation of the tokens.
    sigma_min: smallest noise level of the sampler, units of the tokens.
    sigma_max: largest noise level of the sampler.
    rho: how strongly the levels crowd at the low end.
    log_sigma_mean: of the logarithm of the noise level while training.
    log_sigma_std: the same, standard deviation.
    solver: key of `samplers.SOLVERS` or of `denoising.ETAS`.
    num_steps: of the solver, plus one last step to no noise.
    condition_size: features of the condition; 0 = unconditional.
    drop_condition: share of the training examples without their condition.
    guidance: how much of the condition samples get; 1 = as trained.

  Raises:
    ValueError: if the backbone or the solver is unknown, the noise levels are out of order,
      `data_std` <= 0, or as `guidance.ConditionalField`.
  """
  ode.check(solver, num_steps, (*ode.SOLVERS, *denoising.ETAS))
  if data_std <= 0:
    raise ValueError(f'data_std is {data_std}, not > 0.')
  return Diffusion(
    field=guidance_lib.ConditionalField(
      config_lib.build('generators.backbones', backbone), condition_size, drop_condition, guidance
    ),
    schedule=schedules.Karras(sigma_min, sigma_max, rho),
    data_std=data_std,
    log_sigma_mean=log_sigma_mean,
    log_sigma_std=log_sigma_std,
    solver=solver,
    num_steps=num_steps,
  )
