"""Contract of tokenizers."""

from typing import Any

import chex
import jax
import jax.numpy as jnp

from wsjax.symmetry import spec as spec_lib


def check_tokens(tokenizer: Any, spec: spec_lib.Spec, *, seed: int = 0) -> None:
  """Checks that a tokenizer is lossless, alone and under `vmap`, and says which entries are real.

  Args:
    tokenizer: has `tokenize(params, spec)` and `detokenize(tokens, spec)`; see
      `wsjax.tokens.layout.Tokenizer`.
    spec: of the networks.
    seed: of their weights.

  Raises:
    AssertionError: if a weight or its dtype does not come back, if padding is not 0, or if a mask
      does not count the weights.
  """
  keys = jax.random.split(jax.random.key(seed), len(spec.leaves))
  # Not 0, so that padding can be told from weights.
  many = {
    leaf.path: jax.random.uniform(key, (2, *leaf.shape), minval=0.5)
    for leaf, key in zip(spec.leaves, keys, strict=True)
  }
  one = jax.tree.map(lambda x: x[0], many)
  for dtype in (jnp.float32, jnp.float16):
    params = jax.tree.map(lambda x, dtype=dtype: x.astype(dtype), one)
    tokens = tokenizer.tokenize(params, spec)
    back = tokenizer.detokenize(_values(tokens), spec)
    chex.assert_trees_all_equal(back, params)
    chex.assert_trees_all_equal_dtypes(back, params)
  stacked = jax.vmap(lambda params: tokenizer.tokenize(params, spec))(many)
  back = jax.vmap(lambda tokens: tokenizer.detokenize(tokens, spec))(_values(stacked))
  chex.assert_trees_all_equal(back, many)
  real = [x for x in jax.tree.leaves(tokens) if jnp.issubdtype(x.dtype, jnp.floating)]
  found = sum(int(jnp.sum(x != 0)) for x in real)
  if found != spec.num_params:
    raise AssertionError(f'{found} entries are not 0; the network has {spec.num_params} weights.')
  if hasattr(tokens, 'values'):
    chex.assert_trees_all_equal(tokens.mask, tokens.values != 0)
    chex.assert_shape(tokens.values, tokenizer.shape(spec))


def _values(tokens: Any) -> Any:
  """The part of tokens that is read back; graphs are read back whole."""
  return getattr(tokens, 'values', tokens)
