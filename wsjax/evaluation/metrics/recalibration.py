"""Calibration that one temperature mends, and calibration that no temperature can mend."""

import numpy as np
import scipy.special

from wsjax.evaluation import predictions
from wsjax.evaluation.methods import Sample, once
from wsjax.evaluation.metric import Stat, metric
from wsjax.evaluation.reference import Reference

LIMIT = (64, 1024)
GROUP = 'Calibration'

# Range of the inverse temperature, and steps of the bisection.
_RANGE = (1e-2, 1e2)
_HALVINGS = 40


def best_temperature(log_p: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """[N] temperature of each network that makes its labels [n] most likely, within 0.01 and 100.

  The likelihood is log-concave in the inverse temperature: the zero of its slope is found by
  bisection of the logarithm. One more item, the mean of the others with a uniform label, keeps the
  temperature of networks without an error above 0. Above 1 a network is too sure.

  Args:
    log_p: [N, n, c] natural logarithms of class probabilities.
    labels: [n] int.

  Source: Guo et al. 2017, arXiv:1706.04599, section 4.2.
  """
  z = np.asarray(log_p, np.float64)
  picked = z[:, np.arange(len(labels)), labels].mean(axis=1)
  anything = z.mean(axis=(1, 2))
  low, high = (np.full(len(z), np.log(end)) for end in _RANGE)
  for _ in range(_HALVINGS):
    middle = (low + high) / 2
    p = scipy.special.softmax(z * np.exp(middle)[:, None, None], axis=-1)
    mean = np.sum(p * z, axis=-1).mean(axis=1)
    slope = mean - picked + (mean - anything) / len(labels)
    rising = slope > 0  # Of the loss, with the inverse temperature.
    low, high = np.where(rising, low, middle), np.where(rising, middle, high)
  return np.exp(-(low + high) / 2)


def scaled_losses(log_p: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """[N, n] loss of every item, nats, at the best temperature of the other half of the items."""
  table = np.empty(log_p.shape[:2])
  for part in range(2):
    mine, others = slice(part, None, 2), slice(1 - part, None, 2)
    beta = 1 / best_temperature(log_p[:, others], labels[others])
    scaled = scipy.special.log_softmax(log_p[:, mine] * beta[:, None, None], axis=-1)
    item = np.arange(scaled.shape[1])
    table[:, mine] = -scaled[:, item, labels[mine]]
  return table


def classwise(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """[N] mean over classes of the calibration error of probabilities [N, n, c]; biased upwards.

  Source: Kull et al. 2019, arXiv:1910.12656, definition of classwise-ECE.
  """
  errors = [
    predictions.ece_of(predictions.calibration_gaps(p[..., c], labels == c))
    for c in range(p.shape[-1])
  ]
  return np.mean(errors, axis=0)


def debiased(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
  """[N] mean of (accuracy - confidence)^2 of the bin of an item, less its variance by chance.

  Args:
    confidence: [N, n] largest class probability.
    right: [N, n] bool.

  Returns:
    Below 0 by chance. Bins of one item are left out.

  Source: Kumar et al. 2019, arXiv:1909.10155, section 4 (debiased estimator).
  """
  bins = np.asarray(predictions.bin_weights(confidence), np.float64)
  count = bins.sum(axis=1)
  share = np.maximum(count, 1)
  accuracy = np.einsum('ni,nib->nb', right, bins) / share
  sure = np.einsum('ni,nib->nb', confidence, bins) / share
  chance = accuracy * (1 - accuracy) / np.maximum(count - 1, 1)
  error = np.where(count > 1, (accuracy - sure) ** 2 - chance, 0)
  return np.sum(count * error, axis=1) / confidence.shape[1]


@once
def log_probabilities(method: Sample) -> np.ndarray:
  """[N, n, c] natural logarithms of class probabilities of the finite networks."""
  finite = method.finite
  return predictions.log_probabilities(method.reference.architecture, finite.params, method.x)


@metric('loss at the best temperature', '.3f', better='lower', heading='NLL scaled', unit='nats')
def scaled_nll(method: Sample, reference: Reference) -> Stat:
  """Negative log likelihood at the temperature that is best for the other half of the test items:
  errors that one number mends do not count.
  """
  return method.finite.mean(scaled_losses(log_probabilities(method), method.y))


@metric('best temperature', '.2f')
def temperature(method: Sample, reference: Reference) -> Stat:
  """Median over networks. Above 1: too sure; below 1: not sure enough."""
  return method.finite.over_networks(best_temperature(log_probabilities(method), method.y), None)


@metric('calibration error of classes', '.2%', better='lower', heading='classwise ECE')
def classwise_ece(method: Sample, reference: Reference) -> Stat:
  """Calibration error of the probability of each class, mean over classes, 15 bins; biased
  upwards.
  """
  p = np.exp(log_probabilities(method), dtype=np.float64)
  return method.finite.over_networks(classwise(p, method.y))


@metric('squared calibration error', '.4f', better='lower', heading='debiased CE²')
def debiased_ce(method: Sample, reference: Reference) -> Stat:
  """Mean square of accuracy minus confidence by bins, less its expectation by chance: 0 in the
  mean for a calibrated network.
  """
  p = np.exp(log_probabilities(method), dtype=np.float64)
  right = np.argmax(p, axis=-1) == method.y[None]
  return method.finite.over_networks(debiased(p.max(axis=-1), right))
