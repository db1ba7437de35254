"""Generator: what every family of this room offers."""

from collections.abc import Callable
from typing import Protocol

import jax
import numpy as np

from wsjax import typing

Metrics = dict[str, jax.Array]
Score = Callable[[np.ndarray], np.ndarray]


class Generator(Protocol):
  """A family of distributions over latents [T, D], trained in steps.

  What `make` of a plug-in of this room returns, unless it returns a `Fitted`.
  A family with a density also has `log_prob(params, x, condition=None)`:
  [b, T, D] -> [b] nats. Where that is the density of a differential equation, `trace`, `num_probes`
  and `key` say how its divergence is computed: see `likelihood`. A family that is drawn step by
  step takes `task_loss` and `task_scale` when it samples: see `guidance`.

  A family that can have a condition is made with `condition_size`.
  """

  def init(self, key: jax.Array, example: jax.Array) -> typing.PyTree:
    """Parameters for latents of the shape [T, D] of `example`."""

  def loss(
    self,
    params: typing.PyTree,
    batch: jax.Array,
    key: jax.Array,
    condition: jax.Array | None = None,
    *,
    train: bool = True,
  ) -> tuple[jax.Array, Metrics]:
    """Scalar loss of a batch [b, T, D], conditions [b, C], and metrics.

    With `train` False nothing is dropped out.
    """

  def sample(
    self,
    params: typing.PyTree,
    key: jax.Array,
    num: int,
    *,
    shape: tuple[int, int],
    condition: jax.Array | None = None,
  ) -> jax.Array:
    """`num` samples [num, T, D] of shape (T, D), conditions [num, C]."""


class Fitted(Protocol):
  """A family that is fitted to all latents at once, without steps.

  It has `fit` where a `Generator` has `init` and `loss`; `sample` and `log_prob` are the same.

  One that chooses among networks has `NEEDS_SCORE = True`, and its `fit` takes one more keyword:
  `score`, which maps latents [n, T, D] to the accuracies
  [n] of their networks on validation images. What it draws is selected, so it has `num_scored`, the
  number of networks it looked at, for the report.
  """

  def fit(
    self, latents: np.ndarray, key: jax.Array, condition: np.ndarray | None = None
  ) -> typing.PyTree:
    """Arrays that are all that sampling needs.

    Args:
      latents: [N, T, D] of the training networks, on the host.
      key: of whatever is random in the fit.
      condition: [N, C], or None.

    Raises:
      ValueError: if the family takes no condition and one is given, or the latents are too few for
        it.
    """

  def sample(
    self,
    params: typing.PyTree,
    key: jax.Array,
    num: int,
    *,
    shape: tuple[int, int],
    condition: jax.Array | None = None,
  ) -> jax.Array:
    """`num` samples [num, T, D] of shape (T, D), conditions [num, C]."""


def check(
  name: str, fitted: tuple[int, ...], asked: tuple[int, ...], condition: typing.Array | None
) -> None:
  """Raises ValueError unless an unconditional family can do what is asked.

  Args:
    name: of the family.
    fitted: shape (T, D) of the latents that it was fitted to.
    asked: shape (T, D) wanted of it.
    condition: must be None.
  """
  if tuple(fitted) != tuple(asked):
    raise ValueError(
      f'{name} was fitted to latents of shape {tuple(fitted)}, not of {tuple(asked)}.'
    )
  if condition is not None:
    raise ValueError(f'{name} is unconditional; got a condition of shape {condition.shape}.')
