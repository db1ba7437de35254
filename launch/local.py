"""Runs a command as several processes of one machine, and restarts them all.

  python launch/local.py --processes 2 --devices 4 -- \
    wsjax run --config configs/digits_flow.py --workdir runs/x

--devices simulates that many CPU devices in each process; without it a process
sees the devices of the machine. When one process fails, the others cannot go
on without it, so the whole set is stopped and started again. Exit status:

  0     every process is done
  2     wrong input; it is not tried again
  75    this launcher got SIGTERM; the same command goes on from there
  130   the same for Ctrl-C
  else  that of the process that failed first, after the last restart
"""

import argparse
import ctypes
import dataclasses
import math
import os
import re
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

USER_ERROR = 2
SAVED = 75
INTERRUPTED = 130
# A process that saves and stops when nobody asked was preempted; that is free, but a program that
# never gets further must end some day.
MAX_RESUMES = 1000
# Seconds for those that lost a peer: to save takes all of them.
PEER_GRACE = 10.0
DEVICE_COUNT = '--xla_force_host_platform_device_count'


@dataclasses.dataclass(frozen=True)
class Plan:
  """What to run: the attributes are the options of the command line."""

  command: tuple[str, ...]
  processes: int = 1
  devices: int | None = None
  restarts: int = 3
  grace: float = 60.0

  def __post_init__(self):
    if not self.command:
      raise ValueError('There is no command; give it after --.')
    allowed = {'processes': 1, 'devices': 1, 'restarts': 0, 'grace': 0}
    for name, least in allowed.items():
      value = getattr(self, name)
      if value is not None and value < least:
        raise ValueError(f'--{name} is {value}; at least {least} is allowed.')


def variables(plan: Plan, rank: int, *, port: int, base: Mapping[str, str]) -> dict[str, str]:
  """The environment variables that a process gets on top of its parent's.

  Args:
    plan: of the set.
    rank: of the process.
    port: where process 0 listens.
    base: the environment of this launcher; its XLA flags are kept.

  Returns:
    Name -> value. A single process gets no coordinator.
  """
  made = {}
  if plan.processes > 1:
    made['WSJAX_COORDINATOR'] = f'127.0.0.1:{port}'
    made['WSJAX_NUM_PROCESSES'] = str(plan.processes)
    made['WSJAX_PROCESS_ID'] = str(rank)
  if plan.devices is not None:
    flags = re.sub(rf'{DEVICE_COUNT}=\S*', '', base.get('XLA_FLAGS', ''))
    flags = f'{flags} {DEVICE_COUNT}={plan.devices}'
    made['XLA_FLAGS'] = ' '.join(flags.split())
    made['JAX_PLATFORMS'] = 'cpu'
    # XLA sizes its thread pool by cores; a collective of more devices than cores would wait
    # forever.
    made['NPROC'] = base.get('NPROC', '16')
  return made


def dry_run(plan: Plan, *, port: int, base: Mapping[str, str]) -> str:
  """One line per process that a shell can run."""
  lines = []
  for rank in range(plan.processes):
    made = variables(plan, rank, port=port, base=base)
    words = [f'{name}={shlex.quote(value)}' for name, value in made.items()]
    lines.append(' '.join([*words, shlex.join(plan.command)]) + '\n')
  return ''.join(lines)


def free_port() -> int:
  """A TCP port of this machine that nobody uses now."""
  with socket.socket() as listener:
    listener.bind(('127.0.0.1', 0))
    return listener.getsockname()[1]


class Launcher:
  """Runs the sets of a plan; a context, for the main thread."""

  def __init__(self, plan: Plan):
    self._plan = plan
    self._signals: list[int] = []  # That we got.
    self._selector = selectors.DefaultSelector()
    # A signal writes a byte here, so that waiting for output ends.
    self._waker, self._waked = socket.socketpair()
    self._waker.setblocking(False)  # As Python asks of a wakeup file.
    self._selector.register(self._waked, selectors.EVENT_READ)

  def __enter__(self) -> 'Launcher':
    signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
    self._before = [
      (signal.SIGTERM, signal.signal(signal.SIGTERM, self._remember)),
      (signal.SIGINT, signal.signal(signal.SIGINT, self._remember)),
      # It only has to wake us.
      (signal.SIGCHLD, signal.signal(signal.SIGCHLD, lambda *_: None)),
    ]
    return self

  def __exit__(self, *_: object) -> None:
    signal.set_wakeup_fd(-1)
    for number, handler in self._before:
      signal.signal(number, handler)
    for closed in (self._selector, self._waker, self._waked):
      closed.close()

  def run(self) -> int:
    """Runs sets until one is done, and gives the exit status."""
    restarts = resumes = 0
    while True:
      status = self._run_set()
      if status == 0:
        return 0
      if self._signals:
        return INTERRUPTED if self._signals[0] == signal.SIGINT else SAVED
      if status == SAVED and resumes < MAX_RESUMES:
        resumes += 1
        _say('saved and stopped without being asked; all start again')
      elif status != USER_ERROR and restarts < self._plan.restarts:
        restarts += 1
        _say(f'all start again ({restarts} of {self._plan.restarts})')
      else:
        return status

  def _remember(self, number: int, frame: object) -> None:
    del frame
    self._signals.append(number)

  def _run_set(self) -> int:
    """One life of the set: 0, or the status of the first that failed."""
    plan, port = self._plan, free_port()
    children: list[_Child] = []
    try:
      for rank in range(plan.processes):
        made = variables(plan, rank, port=port, base=os.environ)
        children.append(_Child(rank, plan.command, made))
        self._selector.register(children[-1].output, selectors.EVENT_READ, children[-1])
      return self._watch(children)
    finally:
      for child in children:
        child.send(signal.SIGKILL)  # If we fail ourselves, nobody stays.
        child.process.wait()
        if child.output in self._selector.get_map():
          self._selector.unregister(child.output)
        child.close()

  def _watch(self, children: Sequence['_Child']) -> int:
    """Waits for the set; passes signals on; stops all when one has failed."""
    status, passed_on, deadline = 0, 0, None

    def stop(number: int, grace: float = self._plan.grace) -> float:
      for child in children:
        child.send(number)
      return deadline or time.monotonic() + grace

    while True:
      if len(self._signals) > passed_on:
        passed_on = len(self._signals)
        # Whoever asks twice does not want to wait.
        deadline = stop(self._signals[0] if passed_on == 1 else signal.SIGKILL)
      codes = [child.process.poll() for child in children]
      failed = [rank for rank, code in enumerate(codes) if code]
      if failed and not status:
        code = codes[failed[0]]
        status = code if code > 0 else 128 - code  # As a shell says it.
        _say(f'p{failed[0]} ended with {status}')
        if not self._signals:
          most = math.inf if status == SAVED else PEER_GRACE
          deadline = stop(signal.SIGTERM, min(self._plan.grace, most))
      if None not in codes:
        return status
      left = deadline and deadline - time.monotonic()
      if left is not None and left <= 0:
        stop(signal.SIGKILL)
        left = None
      for key, _ in self._selector.select(left):
        if key.fileobj is self._waked:
          self._waked.recv(4096)
        elif not key.data.pass_on():
          self._selector.unregister(key.fileobj)


class _Child:
  """One process of a set, and its output, line by line with a prefix."""

  def __init__(self, rank: int, command: Sequence[str], made: dict[str, str]):
    try:
      self.process = subprocess.Popen(
        command,
        env={**os.environ, **made},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C comes to us; we pass it on once.
        preexec_fn=_die_with_parent if sys.platform == 'linux' else None,
      )
    except OSError as error:
      raise ValueError(f'{command[0]}: {error.strerror}.') from error
    self.output = self.process.stdout
    os.set_blocking(self.output.fileno(), False)
    self._prefix, self._rest = f'[p{rank}] '.encode(), b''

  def send(self, number: int) -> None:
    """Sends a signal to the process and its children, if it lives."""
    if self.process.poll() is None:
      os.killpg(self.process.pid, number)

  def pass_on(self) -> bool:
    """Writes what it has written; False when there will be no more."""
    content = self.output.read()  # None: nothing now.
    *lines, self._rest = (self._rest + (content or b'')).split(b'\n')
    self._write(lines)
    return content != b''

  def close(self) -> None:
    """Writes what is left, and a last line that was not ended."""
    self.pass_on()
    self._write([self._rest] if self._rest else [])
    self.output.close()

  def _write(self, lines: Sequence[bytes]) -> None:
    sys.stdout.buffer.writelines(self._prefix + line + b'\n' for line in lines)
    sys.stdout.buffer.flush()


def _die_with_parent() -> None:
  # Two sets in one workdir would spoil it, so none outlives its launcher.
  ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _say(sentence: str) -> None:
  sys.stderr.write(f'[launch] {sentence}\n')
  sys.stderr.flush()


def main(argv: Sequence[str] | None = None) -> int:
  """Parses the command line and runs the launcher."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--processes', type=int, default=1)
  parser.add_argument('--devices', type=int, help='simulated CPU devices')
  parser.add_argument('--restarts', type=int, default=3)
  parser.add_argument('--grace', type=float, default=60, help='seconds from SIGTERM to SIGKILL')
  parser.add_argument('--dry-run', action='store_true', help='print what would be run')
  parser.add_argument('command', nargs='+', help='after --')
  args = vars(parser.parse_args(argv))
  only_print = args.pop('dry_run')
  try:
    plan = Plan(**args | {'command': tuple(args['command'])})
    if only_print:
      sys.stdout.write(dry_run(plan, port=free_port(), base=os.environ))
      return 0
    with Launcher(plan) as launcher:
      return launcher.run()
  except ValueError as error:
    sys.stderr.write(f'local.py: {error}\n')
    return USER_ERROR


if __name__ == '__main__':
  sys.exit(main())
