"""Guidance of samplers: by conditions that training drops, and by task losses."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import config, typing
from wsjax.generators import backbones

Field = Callable[[jax.Array, jax.Array], jax.Array]
TaskLoss = Callable[[jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class ConditionalField(config.Section):
  """A backbone that is given a condition, none, or both and compared.

  A model that is trained with and without its condition can be sampled with a stronger condition
  than the data have: the difference that the condition makes is multiplied. The null condition is
  all zeros. A condition is followed by a 1, so that a condition of zeros differs from null; a model
  that always has its condition needs no such flag.

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

  def init(self, key: jax.Array, example: Float[Array, 't d']) -> typing.PyTree:
    """Draws parameters of the backbone for tokens with the shape of `example`."""
    given = jnp.zeros(self.condition_size) if self.condition_size else None
    x, t = jnp.asarray(example), jnp.float32(0)
    return self.backbone.init(key, x, t, self._features(given))['params']

  def train(
    self,
    params: typing.PyTree,
    x: Float[Array, 't d'],
    t: Float[Array, ''],
    condition: Float[Array, ' c'] | None,
    key: jax.Array | None,
  ) -> Float[Array, 't d']:
    """Predicts the field in training, at time t in [0, 1].

    Conditions and hidden units are dropped by the key; without a key none are.
    """
    features = self._features(condition)
    if key is None:
      return self._apply(params, x, t, features, None)
    if self.drop_condition:
      key, drop_key = jax.random.split(key)
      dropped = jax.random.bernoulli(drop_key, self.drop_condition)
      features = jnp.where(dropped, 0.0, features)
    return self._apply(params, x, t, features, key)

  def sample(
    self,
    params: typing.PyTree,
    x: Float[Array, 't d'],
    t: Float[Array, ''],
    condition: Float[Array, ' c'] | None,
  ) -> Float[Array, 't d']:
    """Predicts the field in sampling, with guidance; None gives the unconditional field."""
    given = self._features(condition)
    field = self._apply(params, x, t, given, None)
    if condition is None or self.guidance == 1:
      return field
    null = self._apply(params, x, t, jnp.zeros_like(given), None)
    return null + self.guidance * (field - null)

  def _features(self, condition: jax.Array | None) -> jax.Array | None:
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

  def _apply(
    self,
    params: typing.PyTree,
    x: jax.Array,
    t: jax.Array,
    features: jax.Array | None,
    key: jax.Array | None,
  ) -> jax.Array:
    """Runs the backbone; hidden units are dropped by the key, or none."""
    return self.backbone.apply(
      {'params': params},
      x,
      t,
      features,
      train=key is not None,
      rngs=None if key is None else {'dropout': key},
    )


def guided_field(
  field: Field, clean_estimate: Field, task_loss: TaskLoss | None, scale: float
) -> Field:
  """Adds the negative gradient of a loss of the expected network to a field.

  Args:
    field: ([n, T, D], time) -> [n, T, D]: a velocity, or a score.
    clean_estimate: ([n, T, D], time) -> [n, T, D], the expected latents at the end of the path.
    task_loss: [T, D] clean latents -> scalar; None = no guidance.
    scale: of its gradient, in units of the field per unit of the gradient; 0 = no guidance.

  Returns:
    field - scale x gradient of task_loss(clean_estimate(x)) with respect to x; `field` itself
    without guidance.

  Source: Erdogan et al. 2025, arXiv:2504.03710 (the gradient of the task is added to the velocity,
  there at x itself); Chung et al. 2023, arXiv:2209.14687, algorithm 1 (at the clean estimate, added
  to the score).
  """
  if task_loss is None or scale == 0:
    return field

  def guided(x: jax.Array, t: jax.Array) -> jax.Array:
    def total(x: jax.Array) -> jax.Array:
      # Networks do not see each other, so the sum has each one's gradient.
      return jnp.sum(jax.vmap(task_loss)(clean_estimate(x, t)))

    return field(x, t) - scale * jax.grad(total)(x)

  return guided
