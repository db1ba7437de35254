"""A published collection: one .npz file with arrays '<id>:<parameter>', and an index of entries."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from wsjax import files
from wsjax.interop import checkpoint, importing
from wsjax.models import model as model_lib
from wsjax.zoo.store import store

INDEX = 'index.json'
# JSON schemas of the fields of an entry.
TEXT = {'type': 'string', 'minLength': 1, 'maxLength': 1000}
NUMBER = {'type': ['number', 'null'], 'minimum': -1e15, 'maximum': 1e15}
BOOL = {'type': 'boolean'}
SIZES = {
  'type': 'array',
  'items': {'type': 'integer', 'minimum': 1, 'maximum': 1 << 24},
  'minItems': 1,
  'maxItems': 64,
}
_COMMON = {
  'id': TEXT,
  'n_params': {'type': 'integer', 'minimum': 0, 'maximum': 1 << 40},
  'layers': {'type': 'object', 'additionalProperties': SIZES},
}

Arrays = Mapping[str, Float[np.ndarray, '...']]


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
  """What an entry of an index means.

  Attributes:
    model: of the network.
    tensors: its weights, named by the layers of the model: 'layer0.weight'.
    source: address of repository, commit and file.
    detail: facts given by the publisher. 'task', 'algorithm' and 'score' are read by `targets`.
    fields: further fields of the record.
  """

  model: model_lib.Model
  tensors: Arrays
  source: str
  detail: Mapping[str, Any]
  fields: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Family:
  """Reader of a collection.

  Attributes:
    file: name of the file with the arrays.
    layout: of its matrices.
    fields: field of an index entry -> JSON schema; all are required.
    convert: (index entry, parameter -> array) -> network. Raises ValueError, or KeyError for an
      array that is missing.
    license: SPDX expression of the weights, unless `Network.fields` has another.
    attribution: holder of the copyright.
  """

  file: str
  layout: str
  fields: Mapping[str, Any]
  convert: Callable[[Mapping[str, Any], Arrays], Network]
  license: str
  attribution: str

  def checkpoints(self, directory: pathlib.Path | str) -> Iterator[checkpoint.Checkpoint]:
    """Reads every network of a directory, in the order of their ids.

    Raises:
      ValueError: if a file is missing or damaged; an entry lacks a field or has one of another
        type; arrays are missing, of no entry, not finite float32, or of another number of weights
        than the entry says; or a network does not have the form of this family.
    """
    index, file = pathlib.Path(directory) / INDEX, pathlib.Path(directory) / self.file
    for path in (index, file):
      if not path.exists():
        raise ValueError(f'{path} is missing: not a directory of foreign networks.')
    entry = {
      'type': 'object',
      'properties': {**_COMMON, **self.fields},
      'required': ['id', 'n_params', *self.fields],
    }
    entries = files.read_json(index, schema={'type': 'array', 'items': entry})
    ids = [entry['id'] for entry in entries]
    if len(set(ids)) < len(ids):
      twice = next(id for id in ids if ids.count(id) > 1)
      raise ValueError(f'{index} has two entries with id {twice!r}.')
    # What the index promises, and room for headers: an archive that unpacks to more is not read.
    most = 4 * sum(entry['n_params'] for entry in entries) + (len(entries) + 1) * (1 << 16)
    arrays = files.read_npz(file, max_bytes=min(most, files.MAX_BYTES))
    own: dict[str, dict[str, np.ndarray]] = {id: {} for id in ids}
    for name, array in arrays.items():
      if array.dtype != np.float32 or not np.isfinite(array).all():
        raise ValueError(f'{file} array {name!r} must be finite float32; it is {array.dtype}.')
      id, _, parameter = name.rpartition(':')
      if id not in own:
        raise ValueError(f'{file} has array {name!r}, which is of no network in {INDEX}.')
      own[id][parameter] = array
    for entry in sorted(entries, key=lambda entry: entry['id']):
      where = f'{file} network {entry["id"]!r}'
      try:
        yield self._checkpoint(entry, own[entry['id']], where)
      except KeyError as error:
        raise ValueError(f'{where} lacks array {error}.') from error
      except ValueError as error:
        raise ValueError(f'{where}: {error}') from error

  def import_zoo(self, directory: pathlib.Path | str, out: pathlib.Path | str) -> store.Zoo:
    """Publishes every network of a directory as a zoo, in split 'train'.

    Args:
      directory: directory of the arrays and `index.json`.
      out: directory of the zoo.

    Returns:
      The zoo, its weights verified.

    Raises:
      ValueError: as `checkpoints`, or if `out` holds a zoo.
    """
    # All of them are read before the first is written.
    zoo = importing.import_checkpoints(None, list(self.checkpoints(directory)), out=out)
    zoo.check()
    return zoo

  def _checkpoint(
    self, entry: Mapping[str, Any], arrays: Arrays, where: str
  ) -> checkpoint.Checkpoint:
    """One network; its sizes are those in the index."""
    if (found := sum(array.size for array in arrays.values())) != entry['n_params']:
      raise ValueError(f'it has {found} weights, but {INDEX} says {entry["n_params"]}')
    for name, shape in entry.get('layers', {}).items():
      if list(arrays[name].shape) != shape:
        raise ValueError(f'array {name!r} has no shape {shape}, which {INDEX} lists')
    network = self.convert(entry, arrays)
    run_id = f'{network.source}:{entry["id"]}'
    parent = {
      'record_id': None,
      'external_ref': run_id,
      'relation': 'checkpoint_of',
      'detail': json.loads(json.dumps(dict(network.detail))),
    }
    record = {
      'run_id': run_id,
      'split_group': run_id,
      'precision': 'float32',
      'license': self.license,
      'license_effective': self.license,
      'attribution': [self.attribution],
      'redistributable': True,
      'parents': [parent],
      **network.fields,
    }
    return checkpoint.Checkpoint(
      entry['id'], network.tensors, self.layout, where, record, model=network.model
    )
