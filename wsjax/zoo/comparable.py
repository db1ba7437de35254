"""Whether networks may be judged beside a zoo: what they compute and learned, not shapes alone."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from wsjax.models import model as model_lib
from wsjax.zoo.store import store

_TOLERANCE = 1e-4  # Of the largest output; below it lies rounding.
_DRAWING = ('initializer',)  # Fields that change how networks are drawn, not what they compute.


def check(given: store.Zoo, zoo: store.Zoo) -> list[str]:
  """Compares the models and the data of two zoos, as their records tell them.

  Returns:
    Sentences about what the records do not tell.

  Raises:
    ValueError: if parameters, activations, symmetries or fields of the models differ, or what they
      compute of the same inputs, where both models are there; or the networks learned from other
      data, among which test examples of the zoo may be.
  """
  mine, name = zoo.architectures[0], given.path or 'the networks'
  for other in given.architectures:
    for what, ours, theirs in (
      ('activation', mine.activation, other.activation),
      ('fields', *_fields(mine, other)),
      ('symmetries', _kinds(mine), _kinds(other)),
    ):
      if ours and theirs and ours != theirs:
        raise ValueError(
          f'{name}: {what} of the networks are {theirs}, and of the zoo {ours}; weights of equal '
          'shapes are other functions then.'
        )
  unknown = _compare_functions(given, zoo, str(name))
  ours, theirs = _data(zoo), _data(given)
  if ours and theirs and not theirs <= ours:
    wrong, known = sorted(theirs - ours)[0], sorted(ours)[0]
    raise ValueError(
      f'{name}: the networks learned from {wrong[0]} with SHA-256 {wrong[1]}, and those of the zoo '
      f'from {known[0]} with {known[1]}; test examples of the one may be training examples of the '
      'other.'
    )
  if theirs:
    return unknown
  return [
    *unknown,
    'What the given networks learned from is not recorded; it may include test examples.',
  ]


def _compare_functions(given: store.Zoo, zoo: store.Zoo, name: str) -> list[str]:
  """Runs a given network by the models of both zoos; symmetries alone do not tell gelu from silu.

  Returns:
    A sentence if a model is not there.
  """
  try:
    mine, theirs = zoo.model, given.model
  except ValueError:
    text = 'Which function the given networks compute is not recorded; open their zoo with a model.'
    return [] if len(given.architectures) > 1 else [text]
  rows = given.select(final=None)
  if mine is theirs or mine.shapes != theirs.shapes or not len(rows):
    return []
  params = {path: value[0] for path, value in given.params(rows[:1]).items()}
  inputs = _inputs(mine)
  try:
    ours, other = (np.asarray(m.apply(params, inputs), np.float32) for m in (mine, theirs))
  except (TypeError, ValueError) as error:
    raise ValueError(
      f'{name}: their model takes other inputs than that of the zoo: {error}'
    ) from error
  if ours.shape != other.shape:
    raise ValueError(
      f'{name}: the networks give outputs {other.shape}, those of the zoo {ours.shape}.'
    )
  scale, gap = np.abs(ours).max(initial=1e-30), np.abs(ours - other).max(initial=0)
  if not gap <= _TOLERANCE * scale:
    raise ValueError(
      f'{name}: the model of the networks computes another function than that of the zoo: of the '
      f'same weights and inputs, outputs differ by {gap / scale:.1%}.'
    )
  return []


def _inputs(model: model_lib.Model) -> Any:
  """A few inputs of a model, large enough to tell activations apart."""
  rng = np.random.default_rng(0)
  shape = (4, *model.input_shape)
  dtype = jnp.dtype(getattr(getattr(model, 'example', None), 'dtype', np.float32))
  if dtype.kind in 'iub':
    return jnp.asarray(rng.integers(0, 2, shape), dtype)
  return jnp.asarray(3 * rng.normal(size=shape), dtype)


def _fields(mine: store.Description, other: store.Description) -> tuple[Any, Any]:
  """What the models are made of; nothing if they are not of one constructor."""
  if mine.arch_id != other.arch_id:
    return None, None
  return _functional(mine.arch_config), _functional(other.arch_config)


def _functional(fields: Mapping[str, Any]) -> dict[str, Any]:
  return {name: value for name, value in fields.items() if name not in _DRAWING}


def _kinds(description: store.Description) -> list[tuple[int, tuple[str, ...]]]:
  return [(group.size, tuple(group.kinds)) for group in description.spec.groups]


def _data(zoo: store.Zoo) -> set[tuple[str, str]]:
  """Name and digest of the data sets of the records that tell them."""
  return {
    (data['name'], data['sha256'])
    for record in zoo.records
    for data in record.get('datasets') or ()
    if data['sha256'] is not None
  }
