"""Slow and obvious versions of what wsjax.symmetry does, in NumPy."""

import itertools

import numpy as np


def permute(perms, params, spec):
  """Moves one unit at a time."""
  sizes = {group.id: group.size for group in spec.groups}
  out = {}
  for leaf in spec.leaves:
    old = np.asarray(params[leaf.path])
    new = np.array(old)
    for dim, axis in enumerate(leaf.axes):
      if axis.group is None:
        continue
      moved = np.array(new)
      for place in range(leaf.shape[dim]):
        outer, rest = divmod(place, sizes[axis.group] * axis.inner)
        unit, inner = divmod(rest, axis.inner)
        source = (outer * sizes[axis.group] + int(perms[axis.group][unit])) * axis.inner + inner
        moved[(slice(None),) * dim + (place,)] = new[(slice(None),) * dim + (source,)]
      new = moved
    out[leaf.path] = new
  return out


def squared_distance(a, b):
  """Sum of squares over all weights, float64."""
  return sum(
    np.sum((np.asarray(a[path], np.float64) - np.asarray(b[path], np.float64))
           ** 2)
    for path in a
  )  # fmt: skip


def all_elements(group):
  """Every (perm, sign, turn) of one group, |turn| <= 1."""
  signs = [(1,)] * group.size
  turns = [(0,)] * group.size
  if 'sign' in group.kinds:
    signs = [(1, -1)] * group.size
  if 'phase' in group.kinds:
    turns = [(-1, 0, 1)] * group.size
  for perm in itertools.permutations(range(group.size)):
    for sign in itertools.product(*signs):
      for turn in itertools.product(*turns):
        yield np.array(perm), np.array(sign), np.array(turn)


def act(perm, sign, turn, params, group):
  """Moves, negates and turns the units of a net with one hidden layer."""
  kernel0 = np.asarray(params['layer0/kernel'], np.float64)
  bias0 = np.asarray(params['layer0/bias'], np.float64)
  kernel1 = np.asarray(params['layer1/kernel'], np.float64)
  parity = np.where(turn % 2 == 0, 1, -1)
  return {
    'layer0/kernel': kernel0[:, perm] * sign[None],
    'layer0/bias': bias0[perm] * sign + turn * group.half_turn,
    'layer1/kernel': kernel1[perm] * (sign * parity)[:, None],
    'layer1/bias': np.asarray(params['layer1/bias'], np.float64),
  }


def best_distance(a, b, spec):
  """Quotient distance of two nets with one hidden layer, by trying all."""
  (group,) = spec.groups
  return min(squared_distance(a, act(*element, b, group)) ** 0.5 for element in all_elements(group))


def balance_relu(params, sweeps=100):
  """Scales one hidden unit of a dense ReLU net at a time, in float64."""
  params = {k: np.asarray(v, np.float64) for k, v in params.items()}
  depth = len(params) // 2
  for _ in range(sweeps):
    for i in range(depth - 1):
      kernel, bias = params[f'layer{i}/kernel'], params[f'layer{i}/bias']
      after = params[f'layer{i + 1}/kernel']
      for unit in range(bias.shape[0]):
        into = np.sqrt(np.sum(kernel[:, unit] ** 2) + bias[unit] ** 2)
        out = np.sqrt(np.sum(after[unit] ** 2))
        if into > 0 and out > 0:
          scale = np.sqrt(out / into)
          kernel[:, unit] *= scale
          bias[unit] *= scale
          after[unit] /= scale
  return params
