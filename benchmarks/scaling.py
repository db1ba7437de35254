"""Weak and strong scaling over simulated devices, projected to 256 chips.

A generator and a zoo are trained on the simulated devices of processes of their own;
all take turns. Strong scaling keeps the batch, weak scaling the batch per device. Simulated devices
share the cores of the machine, so beyond that number the best there can be is a constant
throughput: `/cores` divides by what there is, and `vs_alone` by the measured throughput of one
process per core, which send each other nothing. Bytes are those of the compiled program
(`collectives`); FLOPs those of one step outside any loop, since XLA counts the body of a loop once.
What 256 chips might do is arithmetic with named assumptions (`projection`): nothing was run on
them.
"""

import argparse
import os
import sys
from concurrent import futures
from typing import Any

import numpy as np

from benchmarks import projection, timing, worker

MODES = ('jit', 'shard_map', 'fsdp', 'zoo')
STEPS = {'train': 4, 'zoo': 100}  # Of one timed call.
# Examples, or networks: the group that is trained side by side on a CPU.
PER_DEVICE = {'train': 32, 'zoo': 8}
TOKENS = [16, 32]
DEPTH = 2
ZOO = dict(widths=[64, 32, 32, 10], batch=64)
# A generator that is projected and not run: 256 tokens are 65,536 weights.
LARGE = dict(width=1024, depth=12, num_heads=16)
LARGE_TOKENS = [256, 256]


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Options of `python -m benchmarks scaling`."""
  parser.add_argument(
    '--devices',
    nargs='+',
    type=int,
    default=(1, 2, 4, 8),
    help='numbers of simulated devices; the largest is a multiple of each',
  )
  parser.add_argument(
    '--modes', nargs='+', choices=MODES, default=MODES,
    help='of training; zoo trains a zoo',
  )  # fmt: skip
  parser.add_argument('--repeats', type=int, default=7, help='rounds of timing')
  parser.add_argument('--scale', type=float, default=1.0, help='of the width of the generator')
  parser.add_argument(
    '--chip-batch', type=int, default=64, help='examples per chip, in the projection'
  )
  projection.add_arguments(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
  """Times every mode on every number of devices.

  Args:
    args: what `add_arguments` reads.

  Returns:
    rows: mode, scaling, devices, batch (networks of a zoo), median ms per step; throughput
    over that of one device (median of rounds), the same by devices and by the cores they can have,
    and over that of one process per core; cores that were busy; kB that one device sends in a step.
    notes: lines. programs: what was compiled, with collectives, FLOPs and rounds.
    projection: rows.

  Raises:
    ValueError: if the numbers of devices do not divide the largest, or an assumption of the
      projection makes no sense.
  """
  devices = sorted({1, *args.devices})
  if any(devices[-1] % count for count in devices if count) or devices[0] < 1:
    raise ValueError(
      f'Numbers of devices are 1 and more, and the largest is a multiple of each; got {devices}.'
    )
  chip = projection.chip_of(args)
  command = [sys.executable, str(worker.PEERS / 'jax_scaling.py')]
  cores = os.cpu_count()
  alone = [f'alone {i}' for i in range(min(cores, devices[-1]))]
  workers, peaks = {}, []
  try:
    for label in (*devices, *alone):
      count = label if label in devices else 1
      workers[label] = worker.Worker(command, environment=_environment(count))
    cells = []
    for mode in args.modes:
      cells += _build(mode, workers, devices, alone, args.scale)
      _say(f'{mode}: {len(cells)} programs compiled')
    for round in range(args.repeats):  # All in turn: A B A B ...
      for cell in cells:
        cell['rounds'].append(_together(workers, cell))
      peaks.append(timing.sgemm_peak(repeats=2))
      _say(f'round {round + 1} of {args.repeats}')
    large = workers[1].ask(describe=_generator(1.0, **LARGE), shape=LARGE_TOKENS)
  finally:
    for process in workers.values():
      process.close()
  works = [_workload('large generator', LARGE['depth'], **large)]
  trained = next((cell for cell in cells if cell['mode'] != 'zoo'), None)
  if trained is not None:
    count, flops = trained['num_params'], trained['flops'] / trained['batch']
    works.insert(0, _workload('measured generator', DEPTH, count, flops))
  rows = _rows(cells, cores)
  batch = args.chip_batch
  return {
    'rows': rows,
    'notes': [
      timing.machine(),
      f'{cores} cores, which simulated devices share: vs_one beyond {cores} is '
      'noise, or fixed costs that a larger batch shares; sgemm peak '
      f'{max(peaks) / 1e9:.0f} GFLOP/s',
      *_notes(cells, max(peaks)),
      *projection.notes(works, chip, batch=batch),
    ],
    'programs': cells,
    'projection': list(projection.rows(works, chip, batch=batch)),
  }


def _environment(count: int) -> dict[str, str]:
  return {'JAX_PLATFORMS': 'cpu', **worker.simulated_devices(count)}


def _generator(
  scale: float, width: int = 64, depth: int = DEPTH, num_heads: int = 4
) -> dict[str, Any]:
  """Config section of flow matching with a transformer."""
  width = max(1, round(width * scale / num_heads)) * num_heads
  backbone = dict(name='transformer', width=width, depth=depth, num_heads=num_heads)
  return {'name': 'flow_matching', 'backbone': backbone}


def _workload(name: str, depth: int, num_params: int, flops: float) -> projection.Workload:
  # Besides the blocks, a layer of what stands before and behind them.
  return projection.Workload(name=name, num_params=num_params, flops=flops, layers=depth + 1)


def _build(
  mode: str, workers: dict[Any, worker.Worker], devices: list[int], alone: list[str], scale: float
) -> list[dict[str, Any]]:
  """Compiles what a mode takes; a dict for each program."""
  kind = 'zoo' if mode == 'zoo' else 'train'
  share = PER_DEVICE[kind]
  whole = share * devices[-1]
  # One device comes first: it knows the FLOPs.
  wanted = sorted({(n, b) for n in devices for b in (whole, share * n)})
  places = [(n, b, [n]) for n, b in wanted]
  places.append((1, whole // len(alone), alone))
  cells = []
  for count, batch, labels in places:
    if mode == 'zoo':
      request = {**ZOO, 'nets': batch}
    else:
      request = {'generator': _generator(scale), 'shape': TOKENS}
      request |= {'mode': mode, 'batch': batch}
    name = f'{mode} {batch}'
    for label in labels:
      facts = workers[label].ask(build=name, kind=kind, steps=STEPS[kind], **request)
    cell = dict(
      mode=mode,
      devices=count,
      batch=batch,
      processes=labels,
      program=name,
      rounds=[],
      sent=sum(c['sent'] for c in facts['collectives']),
      **facts,
    )
    if 'flops' not in cell:
      cell['flops'] = cells[0]['flops'] / cells[0]['batch'] * batch
    cells.append(cell)
  return cells


def _together(workers: dict[Any, worker.Worker], cell: dict[str, Any]) -> dict[str, float]:
  """Runs a program in its processes at once: the slowest, CPU time of all."""
  asked = [workers[label] for label in cell['processes']]
  with futures.ThreadPoolExecutor(len(asked)) as pool:
    answers = list(pool.map(lambda p: p.ask(run=cell['program']), asked))
  if not np.isfinite([answer['loss'] for answer in answers]).all():
    raise ValueError(f'{cell["program"]}: the loss is not finite.')
  return {
    'seconds': max(answer['seconds'] for answer in answers),
    'cpu_seconds': sum(answer['cpu_seconds'] for answer in answers),
  }


def _rates(cell: dict[str, Any]) -> np.ndarray:
  """Examples, or nets, per second and step of every round, of all processes."""
  whole = cell['batch'] * len(cell['processes'])
  return whole / np.array([answer['seconds'] for answer in cell['rounds']])


def _rows(cells: list[dict[str, Any]], cores: int) -> list[dict[str, Any]]:
  """What `run` says of rows."""
  rows = []
  for scaling in ('strong', 'weak'):
    for mode in dict.fromkeys(cell['mode'] for cell in cells):
      *found, alone = (cell for cell in cells if cell['mode'] == mode)
      whole = max(cell['batch'] for cell in found)
      share = whole // max(cell['devices'] for cell in found)
      chosen = [
        cell
        for cell in found
        if cell['batch'] == (whole if scaling == 'strong' else share * cell['devices'])
      ]
      for cell in chosen:
        rounds, rates = cell['rounds'], _rates(cell)
        vs_one = float(np.median(rates / _rates(chosen[0])))
        busy = [a['cpu_seconds'] / a['seconds'] for a in rounds]
        rows.append(
          {
            'mode': mode,
            'scaling': scaling,
            'dev': cell['devices'],
            'batch': cell['batch'],
            'step_ms': 1e3 * cell['batch'] / float(np.median(rates)),
            'vs_one': round(vs_one, 2),
            '/dev': round(vs_one / cell['devices'], 2),
            '/cores': round(vs_one / min(cell['devices'], cores), 2),
            'vs_alone': round(float(np.median(rates / _rates(alone))), 2),
            'busy': round(float(np.median(busy)), 2),
            'sent_kb': cell['sent'] / 1e3,
            'per_second': rates.tolist(),
          }
        )
  return rows


def _notes(cells: list[dict[str, Any]], peak: float) -> list[str]:
  """A line on the programs of every mode: arithmetic and bytes."""
  lines = []
  for mode in dict.fromkeys(cell['mode'] for cell in cells):
    *found, _ = (cell for cell in cells if cell['mode'] == mode)
    whole = max(cell['batch'] for cell in found)
    strong = [cell for cell in found if cell['batch'] == whole]
    first, last = strong[0], strong[-1]
    flops = first['flops']
    seconds = whole / float(np.median(_rates(first)))
    line = (
      f'{mode}: {first["num_params"]} parameters, {flops / 1e9:.3g} GFLOP per '
      f'step of {whole}, {flops / seconds / peak:.2f} of sgemm peak on one '
      'device'
    )
    if 'memory_bytes' in first:
      line += f', {flops / first["memory_bytes"]:.1f} FLOP per byte of memory'
    kinds = '; '.join(
      f'{c["count"]:g} {c["kind"]} over {c["devices"]}, {c["payload"] / 1e3:.4g} kB'
      for c in last['collectives']
    )
    line += f'; on {last["devices"]} devices {kinds or "no collectives"}'
    if last['sent']:
      per_byte = flops / (last['sent'] * last['devices'])
      line += f', {per_byte:.0f} FLOP per byte sent'
    lines.append(line)
  return lines


def _say(line: str) -> None:
  """Progress, on standard error."""
  sys.stderr.write(f'{line}\n')
  sys.stderr.flush()
