"""What writers of layers test with: does a layer respect the symmetry?

from wsjax import testing
testing.assert_equivariant(layer, spec)
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.symmetry import element
from wsjax.symmetry import spec as spec_lib

TOLERANCE = 1e-4


def random_features(key: jax.Array, spec: spec_lib.Spec, channels: int) -> dict[str, jax.Array]:
  """{path: [*leaf.shape, channels]} standard normal, one draw per leaf."""
  return {
    leaf.path: jax.random.normal(jax.random.fold_in(key, place), (*leaf.shape, channels))
    for place, leaf in enumerate(spec.leaves)
  }


def move(
  g: element.GroupElement, features: Mapping[str, jax.Array], spec: spec_lib.Spec
) -> dict[str, jax.Array]:
  """Lets g act on every channel of {path: [*leaf.shape, c]}."""
  act = jax.vmap(lambda params: element.apply(g, params, spec), -1, -1)
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
  """Checks that moving the units before a layer moves them behind it.

  Every group of the spec and every kind of element is tried on its own, so that the error can say
  which law is broken. A layer that gives an array instead of features must not change at all, and
  one that gives the same whatever it reads is refused.

  Args:
    layer: Flax module, or (init, apply) pair of functions, on
      {path: [*leaf.shape, channels]}. Features come out in the same form, of any width; or else an
      array.
    spec: the symmetry that is claimed.
    kinds: what may be done to the units, from `spec.KINDS`; of those, a group is only tried with
      the kinds it has.
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
  return check(
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
  """Checks that an encoder of weights does not see how units are arranged.

  Args:
    encoder: Flax module from the weights of one network to an array.
    spec: their symmetry.
    params: weights to try it on; with kind 'phase' they must be of a scale that the half turns fit.
    kinds: as in `assert_equivariant`.
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
  return check(
    jax.jit(lambda params: encoder.apply(variables, params)),
    params,
    spec,
    lambda g, value: element.apply(g, value, spec),
    kinds=kinds,
    key=key,
    tolerance=tolerance,
  )


def check_model(
  model: Any, *, num_inputs: int = 4, seed: int = 0, tolerance: float = TOLERANCE
) -> float:
  """Checks what a model says about itself: parameters, outputs and every symmetry of its spec.

  Args:
    model: `wsjax.Model`; its weights are drawn by `init` and then changed, so that no bias is 0.
    num_inputs: size of the batch of standard normal inputs.
    seed: of weights, inputs and group elements.
    tolerance: largest change of an output, relative to the largest output.

  Returns:
    The largest relative change under a symmetry.

  Raises:
    AssertionError: naming the law that is broken: parameters of other shapes than the spec's;
      outputs that depend on the rest of the batch; `unflatten` that does not invert `flatten`; or
      the group and kind that changes the function.
  """
  keys = jax.random.split(jax.random.key(seed), 4)
  params = jax.jit(model.init)(keys[0])
  spec = model.spec
  try:
    spec.check(params)
  except ValueError as error:
    raise AssertionError(f'`init` does not draw parameters of the spec: {error}') from error
  for path, struct in model.shapes.items():
    if params[path].dtype != struct.dtype:
      raise AssertionError(
        f'{path} is drawn as {params[path].dtype}; `shapes` says {struct.dtype}.'
      )
    noise = jax.random.uniform(jax.random.fold_in(keys[1], len(path)), struct.shape)
    params[path] = params[path] + jnp.asarray(0.1 + 0.2 * noise, struct.dtype)
  back = model.flatten(model.unflatten(params))
  if set(back) != set(params) or not all(np.array_equal(back[x], params[x]) for x in params):
    raise AssertionError('`unflatten` does not invert `flatten`.')
  inputs = jax.random.normal(keys[2], (num_inputs, *model.input_shape))
  run = jax.jit(model.apply)
  outputs = np.asarray(run(params, inputs))
  if len(outputs) != num_inputs:
    raise AssertionError(f'{num_inputs} inputs give outputs of shape {outputs.shape}.')
  alone = np.asarray(run(params, inputs[:1]))
  if not np.allclose(alone, outputs[:1], rtol=tolerance, atol=tolerance * np.abs(outputs).max()):
    raise AssertionError('The output for one input depends on the others of its batch.')
  return check(
    lambda params: run(params, inputs),
    params,
    spec,
    lambda g, params: element.apply(g, params, spec),
    kinds=spec_lib.KINDS,
    key=keys[3],
    tolerance=tolerance,
  )


def check(
  run: Callable[[Any], Any],
  example: dict[str, jax.Array],
  spec: spec_lib.Spec,
  act: Callable[[element.GroupElement, Any], Any],
  *,
  kinds: Sequence[str],
  key: jax.Array,
  tolerance: float,
) -> float:
  """Compares act-then-run with run-then-act; see `assert_equivariant`."""
  before = run(example)
  for path, value in _leaves(before).items():
    if not np.all(np.isfinite(value)):
      raise AssertionError(f'The output {path!r} is not finite.')
  _assert_reads(run, example, before)
  jitted = jax.jit(act)
  worst = 0.0
  for place, group in enumerate(spec.groups):
    for kind in (kind for kind in kinds if kind in group.kinds):
      g = single(jax.random.fold_in(key, place), spec, group.id, kind)
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


def single(key: jax.Array, spec: spec_lib.Spec, id: str, kind: str) -> element.GroupElement:
  """A random element that does one kind of thing to one group."""
  g, drawn = element.identity(spec), element.random(key, spec)
  parts = {'perms': g.perms, 'scales': g.scales, 'turns': g.turns}
  name = {'permutation': 'perms', 'phase': 'turns'}.get(kind, 'scales')
  parts[name] = {**parts[name], id: getattr(drawn, name)[id]}
  return element.GroupElement(**parts)


def _assert_reads(run: Any, example: Any, before: Any) -> None:
  """Fails for a layer whose output does not depend on its input."""
  other = {path: 2 * value + 0.1 for path, value in example.items()}
  if max(_errors(run(other), before).values()) <= TOLERANCE:
    raise AssertionError('The output is the same whatever the input.')


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
  """' <path>, axis i (reads the group)' of an output path."""
  found = [leaf for leaf in spec.leaves if leaf.path == path]
  if not found:
    return ''
  axes = [
    f'axis {i} ({"feeds" if axis.power > 0 else "reads"} the group)'
    for i, axis in enumerate(found[0].axes)
    if axis.group == group.id
  ]
  return f' {path!r}, {", ".join(axes) or "which must not change at all"}'
