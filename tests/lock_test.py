"""Two runs never write to one folder, and a dead one does not keep it."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys

import pytest
from absl import logging

from wsjax import files

HOLDER = """
import sys
from wsjax import files
with files.hold(sys.argv[1]):
  print('held', flush=True)
  sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
  """Another process that holds the folder until it is told or killed."""
  process = subprocess.Popen(
    [sys.executable, '-c', HOLDER, str(tmp_path)],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )
  assert process.stdout.readline() == 'held\n'
  yield process
  process.kill()
  process.wait()
  process.stdin.close()
  process.stdout.close()


def test_f3_11_a_second_run_is_told_who_holds_the_folder(holder, tmp_path):
  with pytest.raises(
    ValueError,
    match=rf'Another run is writing to {tmp_path}: process {holder.pid} on '
    rf'{socket.gethostname()}, since 20',
  ):
    with files.hold(tmp_path):
      pytest.fail('two runs hold the folder')
  holder.communicate('')  # It ends, and the folder is free.
  with files.hold(tmp_path):
    pass


def test_a_run_may_wait_for_another(holder, tmp_path, monkeypatch):
  said = []
  # What is said is said before waiting: then the holder is let go.
  monkeypatch.setattr(logging, 'warning', lambda *a: said.append(a) or holder.stdin.close())
  with files.hold(tmp_path, wait=True):
    assert holder.wait(20) == 0
    assert json.loads((tmp_path / '.lock').read_text())['pid'] == os.getpid()
  assert str(holder.pid) in said[0][1]


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_f3_11_a_run_that_was_killed_leaves_no_lock(holder, tmp_path, number):
  holder.send_signal(number)
  holder.wait()
  with files.hold(tmp_path):
    assert json.loads((tmp_path / '.lock').read_text())['pid'] == os.getpid()


def test_f3_11_the_folder_is_free_after_the_context_however_it_ends(tmp_path):
  folder = tmp_path / 'made/for/it'
  with pytest.raises(RuntimeError), files.hold(folder):
    with pytest.raises(ValueError, match='Another run'), files.hold(folder):
      pytest.fail('two runs hold the folder')
    raise RuntimeError
  with files.hold(str(folder)):
    pass


def test_a_holder_that_has_not_said_its_name_yet_is_a_holder(tmp_path):
  with open(tmp_path / '.lock', 'w') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    with pytest.raises(ValueError, match='has not said'), files.hold(tmp_path):
      pytest.fail('two runs hold the folder')


def test_what_is_written_in_the_file_locks_nothing(tmp_path):
  (tmp_path / '.lock').write_text('{"pid": 1, "host": "here", "since": "ever"}')
  with files.hold(tmp_path):
    pass


def fail_with(number):
  def flock(*_):
    raise OSError(number, os.strerror(number))

  return flock


@pytest.mark.parametrize('number', [errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_gives_a_warning(tmp_path, monkeypatch, caplog, number):
  monkeypatch.setattr(fcntl, 'flock', fail_with(number))
  with files.hold(tmp_path):
    assert f'file system of {tmp_path} has no locks' in caplog.text


def test_other_errors_are_not_hidden(tmp_path, monkeypatch):
  monkeypatch.setattr(fcntl, 'flock', fail_with(errno.EIO))
  with pytest.raises(OSError, match='Input/output error'):
    with files.hold(tmp_path):
      pytest.fail('held without a lock')
