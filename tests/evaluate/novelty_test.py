"""Distance to the nearest training network."""

import numpy as np
import pytest

from wsjax.evaluate import arms, novelty


def test_nearest_network_is_the_one_that_was_changed(zoo_context):
  context, spec = zoo_context, zoo_context.architecture.spec
  nets = arms.take(context.train, np.array([5, 2, 9]))
  nets['layer1/bias'] = nets['layer1/bias'] + np.float32(0.01)
  nets['layer0/kernel'][1] = np.nan
  distances, index = novelty.nearest(
    nets, context.train, spec, reference=context.reference
  )
  assert index.tolist() == [5, -1, 9]
  assert np.isnan(distances[1])
  np.testing.assert_allclose(distances[[0, 2]], 0.01 * 10**0.5, rtol=0.05)


def test_a_broken_training_network_is_refused(zoo_context):
  nets = arms.take(zoo_context.train, np.arange(3))
  nets['layer0/kernel'][1] = np.nan
  with pytest.raises(ValueError, match='1 training network'):
    novelty.nearest(
      nets,
      nets,
      zoo_context.architecture.spec,
      reference=zoo_context.reference,
      exclude_same_index=True,
    )
