"""Every head obeys its contract."""

import numpy as np
import pytest

from wsjax import config, testing

TARGETS = {'classifier': np.arange(6) % 3, 'regressor': np.linspace(-1, 1, 6, dtype=np.float32)}


@pytest.mark.parametrize('name', config.plugins('heads'))
def test_a_head_obeys_its_contract(name):
  num_outputs = 3 if name == 'classifier' else 1
  head = config.build('heads', {'name': name, 'num_outputs': num_outputs})
  testing.check_head(head, TARGETS[name])
