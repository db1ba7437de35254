"""Derives the Spec of any JAX function from its jaxpr.

Axes of arrays are products of atoms (`infer_atoms`). The function is traced, never run, and written
out as one flat program (`infer_lower`); every
primitive ties, passes on or pins the atoms of its operands (`infer_rules`). Atoms that nothing
pinned and that lie along parameters are groups of interchangeable units. Laws (`infer_kinds`,
`infer_turns`) then follow a rescaled, negated or turned unit to the next layer.

Sound by construction: a primitive without a rule pins all axes that it touches, and is named in the
report.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.symmetry import element
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.inference import axes as axes_lib
from wsjax.symmetry.inference import groups as groups_lib
from wsjax.symmetry.inference import lower, rules
from wsjax.symmetry.inference import report as report_lib

Apply = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Inferred:
  """The symmetry of a function.

  Attributes:
    spec: groups of interchangeable units, and the axes they lie along.
    report: what was pinned and why, and freedom that a spec cannot say.
  """

  spec: spec_lib.Spec
  report: report_lib.Report


def infer(apply_fn: Apply, params: typing.PyTree, *inputs: Any) -> Inferred:
  """Derives the symmetry of `apply_fn(params, *inputs)` in its parameters.

  Only shapes and dtypes are looked at, so nothing is allocated and networks of any size take the
  time of a trace. All axes of inputs and outputs are pinned.

  Args:
    apply_fn: a JAX function of a tree of arrays, and inputs.
    params: flat dict or nested tree of arrays or ShapeDtypeStructs. Leaves are named by their path,
      'Dense_0/kernel'.
    *inputs: arrays or ShapeDtypeStructs, or trees of them.

  Returns:
    The spec, leaves in the order in which the function first computes with them, and the report.
    Layers of one unit make no group.

  Raises:
    ValueError: if there are no parameters or two have the same path.
  """
  paths, leaves, tree = _flatten(params)

  def flat_fn(flat: Sequence[Any], args: Sequence[Any]) -> Any:
    return apply_fn(jax.tree.unflatten(tree, flat), *args)

  closed = jax.make_jaxpr(flat_fn)([_shape(leaf) for leaf in leaves], inputs)
  program = lower.lower(closed, len(leaves))
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
  """How much random elements of the group change the function.

  Args:
    inferred: what `infer` returned for this function.
    apply_fn: the function.
    params: arrays; see `draw` for random ones.
    inputs: of the function.
    key: one typed key.
    num: random elements that are tried.

  Returns:
    Largest change of an output, relative to the largest absolute value of that output; sums in
    another order give about 1e-6 in float32. NaN if the outputs are not finite.
  """
  fn = jax.jit(apply_fn)
  before = jax.tree.leaves(fn(params, *inputs))
  worst = 0.0
  for index in range(num):
    g = element.random(jax.random.fold_in(key, index), inferred.spec)
    moved = act(g, params, inferred.spec)
    after = jax.tree.leaves(fn(moved, *inputs))
    for one, two in zip(before, after, strict=True):
      one, two = (np.asarray(x, np.float64) for x in (one, two))
      if one.size:
        size = max(np.abs(one).max(), np.finfo(np.float32).tiny)
        worst = np.maximum(worst, np.abs(one - two).max() / size)
  return float(worst)


def act(g: element.GroupElement, params: typing.PyTree, spec: spec_lib.Spec) -> typing.PyTree:
  """`element.apply` on a nested tree of parameters.

  Args:
    g: what to do.
    params: tree with the paths of `spec`.
    spec: the symmetry.

  Returns:
    A tree of the same form: weights of the same function.
  """
  paths, leaves, tree = _flatten(params)
  moved = element.apply(g, dict(zip(paths, leaves, strict=True)), spec)
  leaves = [jnp.asarray(moved[path], leaf.dtype) for path, leaf in zip(paths, leaves, strict=True)]
  return jax.tree.unflatten(tree, leaves)


def draw(params: typing.PyTree, key: jax.Array) -> typing.PyTree:
  """Random parameters for every ShapeDtypeStruct; arrays stay as they are.

  Args:
    params: tree of arrays or ShapeDtypeStructs.
    key: one typed key.

  Returns:
    Kernels with fan-in scaling, and vectors in [0.5, 1.5], which suits biases, scales and variances
    alike; integers are 0.
  """
  leaves, tree = jax.tree.flatten(params)
  drawn = []
  for index, leaf in enumerate(leaves):
    leaf_key, shape = jax.random.fold_in(key, index), np.shape(leaf)
    if not isinstance(leaf, jax.ShapeDtypeStruct):
      drawn.append(leaf)
    elif not jnp.issubdtype(leaf.dtype, jnp.floating):
      drawn.append(jnp.zeros(shape, leaf.dtype))
    elif len(shape) < 2:
      drawn.append(jax.random.uniform(leaf_key, shape, leaf.dtype, 0.5, 1.5))
    else:
      std = max(np.prod(shape[:-1]), 1) ** -0.5
      drawn.append(std * jax.random.normal(leaf_key, shape, leaf.dtype))
  return jax.tree.unflatten(tree, drawn)


def _flatten(params: typing.PyTree) -> tuple[list[str], list[Any], jax.tree_util.PyTreeDef]:
  """Paths, leaves and structure of a tree.

  Raises:
    ValueError: if it is empty or two leaves have the same path.
  """
  pairs, tree = jax.tree_util.tree_flatten_with_path(params)
  paths = [jax.tree_util.keystr(keys, simple=True, separator='/') for keys, _ in pairs]
  if not paths:
    raise ValueError('infer needs parameters; got a tree without arrays.')
  if len(set(paths)) < len(paths):
    twice = sorted(path for path in paths if paths.count(path) > 1)[0]
    raise ValueError(f'Two parameters have the same path {twice!r}.')
  return paths, [leaf for _, leaf in pairs], tree


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(np.shape(leaf), jnp.result_type(leaf))
