"""A process that trains, or is the command line, and meets a fault.

As a program, `python -m tests.faults.worker '{...}'`; see `main`.
"""

import contextlib
import ctypes
import dataclasses
import json
import os
import pathlib
import resource
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from tests.devices import worker as devices
from tests.reference import toy

# 43 examples make 5 batches of 8, and 3 are left over in every epoch.
SIZE, BATCH = 43, 8
SECTION = {
  'steps': 60,
  'batch_size': BATCH,
  'learning_rate': 1e-2,
  'schedule': 'cosine',
  'warmup_steps': 5,
  'ema_decay': 0.9,
  'inner_steps': 5,
  'checkpoint_every_steps': 15,
  'mesh': (('data', -1),),
}
# Differs in every process.
_STARTED = time.time_ns() // 1000 % 1000


def examples(*, steady: bool = True) -> np.ndarray:
  """[SIZE, 1, 5], of which the first number is the index of the example.

  Args:
    steady: if not, they are others in every process: a fault to be found.
  """
  rng = np.random.default_rng(0)
  noise = rng.standard_normal((SIZE, 1, 4)).astype(np.float32)
  if not steady:
    noise += _STARTED / 1000
  index = np.arange(SIZE, dtype=np.float32)[:, None, None]
  return np.concatenate([index, noise], axis=-1)


@dataclasses.dataclass(frozen=True)
class Counted(toy.Shift):
  """Says in its metrics which examples it was given."""

  def init(self, key, example):
    return super().init(key, example[..., 1:])

  def loss(self, params, batch, key, condition=None, *, train=True):
    loss, _ = super().loss(params, batch[..., 1:], key, train=train)
    seen = batch[:, 0, :1] == jnp.arange(SIZE)[None]
    share = seen.astype(jnp.float32).mean(axis=0)
    return loss, {f'seen{i}': share[i] for i in range(SIZE)}


# How many times the folder of this process was changed so far.
_changes = []


def main() -> None:
  """Does a job: {'train': list of arguments of `train`} or {'argv': words}.

  With 'at' it sends itself a signal meanwhile: see `_signalled`. With 'inside', a folder, it says
  in the end how many changes of files were made there. With 'limit' no file gets larger: a full
  disk. With 'bound' permissions bind it, also if it is root.
  """
  job = json.loads(sys.argv[1])
  if job.pop('bound', False) and os.geteuid() == 0:
    dac_override, drop = 1, 24  # CAP_DAC_OVERRIDE, PR_CAPBSET_DROP
    ctypes.CDLL(None).prctl(drop, dac_override, 0, 0, 0)
    # What is dropped is gone behind this.
    command = [sys.executable, '-m', 'tests.faults.worker', json.dumps(job)]
    os.execv(sys.executable, command)
  if 'limit' in job:
    resource.setrlimit(resource.RLIMIT_FSIZE, (job['limit'], job['limit']))
  status = 0
  with _signalled(**job.get('at', {}), inside=job.get('inside')):
    if 'argv' in job:
      from wsjax.cli import main as cli

      status = cli.main(job['argv'])
    else:
      from wsjax import distributed

      distributed.initialize()
      for each in job['train']:
        _say(train(**each))
  if 'inside' in job:
    _say({'changes': len(_changes)})
  sys.exit(status)


def train(
  workdir: str, steady: bool = True, at: Mapping[str, Any] | None = None, **changes
) -> dict[str, Any]:
  """Trains: the averaged parameters, or the step where it was interrupted.

  Args:
    workdir: of the checkpoints.
    steady: as in `examples`.
    at: the event that interrupts it; see `_signalled`.
    **changes: of the section.
  """
  from wsjax.train import loop

  data = examples(steady=steady)
  with _signalled(**(at or {})):
    try:
      params, history = loop.fit(
        Counted(),
        data,
        {**SECTION, **changes},
        seed=0,
        workdir=pathlib.Path(workdir),
        val=data[:9],
        progress=False,
      )
    except loop.Interrupted as error:
      return {'interrupted': error.step}
  return {'params': devices.as_text(params), 'history': history}


@contextlib.contextmanager
def _signalled(
  call: str = '',
  number: int = 0,
  sends: int = signal.SIGKILL,
  rank: int = 0,
  once: str = '',
  inside: str | None = None,
) -> Iterator[None]:
  """Sends this process a signal at an event; without one it is as if not there.

  Args:
    call: the event is the call of this function: 'file.py:name' of Python, 'Class.name' of C.
      Empty: the event is a change of a file of `inside`.
    number: of the event, from 1; 0 is none.
    sends: the signal.
    rank: of the process that does this.
    once: a file that is made when it does, and keeps it from doing it again.
    inside: a folder.
  """
  counted = []

  def count(events: list[None]) -> None:
    events.append(None)
    if len(events) != number:
      return
    sys.setprofile(None)  # Whoever outlives the signal is not slowed down.
    if once:
      pathlib.Path(once).touch()
    os.kill(os.getpid(), sends)

  file, _, function = call.rpartition(':')

  def profile(frame, event: str, arg: Any) -> None:
    # Of every call there is, so the cheapest question comes first.
    if file:
      code = frame.f_code
      if event != 'call' or code.co_name != function:
        return
      if os.path.basename(code.co_filename) == file:
        count(counted)
    elif event == 'c_call' and arg.__qualname__ == function:
      count(counted)

  other = int(os.environ.get('WSJAX_PROCESS_ID', 0)) != rank
  if other or (once and os.path.exists(once)):
    number = 0
  if inside and not call:
    folder = str(inside)
    # There is no way to take such a hook back.
    sys.addaudithook(lambda event, args: _is_change(event, args, folder) and count(_changes))
  if call and number:
    sys.setprofile(profile)
  try:
    yield
  finally:
    if call and number:
      sys.setprofile(None)


def _is_change(event: str, args: tuple[Any, ...], folder: str) -> bool:
  """Whether an audit event is the start of a change of files in a folder."""
  if event == 'open':
    path, _, flags = args
    writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    return bool(writes) and str(path).startswith(folder)
  if event in ('os.remove', 'os.rmdir') and args[-1] != -1:
    return True  # Of a tree, whose names are relative.
  changes = ('os.mkdir', 'os.rename', 'os.remove', 'os.rmdir', 'os.truncate')
  return event in changes and str(args[0]).startswith(folder)


def _say(result: Mapping[str, Any]) -> None:
  sys.stdout.write(json.dumps(result) + '\n')
  sys.stdout.flush()


if __name__ == '__main__':
  main()
