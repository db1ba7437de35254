"""A checkpoint is what was saved, or it is set aside and another one used.

Tests f3_N are the numbered faults that training has to survive.
"""

import asyncio
import errno
import gc
import hashlib
import json
import os
import pathlib
import resource
import shutil
import socket
import subprocess
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.train import checkpoint, integrity

# A read or write that fails leaves coroutines that nobody awaits.
pytestmark = pytest.mark.filterwarnings(
  'ignore::pytest.PytestUnraisableExceptionWarning',
  'ignore::pytest.PytestUnhandledThreadExceptionWarning',
  'ignore:coroutine:RuntimeWarning',
)


def tree(seed):
  rng = np.random.default_rng(seed)
  one, two = rng.standard_normal((2, 128, 64)).astype(np.float32)
  return {
    'params': {'w': jnp.asarray(one), 'v': jnp.asarray(two)},
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


def restore(path, like=None):
  checkpoints = checkpoint.Checkpoints(path)
  restored = checkpoints.restore(tree(0) if like is None else like)
  checkpoints.close()
  gc.collect()  # Here, not in another test: orbax drops its reads on damage.
  return restored


def check(restored, step):
  assert restored[0] == step and restored[2] == {'loss': [float(step)]}
  jax.tree.map(np.testing.assert_array_equal, restored[1], tree(step))


def largest(folder: pathlib.Path) -> pathlib.Path:
  files = [file for file in folder.rglob('*') if file.is_file()]
  return max(files, key=lambda file: file.stat().st_size)


def steps_in(folder):
  return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


def test_the_newest_checkpoint_comes_back_exactly(saved):
  check(restore(saved), 20)


def test_an_empty_folder_has_none(tmp_path):
  assert restore(tmp_path) is None


def test_shapes_suffice_to_restore(saved):
  shapes = jax.eval_shape(lambda: tree(0))
  check(restore(saved, like=shapes), 20)


def test_arrays_of_numpy_come_back_as_jax_would_hold_them(tmp_path):
  state = {'x': np.arange(3.0), 'key': jax.random.key(3)}
  checkpoints = checkpoint.Checkpoints(tmp_path)
  checkpoints.save(1, state, {})
  checkpoints.close()
  restored = restore(tmp_path, like=state)[1]
  np.testing.assert_array_equal(restored['x'], state['x'])
  assert restored['x'].dtype == jnp.asarray(state['x']).dtype
  assert jnp.array_equal(restored['key'], state['key'])


def test_a_state_may_be_donated_and_overwritten_right_after_save(tmp_path):
  update = jax.jit(
    lambda t: jax.tree.map(lambda x: x * 3 + 1, t), donate_argnums=0
  )
  host = np.zeros(1000, np.float32)
  state = {'w': jax.random.normal(jax.random.key(0), (512, 1024))}
  checkpoints, history, expected = (
    checkpoint.Checkpoints(tmp_path, keep=9),
    [],
    {},
  )
  for step in range(5):
    before = state['w']
    expected[step] = integrity.checksums({**state, 'host': host})
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
    restored = restore(tmp_path, like=like)
    assert restored[0] == step
    assert restored[2] == {'loss': [float(s) for s in range(step + 1)]}
    assert integrity.checksums(restored[1]) == expected[step]
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
  checkpoints.save(1, tree(1), {'loss': [1.0]})
  assert steps_in(tmp_path) == []
  events.append('returned')
  checkpoints.wait()
  assert steps_in(tmp_path) == [1]
  checkpoints.close()


def save_metrics(path, metrics, **kwargs):
  checkpoints = checkpoint.Checkpoints(path, **kwargs)
  for step, metric in metrics.items():
    checkpoints.save(step, tree(step), {'loss': [float(step)]}, metric=metric)
  checkpoints.close()


def test_only_the_newest_are_kept(saved):
  save_metrics(saved, {30: None}, keep=2)
  assert steps_in(saved) == [20, 30]


def test_the_best_are_never_among_those_that_are_deleted(tmp_path):
  metrics = {1: 5.0, 2: 3.0, 3: float('nan'), 4: 4.0, 5: None, 6: 3.0, 7: 9.0}
  save_metrics(tmp_path, metrics, keep=2, keep_best=1)
  assert steps_in(tmp_path) == [2, 6, 7]  # Of equal ones the first.
  # Another process knows as well, and a better one takes its place.
  save_metrics(tmp_path, {8: 10.0}, keep=2, keep_best=1)
  assert steps_in(tmp_path) == [2, 7, 8]
  save_metrics(tmp_path, {9: 1.0, 10: 2.0, 11: 2.0}, keep=1, keep_best=2)
  assert steps_in(tmp_path) == [9, 10, 11]


def test_the_best_is_found_and_if_damaged_the_next_best(tmp_path, caplog):
  save_metrics(tmp_path, {1: 2.0, 2: 1.0, 3: None, 4: 3.0}, keep=9)
  checkpoints = checkpoint.Checkpoints(tmp_path, keep=9)
  check(checkpoints.best(tree(0)), 2)
  largest(tmp_path / '2/state').unlink()
  check(checkpoints.best(tree(0)), 1)
  assert 'Checkpoint 2' in caplog.text and 'is damaged' in caplog.text
  (tmp_path / '1/meta/metadata').write_text('{')
  checkpoints.close()
  checkpoints = checkpoint.Checkpoints(tmp_path, keep=1, keep_best=1)
  check(checkpoints.best(tree(0)), 4)
  assert 'metric of checkpoint 1' in caplog.text
  # What cannot be read may be the best, so it stays.
  checkpoints.save(5, tree(5), {}, metric=9.0)
  assert checkpoints.steps() == [1, 4, 5]
  checkpoints.close()
  gc.collect()


def test_without_metrics_there_is_no_best(saved):
  checkpoints = checkpoint.Checkpoints(saved)
  assert checkpoints.best(tree(0)) is None
  checkpoints.close()


def test_nothing_to_keep_is_refused(tmp_path):
  with pytest.raises(ValueError, match='keep is 0'):
    checkpoint.Checkpoints(tmp_path, keep=0)


# --- 5: every kind of damage is found ---


def flip(step_folder, *, at):
  file = largest(step_folder / 'state')
  content = bytearray(file.read_bytes())
  content[int(at * (len(content) - 1))] ^= 1
  file.write_bytes(content)


def zero_block(step_folder):
  file = largest(step_folder / 'state')
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
    f'flip_at_{at}': lambda folder, at=at: flip(folder, at=at)
    for at in (0.05, 0.3, 0.5, 0.7, 0.95)
  },
  'zero_block': zero_block,
  'truncate': truncate,
  'delete_data': lambda folder: largest(folder / 'state').unlink(),
  'delete_state': lambda folder: shutil.rmtree(folder / 'state'),
  'delete_meta': lambda folder: (folder / 'meta/metadata').unlink(),
  'half_meta': lambda folder: (folder / 'meta/metadata').write_text('{"half":'),
  'other_meta': lambda folder: (folder / 'meta/metadata').write_text('[1]'),
}


@pytest.mark.parametrize('steps', [(20,), (10, 20)], ids=['newest', 'both'])
@pytest.mark.parametrize('damage', DAMAGE)
def test_f3_5_damage_is_found_and_the_newest_good_one_used(
  saved, damage, steps, caplog
):
  for step in steps:
    DAMAGE[damage](saved / str(step))
  restored = restore(saved)
  if len(steps) == 2:
    assert restored is None
  else:
    check(restored, 10)
  for step in steps:
    assert f'Checkpoint {step} in {saved} is damaged' in caplog.text
    assert (saved / f'{step}.corrupt').is_dir()
  assert steps_in(saved) == [step for step in (10, 20) if step not in steps]
  # And training goes on from there.
  save_metrics(saved, {20: None})
  check(restore(saved), 20)


@pytest.mark.parametrize('steps', [(20,), (10, 20)], ids=['newest', 'both'])
def test_f3_5_two_leaves_that_changed_places_are_found(
  tmp_path, steps, monkeypatch, caplog
):
  # What orbax would not notice: sound files with other numbers in them.
  checksums = integrity.checksums
  checkpoints = checkpoint.Checkpoints(tmp_path)
  for step in (10, 20):
    state = tree(step)
    with monkeypatch.context() as patch:
      if step in steps:
        patch.setattr(integrity, 'checksums', lambda _, of=state: checksums(of))
        params = state['params']
        state = {**state, 'params': {'w': params['v'], 'v': params['w']}}
      checkpoints.save(step, state, {'loss': [float(step)]})
  checkpoints.close()
  restored = restore(tmp_path)
  if len(steps) == 2:
    assert restored is None
  else:
    check(restored, 10)
  assert "the values of ['params']['v'], ['params']['w'] were" in caplog.text


@pytest.mark.parametrize('part', ['state', 'meta', '.'])
def test_f3_5_the_data_of_another_step_is_found(saved, part):
  shutil.rmtree(saved / '20' / part)
  shutil.copytree(saved / '10' / part, saved / '20' / part)
  check(restore(saved), 10)
  assert (saved / '20.corrupt').is_dir()


@pytest.mark.parametrize('part', ['state', 'meta', '.'])
def test_f3_5_two_steps_that_changed_places_are_found(saved, part):
  (saved / '10' / part).rename(saved / 'aside')
  (saved / '20' / part).rename(saved / '10' / part)
  (saved / 'aside').rename(saved / '20' / part)
  assert restore(saved) is None
  assert (saved / '20.corrupt').is_dir() and (saved / '10.corrupt').is_dir()


@pytest.mark.parametrize('change', ['flip', 'truncate', 'delete', 'empty'])
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
    restored = restore(folder)
    check(restored, restored[0])


def test_f3_5_a_history_that_was_changed_is_found(saved):
  file = saved / '20/meta/metadata'
  text = file.read_text()
  assert text.count('20.0') == 1
  file.write_text(text.replace('20.0', '21.0'))
  check(restore(saved), 10)


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


@pytest.mark.parametrize(
  'error', [MemoryError(), RuntimeError('RESOURCE_EXHAUSTED: no memory')]
)
def test_too_little_memory_is_no_damage(saved, monkeypatch, error):
  def restore_without_memory(*args, **kwargs):
    raise error

  with monkeypatch.context() as patch:
    patch.setattr(
      checkpoint.ocp.StandardCheckpointHandler,
      'restore',
      restore_without_memory,
    )
    with pytest.raises(OSError, match='cannot be read here'):
      restore(saved)
  check(restore(saved), 20)


# --- 4: disks that are full, and folders that cannot be written to ---


@pytest.mark.parametrize('surfaces', ['wait', 'save', 'close', 'restore'])
def test_f3_4_a_full_disk_is_reported_and_older_steps_are_intact(
  saved, surfaces
):
  checkpoints = checkpoint.Checkpoints(saved)
  integrity.checksums(tree(30))  # Compiled before, for its cache is a file.
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 10, limits[1]))
  try:
    with pytest.raises(
      OSError,
      match=rf'Checkpoint 30 could not be written to {saved}: .*'
      r'File too large.*\(10, 20\) are intact. Free space .* from step 20',
    ):
      checkpoints.save(30, tree(30), {})
      if surfaces == 'save':
        checkpoints.save(40, tree(40), {})
      elif surfaces == 'restore':
        checkpoints.restore(tree(0))
      else:
        getattr(checkpoints, surfaces)()
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  # Once there is room it goes on, in the same process or another.
  assert checkpoints.steps() == [10, 20]
  assert not list(saved.glob('*tmp*'))
  check(checkpoints.restore(tree(0)), 20)
  checkpoints.save(30, tree(30), {'loss': [30.0]})
  checkpoints.close()
  check(restore(saved), 30)


def test_f3_4_a_folder_that_vanishes_is_reported(saved, tmp_path_factory):
  elsewhere = tmp_path_factory.mktemp('elsewhere') / 'moved'
  checkpoints = checkpoint.Checkpoints(saved)
  saved.rename(elsewhere)
  saved.write_text('a file')
  with pytest.raises(OSError, match='Checkpoint 30 could not .* begins anew'):
    checkpoints.save(30, tree(30), {})
    checkpoints.close()
  checkpoints.close()
  check(restore(elsewhere), 20)


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
  with pytest.raises(
    OSError, match=f'cannot be written to {saved}: .*Read-only file system'
  ):
    checkpoint.Checkpoints(saved)


def test_f3_4_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(OSError, match='cannot be written to .*/file'):
    checkpoint.Checkpoints(tmp_path / 'file')


# --- 9, 10: what earlier runs left ---


def test_f3_9_stale_temporary_directories_are_removed_and_counted(
  saved, caplog
):
  for name in ('30.orbax-checkpoint-tmp', '40.orbax-checkpoint-tmp-17'):
    shutil.copytree(saved / '20', saved / name)
  check(restore(saved), 20)
  assert not list(saved.glob('*tmp*'))
  assert 'Removed 2 unfinished checkpoints' in caplog.text
  caplog.clear()
  check(restore(saved), 20)
  assert 'Removed' not in caplog.text


def write_old_format(path, step):
  """As versions before checksums did, with SHA-256 of every leaf."""
  state = tree(step)
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
  check(restore(tmp_path), 20)
  assert not caplog.text
  flip(tmp_path / '20', at=0.5)
  check(restore(tmp_path), 10)
  assert 'Checkpoint 20' in caplog.text
  checkpoints = checkpoint.Checkpoints(tmp_path, keep_best=1)
  assert checkpoints.best(tree(0)) is None
  checkpoints.save(20, tree(20), {'loss': [20.0]}, metric=1.0)
  check(checkpoints.best(tree(0)), 20)
  checkpoints.close()


def test_f3_10_an_old_one_with_other_numbers_is_found(tmp_path):
  write_old_format(tmp_path, 10)
  write_old_format(tmp_path, 20)
  shutil.rmtree(tmp_path / '20/state')
  shutil.copytree(tmp_path / '10/state', tmp_path / '20/state')
  check(restore(tmp_path), 10)


# --- 6: other devices, other processes ---

TOPOLOGY = """
import pathlib, sys
import jax
mode, folder, port, count, number, devices = sys.argv[1:]
jax.config.update('jax_num_cpu_devices', int(devices))
if int(count) > 1:
  jax.distributed.initialize(f'127.0.0.1:{port}', int(count), int(number))
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from wsjax.train import checkpoint, integrity

def like(devices):
  mesh = jax.make_mesh((len(devices),), ('data',), devices=devices,
                       axis_types=(AxisType.Auto,))
  w = np.random.default_rng(0).standard_normal((16, 32)).astype('float32')
  host = {'rows': w, 'columns': w[::-1] * 2, 'whole': w * 3}
  specs = {'rows': P('data'), 'columns': P(None, 'data'), 'whole': P()}
  return {
    name: jax.make_array_from_callback(
      value.shape, NamedSharding(mesh, specs[name]), lambda i, v=value: v[i]
    )
    for name, value in host.items()
  }

def restore(folder, like):
  checkpoints = checkpoint.Checkpoints(folder)
  step, tree, _ = checkpoints.restore(like)
  checkpoints.close()
  assert jax.tree.map(lambda x: x.sharding, tree) == jax.tree.map(
    lambda x: x.sharding, like)
  print(step, *integrity.checksums(tree).values())

folder = pathlib.Path(folder)
if mode == 'save':
  checkpoints = checkpoint.Checkpoints(folder)
  for step in (10, 20):
    checkpoints.save(step, like(jax.devices()), {'loss': [float(step)]})
  checkpoints.close()
elif mode == 'restore':
  for child in sorted(folder.iterdir()):
    restore(child, like(jax.devices()))
elif mode == 'meshes':
  for n in (1, 2, 4, 8):
    checkpoints = checkpoint.Checkpoints(folder / str(n))
    checkpoints.save(10, like(jax.devices()[:n]), {})
    checkpoints.close()
    for m in (1, 2, 4, 8):
      restore(folder / str(n), like(jax.devices()[:m]))
elif mode == 'one_cannot_read':
  read = checkpoint.ocp.StandardCheckpointHandler.restore
  def fail(self, folder, **kwargs):
    if jax.process_index() == 1 and folder.parent.name == '20':
      raise OSError('this disk is broken')
    return read(self, folder, **kwargs)
  checkpoint.ocp.StandardCheckpointHandler.restore = fail
  restore(folder, like(jax.devices()))
"""


def run(mode, folder, *, processes=1, devices=1):
  """The lines that every process prints."""
  with socket.socket() as sock:
    sock.bind(('127.0.0.1', 0))
    port = str(sock.getsockname()[1])
  running = [
    subprocess.Popen(
      [
        sys.executable, '-c', TOPOLOGY, mode, str(folder), port,
        str(processes), str(number), str(devices),
      ],
      env=os.environ | {'NPROC': '16'},
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for number in range(processes)
  ]  # fmt: skip
  outputs = [process.communicate(timeout=300) for process in running]
  for process, (_, errors) in zip(running, outputs, strict=True):
    assert process.returncode == 0, errors[-3000:]
  # Gloo talks too.
  return [
    [line for line in output.splitlines() if line[0] != '[']
    for output, _ in outputs
  ]


def expected_line(step):
  w = np.random.default_rng(0).standard_normal((16, 32)).astype('float32')
  tree = {'rows': w, 'columns': w[::-1] * 2, 'whole': w * 3}
  return ' '.join([str(step), *integrity.checksums(tree).values()])


def test_f3_6_what_one_mesh_saved_every_other_restores(tmp_path):
  lines = run('meshes', tmp_path, devices=8)[0]
  assert lines == [expected_line(10)] * 16


def test_f3_6_two_processes_agree_and_one_process_reads_what_they_saved(
  tmp_path,
):
  run('save', tmp_path, processes=2, devices=2)
  lines = run('one_cannot_read', tmp_path, processes=2, devices=2)
  assert lines == [[expected_line(10)]] * 2
  assert (tmp_path / '20.corrupt').is_dir()
  w = jnp.zeros((16, 32))
  restored = restore(tmp_path, like={'rows': w, 'columns': w, 'whole': w})
  found = integrity.checksums(restored[1]).values()
  assert ' '.join([str(restored[0]), *found]) == expected_line(10)


@pytest.mark.slow
def test_f3_6_every_topology_restores_what_every_other_saved(tmp_path):
  topologies = [
    {'processes': processes, 'devices': devices}
    for processes in (1, 2)
    for devices in (1, 2, 4, 8)
  ]
  for number, topology in enumerate(topologies):
    run('save', tmp_path / str(number), **topology)
  for topology in topologies:
    lines = run('restore', tmp_path, **topology)
    expected = [expected_line(20)] * len(topologies)
    assert lines == [expected] * topology['processes'], topology
