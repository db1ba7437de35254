"""Vendi score: how many different networks an arm amounts to."""

import numpy as np

from wsjax.evaluation.metrics import two_sample

# Networks compared at once. The score grows with their number, so it is the same for all arms that
# have so many.
NUM_NETS = 64


def score(products: np.ndarray) -> float:
  """The effective number of networks.

  Args:
    products: [N, N] kernel of the networks, 1 on the diagonal.

  Returns:
    From 1, all alike, to N, nothing in common.

  Source: Friedman and Dieng 2023, arXiv:2210.02410, definition 3.1.
  """
  values = np.linalg.eigvalsh(products / len(products))
  values = values[values > 1e-12]
  return float(np.exp(-np.sum(values * np.log(values))))


def ratio(
  rng: np.random.Generator,
  samples: np.ndarray,
  heldout: np.ndarray,
  width: float,
  *,
  num_subsets: int = 8,
) -> tuple[float, int]:
  """Score of the samples over that of equally many held-out networks.

  Args:
    rng: which networks.
    samples: [N, f], at least 2.
    heldout: [M, f], at least 2.
    width: of a Gaussian kernel.
    num_subsets: of equally many networks; their scores are averaged.

  Returns:
    The ratio, and the number of networks it was taken of: 64, or all of the smaller set.
  """
  count = min(NUM_NETS, len(samples), len(heldout))

  def mean_score(features: np.ndarray) -> float:
    subsets = [
      features[rng.permutation(len(features))[:count]]
      for _ in range(num_subsets if len(features) > count else 1)
    ]
    return float(np.mean([score(two_sample.kernel(x, x, width)) for x in subsets]))

  return mean_score(samples) / mean_score(heldout), count
