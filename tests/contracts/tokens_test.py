"""Every tokenizer: lossless, for every kind of architecture."""

import functools

import hypothesis
import jax
import numpy as np
import pytest

from tests import strategies
from wsjax import config
from wsjax.tokens import layout

NAMES = config.plugins('tokens')


def read_back(tokenizer, tokens, spec):
  """Tokens carry values; a graph is read back whole."""
  whole = tokens.values if isinstance(tokens, layout.Tokens) else tokens
  return tokenizer.detokenize(whole, spec)


@functools.cache
def round_trip(tokenizer, spec):
  return jax.jit(lambda params: read_back(tokenizer, tokenizer.tokenize(params, spec), spec))


@functools.cache
def tokenize(tokenizer, spec):
  return jax.jit(lambda params: tokenizer.tokenize(params, spec))


@pytest.mark.parametrize('name', NAMES)
@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
def test_tokens_keep_every_weight_exactly(name, case, seed):
  tokenizer = config.build('tokens', {'name': name})
  params = case.params(seed)
  back = round_trip(tokenizer, case.spec)(params)
  case.spec.check(back)
  for path, value in params.items():
    assert back[path].dtype == value.dtype
    np.testing.assert_array_equal(back[path], value)


@pytest.mark.parametrize('name', NAMES)
def test_a_stack_of_networks_is_tokenized_by_vmap(name):
  tokenizer = config.build('tokens', {'name': name})
  case = strategies.make_cnn()
  zoo = case.params(1, 3)
  tokens = jax.jit(jax.vmap(lambda p: tokenizer.tokenize(p, case.spec)))(zoo)
  back = jax.vmap(lambda t: read_back(tokenizer, t, case.spec))(tokens)
  for path, value in zoo.items():
    np.testing.assert_array_equal(back[path], value)


@pytest.mark.parametrize('name', NAMES)
@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
def test_masks_count_the_weights(name, case, seed):
  tokenizer = config.build('tokens', {'name': name})
  params = {k: 1 + np.abs(v) for k, v in case.params(seed).items()}
  tokens = tokenize(tokenizer, case.spec)(params)
  if isinstance(tokens, layout.Tokens):
    assert int(tokens.mask.sum()) == case.spec.num_params
    np.testing.assert_array_equal(tokens.values != 0, tokens.mask)
    assert tokenizer.shape(case.spec) == tokens.values.shape
  else:
    assert bool(tokens.node_mask.all()) and bool(tokens.edge_mask.all())
    real = np.sum(tokens.nodes != 0) + np.sum(tokens.edges != 0)
    assert int(real) == case.spec.num_params
