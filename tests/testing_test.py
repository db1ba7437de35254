"""The tool for writers of layers catches what it says, and names it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from tests import strategies
from wsjax import testing
from wsjax.heads import classifier
from wsjax.models import mlp
from wsjax.tokens import flat

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
  assert "'layer1/kernel', axis 0 (outgoing weights)" in text


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
  with pytest.raises(AssertionError, match='constant'):
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


class Encoder(nn.Module):
  """Sums of every parameter, with planted faults."""

  INVARIANT_TO: tuple = ('permutation',)
  fault: str = ''

  @nn.compact
  def __call__(self, params, *, train=False):
    x = jnp.stack([v.sum() for v in params.values()])
    if self.fault == 'order':
      x += params['layer0/bias'] @ jnp.arange(5.0)
    if self.fault == 'constant':
      x = jnp.zeros_like(x)
    if self.fault == 'gradient':
      x = jnp.sqrt(nn.Dense(3, kernel_init=nn.initializers.zeros)(x) ** 2)
    return x


@pytest.mark.parametrize(
  ('fault', 'claim', 'message'),
  [
    ('order', ('permutation',), 'permutation of group'),
    ('', (), 'obeys permutation'),
    ('', ('permutation', 'sign'), 'sign of group'),
    ('', ('gauge',), 'gauge'),
    ('constant', ('permutation',), 'constant'),
    ('gradient', ('permutation',), 'constant|finite'),
  ],
)
def test_faults_planted_in_an_encoder_are_named(fault, claim, message):
  model = mlp.MLP((3, 5, 4, 2), 'tanh')
  testing.check_encoder(Encoder(), model)
  with pytest.raises(AssertionError, match=message):
    testing.check_encoder(Encoder(claim, fault), model)


class Editor(nn.Module):
  """Weights times a number, with planted faults."""

  EQUIVARIANT_TO: tuple = ('permutation', 'sign')
  fault: str = ''

  @nn.compact
  def __call__(self, params):
    gain = self.param('gain', nn.initializers.ones, ())
    change = {path: gain * value for path, value in params.items()}
    if self.fault == 'shape':
      change['layer1/bias'] = change['layer1/bias'][None]
    if self.fault == 'lack':
      del change['layer1/bias']
    if self.fault == 'rank':
      change['layer1/bias'] += jnp.arange(4.0)
    return change


@pytest.mark.parametrize(
  ('fault', 'message'), [('shape', 'layer1/bias'), ('lack', 'layer1/bias'), ('rank', 'hidden1')]
)
def test_faults_planted_in_an_editor_are_named(fault, message):
  model = mlp.MLP((3, 5, 4, 2), 'tanh')
  testing.check_editor(Editor(), model)
  with pytest.raises((AssertionError, KeyError, ValueError), match=message):
    testing.check_editor(Editor(fault=fault), model)


def test_faults_planted_in_tokens_are_named():
  class Rounded(flat.Flat):
    def detokenize(self, values, spec):
      return super().detokenize(jnp.round(values, 2), spec)

  class Padded(flat.Flat):
    def tokenize(self, params, spec):
      tokens = super().tokenize(params, spec)
      return tokens.replace(mask=jnp.zeros_like(tokens.mask))

  for faulty in (Rounded(), Padded()):
    with pytest.raises(AssertionError):
      testing.check_tokens(faulty, SPEC)


def test_faults_planted_in_a_head_are_named():
  class Summed(classifier.Classifier):
    def loss(self, logits, target):
      loss, metrics = super().loss(logits, target)
      return loss * logits[0, 0], metrics

  class Deaf(classifier.Classifier):
    def loss(self, logits, target):
      loss, metrics = super().loss(jax.lax.stop_gradient(logits), target)
      return loss, metrics

  for faulty in (Summed(3), Deaf(3)):
    with pytest.raises(AssertionError):
      testing.check_head(faulty, jnp.array([0, 1, 2, 2]))
