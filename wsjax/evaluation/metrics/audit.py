"""Audit: sets of networks seen alike, whether samples, zoo or held-out runs.

What an arm is compared with is measured by the same code as the arm itself, so that no difference
comes from the ruler.
"""

import dataclasses
import functools

import numpy as np
import sklearn.metrics

from wsjax import typing
from wsjax.evaluation import context as context_lib
from wsjax.evaluation import methods, probes
from wsjax.evaluation.metrics import (
  memorization,
  nearest_neighbours,
  principal_components,
  two_sample,
)

SPACES = ('weights', 'behaviour')

# Candidates for the nearest other network of the same set.
_OTHERS = (4, 0, 2)

# Of the norm; float32 and canonical forms leave 1e-4 of a moved network.
_SAME = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Nets:
  """N networks with finite weights.

  Attributes:
    vectors: [N, d] canonical forms.
    accuracy: [N] fractions of the test set.
    max_iou: [N] largest error-IoU with a training network.
    around: the training networks around each.
    spacing: [N] quotient distance to the nearest other network of the set; NaN of a single network.
    centre: [N] distance of the canonical form to the mean of the zoo's.
    features: space -> [N, f] principal coordinates.
  """

  vectors: np.ndarray
  accuracy: np.ndarray
  max_iou: np.ndarray
  around: nearest_neighbours.Neighbourhood
  spacing: np.ndarray
  centre: np.ndarray
  features: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Auditor:
  """Describes sets of networks in terms of one zoo.

  Attributes:
    context: the zoo; its held-out networks are the ruler.
  """

  context: context_lib.Context

  @functools.cached_property
  def train(self) -> Nets:
    """The training networks, each among the others."""
    context = self.context
    around = self._around(context.aligned_train, context.train_errors, exclude_same_index=True)
    return Nets(
      vectors=self._train_vectors['weights'],
      accuracy=1 - np.mean(context.train_errors, axis=1),
      max_iou=context.train_iou,
      around=around,
      spacing=around.distance,
      centre=self._centre(self._train_vectors['weights']),
      features=self._features(self._train_vectors),
    )

  @functools.cached_property
  def heldout(self) -> Nets | None:
    """The usable held-out networks; None if there are none."""
    params = self.context.heldout
    if params is None:
      return None
    params = methods.take(params, methods.usable(params))
    if not len(next(iter(params.values()))):
      return None
    context = self.context
    errors = context.predict(params).labels != context.test_y[None]
    return self.describe(params, context.align(params), errors)

  @functools.cached_property
  def widths(self) -> dict[str, float]:
    """Space -> width of the kernel, from the training networks."""
    return {space: two_sample.bandwidth(value) for space, value in self.train.features.items()}

  def describe(
    self, params: typing.StackedParams, canonical: typing.StackedParams, errors: np.ndarray
  ) -> Nets:
    """Describes networks that are not training networks.

    Args:
      params: path -> [N, ...] finite weights.
      canonical: their canonical forms.
      errors: [N, n] bool, the test items they get wrong.

    Returns:
      What the audit compares.
    """
    context = self.context
    iou = memorization.error_iou(errors, context.train_errors)
    spacing = np.full(len(errors), np.nan)
    if len(errors) > 1:
      spacing = nearest_neighbours.search(
        canonical,
        canonical,
        context.architecture.spec,
        memorization.error_iou(errors, errors),
        exclude_same_index=True,
        seed=context.seed,
        counts=_OTHERS,
      ).distance
    vectors = self._vectors(params, canonical)
    return Nets(
      vectors=vectors['weights'],
      accuracy=1 - np.mean(errors, axis=1),
      max_iou=memorization.max_iou(iou)[0],
      around=self._around(canonical, errors),
      spacing=spacing,
      centre=self._centre(vectors['weights']),
      features=self._features(vectors),
    )

  def _around(
    self, canonical: typing.StackedParams, errors: np.ndarray, *, exclude_same_index: bool = False
  ) -> nearest_neighbours.Neighbourhood:
    context = self.context
    return nearest_neighbours.search(
      canonical,
      context.aligned_train,
      context.architecture.spec,
      memorization.error_iou(errors, context.train_errors),
      exclude_same_index=exclude_same_index,
      seed=context.seed,
    )

  @functools.cached_property
  def _probes(self) -> np.ndarray:
    return probes.choose(self.context.test_x)

  @functools.cached_property
  def _train_vectors(self) -> dict[str, np.ndarray]:
    return self._vectors(self.context.train, self.context.aligned_train)

  @functools.cached_property
  def _projections(self) -> dict[str, principal_components.Projection]:
    return {space: principal_components.fit(value) for space, value in self._train_vectors.items()}

  def _vectors(
    self, params: typing.StackedParams, canonical: typing.StackedParams
  ) -> dict[str, np.ndarray]:
    """Space -> [N, d] what is projected."""
    architecture = self.context.architecture
    return {
      'weights': methods.flatten(canonical),
      'behaviour': probes.logits(architecture, params, self._probes),
    }

  def _features(self, vectors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {space: self._projections[space](value) for space, value in vectors.items()}

  def _centre(self, vectors: np.ndarray) -> np.ndarray:
    mean = self._projections['weights'].mean
    return np.linalg.norm(vectors - mean[None], axis=1)


def disjoint(mine: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Leaves every network on one side only, where two sets share some.

  Fresh runs are drawn from the held-out networks they are compared with. Of what is shared, each
  side keeps half.

  Args:
    mine: [N, d] canonical forms, which are those of one network where they are equal up to
      rounding.
    theirs: [M, d].

  Returns:
    [N] and [M] bool, what stays.
  """
  distance = sklearn.metrics.pairwise.euclidean_distances(mine, theirs)
  same = distance <= _SAME * np.linalg.norm(theirs, axis=1)[None]
  shared = np.flatnonzero(same.any(axis=0))
  return (~same[:, shared[1::2]].any(axis=1), ~np.isin(np.arange(len(theirs)), shared[::2]))
