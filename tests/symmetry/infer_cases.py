"""What the tests of inference share: comparing specs, checking the law."""

import jax
import numpy as np

from wsjax.symmetry.inference import infer


def canonical(spec):
  """A spec up to the names of groups and what a pinned axis says."""
  names = {}
  for leaf in spec.leaves:
    for axis in leaf.axes:
      if axis.group is not None:
        names.setdefault(axis.group, f'group{len(names)}')
  groups = [(names[g.id], g.size, g.kinds, round(g.half_turn, 9)) for g in spec.groups]
  leaves = [
    (
      leaf.path,
      leaf.shape,
      tuple(
        axis.group and (names[axis.group], axis.outer, axis.inner, axis.power, axis.shift)
        for axis in leaf.axes
      ),
    )
    for leaf in spec.leaves
  ]
  return groups, leaves


def table(spec):
  """path -> (group, outer, inner) or None per axis."""
  return {
    leaf.path: tuple(axis.group and (axis.group, axis.outer, axis.inner) for axis in leaf.axes)
    for leaf in spec.leaves
  }


def shapes(**leaves):
  """ShapeDtypeStructs; a double underscore in a name is a slash."""
  return {
    name.replace('__', '/'): jax.ShapeDtypeStruct(shape, np.float32)
    for name, shape in leaves.items()
  }


def found(fn, params, *inputs, seed=0):
  """Infers and checks on random weights that the law holds."""
  inferred = infer.infer(fn, params, *inputs)
  drawn = infer.draw(params, jax.random.key(seed))
  filled = jax.tree.map(
    lambda x: infer.draw(x, jax.random.key(seed + 1)) if isinstance(x, jax.ShapeDtypeStruct) else x,
    inputs,
  )
  change = infer.verify(inferred, fn, drawn, filled, jax.random.key(seed + 2), num=2)
  assert change < 1e-4, (change, inferred.spec.groups)
  return inferred


def normal(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
