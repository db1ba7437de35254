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


@dataclasses.dataclass(frozen=True)
class Gates(config.Section):
  """The section `gates`: thresholds of what may be released.

  Attributes:
    max_z: largest robust z-score of any statistic of a network.
    max_weight: largest absolute weight.
    max_replica_rate: upper end of the interval of the replica rate of a generator.
    max_membership_tpr: upper end of the interval of the share of training networks that an attack
      finds at a false positive rate of 1 %.
    min_marked: share of samples whose watermark has to be found.
    min_survived: that share after every attack that a watermark has to survive.
    max_mark_cost: points of accuracy that marks may cost.
    min_backdoor_auroc: lower end of the interval of the AUROC of the detector of backdoors, on
      triggers of a kind that it did not learn; below, it proves nothing.
    payload_p: level of the test of low bits for payloads, over all networks together.
    personal_data_waiver: who waives, and why, that data may contain personal data; '' is nobody.
  """

  max_z: config.PositiveFloat = 6.0
  max_weight: config.PositiveFloat = 1e4
  max_replica_rate: config.Share = 0.03
  max_membership_tpr: config.Share = 0.05
  min_marked: config.Share = 0.99
  min_survived: config.Share = 0.95
  max_mark_cost: config.NonNegativeFloat = 0.1
  min_backdoor_auroc: config.Share = 0.85
  payload_p: config.Rate = 1e-3
  personal_data_waiver: str = ''
