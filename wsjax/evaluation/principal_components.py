"""Principal components of the training networks, in which sets of networks are compared.

All distances are alike in thousands of dimensions. Components of the training networks alone favour
no method.
"""

import dataclasses

import numpy as np

MAX_DIMS = 64

# Training networks per component. With as many components as networks, each would be one network's
# own, which no other network can have.
_NETS_PER_DIM = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Projection:
  """The affine map onto f components.

  Attributes:
    mean: [d] of the training vectors.
    axes: [d, f] orthonormal columns, the component of most variance first.
  """

  mean: np.ndarray
  axes: np.ndarray

  def __call__(self, vectors: np.ndarray) -> np.ndarray:
    """[N, f] float64 coordinates of vectors [N, d]."""
    centred = (vectors - self.mean[None]).astype(np.float32)
    return (centred @ self.axes).astype(np.float64)


def fit(vectors: np.ndarray) -> Projection:
  """The projection of training vectors [N, d] onto their components of any variance.

  There are at most min(64, N / 8) of them, or 2 of few networks.
  """
  mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
  centred = (vectors - mean[None]).astype(np.float32)
  dims = min(MAX_DIMS, max(len(vectors) // _NETS_PER_DIM, 2))
  values, rows = leading(centred, dims)
  some = values > 1e-6 * max(values.max(), 1e-12)
  deviations = np.sqrt(values[some]).astype(np.float32)
  return Projection(mean, rows[some].T / deviations[None])


def leading(centred: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
  """The leading principal components of centred X [N, d] = U S V', float32.

  Returns:
    [f] float64, the squares of S, largest first; [f, d] float32, the rows of S V'. f is `count`, or
    less if N or d is.
  """
  few_nets = len(centred) <= centred.shape[1]
  products = centred @ centred.T if few_nets else centred.T @ centred
  values, vectors = np.linalg.eigh(products.astype(np.float64))
  values, vectors = values[::-1][:count], vectors.T[::-1][:count]
  if few_nets:
    return values, vectors.astype(np.float32) @ centred
  deviations = np.sqrt(np.maximum(values, 0))
  return values, (deviations[:, None] * vectors).astype(np.float32)
