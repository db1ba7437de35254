"""Derives the Spec of any JAX function from its jaxpr.

The function is traced, never run, and inlined into one flat program (`lower`). Array axes are
products of atoms (`atoms`); every primitive unifies, propagates or pins the atoms of its operands
(`rules`). Atoms that nothing pinned and that lie along parameters are groups of interchangeable
hidden units. Laws (`laws`, `phase`) then propagate scales, signs, matrices and phase shifts. A
primitive without a rule pins all axes that it touches, and is named in the report.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from wsjax import typing
from wsjax.symmetry import group as group_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.inference import axes as axes_lib
from wsjax.symmetry.inference import expand, lower, rotary, rules
from wsjax.symmetry.inference import groups as groups_lib

Apply = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Inferred:
  """The symmetry of a function, and what was pinned and why or cannot be held by a spec."""

  spec: spec_lib.Spec
  report: groups_lib.Report


def infer(apply_fn: Apply, params: typing.PyTree, *inputs: Any) -> Inferred:
  """Derives the symmetry of `apply_fn(params, *inputs)` in its parameters.

  Only shapes and dtypes are read, so nothing is allocated and networks of any size take the time
  of a trace. All axes of inputs and outputs are pinned.

  Args:
    apply_fn: a JAX function of a tree of arrays, and inputs.
    params: flat dict or nested tree of arrays or ShapeDtypeStructs. Leaves are named by their path,
      'Dense_0/kernel'.
    *inputs: arrays or ShapeDtypeStructs, or trees of them.

  Returns:
    The spec, leaves in the order in which the function first computes with them, and the report.
    Layers of one unit make no group.

  Raises:
    ValueError: if there are no parameters, two have the same path, one is no array, or the function
      cannot be traced with these shapes.
  """
  paths, leaves, tree = flatten(params)
  _arrays('Parameter', paths, leaves)
  _arrays('Input', *_named(inputs)[:2])

  def flat_fn(flat: Sequence[Any], args: Sequence[Any]) -> Any:
    return apply_fn(jax.tree.unflatten(tree, flat), *args)

  return of_jaxpr(_trace(flat_fn, [_shape(leaf) for leaf in leaves], inputs), paths)


def of_jaxpr(closed: core.ClosedJaxpr, paths: Sequence[str]) -> Inferred:
  """The symmetry of a jaxpr, whose first arguments are the parameters with these paths."""
  program = rotary.rotate(expand.expand(lower.lower(closed, len(paths))))
  axes = axes_lib.Axes(program, rules.RULES)
  found = groups_lib.find(paths, program, axes)
  laws = groups_lib.follow(found)
  spec = groups_lib.spec(found, laws)
  return Inferred(spec, groups_lib.report(found, laws, spec))


def verify(
  inferred: Inferred,
  apply_fn: Apply,
  params: typing.PyTree,
  inputs: Sequence[Any],
  key: jax.Array,
  *,
  num: int = 3,
) -> float:
  """Measures how much random elements of the group and of every gauge change the outputs.

  Given arrays are tried with noise too: weights of zero, as biases before training, hide an action
  that does not cancel.

  Args:
    inferred: what `infer` returned for this function.
    apply_fn: the function.
    params: arrays or ShapeDtypeStructs, see `draw`.
    inputs: of the function.
    key: one typed key.
    num: random elements that are tried.

  Returns:
    Largest change of an output, relative to the largest absolute value of that output; about 1e-6
    in float32, where sums have another order. NaN if the outputs are not finite.
  """
  fn = jax.jit(apply_fn)
  noise, key = jax.random.split(key)
  noisy = draw((params, tuple(inputs)), noise)
  paths, _, tree = flatten(params)
  gauges = inferred.report.beyond
  worst = 0.0
  for start, args in ((params, inputs), noisy):
    if any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves((start, args))):
      continue
    before = jax.tree.leaves(fn(start, *args))
    # With NumPy, for which no action has to be compiled.
    flat = dict(zip(paths, map(_host, jax.tree.leaves(start)), strict=True))
    for index in range(num):
      keys = jax.random.split(jax.random.fold_in(key, index), 1 + len(gauges))
      moved = flat
      for gauge, gauge_key in zip(gauges, keys[1:], strict=True):
        moved = gauge.act(_host(gauge.random(gauge_key)), moved)
      tried = [act(inferred.spec.random(keys[0]), start, inferred.spec)]
      if gauges:
        tried.append(jax.tree.unflatten(tree, [moved[path] for path in paths]))
      for moved in tried:
        for one, two in zip(before, jax.tree.leaves(fn(moved, *args)), strict=True):
          worst = np.maximum(worst, _change(one, two))
  return float(worst)


def _host(leaf: Any) -> Any:
  """An array of NumPy; keys of random numbers have none."""
  is_key = jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)
  return leaf if is_key else np.asarray(leaf)


def _change(one: typing.Array, two: typing.Array) -> float:
  """Largest difference, relative to the largest value."""
  one, two = (np.asarray(x) for x in (one, two))
  if not one.size:
    return 0.0
  one, two = (x.astype(np.result_type(x.dtype, np.float64)) for x in (one, two))
  with np.errstate(invalid='ignore'):
    return np.abs(one - two).max() / max(np.abs(one).max(), np.finfo(np.float32).tiny)


def act(g: group_lib.GroupElement, params: typing.PyTree, spec: spec_lib.Spec) -> typing.PyTree:
  """`Spec.act` on a nested tree of parameters with the paths of `spec`; returns such a tree."""
  paths, leaves, tree = flatten(params)
  moved = spec.act(g, dict(zip(paths, leaves, strict=True)))
  leaves = [moved[path] for path in paths]
  return jax.tree.unflatten(tree, leaves)


def draw(params: typing.PyTree, key: jax.Array) -> typing.PyTree:
  """Random parameters for every ShapeDtypeStruct; arrays of floats with noise.

  For ShapeDtypeStructs: kernels with fan-in scaling, vectors in [0.5, 1.5], which suits biases,
  scales and variances alike, whole numbers from 0 to 2, and mostly True. Given floats are times
  numbers in [0.5, 1.5], plus noise, which is positive where no number is negative. Given whole
  numbers, booleans and keys stay.
  """
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(key, len(leaves))
  return jax.tree.unflatten(tree, [_draw(*pair) for pair in zip(leaves, keys, strict=True)])


def _draw(leaf: Any, key: jax.Array) -> Any:
  shape, dtype = np.shape(leaf), jnp.result_type(leaf)
  given = not isinstance(leaf, jax.ShapeDtypeStruct)
  if not jnp.issubdtype(dtype, np.inexact):
    if given:
      return leaf
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
      return jax.random.split(key, shape) if shape else key
    if dtype == np.bool_:
      return jax.random.bernoulli(key, 0.9, shape)
    return jax.random.randint(key, shape, 0, 3).astype(dtype)
  one, two = jax.random.split(key)
  uniform = jax.random.uniform(one, shape, minval=0.5, maxval=1.5)
  normal = jax.random.normal(two, shape)
  if given:
    value = jnp.asarray(leaf)
    size = jnp.abs(value).max(initial=0.0)
    noise = 0.2 * jnp.where(size > 0, size, 1.0) * normal
    if not jnp.issubdtype(dtype, np.complexfloating):
      noise = jnp.where((value >= 0).all(), jnp.abs(noise), noise)
    return (value * uniform + noise).astype(dtype)
  if len(shape) < 2:
    return uniform.astype(dtype)
  return (max(np.prod(shape[:-1]), 1) ** -0.5 * normal).astype(dtype)


def _trace(fn: Apply, *args: Any) -> core.ClosedJaxpr:
  """The jaxpr of a function; an error in it becomes one sentence."""
  try:
    return jax.make_jaxpr(fn)(*args)
  except Exception as error:
    lines = str(error).strip().splitlines() or ['no message']
    axis = ' Bind its axis names with jax.vmap(..., axis_name=).' * isinstance(error, NameError)
    raise ValueError(
      'The function cannot be traced with parameters and inputs of these shapes: '
      f'{type(error).__name__}: {lines[0][:300]}{axis}'
    ) from error


def _arrays(what: str, paths: Sequence[str], leaves: Sequence[Any]) -> None:
  """Raises ValueError unless all leaves are arrays, shapes or numbers."""
  for path, leaf in zip(paths, leaves, strict=True):
    is_array = hasattr(leaf, 'shape') and hasattr(leaf, 'dtype')
    if not is_array and not isinstance(leaf, bool | int | float | complex):
      raise ValueError(
        f'{what} {path!r} is {str(leaf)[:60]!r} of type {type(leaf).__name__}, not an array. Give '
        'a tree of arrays; of an Equinox module, params, static = equinox.partition(module, '
        'equinox.is_array) and lambda params, x: equinox.combine(params, static)(x).'
      )


def _named(tree: typing.PyTree) -> tuple[list[str], list[Any], jax.tree_util.PyTreeDef]:
  """Paths, leaves and structure of a tree."""
  pairs, structure = jax.tree_util.tree_flatten_with_path(tree)
  paths = [jax.tree_util.keystr(keys, simple=True, separator='/') for keys, _ in pairs]
  return paths, [leaf for _, leaf in pairs], structure


def flatten(params: typing.PyTree) -> tuple[list[str], list[Any], jax.tree_util.PyTreeDef]:
  """Paths, leaves and structure of a tree.

  Raises:
    ValueError: if it is empty or two leaves have the same path.
  """
  paths, leaves, tree = _named(params)
  if not paths:
    raise ValueError('infer needs parameters; got a tree without arrays.')
  if len(set(paths)) < len(paths):
    twice = sorted(path for path in paths if paths.count(path) > 1)[0]
    raise ValueError(f'Two parameters have the same path {twice!r}.')
  return paths, leaves, tree


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(np.shape(leaf), getattr(leaf, 'dtype', None) or jnp.result_type(leaf))
