"""Whether networks may be judged beside a zoo: what they compute and learned, not shapes alone."""

from collections.abc import Mapping
from typing import Any

from wsjax.zoo.store import store

_DRAWING = ('initializer',)  # Fields that change how networks are drawn, not what they compute.


def check(given: store.Zoo, zoo: store.Zoo) -> list[str]:
  """Compares the models and the data of two zoos, as their records tell them.

  Returns:
    Sentences about what the records do not tell.

  Raises:
    ValueError: if parameters, activations, symmetries or fields of the models differ, or the
      networks learned from other data, among which test examples of the zoo may be.
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
  ours, theirs = _data(zoo), _data(given)
  if ours and theirs and not theirs <= ours:
    wrong, known = sorted(theirs - ours)[0], sorted(ours)[0]
    raise ValueError(
      f'{name}: the networks learned from {wrong[0]} with SHA-256 {wrong[1]}, and those of the zoo '
      f'from {known[0]} with {known[1]}; test examples of the one may be training examples of the '
      'other.'
    )
  if theirs:
    return []
  return ['What the given networks learned from is not recorded; it may include test examples.']


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
