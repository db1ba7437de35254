"""A schedule has an inverse."""

import functools

import numpy as np
import pytest

from wsjax.generators import diffusion

make = functools.partial(diffusion.Diffusion, {'name': 'mlp'})


@pytest.mark.parametrize('rho', [1.0, 3.0, 7.0])
def test_time_inverts_sigma(rho):
  schedule = make(sigma_min=0.01, sigma_max=10.0, rho=rho)
  t = np.linspace(0, 1, 50)
  np.testing.assert_allclose(schedule.time(schedule.sigma(t)), t, atol=1e-9)
  sigma = np.geomspace(0.01, 10, 50)
  np.testing.assert_allclose(schedule.sigma(schedule.time(sigma)), sigma)


def test_levels_are_those_of_the_paper():
  levels = make(num_steps=17).levels()
  i = np.arange(18)
  low, high = 0.002 ** (1 / 7), 80 ** (1 / 7)
  want = (high + i / 17 * (low - high)) ** 7
  np.testing.assert_allclose(levels, want, rtol=1e-5)
  assert np.all(np.diff(levels) < 0)


def test_levels_out_of_order_are_refused():
  with pytest.raises(ValueError, match='sigma_min'):
    make(sigma_min=1.0, sigma_max=0.5)
