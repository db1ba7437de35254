"""Fields with guidance: by conditions that training drops, and by task losses."""

import abc
import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from wsjax import config
from wsjax.generators import backbones
from wsjax.generators.generator import Condition, Latents, LogDensity, Params, Shape
from wsjax.generators.parts import ode

Field = Callable[[jax.Array, jax.Array], jax.Array]
TaskLoss = Callable[[jax.Array], jax.Array]
Tokens = Float[Array, 't d']
Given = jax.Array | None


@dataclasses.dataclass(frozen=True)
class ConditionalField(config.Section):
  """A backbone that is given a condition, none, or both and compared.

  A model that is trained with and without its condition can be sampled with a stronger condition
  than the data have. The null condition is all zeros. Where training drops conditions, a condition
  is followed by a 1, so that a condition of zeros differs from null.

  Attributes:
    backbone: predicts a field at (x, t).
    condition_size: features C of the condition; 0 is unconditional.
    drop_condition: share of the training examples that get the null condition.
    guidance: in sampling, 1 is conditional, 0 unconditional, and more than 1 beyond the
      conditional, away from the unconditional.

  Raises:
    ValueError: if there is no condition to drop, or `guidance` needs a null condition that training
      never shows.

  Source: Ho & Salimans 2022, arXiv:2207.12598, algorithms 1 and 2; their w is `guidance` - 1.
  """

  backbone: backbones.Backbone
  condition_size: config.NonNegativeInt = 0
  drop_condition: config.Share = 0.0
  guidance: float = 1.0

  def __post_init__(self):
    super().__post_init__()
    if self.drop_condition and not self.condition_size:
      raise ValueError(
        f'drop_condition is {self.drop_condition}; allowed: 0 where condition_size is 0.'
      )
    if self.guidance != 1 and not self.drop_condition:
      raise ValueError(
        f'guidance is {self.guidance}; allowed: 1 where drop_condition is 0, as the model is never '
        'trained without its condition.'
      )

  def init(self, key: jax.Array, example: Tokens) -> Params:
    """Draws parameters of the backbone for tokens with the shape of `example`."""
    given = jnp.zeros(self.condition_size) if self.condition_size else None
    x, t = jnp.asarray(example), jnp.float32(0)
    return self.backbone.init(key, x, t, self._features(given))['params']

  def train_field(
    self, params: Params, x: Tokens, t: jax.Array, condition: Given, key: Given
  ) -> Tokens:
    """Predicts the field in training, at time t in [0, 1].

    Conditions and hidden units are dropped by the key; without a key none are.
    """
    features = self._features(condition)
    if key is not None and self.drop_condition:
      key, drop_key = jax.random.split(key)
      dropped = jax.random.bernoulli(drop_key, self.drop_condition)
      features = jnp.where(dropped, 0.0, features)
    return self._apply(params, x, t, features, key)

  def sample_field(self, params: Params, x: Tokens, t: jax.Array, condition: Given) -> Tokens:
    """Predicts the field in sampling, with guidance; None gives the unconditional field."""
    given = self._features(condition)
    field = self._apply(params, x, t, given, None)
    if condition is None or self.guidance == 1:
      return field
    null = self._apply(params, x, t, jnp.zeros_like(given), None)
    return null + self.guidance * (field - null)

  def _features(self, condition: Given) -> jax.Array | None:
    """Features for the backbone: [C], [C + 1] with the flag, or None."""
    size = self.condition_size
    if condition is None:
      if not size:
        return None
      if self.drop_condition:
        return jnp.zeros(size + 1)
      raise ValueError(
        f'The model has no null condition (drop_condition is 0); give a '
        f'condition of {size} features.'
      )
    if not size or condition.shape != (size,):
      raise ValueError(
        f'The condition has the shape {condition.shape}; allowed: '
        f'{(size,) if size else "None"}, as condition_size says.'
      )
    flag = jnp.ones(1 if self.drop_condition else 0)
    return jnp.concatenate([condition, flag])

  def _apply(self, params, x, t, features, key):
    """Runs the backbone; hidden units are dropped by the key, or none."""
    rngs = None if key is None else {'dropout': key}
    variables = {'params': params}
    return self.backbone.apply(variables, x, t, features, train=key is not None, rngs=rngs)


class FieldGenerator(ConditionalField, abc.ABC):
  """Base of generators that carry noise to latents along a field."""

  @functools.partial(jax.jit, static_argnames=('self', 'num', 'shape', 'task_loss', 'task_scale'))
  def sample(
    self,
    params: Params,
    key: jax.Array,
    num: int,
    *,
    shape: Shape,
    condition: Condition = None,
    task_loss: TaskLoss | None = None,
    task_scale: float = 0.0,
  ) -> Latents:
    """Draws latents, perhaps led by a task loss of clean latents [T, D]: see `guided_field`.

    Every loss function is compiled for.
    """

    def field(x: jax.Array, t: jax.Array) -> jax.Array:
      one = functools.partial(self._field, params)
      return jax.vmap(one, (0, None, 0))(x, t, condition)

    guide = None
    if task_loss is not None and task_scale:
      guide = functools.partial(guided_field, task_loss=task_loss, scale=task_scale)
    return self._draw(field, guide, key, (num, *shape))

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
    """Computes the density of the equation of `sample`, up to the error of rk4 in `num_steps`."""
    field, times, std = self._equation(functools.partial(self._field, params))
    options = {'trace': trace, 'num_probes': num_probes, 'key': key}
    return ode.log_prob(field, x, condition, times=times, noise_std=std, **options)

  def _field(self, params: Params, x: Tokens, t: jax.Array, condition: Given) -> Tokens:
    """Predicts what `_draw` and `_equation` take."""
    return self.sample_field(params, x, t, condition)

  @abc.abstractmethod
  def _draw(self, field: Field, guide: Callable | None, key: jax.Array, shape: tuple) -> Latents:
    """Draws latents [n, T, D] along a field; `guide` is `guided_field` with its loss, if any."""

  @abc.abstractmethod
  def _equation(self, field: Callable) -> tuple[Callable, np.ndarray, float]:
    """The velocity (x, t, condition) of the samples, times back to noise, and its deviation."""


def guided_field(field: Field, clean_estimate: Field, task_loss: TaskLoss, scale: float) -> Field:
  """Adds the negative gradient of a loss of the expected network to a field.

  Args:
    field: ([n, T, D], time) -> [n, T, D]: a velocity, or a score.
    clean_estimate: ([n, T, D], time) -> [n, T, D], the expected latents at the end of the path.
    task_loss: [T, D] clean latents -> scalar.
    scale: of its gradient, in units of the field per unit of the gradient.

  Source: Erdogan et al. 2025, arXiv:2504.03710 (the gradient at x is added to the velocity);
    Chung et al. 2023, arXiv:2209.14687, algorithm 1 (at the clean estimate, added to the score).
  """

  def total(x: jax.Array, t: jax.Array) -> jax.Array:
    # Networks do not see each other, so the sum has each one's gradient.
    return jnp.sum(jax.vmap(task_loss)(clean_estimate(x, t)))

  return lambda x, t: field(x, t) - scale * jax.grad(total)(x, t)
