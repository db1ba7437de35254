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
  pairs = [np.mean(labels[i] != labels[j]) for i in range(len(labels)) for j in range(i)]
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


def mmd2(a, b, width, biased=False):
  """Squared discrepancy of two sets, pair by pair."""

  def mean(x, y, same):
    values = [
      np.exp(-np.sum((p - q) ** 2) / (2 * width**2))
      for i, p in enumerate(x)
      for j, q in enumerate(y)
      if biased or not same or i != j
    ]
    return np.mean(values)

  return mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False)


def energy(a, b):
  """Energy distance of two sets, pair by pair, none with itself."""

  def mean(x, y, same):
    return np.mean(
      [
        np.linalg.norm(p - q)
        for i, p in enumerate(x)
        for j, q in enumerate(y)
        if not same or i != j
      ]
    )

  return 2 * mean(a, b, False) - mean(a, a, True) - mean(b, b, True)


def balls(points, k):
  """Distance of each point to its k-th nearest other one."""
  return [
    sorted(np.linalg.norm(p - q) for j, q in enumerate(points) if j != i)[k - 1]
    for i, p in enumerate(points)
  ]


def coverage(real, samples, k):
  """Density, coverage, precision and recall, ball by ball."""
  reach, sample_reach = balls(real, k), balls(samples, k)
  near = [[np.linalg.norm(x - y) <= r for y in samples] for x, r in zip(real, reach, strict=True)]
  back = [
    any(np.linalg.norm(x - y) <= r for y, r in zip(samples, sample_reach, strict=True))
    for x in real
  ]
  return {
    'density': np.sum(near) / (k * len(samples)),
    'coverage': np.mean([any(row) for row in near]),
    'precision': np.mean([any(column) for column in zip(*near, strict=True)]),
    'recall': np.mean(back),
  }


def one_nearest(a, b):
  """Of each network, the share of its nearest others that are of its set."""
  pooled = [(0, p) for p in a] + [(1, p) for p in b]
  hits = []
  for i, (mine, p) in enumerate(pooled):
    others = [(np.linalg.norm(p - q), of) for j, (of, q) in enumerate(pooled) if j != i]
    least = min(distance for distance, _ in others)
    hits.append(np.mean([of == mine for d, of in others if d == least]))
  return np.array(hits)
