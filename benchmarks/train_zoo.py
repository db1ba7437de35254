"""Speed of training a zoo, side by side with PyTorch in an environment of its own.

Every contender is a process that trains on request; the requests go round in turn, so drift of the
machine hits all alike. Compiling is not timed; drawing weights and data order, and bringing data
and weights to the device and back, is.
"""

import argparse
import sys
import threading
from typing import Any

from benchmarks import timing, worker
from wsjax.evaluation.metrics import cost

# Widths, batch, examples of the data set, and (nets, steps) that are timed.
TASKS = {
  'mnist_mlp': dict(kind='classification', widths=[784, 16, 10], batch=64, examples=60_000),
  'digits_mlp': dict(kind='classification', widths=[64, 32, 32, 10], batch=64, examples=1257),
  'siren': dict(kind='image_fitting', widths=[2, 32, 32, 1], batch=784, examples=1),
}
SIZES = {'mnist_mlp': (64, 100), 'digits_mlp': (64, 200), 'siren': (16, 30)}
DEFAULT = {'group': 8, 'layout': 'features_first', 'sine': 'own', 'shared': False}
# What was tried besides the default; each changes one thing.
VARIANTS = {
  'group 1': {'group': 1},
  'group 4': {'group': 4},
  'group 16': {'group': 16},
  'group 64': {'group': 64},
  'rows first': {'layout': 'rows_first'},
  'shared batches': {'shared': True},
  'library sine': {'sine': 'library'},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Options of `python -m benchmarks train_zoo`."""
  parser.add_argument('--tasks', nargs='+', choices=tuple(TASKS), default=tuple(TASKS))
  parser.add_argument('--repeats', type=int, default=3, help='rounds of timing')
  parser.add_argument('--scale', type=float, default=1.0, help='of the nets that are timed')
  parser.add_argument(
    '--threads',
    nargs='+',
    type=int,
    default=(1,),
    help='of PyTorch, each tried; more than free cores make it slower',
  )
  parser.add_argument('--variants', action='store_true', help='also what is not the default')
  worker.add_torch_arguments(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
  """Times every contender on every task.

  Args:
    args: what `add_arguments` reads.

  Returns:
    rows: task, contender, nets/s and nets per CPU second (best round), share of the machine's sgemm
    peak, and how many times faster the default is (median of rounds, by wall clock and by CPU
    time). notes: lines.
  """
  command = [sys.executable, str(worker.PEERS / 'jax_train_zoo.py')]
  workers = {'jax': worker.Worker(command, environment=worker.simulated_devices(1))}
  try:
    workers['jax 2 devices'] = worker.Worker(command, environment=worker.simulated_devices(2))
    workers['jax second'] = worker.Worker(command, environment=worker.simulated_devices(1))
    if not args.no_torch:
      python = worker.torch_python(args.torch_env.expanduser())
      workers['torch'] = worker.Worker([python, str(worker.PEERS / 'torch_train_zoo.py')])
    rows = []
    for task in args.tasks:
      rows += _compare(task, workers, args)
  finally:
    for process in workers.values():
      process.close()
  return {'rows': rows, 'notes': [timing.machine()]}


def _compare(
  name: str, workers: dict[str, worker.Worker], args: argparse.Namespace
) -> list[dict[str, Any]]:
  """Rows of one task."""
  task = TASKS[name]
  nets, steps = SIZES[name]
  nets = max(2, round(nets * args.scale))
  request = {'task': task, 'nets': nets, 'steps': steps}
  contenders = {
    'wsjax': lambda: workers['jax'].ask(**request, **DEFAULT),
    'wsjax, 2 devices': lambda: workers['jax 2 devices'].ask(**request, **DEFAULT),
    'wsjax, 2 processes': lambda: _both(
      (workers['jax'], workers['jax second']), {**request, **DEFAULT, 'nets': nets // 2}
    ),
  }
  if 'torch' in workers:
    few = max(2, nets // 16)
    for threads in args.threads:
      contenders[f'torch loop, {threads} thr.'] = lambda threads=threads: workers['torch'].ask(
        **{**request, 'nets': few}, method='loop', threads=threads, group=1
      )
      for group in (8, 64):
        contenders[f'torch vmap of {group}, {threads} thr.'] = lambda threads=threads, group=group: (  # noqa: E501
          workers['torch'].ask(**request, method='vmap', threads=threads, group=group)
        )
  if args.variants:
    for label, change in VARIANTS.items():
      if 'sine' in change and task['kind'] == 'classification':
        continue
      if 'shared' in change and task['kind'] == 'image_fitting':
        continue
      contenders[f'wsjax, {label}'] = lambda change=change: workers['jax'].ask(
        **request, **{**DEFAULT, **change}
      )
  for contender in contenders.values():  # Compile, and warm the caches.
    contender()
  answers = {label: [] for label in contenders}
  timed = {
    label: lambda label=label: answers[label].append(contenders[label]()) for label in contenders
  }
  timing.interleaved(timed, repeats=args.repeats)
  peak = timing.sgemm_peak()
  flops = cost.mlp_train_flops(task['widths']) * task['batch'] * steps
  rows = []
  for label, rounds in answers.items():
    count = max(2, nets // 16) if 'loop' in label else nets
    wall = [answer['seconds'] / count for answer in rounds]
    cpu = [answer['cpu_seconds'] / count for answer in rounds]
    rows.append(
      {
        'task': name,
        'contender': label,
        'steps': steps,
        'nets_per_second': 1 / min(wall),
        'nets_per_cpu_second': 1 / min(cpu),
        'share_of_peak': flops / min(wall) / peak,
        'seconds_per_net': wall,
        'cpu_seconds_per_net': cpu,
      }
    )
  for row in rows:
    for unit in ('seconds_per_net', 'cpu_seconds_per_net'):
      ratios = sorted(a / b for a, b in zip(row[unit], rows[0][unit], strict=True))
      row[f'wsjax_faster_by_{unit.removesuffix("_per_net")}'] = ratios[len(ratios) // 2]
  return rows


def _both(
  workers: tuple[worker.Worker, worker.Worker], request: dict[str, Any]
) -> dict[str, float]:
  """Asks two workers at the same time."""
  answers = []
  threads = [
    threading.Thread(target=lambda p=process: answers.append(p.ask(**request)))
    for process in workers
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  return {
    'seconds': max(answer['seconds'] for answer in answers),
    'cpu_seconds': sum(answer['cpu_seconds'] for answer in answers),
  }
