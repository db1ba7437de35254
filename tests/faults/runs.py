"""Runs processes that meet a fault, and looks at what is left of them."""

import hashlib
import json
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from tests.devices import simulated
from tests.faults import worker

# A process that may be killed reads compiled programs, but writes none: half of one would stay, and
# everybody who needs it would be warned of it.
READ_ONLY_CACHE = {'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '1000000'}


def start(
  job: Mapping[str, Any], *, devices: int = 1, processes: int = 1, **environment
) -> list[subprocess.Popen]:
  """Starts the processes of a job, which is what `worker.main` takes.

  Args:
    job: of every process.
    devices: of every process.
    processes: of the run.
    **environment: further variables.
  """
  text = json.dumps(job, default=str)
  if '"at"' in text:
    environment = READ_ONLY_CACHE | environment
  return simulated.start(
    'tests.faults.worker', text, devices=devices, processes=processes, **environment
  )


def run(job: Mapping[str, Any], *, status: int = 0, **kwargs) -> list[Any]:
  """Runs a job to its end: what process 0 printed as JSON.

  Args:
    job: of every process.
    status: that every process must end with.
    **kwargs: of `start`.
  """
  done = simulated.finish(start(job, **kwargs))
  for found, _, err in done:
    assert found == status, f'{found} is not {status}: {err[-3000:]}'
  lines = done[0][1].splitlines()
  return [json.loads(line) for line in lines if line.startswith('{')]


def kill(job: Mapping[str, Any], condition: Callable[[], Any], delay: float) -> None:
  """Kills the process of a job `delay` seconds after a condition holds."""
  (process,) = start(job, **READ_ONLY_CACHE)
  try:
    while not condition() and process.poll() is None:
      time.sleep(0.001)
    # The random instant is what is tested; nothing waits for anything here.
    time.sleep(delay)
  finally:
    process.kill()
    _, err = process.communicate()
  # It may have been quicker than us.
  assert process.returncode in (0, -signal.SIGKILL), err[-3000:]


def lines(workdir: pathlib.Path) -> list[dict[str, Any]]:
  """The metrics of a training, without the time that it took."""
  text = (workdir / 'metrics.jsonl').read_text()
  rows = [json.loads(line) for line in text.splitlines()]
  return [{key: row[key] for key in row if key not in ('time', 'seconds')} for row in rows]


def seen(row: Mapping[str, Any]) -> list[int]:
  """Examples of a block of one step, from the metrics of `worker.Counted`."""
  counts = [round(worker.BATCH * row[f'seen{i}']) for i in range(worker.SIZE)]
  return sorted(np.repeat(np.arange(worker.SIZE), counts).tolist())


def state(workdir: pathlib.Path) -> tuple[int, Any, Any]:
  """The newest checkpoint: step, the bytes of every array, history."""
  from wsjax.train.checkpoint import checkpoint

  args = checkpoint.ocp.args
  with checkpoint.ocp.CheckpointManager(workdir) as manager:
    step = manager.latest_step()
    restored = manager.restore(
      step, args=args.Composite(state=args.StandardRestore(), meta=args.JsonRestore())
    )
  arrays = jax.tree.map(lambda x: np.asarray(x).tobytes(), restored.state)
  return step, arrays, restored.meta['history']


def outcome(workdir: pathlib.Path) -> dict[str, Any]:
  """All that a training must end with, whatever happened to it."""
  step, arrays, history = state(workdir)
  return {
    'step': step,
    'arrays': arrays,
    'history': history,
    'metrics': lines(workdir),
    'drafts': drafts(workdir),
  }


def drafts(folder: pathlib.Path) -> list[str]:
  """What somebody began to write, and did not tidy up."""
  return sorted(
    str(path.relative_to(folder))
    for path in folder.rglob('*')
    if 'tmp' in path.name or path.name.startswith('.') and path.name != '.lock'
  )


def listing(folder: pathlib.Path) -> dict[str, tuple[int, str]]:
  """Time and digest of every file and folder, but for the lock."""
  found = {}
  for path in sorted(folder.rglob('*')):
    if path.name == '.lock':
      continue
    content = path.read_bytes() if path.is_file() else b''
    digest = hashlib.sha256(content).hexdigest()
    found[str(path.relative_to(folder))] = path.stat().st_mtime_ns, digest
  return found
