"""Comparison of two sets of networks: could the samples be further training runs?

A kernel has a width from the training networks, so that its values can be compared between methods
and no exchange of samples and held-out networks changes it, which the permutation test rests on.
Balls are those of held-out networks and of samples, never of training networks: a copy lies in the
middle of theirs, and would look best.
"""

import numpy as np
import scipy.spatial.distance

NUM_PERMUTATIONS = 1000
NUM_PROJECTIONS = 512
BALL = 5  # Neighbours that make a ball.
# Networks of one Vendi score, which grows with their number.
VENDI_NETWORKS = 64


def bandwidth(features: np.ndarray) -> float:
  """Median distance between two networks, the usual width of a kernel.

  Args:
    features: [N, f].

  Returns:
    The width; 1 where more than half of the pairs are the same network.

  Source: Gretton et al. 2012, JMLR 13:723, section 8.
  """
  return float(np.median(scipy.spatial.distance.pdist(features))) or 1.0


def kernel(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
  """[A, B] Gaussian kernel exp(-|a - b|^2 / (2 width^2))."""
  squared = scipy.spatial.distance.cdist(a, b, 'sqeuclidean')
  return np.exp(-squared / (2 * width**2))


def mmd2(products: np.ndarray, first: np.ndarray, *, biased: bool = False) -> np.ndarray:
  """Squared maximum mean discrepancy of two parts of a pooled sample.

  Args:
    products: [N, N] kernel of all networks, 1 on the diagonal.
    first: [B, N] bool, which networks are the first part.
    biased: whether a network is also compared with itself; then the value is never negative.

  Returns:
    [B].

  Source: Gretton et al. 2012, JMLR 13:723, equations 3 (unbiased) and 5.
  """
  one = np.asarray(first, np.float64)
  two = 1 - one
  n, m = one.sum(axis=1), two.sum(axis=1)
  with_one, with_two = one @ products, two @ products
  within_one = np.einsum('bi,bi->b', with_one, one)
  within_two = np.einsum('bi,bi->b', with_two, two)
  across = np.einsum('bi,bi->b', with_one, two)
  if biased:
    return within_one / n**2 + within_two / m**2 - 2 * across / (n * m)
  return (within_one - n) / (n * (n - 1)) + (within_two - m) / (m * (m - 1)) - 2 * across / (n * m)


def test(
  rng: np.random.Generator,
  a: np.ndarray,
  b: np.ndarray,
  width: float,
  *,
  num_permutations: int = NUM_PERMUTATIONS,
) -> tuple[float, float]:
  """Whether two sets of networks have one distribution.

  Args:
    rng: source of the permutations.
    a: [A, f].
    b: [B, f].
    width: of the kernel; must not depend on which network is in which set.
    num_permutations: behind the p-value.

  Returns:
    Unbiased squared discrepancy, and the probability of one at least as large if there is no
    difference.
  """
  pooled = np.concatenate([a, b])
  products = kernel(pooled, pooled, width)
  order = np.argsort(rng.random((num_permutations, len(pooled))), axis=1)
  value = mmd2(products, (np.arange(len(pooled)) < len(a))[None])[0]
  # Sums in another order may differ in the last digits of the same value.
  as_large = mmd2(products, order < len(a)) >= value - 1e-12
  return float(value), float((1 + as_large.sum()) / (1 + num_permutations))


def energy(a: np.ndarray, b: np.ndarray) -> float:
  """Energy distance of two sets, without a kernel or a width.

  2 E|x - y| - E|x - x'| - E|y - y'|, where no network is compared with itself, so that two sets of
  one distribution have 0 in the mean.

  Args:
    a: [A, f], at least 2.
    b: [B, f], at least 2.

  Returns:
    In units of the features; below 0 by chance.

  Source: Szekely and Rizzo 2013, J. Stat. Plan. Inference 143:1249.
  """
  across = scipy.spatial.distance.cdist(a, b).mean()
  within = [scipy.spatial.distance.pdist(some).mean() for some in (a, b)]
  return float(2 * across - sum(within))


def sliced_wasserstein(
  rng: np.random.Generator, a: np.ndarray, b: np.ndarray, *, num_projections: int = NUM_PROJECTIONS
) -> float:
  """Sliced Wasserstein distance of order 2 between two sets.

  Along a line the best match of equally many points is that of their order.

  Args:
    rng: source of the lines.
    a: [n, f].
    b: [n, f].
    num_projections: lines, uniform over directions.

  Returns:
    Root mean square over lines, in units of the features. Above 0 for two draws of one
    distribution, too.

  Raises:
    ValueError: if the sets differ in size.

  Source: Bonneel et al. 2015, J. Math. Imaging Vis. 51:22.
  """
  if len(a) != len(b):
    raise ValueError(
      f'Sets to be sorted into pairs must be equally large; got {len(a)} and {len(b)} networks.'
    )
  lines = rng.standard_normal((a.shape[1], num_projections))
  lines /= np.linalg.norm(lines, axis=0)
  gaps = np.sort(a @ lines, axis=0) - np.sort(b @ lines, axis=0)
  return float(np.sqrt(np.mean(gaps**2)))


def one_nearest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Whether the nearest other network of each is of its own set.

  The mean is the accuracy of a classifier by the nearest neighbour, left one out: 1/2 for equally
  many networks of one distribution, 1 for two sets that lie apart, and 0 if each network of one set
  is a copy of one of the other.

  Args:
    a: [A, f].
    b: [B, f].

  Returns:
    [A + B] in [0, 1]; the share of the set where several are as near.

  Raises:
    ValueError: if there are fewer than two networks.

  Source: Lopez-Paz & Oquab 2017, arXiv:1610.06545; Xu et al. 2018, arXiv:1806.07755 (the two halves
    of it tell collapse from bad samples).
  """
  pooled = np.concatenate([a, b])
  if len(pooled) < 2:
    raise ValueError(f'one_nearest needs two networks; got {len(pooled)}.')
  table = scipy.spatial.distance.cdist(pooled, pooled)
  np.fill_diagonal(table, np.inf)
  nearest = table == table.min(axis=1, keepdims=True)
  first = np.arange(len(pooled)) < len(a)
  alike = first[:, None] == first[None]
  return (nearest & alike).sum(axis=1) / nearest.sum(axis=1)


def ratio(
  rng: np.random.Generator,
  samples: np.ndarray,
  train: np.ndarray,
  heldout: np.ndarray,
  width: float,
  *,
  num_subsets: int = 16,
) -> float:
  """Discrepancy of the samples over that of the training networks.

  Both are to the held-out networks, of equally many networks, and biased, for the unbiased one of
  two equal distributions is 0 up to its sign.

  Args:
    rng: which training networks.
    samples: [n, f].
    train: [N, f], at least n.
    heldout: [m, f].
    width: of the kernel.
    num_subsets: of n training networks; their discrepancies are averaged.

  Returns:
    About 1 for a generator as good as the training networks are.
  """

  def discrepancy(some: np.ndarray) -> float:
    pooled = np.concatenate([some, heldout])
    first = np.arange(len(pooled)) < len(some)
    products = kernel(pooled, pooled, width)
    return float(np.sqrt(max(mmd2(products, first[None], biased=True)[0], 0)))

  subsets = [
    discrepancy(train[rng.permutation(len(train))[: len(samples)]]) for _ in range(num_subsets)
  ]
  return discrepancy(samples) / float(np.mean(subsets))


def radii(features: np.ndarray, k: int = BALL) -> np.ndarray:
  """Distance of each network to its k-th nearest other one.

  Args:
    features: [N, f].
    k: neighbours, below N.

  Returns:
    [N].

  Raises:
    ValueError: if there are not more than k networks.
  """
  if len(features) <= k:
    raise ValueError(
      f'The ball of {k} neighbours needs more than {k} networks; got {len(features)}.'
    )
  table = scipy.spatial.distance.cdist(features, features)
  return np.sort(table, axis=1)[:, k]  # Column 0 is the network itself.


def compare(real: np.ndarray, samples: np.ndarray, *, k: int = BALL) -> dict[str, np.ndarray]:
  """Density, coverage, precision and recall, network by network.

  The mean of each array is the metric of that name.

  Args:
    real: [N, f] held-out networks.
    samples: [N, f] equally many samples: with more, every ball would be hit.
    k: neighbours that make a ball.

  Returns:
    density: [N] balls of real networks around each sample, over k; mean 1 where both are alike,
      more where samples crowd the densest places.
    coverage: [N] bool, whether the ball of each real network holds a sample.
    precision: [N] bool, whether each sample is in a ball of a real network.
    recall: [N] bool, whether each real network is in a ball of a sample. Stray samples have large
      balls, so read it beside coverage.

  Raises:
    ValueError: if the sizes differ or are not more than k.

  Source: Naeem et al. 2020, arXiv:2002.09797, equations 3 and 4 (density and coverage);
    Kynkaanniemi et al. 2019, arXiv:1904.06991 (the other two).
  """
  if real.shape != samples.shape:
    raise ValueError(
      f'compare needs equally many real networks and samples; got {real.shape} and {samples.shape}.'
    )
  table = scipy.spatial.distance.cdist(real, samples)
  inside = table <= radii(real, k)[:, None]
  return {
    'density': inside.sum(axis=0) / k,
    'coverage': inside.any(axis=1),
    'precision': inside.any(axis=0),
    'recall': (table <= radii(samples, k)[None]).any(axis=1),
  }


def vendi_score(products: np.ndarray) -> float:
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


def vendi_ratio(
  rng: np.random.Generator,
  samples: np.ndarray,
  heldout: np.ndarray,
  width: float,
  *,
  num_subsets: int = 8,
) -> tuple[float, int]:
  """Vendi score of the samples over that of equally many held-out networks.

  Args:
    rng: which networks.
    samples: [N, f], at least 2.
    heldout: [M, f], at least 2.
    width: of a Gaussian kernel.
    num_subsets: of equally many networks; their scores are averaged.

  Returns:
    The ratio, and the number of networks it was taken of: 64, or all of the smaller set.
  """
  count = min(VENDI_NETWORKS, len(samples), len(heldout))

  def mean_score(features: np.ndarray) -> float:
    subsets = [
      features[rng.permutation(len(features))[:count]]
      for _ in range(num_subsets if len(features) > count else 1)
    ]
    return float(np.mean([vendi_score(kernel(x, x, width)) for x in subsets]))

  return mean_score(samples) / mean_score(heldout), count
