"""What several tests of checkpoints start from."""

import pytest

from tests.train import saves
from wsjax.train.checkpoint import checkpoint


@pytest.fixture
def saved(tmp_path):
  """A folder of checkpoints 10 and 20."""
  checkpoints = checkpoint.Checkpoints(tmp_path)
  for step in (10, 20):
    checkpoints.save(step, saves.tree(step), {'loss': [float(step)]})
  checkpoints.close()
  return tmp_path
