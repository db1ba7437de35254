import os
import shutil
import sys

import pytest

from tests.zoo import zoo_samples
from wsjax.zoo.store import published, store


@pytest.fixture
def log(tmp_path):
  with store.Log(tmp_path / 'log.lmdb') as log:
    log.append([zoo_samples.entry(seed) for seed in range(5)])
    yield log


def snapshot(path):
  return {
    str(file.relative_to(path)): file.read_bytes()
    for file in sorted(path.rglob('*'))
    if file.is_file() and 'log.lmdb' not in file.parts
  }


def test_a_published_zoo_is_never_overwritten(log, tmp_path):
  store.publish(log, tmp_path)
  before = snapshot(tmp_path)
  log.append([zoo_samples.entry(9)])
  with pytest.raises(ValueError, match='never overwritten'):
    store.publish(log, tmp_path)
  assert snapshot(tmp_path) == before


class Killed(BaseException):
  """Stands for SIGKILL: nothing may run after it to tidy up."""


def count_renames(monkeypatch, kill_at):
  """Makes the `kill_at`-th rename kill the process instead."""
  replace = os.replace
  calls = []

  def counted(source, target):
    if len(calls) == kill_at:
      raise Killed
    calls.append(target)
    replace(source, target)

  monkeypatch.setattr(os, 'replace', counted)
  return calls


def test_an_interrupted_publish_can_be_repeated(log, tmp_path, monkeypatch):
  expected = snapshot(store.publish(log, tmp_path / 'a', shard_size=2).path)
  with monkeypatch.context() as patch:
    calls = count_renames(patch, kill_at=-1)
    store.publish(log, tmp_path / 'b', shard_size=2)
  for kill_at in range(len(calls)):
    path = tmp_path / f'killed{kill_at}'
    with monkeypatch.context() as patch:
      count_renames(patch, kill_at)
      with pytest.raises(Killed):
        store.publish(log, path, shard_size=2)
    with pytest.raises(ValueError, match='not a published zoo'):
      store.Zoo.open(path)
    assert len(store.publish(log, path, shard_size=2)) == 5
    assert snapshot(path) == expected
  assert len(log) == len(list(map(log.read, log.keys()))) == 5


def test_an_interrupted_publish_sees_what_was_added_since(log, tmp_path, monkeypatch):
  with monkeypatch.context() as patch:
    count_renames(patch, kill_at=3)  # Two shards, one, then the folder.
    with pytest.raises(Killed):
      store.publish(log, tmp_path / 'a', shard_size=2)
  log.append([zoo_samples.entry(5)])
  assert len(store.publish(log, tmp_path / 'a', shard_size=2)) == 6


def test_shards_without_a_manifest_are_left_alone(log, tmp_path):
  store.publish(log, tmp_path)
  (tmp_path / 'manifest.json').unlink()
  before = snapshot(tmp_path)
  with pytest.raises(ValueError, match='no manifest.json'):
    store.publish(log, tmp_path)
  assert snapshot(tmp_path) == before


def test_a_full_disk_leaves_no_zoo_and_the_log(log, tmp_path, monkeypatch):
  def full(path, tensors, metadata):
    raise OSError(28, 'No space left on device')

  with monkeypatch.context() as patch:
    patch.setattr(published.safetensors_io, 'save', full)
    with pytest.raises(OSError, match='not published.*No space') as caught:
      store.publish(log, tmp_path)
  assert caught.value.errno == 28
  assert os.listdir(tmp_path) == ['log.lmdb']
  assert len(store.publish(log, tmp_path)) == 5


@pytest.mark.parametrize(
  'entries, message',
  [
    ([], 'empty'),
    (
      [zoo_samples.entry(0, split_group='g'), zoo_samples.entry(1, split_group='g', split='test')],
      "'g' is in both",
    ),
  ],
  ids=['empty', 'straddling'],
)
def test_a_log_that_is_no_zoo_is_refused(tmp_path, entries, message):
  with store.Log(tmp_path / 'log.lmdb') as log:
    log.append(entries)
    with pytest.raises(ValueError, match=message):
      store.publish(log, tmp_path)
  assert not (tmp_path / 'manifest.json').exists()


def test_a_shard_holds_at_least_one_network(log, tmp_path):
  with pytest.raises(ValueError, match='at least one'):
    store.publish(log, tmp_path, shard_size=0)


def test_without_pyarrow_there_is_no_table(log, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'pyarrow', None)
  zoo = store.publish(log, tmp_path)
  assert not (tmp_path / 'records.parquet').exists()
  shutil.rmtree(log.path, ignore_errors=True)
  assert len(store.Zoo.open(zoo.path)) == 5


def test_a_column_has_one_type():
  assert published._one_type([1, None, 2.5]) == [1.0, None, 2.5]
  assert published._one_type([1, 'a', None]) == ['1', 'a', None]
  assert published._one_type([True, False]) == [True, False]
