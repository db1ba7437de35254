"""Flow matching: a velocity field that carries noise to weights.

Source: Lipman et al. 2023, arXiv:2210.02747, with the straight paths of its section 4.1 (optimal
transport between two points).
"""

import dataclasses
import functools
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from wsjax import config
from wsjax.generators import backbones
from wsjax.generators.generator import Condition, Latents, LogDensity, Metrics, Params, Shape
from wsjax.generators.parts import guidance as guidance_lib
from wsjax.generators.parts import likelihood, ode, transport

COUPLINGS = ('independent', 'transport')


@dataclasses.dataclass(frozen=True)
class FlowMatching(config.Section):
  """Generator by a velocity field.

  Attributes:
    backbone: predicts the velocity.
    source_std: standard deviation of the noise at t = 0.
    source_draws: size of the fixed set that training draws its noise from; 0 draws fresh noise.
    path_std: standard deviation of the noise around the straight path.
    solver: key of `ode.SOLVERS`.
    num_steps: of the solver.
    condition_size: features of the condition; 0 is unconditional.
    drop_condition: share of the training examples without their condition.
    guidance: weight of the condition in sampling; 1 is that of training.
    coupling: of noise and networks in a batch: 'independent', or 'transport', the pairs of least
      squared distance (see `transport`), for unconditional models.
  """

  backbone: backbones.Backbone
  source_std: config.PositiveFloat = 1.0
  source_draws: config.NonNegativeInt = 0
  path_std: config.NonNegativeFloat = 0.0
  solver: Annotated[str, config.OneOf(ode.SOLVERS)] = 'heun'
  num_steps: config.PositiveInt = 50
  condition_size: config.NonNegativeInt = 0
  drop_condition: config.Share = 0.0
  guidance: float = 1.0
  coupling: Annotated[str, config.OneOf(COUPLINGS)] = 'independent'

  def __post_init__(self):
    super().__post_init__()
    if self.coupling == 'transport' and self.condition_size:
      raise ValueError(
        "coupling 'transport' does not see conditions: the noise of one condition would not be "
        'Gaussian in training, as it is in sampling.'
      )
    _ = self.field  # Checks the condition.

  @property
  def field(self) -> guidance_lib.ConditionalField:
    """The velocity at (x, t)."""
    return guidance_lib.ConditionalField(
      self.backbone, self.condition_size, self.drop_condition, self.guidance
    )

  def init(self, key: jax.Array, example: Float[Array, 't d']) -> Params:
    """Draws parameters of the backbone."""
    return self.field.init(key, example)

  def loss(
    self, params: Params, batch: Latents, key: jax.Array, condition: Condition = None, *, train=True
  ) -> tuple[Float[Array, ''], Metrics]:
    """Computes the mean squared error of the velocity x1 - x0 (equation 23)."""
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
    params: Params,
    key: jax.Array,
    num: int,
    *,
    shape: Shape,
    condition: Condition = None,
    task_loss: guidance_lib.TaskLoss | None = None,
    task_scale: float = 0.0,
  ) -> Latents:
    """Carries noise along the field from t = 0 to t = 1.

    With a task loss of clean latents [T, D], its gradient times `task_scale` is subtracted from the
    velocity; every loss function is compiled for.
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
    params: Params,
    x: Latents,
    condition: Condition = None,
    *,
    trace: str = 'exact',
    num_probes: int = 1,
    key: jax.Array | None = None,
  ) -> LogDensity:
    """Computes the density of `sample`, up to the error of `num_steps` steps of a solver.

    A model that was trained on a fixed set of noise (`source_draws`) has learned the field of a
    source of as many points, which has no density; this is the density with Gaussian noise.
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
