"""Context: the zoo and the test set that all arms are measured against."""

import dataclasses
import functools
from typing import Protocol

import numpy as np

from wsjax import typing
from wsjax.evaluate import (
  arms,
  fidelity,
  gate,
  memorization,
  novelty,
  predictions,
)
from wsjax.symmetry import canonicalize
from wsjax.zoo import architecture as architecture_lib


class Finetune(Protocol):
  """Continues training by the recipe of the zoo."""

  def __call__(
    self, params: typing.StackedParams, *, steps: int, seed: int
  ) -> typing.StackedParams:
    """Networks after `steps` steps from `params`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Context:
  """What is needed to judge networks; what is costly is computed once.

  Attributes:
    architecture: of all networks; outputs are logits of classes.
    test_x: [n, ...] test inputs, which no choice was made on.
    test_y: [n] int classes.
    train: path -> [N, ...] final checkpoints of independent runs that a
      generator was shown: the yardstick, and what baselines are made of.
    heldout: path -> [M, ...] further runs of the same recipe; None if there
      are none.
    reference: weights of the network that others are aligned to.
    snapshots: path -> [S, ...] what else it was shown of those runs, or None:
      near them a sample is a copy, too; yardsticks know nothing of them.
    mode: a mode of `canonicalize` that aligns, for aligned baselines and
      fidelity; not what a generator was trained on, and the same in all runs
      that are to be compared.
    restarts: of weight matching.
    finetune: training of the zoo, for the fine-tuned baseline; None: left out.
    finetune_steps: numbers of steps k to try.
    fresh_seconds: wall time of one training run; None if nobody measured it.
    seed: of everything random in the measurement.
  """

  architecture: architecture_lib.Architecture
  test_x: np.ndarray
  test_y: np.ndarray
  train: typing.StackedParams
  heldout: typing.StackedParams | None
  reference: typing.Params
  snapshots: typing.StackedParams | None = None
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
        f'A zoo of {self.num_train} training networks has no spread; at least '
        '2 are needed.'
      )

  @property
  def num_train(self) -> int:
    """Number N of training networks."""
    return len(next(iter(self.train.values())))

  @functools.cached_property
  def items(self) -> predictions.Items:
    """The test set on the device."""
    return predictions.make_items(self.test_x, self.test_y)

  @functools.cached_property
  def train_predictions(self) -> predictions.Predictions:
    """Predictions of the training networks."""
    return self.predict(self.train)

  @functools.cached_property
  def train_errors(self) -> np.ndarray:
    """[N, n] bool, True where a training network errs."""
    return self.train_predictions.labels != self.test_y[None]

  @functools.cached_property
  def train_distance(self) -> np.ndarray:
    """[N] quotient distance from each training network to the nearest other."""
    return self._neighbours(self.train).nearest(
      self.train, similarity=self._train_similarity, exclude_same_index=True
    )[0]

  @functools.cached_property
  def train_iou(self) -> np.ndarray:
    """[N] largest error-IoU of each training network with another one."""
    return memorization.max_iou(
      self._train_similarity, exclude_same_index=True
    )[0]

  @functools.cached_property
  def _train_similarity(self) -> np.ndarray:
    return memorization.error_iou(self.train_errors, self.train_errors)

  @functools.cached_property
  def shown_errors(self) -> np.ndarray:
    """[N + S, n] errors of `train` and, behind them, of `snapshots`."""
    if self.snapshots is None:
      return self.train_errors
    labels = self.predict(self.snapshots).labels
    return np.concatenate([self.train_errors, labels != self.test_y[None]])

  @functools.cached_property
  def neighbours(self) -> novelty.Neighbours:
    """Search among all that was shown, in the order of `shown_errors`."""
    if self.snapshots is None:
      return self._neighbours(self.train)
    return self._neighbours(arms.join([self.train, self.snapshots]))

  def _neighbours(self, shown: typing.StackedParams) -> novelty.Neighbours:
    return novelty.Neighbours(
      shown,
      self.architecture.spec,
      self.reference,
      restarts=self.restarts,
      seed=self.seed,
    )

  @functools.cached_property
  def bar(self) -> gate.Bar:
    """Thresholds of the gate, from the training networks alone."""
    accuracy = 1 - np.mean(self.train_errors, axis=1)
    return gate.Bar(
      accuracy=float(np.percentile(accuracy, 5)),
      tau=float(np.median(self.train_distance)),
      max_iou=float(np.mean(self.train_iou)),
    )

  @functools.cached_property
  def aligned_train(self) -> typing.StackedParams:
    """Canonical forms of the training networks."""
    return self.align(self.train)

  @functools.cached_property
  def dispersion(self) -> float:
    """Dispersion of the canonical training networks."""
    products = fidelity.gram(arms.flatten(self.aligned_train))
    return float(fidelity.dispersion(products))

  @functools.cached_property
  def rms(self) -> float:
    """Root mean square of the weights of the canonical training networks."""
    return fidelity.root_mean_square(self.aligned_train)

  def predict(self, params: typing.StackedParams) -> predictions.Predictions:
    """Predictions of any networks on the test set."""
    return predictions.predict(
      self.architecture, params, self.items, seed=self.seed
    )

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
