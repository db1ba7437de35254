"""Recalibration: what one temperature mends, and what no temperature can."""

from typing import Any

import numpy as np
import scipy.special

from wsjax.evaluation import statistics
from wsjax.evaluation.metrics import calibration

# Inverse temperatures that are looked between, in so many halvings.
_RANGE = (1e-2, 1e2)
_HALVINGS = 40


def temperature(log_p: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """The temperature of each network that makes its labels most likely.

  The likelihood is log-concave in the inverse temperature, so that its slope has one zero, which is
  found by halving in logarithms. One more item, a mean over the others whose label may be any,
  keeps networks without an error from being as sure as can be.

  Args:
    log_p: [N, n, c] natural logarithms of class probabilities.
    labels: [n] int.

  Returns:
    [N] within 0.01 and 100, above 1 for networks that are too sure.

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


def scaled_nll(log_p: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Loss of every item at the temperature that the other half of items wants.

  Args:
    log_p: [N, n, c], n at least 2.
    labels: [n].

  Returns:
    [N, n] negative log likelihood, nats.
  """
  table = np.empty(log_p.shape[:2])
  for part in range(2):
    mine, others = slice(part, None, 2), slice(1 - part, None, 2)
    beta = 1 / temperature(log_p[:, others], labels[others])
    scaled = scipy.special.log_softmax(log_p[:, mine] * beta[:, None, None], axis=-1)
    item = np.arange(scaled.shape[1])
    table[:, mine] = -scaled[:, item, labels[mine]]
  return table


def classwise(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Mean over classes of the calibration error of their probabilities.

  Args:
    p: [N, n, c].
    labels: [n].

  Returns:
    [N] fractions; biased upwards, as all such sums over bins are.

  Source: Kull et al. 2019, arXiv:1910.12656, definition of classwise-ECE.
  """
  errors = []
  for c in range(p.shape[-1]):
    bins = np.asarray(calibration.bin_weights(p[..., c]))
    errors.append(
      calibration.expected_calibration_error(
        np.einsum('i,nib->nb', labels == c, bins),
        np.einsum('ni,nib->nb', p[..., c], bins),
        len(labels),
      )
    )
  return np.mean(errors, axis=0)


def debiased(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
  """Squared calibration error without the part that chance adds.

  Args:
    confidence: [N, n] largest class probability.
    right: [N, n] bool.

  Returns:
    [N] mean over items of (accuracy - confidence)^2 of their bin, less its variance; below 0 by
    chance. Bins of one item are left out.

  Source: Kumar et al. 2019, arXiv:1909.10155, section 4 (debiased estimator).
  """
  bins = np.asarray(calibration.bin_weights(confidence), np.float64)
  count = bins.sum(axis=1)
  share = np.maximum(count, 1)
  accuracy = np.einsum('ni,nib->nb', right, bins) / share
  sure = np.einsum('ni,nib->nb', confidence, bins) / share
  chance = accuracy * (1 - accuracy) / np.maximum(count - 1, 1)
  error = np.where(count > 1, (accuracy - sure) ** 2 - chance, 0)
  return np.sum(count * error, axis=1) / confidence.shape[1]


def metrics(
  log_p: np.ndarray, labels: np.ndarray, groups: np.ndarray, resampler: statistics.Resampler
) -> dict[str, Any]:
  """Calibration of an arm before and after a temperature.

  Args:
    log_p: [N, n, c] natural logarithms of class probabilities.
    labels: [n] int.
    groups: [N] which seed made each network.
    resampler: for the intervals, with num_items n.

  Returns:
    metric -> entry of the report: 'scaled_nll', nats, and 'temperature' of all items;
    'classwise_ece'; 'debiased_ce', a mean square.
  """
  p = np.exp(log_p, dtype=np.float64)
  right = np.argmax(p, axis=-1) == labels[None]
  return {
    'scaled_nll': statistics.two_way(scaled_nll(log_p, labels), groups, resampler),
    'temperature': statistics.over_nets(temperature(log_p, labels), groups, resampler, window=None),
    'classwise_ece': statistics.over_nets(classwise(p, labels), groups, resampler),
    'debiased_ce': statistics.over_nets(debiased(p.max(axis=-1), right), groups, resampler),
  }
