"""Diffusion: a denoiser whose inputs and outputs have unit variance.

Source: Karras et al. 2022, arXiv:2206.00364 (EDM); equation numbers below.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from wsjax import config, typing
from wsjax.generators.generator import Condition, Latents, Metrics, Params
from wsjax.generators.parts import denoising, guidance, ode


@dataclasses.dataclass(frozen=True)
class Diffusion(guidance.FieldGenerator):
  """Generator by denoising, with the settings of EDM.

  Samples follow the probability-flow equation (eq. 1, algorithm 1), whose density `log_prob` gives
  at the smallest noise level, or the steps of `denoising`. Both end with one more denoising.
  'ancestral' follows another process, of equal density where the denoiser is exact. To first order
  a task loss weights samples by exp(-task_scale x task_loss).

  Attributes:
    backbone: predicts the scaled residual of the denoiser.
    condition_size: features of the condition; 0 is unconditional.
    drop_condition: share of the training examples without their condition.
    guidance: weight of the condition in sampling; 1 is that of training.
    data_std: standard deviation of the latents.
    sigma_min: smallest noise level of the sampler, in units of the latents.
    sigma_max: largest noise level of the sampler.
    rho: how strongly the levels crowd at the low end; 1 spaces them evenly.
    log_sigma_mean: mean of the logarithm of the noise level in training.
    log_sigma_std: its standard deviation.
    solver: key of `ode.SOLVERS` or of `denoising.ETAS`.
    num_steps: of the solver, plus one last step to no noise.
  """

  data_std: config.PositiveFloat = 1.0
  sigma_min: config.PositiveFloat = 0.002
  sigma_max: config.PositiveFloat = 80.0
  rho: config.PositiveFloat = 7.0
  log_sigma_mean: float = -1.2
  log_sigma_std: config.NonNegativeFloat = 1.2
  solver: Annotated[str, config.OneOf((*ode.SOLVERS, *denoising.ETAS))] = 'heun'
  num_steps: config.PositiveInt = 32

  def __post_init__(self):
    super().__post_init__()
    if self.sigma_min >= self.sigma_max:
      raise ValueError(f'sigma_min is {self.sigma_min}, not below sigma_max, {self.sigma_max}.')

  def sigma(self, t: typing.Array) -> typing.Array:
    """Noise level (standard deviation) at t in [0, 1] (eq. 5)."""
    low, high = self._ends()
    return (low + t * (high - low)) ** self.rho

  def time(self, sigma: typing.Array) -> typing.Array:
    """Inverse of `sigma`: t in [0, 1] of a noise level."""
    low, high = self._ends()
    return (sigma ** (1 / self.rho) - low) / (high - low)

  def levels(self) -> np.ndarray:
    """[num_steps + 1] noise levels of the sampler, from the largest to the smallest."""
    return self.sigma(np.linspace(1.0, 0.0, self.num_steps + 1)).astype(np.float32)

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
    predict = jax.vmap(self.train_field, (None, 0, 0, 0, 0))
    residual = predict(params, c_in * noisy, self._time(sigma[:, 0, 0]), condition, keys)
    # The weight of eq. 8 cancels c_out: see its appendix B.6.
    return jnp.mean((residual - (batch - c_skip * noisy) / c_out) ** 2), {}

  def _draw(
    self, field: guidance.Field, guide: Callable | None, key: jax.Array, shape: tuple[int, ...]
  ) -> Latents:
    denoise = _guided(field, guide) if guide else field
    levels = self.levels()
    if self.solver in denoising.ETAS:
      key, steps_key = jax.random.split(key)
    x = levels[0] * jax.random.normal(key, shape)
    if self.solver in denoising.ETAS:
      eta = denoising.ETAS[self.solver]
      x = denoising.along(denoise, x, levels, eta=eta, key=steps_key)
    else:
      x = ode.along(lambda x, sigma: (x - denoise(x, sigma)) / sigma, x, levels, solver=self.solver)
    # An Euler step from the last level to no noise ends at the denoised.
    return denoise(x, levels[-1])

  def _equation(self, field: Callable) -> tuple[Callable, np.ndarray, float]:
    def velocity(x: jax.Array, sigma: jax.Array, condition: guidance.Given) -> jax.Array:
      return (x - field(x, sigma, condition)) / sigma

    return velocity, self.levels()[::-1], self.sigma_max

  def _field(
    self, params: Params, x: guidance.Tokens, t: jax.Array, condition: guidance.Given
  ) -> guidance.Tokens:
    """Denoises x at the noise level t (eq. 7).

    Guidance on the residual is guidance on the denoised: no scale depends on the condition.
    """
    c_skip, c_out, c_in = self._scales(t)
    return c_skip * x + c_out * self.sample_field(params, c_in * x, self._time(t), condition)

  def _ends(self) -> tuple[float, float]:
    return self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)

  def _scales(self, sigma: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """c_skip, c_out and c_in (table 1)."""
    total = sigma**2 + self.data_std**2
    return (self.data_std**2 / total, sigma * self.data_std / jnp.sqrt(total), 1 / jnp.sqrt(total))

  def _time(self, sigma: jax.Array) -> jax.Array:
    """Converts noise levels to the time t in [0, 1] of backbones."""
    return jnp.clip(self.time(sigma), 0, 1)


def _guided(denoise: guidance.Field, guide: Callable) -> guidance.Field:
  """The denoiser whose score is guided (eq. 3)."""
  score = guide(lambda x, sigma: (denoise(x, sigma) - x) / sigma**2, denoise)
  return lambda x, sigma: x + sigma**2 * score(x, sigma)
