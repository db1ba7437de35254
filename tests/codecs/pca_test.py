"""The linear codec is PCA, by a much smaller matrix."""

import numpy as np
import pytest
from sklearn import decomposition

from wsjax import codecs
from wsjax.codecs import pca


def tokens(num, shape=(4, 30), seed=0):
  """Networks along directions of geometrically falling variance."""
  rng = np.random.default_rng(seed)
  size = int(np.prod(shape))
  scales = 0.8 ** np.arange(size)
  mix = np.linalg.qr(rng.standard_normal((size, size)))[0]
  x = 3 + rng.standard_normal((num, size)) * scales @ mix
  return x.reshape(num, *shape).astype(np.float32)


@pytest.mark.parametrize('num', [20, 200])  # By Gram matrix, by covariance.
def test_it_agrees_with_scikit_learn(num):
  x = tokens(num)
  codec = pca.PCA(rank=6)
  state = codec.fit(x)
  reference = decomposition.PCA(6, svd_solver='full').fit(x.reshape(num, -1))
  np.testing.assert_allclose(state.variance, reference.explained_variance_, rtol=1e-3)
  want = reference.transform(x.reshape(num, -1))
  got = np.asarray(codec.encode(state, x))[:, 0]
  np.testing.assert_allclose(np.abs(got), np.abs(want), atol=1e-3)


def test_the_basis_is_orthonormal():
  state = pca.PCA(rank=10).fit(tokens(20))
  basis = state.basis.reshape(-1, 10)
  np.testing.assert_allclose(basis.T @ basis, np.eye(10), atol=1e-5)


def test_full_rank_reconstructs_the_training_networks():
  x = tokens(12)
  codec = pca.PCA(rank=11)
  assert codecs.reconstruction_error(codec, codec.fit(x), x).max() < 1e-5


def test_latents_at_full_rank_are_affine_in_the_training_networks():
  x = tokens(12)
  codec = pca.PCA(rank=11)
  state = codec.fit(x)
  flat = x.reshape(12, -1)
  net = np.asarray(codec.decode(state, np.ones((1, 1, 11), np.float32))).ravel()
  rest = (net - flat[0]).astype(np.float64)
  hull = (flat[1:] - flat[0]).T.astype(np.float64)
  residual = rest - hull @ np.linalg.lstsq(hull, rest, rcond=None)[0]
  assert np.linalg.norm(residual) < 1e-4 * np.linalg.norm(net)


def test_the_ceiling_falls_with_rank_and_is_honest_on_unseen_networks():
  x, unseen = tokens(30), tokens(30, seed=1)
  errors = []
  for rank in (2, 8, 29):
    codec = pca.PCA(rank=rank)
    errors.append(codecs.reconstruction_error(codec, codec.fit(x), x).mean())
  assert errors == sorted(errors, reverse=True)
  codec = pca.PCA(rank=29)
  assert codecs.reconstruction_error(codec, codec.fit(x), unseen).mean() > 10 * errors[-1]


def test_whitened_latents_have_unit_variance():
  x = tokens(50)
  codec = pca.PCA(rank=5, whiten=True)
  state = codec.fit(x)
  z = np.asarray(codec.encode(state, x))[:, 0]
  np.testing.assert_allclose(z.std(0, ddof=1), 1, atol=1e-3)
  plain = pca.PCA(rank=5)
  np.testing.assert_allclose(
    codec.decode(state, codec.encode(state, x)),
    plain.decode(plain.fit(x), plain.encode(plain.fit(x), x)),
    atol=1e-4,
  )


def test_a_rank_the_networks_do_not_span_is_refused():
  x = tokens(5)
  with pytest.raises(ValueError, match='at most 4 directions'):
    pca.PCA(rank=5).fit(x)
  with pytest.raises(ValueError, match='span 2 directions'):
    pca.PCA(rank=4).fit(np.concatenate([x[:3], x[:3]]))
  with pytest.raises(ValueError, match='rank'):
    pca.PCA(rank=0)
