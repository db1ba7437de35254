"""Likelihood and calibration: rank by the likelihood and the Brier score.

The expected calibration error is biased upwards, so it is given with the value that a perfectly
calibrated network with the same confidences would have by chance.
"""

from wsjax.evaluation.methods import Sample
from wsjax.evaluation.metric import Stat, metric
from wsjax.evaluation.reference import Reference

GROUP = 'Calibration'


@metric('negative log likelihood', '.2f', better='lower', heading='NLL nats', unit='nats')
def nll(method: Sample, reference: Reference) -> Stat:
  """Mean over test items and networks."""
  return method.mean(method.predicted.nll)


@metric('Brier score', '.3f', better='lower', heading='Brier')
def brier(method: Sample, reference: Reference) -> Stat:
  """Squared distance of the class probabilities to the truth, 0 to 2."""
  return method.over_networks(method.predicted.brier)


@metric('calibration error', '.1%', better='lower', heading='ECE')
def ece(method: Sample, reference: Reference) -> Stat:
  """Expected calibration error, 15 bins of equal width; biased upwards, so read it beside its
  chance level.
  """
  return method.over_networks(method.predicted.ece)


@metric('calibration error by chance', '.1%', heading='ECE null')
def ece_null(method: Sample, reference: Reference) -> Stat:
  """Expected calibration error of a perfectly calibrated network with these confidences."""
  return method.over_networks(method.predicted.ece_null)
