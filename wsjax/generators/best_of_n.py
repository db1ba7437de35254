"""Best-of-n: draw many candidates, keep the best, and perhaps draw again from what was kept.

Source: Schurholt et al. 2024, arXiv:2406.09997, section 3.3 (SUB and BOOT).
"""

import dataclasses
import functools
from typing import Annotated, ClassVar

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from wsjax import config
from wsjax.generators import generator, kde
from wsjax.generators.generator import Condition, Latents, Shape


@flax.struct.dataclass
class State:
  """The kept candidates, the best first, and their scores."""

  pool: Float[Array, 'keep t d']
  scores: Float[Array, ' keep']


@dataclasses.dataclass(frozen=True)
class BestOfN(config.Section):
  """Generator by candidates of a kernel density that are selected by their score.

  The density of the next round is that of the kept candidates. What is kept has no density, and no
  more than `keep` networks can be drawn after a fit.

  Attributes:
    candidates: drawn and scored per round.
    keep: candidates kept per round, at most all.
    rounds: 1 is SUB, more are BOOT.
    rule: of the bandwidth; see `kde.KDE`.
    per: see `kde.KDE`.
    factor: see `kde.KDE`.
  """

  NEEDS_SCORE: ClassVar[bool] = True

  candidates: config.PositiveInt = 1024
  keep: Annotated[int, config.Range(min=2)] = 128
  rounds: config.PositiveInt = 1
  rule: Annotated[str, config.OneOf(kde.RULES)] = 'scott'
  per: Annotated[str, config.OneOf(kde.PER)] = 'dimension'
  factor: config.PositiveFloat = 1.0

  def __post_init__(self):
    super().__post_init__()
    if self.keep > self.candidates:
      raise ValueError(f'keep is {self.keep}; allowed: at most candidates, {self.candidates}.')

  @property
  def density(self) -> kde.KDE:
    """The density of the candidates."""
    return kde.KDE(self.rule, self.per, self.factor)

  @property
  def num_scored(self) -> int:
    """Networks that the selection looked at."""
    return self.candidates * self.rounds

  def fit(
    self, latents: np.ndarray, key: jax.Array, condition: None = None, *, score: generator.Score
  ) -> State:
    """Draws, scores and keeps candidates, round by round.

    Args:
      latents: [N, T, D].
      key: of the draws.
      condition: must be None.
      score: [n, T, D] -> [n], higher is better; never on test data.

    Raises:
      ValueError: if `score` returns another shape or NaN.
    """
    latents = np.asarray(latents, np.float32)
    scores = np.zeros(0)
    for number in range(self.rounds):
      round_key = jax.random.fold_in(key, number)
      fitted = self.density.fit(latents, round_key, condition)
      shape = latents.shape[1:]
      drawn = np.asarray(self.density.sample(fitted, round_key, self.candidates, shape=shape))
      scores = np.asarray(score(drawn))
      if scores.shape != (self.candidates,) or np.any(np.isnan(scores)):
        raise ValueError(
          f'score must give one number for each of {self.candidates} candidates; got shape '
          f'{scores.shape}, {np.sum(np.isnan(scores))} of them NaN.'
        )
      best = np.argsort(-scores, kind='stable')[: self.keep]
      latents, scores = drawn[best], scores[best]
    return State(latents, scores.astype(np.float32))

  @functools.partial(jax.jit, static_argnames=('self', 'num', 'shape'))
  def sample(
    self, params: State, key: jax.Array, num: int, *, shape: Shape, condition: Condition = None
  ) -> Latents:
    """Draws different members of the pool in random order.

    Raises:
      ValueError: if the pool has fewer than `num` members.
    """
    generator.check('best_of_n', params.pool.shape[1:], shape, condition)
    kept = len(params.pool)
    if num > kept:
      raise ValueError(f'A fit keeps {kept} networks; {num} were asked for. Raise `keep`.')
    return jnp.asarray(params.pool)[jax.random.permutation(key, kept)[:num]]
