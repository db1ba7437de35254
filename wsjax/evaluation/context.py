"""Context: the zoo and the test set that all arms are measured against."""

import dataclasses
import functools

import numpy as np

from wsjax import typing
from wsjax.evaluation import gate, methods, population, predictions
from wsjax.evaluation.metrics import fidelity, memorization


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Context(population.Population):
  """What is needed to judge classifiers; what is costly is computed once.

  Outputs of the architecture are logits of classes.

  Attributes:
    test_x: [n, ...] test inputs, which no choice was made on.
    test_y: [n] int classes.
  """

  test_x: np.ndarray
  test_y: np.ndarray

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
    return self.neighbours.nearest(
      self.train, similarity=self._train_similarity, exclude_same_index=True
    )[0]

  @functools.cached_property
  def train_iou(self) -> np.ndarray:
    """[N] largest error-IoU of each training network with another one."""
    return memorization.max_iou(self._train_similarity, exclude_same_index=True)[0]

  @functools.cached_property
  def _train_similarity(self) -> np.ndarray:
    return memorization.error_iou(self.train_errors, self.train_errors)

  @functools.cached_property
  def bar(self) -> gate.Bar:
    """Thresholds of the gate, from networks of independent runs.

    Raises:
      ValueError: if neither training nor held-out networks are such.
    """
    of = self if self.independent else self._runs
    accuracy = 1 - np.mean(of.train_errors, axis=1)
    return gate.Bar(
      accuracy=float(np.percentile(accuracy, 5)),
      tau=float(np.median(of.train_distance)),
      max_iou=float(np.mean(of.train_iou)),
    )

  @property
  def _runs(self) -> 'Context':
    """The same with the held-out networks for training networks."""
    if self.heldout is None or len(next(iter(self.heldout.values()))) < 2:
      raise ValueError(
        'The checkpoints of one run say nothing of how runs differ; at least 2 '
        'networks in the test split are needed.'
      )
    usable = methods.take(self.heldout, methods.usable(self.heldout))
    return dataclasses.replace(self, train=usable, heldout=None, snapshots=None, independent=True)

  @functools.cached_property
  def dispersion(self) -> float:
    """Dispersion of the canonical training networks."""
    products = fidelity.gram(methods.flatten(self.aligned_train))
    return float(fidelity.dispersion(products))

  @functools.cached_property
  def rms(self) -> float:
    """Root mean square of the weights of the canonical training networks."""
    return fidelity.root_mean_square(self.aligned_train)

  def predict(self, params: typing.StackedParams) -> predictions.Predictions:
    """Predictions of any networks on the test set."""
    return predictions.predict(self.architecture, params, self.items, seed=self.seed)
