"""Null models: samples that use the vectors of a zoo and learn nothing.

All take a NumPy generator first; vectors are networks laid flat.
"""

import numpy as np

from wsjax.evaluation import principal_components


def noise(rng: np.random.Generator, zoo: np.ndarray, n: int, sigma: float) -> np.ndarray:
  """Random training networks plus white noise.

  Args:
    rng: source of randomness.
    zoo: [N, d].
    n: samples.
    sigma: standard deviation of the noise, in units of the weights.

  Returns:
    [n, d] float32.
  """
  copies = zoo[rng.integers(len(zoo), size=n)]
  return copies + np.float32(sigma) * rng.standard_normal(copies.shape, np.float32)


def mixture(rng: np.random.Generator, n: int, count: int, k: int) -> np.ndarray:
  """Weights of the mean of k different networks out of `count`.

  Returns:
    [n, count] float32, k entries of 1 / k in every row.
  """
  order = np.argsort(rng.random((n, count)), axis=1)[:, :k]
  weights = np.zeros((n, count), np.float32)
  np.put_along_axis(weights, order, np.float32(1 / k), axis=1)
  return weights


def interpolation(rng: np.random.Generator, n: int, count: int) -> np.ndarray:
  """Weights 1 - t and t of two different networks, t uniform in [0, 1].

  A fifth of the samples is thus within a tenth of the way from an end.

  Returns:
    [n, count] float32.
  """
  pair = np.argsort(rng.random((n, count)), axis=1)[:, :2]
  t = rng.random((n, 1), np.float32)
  weights = np.zeros((n, count), np.float32)
  np.put_along_axis(weights, pair, np.concatenate([1 - t, t], axis=1), axis=1)
  return weights


def gaussian(rng: np.random.Generator, zoo: np.ndarray, n: int) -> np.ndarray:
  """Independent normal coordinates with the mean and deviation of the zoo.

  Args:
    rng: source of randomness.
    zoo: [N, d] aligned.
    n: samples.

  Returns:
    [n, d] float32.
  """
  z = rng.standard_normal((n, zoo.shape[1]), np.float32)
  mean, deviation = zoo.mean(axis=0), zoo.std(axis=0, ddof=1)
  return mean[None] + z * deviation[None]


def pca_gaussian(rng: np.random.Generator, zoo: np.ndarray, n: int, rank: int) -> np.ndarray:
  """A normal distribution on the leading principal components of the zoo.

  With centred zoo X = U S V', the samples are mean + z S V' / sqrt(N - 1).

  Args:
    rng: source of randomness.
    zoo: [N, d] aligned.
    n: samples.
    rank: components kept, below N; d if that is less.

  Returns:
    [n, d] float32.
  """
  mean = zoo.mean(axis=0, keepdims=True)
  _, scaled = principal_components.leading(zoo - mean, rank)
  z = rng.standard_normal((n, len(scaled)), np.float32)
  return mean + z @ scaled / np.float32(np.sqrt(len(zoo) - 1))
