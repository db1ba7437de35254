"""Flow matching: a velocity field that carries noise to weights.

Source: Lipman et al. 2023, arXiv:2210.02747, with the straight paths of its section 4.1 (optimal
transport between two points).
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import config as config_lib
from wsjax import typing
from wsjax.generators import generator
from wsjax.generators.parts import guidance as guidance_lib
from wsjax.generators.parts import likelihood, ode, transport

COUPLINGS = ('independent', 'transport')


@dataclasses.dataclass(frozen=True)
class FlowMatching:
  """Generator by a velocity field.

  Attributes:
    field: predicts the velocity at (x, t).
    source_std: of the noise at t = 0.
    source_draws: size of the fixed set that training draws its noise from; 0 draws fresh noise.
    path_std: of noise around the straight path.
    solver: key of `samplers.SOLVERS`.
    num_steps: of the solver.
    coupling: of noise and networks in a batch, from `COUPLINGS`.
  """

  field: guidance_lib.ConditionalField
  source_std: float
  source_draws: int
  path_std: float
  solver: str
  num_steps: int
  coupling: str

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
    """Mean squared error of the velocity x1 - x0 (paper, equation 23).

    Args:
      params: from `init`.
      batch: [B, T, D] tokens.
      key: of noise, times and what is dropped.
      condition: [B, C], or None.
      train: whether conditions and hidden units are dropped.

    Returns:
      The mean; no metrics.
    """
    source_key, time_key, path_key, drop_key = jax.random.split(key, 4)
    source = self._source(source_key, batch.shape)
    if self.coupling == 'transport':
      source = transport.pair(source, jnp.asarray(batch))
    t = jax.random.uniform(time_key, (len(batch), 1, 1))
    x = (1 - t) * source + t * batch
    x += self.path_std * jax.random.normal(path_key, batch.shape)
    keys = jax.random.split(drop_key, len(batch)) if train else None
    one = functools.partial(self.field.train, params)
    velocity = jax.vmap(one)(x, t[:, 0, 0], condition, keys)
    return jnp.mean((velocity - (batch - source)) ** 2), {}

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
    """Noise carried along the field from t = 0 to t = 1.

    Args:
      params: from `init`.
      key: of the noise.
      num: how many.
      shape: (T, D).
      condition: [num, C]; None = unconditional.
      task_loss: of clean tokens [T, D] -> scalar, or None; each function is compiled for.
      task_scale: of its gradient, which is taken off the velocity.

    Returns:
      [num, T, D] tokens.
    """
    noise = self.source_std * jax.random.normal(key, (num, *shape))

    def field(x: jax.Array, t: jax.Array) -> jax.Array:
      one = functools.partial(self.field.sample, params)
      return jax.vmap(one, (0, None, 0))(x, t, condition)

    field = guidance_lib.guided_field(
      field,
      # A straight path goes on at its velocity.
      clean_estimate=lambda x, t, field=field: x + (1 - t) * field(x, t),
      task_loss=task_loss,
      scale=task_scale,
    )
    return ode.integrate(field, noise, solver=self.solver, num_steps=self.num_steps)

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
    """Log-density of tokens under the field, guidance included.

    The noise is taken to be Gaussian. That holds for `sample`, but a model that was trained on a
    fixed set (`source_draws`) has learned the field of a source of as many points, which has no
    density: what this returns is then the density of what `sample` draws, not of what was fitted.

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
    return likelihood.log_prob(
      functools.partial(self.field.sample, params),
      x,
      condition,
      times=np.linspace(1, 0, self.num_steps + 1, dtype=np.float32),
      noise_std=self.source_std,
      trace=trace,
      num_probes=num_probes,
      key=key,
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


def make(
  backbone: Mapping[str, Any],
  source_std: float = 1.0,
  source_draws: int = 0,
  path_std: float = 0.0,
  solver: str = 'heun',
  num_steps: int = 50,
  condition_size: int = 0,
  drop_condition: float = 0.0,
  guidance: float = 1.0,
  coupling: str = 'independent',
) -> FlowMatching:
  """Flow matching.

  Args:
    backbone: config section of a plug-in of `generators.backbones`.
    source_std: of the noise at t = 0.
    source_draws: size of the fixed set that training draws its noise from; 0 draws fresh noise.
    path_std: of noise around the straight path.
    solver: key of `samplers.SOLVERS`.
    num_steps: of the solver.
    condition_size: features of the condition; 0 = unconditional.
    drop_condition: share of the training examples without their condition.
    guidance: how much of the condition samples get; 1 = as trained.
    coupling: of noise and networks in a batch: 'independent', or 'transport', the pairs of least
      squared distance; see `transport`.

  Raises:
    ValueError: if the backbone, the solver or the coupling is unknown, there are conditions with
      'transport', or as `guidance.ConditionalField`.
  """
  if coupling not in COUPLINGS:
    raise ValueError(f'Unknown coupling {coupling!r}; allowed: {", ".join(COUPLINGS)}.')
  if coupling == 'transport' and condition_size:
    raise ValueError(
      "coupling='transport' does not see conditions: the noise of one "
      'condition would not be Gaussian in training, as it is when sampling.'
    )
  ode.check(solver, num_steps)
  return FlowMatching(
    field=guidance_lib.ConditionalField(
      config_lib.build('generators.backbones', backbone), condition_size, drop_condition, guidance
    ),
    source_std=source_std,
    source_draws=source_draws,
    path_std=path_std,
    solver=solver,
    num_steps=num_steps,
    coupling=coupling,
  )
