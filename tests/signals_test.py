"""A signal ends a program at any instant, and a loop between two steps."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests import marks
from wsjax import signals

# What a program does when the signal comes; 'ready' is printed right before.
WORK = {
  'busy': 'while True: pass',
  'garbage': """
import gc
def lose(phase, info):
  for _ in range(1000): pass
gc.callbacks.append(lose)
while True: gc.collect()
""",
  'finalizers': """
class Slow:
  def __del__(self):
    for _ in range(100_000): pass
while True: Slow()
""",
  'import': """
import importlib, pathlib, sys, tempfile
folder = tempfile.mkdtemp()
sys.path.insert(0, folder)
pathlib.Path(folder, 'slow_module.py').write_text('import time; time.sleep(0.5)')
try: import slow_module
except BaseException as error: raise RuntimeError('an import was interrupted') from error
while True: pass
""",
  'native': 'import hashlib; hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)',
  'deaf': """
while True:
  try: time.sleep(60)
  except KeyboardInterrupt: print('lost', flush=True)
""",
  'clean-up': """
try: time.sleep(60)
finally:
  time.sleep(0.5)
  print('cleaned', flush=True)
""",
}
STATUS = {'SIGTERM': 75, 'SIGINT': 130}
PROGRAM = """
import sys, time
from wsjax import signals
signals.GRACE = float(sys.argv[2])
with signals.watch() as guard:
  guard.command = 'program'
  print('ready', flush=True)
  try:
    exec(sys.argv[1])
  except KeyboardInterrupt as error:
    guard.seen = True
    guard.say()
    sys.exit(guard.status)
"""


def start(work, grace=signals.GRACE):
  process = subprocess.Popen(
    [sys.executable, '-c', PROGRAM, work, str(grace)],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  assert process.stdout.readline() == 'ready\n'
  time.sleep(0.1)  # The instant is what is tested.
  return process


# One of the two where the end is the same: the patience with a program that does not end itself.
@pytest.mark.parametrize(
  'case',
  marks.slow(
    [f'{work} {name}' for work in WORK for name in STATUS],
    *(f'{work} SIGINT' for work in ('garbage', 'finalizers', 'native', 'deaf')),
    'finalizers SIGTERM',
  ),
)
def test_f1_a_signal_ends_a_program_whatever_it_does(case):
  work, name = case.split()
  number, status = getattr(signal, name), STATUS[name]
  process = start(WORK[work], grace=1.5)  # Cleaning up takes half a second.
  began = time.monotonic()
  process.send_signal(number)
  out, err = process.communicate(timeout=30)
  assert process.returncode == status, err
  assert time.monotonic() - began < 6  # 1.5 seconds, on a machine that does other things.
  assert err.count('\n') == 1 and err.startswith('wsjax: stopped by')
  assert ('cleaned' in out) == (work == 'clean-up')


def test_a_second_ctrl_c_does_not_wait():
  process = start(WORK['native'])
  began = time.monotonic()
  process.send_signal(signal.SIGTERM)
  process.send_signal(signal.SIGTERM)  # From a scheduler and a launcher: that is one.
  time.sleep(0.2)
  assert process.poll() is None
  process.send_signal(signal.SIGINT)
  process.communicate(timeout=10)
  assert process.returncode == 75
  assert time.monotonic() - began < signals.GRACE


def test_a_loop_ends_by_itself_and_a_second_ctrl_c_does_not_wait():
  before = signal.getsignal(signal.SIGTERM)
  with pytest.raises(KeyboardInterrupt), signals.polled() as guard:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0)
    assert guard.received == signal.SIGTERM
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
  assert signal.getsignal(signal.SIGTERM) is before


def test_a_loop_within_a_program_raises_where_nothing_would_be_lost():
  with signals.watch() as guard, pytest.raises(signals.Terminated):
    with signals.polled() as same:
      assert same is guard
      os.kill(os.getpid(), signal.SIGTERM)
      time.sleep(0.3)
      same.wait(False)
      time.sleep(5)
  assert guard.status == 75


def test_a_signal_that_a_loop_did_not_see_is_not_lost():
  with pytest.raises(KeyboardInterrupt):
    with signals.polled():
      os.kill(os.getpid(), signal.SIGINT)
  with signals.watch(), pytest.raises(signals.Terminated):
    with signals.polled():
      os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5)


def test_an_ignored_signal_stays_ignored():
  code = 'trap "" INT; exec "$@"'
  command = ['sh', '-c', code, 'sh', sys.executable, '-c', PROGRAM, 'time.sleep(0.5)', '3']
  process = subprocess.Popen(command, stdout=subprocess.PIPE)
  assert process.stdout.readline() == b'ready\n'
  process.send_signal(signal.SIGINT)
  process.communicate()
  assert process.returncode == 0


def test_the_program_answers_from_its_first_instant():
  for delay in (0.06, 0.12, 0.2):
    process = subprocess.Popen(
      [sys.executable, '-m', 'wsjax', 'report', '--workdir', '/dev/fd/0'],
      stdin=subprocess.PIPE,
      stderr=subprocess.PIPE,
      cwd=pathlib.Path(__file__).parents[1],
    )
    time.sleep(delay)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    # Before Python itself has started, nothing can answer.
    assert process.returncode in (75, -15, 2), err
