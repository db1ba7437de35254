"""Ensembles: is the mean prediction of several networks better than one?

Networks that differ in their mistakes gain, copies of one network do not. Bad networks have more to
gain: compare methods at equal accuracy.
"""

import dataclasses

import numpy as np

from wsjax.evaluation import calibration_error, predictions, statistics
from wsjax.evaluation.metric import NotRun, Stat, metric
from wsjax.evaluation.reference import Reference
from wsjax.evaluation.sample import Sample, once

LIMIT = (128, 1024)
GROUP = 'Ensembles'


@dataclasses.dataclass(frozen=True, eq=False)
class Ensembles:
  """Mean predictions of e ensembles on n items.

  Attributes:
    groups: [e] which seed made the members.
    right: [e, n] bool.
    nll: [e, n] loss of the mean of probabilities, nats.
    members_nll: [e, n] mean loss of the members; at least `nll` by Jensen.
    ece: [e] expected calibration error.

  Source: Lakshminarayanan et al. 2017, arXiv:1612.01474, section 2.4 (mean of probabilities).
  """

  groups: np.ndarray
  right: np.ndarray
  nll: np.ndarray
  members_nll: np.ndarray
  ece: np.ndarray


def draw(groups: np.ndarray, size: int, *, seed: int = 0) -> np.ndarray:
  """Members of ensembles: every network is in one, or left over.

  Args:
    groups: [N] which seed made each network; members are of one seed.
    size: networks k of an ensemble.
    seed: of the draw.

  Returns:
    [e, k] places of networks; e is 0 where no seed has k networks.
  """
  rng = np.random.default_rng(seed)
  members = []
  for group in np.unique(groups):
    places = rng.permutation(np.flatnonzero(groups == group))
    whole = len(places) // size
    members.append(places[: whole * size].reshape(whole, size))
  return np.concatenate(members)


def combine(log_p: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Ensembles:
  """Ensembles of members with log-probabilities [e, k, n, c]; labels [n], groups [e]."""
  p = np.mean(np.exp(log_p, dtype=np.float64), axis=1)
  item = np.arange(len(labels))
  right = np.argmax(p, axis=-1) == labels[None]
  return Ensembles(
    groups=groups,
    right=right,
    nll=-np.log(np.maximum(p[:, item, labels], 1e-30)),
    members_nll=-np.mean(log_p[:, :, item, labels], axis=1, dtype=np.float64),
    ece=calibration_error.ece(calibration_error.gaps(np.max(p, axis=-1), right)),
  )


@once
def log_probabilities(method: Sample) -> np.ndarray:
  """[N, n, c] natural logarithms of class probabilities."""
  return predictions.log_probabilities(method.reference.architecture, method.params, method.x)


@once
def ensemble(method: Sample, size: int) -> Ensembles:
  """Ensembles of `size` networks of a method; raises NotRun if no seed has so many."""
  members = draw(method.groups, size, seed=method.reference.seed)
  if not len(members):
    raise NotRun(f'no seed has {size} networks')
  groups = method.groups[members[:, 0]]
  return combine(log_probabilities(method)[members], method.y, groups)


@metric('accuracy of 4', '.1%', better='higher', heading='4: accuracy')
def ensemble4_accuracy(method: Sample, reference: Reference) -> Stat:
  """Accuracy of the mean prediction of 4 networks of one seed; n counts ensembles."""
  found = ensemble(method, 4)
  return statistics.two_way(found.right, found.groups, method.resampler)


@metric('negative log likelihood of 4', '.2f', better='lower', heading='4: NLL nats', unit='nats')
def ensemble4_nll(method: Sample, reference: Reference) -> Stat:
  """Loss of the mean prediction of 4 networks."""
  found = ensemble(method, 4)
  return statistics.two_way(found.nll, found.groups, method.resampler)


@metric('gain of 4', '.3f', better='higher', heading='4: gain nats', unit='nats')
def ensemble4_gain(method: Sample, reference: Reference) -> Stat:
  """Mean loss of 4 members minus that of their ensemble: 0 for copies of one network. It grows
  with the error: compare at equal accuracy.
  """
  found = ensemble(method, 4)
  return statistics.two_way(found.members_nll - found.nll, found.groups, method.resampler)


@metric('calibration error of 4', '.1%', better='lower', heading='4: ECE')
def ensemble4_ece(method: Sample, reference: Reference) -> Stat:
  """Expected calibration error of the mean prediction of 4 networks; a mean is less sure than its
  members.
  """
  found = ensemble(method, 4)
  return statistics.over_networks(found.ece, found.groups, method.resampler)


@metric('accuracy of 16', '.1%', better='higher', heading='16: accuracy')
def ensemble16_accuracy(method: Sample, reference: Reference) -> Stat:
  """Accuracy of the mean prediction of 16 networks of one seed; n counts ensembles."""
  found = ensemble(method, 16)
  return statistics.two_way(found.right, found.groups, method.resampler)


@metric('negative log likelihood of 16', '.2f', better='lower', heading='16: NLL nats', unit='nats')
def ensemble16_nll(method: Sample, reference: Reference) -> Stat:
  """Loss of the mean prediction of 16 networks."""
  found = ensemble(method, 16)
  return statistics.two_way(found.nll, found.groups, method.resampler)


@metric('gain of 16', '.3f', better='higher', heading='16: gain nats', unit='nats')
def ensemble16_gain(method: Sample, reference: Reference) -> Stat:
  """Mean loss of 16 members minus that of their ensemble: 0 for copies of one network. It grows
  with the error: compare at equal accuracy.
  """
  found = ensemble(method, 16)
  return statistics.two_way(found.members_nll - found.nll, found.groups, method.resampler)


@metric('calibration error of 16', '.1%', better='lower', heading='16: ECE')
def ensemble16_ece(method: Sample, reference: Reference) -> Stat:
  """Expected calibration error of the mean prediction of 16 networks; a mean is less sure than its
  members.
  """
  found = ensemble(method, 16)
  return statistics.over_networks(found.ece, found.groups, method.resampler)
