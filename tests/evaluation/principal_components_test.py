"""Components are those of scikit-learn."""

import numpy as np
import pytest
import sklearn.decomposition

from wsjax.evaluation import neighbours


@pytest.mark.parametrize('num', [40, 100])
def test_components_are_those_of_an_svd(num):
  """Of fewer networks than weights, and of more."""
  rng = np.random.default_rng(0)
  train, other = rng.standard_normal((2, num, 90)).astype(np.float32)
  train, other = (x * np.linspace(0.1, 3, 90) + 5 for x in (train, other))
  found = neighbours.fit(train)(other)
  dims = num // 8
  slow = sklearn.decomposition.PCA(dims, svd_solver='full').fit(train)
  assert found.shape == (num, dims)
  np.testing.assert_allclose(np.abs(found), np.abs(slow.transform(other)), rtol=1e-3, atol=1e-3)


def test_what_does_not_vary_has_no_component():
  train = np.outer(np.arange(30.0), np.ones(7)).astype(np.float32)
  assert neighbours.fit(train)(train).shape == (30, 1)
