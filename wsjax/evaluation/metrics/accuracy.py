"""Accuracy of the networks of a method; none are selected."""

import numpy as np

from wsjax.evaluation import statistics
from wsjax.evaluation.methods import Sample
from wsjax.evaluation.metric import Stat, metric
from wsjax.evaluation.reference import Reference, above_chance

GROUP = 'Function'


def nonfunctional(accuracy: np.ndarray, chance: float, num_items: int) -> np.ndarray:
  """Whether accuracies [N] are below chance plus 3 standard errors of chance at n items."""
  return accuracy < above_chance(chance, num_items)


@metric('accuracy', '.1%', better='higher')
def accuracy(method: Sample, reference: Reference) -> Stat:
  """Test accuracy, mean over all networks. Interval over networks and test items."""
  return method.mean(method.correct)


@metric('accuracy, interquartile mean', '.1%', better='higher', heading='IQM')
def accuracy_iqm(method: Sample, reference: Reference) -> Stat:
  """Mean accuracy of the middle half of the networks."""
  return method.over_networks(method.accuracy, (0.25, 0.75))


@metric('accuracy, worst decile', '.1%', better='higher', heading='worst tenth')
def accuracy_worst_decile(method: Sample, reference: Reference) -> Stat:
  """Mean accuracy of the worst tenth of the networks."""
  return method.over_networks(method.accuracy, (0.0, 0.1))


@metric('non-functional', '.1%', better='lower', heading='dead')
def nonfunctional_rate(method: Sample, reference: Reference) -> Stat:
  """Networks below chance plus three standard errors; chance is the share of the largest class."""
  return statistics.rate(nonfunctional(method.accuracy, reference.chance, len(method.y)))
