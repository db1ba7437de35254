"""Slow and obvious versions of the measures of wsjax.evaluate."""

import numpy as np


def softmax(logits):
  shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
  return shifted / shifted.sum(axis=-1, keepdims=True)


def error_iou(a, b):
  """Of two networks, by sets."""
  a = {i for i, wrong in enumerate(a) if wrong}
  b = {i for i, wrong in enumerate(b) if wrong}
  return len(a & b) / len(a | b) if a | b else 1.0


def ece(correct, confidence, num_bins=15):
  """Of one network, bin by bin."""
  total = 0.0
  for number in range(num_bins):
    low, high = number / num_bins, (number + 1) / num_bins
    inside = [i for i in range(len(correct)) if low < confidence[i] <= high]
    if inside:
      accuracy = np.mean([correct[i] for i in inside])
      mean_confidence = np.mean([confidence[i] for i in inside])
      total += len(inside) * abs(accuracy - mean_confidence)
  return total / len(correct)


def disagreement(labels):
  """Mean over pairs of networks of the share of items they call otherwise."""
  pairs = [
    np.mean(labels[i] != labels[j])
    for i in range(len(labels))
    for j in range(i)
  ]
  return np.mean(pairs)


def two_way_bootstrap(table, num_bootstrap, seed):
  """Means of tables whose rows and columns are drawn again."""
  rng = np.random.default_rng(seed)
  means = []
  for _ in range(num_bootstrap):
    rows = rng.integers(len(table), size=len(table))
    columns = rng.integers(table.shape[1], size=table.shape[1])
    means.append(table[rows][:, columns].mean())
  return np.array(means)
