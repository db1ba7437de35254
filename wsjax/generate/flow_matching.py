"""Flow matching: a velocity field that carries noise to weights.

Source: Lipman et al. 2023, arXiv:2210.02747, with the straight paths of its
section 4.1 (optimal transport between two points).
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
from wsjax.generate import generator, samplers


@dataclasses.dataclass(frozen=True)
class FlowMatching:
  """Generator by a velocity field.

  Attributes:
    backbone: predicts the velocity at (x, t).
    source_std: of the noise at t = 0.
    source_draws: size of the fixed set that training draws its noise from;
      0 draws fresh noise.
    path_std: of noise around the straight path.
    solver: key of `samplers.SOLVERS`.
    num_steps: of the solver.
  """

  backbone: nn.Module
  source_std: float
  source_draws: int
  path_std: float
  solver: str
  num_steps: int

  def init(self, key: jax.Array, example: jax.Array) -> typing.PyTree:
    """Parameters of the velocity field."""
    return self.backbone.init(key, example, jnp.float32(0))['params']

  def loss(
    self,
    params: typing.PyTree,
    batch: jax.Array,
    key: jax.Array,
    condition: jax.Array | None = None,
    *,
    train: bool = True,
  ) -> tuple[jax.Array, generator.Metrics]:
    """Mean squared error of the velocity x1 - x0 (paper, equation 23)."""
    source_key, time_key, path_key, drop_key = jax.random.split(key, 4)
    source = self._source(source_key, batch.shape)
    t = jax.random.uniform(time_key, (len(batch), 1, 1))
    x = (1 - t) * source + t * batch
    x += self.path_std * jax.random.normal(path_key, batch.shape)
    velocity = self._velocity(
      params, x, t[:, 0, 0], condition, jax.random.split(drop_key, len(batch))
      if train else None,
    )  # fmt: skip
    return jnp.mean((velocity - (batch - source)) ** 2), {}

  @functools.partial(jax.jit, static_argnames=('self', 'num', 'shape'))
  def sample(
    self,
    params: typing.PyTree,
    key: jax.Array,
    num: int,
    *,
    shape: tuple[int, int],
    condition: jax.Array | None = None,
  ) -> jax.Array:
    """[num, T, D]: noise carried along the field from t = 0 to t = 1."""
    noise = self.source_std * jax.random.normal(key, (num, *shape))

    def field(x, t):
      times = jnp.full(num, t)
      return self._velocity(params, x, times, condition, None)

    return samplers.integrate(
      field, noise, solver=self.solver, num_steps=self.num_steps
    )

  def _source(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    if not self.source_draws:
      return self.source_std * jax.random.normal(key, shape)
    # The fixed set is a function of the index, so it needs no state.
    indices = jax.random.randint(key, shape[:1], 0, self.source_draws)
    set_key = jax.random.key(0)

    def draw(index):
      return jax.random.normal(jax.random.fold_in(set_key, index), shape[1:])

    return self.source_std * jax.vmap(draw)(indices)

  def _velocity(
    self,
    params: typing.PyTree,
    x: jax.Array,
    t: jax.Array,
    condition: jax.Array | None,
    keys: jax.Array | None,
  ) -> jax.Array:
    """[b, T, D] at x [b, T, D], t [b]; dropout by keys [b], or none."""

    def one(x, t, condition, key):
      return self.backbone.apply(
        {'params': params},
        x,
        t,
        condition,
        train=key is not None,
        rngs=None if key is None else {'dropout': key},
      )

    return jax.vmap(one)(x, t, condition, keys)


def make(
  backbone: Mapping[str, Any],
  source_std: float = 1.0,
  source_draws: int = 0,
  path_std: float = 0.0,
  solver: str = 'heun',
  num_steps: int = 50,
) -> FlowMatching:
  """Flow matching.

  Args:
    backbone: config section of a plug-in of `generate.backbones`.
    source_std: of the noise at t = 0.
    source_draws: size of the fixed set that training draws its noise from;
      0 draws fresh noise.
    path_std: of noise around the straight path.
    solver: key of `samplers.SOLVERS`.
    num_steps: of the solver.

  Raises:
    ValueError: if the backbone or the solver is unknown.
  """
  samplers.check(solver, num_steps)
  return FlowMatching(
    backbone=config_lib.build('generate.backbones', backbone),
    source_std=source_std,
    source_draws=source_draws,
    path_std=path_std,
    solver=solver,
    num_steps=num_steps,
  )
