"""A damaged checkpoint is noticed, set aside, and the one before it used."""

import gc
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.train import checkpoint

# A read that fails on damage leaves coroutines that nobody awaits.
pytestmark = pytest.mark.filterwarnings(
  'ignore::pytest.PytestUnraisableExceptionWarning',
  'ignore:coroutine:RuntimeWarning',
)


def tree(seed):
  rng = np.random.default_rng(seed)
  return {
    'params': {'w': jnp.asarray(rng.standard_normal((64, 32)), jnp.float32)},
    'count': jnp.int32(seed),
  }


@pytest.fixture
def saved(tmp_path):
  """A folder of checkpoints 10 and 20."""
  checkpoints = checkpoint.Checkpoints(tmp_path)
  for step in (10, 20):
    checkpoints.save(step, tree(step), {'loss': [float(step)]})
  checkpoints.close()
  return tmp_path


def restore(path):
  checkpoints = checkpoint.Checkpoints(path)
  restored = checkpoints.restore(tree(0))
  checkpoints.close()
  gc.collect()  # Here, not in another test: orbax drops its reads on damage.
  return restored


def check(restored, step):
  assert restored[0] == step and restored[2] == {'loss': [float(step)]}
  jax.tree.map(np.testing.assert_array_equal, restored[1], tree(step))


def largest(folder: pathlib.Path) -> pathlib.Path:
  files = [file for file in folder.rglob('*') if file.is_file()]
  return max(files, key=lambda file: file.stat().st_size)


def test_the_newest_checkpoint_comes_back_exactly(saved):
  check(restore(saved), 20)


def test_an_empty_folder_has_none(tmp_path):
  assert restore(tmp_path) is None


def test_only_the_newest_are_kept(saved):
  checkpoints = checkpoint.Checkpoints(saved, keep=2)
  checkpoints.save(30, tree(30), {})
  checkpoints.close()
  assert {p.name for p in saved.iterdir() if p.name.isdigit()} == {'20', '30'}


@pytest.mark.parametrize('damage', ['truncated', 'removed', 'flipped', 'meta'])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_used(
  saved, damage
):
  if damage == 'truncated':
    # All files: orbax keeps some twice, and then reads the copy.
    for file in (saved / '20/state').rglob('*'):
      if file.is_file():
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
  elif damage == 'removed':
    largest(saved / '20/state').unlink()
  elif damage == 'flipped':
    file = largest(saved / '20/state')
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
  else:
    largest(saved / '20/meta').write_text('{"half":')
  check(restore(saved), 10)
  assert (saved / '20.corrupt').is_dir() and not (saved / '20').exists()
  check(restore(saved), 10)  # And from then on.
  checkpoints = checkpoint.Checkpoints(saved)
  checkpoints.save(20, tree(20), {'loss': [20.0]})
  checkpoints.close()
  check(restore(saved), 20)


def test_a_changed_value_is_noticed(saved, monkeypatch):
  # What orbax would not notice: a sound file with other numbers in it.
  changed = tree(30)
  changed['params']['w'] = changed['params']['w'].at[3, 4].add(1e-6)
  digests = checkpoint.digests
  checkpoints = checkpoint.Checkpoints(saved)
  with monkeypatch.context() as patch:
    patch.setattr(checkpoint, 'digests', lambda _: digests(tree(30)))
    checkpoints.save(30, changed, {})
  checkpoints.close()
  check(restore(saved), 20)
  assert (saved / '30.corrupt').is_dir()


def test_a_second_damage_does_not_overwrite_the_first(saved):
  (saved / '20.corrupt').mkdir()
  (saved / '20.corrupt/evidence').write_text('kept')
  largest(saved / '20/state').unlink()
  check(restore(saved), 10)
  assert (saved / '20.corrupt/evidence').read_text() == 'kept'
  assert (saved / '20.corrupt1').is_dir()


def test_a_checkpoint_of_another_model_is_no_damage(saved):
  checkpoints = checkpoint.Checkpoints(saved)
  other = {'params': {'w': jnp.zeros((3, 3))}, 'count': jnp.int32(0)}
  with pytest.raises(ValueError, match='of another model'):
    checkpoints.restore(other)
  checkpoints.close()
  check(restore(saved), 20)
