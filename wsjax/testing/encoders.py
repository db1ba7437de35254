"""Contracts of encoders, editors and heads."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.symmetry import spec as spec_lib
from wsjax.testing import laws


def check_encoder(encoder: Any, model: Any) -> float:
  """Checks that an encoder is invariant to what it claims and to no more, and can be trained.

  Args:
    encoder: Flax module from the weights of one network to an embedding. Its `INVARIANT_TO` names
      kinds of `spec.KINDS`, and `train=True` may draw dropout.
    model: `wsjax.Model` whose weights it reads.

  Returns:
    The largest relative error.

  Raises:
    AssertionError: naming the law: a claim that is too large or too small, an embedding that
      depends on the other networks of a batch or is not a float32 vector, gradients that are not
      finite.
  """

  def check_output(embedding: jax.Array) -> None:
    chex.assert_rank(embedding, 1)
    chex.assert_type(embedding, jnp.float32)

  train = {'train': True, 'rngs': {'dropout': jax.random.key(0)}}
  return _check_module(encoder, model, encoder.INVARIANT_TO, check_output, train)


def check_editor(editor: Any, model: Any) -> float:
  """Checks that an editor is equivariant to what it claims and to no more, and can be trained.

  Args:
    editor: Flax module from the weights of one network to an update of them. Its `EQUIVARIANT_TO`
      names kinds of `spec.KINDS`.
    model: `wsjax.Model` whose weights it edits.

  Returns:
    The largest relative error.

  Raises:
    AssertionError: naming the law: those of `check_encoder`, and an update that does not fit the
      spec.
  """

  def check_output(update: typing.Params) -> None:
    try:
      model.spec.check(update)
    except ValueError as error:
      raise AssertionError(f'The update does not fit the model: {error}') from error

  return _check_module(editor, model, editor.EQUIVARIANT_TO, check_output, {})


def check_head(head: Any, targets: typing.Array) -> None:
  """Checks that a head predicts one network at a time, and that its loss is a mean with gradients.

  Args:
    head: Flax module from an embedding to outputs, with `loss(outputs, targets)`, which returns a
      scalar and metrics.
    targets: [b] examples of what it predicts, of at least two values.

  Raises:
    AssertionError: if the loss is not a finite scalar, depends on the order of the batch, or has
      gradients that are 0 or not finite.
  """
  keys = jax.random.split(jax.random.key(0))
  embeddings = jax.random.normal(keys[0], (len(targets), 8))
  variables = jax.jit(head.init)(keys[1], embeddings[0])

  def loss(variables: Any, embeddings: jax.Array, targets: jax.Array) -> Any:
    outputs = jax.vmap(lambda x: head.apply(variables, x))(embeddings)
    return head.loss(outputs, targets)

  run = jax.jit(jax.value_and_grad(loss, has_aux=True))
  (value, metrics), gradients = run(variables, embeddings, jnp.asarray(targets))
  chex.assert_rank([value, *metrics.values()], 0)
  chex.assert_tree_all_finite((value, metrics, gradients))
  if not any(np.any(x) for x in jax.tree.leaves(gradients)):
    raise AssertionError('The gradient of the loss is 0.')
  reversed_batch, _ = run(variables, embeddings[::-1], jnp.asarray(targets)[::-1])
  chex.assert_trees_all_close(reversed_batch, (value, metrics), rtol=1e-4)


def weights(model: Any, seed: int = 0) -> typing.Params:
  """Weights of a model, drawn and then shifted, since biases that are all 0 hide their order."""
  params = jax.jit(model.init)(jax.random.key(seed))
  rng = np.random.default_rng(seed)
  return {
    path: value
    if path.endswith('kernel')
    else np.asarray(value) + 0.1 * rng.standard_normal(value.shape).astype(np.float32)
    for path, value in sorted(params.items())
  }


def _check_module(
  module: Any,
  model: Any,
  claimed: Sequence[str],
  check_output: Callable[[Any], None],
  train: dict[str, Any],
) -> float:
  """Checks claim, output, batches and gradients; `train` are the arguments in training."""
  one, two = weights(model), weights(model, 1)
  variables = jax.jit(module.init)(jax.random.key(0), one)
  run = jax.jit(lambda params: module.apply(variables, params))
  worst = _check_claim(run, model.spec, claimed, one)
  alone = run(one)
  check_output(alone)
  # `vmap` gives every network the output that it has alone, and not one output for all.
  both = jax.jit(jax.vmap(run))(jax.tree.map(lambda *x: np.stack(x), one, two))
  both = jax.device_get(both)
  first, second = (jax.tree.map(lambda x, i=i: x[i], both) for i in (0, 1))
  chex.assert_trees_all_close(first, alone, rtol=1e-4, atol=1e-5)
  if all(np.allclose(a, b) for a, b in zip(*map(jax.tree.leaves, (first, second)), strict=True)):
    raise AssertionError('Two networks have the same output.')

  def loss(variables: Any) -> jax.Array:
    return sum(jnp.sum(x**2) for x in jax.tree.leaves(module.apply(variables, one, **train)))

  chex.assert_tree_all_finite(jax.jit(jax.grad(loss))(variables))
  return worst


def _check_claim(
  run: Callable[[typing.Params], Any],
  spec: spec_lib.Spec,
  claimed: Sequence[str],
  params: typing.Params,
) -> float:
  """Checks the law of every claimed kind, and that no other kind of the spec obeys it."""
  if unknown := set(claimed) - set(spec_lib.KINDS):
    raise AssertionError(f'The claim names {sorted(unknown)}; allowed: {spec_lib.KINDS}.')

  check = functools.partial(laws.assert_law, run, params, spec, spec.act, key=jax.random.key(0))
  worst = check(kinds=claimed)
  for kind in sorted({kind for group in spec.groups for kind in group.kinds} - set(claimed)):
    try:
      check(kinds=(kind,))
    except AssertionError:
      continue
    raise AssertionError(f'The module obeys {kind}, which it does not claim.')
  return worst
