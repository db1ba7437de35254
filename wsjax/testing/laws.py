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


def random_features(key: jax.Array, spec: spec_lib.Spec, channels: int) -> dict[str, jax.Array]:
  """Standard normal features, {path: [*shape, channels]}."""
  return {
    leaf.path: jax.random.normal(jax.random.fold_in(key, place), (*leaf.shape, channels))
    for place, leaf in enumerate(spec.leaves)
  }


def move(
  g: group_lib.GroupElement, features: Mapping[str, jax.Array], spec: spec_lib.Spec
) -> dict[str, jax.Array]:
  """Acts on every channel of features {path: [*shape, c]}."""
  act = jax.vmap(lambda params: spec.act(g, params), -1, -1)
  return act(dict(features))


def assert_equivariant(
  layer: Any,
  spec: spec_lib.Spec,
  *,
  kinds: Sequence[str] = ('permutation',),
  channels: int = 3,
  seed: int = 0,
  tolerance: float = TOLERANCE,
) -> float:
  """Checks that acting on the input of a layer acts on its output.

  Every group of the spec and every kind of element is tried on its own, so that the error can name
  the law that is broken. A layer that returns an array instead of features must be invariant. A
  constant layer is refused.

  Args:
    layer: Flax module, or (init, apply) pair of functions, on
      {path: [*leaf.shape, channels]}. Features come out in the same form, of any width; or else an
      array.
    spec: the symmetry that is claimed.
    kinds: of elements, from `spec.KINDS`; a group is only tried with the kinds that it has.
    channels: width of the input.
    seed: of parameters, features and group elements.
    tolerance: largest relative error.

  Returns:
    The largest relative error.

  Raises:
    AssertionError: naming the law, the group, and the parameter and axis with the largest error.
  """
  init, apply = layer if isinstance(layer, tuple) else (layer.init, layer.apply)
  init_key, feature_key, key = jax.random.split(jax.random.key(seed), 3)
  features = random_features(feature_key, spec, channels)
  variables = jax.jit(init)(init_key, features)
  run = jax.jit(lambda features: apply(variables, features))
  return assert_law(
    run,
    features,
    spec,
    lambda g, value: move(g, value, spec),
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
  """Checks that no symmetry of the weights changes their embedding.

  Args:
    encoder: Flax module from the weights of one network to an array.
    spec: their symmetry.
    params: weights of one network; for kind 'phase', of a scale that fits the phase shifts.
    kinds: of elements, like those of `assert_equivariant`.
    seed: of parameters and group elements.
    tolerance: largest relative error.

  Returns:
    The largest relative error.

  Raises:
    AssertionError: naming the law and the group.
  """
  init_key, key = jax.random.split(jax.random.key(seed))
  params = {path: jnp.asarray(value) for path, value in params.items()}
  variables = jax.jit(encoder.init)(init_key, params)
  return assert_law(
    jax.jit(lambda params: encoder.apply(variables, params)),
    params,
    spec,
    lambda g, value: spec.act(g, value),
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
  tolerance: float,
) -> float:
  """Checks that a function commutes with a group, or is invariant if it returns an array.

  Args:
    run: function of `example`.
    example: weights or features by path.
    spec: the symmetry that is claimed.
    act: (group element, weights or features) -> the same, transformed.
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
  _assert_reads(run, example, before)
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


def _assert_reads(run: Any, example: Any, before: Any) -> None:
  """Fails for a layer whose output does not depend on its input."""
  other = {path: 2 * value + 0.1 for path, value in example.items()}
  if max(_errors(run(other), before).values()) <= TOLERANCE:
    raise AssertionError('The output is constant: it does not depend on the input.')


def _errors(a: Any, b: Any) -> dict[str, float]:
  """Relative error of every output: path -> max |a - b| / max |b|."""
  a, b = _leaves(a), _leaves(b)
  return {
    path: float(np.max(np.abs(a[path] - b[path])) / (np.abs(b[path]).max() + 1e-12)) for path in b
  }


def _leaves(value: Any) -> dict[str, np.ndarray]:
  """Outputs by path; '' for a single array."""
  if isinstance(value, Mapping):
    return {path: np.asarray(array) for path, array in value.items()}
  return {'': np.asarray(value)}


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
