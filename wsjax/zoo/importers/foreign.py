"""Importers of networks that others trained.

A directory of foreign networks has one `.npz` file with arrays named '<id>:<parameter>', and
`index.json` with one entry per network. An importer is a `Family`.
"""

import dataclasses
import json
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from wsjax import files, typing
from wsjax.models import model as model_lib
from wsjax.zoo.store import record as record_lib
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
  """A foreign network in this project's layout.

  Attributes:
    id: name of the network in its source.
    architecture: model of the network.
    params: weights, float32.
    source: address of repository, commit and file.
    detail: facts given by the publisher. 'task', 'algorithm' and 'score' are read by `targets`.
    fields: further fields of the record.
  """

  id: str
  architecture: model_lib.Model
  params: typing.Params
  source: str
  detail: Mapping[str, Any]
  fields: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Family:
  """Reader of the foreign networks of one source.

  Attributes:
    file: name of the file with the arrays.
    fields: field of an index entry -> JSON schema; all are required.
    convert: (index entry, parameter -> array) -> network. Raises ValueError, or KeyError for an
      array that is missing.
    license: SPDX expression of the weights, unless `Network.fields` has another.
    attribution: holder of the copyright.
  """

  file: str
  fields: Mapping[str, Any]
  convert: Callable[[Mapping[str, Any], Arrays], Network]
  license: str
  attribution: str

  def networks(self, directory: pathlib.Path | str) -> Iterator[Network]:
    """Reads every network of a directory.

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
    for name, array in arrays.items():
      if array.dtype != np.float32 or not np.isfinite(array).all():
        raise ValueError(f'{file} array {name!r} must be finite float32; it is {array.dtype}.')
    for entry in entries:
      prefix = f'{entry["id"]}:'
      names = [name for name in arrays if name.startswith(prefix)]
      own = {name.removeprefix(prefix): arrays.pop(name) for name in names}
      try:
        yield self._network(entry, own)
      except KeyError as error:
        raise ValueError(f'{file} network {entry["id"]!r} lacks array {error}.') from error
      except ValueError as error:
        raise ValueError(f'{file} network {entry["id"]!r}: {error}') from error
    if arrays:
      raise ValueError(f'{file} has array {min(arrays)!r}, which is of no network in {INDEX}.')

  def import_zoo(self, directory: pathlib.Path | str, out: pathlib.Path | str) -> store.Zoo:
    """Publishes the networks of a directory as a zoo in `out`, in split 'train', and verifies it.

    Raises ValueError as `networks`, or if `out` holds a zoo.
    """
    out = pathlib.Path(out)
    entries = [
      store.Entry(network.id, network.params, self._record(network))
      for network in self.networks(directory)
    ]
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
      with store.Log(pathlib.Path(folder) / 'log.lmdb') as log:
        log.append(entries)
        zoo = store.publish(log, out)
    zoo.check()
    return zoo

  def _network(self, entry: Mapping[str, Any], arrays: Arrays) -> Network:
    """Converts one network; its sizes are those in the index and fit its architecture."""
    if (found := sum(array.size for array in arrays.values())) != entry['n_params']:
      raise ValueError(f'it has {found} weights, but {INDEX} says {entry["n_params"]}')
    for name, shape in entry.get('layers', {}).items():
      if list(arrays[name].shape) != shape:
        raise ValueError(f'array {name!r} has no shape {shape}, which {INDEX} lists')
    network = self.convert(entry, arrays)
    network.architecture.spec.check(network.params)
    return network

  def _record(self, network: Network) -> dict[str, Any]:
    """The record of a foreign network; unknown facts are null."""
    run_id = f'{network.source}:{network.id}'
    unknown = (
      'objective', 'optimizer', 'batch_size', 'steps', 'step', 'seed', 'config_sha256', 'code',
      'packages',
    )  # fmt: skip
    fields = dict.fromkeys(unknown) | {
      'precision': 'float32',
      'trace': [],
      'final': [],
      'diverged': False,
      'datasets': [],
      'license': self.license,
      'license_effective': self.license,
      'attribution': [self.attribution],
      'redistributable': True,
      'screens': [],
    }
    parent = {
      'record_id': None,
      'external_ref': run_id,
      'relation': 'checkpoint_of',
      'detail': json.loads(json.dumps(dict(network.detail))),
    }
    return record_lib.make(
      **fields
      | record_lib.describe_model(network.architecture)
      | record_lib.describe_params(network.params)
      | dict(network.fields),
      parents=[parent],
      run_id=run_id,
      split='train',
      split_group=run_id,
    )


def dense(
  layers: Iterable[tuple[Float[np.ndarray, 'i o'], np.ndarray | None]], *, path: str = 'layer'
) -> typing.Params:
  """Dense layers as 'layer0/kernel', 'layer0/bias', ... with zeros for a bias that is None.

  Raises:
    ValueError: if a kernel is not a matrix.
  """
  params = {}
  for i, (kernel, bias) in enumerate(layers):
    if kernel.ndim != 2:
      raise ValueError(f'the kernel of dense layer {i} is not a matrix; it has {kernel.shape}')
    params[f'{path}{i}/kernel'] = np.ascontiguousarray(kernel)
    params[f'{path}{i}/bias'] = np.zeros(kernel.shape[1], np.float32) if bias is None else bias
  return params
