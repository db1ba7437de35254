"""Novelty of networks and of their errors, and the gates that ask for both and for accuracy."""

import numpy as np

from wsjax.evaluation import predictions, statistics
from wsjax.evaluation.methods import Sample, once
from wsjax.evaluation.metric import NotRun, Stat, metric
from wsjax.evaluation.reference import Reference, above_chance

_NOVELTY, _GATES = 'Novelty', 'Gates'


@once
def overlap(method: Sample) -> np.ndarray:
  """[N, T] error-IoU of each network with each training network."""
  return predictions.error_iou(~method.correct, method.reference.train_errors[:, method.items])


@once
def max_overlap(method: Sample) -> np.ndarray:
  """[N] largest error-IoU with another training network."""
  if method.is_zoo:
    return method.reference.train_iou[method.networks]
  return predictions.max_iou(overlap(method))[0]


@once
def distance(method: Sample) -> np.ndarray:
  """[N] quotient distance to the nearest training network; NaN for weights that are not finite."""
  if method.is_zoo:
    return method.reference.train_distance[method.networks]
  return method.reference.neighbours.nearest(method.params, similarity=overlap(method))[0]


@once
def distance_to_shown(method: Sample) -> np.ndarray:
  """[N] quotient distance to the nearest training network or snapshot."""
  if method.is_zoo or method.reference.snapshots is None:
    return distance(method)
  return np.fmin(distance(method), method.reference.shown.nearest(method.params)[0])


@once
def gates(method: Sample) -> dict[str, np.ndarray]:
  """[N] bool of each gate; raises NotRun if the zoo itself is at chance."""
  reference, thresholds = method.reference, method.reference.thresholds
  least = above_chance(reference.chance, len(reference.test_y))
  if thresholds.accuracy < least:
    raise NotRun(
      f'the 5th percentile of the accuracy of the zoo, {thresholds.accuracy:.3f}, is at chance '
      f'(below {least:.3f})'
    )
  return {
    'gate_strict': thresholds.strict(method.accuracy, distance(method)),
    'gate_half': thresholds.strict(method.accuracy, distance(method), share=0.5),
    'gate_functional': thresholds.functional(method.accuracy, max_overlap(method)),
  }


@metric('distance to nearest training network', '.3f', better='higher', heading='distance τ',
        unit='tau', group=_NOVELTY)  # fmt: skip
def novelty(method: Sample, reference: Reference) -> Stat:
  """Median quotient distance to the nearest training network, in units of τ, the median distance
  between independent runs.
  """
  return method.over_networks(distance(method) / reference.thresholds.tau, None)


@metric('copies', '.0%', better='lower', group=_NOVELTY)
def copy_rate(method: Sample, reference: Reference) -> Stat:
  """Networks nearer than 0.1 τ to a training network."""
  return statistics.rate(reference.thresholds.copies(distance_to_shown(method)))


@metric('largest error-IoU', '.2f', better='lower', heading='max IoU', group=_NOVELTY)
def max_iou(method: Sample, reference: Reference) -> Stat:
  """Overlap of the test errors with those of the most similar training network, mean. It falls
  with accuracy: compare at equal accuracy.
  """
  return method.over_networks(max_overlap(method))


@metric('largest error-IoU of accurate networks', '.2f', better='lower', heading='max IoU, ≥ p5',
        group=_NOVELTY)  # fmt: skip
def max_iou_at_threshold(method: Sample, reference: Reference) -> Stat:
  """Largest error-IoU of only those networks whose accuracy is at least the 5th percentile of the
  zoo; n is their number.
  """
  good = method.accuracy >= reference.thresholds.accuracy
  kept = method.keep(good, 'no network is as accurate as the 5th percentile of the zoo')
  return kept.over_networks(max_overlap(method)[good])


@metric('strict gate G', '.0%', better='higher', heading='G', group=_GATES)
def gate_strict(method: Sample, reference: Reference) -> Stat:
  """Accuracy at least the 5th percentile of the zoo, and distance at least τ."""
  return statistics.rate(gates(method)['gate_strict'])


@metric('half gate G½', '.0%', better='higher', heading='G½', group=_GATES)
def gate_half(method: Sample, reference: Reference) -> Stat:
  """Accuracy at least the 5th percentile of the zoo, and distance at least τ / 2."""
  return statistics.rate(gates(method)['gate_half'])


@metric('functional gate G_b', '.0%', better='higher', heading='G_b', group=_GATES)
def gate_functional(method: Sample, reference: Reference) -> Stat:
  """Accuracy at least the 5th percentile of the zoo, and largest error-IoU at most the
  leave-one-out mean of the zoo.
  """
  return statistics.rate(gates(method)['gate_functional'])
