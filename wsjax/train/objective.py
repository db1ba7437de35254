"""Objective: the interface between an experiment and the training loop."""

from collections.abc import Callable
from typing import Any, Protocol

import jax
from jaxtyping import Array, Float

from wsjax import typing

Metrics = dict[str, jax.Array]


class Objective(Protocol):
  """Loss that `loop.fit` minimizes over the parameters that `init` returns.

  Subclass it to inherit the defaults.

  Attributes:
    microbatch: examples whose gradients are computed together on CPU, so that activations stay in
      its cache; 0 computes those of the whole batch together.
    val_draws: noise draws that the validation loss is averaged over; 1 if it has no noise.
    min_diversity: training fails when `diversity` falls below this; 0 never computes it.
  """

  microbatch: int = 0
  val_draws: int = 4
  min_diversity: float = 0.0

  def init(self, key: jax.Array, example: typing.PyTree) -> typing.PyTree:
    """Parameters before training, for examples with the shapes of `example`."""
    ...

  def loss(
    self, params: typing.PyTree, batch: typing.PyTree, key: jax.Array, *, train: bool = True
  ) -> tuple[Float[Array, ''], Metrics]:
    """Mean loss over a batch of examples [b, ...], and scalar metrics.

    Args:
      params: parameters, from `init`.
      batch: examples with a leading axis.
      key: randomness of this step.
      train: False computes the validation loss, without dropout and augmentation.
    """
    ...

  def split(self) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
    """Two losses like `loss`: that of examples, and that of no example, or None."""
    return self.loss, None

  def diversity(
    self, params: typing.PyTree, batch: typing.PyTree, key: jax.Array
  ) -> Float[Array, '']:
    """Spread of samples relative to that of a batch of training examples; needed if checked."""
    raise NotImplementedError
