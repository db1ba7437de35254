"""Flow matching: a velocity field that carries noise to weights.

Source: Lipman et al. 2023, arXiv:2210.02747, with the straight paths of its section 4.1 (optimal
transport between two points).
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from wsjax import config, typing
from wsjax.generators.generator import Condition, Latents, Metrics, Params
from wsjax.generators.parts import guidance, ode

COUPLINGS = ('independent', 'transport')


@dataclasses.dataclass(frozen=True)
class FlowMatching(guidance.FieldGenerator):
  """Generator by a velocity field.

  `log_prob` is the density with Gaussian noise, also of a model that was trained on a fixed set of
  noise (`source_draws`), whose own source has none.

  Attributes:
    backbone: predicts the velocity.
    condition_size: features of the condition; 0 is unconditional.
    drop_condition: share of the training examples without their condition.
    guidance: weight of the condition in sampling; 1 is that of training.
    source_std: standard deviation of the noise at t = 0.
    source_draws: size of the fixed set that training draws its noise from; 0 draws fresh noise.
    path_std: standard deviation of the noise around the straight path.
    solver: key of `ode.SOLVERS`.
    num_steps: of the solver.
    coupling: of noise and networks in a batch: 'independent', or 'transport', the pairs of least
      squared distance (see `pair`), for unconditional models.
  """

  source_std: config.PositiveFloat = 1.0
  source_draws: config.NonNegativeInt = 0
  path_std: config.NonNegativeFloat = 0.0
  solver: Annotated[str, config.OneOf(ode.SOLVERS)] = 'heun'
  num_steps: config.PositiveInt = 50
  coupling: Annotated[str, config.OneOf(COUPLINGS)] = 'independent'

  def __post_init__(self):
    super().__post_init__()
    if self.coupling == 'transport' and self.condition_size:
      raise ValueError(
        "coupling 'transport' does not see conditions: the noise of one condition would not be "
        'Gaussian in training, as it is in sampling.'
      )

  def loss(
    self, params: Params, batch: Latents, key: jax.Array, condition: Condition = None, *, train=True
  ) -> tuple[Float[Array, ''], Metrics]:
    """Computes the mean squared error of the velocity x1 - x0 (equation 23)."""
    source_key, time_key, path_key, drop_key = jax.random.split(key, 4)
    source = self._source(source_key, batch.shape)
    if self.coupling == 'transport':
      source = pair(source, batch)
    t = jax.random.uniform(time_key, (len(batch), 1, 1))
    x = (1 - t) * source + t * batch
    x += self.path_std * jax.random.normal(path_key, batch.shape)
    keys = jax.random.split(drop_key, len(batch)) if train else None
    predict = jax.vmap(self.train_field, (None, 0, 0, 0, 0))
    velocity = predict(params, x, t[:, 0, 0], condition, keys)
    return jnp.mean((velocity - (batch - source)) ** 2), {}

  def _draw(
    self, field: guidance.Field, guide: Callable | None, key: jax.Array, shape: tuple[int, ...]
  ) -> Latents:
    noise = self.source_std * jax.random.normal(key, shape)
    if guide:  # A straight path goes on at its velocity.
      field = guide(field, lambda x, t, field=field: x + (1 - t) * field(x, t))
    return ode.integrate(field, noise, solver=self.solver, num_steps=self.num_steps)

  def _equation(self, field: Callable) -> tuple[Callable, np.ndarray, float]:
    return field, np.linspace(1, 0, self.num_steps + 1, dtype=np.float32), self.source_std

  def _source(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    if not self.source_draws:
      return self.source_std * jax.random.normal(key, shape)
    # The fixed set is a function of the index, so it needs no state.
    indices = jax.random.randint(key, shape[:1], 0, self.source_draws)
    set_key = jax.random.key(0)

    def draw(index):
      return jax.random.normal(jax.random.fold_in(set_key, index), shape[1:])

    return self.source_std * jax.vmap(draw)(indices)


def pair(source: typing.Array, batch: typing.Array) -> jax.Array:
  """Reorders noise [b, T, D] to have the least sum of squared distances to networks [b, T, D].

  Straight paths between such pairs cross less, so that the velocity field is simpler. On canonical
  networks it is a transport between representatives of orbits.

  Source: Tong et al. 2023, arXiv:2302.00482, section 3.2 (minibatches).
  """
  x, y = (jnp.asarray(z).reshape(len(z), -1) for z in (source, batch))
  # The squared norms do not depend on the order.
  rows, columns = optax.assignment.hungarian_algorithm(-(y @ x.T))
  return jnp.asarray(source)[jnp.zeros(len(source), jnp.int32).at[rows].set(columns)]
