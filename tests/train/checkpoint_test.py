"""A checkpoint is what was saved; the newest and the best are kept."""

import asyncio
import gc
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.train import saves
from wsjax.train.checkpoint import checkpoint, checksums

# A read or write that fails leaves coroutines that nobody awaits.
pytestmark = saves.FILTERS


def test_the_newest_checkpoint_comes_back_exactly(saved):
  saves.check(saves.restore(saved), 20)


def test_an_empty_folder_has_none(tmp_path):
  assert saves.restore(tmp_path) is None


def test_shapes_suffice_to_restore(saved):
  shapes = jax.eval_shape(lambda: saves.tree(0))
  saves.check(saves.restore(saved, like=shapes), 20)


def test_arrays_of_numpy_come_back_as_jax_would_hold_them(tmp_path):
  state = {'x': np.arange(3.0), 'key': jax.random.key(3)}
  checkpoints = checkpoint.Checkpoints(tmp_path)
  checkpoints.save(1, state, {})
  checkpoints.close()
  restored = saves.restore(tmp_path, like=state)[1]
  np.testing.assert_array_equal(restored['x'], state['x'])
  assert restored['x'].dtype == jnp.asarray(state['x']).dtype
  assert jnp.array_equal(restored['key'], state['key'])


def test_a_state_may_be_donated_and_overwritten_right_after_save(tmp_path):
  update = jax.jit(lambda t: jax.tree.map(lambda x: x * 3 + 1, t), donate_argnums=0)
  host = np.zeros(1000, np.float32)
  state = {'w': jax.random.normal(jax.random.key(0), (512, 1024))}
  checkpoints, history, expected = (checkpoint.Checkpoints(tmp_path, keep=9), [], {})
  for step in range(5):
    before = state['w']
    expected[step] = checksums.checksums({**state, 'host': host})
    history.append(float(step))
    checkpoints.save(step, {**state, 'host': host}, {'loss': history})
    history.append(-1.0)
    host += 1
    for _ in range(3):
      state = update(state)
    assert before.is_deleted()  # Else nothing was donated.
    history.pop()
  checkpoints.close()
  like = {**state, 'host': host}
  for step in reversed(range(5)):
    restored = saves.restore(tmp_path, like=like)
    assert restored[0] == step
    assert restored[2] == {'loss': [float(s) for s in range(step + 1)]}
    assert checksums.checksums(restored[1]) == expected[step]
    shutil.rmtree(tmp_path / str(step))


def test_save_returns_before_the_state_is_on_disk(tmp_path, monkeypatch):
  # A disk so slow that it is done when the test says so.
  events = []
  handler = checkpoint.ocp.JsonCheckpointHandler
  slow = handler._save_fn

  async def wait_and_save(self, item, directory):
    while 'returned' not in events:
      await asyncio.sleep(0.001)
    await slow(self, item, directory)

  monkeypatch.setattr(handler, '_save_fn', wait_and_save)
  checkpoints = checkpoint.Checkpoints(tmp_path)
  checkpoints.save(1, saves.tree(1), {'loss': [1.0]})
  assert saves.steps_in(tmp_path) == []
  events.append('returned')
  checkpoints.wait()
  assert saves.steps_in(tmp_path) == [1]
  checkpoints.close()


def test_only_the_newest_are_kept(saved):
  saves.save_metrics(saved, {30: None}, keep=2)
  assert saves.steps_in(saved) == [20, 30]


def test_the_best_are_never_among_those_that_are_deleted(tmp_path):
  metrics = {1: 5.0, 2: 3.0, 3: float('nan'), 4: 4.0, 5: None, 6: 3.0, 7: 9.0}
  saves.save_metrics(tmp_path, metrics, keep=2, keep_best=1)
  assert saves.steps_in(tmp_path) == [2, 6, 7]  # Of equal ones the first.
  # Another process knows as well, and a better one takes its place.
  saves.save_metrics(tmp_path, {8: 10.0}, keep=2, keep_best=1)
  assert saves.steps_in(tmp_path) == [2, 7, 8]
  saves.save_metrics(tmp_path, {9: 1.0, 10: 2.0, 11: 2.0}, keep=1, keep_best=2)
  assert saves.steps_in(tmp_path) == [9, 10, 11]


def test_the_best_is_found_and_if_damaged_the_next_best(tmp_path, caplog):
  saves.save_metrics(tmp_path, {1: 2.0, 2: 1.0, 3: None, 4: 3.0}, keep=9)
  checkpoints = checkpoint.Checkpoints(tmp_path, keep=9)
  saves.check(checkpoints.best(saves.tree(0)), 2)
  saves.largest(tmp_path / '2/state').unlink()
  saves.check(checkpoints.best(saves.tree(0)), 1)
  assert 'Checkpoint 2' in caplog.text and 'is damaged' in caplog.text
  (tmp_path / '1/meta/metadata').write_text('{')
  checkpoints.close()
  checkpoints = checkpoint.Checkpoints(tmp_path, keep=1, keep_best=1)
  saves.check(checkpoints.best(saves.tree(0)), 4)
  assert 'metric of checkpoint 1' in caplog.text
  # What cannot be read may be the best, so it stays.
  checkpoints.save(5, saves.tree(5), {}, metric=9.0)
  assert checkpoints.steps() == [1, 4, 5]
  checkpoints.close()
  gc.collect()


def test_without_metrics_there_is_no_best(saved):
  checkpoints = checkpoint.Checkpoints(saved)
  assert checkpoints.best(saves.tree(0)) is None
  checkpoints.close()


def test_nothing_to_keep_is_refused(tmp_path):
  with pytest.raises(ValueError, match='keep is 0'):
    checkpoint.Checkpoints(tmp_path, keep=0)
