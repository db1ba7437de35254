"""The preconditioning is that of the paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.generate import diffusion

BACKBONE = {'name': 'mlp', 'width': 16, 'depth': 1}


def test_a_new_model_has_unit_loss_and_denoises_to_a_shrunk_input():
  generator = diffusion.make(BACKBONE, data_std=2.0, num_steps=4)
  rng = np.random.default_rng(0)
  batch = 2 * rng.standard_normal((4000, 1, 3)).astype(np.float32)
  params = generator.init(jax.random.key(0), batch[0])
  loss, _ = generator.loss(params, batch, jax.random.key(1))
  assert abs(float(loss) - 1) < 0.05


def test_inputs_and_targets_of_the_backbone_have_unit_variance():
  generator = diffusion.make(BACKBONE, data_std=2.0)
  rng = np.random.default_rng(0)
  clean, noise = 2 * rng.standard_normal(100000), rng.standard_normal(100000)
  for sigma in (0.01, 1.0, 30.0):
    c_skip, c_out, c_in = generator._scales(jnp.float32(sigma))
    noisy = clean + sigma * noise
    assert abs(np.std(c_in * noisy) - 1) < 0.02
    assert abs(np.std((clean - c_skip * noisy) / c_out) - 1) < 0.02


@pytest.mark.parametrize('solver', ['euler', 'heun'])
def test_a_new_model_samples_the_gaussian_it_stands_for(solver):
  # With residual 0 the denoiser is exact for Gaussian data of that deviation.
  generator = diffusion.make(
    BACKBONE, data_std=0.5, sigma_max=20.0, num_steps=64, solver=solver
  )
  params = generator.init(jax.random.key(0), np.zeros((1, 2), np.float32))
  x = generator.sample(params, jax.random.key(1), 4000, shape=(1, 2))
  assert abs(float(jnp.std(x)) - 0.5) < (0.05 if solver == 'euler' else 0.02)


def test_conditions_reach_the_backbone():
  generator = diffusion.make(BACKBONE, condition_size=2, num_steps=2)
  params = generator.init(jax.random.key(0), np.zeros((1, 2), np.float32))
  params = jax.tree.map(lambda w: w + 0.1, params)
  batch, given = np.ones((2, 1, 2), np.float32), np.eye(2, dtype=np.float32)
  key = jax.random.key(0)
  one, _ = generator.loss(params, batch, key, given, train=False)
  two, _ = generator.loss(params, batch, key, 3 * given, train=False)
  assert float(one) != float(two)


def test_bad_settings_are_refused():
  with pytest.raises(ValueError, match='data_std'):
    diffusion.make(BACKBONE, data_std=0.0)
  with pytest.raises(ValueError, match='Unknown solver'):
    diffusion.make(BACKBONE, solver='dpm')
  with pytest.raises(ValueError, match='not a plug-in'):
    diffusion.make({'name': 'unet'})
