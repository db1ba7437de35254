"""The generators of all seeds as two files of their run, which `Personalizer` reads."""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from wsjax import files, typing
from wsjax.interop import safetensors

_WEIGHTS, _FACTS = 'generator.safetensors', 'generator.json'
_SCHEMA = {
  'type': 'object',
  'required': ['sha256', 'encoder', 'rates', 'record'],
  'properties': {
    'sha256': {'type': 'string'},
    'encoder': {'type': 'string'},
    'rates': {
      'type': 'object',
      'minProperties': 1,
      'propertyNames': {'pattern': '^[1-9][0-9]{0,8}$'},
      'additionalProperties': {'type': 'number', 'exclusiveMinimum': 0},
    },
    'record': {'type': 'object', 'required': ['record_id']},
  },
}


def save(workdir: pathlib.Path, params: typing.PyTree, facts: Mapping[str, Any]) -> None:
  """Writes the weights of the networks, stacked over seeds, and what belongs to them."""
  tensors = {_name(keys): np.asarray(x) for keys, x in jax.tree_util.tree_leaves_with_path(params)}
  safetensors.write(workdir / _WEIGHTS, tensors)
  digest = hashlib.sha256(files.read_bytes(workdir / _WEIGHTS)).hexdigest()
  files.replace(workdir / _FACTS, json.dumps({'sha256': digest, **facts}))


def load(workdir: pathlib.Path, like: typing.PyTree) -> tuple[typing.PyTree, dict[str, Any]]:
  """Reads what `save` wrote.

  Args:
    workdir: of the run.
    like: tree of shapes of the network.

  Raises:
    ValueError: if the run has no generator, or its files do not belong together.
  """
  if not (workdir / _FACTS).exists():
    raise ValueError(f'{workdir} has no trained generator of adapters; `wsjax run` makes one.')
  facts = files.read_json(workdir / _FACTS, schema=_SCHEMA)
  content = files.read_bytes(workdir / _WEIGHTS)
  if hashlib.sha256(content).hexdigest() != facts['sha256']:
    raise ValueError(
      f'{workdir / _WEIGHTS} was changed: it has another SHA-256 than {_FACTS} says.'
    )
  (found,) = safetensors.read(workdir / _WEIGHTS, 'generator')
  pairs, structure = jax.tree_util.tree_flatten_with_path(like)
  shapes = {_name(keys): leaf.shape for keys, leaf in pairs}
  if {name: x.shape for name, x in found.tensors.items()} != shapes:
    raise ValueError(f'{workdir / _WEIGHTS} does not hold the network that its config describes.')
  return jax.tree.unflatten(structure, [found.tensors[name] for name in shapes]), facts


def _name(keys: tuple[Any, ...]) -> str:
  return jax.tree_util.keystr(keys, simple=True, separator='.')
