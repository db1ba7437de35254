"""Steps that are not finite are skipped, but not for ever."""

import jax
import numpy as np
import pytest

from tests import marks
from tests.faults import runs, worker
from tests.reference import toy
from wsjax.train import loop

LIMIT = 3


def fit(workdir, model, data, **changes):
  section = {
    **worker.SECTION,
    'schedule': 'constant',
    'warmup_steps': 0,
    'inner_steps': 1,
    'skip_nonfinite': LIMIT,
    **changes,
  }
  return loop.fit(model, data, section, seed=0, workdir=workdir, progress=False)


def check_finite(workdir):
  step, arrays, _ = runs.state(workdir)
  for leaf in jax.tree.leaves(arrays['params']):
    assert np.isfinite(np.frombuffer(leaf, np.float32)).all()
  return step


def poisoned():
  """Data with one example whose loss overflows, so one bad step per epoch."""
  data = worker.examples()
  data[20, 0, 1:] = 1e30
  return data


def bad_steps(workdir):
  return [row['step'] for row in runs.lines(workdir) if row.get('skipped', 0) > 0]


def test_f3_8_steps_that_are_not_finite_are_skipped(tmp_path):
  params, history = fit(tmp_path, worker.Counted(), poisoned())
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
  bad = bad_steps(tmp_path)
  # One example of 43 is in about 40 of 43 epochs.
  assert 8 <= len(bad) <= 12 and check_finite(tmp_path) == 60
  for step, loss in zip(history['step'], history['loss'], strict=True):
    assert (loss is None) == (step in bad)
  # And it needs them skipped.
  with pytest.raises(ValueError, match=f'between steps {bad[0] - 1} and'):
    fit(tmp_path / 'b', worker.Counted(), poisoned(), skip_nonfinite=0)


def test_f3_8_skipping_ends_bitwise_alike_after_a_restart(tmp_path):
  want, want_history = fit(tmp_path / 'a', worker.Counted(), poisoned())
  bad = bad_steps(tmp_path / 'a')
  # Right behind a step that was skipped.
  fit(tmp_path / 'b', worker.Counted(), poisoned(), steps=bad[2])
  got, history = fit(tmp_path / 'b', worker.Counted(), poisoned())
  jax.tree.map(np.testing.assert_array_equal, got, want)
  assert history == want_history
  np.testing.assert_equal(runs.outcome(tmp_path / 'b'), runs.outcome(tmp_path / 'a'))


@pytest.mark.slow
@pytest.mark.parametrize('inner_steps', marks.slow([1, 2, 10], 1, 2))
def test_f3_8_too_many_in_a_row_end_the_run_and_every_restart(tmp_path, inner_steps):
  data = worker.examples()[..., 1:]
  sentences = []
  for _ in range(3):
    with pytest.raises(ValueError, match=f'{LIMIT + 1} steps in a row') as error:
      fit(tmp_path, toy.Exploding(20), data, inner_steps=inner_steps, checkpoint_every_steps=1)
    sentences.append(str(error.value))
    assert check_finite(tmp_path) < 60
  # It is not let through a few steps further by every restart.
  assert len(set(sentences)) == 1
