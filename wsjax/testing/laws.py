"""Laws of equivariant layers and invariant encoders, checked on random group elements."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.symmetry import group as group_lib
from wsjax.symmetry import spec as spec_lib

TOLERANCE = 1e-4


def assert_equivariant(
  layer: Any,
  spec: spec_lib.Spec,
  *,
  kinds: Sequence[str] = ('permutation',),
  channels: int = 3,
  seed: int = 0,
  tolerance: float = TOLERANCE,
) -> float:
  """Checks that acting on the input of a layer acts on its output; the law is `assert_law`.

  Args:
    layer: Flax module, or (init, apply) pair of functions, from features
      {path: [*leaf.shape, channels]} to features of any width or to an array.
    spec: the symmetry that is claimed.
    kinds: of elements, from `spec.KINDS`; a group is only tried with the kinds that it has.
    channels: width of the input.
    seed: of parameters, features and group elements.
    tolerance: largest relative error.
  """
  init, apply = layer if isinstance(layer, tuple) else (layer.init, layer.apply)
  init_key, key = jax.random.split(jax.random.key(seed))
  rng = np.random.default_rng(seed)
  features = {
    leaf.path: rng.standard_normal((*leaf.shape, channels)).astype(np.float32)
    for leaf in spec.leaves
  }
  variables = jax.jit(init)(init_key, features)
  return assert_law(
    jax.jit(lambda features: apply(variables, features)),
    features,
    spec,
    lambda g, features: jax.vmap(lambda params: spec.act(g, params), -1, -1)(dict(features)),
    kinds=kinds,
    key=key,
    tolerance=tolerance,
  )


def assert_invariant(
  encoder: Any,
  spec: spec_lib.Spec,
  params: typing.Params,
  *,
  kinds: Sequence[str] = ('permutation',),
  seed: int = 0,
  tolerance: float = TOLERANCE,
) -> float:
  """Checks that no symmetry of the weights changes their embedding; the law is `assert_law`.

  Args:
    encoder: Flax module from the weights of one network to an array.
    spec: their symmetry.
    params: weights of one network; for kind 'phase', of a scale that fits the phase shifts.
    kinds: see `assert_equivariant`, like `seed` and `tolerance`.
  """
  init_key, key = jax.random.split(jax.random.key(seed))
  params = {path: jnp.asarray(value) for path, value in params.items()}
  variables = jax.jit(encoder.init)(init_key, params)
  return assert_law(
    jax.jit(lambda params: encoder.apply(variables, params)),
    params,
    spec,
    spec.act,
    kinds=kinds,
    key=key,
    tolerance=tolerance,
  )


def assert_law(
  run: Callable[[Any], Any],
  example: dict[str, jax.Array],
  spec: spec_lib.Spec,
  act: Callable[[group_lib.GroupElement, Any], Any],
  *,
  kinds: Sequence[str],
  key: jax.Array,
  tolerance: float = TOLERANCE,
) -> float:
  """Checks that a function commutes with a group, or is invariant if it returns an array.

  Every group and every kind of element is tried on its own, so that the error can name the law that
  is broken. A constant function is refused.

  Args:
    run: function of `example`.
    example: weights or features by path.
    spec: the symmetry that is claimed.
    act: (group element, weights or features) -> these, transformed.
    kinds: of elements, from `spec.KINDS`.
    key: of the group elements.
    tolerance: largest relative error.

  Returns:
    The largest relative error.

  Raises:
    AssertionError: naming the law, the group, and the parameter and axis with the largest error.
  """
  before = run(example)
  for path, value in _leaves(before).items():
    if not np.all(np.isfinite(value)):
      raise AssertionError(f'The output {path!r} is not finite.')
  other = {path: 2 * np.asarray(value) + np.float32(0.1) for path, value in example.items()}
  if max(_errors(run(other), before).values()) <= TOLERANCE:
    raise AssertionError('The output is constant: it does not depend on the input.')
  jitted = jax.jit(act)
  worst = 0.0
  for place, group in enumerate(spec.groups):
    for kind in (kind for kind in kinds if kind in group.kinds):
      g = _single(jax.random.fold_in(key, place), spec, group.id, kind)
      after = run(jitted(g, example))
      wanted = jitted(g, before) if isinstance(before, Mapping) else before
      errors = _errors(after, wanted)
      path, error = max(errors.items(), key=lambda item: item[1])
      if not error <= tolerance:
        raise AssertionError(
          f'Not {"equi" if isinstance(before, Mapping) else "in"}variant to '
          f'{kind} of group {group.id!r}: relative error {error:.2g}, '
          f'allowed {tolerance:.2g}, in the output{_where(path, group, spec)}.'
        )
      worst = max(worst, error)
  return worst


def _single(key: jax.Array, spec: spec_lib.Spec, id: str, kind: str) -> group_lib.GroupElement:
  """A random element that does one kind of thing to one group."""
  g, drawn = spec.identity(), spec.random(key)
  parts = {'perms': g.perms, 'scales': g.scales, 'turns': g.turns}
  name = {'permutation': 'perms', 'phase': 'turns'}.get(kind, 'scales')
  parts[name] = {**parts[name], id: getattr(drawn, name)[id]}
  return group_lib.GroupElement(**parts)


def _errors(a: Any, b: Any) -> dict[str, float]:
  """Relative error of every output: path -> max |a - b| / max |b|."""
  a, b = _leaves(a), _leaves(b)
  return {
    path: float(np.max(np.abs(a[path] - b[path])) / (np.abs(b[path]).max() + 1e-12)) for path in b
  }


def _leaves(value: Any) -> dict[str, np.ndarray]:
  """Outputs by path; '' for a single array."""
  named = value if isinstance(value, Mapping) else {'': value}
  return {path: np.asarray(array) for path, array in named.items()}


def _where(path: str, group: spec_lib.Group, spec: spec_lib.Spec) -> str:
  """' <path>, axis i (outgoing weights)' of an output path."""
  found = [leaf for leaf in spec.leaves if leaf.path == path]
  if not found:
    return ''
  axes = [
    f'axis {i} ({"incoming" if axis.power > 0 else "outgoing"} weights)'
    for i, axis in enumerate(found[0].axes)
    if axis.group == group.id
  ]
  return f' {path!r}, {", ".join(axes) or "which must not change at all"}'
