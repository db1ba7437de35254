"""Draw many, keep the best: subsampling, and bootstrapping from what is kept.

Source: Schurholt et al. 2024, arXiv:2406.09997, section 3.3 (SUB and BOOT).
"""

import dataclasses
import functools
from typing import ClassVar

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.generators import generator, kde


@flax.struct.dataclass
class State:
  """What was kept.

  Attributes:
    pool: [keep, T, D] latents, the best first.
    scores: [keep] of them, as `score` said.
  """

  pool: typing.Array
  scores: typing.Array


@dataclasses.dataclass(frozen=True)
class Subsample:
  """Candidates of a kernel density, selected by their score.

  In each round `candidates` are drawn and the best `keep` are kept; the density of the next round
  is that of the kept. One round is SUB, more are BOOT. There is no density of what is kept, and no
  more than `keep` networks can be drawn after a fit.

  Attributes:
    density: of the candidates.
    candidates: drawn and scored per round.
    keep: kept per round.
    rounds: of drawing and keeping.
  """

  NEEDS_SCORE: ClassVar[bool] = True

  density: kde.KDE
  candidates: int
  keep: int
  rounds: int

  @property
  def num_scored(self) -> int:
    """Networks that the selection looked at."""
    return self.candidates * self.rounds

  def fit(
    self,
    latents: np.ndarray,
    key: jax.Array,
    condition: np.ndarray | None = None,
    *,
    score: generator.Score,
  ) -> State:
    """Draws, scores and keeps, round by round.

    Args:
      latents: [N, T, D].
      key: of the draws.
      condition: must be None.
      score: [n, T, D] -> [n], more is better; never on test data.

    Returns:
      The kept of the last round.

    Raises:
      ValueError: if `score` returns another shape or what is not a number, or as `KDE.fit`.
    """
    latents = np.asarray(latents, np.float32)
    scores = np.zeros(0)
    for number in range(self.rounds):
      round_key = jax.random.fold_in(key, number)
      fitted = self.density.fit(latents, round_key, condition)
      drawn = self.density.sample(fitted, round_key, self.candidates, shape=latents.shape[1:])
      drawn = np.asarray(drawn)
      scores = np.asarray(score(drawn))
      if scores.shape != (self.candidates,) or np.any(np.isnan(scores)):
        raise ValueError(
          f'score must give one number for each of {self.candidates} '
          f'candidates; got shape {scores.shape}, '
          f'{np.sum(np.isnan(scores))} of them NaN.'
        )
      best = np.argsort(-scores, kind='stable')[: self.keep]
      latents, scores = drawn[best], scores[best]
    return State(latents, scores.astype(np.float32))

  @functools.partial(jax.jit, static_argnames=('self', 'num', 'shape'))
  def sample(
    self,
    params: State,
    key: jax.Array,
    num: int,
    *,
    shape: tuple[int, int],
    condition: jax.Array | None = None,
  ) -> jax.Array:
    """[num, T, D]: different members of the pool, in random order.

    Raises:
      ValueError: if the pool is smaller than `num`, `shape` is not that of the latents, or a
        condition is given.
    """
    generator.check('best_of_n', params.pool.shape[1:], shape, condition)
    if num > len(params.pool):
      raise ValueError(
        f'A fit keeps {len(params.pool)} networks; {num} were asked for. Raise `keep`.'
      )
    order = jax.random.permutation(key, len(params.pool))
    return jnp.asarray(params.pool)[order[:num]]


def make(
  candidates: int = 1024,
  keep: int = 128,
  rounds: int = 1,
  rule: str = 'scott',
  per: str = 'dimension',
  factor: float = 1.0,
) -> Subsample:
  """Subsampling or bootstrapping.

  Args:
    candidates: drawn and scored per round.
    keep: kept per round; at most `candidates`.
    rounds: 1 is SUB, more are BOOT.
    rule: of the bandwidth; see `kde.make`.
    per: see `kde.make`.
    factor: see `kde.make`.

  Raises:
    ValueError: unless 2 <= keep <= candidates and rounds >= 1, or as `kde.make`.
  """
  if not 2 <= keep <= candidates or rounds < 1:
    raise ValueError(
      'subsample needs 2 <= keep <= candidates and rounds >= 1; got keep '
      f'{keep}, candidates {candidates} and rounds {rounds}.'
    )
  return Subsample(kde.make(rule, per, factor), candidates, keep, rounds)
