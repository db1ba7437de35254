"""What steers a sampler: conditions that can be dropped, and task losses."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax import typing

Field = Callable[[jax.Array, jax.Array], jax.Array]
TaskLoss = Callable[[jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class ConditionalField:
  """A backbone that is given a condition, none, or both and compared.

  A model that is trained with and without its condition can be sampled with more of it than the
  data have: the difference that the condition makes is multiplied. To the backbone the null
  condition is all zeros. A condition has
  a 1 behind it, so that one that happens to be zero differs from null; a model that always has its
  condition needs no such flag.

  Attributes:
    backbone: predicts a field at (x, t).
    condition_size: features C of the condition; 0 = unconditional.
    drop_condition: share of the training examples that get the null condition.
    guidance: while sampling, 1 = conditional, 0 = unconditional, more than 1 = beyond the
      conditional, away from the unconditional.

  Raises:
    ValueError: if `condition_size` < 0, `drop_condition` is not in [0, 1] or has no condition to
      drop, or `guidance` needs a null condition that training never shows.

  Source: Ho & Salimans 2022, arXiv:2207.12598, algorithms 1 and 2; their w is `guidance` - 1.
  """

  backbone: nn.Module
  condition_size: int = 0
  drop_condition: float = 0.0
  guidance: float = 1.0

  def __post_init__(self):
    size, share = self.condition_size, self.drop_condition
    if size < 0 or not 0 <= share <= 1 or (share and not size):
      raise ValueError(
        'A field needs condition_size >= 0 and drop_condition in [0, 1], 0 if '
        f'there is no condition; got {size} and {share}.'
      )
    if self.guidance != 1 and not share:
      raise ValueError(
        f'guidance is {self.guidance}, but drop_condition is 0: only a model '
        'trained without its condition, too, can have guidance other than 1.'
      )

  def init(self, key: jax.Array, example: typing.Array) -> typing.PyTree:
    """Parameters for tokens of the shape of `example`, [T, D]."""
    given = jnp.zeros(self.condition_size) if self.condition_size else None
    x, t = jnp.asarray(example), jnp.float32(0)
    return self.backbone.init(key, x, t, self._features(given))['params']

  def train(
    self,
    params: typing.PyTree,
    x: jax.Array,
    t: jax.Array,
    condition: jax.Array | None,
    key: jax.Array | None,
  ) -> jax.Array:
    """[T, D] at x [T, D], time t and a condition [C], as a loss wants it.

    Args:
      params: from `init`.
      x: [T, D].
      t: scalar in [0, 1].
      condition: [C], or None.
      key: of what is dropped: condition and hidden units. None drops nothing.
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
    self, params: typing.PyTree, x: jax.Array, t: jax.Array, condition: jax.Array | None
  ) -> jax.Array:
    """[T, D] at x [T, D], time t and a condition [C], with guidance.

    Without a condition the field is the unconditional one.
    """
    given = self._features(condition)
    field = self._apply(params, x, t, given, None)
    if condition is None or self.guidance == 1:
      return field
    null = self._apply(params, x, t, jnp.zeros_like(given), None)
    return null + self.guidance * (field - null)

  def _features(self, condition: jax.Array | None) -> jax.Array | None:
    """What the backbone is given: [C], [C + 1] with the flag, or None."""
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
    """[T, D] of the backbone; hidden units are dropped by the key, or none."""
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
  """A field that also descends a loss of the network it is heading for.

  Args:
    field: ([n, T, D], time) -> [n, T, D]: a velocity, or a score.
    clean_estimate: the same, the expected latents at the end of the path.
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
