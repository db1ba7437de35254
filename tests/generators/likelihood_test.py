"""Densities along a flow are those of the change of variables."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from wsjax.generators.parts import ode

MATRIX = np.asarray([[0.5, -1.0, 0.2], [0.8, -0.3, 0.0], [0.4, 0.1, 0.7]])
TIMES = np.linspace(1, 0, 21, dtype=np.float32)
X = np.random.default_rng(0).standard_normal((4, 1, 3)).astype(np.float32)


def linear(x, t, condition):
  del t, condition
  return x @ jnp.asarray(MATRIX.T, jnp.float32)


def bent(x, t, condition):
  shift = 0.0 if condition is None else condition[0]
  return jnp.tanh(linear(x, t, None) + t + shift) * (1 + x[..., ::-1])


@functools.partial(jax.jit, static_argnums=0, static_argnames=('trace', 'num_probes'))
def log_prob(field, x, condition=None, **options):
  return ode.log_prob(field, x, condition, times=TIMES, noise_std=0.7, **options)


def test_a_linear_field_gives_the_gaussian_that_algebra_gives():
  # x(1) = expm(A) x(0), so its covariance is 0.49 expm(A) expm(A)^T.
  flow = scipy.linalg.expm(MATRIX)
  want = scipy.stats.multivariate_normal(cov=0.49 * flow @ flow.T)
  got = log_prob(linear, X)
  np.testing.assert_allclose(got, want.logpdf(X[:, 0]), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
  'condition', [pytest.param(None, marks=pytest.mark.slow), np.ones((4, 1), np.float32)]
)
def test_the_exact_trace_is_the_log_det_of_the_map(condition):
  got = log_prob(bent, X, condition)

  @jax.jit
  def to_noise(x):
    shift = None if condition is None else condition[0]
    return ode.along(lambda x, t: bent(x, t, shift), x, TIMES, solver='rk4')

  for x, value in zip(X, np.asarray(got), strict=True):
    jacobian = jax.jacfwd(to_noise)(x).reshape(3, 3)
    log_det = np.linalg.slogdet(np.asarray(jacobian, np.float64))[1]
    noise = scipy.stats.norm.logpdf(to_noise(x), scale=0.7).sum()
    np.testing.assert_allclose(value, noise + log_det, atol=1e-3)


@pytest.mark.slow
def test_random_probes_are_right_on_average():
  want = float(log_prob(bent, X[:1])[0])
  many = np.repeat(X[:1], 2000, 0)
  key = jax.random.key(0)
  draw = functools.partial(log_prob, bent, many, trace='hutchinson', key=key)
  one, four = (np.asarray(draw(num_probes=num)) for num in (1, 4))
  for values in (one, four):
    error = values.std() / np.sqrt(len(values))
    assert 0 < error < 0.1
    assert abs(values.mean() - want) < 4 * error
  assert 0.4 < four.std() / one.std() < 0.6


@pytest.mark.parametrize(
  'options,message',
  [
    ({'trace': 'diagonal'}, 'allowed: exact, hutchinson'),
    ({'trace': 'hutchinson'}, 'got no key'),
    ({'trace': 'hutchinson', 'key': jax.random.key(0), 'num_probes': 0}, 'num_probes >= 1'),
  ],
)
def test_bad_settings_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    ode.log_prob(linear, X, None, times=TIMES, noise_std=1.0, **options)
