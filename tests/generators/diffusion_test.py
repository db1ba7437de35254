"""The preconditioning is that of the paper."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from tests.reference import fields
from wsjax.generators import diffusion

BACKBONE = {'name': 'mlp', 'width': 16, 'depth': 1}


def test_a_new_model_has_unit_loss_and_denoises_to_a_shrunk_input():
  generator = diffusion.Diffusion(BACKBONE, data_std=2.0, num_steps=4)
  rng = np.random.default_rng(0)
  batch = 2 * rng.standard_normal((4000, 1, 3)).astype(np.float32)
  params = jax.jit(generator.init)(jax.random.key(0), batch[0])
  loss, _ = jax.jit(generator.loss)(params, batch, jax.random.key(1))
  assert abs(float(loss) - 1) < 0.05


def test_inputs_and_targets_of_the_backbone_have_unit_variance():
  generator = diffusion.Diffusion(BACKBONE, data_std=2.0)
  rng = np.random.default_rng(0)
  clean, noise = 2 * rng.standard_normal(100000), rng.standard_normal(100000)
  for sigma in (0.01, 1.0, 30.0):
    c_skip, c_out, c_in = generator._scales(jnp.float32(sigma))
    noisy = clean + sigma * noise
    assert abs(np.std(c_in * noisy) - 1) < 0.02
    assert abs(np.std((clean - c_skip * noisy) / c_out) - 1) < 0.02


def exact(mean, data_std, **keys):
  """A model that denoises N(mean, data_std^2) exactly, and parameters."""
  generator = diffusion.Diffusion(BACKBONE, data_std=data_std, sigma_max=20.0, **keys)
  backbone = fields.Residual(mean, data_std, generator.sigma)
  generator = dataclasses.replace(generator, backbone=backbone)
  return generator, jax.jit(generator.init)(jax.random.key(0), np.zeros((1, 2)))


@pytest.mark.parametrize(
  'solver,bias', [('heun', 0.002), ('euler', 0.03), ('ddim', 0.03), ('ancestral', 0.03)]
)
def test_an_exact_denoiser_samples_its_gaussian(solver, bias):
  generator, params = exact(1.5, 0.5, num_steps=64, solver=solver)
  x = generator.sample(params, jax.random.key(1), 4000, shape=(1, 2))
  # Four standard errors, what the steps miss, and what the noise at the start lacks: the mean of
  # the data, of which little is left at the end.
  error = 4 * 0.5 / np.sqrt(8000)
  assert abs(float(jnp.mean(x)) - 1.5) < error + 1.5 * 0.5 / 20
  assert abs(float(jnp.std(x)) - 0.5) < error / np.sqrt(2) + bias


def test_the_density_of_a_gaussian_is_known():
  generator, params = exact(1.5, 0.5, num_steps=48)
  x = np.random.default_rng(0).normal(1.5, 0.5, (5, 1, 2)).astype(np.float32)
  # Deviations from the mean grow with the spread of the noisy data; at the largest noise level the
  # sampler starts from noise without the data.
  growth = np.sqrt((0.25 + 20.0**2) / (0.25 + 0.002**2))
  noise = 1.5 + (x - 1.5) * growth
  want = scipy.stats.norm.logpdf(noise, scale=20.0) + np.log(growth)
  got = jax.jit(generator.log_prob)(params, x)
  np.testing.assert_allclose(got, want.sum((1, 2)), atol=5e-3)
  data = scipy.stats.norm.logpdf(x, 1.5, 0.5).sum((1, 2))
  np.testing.assert_allclose(got, data, atol=0.3)


def test_conditions_reach_the_backbone():
  generator = diffusion.Diffusion(BACKBONE, condition_size=2, num_steps=2)
  params = jax.jit(generator.init)(jax.random.key(0), np.zeros((1, 2), np.float32))
  params = jax.tree.map(lambda w: w + 0.1, params)
  batch, given = np.ones((2, 1, 2), np.float32), np.eye(2, dtype=np.float32)
  key = jax.random.key(0)
  one, _ = jax.jit(generator.loss, static_argnames='train')(params, batch, key, given, train=False)
  two, _ = jax.jit(generator.loss, static_argnames='train')(
    params, batch, key, 3 * given, train=False
  )
  assert float(one) != float(two)


def test_bad_settings_are_refused():
  with pytest.raises(ValueError, match='data_std'):
    diffusion.Diffusion(BACKBONE, data_std=0.0)
  with pytest.raises(ValueError, match='solver'):
    diffusion.Diffusion(BACKBONE, solver='dpm')
  with pytest.raises(ValueError, match='backbone.name'):
    diffusion.Diffusion({'name': 'unet'})
