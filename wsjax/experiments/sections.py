"""Sections of configs that several experiments share; their fields declare what is allowed."""

import dataclasses
from typing import Annotated

from wsjax import config
from wsjax.symmetry import canonicalize
from wsjax.tokens import normalize


@dataclasses.dataclass(frozen=True)
class Evaluate(config.Section):
  """The section `evaluate`.

  Attributes:
    num_bootstrap: resamples of every interval.
  """

  num_bootstrap: Annotated[int, config.Range(min=2)]


@dataclasses.dataclass(frozen=True)
class Symmetry(config.Section):
  """The section `symmetry`.

  Attributes:
    canonicalize: the canonical form of networks.
    restarts: random restarts of matching.
  """

  canonicalize: Annotated[str, config.OneOf(canonicalize.MODES)]
  restarts: config.PositiveInt


@dataclasses.dataclass(frozen=True)
class Normalize(config.Section):
  """The section `normalize`.

  Attributes:
    how: scale of weights; see `normalize.fit`.
    weights: (layer or path of a parameter, factor of its squared deviations) pairs.
  """

  how: Annotated[str, config.OneOf(normalize.HOW)] = 'layer'
  weights: tuple[tuple[str, config.PositiveFloat], ...] = ()
