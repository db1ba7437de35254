"""Disks that are full or read-only, and what earlier runs left there.

Tests f3_N are the numbered faults that training has to survive.
"""

import errno
import hashlib
import json
import os
import resource
import shutil
import tempfile

import jax
import numpy as np
import pytest

from tests.train import saves
from wsjax.train.checkpoint import checkpoint
from wsjax.train.checkpoint import checksums as checksums_lib

# A read or write that fails leaves coroutines that nobody awaits.
pytestmark = saves.FILTERS


@pytest.mark.parametrize('surfaces', ['wait', 'save', 'close', 'restore'])
def test_f3_4_a_full_disk_is_reported_and_older_steps_are_intact(saved, surfaces):
  checkpoints = checkpoint.Checkpoints(saved)
  checksums_lib.checksums(saves.tree(30))  # Compiled before, for its cache is a file.
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 10, limits[1]))
  try:
    with pytest.raises(
      OSError,
      match=rf'Checkpoint 30 could not be written to {saved}: .*'
      r'File too large.*\(10, 20\) are intact. Free space .* from step 20',
    ):
      checkpoints.save(30, saves.tree(30), {})
      if surfaces == 'save':
        checkpoints.save(40, saves.tree(40), {})
      elif surfaces == 'restore':
        checkpoints.restore(saves.tree(0))
      else:
        getattr(checkpoints, surfaces)()
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  # Once there is room it goes on, in the same process or another.
  assert checkpoints.steps() == [10, 20]
  assert not list(saved.glob('*tmp*'))
  saves.check(checkpoints.restore(saves.tree(0)), 20)
  checkpoints.save(30, saves.tree(30), {'loss': [30.0]})
  checkpoints.close()
  saves.check(saves.restore(saved), 30)


def test_f3_4_a_folder_that_vanishes_is_reported(saved, tmp_path_factory):
  elsewhere = tmp_path_factory.mktemp('elsewhere') / 'moved'
  checkpoints = checkpoint.Checkpoints(saved)
  saved.rename(elsewhere)
  saved.write_text('a file')
  with pytest.raises(OSError, match='Checkpoint 30 could not .* begins anew'):
    checkpoints.save(30, saves.tree(30), {})
    checkpoints.close()
  checkpoints.close()
  saves.check(saves.restore(elsewhere), 20)


@pytest.mark.skipif(os.geteuid() == 0, reason='permissions do not bind root')
def test_f3_4_a_read_only_folder_is_refused_at_once(saved):
  saved.chmod(0o555)
  try:
    with pytest.raises(OSError, match='cannot be written to .*denied'):
      checkpoint.Checkpoints(saved)
  finally:
    saved.chmod(0o755)


def test_f3_4_a_read_only_file_system_is_refused_at_once(saved, monkeypatch):
  def refuse(**_):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))

  monkeypatch.setattr(tempfile, 'TemporaryFile', refuse)
  with pytest.raises(OSError, match=f'cannot be written to {saved}: .*Read-only file system'):
    checkpoint.Checkpoints(saved)


def test_f3_4_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(OSError, match='cannot be written to .*/file'):
    checkpoint.Checkpoints(tmp_path / 'file')


def test_f3_9_stale_temporary_directories_are_removed_and_counted(saved, caplog):
  for name in ('30.orbax-checkpoint-tmp', '40.orbax-checkpoint-tmp-17'):
    shutil.copytree(saved / '20', saved / name)
  saves.check(saves.restore(saved), 20)
  assert not list(saved.glob('*tmp*'))
  assert 'Removed 2 unfinished checkpoints' in caplog.text
  caplog.clear()
  saves.check(saves.restore(saved), 20)
  assert 'Removed' not in caplog.text


def write_old_format(path, step):
  """As versions before checksums did, with SHA-256 of every leaf."""
  state = saves.tree(step)
  digests = {}
  for key, leaf in jax.tree.leaves_with_path(state):
    header = json.dumps(['leaf', leaf.dtype.name, list(leaf.shape)])
    content = f'{header}\n'.encode() + np.asarray(leaf).tobytes()
    name = jax.tree_util.keystr(key)
    digests[name] = hashlib.sha256(content).hexdigest()
  args = checkpoint.ocp.args
  manager = checkpoint.ocp.CheckpointManager(path)
  manager.save(
    step,
    args=args.Composite(
      state=args.StandardSave(state),
      meta=args.JsonSave(
        {
          'leaves': {
            "['count']": 'int32[]',
            "['params']['v']": 'float32[128, 64]',
            "['params']['w']": 'float32[128, 64]',
          },
          'digests': digests,
          'history': {'loss': [float(step)]},
        }
      ),
    ),
  )
  manager.close()


def test_f3_10_the_old_format_is_read_and_verified(tmp_path, caplog):
  for step in (10, 20):
    write_old_format(tmp_path, step)
  saves.check(saves.restore(tmp_path), 20)
  assert not caplog.text
  saves.flip(tmp_path / '20', at=0.45)
  saves.check(saves.restore(tmp_path), 10)
  assert 'Checkpoint 20' in caplog.text
  checkpoints = checkpoint.Checkpoints(tmp_path, keep_best=1)
  assert checkpoints.best(saves.tree(0)) is None
  checkpoints.save(20, saves.tree(20), {'loss': [20.0]}, metric=1.0)
  saves.check(checkpoints.best(saves.tree(0)), 20)
  checkpoints.close()


def test_f3_10_an_old_one_with_other_numbers_is_found(tmp_path):
  write_old_format(tmp_path, 10)
  write_old_format(tmp_path, 20)
  shutil.rmtree(tmp_path / '20/state')
  shutil.copytree(tmp_path / '10/state', tmp_path / '20/state')
  saves.check(saves.restore(tmp_path), 10)
