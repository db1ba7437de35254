"""Reference: the zoo and the test set that all methods are evaluated against, and its gates.

A gate says what a sample must do to count as a new, working network.
"""

import dataclasses
import functools
from typing import Any, Protocol, Self

import numpy as np

from wsjax import networks, typing
from wsjax.evaluation import predictions, statistics
from wsjax.models import model as model_lib
from wsjax.symmetry import canonicalize
from wsjax.symmetry import distance as distance_lib
from wsjax.symmetry import spec as spec_lib

# A sample nearer than this many tau to a training network is a copy of it.
COPY = 0.1
# A zoo whose tau is below this share of the norm of its networks consists of copies.
MIN_TAU = distance_lib.ROUNDING


@dataclasses.dataclass(frozen=True)
class Thresholds:
  """Thresholds of the gates, all measured on the training zoo, and the gates.

  Distances are quotient distances to the nearest training network; NaN passes no gate.

  Attributes:
    accuracy: 5th percentile of the test accuracy of the zoo.
    tau: median quotient distance from a training network to the nearest other one, of final
      checkpoints of independent runs: the median distance between independent runs.
    max_iou: mean over training networks of the largest error-IoU with another.
    norm: median norm of the networks of the zoo.
  """

  accuracy: float
  tau: float
  max_iou: float
  norm: float

  def __post_init__(self):
    if not self.tau > MIN_TAU * self.norm:
      raise ValueError(
        f'tau, the median distance between independent runs, is {self.tau:.3g}, not above '
        f'{MIN_TAU:g} of the median norm {self.norm:.3g} of the networks: half of the training '
        'networks have a copy among the others, up to symmetry.'
      )

  def strict(self, accuracy: np.ndarray, distance: np.ndarray, *, share: float = 1.0) -> np.ndarray:
    """[N] bool, gate G: as accurate as the zoo, and as far from it as `share` of tau.

    A share of 0.5 is the half gate.
    """
    return (accuracy >= self.accuracy) & (distance >= share * self.tau)

  def functional(self, accuracy: np.ndarray, max_iou: np.ndarray) -> np.ndarray:
    """[N] bool, gate G_b: as accurate as the zoo, and a largest error-IoU like that of the zoo."""
    return (accuracy >= self.accuracy) & (max_iou <= self.max_iou)

  def copies(self, distance: np.ndarray) -> np.ndarray:
    """[N] bool, whether a sample is a copy: nearer than 0.1 tau to a training network."""
    return distance < COPY * self.tau


def above_chance(chance: float, num_items: int) -> float:
  """Accuracy above which a network is not at chance: 3 standard errors at n items."""
  return chance + 3 * np.sqrt(chance * (1 - chance) / num_items)


class Finetune(Protocol):
  """Continues training by the recipe of the zoo."""

  def __call__(
    self, params: typing.StackedParams, *, steps: int, seed: int
  ) -> typing.StackedParams:
    """Networks after `steps` steps from `params`."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Population:
  """Networks of a zoo: those that baselines are made of, and those that are held out.

  Attributes:
    architecture: of all networks.
    train: path -> [N, ...] networks that a generator was trained on: final checkpoints of
      independent runs, or the checkpoints of one run.
    heldout: path -> [M, ...] further runs of the same recipe; None if there are none.
    reference: weights of the network that others are aligned to.
    snapshots: path -> [S, ...] other checkpoints of those runs that the generator was trained on,
      or None. A sample near one of them is a copy; they count for nothing else, since early ones
      are nearer to every network than final ones are to each other.
    independent: whether training networks are of independent runs. If they are of one run, the
      thresholds come from the held-out networks.
    mode: a mode of `canonicalize` that aligns, for aligned baselines and fidelity. It is not the
      mode a generator was trained in, and it must not differ between runs that are compared.
    restarts: of weight matching.
    finetune: training of the zoo, for the fine-tuned baseline; None: left out.
    finetune_steps: numbers of steps k to try.
    fresh_seconds: wall time of one training run; None if it was not measured.
    seed: of everything random in the evaluation.
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
        f'mode is {self.mode!r}, but must align networks; allowed: {", ".join(allowed)}. It is not '
        'the mode a generator is trained in.'
      )
    if self.num_train < 2:
      raise ValueError(
        f'A zoo of {self.num_train} training networks has no spread; at least 2 are needed.'
      )

  @property
  def num_train(self) -> int:
    """Number N of training networks."""
    return networks.length(self.train)

  @property
  def num_runs(self) -> int:
    """Number of runs that made the training networks."""
    return self.num_train if self.independent else 1

  @functools.cached_property
  def neighbours(self) -> distance_lib.Neighbours:
    """Search among the training networks."""
    return self._among(self.train)

  @functools.cached_property
  def shown(self) -> distance_lib.Neighbours:
    """Search among training networks, then snapshots."""
    if self.snapshots is None:
      return self.neighbours
    return self._among(networks.join([self.train, self.snapshots]))

  def _among(self, params: typing.StackedParams) -> distance_lib.Neighbours:
    return distance_lib.Neighbours(
      params, self.architecture.spec, self.reference, restarts=self.restarts, seed=self.seed
    )

  @functools.cached_property
  def aligned_train(self) -> typing.StackedParams:
    """Canonical forms of the training networks."""
    return self.align(self.train)

  @property
  def norm(self) -> float:
    """Median norm of the canonical forms of the training networks."""
    return float(np.median(np.linalg.norm(networks.flatten(self.aligned_train), axis=1)))

  @property
  def runs(self) -> Self:
    """Itself, or with held-out networks as training networks where these are of one run.

    Raises:
      ValueError: if there are no two held-out networks.
    """
    if self.independent:
      return self
    if self.heldout is None or networks.length(self.heldout) < 2:
      raise ValueError(
        'Checkpoints of one run do not show how runs differ; the test split needs at least 2 '
        'networks.'
      )
    usable = networks.take(self.heldout, spec_lib.finite(self.heldout))
    return dataclasses.replace(self, train=usable, heldout=None, snapshots=None, independent=True)

  def align(self, params: typing.StackedParams) -> typing.StackedParams:
    """Canonical forms of any networks, on the host."""
    options = {'reference': self.reference, 'restarts': self.restarts, 'seed': self.seed}
    aligned = canonicalize.canonicalize(params, self.architecture.spec, self.mode, **options)
    return {path: np.asarray(value) for path, value in aligned.items()}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Reference(Population):
  """The zoo and the test set that classifiers are evaluated against; costly parts are cached.

  Outputs of the architecture are logits of classes.

  Attributes:
    test_x: [n, ...] test inputs, on which nothing was selected.
    test_y: [n] int classes.
    num_bootstrap: resamples behind every interval.
  """

  test_x: np.ndarray
  test_y: np.ndarray
  num_bootstrap: int = 2000

  @functools.cached_property
  def cache(self) -> dict[Any, Any]:
    """Values that `sample.once` keeps for this reference."""
    return {}

  def resampler(self, num_items: int) -> statistics.Resampler:
    """Bootstrap of networks and of `num_items` test items."""
    key = ('resampler', num_items)
    if key not in self.cache:
      self.cache[key] = statistics.Resampler(num_items, self.num_bootstrap, self.seed)
    return self.cache[key]

  @functools.cached_property
  def items(self) -> predictions.Items:
    """The test set on the device."""
    return predictions.make_items(self.test_x, self.test_y)

  def predict(self, params: typing.StackedParams) -> predictions.Predictions:
    """Predictions of any networks on the test set."""
    return predictions.predict(self.architecture, params, self.items, seed=self.seed)

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
    return self.neighbours.nearest(
      self.train, similarity=self._train_similarity, exclude_same_index=True
    )[0]

  @functools.cached_property
  def train_iou(self) -> np.ndarray:
    """[N] largest error-IoU of each training network with another one."""
    return predictions.max_iou(self._train_similarity, exclude_same_index=True)[0]

  @functools.cached_property
  def _train_similarity(self) -> np.ndarray:
    return predictions.error_iou(self.train_errors, self.train_errors)

  @functools.cached_property
  def chance(self) -> float:
    """Accuracy of the best constant prediction: share of the largest class."""
    return float(np.max(np.bincount(self.test_y)) / len(self.test_y))

  @functools.cached_property
  def thresholds(self) -> Thresholds:
    """Thresholds of the gates, from networks of independent runs.

    Raises:
      ValueError: if neither training nor held-out networks are of independent runs, or half of
        them are copies of each other up to symmetry.
    """
    runs = self.runs
    accuracy = 1 - np.mean(runs.train_errors, axis=1)
    return Thresholds(
      accuracy=float(np.percentile(accuracy, 5)),
      tau=float(np.median(runs.train_distance)),
      max_iou=float(np.mean(runs.train_iou)),
      norm=runs.norm,
    )
