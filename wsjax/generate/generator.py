"""Generator: what every family of this room offers."""

from typing import Protocol

import jax

from wsjax import typing

Metrics = dict[str, jax.Array]


class Generator(Protocol):
  """A family of distributions over latents [T, D].

  What `make` of a plug-in of this room returns. A family with a density also
  has `log_prob(params, x, condition=None)`: [b, T, D] -> [b] nats. Where that
  is the density of a differential equation, `trace`, `num_probes` and `key`
  say how its divergence is computed: see `likelihood`. A family that is drawn
  step by step takes `task_loss` and `task_scale` when it samples: see
  `guidance`.

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
