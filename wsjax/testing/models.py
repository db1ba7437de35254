"""Contracts of models and of tokenizers."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.symmetry import spec as spec_lib
from wsjax.testing import laws


def check_model(model: Any) -> float:
  """Checks parameters, outputs and every symmetry of the spec of a `wsjax.Model`.

  Its weights are drawn by `init` and then changed, so that no bias is 0.

  Returns:
    The largest change of an output under a symmetry, relative to the largest output.

  Raises:
    AssertionError: naming the law that is broken: parameters of other shapes than the spec's;
      outputs that depend on the rest of the batch; `unflatten` that does not invert `flatten`; or
      the group and kind that changes the function.
  """
  keys, rng = jax.random.split(jax.random.key(0)), np.random.default_rng(0)
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
    # A single number may be a counter.
    noise = 0.1 + 0.2 * rng.random(struct.shape) if struct.shape else np.ones(())
    params[path] = np.asarray(params[path]) + noise.astype(struct.dtype)
  back = model.flatten(model.unflatten(params))
  if set(back) != set(params) or not all(np.array_equal(back[x], params[x]) for x in params):
    raise AssertionError('`unflatten` does not invert `flatten`.')
  inputs = rng.standard_normal((4, *model.input_shape)).astype(np.float32)
  run = jax.jit(model.apply)
  outputs = np.asarray(run(params, inputs))
  if len(outputs) != len(inputs):
    raise AssertionError(f'{len(inputs)} inputs give outputs of shape {outputs.shape}.')
  alone = np.asarray(run(params, inputs[:1]))
  if not np.allclose(alone, outputs[:1], rtol=1e-4, atol=1e-4 * np.abs(outputs).max()):
    raise AssertionError('The output for one input depends on the others of its batch.')
  return laws.assert_law(
    lambda params: run(params, inputs), params, spec, spec.act, kinds=spec_lib.KINDS, key=keys[1]
  )


def check_tokens(tokenizer: Any, spec: spec_lib.Spec) -> None:
  """Checks that a tokenizer is lossless, alone and under `vmap`, and says which entries are real.

  Args:
    tokenizer: has `tokenize(params, spec)` and `detokenize(tokens, spec)`; see
      `wsjax.tokens.layout.Tokenizer`.
    spec: of the networks.

  Raises:
    AssertionError: if a weight or its dtype does not come back, if padding is not 0, or if a mask
      does not count the weights.
  """

  def there_and_back(params: typing.Params) -> Any:
    tokens = tokenizer.tokenize(params, spec)
    # Graphs are read back whole.
    return tokens, tokenizer.detokenize(getattr(tokens, 'values', tokens), spec)

  rng = np.random.default_rng(0)
  # Not 0, so that padding can be told from weights.
  many = {
    leaf.path: rng.uniform(0.5, 1, (2, *leaf.shape)).astype(np.float32) for leaf in spec.leaves
  }
  run = jax.jit(there_and_back)
  for dtype in (jnp.float32, jnp.float16):
    params = {path: value[0].astype(dtype) for path, value in many.items()}
    tokens, back = run(params)
    chex.assert_trees_all_equal(back, params)
    chex.assert_trees_all_equal_dtypes(back, params)
  _, back = jax.jit(jax.vmap(there_and_back))(many)
  chex.assert_trees_all_equal(back, many)
  real = [x for x in jax.tree.leaves(tokens) if jnp.issubdtype(x.dtype, jnp.floating)]
  found = sum(np.count_nonzero(x) for x in real)
  if found != spec.num_params:
    raise AssertionError(f'{found} entries are not 0; the network has {spec.num_params} weights.')
  if hasattr(tokens, 'values'):
    chex.assert_trees_all_equal(tokens.mask, np.asarray(tokens.values) != 0)
    chex.assert_shape(tokens.values, tokenizer.shape(spec))
