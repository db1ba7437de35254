"""Contract of models."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax.symmetry import spec as spec_lib
from wsjax.testing import laws


def check_model(
  model: Any, *, num_inputs: int = 4, seed: int = 0, tolerance: float = laws.TOLERANCE
) -> float:
  """Checks parameters, outputs and every symmetry of the spec of a model.

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
  return laws.assert_law(
    lambda params: run(params, inputs),
    params,
    spec,
    lambda g, params: spec.act(g, params),
    kinds=spec_lib.KINDS,
    key=keys[3],
    tolerance=tolerance,
  )
