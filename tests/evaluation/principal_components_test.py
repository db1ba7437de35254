"""Components are those of scikit-learn; probes do not see the group."""

import numpy as np
import pytest
import sklearn.decomposition

from wsjax.evaluation import baselines, probes
from wsjax.evaluation.metrics import principal_components
from wsjax.models import mlp


@pytest.mark.parametrize('num', [40, 100])
def test_components_are_those_of_an_svd(num):
  """Of fewer networks than weights, and of more."""
  rng = np.random.default_rng(0)
  train, other = rng.standard_normal((2, num, 90)).astype(np.float32)
  train, other = (x * np.linspace(0.1, 3, 90) + 5 for x in (train, other))
  found = principal_components.fit(train)(other)
  dims = num // 8
  slow = sklearn.decomposition.PCA(dims, svd_solver='full').fit(train)
  assert found.shape == (num, dims)
  np.testing.assert_allclose(np.abs(found), np.abs(slow.transform(other)), rtol=1e-3, atol=1e-3)


def test_what_does_not_vary_has_no_component():
  train = np.outer(np.arange(30.0), np.ones(7)).astype(np.float32)
  assert principal_components.fit(train)(train).shape == (30, 1)


def test_probes_are_the_same_for_all_networks_of_an_orbit():
  architecture = mlp.MLP(widths=(6, 8, 3))
  rng = np.random.default_rng(0)
  nets = {
    leaf.path: rng.standard_normal((3, *leaf.shape)).astype(np.float32)
    for leaf in architecture.spec.leaves
  }
  items = probes.choose(rng.standard_normal((600, 6)))
  assert len(items) == probes.NUM_ITEMS
  here = probes.logits(architecture, nets, items)
  moved = baselines.move(nets, architecture.spec, seed=1)
  np.testing.assert_allclose(here, probes.logits(architecture, moved, items), atol=1e-4)
  shifted = {**nets, 'layer1/bias': nets['layer1/bias'] + 7}
  np.testing.assert_allclose(here, probes.logits(architecture, shifted, items), atol=1e-4)
  assert np.abs(here[0] - here[1]).max() > 0.1
  nets['layer0/kernel'][1] = np.nan
  broken = probes.logits(architecture, nets, items)
  assert not broken[1].any()
  assert broken[0] == pytest.approx(here[0])
