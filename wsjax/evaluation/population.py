"""Population: the networks of a zoo that all arms are measured against."""

import dataclasses
import functools
from typing import Protocol

import numpy as np

from wsjax import typing
from wsjax.evaluation import methods
from wsjax.evaluation.metrics import novelty
from wsjax.models import model as model_lib
from wsjax.symmetry import canonicalize


class Finetune(Protocol):
  """Continues training by the recipe of the zoo."""

  def __call__(
    self, params: typing.StackedParams, *, steps: int, seed: int
  ) -> typing.StackedParams:
    """Networks after `steps` steps from `params`."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Population:
  """What is needed to make baselines, and to find near networks.

  Attributes:
    architecture: of all networks.
    train: path -> [N, ...] networks that a generator was shown, and that baselines are made of:
      final checkpoints of independent runs, which are the yardstick, too, or the checkpoints of one
      run.
    heldout: path -> [M, ...] further runs of the same recipe; None if there are none.
    reference: weights of the network that others are aligned to.
    snapshots: path -> [S, ...] what else it was shown of those runs, or None: near one of them a
      sample is a copy, too; that is all they count for, since early ones are nearer to every
      network than ends are to each other.
    independent: whether training networks are of independent runs; if they are of one, the held-out
      ones are the yardstick.
    mode: a mode of `canonicalize` that aligns, for aligned baselines and fidelity; not what a
      generator was trained on, and the same in all runs that are to be compared.
    restarts: of weight matching.
    finetune: training of the zoo, for the fine-tuned baseline; None: left out.
    finetune_steps: numbers of steps k to try.
    fresh_seconds: wall time of one training run; None if nobody measured it.
    seed: of everything random in the measurement.
  """

  architecture: model_lib.Model
  train: typing.StackedParams
  heldout: typing.StackedParams | None
  reference: typing.Params
  snapshots: typing.StackedParams | None = None
  independent: bool = True
  mode: str = 'permutation+scale'
  restarts: int = 3
  finetune: Finetune | None = None
  finetune_steps: tuple[int, ...] = (100,)
  fresh_seconds: float | None = None
  seed: int = 0

  def __post_init__(self):
    spec = self.architecture.spec
    spec.check(self.train, stacked=True)
    spec.check(self.reference)
    for others in (self.heldout, self.snapshots):
      if others is not None:
        spec.check(others, stacked=True)
    allowed = [mode for mode in canonicalize.MODES if mode != 'none']
    if self.mode not in allowed:
      raise ValueError(
        f'mode is {self.mode!r}, but arms called aligned must be; allowed: '
        f'{", ".join(allowed)}. It is not the mode a generator is trained in.'
      )
    if self.num_train < 2:
      raise ValueError(
        f'A zoo of {self.num_train} training networks has no spread; at least 2 are needed.'
      )

  @property
  def num_train(self) -> int:
    """Number N of training networks."""
    return len(next(iter(self.train.values())))

  @property
  def num_runs(self) -> int:
    """Runs that the training networks took."""
    return self.num_train if self.independent else 1

  @functools.cached_property
  def neighbours(self) -> novelty.Neighbours:
    """Search among the training networks."""
    return self._among(self.train)

  @functools.cached_property
  def shown(self) -> novelty.Neighbours:
    """Search among all that was shown: training networks, then snapshots."""
    if self.snapshots is None:
      return self.neighbours
    return self._among(methods.join([self.train, self.snapshots]))

  def _among(self, networks: typing.StackedParams) -> novelty.Neighbours:
    return novelty.Neighbours(
      networks, self.architecture.spec, self.reference, restarts=self.restarts, seed=self.seed
    )

  @functools.cached_property
  def aligned_train(self) -> typing.StackedParams:
    """Canonical forms of the training networks."""
    return self.align(self.train)

  def align(self, params: typing.StackedParams) -> typing.StackedParams:
    """Canonical forms of any networks, on the host."""
    aligned = canonicalize.canonicalize(
      params,
      self.architecture.spec,
      self.mode,
      reference=self.reference,
      restarts=self.restarts,
      seed=self.seed,
    )
    return {path: np.asarray(value) for path, value in aligned.items()}
