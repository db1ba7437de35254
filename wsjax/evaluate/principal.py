"""Principal components of the training networks: where sets are compared.

Balls and kernels mean little in thousands of dimensions, where all distances
are alike. The components come from the training networks alone, so that the
space is the same for all arms and favours none of them.
"""

import dataclasses

import numpy as np

MAX_DIMS = 64

# Training networks per component. With as many components as networks, each
# would be one network's own, which no other network can have.
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
  """Components of training vectors.

  Only the N x N Gram matrix is decomposed: with centred X = U S V', the axes
  are V = X' U / S.

  Args:
    vectors: [N, d].

  Returns:
    The projection onto f <= min(64, N / 8) components (but 2 of few networks)
    that have any variance.
  """
  mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
  centred = (vectors - mean[None]).astype(np.float32)
  values, u = np.linalg.eigh((centred @ centred.T).astype(np.float64))
  dims = min(MAX_DIMS, max(len(vectors) // _NETS_PER_DIM, 2))
  order = np.argsort(values)[::-1][:dims]
  order = order[values[order] > 1e-6 * max(values.max(), 1e-12)]
  axes = centred.T @ u[:, order].astype(np.float32)
  axes /= np.sqrt(values[order]).astype(np.float32)[None]
  return Projection(mean, axes)
