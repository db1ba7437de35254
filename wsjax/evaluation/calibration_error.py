"""Calibration errors and the Brier score of predicted probabilities."""

import jax
import jax.numpy as jnp
import numpy as np

NUM_BINS = 15


def bin_weights(confidence: jax.Array, num_bins: int = NUM_BINS) -> jax.Array:
  """[*b, k] one-hot membership of confidences [*b] in equal bins (0, 1/k], (1/k, 2/k], ..."""
  index = jnp.ceil(confidence * num_bins).astype(jnp.int32) - 1
  return jax.nn.one_hot(jnp.clip(index, 0, num_bins - 1), num_bins)


def expected_calibration_error(hits: jax.Array, confidence: jax.Array, num_items: int) -> jax.Array:
  """ECE [*b], sum over bins of (n_b / n) |accuracy_b - confidence_b|, from sums per bin.

  Args:
    hits: [*b, k] number of correct items per bin.
    confidence: [*b, k] sum of confidences per bin.
    num_items: n.

  Source: Guo et al. 2017, arXiv:1706.04599, eq. 3; n_b cancels.
  """
  return jnp.sum(jnp.abs(hits - confidence), axis=-1) / num_items


def gaps(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
  """[*b, n, k] right minus confidence [*b, n] of every item, in the bin of its confidence."""
  bins = np.asarray(bin_weights(confidence))
  return (right - confidence)[..., None] * bins


def ece(gaps: np.ndarray) -> np.ndarray:
  """Expected calibration error [*b] of `gaps` [*b, n, k]."""
  return np.abs(gaps.sum(axis=-2)).sum(axis=-1) / gaps.shape[-2]


def brier(probabilities: jax.Array, labels: jax.Array) -> jax.Array:
  """Brier score [*b] of items, in [0, 2], from class probabilities [*b, c] and labels [*b].

  Source: Brier 1950, Monthly Weather Review 78:1.
  """
  target = jax.nn.one_hot(labels, probabilities.shape[-1])
  return jnp.sum((probabilities - target) ** 2, axis=-1)
