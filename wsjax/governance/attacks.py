"""Changes that somebody may make to a network to lose its watermark, from none to severe.

Each is a function of stacked weights. Those that keep a network useful have to be survived; some
are here to show where detection ends.

Source: Wang et al. 2022, arXiv:2205.00199 (changes that keep the function); Lukas et al. 2022,
arXiv:2108.04974 (pruning, quantization, fine-tuning).
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from wsjax import networks as networks_lib
from wsjax import typing
from wsjax.evaluation import baselines
from wsjax.symmetry import canonicalize
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.matching import weight_matching

Change = Callable[[typing.StackedParams], typing.StackedParams]
# Continues the training of networks for a number of steps, on the data of the zoo or on others.
Finetune = Callable[[typing.StackedParams, int, bool], typing.StackedParams]


@dataclasses.dataclass(frozen=True)
class Attack:
  """One change of networks.

  Attributes:
    name: with its severity.
    change: path -> [n, ...] weights to changed ones.
    required: whether a watermark has to survive it.
  """

  name: str
  change: Change
  required: bool


def suite(spec: spec_lib.Spec, finetune: Finetune | None = None, *, seed: int = 0) -> list[Attack]:
  """Every attack on networks of one model; without `finetune` none that trains them on."""

  def of(
    name: str, fn: Callable, *args: object, required: bool = False, **options: object
  ) -> Attack:
    return Attack(name, lambda networks: fn(networks, *args, **options), required)

  kinds = {kind for group in spec.groups for kind in group.kinds}
  moved = 'units reordered'
  if 'positive_scale' in kinds:
    moved += ' and rescaled up to e-fold'
  elif 'sign' in kinds:
    moved += ', signs flipped'
  found = [
    Attack('none', lambda networks: networks, True),
    of(moved, baselines.move, spec, seed=seed, required=True),
    *(
      of(f'noise of {std:g} sd', add_noise, std, seed, required=std <= 0.3)
      for std in (0.1, 0.3, 1.0)
    ),
    *(of(f'int{bits}', quantize, bits, required=bits >= 4) for bits in (8, 4, 2)),
    *(of(f'{share:.0%} pruned', prune, share, required=share <= 0.6) for share in (0.3, 0.6, 0.9)),
  ]
  if finetune is not None:
    for steps, new in ((25, False), (125, False), (300, False), (25, True), (125, True)):
      text = f'{steps} steps of fine-tuning{" on other data" if new else ""}'
      found.append(of(text, finetune, steps, new, required=not new))
  return [
    *found,
    of('mean with another marked network', average, spec),
    of('new draws of a Gaussian fitted to the samples', regenerate, spec, seed),
  ]


def add_noise(params: typing.StackedParams, std: float, seed: int = 0) -> typing.StackedParams:
  """Adds normal noise of `std` deviations of each parameter of each network."""
  rng = np.random.default_rng(seed)
  return {
    path: (x + std * _each(x, np.std) * rng.normal(size=x.shape)).astype(np.float32)
    for path, x in _host(params).items()
  }


def quantize(params: typing.StackedParams, bits: int) -> typing.StackedParams:
  """Rounds each parameter to 2^bits - 1 evenly spaced values, symmetric around 0."""
  result = {}
  for path, x in _host(params).items():
    unit = np.maximum(_each(np.abs(x), np.max), 1e-12) / (2 ** (bits - 1) - 1)
    result[path] = (np.round(x / unit) * unit).astype(np.float32)
  return result


def prune(params: typing.StackedParams, share: float) -> typing.StackedParams:
  """Sets the smallest `share` of each parameter with two axes or more to zero."""
  result = _host(params)
  for path, x in result.items():
    if x.ndim > 2:
      limit = _each(np.abs(x), lambda rows, axis: np.quantile(rows, share, axis=axis))
      result[path] = np.where(np.abs(x) < limit, np.float32(0), x)
  return result


def average(params: typing.StackedParams, spec: spec_lib.Spec) -> typing.StackedParams:
  """The mean of every network with the next one, aligned to it."""
  params = canonicalize.balance_all(params, spec)
  rows = np.arange(networks_lib.length(params))
  others = networks_lib.take(params, np.roll(rows, -1))
  if spec.groups:
    pairs = np.stack([rows, rows], axis=1)
    g, _ = weight_matching.match_pairs(params, others, pairs, spec, restarts=3)
    others = canonicalize.apply_all(g, others, spec)
  return {path: ((x + others[path]) / 2).astype(np.float32) for path, x in params.items()}


def regenerate(
  params: typing.StackedParams, spec: spec_lib.Spec, seed: int = 0, rank: int = 32
) -> typing.StackedParams:
  """As many draws of a normal distribution with the mean and the main axes of aligned networks."""
  reference = {path: x[0] for path, x in _host(params).items()}
  aligned = canonicalize.canonicalize(params, spec, 'permutation+scale', reference=reference)
  flat = networks_lib.flatten(aligned)
  mean, count = flat.mean(axis=0), len(flat)
  _, values, axes = np.linalg.svd(flat - mean, full_matrices=False)
  draws = np.random.default_rng(seed).normal(size=(count, min(rank, len(values))))
  made = mean + draws * (values[:rank] / np.sqrt(count)) @ axes[:rank]
  return networks_lib.Networks.from_flat(made.astype(np.float32), spec).params


def add_unit(params: typing.StackedParams, spec: spec_lib.Spec) -> typing.StackedParams:
  """Gives the first hidden layer one more unit, whose output nothing reads.

  The result has another architecture: a detector refuses it. For dense layers.

  Source: Yan et al. 2023, arXiv:2303.09732.
  """
  group, result = spec.groups[0], _host(params)
  for leaf in spec.leaves:
    for dim, axis in enumerate(leaf.axes):
      if axis.group == group.id:
        x = result[leaf.path]
        extra = np.take(x, [0], axis=dim + 1) * (axis.power > 0)
        result[leaf.path] = np.concatenate([x, extra], axis=dim + 1)
  return result


def _host(params: typing.StackedParams) -> dict[str, np.ndarray]:
  return {path: np.asarray(x, np.float32) for path, x in params.items()}


def _each(x: np.ndarray, statistic: Callable) -> np.ndarray:
  """A statistic of each network's values, [n, 1, ...]."""
  return statistic(x.reshape(len(x), -1), axis=1).reshape(-1, *[1] * (x.ndim - 1))
