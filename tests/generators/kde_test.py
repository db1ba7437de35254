"""Kernel densities agree with SciPy, and mix what they should mix."""

import jax
import numpy as np
import pytest
from scipy import stats

from wsjax.generators import kde

KEY = jax.random.key(0)


def latents(num, shape, seed=0):
  """Correlated latents of unequal spread, [num, T, D]."""
  rng = np.random.default_rng(seed)
  size = int(np.prod(shape))
  mix = np.linalg.qr(rng.standard_normal((size, size)))[0]
  x = 1 + rng.standard_normal((num, size)) * np.arange(1, size + 1) @ mix
  return x.reshape(num, *shape).astype(np.float32)


@pytest.mark.parametrize('rule', kde.RULES)
def test_each_dimension_has_the_density_of_scipy(rule):
  x, at = latents(40, (2, 3)), latents(7, (2, 3), seed=1)
  density = kde.KDE(rule)
  got = density.log_prob(density.fit(x, KEY), at)
  want = np.zeros(7)
  for column in range(6):
    one = stats.gaussian_kde(x.reshape(40, -1)[:, column], bw_method=rule)
    want += one.logpdf(at.reshape(7, -1)[:, column])
  np.testing.assert_allclose(got, want, rtol=1e-4)


@pytest.mark.parametrize('rule', kde.RULES)
def test_the_joint_density_is_a_mixture_of_diagonal_gaussians(rule):
  x, at = latents(40, (2, 3)), latents(7, (2, 3), seed=1)
  density = kde.KDE(rule, per='joint', factor=0.7)
  got = density.log_prob(density.fit(x, KEY), at)
  # SciPy's factor for 6 dimensions; its kernels are not diagonal.
  flat = x.reshape(40, -1)
  factor = stats.gaussian_kde(flat.T, bw_method=rule).factor
  width = 0.7 * factor * flat.std(0, ddof=1)
  want = np.mean(
    [np.prod(stats.norm.pdf(at.reshape(7, -1), point, width), axis=1) for point in flat], axis=0
  )
  np.testing.assert_allclose(got, np.log(want), rtol=1e-4)


@pytest.mark.parametrize('per', kde.PER)
def test_only_the_joint_density_keeps_coordinates_together(per):
  rng = np.random.default_rng(0)
  both = rng.choice([-1.0, 1.0], (200, 1, 1)) * np.ones((1, 2, 1))
  density = kde.KDE(per=per)
  fitted = density.fit(both.astype(np.float32), KEY)
  drawn = np.asarray(density.sample(fitted, KEY, 2000, shape=(2, 1)))
  together = np.corrcoef(drawn[:, 0, 0], drawn[:, 1, 0])[0, 1]
  assert abs(together) < 0.1 if per == 'dimension' else together > 0.7


@pytest.mark.parametrize('per', kde.PER)
def test_dimensions_without_spread_stay_as_they_are(per):
  x = latents(20, (1, 3))
  x[..., 1] = 5.0
  density = kde.KDE(per=per)
  fitted = density.fit(x, KEY)
  drawn = np.array(density.sample(fitted, KEY, 50, shape=(1, 3)))
  np.testing.assert_array_equal(drawn[..., 1], 5.0)
  rest = kde.KDE(per=per)
  kept = x[..., [0, 2]]
  if per == 'dimension':  # The joint rule counts dimensions.
    np.testing.assert_allclose(
      density.log_prob(fitted, drawn),
      rest.log_prob(rest.fit(kept, KEY), drawn[..., [0, 2]]),
      rtol=1e-5,
    )
  drawn[..., 1] = 4.0
  assert np.all(np.isneginf(density.log_prob(fitted, drawn)))


def test_what_it_cannot_do_is_refused():
  density = kde.KDE()
  with pytest.raises(ValueError, match='2 networks or more'):
    density.fit(np.ones((1, 2, 2), np.float32), KEY)
  fitted = density.fit(latents(5, (2, 2)), KEY)
  with pytest.raises(ValueError, match=r'shape \(2, 2\), not of \(1, 4\)'):
    density.sample(fitted, KEY, 3, shape=(1, 4))
  with pytest.raises(ValueError, match='unconditional'):
    density.sample(fitted, KEY, 3, shape=(2, 2), condition=np.ones((3, 1)))
  with pytest.raises(ValueError, match='rule'):
    kde.KDE(rule='cross-validated')
  with pytest.raises(ValueError, match='per'):
    kde.KDE(per='token')
  with pytest.raises(ValueError, match='factor is 0.0'):
    kde.KDE(factor=0.0)
