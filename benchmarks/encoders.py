"""Speed of encoders, side by side with the nfn package in PyTorch.

Networks are SIRENs 2-32-32-1. Every contender is a process of its own, so that its peak memory is
its own; they run in turn, so that drift of the machine hits all alike. Compiling is not timed.
"""

import argparse
import sys
from typing import Any

import numpy as np

from benchmarks import timing, worker
from wsjax import config

WIDTHS = (2, 32, 32, 1)
# Sizes at which both sides have the same channels and depth.
SIZES = {
  'readme': dict(channels=32, depth=2),
  'wide 64': dict(channels=64, depth=3),
  'wide 512': dict(channels=512, depth=3),
}
# The other encoders, as the configs of task and ablations use them.
ENCODERS = {
  'graph_net': {},
  'graph_transformer': {},
  'scale_equivariant': {},
  'token_transformer': {},
  'statistics': {},
  'flat_mlp': {},
  'probes': dict(source='grid', reader='conv', num_probes=784, width=16, dropout=0.3),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Options of `python -m benchmarks encoders`."""
  parser.add_argument(
    '--sizes', nargs='*', choices=tuple(SIZES), default=tuple(SIZES),
    help='of the neural functional, beside nfn',
  )  # fmt: skip
  parser.add_argument(
    '--encoders', nargs='*', choices=config.plugins('encoders'),
    default=tuple(ENCODERS), help='beside the neural functional',
  )  # fmt: skip
  parser.add_argument('--batch', nargs='+', type=int, default=(64, 128))
  parser.add_argument('--repeats', type=int, default=7, help='rounds of timing')
  parser.add_argument('--threads', type=int, default=2, help='of PyTorch')
  parser.add_argument(
    '--no-scaling',
    action='store_true',
    help='without cost against channels and against number of weights',
  )
  worker.add_torch_arguments(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
  """Times every contender.

  Args:
    args: what `add_arguments` reads.

  Returns:
    rows: contender, batch, parameters, median ms of inference and of a training step, GFLOP/s and
    share of sgemm peak, growth of memory over an idle process, and how many times faster than nfn
    (median of rounds).
    notes: lines.
  """
  python = None
  if not args.no_torch and args.sizes:
    python = worker.torch_python(args.torch_env.expanduser())
  rows = []
  for batch in args.batch:
    for size in args.sizes:
      rows += _compare(size, batch, python, args)
    for name in args.encoders:
      rows += _rows({name: _jax({'name': name, **ENCODERS.get(name, {})}, batch)}, batch, args)
  notes = [timing.machine()]
  if not args.no_scaling:
    notes += [_by_channels(args), _by_weights(args)]
  return {'rows': rows, 'notes': notes}


def _jax(
  embed: dict[str, Any], batch: int, widths: tuple[int, ...] = WIDTHS
) -> tuple[list[str], dict[str, Any]]:
  """Command and build request of one of our encoders."""
  command = [sys.executable, str(worker.PEERS / 'jax_encoder.py')]
  return command, {'embed': embed, 'widths': list(widths), 'batch': batch}


def _compare(
  size: str, batch: int, python: str | None, args: argparse.Namespace
) -> list[dict[str, Any]]:
  """Rows of the neural functional and nfn at one size."""
  options = SIZES[size]
  contenders = {f'neural_functional, {size}': _jax({'name': 'neural_functional', **options}, batch)}
  if python:
    contenders[f'nfn, {size}'] = (
      [python, str(worker.PEERS / 'torch_nfn.py')],
      {**options, 'batch': batch, 'threads': args.threads},
    )
  return _rows(contenders, batch, args)


def _rows(
  contenders: dict[str, tuple[list[str], dict[str, Any]]], batch: int, args: argparse.Namespace
) -> list[dict[str, Any]]:
  """Times contenders in turn; the first is the one that is compared."""
  workers, facts = {}, {}
  seconds: dict[tuple[str, str], list[float]] = {}
  memory: dict[str, float] = {}
  try:
    for label, (command, build) in contenders.items():
      workers[label] = worker.Worker(command)
      facts[label] = workers[label].ask(build=build)
    for round in range(args.repeats + 1):  # The first warms up.
      for what in ('forward', 'step'):
        for label, process in workers.items():
          answer = process.ask(run=what, times=1)
          if round:
            seconds.setdefault((label, what), []).extend(answer['seconds'])
          memory[label] = answer['peak_mb']
  finally:
    for process in workers.values():
      process.close()
  peak = timing.sgemm_peak()
  first = next(iter(contenders))
  rows = []
  for label in contenders:
    step = float(np.median(seconds[label, 'step']))
    rate = facts[label].get('flop', 0) / step
    rows.append(
      {
        'contender': label,
        'batch': batch,
        'parameters': facts[label]['num_params'],
        'forward_ms': 1e3 * float(np.median(seconds[label, 'forward'])),
        'step_ms': 1e3 * step,
        'gflop_per_s': rate / 1e9 if rate else None,
        'share_of_peak': rate / peak if rate else None,
        'process_mb': memory[label],
        'ours_faster': _ratio(seconds, label, first, 'step'),
        'ours_faster_forward': _ratio(seconds, label, first, 'forward'),
        'step_seconds': seconds[label, 'step'],
      }
    )
  return rows


def _ratio(seconds: dict[tuple[str, str], list[float]], label: str, first: str, what: str) -> float:
  """Median over rounds of the time of `label` over that of `first`."""
  pairs = zip(seconds[label, what], seconds[first, what], strict=True)
  return float(np.median([a / b for a, b in pairs]))


def _by_channels(args: argparse.Namespace) -> str:
  """Step time of the neural functional against channels."""
  sizes = (16, 32, 64, 128, 256)
  times = [
    _rows({'': _jax({'name': 'neural_functional', 'channels': c}, 64)}, 64, args)[0]['step_ms']
    for c in sizes
  ]
  slope = np.polyfit(np.log(sizes[2:]), np.log(times[2:]), 1)[0]
  shown = ', '.join(f'{c}: {t:.1f}' for c, t in zip(sizes, times, strict=True))
  return f'step ms against channels (batch 64): {shown}; growth from 64 on as channels^{slope:.2f}'


def _by_weights(args: argparse.Namespace) -> str:
  """Step time of the neural functional against weights, with a linear fit."""
  nets = [(2, n, n, 1) for n in (16, 32, 64, 128)]
  counts, times = [], []
  for widths in nets:
    architecture = config.build('models', {'name': 'siren', 'widths': widths})
    counts.append(architecture.spec.num_params)
    build = _jax({'name': 'neural_functional', 'channels': 32}, 16, widths)
    times.append(_rows({'': build}, 16, args)[0]['step_ms'])
  slope, start = np.polyfit(counts, times, 1)
  fit = slope * np.asarray(counts) + start
  r2 = 1 - np.sum((fit - times) ** 2) / np.sum((times - np.mean(times)) ** 2)
  shown = ', '.join(f'{c}: {t:.1f}' for c, t in zip(counts, times, strict=True))
  return (
    f'step ms against weights (batch 16, 32 channels): {shown}; linear fit '
    f'{1e3 * slope:.2f} us per weight, R2 {r2:.4f}'
  )
