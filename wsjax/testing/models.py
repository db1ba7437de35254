"""Contracts of models and of tokenizers."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

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
  keys = jax.random.split(jax.random.key(0), 4)
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
  inputs = jax.random.normal(keys[2], (4, *model.input_shape))
  run = jax.jit(model.apply)
  outputs = np.asarray(run(params, inputs))
  if len(outputs) != len(inputs):
    raise AssertionError(f'{len(inputs)} inputs give outputs of shape {outputs.shape}.')
  alone = np.asarray(run(params, inputs[:1]))
  if not np.allclose(alone, outputs[:1], rtol=1e-4, atol=1e-4 * np.abs(outputs).max()):
    raise AssertionError('The output for one input depends on the others of its batch.')
  return laws.assert_law(
    lambda params: run(params, inputs), params, spec, spec.act, kinds=spec_lib.KINDS, key=keys[3]
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
  keys = jax.random.split(jax.random.key(0), len(spec.leaves))
  # Not 0, so that padding can be told from weights.
  many = {
    leaf.path: jax.random.uniform(key, (2, *leaf.shape), minval=0.5)
    for leaf, key in zip(spec.leaves, keys, strict=True)
  }
  one = jax.tree.map(lambda x: x[0], many)
  for dtype in (jnp.float32, jnp.float16):
    params = jax.tree.map(lambda x, dtype=dtype: x.astype(dtype), one)
    tokens = tokenizer.tokenize(params, spec)
    back = tokenizer.detokenize(getattr(tokens, 'values', tokens), spec)
    chex.assert_trees_all_equal(back, params)
    chex.assert_trees_all_equal_dtypes(back, params)
  stacked = jax.vmap(lambda params: tokenizer.tokenize(params, spec))(many)
  values = getattr(stacked, 'values', stacked)  # Graphs are read back whole.
  back = jax.vmap(lambda tokens: tokenizer.detokenize(tokens, spec))(values)
  chex.assert_trees_all_equal(back, many)
  real = [x for x in jax.tree.leaves(tokens) if jnp.issubdtype(x.dtype, jnp.floating)]
  found = sum(int(jnp.sum(x != 0)) for x in real)
  if found != spec.num_params:
    raise AssertionError(f'{found} entries are not 0; the network has {spec.num_params} weights.')
  if hasattr(tokens, 'values'):
    chex.assert_trees_all_equal(tokens.mask, tokens.values != 0)
    chex.assert_shape(tokens.values, tokenizer.shape(spec))
