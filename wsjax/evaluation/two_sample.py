"""Comparison of two sets of networks: could the samples be further training runs?

The width of a kernel comes from the training networks, so that values are comparable and
permutations leave it unchanged. Balls are those of held-out networks and samples: a copy lies in
the middle of those of training networks.
"""

import numpy as np
import scipy.spatial.distance

NUM_PERMUTATIONS = 1000
NUM_PROJECTIONS = 512
BALL = 5  # Neighbours that make a ball.
# Networks of one Vendi score, which grows with their number.
VENDI_NETWORKS = 64
_SUBSETS, _VENDI_SUBSETS = 16, 8  # Choices of networks that are averaged.


def bandwidth(features: np.ndarray) -> float:
  """Median distance of two networks of [N, f], the usual kernel width; 1 if most coincide.

  Source: Gretton et al. 2012, JMLR 13:723, section 8.
  """
  return float(np.median(scipy.spatial.distance.pdist(features))) or 1.0


def kernel(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
  """[A, B] Gaussian kernel exp(-|a - b|^2 / (2 width^2))."""
  squared = scipy.spatial.distance.cdist(a, b, 'sqeuclidean')
  return np.exp(-squared / (2 * width**2))


def mmd2(products: np.ndarray, first: np.ndarray, *, biased: bool = False) -> np.ndarray:
  """Squared maximum mean discrepancy [B] of two parts of a pooled sample.

  Args:
    products: [N, N] kernel of all networks, 1 on the diagonal.
    first: [B, N] bool, which networks are the first part.
    biased: whether a network is also compared with itself; then the value is never negative.

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
  """Unbiased squared discrepancy of [A, f] and [B, f], and its p-value by permutation.

  The width of the kernel must not depend on which network is in which set.
  """
  pooled = np.concatenate([a, b])
  products = kernel(pooled, pooled, width)
  order = np.argsort(rng.random((num_permutations, len(pooled))), axis=1)
  value = mmd2(products, (np.arange(len(pooled)) < len(a))[None])[0]
  # Sums in another order may differ in the last digits of the same value.
  as_large = mmd2(products, order < len(a)) >= value - 1e-12
  return float(value), float((1 + as_large.sum()) / (1 + num_permutations))


def energy(a: np.ndarray, b: np.ndarray) -> float:
  """Energy distance 2 E|x - y| - E|x - x'| - E|y - y'| of [A, f] and [B, f], A and B >= 2.

  No network is compared with itself: two sets of one distribution have 0 in the mean, and may be
  below 0.

  Source: Szekely and Rizzo 2013, J. Stat. Plan. Inference 143:1249.
  """
  across = scipy.spatial.distance.cdist(a, b).mean()
  within = [scipy.spatial.distance.pdist(some).mean() for some in (a, b)]
  return float(2 * across - sum(within))


def sliced_wasserstein(
  rng: np.random.Generator, a: np.ndarray, b: np.ndarray, *, num_projections: int = NUM_PROJECTIONS
) -> float:
  """Sliced Wasserstein distance of order 2 between two sets [n, f], along uniform random lines.

  It is above 0 for two draws of one distribution, too.

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
  rng: np.random.Generator, samples: np.ndarray, train: np.ndarray, real: np.ndarray, width: float
) -> float:
  """Discrepancy of samples [n, f] over that of training networks [N, f], both to real ones [m, f].

  It is about 1 for a generator as good as the training networks are. Discrepancies are of n
  networks and biased, for the unbiased one of equal distributions is 0 up to its sign; those of
  16 choices of n training networks are averaged.
  """

  def discrepancy(some: np.ndarray) -> float:
    pooled = np.concatenate([some, real])
    first = np.arange(len(pooled)) < len(some)
    products = kernel(pooled, pooled, width)
    return float(np.sqrt(max(mmd2(products, first[None], biased=True)[0], 0)))

  subsets = [
    discrepancy(train[rng.permutation(len(train))[: len(samples)]]) for _ in range(_SUBSETS)
  ]
  return discrepancy(samples) / float(np.mean(subsets))


def radii(features: np.ndarray, k: int = BALL) -> np.ndarray:
  """[N] distance of each network of [N, f] to its k-th nearest other one.

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
  """Density, coverage, precision and recall, network by network, of equally many networks [N, f].

  The mean of each array is the metric of that name.

  Returns:
    density: [N] balls of k real networks around each sample, over k; mean 1 where both are alike,
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
  """The effective number of networks of a kernel [N, N]: 1, all alike, to N, nothing in common.

  Source: Friedman and Dieng 2023, arXiv:2210.02410, definition 3.1.
  """
  values = np.linalg.eigvalsh(products / len(products))
  values = values[values > 1e-12]
  return float(np.exp(-np.sum(values * np.log(values))))


def vendi_ratio(
  rng: np.random.Generator, samples: np.ndarray, heldout: np.ndarray, width: float
) -> tuple[float, int]:
  """Vendi score of samples [N, f] over that of held-out networks [M, f], and their number.

  It is taken of at most 64 networks of each set, and averaged over 8 choices of them.
  """
  count = min(VENDI_NETWORKS, len(samples), len(heldout))

  def mean_score(features: np.ndarray) -> float:
    subsets = [
      features[rng.permutation(len(features))[:count]]
      for _ in range(_VENDI_SUBSETS if len(features) > count else 1)
    ]
    return float(np.mean([vendi_score(kernel(x, x, width)) for x in subsets]))

  return mean_score(samples) / mean_score(heldout), count
