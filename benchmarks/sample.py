"""Drawing networks: samplers at equal quality, and cost by number of weights.

Give finished runs of flow matching and of hypernetworks on one zoo; the samplers of the first flow
are all held against its own recipe, such as the published 99 steps of the classic Runge-Kutta
method. Without runs only the growth with the number of weights is measured: one network after the
other,
of up to 1e8 weights, streamed to disk in parts.
"""

import argparse
import copy
import dataclasses
import functools
import pathlib
import resource
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from wsjax import manifest
from wsjax.evaluation import predictions
from wsjax.experiments import base, generation
from wsjax.generators import flow_matching, hypernetwork

# Cheaper ways along the same field: solver and steps.
_CHEAPER = (('rk4', 8), ('heun', 8), ('euler', 8), ('euler', 1))
# Solver -> evaluations of the field per step.
_EVALUATIONS = {'rk4': 4, 'heun': 2, 'midpoint': 2, 'euler': 1}
# Weights of a token, and tokens of a part that is written at once.
_TOKEN, _PART = 1024, 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Options of `python -m benchmarks sample`."""
  parser.add_argument(
    '--runs',
    type=pathlib.Path,
    nargs='*',
    default=[],
    help='workdirs of finished runs, the one with the recipe first',
  )
  parser.add_argument('--nets', type=int, default=100, help='networks per draw')
  parser.add_argument('--repeats', type=int, default=5, help='rounds of timing')
  parser.add_argument(
    '--weights',
    type=float,
    nargs='*',
    default=[1e5, 1e6, 1e7, 1e8],
    help='sizes of the networks that are streamed to disk, ascending',
  )
  parser.add_argument('--folder', default=None, help='where they are written, then deleted')


def run(args: argparse.Namespace) -> dict[str, Any]:
  """Times drawing.

  Args:
    args: what `add_arguments` reads.

  Returns:
    rows: of samplers the run, field evaluations per network, milliseconds per draw (best round),
      how many times faster than the first (median over rounds), accuracy of the networks; of sizes
      the seconds, nanoseconds per weight, and the peak of memory of the process. notes: lines.

  Raises:
    ValueError: if a workdir holds no finished generator.
  """
  rows, notes = _samplers(args), [timing.machine()]
  if rows:
    notes.append(
      'Accuracy: mean over networks and its standard error, test images, no '
      'selection. Seconds include decoding to weights, not compilation.'
    )
  rows += _sizes(args)
  return {'rows': rows, 'notes': notes}


def _samplers(args: argparse.Namespace) -> list[dict[str, Any]]:
  """One row per run and sampler."""
  draws: dict[str, Callable[[], Any]] = {}
  counts, measured = {}, {}
  for workdir in args.runs:
    config = manifest.load_config(workdir)
    zoo = base.open_zoo(config, workdir, progress=False, trains=False)
    experiment = generation.Generation(config, zoo)
    experiment.workdir = workdir
    params, _ = experiment.fit(config.train.seeds[0], trains=False)
    prepared = experiment.data
    data = prepared.dataset
    for name, count, variant in _variants(experiment.generator):
      name = f'{workdir.name}: {name}'
      other = copy.copy(experiment)
      other.generator = variant
      draws[name] = functools.partial(other.draw, params, args.nets, 0)
      counts[name] = count
      measured[name] = predictions.accuracy(
        prepared.architecture, draws[name](), data.test_x, data.test_y
      )
  seconds = timing.interleaved(draws, repeats=args.repeats)
  rows = []
  for name, times in seconds.items():
    first = np.array(seconds[next(iter(seconds))])
    mean = float(np.mean(measured[name]))
    error = float(np.std(measured[name], ddof=1) / np.sqrt(args.nets))
    rows.append(
      {
        'what': name,
        'evaluations': counts[name],
        'ms': 1e3 * min(times),
        'times faster': float(np.median(first / np.array(times))),
        'accuracy %': 100 * mean,
        '+-': 100 * error,
      }
    )
  return rows


def _variants(generator: Any) -> list[tuple[str, int, Any]]:
  """Name, field evaluations per network, and generator of each sampler."""
  if not isinstance(generator, flow_matching.FlowMatching):
    return [('one pass', 1, generator)]
  own = (generator.solver, generator.num_steps)
  return [
    (
      f'{solver} x {steps}',
      steps * _EVALUATIONS[solver],
      dataclasses.replace(generator, solver=solver, num_steps=steps),
    )
    for solver, steps in (own, *_CHEAPER)
  ]


def _sizes(args: argparse.Namespace) -> list[dict[str, Any]]:
  """One row per size of network, streamed to disk."""
  generator = hypernetwork.Hypernetwork('chunks', width=64, depth=2)
  params = generator.init(jax.random.key(0), jnp.zeros((1, _TOKEN)))
  rows = []
  for weights in args.weights:
    shape = (-(-int(weights) // _TOKEN), _TOKEN)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
      path = pathlib.Path(folder) / 'tokens.npy'

      def write(path: pathlib.Path = path, shape: tuple = shape) -> None:
        parts = generator.stream(params, jax.random.key(1), shape=shape, rows=_PART)
        store_tokens(path, parts, shape)

      write()  # Compiles the parts of this size.
      start = time.perf_counter()
      write()
      seconds = time.perf_counter() - start
      size = path.stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    count = shape[0] * shape[1]
    rows.append(
      {
        'what': f'one network of {count:.2g} weights to disk',
        'seconds': seconds,
        'ns per weight': 1e9 * seconds / count,
        'file MiB': size / 2**20,
        'peak MiB': peak,
      }
    )
  return rows


def store_tokens(path: pathlib.Path, parts: Any, shape: tuple) -> None:
  """Writes parts of an array [T, D] float32 as they come, as one .npy file."""
  header = {'descr': '<f4', 'fortran_order': False, 'shape': tuple(shape)}
  with open(path, 'wb') as file:
    np.lib.format.write_array_header_1_0(file, header)
    for part in parts:
      file.write(np.ascontiguousarray(part, '<f4').tobytes())
