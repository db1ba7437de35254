"""Import a folder of small networks, against reading and hashing the bytes of the files.

Reading and hashing is one thread; an import writes, and screens, in further ones. So there are
seconds of the clock, and of CPU in all threads, which other work on the machine disturbs least.
"""

import argparse
import csv
import hashlib
import itertools
import pathlib
import resource
import shutil
import tempfile
import time
from typing import Any

import numpy as np
import safetensors.numpy

import wsjax
from benchmarks import timing
from wsjax.governance import quarantine


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Options of the benchmark."""
  parser.add_argument('--networks', type=int, default=10_000, help='number of files')
  parser.add_argument('--widths', default='64,32,32,10', help='of the networks, input to output')
  parser.add_argument('--repeats', type=int, default=3, help='rounds')


def run(options: argparse.Namespace) -> dict[str, Any]:
  """Times both in turn, on files that the page cache holds."""
  widths = tuple(map(int, options.widths.split(',')))
  if options.networks < 1 or options.repeats < 1 or len(widths) < 2 or min(widths) < 1:
    raise ValueError('import_zoo needs networks, repeats and at least two widths, all positive.')
  model = wsjax.mlp(widths, 'relu')
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    paths = _write(folder, widths, options.networks)
    zoos = itertools.count()

    def hash_bytes() -> None:
      for path in paths:
        with open(path, 'rb') as file:
          hashlib.sha256(file.read()).hexdigest()

    def import_all() -> None:
      wsjax.import_checkpoints(model, paths, folder / 'runs.csv', out=folder / f'zoo{next(zoos)}')

    def import_and_screen() -> None:  # As `wsjax zoo import`.
      out = folder / f'zoo{next(zoos)}'
      quarantine.import_checkpoints(model, paths, folder / 'runs.csv', out=out)

    functions = {
      'read and hash': hash_bytes,
      'import': import_all,
      'import and screen': import_and_screen,
    }
    seconds: dict[str, list[Any]] = {what: [] for what in functions}
    for count in range(options.repeats + 1):
      found = timing.interleaved(functions, repeats=1, clock=_clocks)
      for zoo in folder.glob('zoo*'):  # So that the disk is not busy with it in the next round.
        shutil.rmtree(zoo)
      if count:  # The first one imports and compiles what it needs.
        for what, times in found.items():
          seconds[what] += times
      else:
        before = _peak()
    grown = _peak() - before
    size = sum(pathlib.Path(path).stat().st_size for path in paths) / len(paths)
  base = np.array(seconds['read and hash'])
  rows = []
  for what, times in seconds.items():
    row: dict[str, Any] = {'what': what}
    ratios = np.median(np.array(times) / base, axis=0)
    for number, clock in enumerate(('', 'cpu_')):
      row[f'{clock}microseconds'] = 1e6 * float(np.min(times, axis=0)[number]) / len(paths)
      row[f'{clock}ratio'] = float(ratios[number])
    rows.append(row | {'seconds': np.array(times).tolist()})
  notes = [
    f'{len(paths)} files of {size:.0f} bytes on {timing.machine()}; microseconds per '
    f'network of the best of {len(base)} rounds, medians of ratios',
    f'peak memory grew by {grown:.0f} MB after the first round; the files have '
    f'{size * len(paths) / 1e6:.0f} MB',
  ]
  return {'rows': rows, 'ratio': rows[1]['ratio'], 'notes': notes}


def _clocks() -> Any:
  """Seconds of the clock, and of CPU."""
  return np.array([time.perf_counter(), time.process_time()])


def _peak() -> float:
  """Most memory that the process has had, in MB."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _write(folder: pathlib.Path, widths: tuple[int, ...], count: int) -> list[str]:
  """Writes networks as PyTorch would save them, and a table of what is known about each."""
  rng = np.random.default_rng(0)
  paths, rows = [], []
  for i in range(count):
    tensors = {}
    for layer, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False)):
      shapes = {'weight': (outputs, inputs), 'bias': (outputs,)}
      for role, shape in shapes.items():
        tensors[f'fc{layer}.{role}'] = rng.standard_normal(shape, np.float32)
    paths.append(str(folder / f'net{i:06d}.safetensors'))
    safetensors.numpy.save_file(tensors, paths[-1], {'format': 'pt'})
    rows.append({'file': f'net{i:06d}', 'accuracy': rng.random(), 'optimizer': 'adam', 'seed': i})
  with open(folder / 'runs.csv', 'w', newline='') as file:
    writer = csv.DictWriter(file, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
  return paths
