"""Contracts of generators: families trained in steps, and families fitted at once."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import jax
import numpy as np
from jaxtyping import Array, Float

from wsjax import typing

Params: TypeAlias = typing.PyTree
Shape: TypeAlias = tuple[int, int]  # (T, D) of the latents of one network.
Latents: TypeAlias = Float[Array, 'n t d']
Condition: TypeAlias = Float[Array, 'n c'] | None
LogDensity: TypeAlias = Float[Array, ' n']
Metrics: TypeAlias = dict[str, jax.Array]
Score: TypeAlias = Callable[[np.ndarray], np.ndarray]


class Sampler(Protocol):
  """A distribution over latents [T, D] that can be drawn from.

  A family with a density also has `log_prob(params, x, condition=None)`, which gives nats per
  network in the units of the latents. Where that is the density of a differential equation, it
  takes `trace`, `num_probes` and `key`: see `parts.ode`. A family that is sampled step by step
  takes `task_loss` and `task_scale` in `sample`: see `parts.guidance`. A family that can have a
  condition has a field `condition_size`.
  """

  def sample(
    self, params: Params, key: jax.Array, num: int, *, shape: Shape, condition: Condition = None
  ) -> Latents:
    """Draws `num` latents of a shape (T, D), each given its condition.

    Args:
      params: from `init` and training, or from `fit`.
      key: of the noise.
      num: number of samples.
      shape: (T, D) of the latents.
      condition: one per sample; None is unconditional.
    """
    ...


class Generator(Sampler, Protocol):
  """A family that is trained in steps.

  A family whose samples can be marked, see `wsjax.governance.watermark`, has three more things.
  `noise_parts(shape)` gives the numbers of standard normal draws behind a sample, in independent
  parts; `sample` takes `noise` [num, k], all of them, in place of the key; and `recover(params,
  latents, start, error)` estimates noise [n, k] from latents [n, T, D] that were changed since by
  errors of deviation `error`, starting from an estimate [n, s] of the first part, and gives with it
  an objective [n], lower for a better explanation.
  """

  def init(self, key: jax.Array, example: Float[Array, 't d']) -> Params:
    """Draws parameters for latents with the shape of `example`."""
    ...

  def loss(
    self,
    params: Params,
    batch: Latents,
    key: jax.Array,
    condition: Condition = None,
    *,
    train: bool = True,
  ) -> tuple[Float[Array, ''], Metrics]:
    """Computes the mean loss of a batch, and scalar metrics.

    Args:
      params: from `init`.
      batch: latents of networks.
      key: of everything random in the loss.
      condition: one per network; None is unconditional.
      train: False drops no units and no conditions, and adds no noise for regularization.
    """
    ...


class Fitted(Sampler, Protocol):
  """A family that is fitted to all latents at once.

  A family that selects networks has `NEEDS_SCORE = True`, and its `fit` takes one more keyword:
  `score`, which maps latents [n, T, D] to the accuracies [n] of their networks on validation
  images. It also has `num_scored`, the number of networks that it looked at, for the report.
  """

  def fit(self, latents: np.ndarray, key: jax.Array, condition: np.ndarray | None = None) -> Params:
    """Fits the family and returns all that sampling needs.

    Args:
      latents: [N, T, D] of the training networks, on the host.
      key: of everything random in the fit.
      condition: [N, C], or None.

    Raises:
      ValueError: if the family takes no condition and one is given, or the latents are too few.
    """
    ...


def check(name: str, fitted: Shape, asked: Shape, condition: Condition) -> None:
  """Raises ValueError unless an unconditional family was fitted to latents of the shape asked."""
  if tuple(fitted) != tuple(asked):
    raise ValueError(
      f'{name} was fitted to latents of shape {tuple(fitted)}, not of {tuple(asked)}.'
    )
  if condition is not None:
    raise ValueError(f'{name} is unconditional; got a condition of shape {condition.shape}.')
