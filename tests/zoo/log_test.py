import os
import pathlib
import signal
import subprocess
import sys
import time

import lmdb
import numpy as np
import pytest

from tests.zoo import zoo_samples
from wsjax.zoo.store import log as log_lib
from wsjax.zoo.store import store


def assert_same_entry(found, entry):
  assert found.key == entry.key
  assert found.record == entry.record
  assert found.params.keys() == entry.params.keys()
  for path, array in entry.params.items():
    np.testing.assert_array_equal(found.params[path], array)


def test_entries_come_back_in_key_order_after_reopening(tmp_path):
  entries = [zoo_samples.entry(seed) for seed in (2, 0, 1)]
  with store.Log(tmp_path / 'log') as log:
    assert (len(log), log.keys()) == (0, [])
    log.append(entries[:2])
    log.append(entries[2:])
  with store.Log(tmp_path / 'log') as log:
    assert log.keys() == ['000000', '000001', '000002']
    for entry in entries:
      assert_same_entry(log.read(entry.key)[0], entry)
    assert [entry.key for entry, _ in map(log.read, log.keys())] == log.keys()


@pytest.mark.parametrize(
  'bad, message',
  [
    (lambda: zoo_samples.entry(0), 'already'),
    (lambda: store.Entry('0\n', *_parts(zoo_samples.entry(3))), 'key .* not allowed'),
    (lambda: store.Entry('3', zoo_samples.params(4), zoo_samples.entry(3).record), 'tensor_digest'),
    (lambda: store.Entry('3', zoo_samples.params(3), {}), 'lacks required field'),
  ],
  ids=['same key', 'bad key', 'other weights', 'no record'],
)
def test_a_refused_entry_takes_its_transaction_with_it(tmp_path, bad, message):
  with store.Log(tmp_path / 'log') as log:
    log.append([zoo_samples.entry(0)])
    with pytest.raises(ValueError, match=message):
      log.append([zoo_samples.entry(1), bad()])
    assert log.keys() == ['000000']
    assert_same_entry(log.read('000000')[0], zoo_samples.entry(0))


def _parts(entry):
  return entry.params, entry.record


def test_nan_weights_are_refused_unless_marked_diverged(tmp_path):
  weights = zoo_samples.params(0)
  weights['layer0/bias'][1] = np.nan
  with store.Log(tmp_path / 'log') as log:
    with pytest.raises(ValueError, match="'000000'.*NaN"):
      log.append([zoo_samples.entry(0, weights=weights)])
    log.append([zoo_samples.entry(0, weights=weights, diverged=True)])
    assert np.isnan(log.read('000000')[0].params['layer0/bias'][1])


def test_an_unknown_key_is_an_error(tmp_path):
  with store.Log(tmp_path / 'log') as log:
    with pytest.raises(ValueError, match="no entry 'x'"):
      log.read('x')


def test_the_map_grows_as_needed(tmp_path, monkeypatch):
  monkeypatch.setattr(log_lib, 'FIRST_MAP_BYTES', 1 << 16)
  with store.Log(tmp_path / 'log') as log:
    for start in range(0, 60, 20):
      log.append([zoo_samples.entry(seed) for seed in range(start, start + 20)])
    assert len(log) == len(list(map(log.read, log.keys()))) == 60


def test_every_flipped_byte_of_a_value_is_noticed(tmp_path):
  with store.Log(tmp_path / 'log') as log:
    log.append([zoo_samples.entry(0)])
  environment = lmdb.open(str(tmp_path / 'log'))
  with environment.begin() as transaction:
    intact = transaction.get(b'000000')
  environment.close()
  rng = np.random.default_rng(0)
  for place in rng.choice(len(intact), 60, replace=False):
    value = bytearray(intact)
    value[place] ^= 1 << int(rng.integers(8))
    _overwrite(tmp_path / 'log', b'000000', bytes(value))
    with store.Log(tmp_path / 'log') as log:
      with pytest.raises(ValueError, match="'000000' is corrupt") as caught:
        log.read('000000')
      assert 'log' in str(caught.value)


def _overwrite(path, key, value):
  environment = lmdb.open(str(path))
  with environment.begin(write=True) as transaction:
    transaction.put(key, value)
  environment.close()


def test_a_value_under_another_key_is_noticed(tmp_path):
  with store.Log(tmp_path / 'log') as log:
    log.append([zoo_samples.entry(0)])
    value = log._environment.begin().get(b'000000')
  _overwrite(tmp_path / 'log', b'000001', value)
  with store.Log(tmp_path / 'log') as log:
    with pytest.raises(ValueError, match="'000001' is corrupt"):
      log.read('000001')


def test_what_is_not_a_log_is_said_so(tmp_path):
  (tmp_path / 'data.mdb').write_bytes(b'not a log at all' * 1000)
  with pytest.raises(ValueError, match='not a readable log'):
    store.Log(tmp_path)


WRITER = """
import sys
from tests.zoo import zoo_samples
from wsjax.zoo.store import store

SIZE = 8
entries = [zoo_samples.entry(seed) for seed in range(SIZE)]
with store.Log(sys.argv[1]) as log:
  start = len(log) // SIZE
  print('ready', flush=True)
  for i in range(start, 100_000):
    log.append([
      store.Entry(f'{i:06d}/{j}', entry.params, entry.record)
      for j, entry in enumerate(entries)
    ])
"""


WRITTEN = [zoo_samples.entry(seed) for seed in range(8)]


@pytest.mark.slow
def test_whole_transactions_survive_kill_9(tmp_path):
  rng = np.random.default_rng()
  tests = pathlib.Path(zoo_samples.__file__).parent
  paths = [str(tests), str(tests.parents[1]), os.environ.get('PYTHONPATH', '')]
  environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths)}
  num_before = 0
  for _ in range(2):
    writer = subprocess.Popen(
      [sys.executable, '-c', WRITER, str(tmp_path / 'log')], env=environment, stdout=subprocess.PIPE
    )
    with writer:
      assert writer.stdout.readline() == b'ready\n'
      time.sleep(rng.uniform(0.05, 0.5))
      writer.send_signal(signal.SIGKILL)
    with store.Log(tmp_path / 'log') as log:
      keys = log.keys()
      assert len(keys) % 8 == 0, 'a transaction is half there'
      assert len(keys) > num_before, 'nothing was committed'
      assert keys == [f'{i // 8:06d}/{i % 8}' for i in range(len(keys))], (
        'an earlier transaction was lost'
      )
      for entry, _ in map(log.read, log.keys()):
        assert_same_entry(
          store.Entry(f'{int(entry.key[-1]):06d}', *_parts(entry)), WRITTEN[int(entry.key[-1])]
        )
      num_before = len(keys)


FILLER = """
import resource
import signal
import sys
from tests.zoo import zoo_samples
from wsjax.zoo.store import store

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
with store.Log(sys.argv[1]) as log:
  for seed in range(10_000):
    num = len(log)
    try:
      log.append([zoo_samples.entry(seed)])
    except OSError as error:
      assert len(log) == num == seed
      print(num, error)
      break
"""


def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path):
  """A limit on the size of files stands for the end of the disk."""
  tests = pathlib.Path(zoo_samples.__file__).parent
  paths = [str(tests), str(tests.parents[1]), os.environ.get('PYTHONPATH', '')]
  output = subprocess.run(
    [sys.executable, '-c', FILLER, str(tmp_path / 'log')],
    env={**os.environ, 'PYTHONPATH': os.pathsep.join(paths)},
    capture_output=True,
    text=True,
    check=True,
  ).stdout
  num, _, message = output.partition(' ')
  assert 'could not take 1 entries' in message
  with store.Log(tmp_path / 'log') as log:
    assert len(log) == int(num) > 10
    assert len(list(map(log.read, log.keys()))) == int(num)
    log.append([zoo_samples.entry(int(num))])


def test_no_space_left_is_reported_with_its_number():
  assert log_lib._errno(lmdb.DiskError('x: No space left on device')) == 28
  assert log_lib._errno(lmdb.CorruptedError('page')) == 5


@pytest.mark.parametrize('seed', range(6))
def test_a_damaged_log_is_an_error_and_ends_no_process(seed, tmp_path):
  path = tmp_path / 'log'
  with store.Log(path) as log:
    log.append([zoo_samples.entry(i) for i in range(20)])
  file, rng = path / 'data.mdb', np.random.default_rng(seed)
  content = bytearray(file.read_bytes())
  if seed < 3:
    del content[rng.integers(len(content)) :]
  else:
    for place in rng.integers(8192, len(content), 200):
      content[place] ^= 255
  file.write_bytes(content)
  try:
    with store.Log(path) as log:
      entries = list(map(log.read, log.keys()))
  except (ValueError, OSError) as error:
    assert str(path) in str(error)
  else:
    assert len(entries) in (0, 20)
