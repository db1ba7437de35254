"""Samples with given numbers, to test metrics alone."""

import numpy as np

from wsjax.evaluation import metrics, statistics


class Given:
  """Stands for a `sample.Sample` of which only some numbers are known."""

  is_zoo = False

  def __init__(self, groups, num_items=0, num_bootstrap=200, known=(), **fields):
    self.groups = np.asarray(groups)
    self.networks = np.arange(len(self.groups))
    self.resampler = statistics.Resampler(num_items, num_bootstrap)
    self.finite = self
    self.cache = {}
    for function, *args, value in known:
      self.cache[(function.__wrapped__, *args)] = value
    vars(self).update(fields)

  def mean(self, table):
    return statistics.two_way(table, self.groups, self.resampler)

  def over_networks(self, values, window=(0.0, 1.0)):
    return statistics.over_networks(values, self.groups, self.resampler, window=window)


def measured(group, sample, reference=None):
  """Metric -> its number, of all metrics of a group."""
  return {metric.name: metric(sample, reference) for metric in metrics.load(group).metrics}
