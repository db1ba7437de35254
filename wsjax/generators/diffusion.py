"""Diffusion: a denoiser whose inputs and outputs have unit variance.

Source: Karras et al. 2022, arXiv:2206.00364 (EDM); equation numbers below.
"""

import dataclasses
import functools
from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import config
from wsjax.generators import backbones
from wsjax.generators.generator import Condition, Latents, LogDensity, Metrics, Params, Shape
from wsjax.generators.parts import denoising, likelihood, ode, schedules
from wsjax.generators.parts import guidance as guidance_lib


@dataclasses.dataclass(frozen=True)
class Diffusion(config.Section):
  """Generator by denoising, with the settings of EDM.

  Attributes:
    backbone: predicts the scaled residual of the denoiser.
    data_std: standard deviation of the latents.
    sigma_min: smallest noise level of the sampler, in units of the latents.
    sigma_max: largest noise level of the sampler.
    rho: how strongly the levels crowd at the low end.
    log_sigma_mean: mean of the logarithm of the noise level in training.
    log_sigma_std: its standard deviation.
    solver: key of `ode.SOLVERS` or of `denoising.ETAS`.
    num_steps: of the solver, plus one last step to no noise.
    condition_size: features of the condition; 0 is unconditional.
    drop_condition: share of the training examples without their condition.
    guidance: weight of the condition in sampling; 1 is that of training.
  """

  backbone: backbones.Backbone
  data_std: config.PositiveFloat = 1.0
  sigma_min: config.PositiveFloat = 0.002
  sigma_max: config.PositiveFloat = 80.0
  rho: config.PositiveFloat = 7.0
  log_sigma_mean: float = -1.2
  log_sigma_std: config.NonNegativeFloat = 1.2
  solver: Annotated[str, config.OneOf((*ode.SOLVERS, *denoising.ETAS))] = 'heun'
  num_steps: config.PositiveInt = 32
  condition_size: config.NonNegativeInt = 0
  drop_condition: config.Share = 0.0
  guidance: float = 1.0

  def __post_init__(self):
    super().__post_init__()
    _ = self.field, self.schedule  # Checks the condition and the order of the levels.

  @property
  def field(self) -> guidance_lib.ConditionalField:
    """The scaled residual at (x, t)."""
    return guidance_lib.ConditionalField(
      self.backbone, self.condition_size, self.drop_condition, self.guidance
    )

  @property
  def schedule(self) -> schedules.Karras:
    """Noise levels of the sampler."""
    return schedules.Karras(self.sigma_min, self.sigma_max, self.rho)

  def init(self, key: jax.Array, example: Float[Array, 't d']) -> Params:
    """Draws parameters of the backbone."""
    return self.field.init(key, example)

  def loss(
    self, params: Params, batch: Latents, key: jax.Array, condition: Condition = None, *, train=True
  ) -> tuple[Float[Array, ''], Metrics]:
    """Computes the weighted denoising loss (eq. 8), about 1 for a backbone that outputs 0."""
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
    params: Params,
    key: jax.Array,
    num: int,
    *,
    shape: Shape,
    condition: Condition = None,
    task_loss: guidance_lib.TaskLoss | None = None,
    task_scale: float = 0.0,
  ) -> Latents:
    """Denoises by the probability-flow equation (eq. 1, algorithm 1) or the steps of `denoising`.

    With a task loss of clean latents [T, D], its gradient times `task_scale` is subtracted from the
    score: to first order samples are weighted by exp(-task_scale x task_loss). Every loss function
    is compiled for.
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
    params: Params,
    x: Latents,
    condition: Condition = None,
    *,
    trace: str = 'exact',
    num_probes: int = 1,
    key: jax.Array | None = None,
  ) -> LogDensity:
    """Computes the density of the probability-flow equation at the smallest noise level.

    It is exact up to the error of `num_steps` steps of a solver. `sample` denoises once more, and
    'ancestral' follows another process, of equal density where the denoiser is exact.
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
    """Converts noise levels to the time t in [0, 1] of backbones."""
    return jnp.clip(self.schedule.time(sigma), 0, 1)

  def _denoise(
    self,
    params: Params,
    x: Float[Array, 't d'],
    sigma: jax.Array,
    condition: Float[Array, ' c'] | None,
  ) -> Float[Array, 't d']:
    """Denoises x (eq. 7).

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
