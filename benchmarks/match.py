"""Batched matching against the classic loop over pairs.

The opponent is coordinate descent for one pair at a time with SciPy's Hungarian, written twice:
with eager jax.numpy, as the original code is, and with plain NumPy, which has less overhead per
call and is the stronger one.
"""

import argparse
import time
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy import optimize

from benchmarks import timing
from wsjax import typing
from wsjax.models import mlp
from wsjax.symmetry import canonicalize, distance
from wsjax.symmetry import group as group_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.matching import weight_matching

ZOO_WIDTHS = (784, 32, 32, 10)
WIDE_WIDTHS = (784, 512, 512, 512, 10)
DEEP_WIDTHS = (5, 50, 50, 50, 50, 50, 50, 5)
# Standard deviation of the noise on copies, in absolute units of a weight.
_NOISE = 0.01


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Options of `python -m benchmarks match`."""
  parser.add_argument('--nets', type=int, default=100, help='nets of the zoo')
  parser.add_argument('--wide-nets', type=int, default=4, help='nets of 784-512-512-512-10')
  parser.add_argument('--deep-nets', type=int, default=45, help='nets of 5-50-50-50-50-50-50-5')
  parser.add_argument(
    '--loop-pairs', type=int, default=20, help='pairs that the loops are timed on'
  )
  parser.add_argument('--repeats', type=int, default=3, help='rounds of timing')
  parser.add_argument('--seed', type=int, default=0, help='of the random nets')
  parser.add_argument('--zoo', default=None, help='folder of a built zoo to match as well')


def run(args: argparse.Namespace) -> dict[str, Any]:
  """Times matching to one reference, and all pairs of a zoo.

  Args:
    args: what `add_arguments` reads.

  Returns:
    rows: task, method, pairs timed, pairs/s (best round), the ratio of the batched rate to it
      (median over rounds), and the mean objective <a, g b> on the pairs that all methods matched,
      higher is better. notes: lines.
  """
  rows = []
  tasks = [
    ('zoo to reference', ZOO_WIDTHS, args.nets, 'independent', False),
    ('zoo to reference', ZOO_WIDTHS, args.nets, 'copies', False),
    ('zoo all pairs', ZOO_WIDTHS, args.nets, 'independent', True),
    ('wide to reference', WIDE_WIDTHS, args.wide_nets, 'independent', False),
    ('wide to reference', WIDE_WIDTHS, args.wide_nets, 'copies', False),
  ]
  for task, widths, num, kind, everyone in tasks:
    spec = mlp_spec(widths)
    zoo = random_nets(spec, num + 1, kind, seed=args.seed)
    name = f'{task}, {kind} {"-".join(map(str, widths))}'
    rows += _compare(name, zoo, spec, everyone, args)
  if args.zoo:
    rows += _zoo_rows(args)
  return {
    'rows': rows,
    'notes': [
      timing.machine(),
      _distances(args),
      f'sgemm peak {timing.sgemm_peak() / 1e9:.0f} GFLOP/s',
      *(
        f'one SciPy assignment of size {n}: {_assignment_seconds(n) * 1e6:.0f}'
        ' us on a table of random correlations'
        for n in (ZOO_WIDTHS[1], WIDE_WIDTHS[1])
      ),
      'batched: restarts=1, from greedy placement, one thread per core; loops: from the identity, '
      'all tables anew in every sweep, timed on the first pairs only',
    ],
  }


def mlp_spec(widths: tuple[int, ...]) -> spec_lib.Spec:
  """Symmetry of an MLP of which only the order of units is matched."""
  ids = [None, *(f'hidden{i}' for i in range(len(widths) - 2)), None]
  leaves = tuple(
    leaf
    for i in range(len(widths) - 1)
    for leaf in spec_lib.dense(
      f'layer{i}', widths[i], widths[i + 1], reads=ids[i], feeds=ids[i + 1]
    )
  )
  groups = tuple(spec_lib.Group(id, n) for id, n in zip(ids[1:-1], widths[1:-1], strict=True))
  return spec_lib.Spec(groups, leaves)


def random_nets(spec: spec_lib.Spec, num: int, kind: str, *, seed: int) -> dict[str, np.ndarray]:
  """Random nets without training.

  Args:
    spec: shapes and groups.
    num: networks.
    kind: 'independent' initialisations, or 'copies' of the first with noise and in random order.
    seed: of everything random.

  Returns:
    Stacked weights.

  Raises:
    ValueError: for another kind.
  """
  if kind not in ('independent', 'copies'):
    raise ValueError(f"kind is 'independent' or 'copies'; got {kind!r}.")
  rng = np.random.default_rng(seed)
  zoo = {}
  for leaf in spec.leaves:
    fan_in = leaf.shape[0] if len(leaf.shape) > 1 else 25
    shape = (num, *leaf.shape)
    if kind == 'copies':
      first = rng.standard_normal(leaf.shape, np.float32) / fan_in**0.5
      value = first[None] + _NOISE * rng.standard_normal(shape, np.float32)
    else:
      value = rng.standard_normal(shape, np.float32) / fan_in**0.5
    zoo[leaf.path] = value.astype(np.float32)
  if kind == 'copies':
    g = group_lib.GroupElement(
      {
        group.id: np.stack([rng.permutation(group.size) for _ in range(num)])
        for group in spec.groups
      },
      {},
      {},
    )
    zoo = canonicalize.apply_all(g, zoo, spec)
  return zoo


def classic(
  xp: ModuleType, a: typing.Params, b: typing.Params, spec: spec_lib.Spec, *, seed: int
) -> dict[str, np.ndarray]:
  """One pair, as the original code does it: every table anew, every sweep.

  Args:
    xp: numpy or jax.numpy.
    a: weights that stay.
    b: weights that move.
    spec: their symmetry; axes without blocks.
    seed: of the order of groups in each sweep.

  Returns:
    Group id -> permutation of b.

  Source: Ainsworth et al. 2023, arXiv:2209.04836, algorithm 1.
  """
  rng = np.random.default_rng(seed)
  perms = {group.id: xp.arange(group.size) for group in spec.groups}
  while True:
    progress = False
    for index in rng.permutation(len(spec.groups)):
      group = spec.groups[index]
      table = xp.zeros((group.size, group.size), np.float32)
      for leaf in spec.leaves:
        for dim, axis in enumerate(leaf.axes):
          if axis.group != group.id:
            continue
          moved = b[leaf.path]
          for other, other_axis in enumerate(leaf.axes):
            if other != dim and other_axis.group is not None:
              moved = xp.take(moved, perms[other_axis.group], axis=other)
          table = table + (
            xp.moveaxis(a[leaf.path], dim, 0).reshape(group.size, -1)
            @ xp.moveaxis(moved, dim, 0).reshape(group.size, -1).T
          )
      columns = optimize.linear_sum_assignment(np.asarray(table), maximize=True)[1]
      rows = xp.arange(group.size)
      old = table[rows, perms[group.id]].sum()
      new = table[rows, columns].sum()
      if new > old + 1e-6 * abs(old):
        progress = True
        perms[group.id] = xp.asarray(columns)
    if not progress:
      return {id: np.asarray(perm) for id, perm in perms.items()}


def _compare(
  task: str,
  zoo: typing.StackedParams,
  spec: spec_lib.Spec,
  everyone: bool,
  args: argparse.Namespace,
) -> list[dict[str, Any]]:
  """Rows of one task: the first net is the reference."""
  num = len(next(iter(zoo.values())))
  pairs = np.stack([np.zeros(num - 1, int), np.arange(1, num)], axis=1)
  if everyone:
    pairs = np.stack(np.triu_indices(num, 1), axis=1)
  pairs = np.random.default_rng(args.seed).permutation(pairs)
  few = pairs[: args.loop_pairs]
  found = {}

  def batched() -> None:
    g, _ = weight_matching.match_pairs(zoo, zoo, pairs, spec)
    found['batched'] = {id: perm[: len(few)] for id, perm in g.perms.items()}

  def loop(name: str, xp: ModuleType) -> None:
    nets = {path: xp.asarray(value) for path, value in zoo.items()}
    each = [
      classic(
        xp,
        {path: value[i] for path, value in nets.items()},
        {path: value[j] for path, value in nets.items()},
        spec,
        seed=args.seed,
      )
      for i, j in few
    ]
    found[name] = {id: np.stack([x[id] for x in each]) for id in each[0]}

  methods = {
    'batched': batched,
    'numpy loop': lambda: loop('numpy loop', np),
    'eager jax loop': lambda: loop('eager jax loop', jnp),
  }
  for function in methods.values():
    function()  # Compilation is not timed.
  seconds = timing.interleaved(methods, repeats=args.repeats)
  counts = {name: len(few) for name in methods} | {'batched': len(pairs)}
  each = {name: np.array(times) / counts[name] for name, times in seconds.items()}
  return [
    {
      'task': task,
      'method': name,
      'pairs': counts[name],
      'pairs/s': 1 / each[name].min(),
      'batched is faster by': float(np.median(each[name] / each['batched'])),
      'objective': _objective(found[name], zoo, few, spec),
    }
    for name in methods
  ]


def _objective(
  perms: Mapping[str, typing.Array],
  zoo: typing.StackedParams,
  pairs: np.ndarray,
  spec: spec_lib.Spec,
) -> float:
  """Mean over pairs of <a, g b> over all weights."""
  g = group_lib.GroupElement(dict(perms), {}, {})
  moved = canonicalize.apply_all(g, {path: value[pairs[:, 1]] for path, value in zoo.items()}, spec)
  return sum(
    float((value.astype(np.float64) * zoo[path][pairs[:, 0]]).sum())
    for path, value in moved.items()
  ) / len(pairs)


def _distances(args: argparse.Namespace) -> str:
  """Time of the quotient distances between two sets of deep networks."""
  spec = mlp.MLP(DEEP_WIDTHS).spec
  a, b = (random_nets(spec, args.deep_nets, 'independent', seed=args.seed + i) for i in (0, 1))
  reference = {
    path: value[0] for path, value in random_nets(spec, 1, 'independent', seed=2).items()
  }

  def measure() -> None:
    distance.distance(a, b, spec, reference=reference)

  measure()  # Compilation is not timed.
  wall, cpu = (
    min(timing.interleaved({'': measure}, repeats=args.repeats, clock=clock)[''])
    for clock in (time.perf_counter, time.process_time)
  )
  widths = '-'.join(map(str, DEEP_WIDTHS))
  return (
    f'quotient distance, {args.deep_nets} x {args.deep_nets} networks {widths} of '
    f'{spec.num_params} weights: {wall:.2f} s, {cpu:.2f} s of CPU'
  )


def _assignment_seconds(n: int) -> float:
  """Best time of one assignment of n to n."""
  rng = np.random.default_rng(0)
  table = rng.standard_normal((n, 100)) @ rng.standard_normal((100, n))
  return min(
    timing.interleaved({'one': lambda: optimize.linear_sum_assignment(table)}, repeats=5)['one']
  )


def _zoo_rows(args: argparse.Namespace) -> list[dict[str, Any]]:
  """The same for the trained networks of a zoo."""
  from wsjax.zoo.store import store

  zoo = store.Zoo.open(args.zoo)
  indices = zoo.select(final=True)[: args.nets + 1]
  spec = zoo.spec.permutations_only()
  nets = zoo.params(indices)
  return [
    *_compare('trained zoo to reference', nets, spec, False, args),
    *_compare('trained zoo all pairs', nets, spec, True, args),
  ]
