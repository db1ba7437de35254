"""Sections of configs that several experiments share; their fields declare what is allowed."""

import dataclasses
from typing import Annotated

from wsjax import config
from wsjax.evaluation import evaluator
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
class EvaluateSamples(Evaluate):
  """The section `evaluate` of generators.

  Attributes:
    num_samples: generated networks per training seed, and networks of each baseline.
    finetune_steps: updates after which samples are evaluated once more.
    membership: whether densities of training and of held-out networks are compared.
    metrics: groups of optional metrics, and metrics of the user's own.
    metric_limits: name in `metrics` -> most networks and items of each method.
  """

  num_samples: config.PositiveInt
  finetune_steps: config.PositiveInt = 50
  membership: bool = False
  metrics: tuple[str, ...] = ()
  metric_limits: dict | None = None

  def __post_init__(self):
    super().__post_init__()
    try:
      evaluator.check(self.metrics, self.metric_limits)
    except (ValueError, TypeError) as error:
      given = f'{self.metrics} with evaluate.metric_limits {self.metric_limits}'
      raise ValueError(f'evaluate.metrics is {given}: {error}') from error


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
