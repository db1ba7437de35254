"""A checkpoint that is damaged is set aside, and another one used.

Tests f3_N are the numbered faults that training has to survive.
"""

import shutil

import jax.numpy as jnp
import pytest

from tests import marks
from tests.train import saves
from wsjax.train.checkpoint import checkpoint
from wsjax.train.checkpoint import checksums as checksums_lib

# A read or write that fails leaves coroutines that nobody awaits.
pytestmark = saves.FILTERS


def zero_block(step_folder):
  file = saves.largest(step_folder / 'state')
  content = file.read_bytes()
  assert len(content) > 3 * 4096
  file.write_bytes(content[:4096] + bytes(4096) + content[8192:])


def truncate(step_folder):
  # All files: orbax keeps some twice, and then reads the copy.
  for file in (step_folder / 'state').rglob('*'):
    if file.is_file():
      file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


DAMAGE = {
  **{
    # Not in the middle or at the end: where both arrays share a file, and as the threads of orbax
    # happen to run, an index that nothing reads is there.
    f'flip_at_{at}': lambda folder, at=at: saves.flip(folder, at=at)
    for at in (0.05, 0.3, 0.45, 0.7, 0.95)
  },
  'zero_block': zero_block,
  'truncate': truncate,
  'delete_data': lambda folder: saves.largest(folder / 'state').unlink(),
  'delete_state': lambda folder: shutil.rmtree(folder / 'state'),
  'delete_meta': lambda folder: (folder / 'meta/metadata').unlink(),
  'half_meta': lambda folder: (folder / 'meta/metadata').write_text('{"half":'),
  'other_meta': lambda folder: (folder / 'meta/metadata').write_text('[1]'),
}


STEPS = {'newest': (20,), 'both': (10, 20)}


# Both steps, for one kind of damage by default.
@pytest.mark.parametrize(
  'case',
  marks.slow(
    [f'{damage} {steps}' for steps in STEPS for damage in DAMAGE],
    *(f'{damage} both' for damage in DAMAGE if damage != 'zero_block'),
  ),
)
def test_f3_5_damage_is_found_and_the_newest_good_one_used(saved, case, caplog):
  damage, steps = case.split()
  steps = STEPS[steps]
  for step in steps:
    DAMAGE[damage](saved / str(step))
  restored = saves.restore(saved)
  if len(steps) == 2:
    assert restored is None
  else:
    saves.check(restored, 10)
  for step in steps:
    assert f'Checkpoint {step} in {saved} is damaged' in caplog.text
    assert (saved / f'{step}.corrupt').is_dir()
  assert saves.steps_in(saved) == [step for step in (10, 20) if step not in steps]
  # And training goes on from there.
  saves.save_metrics(saved, {20: None})
  saves.check(saves.restore(saved), 20)


@pytest.mark.parametrize('steps', [(20,), (10, 20)], ids=['newest', 'both'])
def test_f3_5_two_leaves_that_changed_places_are_found(tmp_path, steps, monkeypatch, caplog):
  # What orbax would not notice: sound files with other numbers in them.
  checksums = checksums_lib.checksums
  checkpoints = checkpoint.Checkpoints(tmp_path)
  for step in (10, 20):
    state = saves.tree(step)
    with monkeypatch.context() as patch:
      if step in steps:
        patch.setattr(checksums_lib, 'checksums', lambda _, of=state: checksums(of))
        params = state['params']
        state = {**state, 'params': {'w': params['v'], 'v': params['w']}}
      checkpoints.save(step, state, {'loss': [float(step)]})
  checkpoints.close()
  restored = saves.restore(tmp_path)
  if len(steps) == 2:
    assert restored is None
  else:
    saves.check(restored, 10)
  assert "the values of ['params']['v'], ['params']['w'] were" in caplog.text


@pytest.mark.parametrize('part', ['state', 'meta', '.'])
def test_f3_5_the_data_of_another_step_is_found(saved, part):
  shutil.rmtree(saved / '20' / part)
  shutil.copytree(saved / '10' / part, saved / '20' / part)
  saves.check(saves.restore(saved), 10)
  assert (saved / '20.corrupt').is_dir()


@pytest.mark.parametrize('part', ['state', 'meta', '.'])
def test_f3_5_two_steps_that_changed_places_are_found(saved, part):
  (saved / '10' / part).rename(saved / 'aside')
  (saved / '20' / part).rename(saved / '10' / part)
  (saved / 'aside').rename(saved / '20' / part)
  assert saves.restore(saved) is None
  assert (saved / '20.corrupt').is_dir() and (saved / '10.corrupt').is_dir()


@pytest.mark.parametrize(
  'change', marks.slow(('flip', 'truncate', 'delete', 'empty'), 'truncate', 'delete', 'empty')
)
def test_f3_5_whatever_happens_to_any_file_no_wrong_value_comes_back(
  saved, tmp_path_factory, change
):
  # Some files are not needed, so the checkpoint may be as good as before.
  names = [p.relative_to(saved) for p in (saved / '20').rglob('*')]
  for name in names:
    folder = tmp_path_factory.mktemp('copy') / 'checkpoints'
    shutil.copytree(saved, folder)
    file = folder / name
    if not file.is_file():
      continue
    content = bytearray(file.read_bytes())
    if change == 'flip':
      content[len(content) // 2] ^= 4
      file.write_bytes(content)
    elif change == 'truncate':
      file.write_bytes(content[: len(content) // 2])
    elif change == 'delete':
      file.unlink()
    else:
      file.write_bytes(b'')
    restored = saves.restore(folder)
    saves.check(restored, restored[0])


def test_f3_5_a_history_that_was_changed_is_found(saved):
  file = saved / '20/meta/metadata'
  text = file.read_text()
  assert text.count('20.0') == 1
  file.write_text(text.replace('20.0', '21.0'))
  saves.check(saves.restore(saved), 10)


def test_a_second_damage_does_not_overwrite_the_first(saved):
  (saved / '20.corrupt').mkdir()
  (saved / '20.corrupt/evidence').write_text('kept')
  saves.largest(saved / '20/state').unlink()
  saves.check(saves.restore(saved), 10)
  assert (saved / '20.corrupt/evidence').read_text() == 'kept'
  assert (saved / '20.corrupt1').is_dir()


def test_a_checkpoint_of_another_model_is_no_damage(saved):
  checkpoints = checkpoint.Checkpoints(saved)
  other = {'params': {'w': jnp.zeros((3, 3))}, 'count': jnp.int32(0)}
  with pytest.raises(ValueError, match='of another model'):
    checkpoints.restore(other)
  checkpoints.close()
  saves.check(saves.restore(saved), 20)


@pytest.mark.parametrize('error', [MemoryError(), RuntimeError('RESOURCE_EXHAUSTED: no memory')])
def test_too_little_memory_is_no_damage(saved, monkeypatch, error):
  def restore_without_memory(*args, **kwargs):
    raise error

  with monkeypatch.context() as patch:
    patch.setattr(checkpoint.ocp.StandardCheckpointHandler, 'restore', restore_without_memory)
    with pytest.raises(OSError, match='cannot be read here'):
      saves.restore(saved)
  saves.check(saves.restore(saved), 20)
