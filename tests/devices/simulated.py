"""Runs a module of tests on simulated devices, in one process or several."""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from concurrent import futures
from typing import Any

import numpy as np

from launch import local

ROOT = pathlib.Path(__file__).parents[2]


def start(
  module: str, argument: str, *, devices: int, processes: int = 1, **environment
) -> list[subprocess.Popen]:
  """Starts the processes of a run.

  Args:
    module: run as `python -m module argument`.
    argument: one word.
    devices: of every process.
    processes: joined by explicit variables if there are several.
    **environment: further variables.
  """
  command = (sys.executable, '-m', module, argument)
  plan = local.Plan(command, processes=processes, devices=devices)
  base, port = {**os.environ, **environment}, local.free_port()
  return [
    subprocess.Popen(
      command,
      env={**base, **local.variables(plan, rank, port=port, base=base)},
      cwd=ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for rank in range(processes)
  ]


def run(
  jobs: Sequence[dict[str, Any]], *, devices: int, processes: int = 1
) -> list[list[dict[str, Any]]]:
  """Trains: one list of results per process, one result per job.

  Args:
    jobs: arguments of `worker.train`.
    devices: of every process.
    processes: of the run.
  """
  started = start(
    'tests.devices.worker',
    json.dumps(list(jobs), default=str),
    devices=devices,
    processes=processes,
  )
  results = []
  for status, out, err in finish(started):
    assert status == 0, err[-3000:]
    lines = [line for line in out.splitlines() if line.startswith('{')]
    results.append([json.loads(line) for line in lines])
  return results


def finish(
  started: Sequence[subprocess.Popen], *, timeout: float = 240
) -> list[tuple[int, str, str]]:
  """Exit status, output and errors of every process; none outlives this."""
  # All are read at once: a full pipe would stop one, and with it the others.
  with futures.ThreadPoolExecutor(len(started)) as pool:
    try:
      texts = list(pool.map(lambda p: p.communicate(timeout=timeout), started))
    finally:
      for process in started:
        process.kill()
  return [(process.returncode, *text) for process, text in zip(started, texts, strict=True)]


def params(result: dict[str, Any]) -> np.ndarray:
  """All parameters of a result, in one vector."""
  return np.frombuffer(bytes.fromhex(result['bytes']), np.float32)
