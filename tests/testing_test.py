"""The tool for writers of layers catches what it says, and names it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from tests import strategies
from wsjax import testing

SPEC = strategies.make_mlp((3, 5, 4, 2), 'tanh').spec


def layer(function):
  """A layer without parameters, as an (init, apply) pair."""
  return (lambda key, features: {}), (lambda variables, x: function(x))


def test_features_that_are_passed_on_are_equivariant_to_all():
  kinds = ('permutation', 'sign')
  assert testing.assert_equivariant(layer(dict), SPEC, kinds=kinds) == 0.0


def test_a_layer_that_reads_the_place_of_a_unit_is_named():
  def places(features):
    kernel = features['layer1/kernel']
    marked = kernel * (1 + jnp.arange(5.0))[:, None, None]
    return {**features, 'layer1/kernel': marked}

  with pytest.raises(AssertionError) as error:
    testing.assert_equivariant(layer(places), SPEC)
  text = str(error.value)
  assert "permutation of group 'hidden0'" in text
  assert "'layer1/kernel', axis 0 (reads the group)" in text


def test_an_even_function_breaks_signs_but_not_reordering():
  even = layer(lambda features: {k: jnp.abs(v) for k, v in features.items()})
  testing.assert_equivariant(even, SPEC)
  with pytest.raises(AssertionError, match='sign of group'):
    testing.assert_equivariant(even, SPEC, kinds=('sign',))


def test_a_transposed_output_is_caught():
  square = strategies.make_mlp((3, 4, 4, 2)).spec

  def transpose(features):
    kernel = features['layer1/kernel'].swapaxes(0, 1)
    return {**features, 'layer1/kernel': kernel}

  with pytest.raises(AssertionError, match='layer1/kernel'):
    testing.assert_equivariant(layer(transpose), square)


def test_ignoring_the_input_is_no_equivariance():
  zeros = layer(lambda features: jax.tree.map(jnp.zeros_like, features))
  with pytest.raises(AssertionError, match='whatever the input'):
    testing.assert_equivariant(zeros, SPEC)


def test_nan_is_no_agreement():
  broken = layer(lambda f: {k: v * jnp.nan for k, v in f.items()})
  with pytest.raises(AssertionError, match='not finite'):
    testing.assert_equivariant(broken, SPEC)


def test_an_array_must_not_change_at_all():
  total = layer(lambda f: jnp.stack([v.sum() for v in f.values()]))
  testing.assert_equivariant(total, SPEC)
  first = layer(lambda f: f['layer0/bias'][0])
  with pytest.raises(AssertionError, match='Not invariant to permutation'):
    testing.assert_equivariant(first, SPEC)


class Sums(nn.Module):
  """Invariant to permutations, not to signs."""

  @nn.compact
  def __call__(self, params):
    return nn.Dense(3)(jnp.stack([v.sum() for v in params.values()]))


def test_encoders_of_weights_are_checked_by_kind():
  params = strategies.make_mlp((3, 5, 4, 2), 'tanh').params(0)
  testing.assert_invariant(Sums(), SPEC, params)
  with pytest.raises(AssertionError, match="sign of group 'hidden0'"):
    testing.assert_invariant(Sums(), SPEC, params, kinds=('sign',))
