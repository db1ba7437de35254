"""Timing that survives a noisy machine: interleaved runs, ratios, peak."""

import os
import platform
import time
from collections.abc import Callable, Mapping

import numpy as np


def interleaved(
  functions: Mapping[str, Callable[[], object]],
  *,
  repeats: int = 5,
  clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
  """Runs every function in turn, `repeats` times: A B A B ...

  Drift of the machine then hits all of them alike. Each function must block until its result is
  there; run it once before, so that compilation is not timed.

  Args:
    functions: name -> what to time.
    repeats: rounds.
    clock: in seconds; `time.process_time` is that of all threads, and not of other processes.

  Returns:
    name -> seconds of each round.
  """
  seconds = {name: [] for name in functions}
  for _ in range(repeats):
    for name, function in functions.items():
      start = clock()
      function()
      seconds[name].append(clock() - start)
  return seconds


def sgemm_peak(size: int = 2048, *, repeats: int = 5) -> float:
  """Best float32 matrix-product rate of this machine now, FLOP/s (NumPy)."""
  a = np.random.default_rng(0).standard_normal((size, size), np.float32)
  best = min(interleaved({'a': lambda: a @ a}, repeats=repeats)['a'])
  return 2 * size**3 / best


def machine() -> str:
  """One line that says what was measured on."""
  import jax

  device = jax.devices()[0]
  return (
    f'{os.cpu_count()} cores {platform.machine()}, '
    f'{jax.device_count()} x {device.device_kind}, jax {jax.__version__}, '
    f'Python {platform.python_version()}'
  )
