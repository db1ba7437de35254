"""Ensembles: is the mean prediction of several networks better than one?

Networks that differ in their mistakes gain, copies of one network do not. Bad networks have more to
gain: compare methods at equal accuracy.
"""

import dataclasses

import numpy as np

from wsjax.evaluation import predictions, statistics
from wsjax.evaluation.methods import Sample, once
from wsjax.evaluation.metric import Better, Metric, NotRun, Stat, metric
from wsjax.evaluation.reference import Reference

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
  """[e, k] places of the members of ensembles, each of one training seed of `groups` [N].

  Every network is in one ensemble, or left over; e is 0 where no seed has k = `size` networks.
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
    ece=predictions.ece_of(predictions.calibration_gaps(np.max(p, axis=-1), right)),
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


# Number -> label, format, unit, direction, heading, explanation.
_NUMBERS: dict[str, tuple[str, str, str, Better, str, str]] = {
  'accuracy': (
    'accuracy', '.1%', 'share', 'higher', 'accuracy',
    'Accuracy of the mean prediction of {} networks of one seed; n counts ensembles.',
  ),
  'nll': (
    'negative log likelihood', '.2f', 'nats', 'lower', 'NLL nats',
    'Loss of the mean prediction of {} networks.',
  ),
  'gain': (
    'gain', '.3f', 'nats', 'higher', 'gain nats',
    'Mean loss of {} members minus that of their ensemble: 0 for copies of one network. It grows '
    'with the error: compare at equal accuracy.',
  ),
  'ece': (
    'calibration error', '.1%', 'share', 'lower', 'ECE',
    'Expected calibration error of the mean prediction of {} networks; a mean is less sure than '
    'its members.',
  ),
}  # fmt: skip


def _metric(key: str, size: int) -> Metric:
  label, format, unit, better, heading, doc = _NUMBERS[key]

  @metric(
    f'{label} of {size}', format, name=f'ensemble{size}_{key}', unit=unit, better=better,
    heading=f'{size}: {heading}', doc=doc.format(size),
  )  # fmt: skip
  def measure(method: Sample, reference: Reference) -> Stat:
    found = ensemble(method, size)
    if key == 'ece':
      return statistics.over_networks(found.ece, found.groups, method.resampler)
    tables = {'accuracy': found.right, 'nll': found.nll, 'gain': found.members_nll - found.nll}
    return statistics.two_way(tables[key], found.groups, method.resampler)

  return measure


METRICS = tuple(_metric(key, size) for size in (4, 16) for key in _NUMBERS)
