"""Likelihood and calibration.

The expected calibration error is biased upwards, so it is given with the value that a perfectly
calibrated network with the same confidences would have by chance; rank by the negative log
likelihood and the Brier score.
"""

from wsjax.evaluation.metric import Stat, metric
from wsjax.evaluation.reference import Reference
from wsjax.evaluation.sample import Sample

_GROUP = 'Calibration'


@metric(
  'nll',
  'negative log likelihood',
  unit='nats',
  better='lower',
  group=_GROUP,
  format='.2f',
  heading='NLL nats',
)
def nll(method: Sample, reference: Reference) -> Stat:
  """Mean over test items and networks."""
  return method.mean(method.predicted.nll)


@metric('brier', 'Brier score', better='lower', group=_GROUP, format='.3f', heading='Brier')
def brier(method: Sample, reference: Reference) -> Stat:
  """Squared distance of the class probabilities to the truth, 0 to 2."""
  return method.over_networks(method.predicted.brier)


@metric(
  'ece',
  'calibration error',
  unit='share',
  better='lower',
  group=_GROUP,
  format='.1%',
  heading='ECE',
)
def ece(method: Sample, reference: Reference) -> Stat:
  """Expected calibration error, 15 bins of equal width; biased upwards, so read it beside its
  chance level.
  """
  return method.over_networks(method.predicted.ece)


@metric(
  'ece_null',
  'calibration error by chance',
  unit='share',
  group=_GROUP,
  format='.1%',
  heading='ECE null',
)
def ece_null(method: Sample, reference: Reference) -> Stat:
  """Expected calibration error of a perfectly calibrated network with these confidences."""
  return method.over_networks(method.predicted.ece_null)
