"""What all importers share: reading arrays with an index, writing a zoo.

A folder of foreign networks has one `.npz` file with arrays named '<id>:<parameter>', and
`index.json` with one entry per network.
"""

import dataclasses
import json
import pathlib
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.zoo.store import digest, store
from wsjax.zoo.store import record as record_lib

INDEX = 'index.json'


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
  """A foreign network in this project's layout.

  Attributes:
    id: its name where it came from.
    architecture: what it is.
    params: its weights, float32.
    source: address of repository, commit and file.
    detail: what its publisher says about it. 'task', 'algorithm' and 'score' are what `targets`
      reads.
    fields: of its record, besides those that follow from the above.
  """

  id: str
  architecture: model_lib.Model
  params: typing.Params
  source: str
  detail: Mapping[str, Any]
  fields: Mapping[str, Any]


def read(
  folder: pathlib.Path | str, name: str, *, required: Iterable[str]
) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
  """Reads every network of a folder; no pickles.

  Args:
    folder: with the arrays and `index.json`.
    name: file with the arrays.
    required: keys that every entry of the index must have.

  Yields:
    (entry of the index, parameter -> float32 array).

  Raises:
    ValueError: if a file is missing or broken; an entry lacks a key; arrays are missing, of no
      entry, not finite, of another dtype or another number of weights than the entry says.
  """
  folder = pathlib.Path(folder)
  entries = _index(folder / INDEX, {'id', 'n_params', *required})
  arrays = _arrays(folder / name)
  for entry in entries:
    prefix = f'{entry["id"]}:'
    params = {
      key.removeprefix(prefix): arrays.pop(key)
      for key in [key for key in arrays if key.startswith(prefix)]
    }
    if (found := sum(a.size for a in params.values())) != entry['n_params']:
      raise ValueError(
        f'{folder / name} has {found} weights of {entry["id"]!r}; {INDEX} says {entry["n_params"]}.'
      )
    for key, shape in entry.get('layers', {}).items():
      if key not in params or list(params[key].shape) != list(shape):
        raise ValueError(
          f'{folder / name} has no array {prefix + key!r} of shape {shape}, which {INDEX} lists.'
        )
    yield entry, params
  if arrays:
    raise ValueError(
      f'{folder / name} has array {sorted(arrays)[0]!r}, which is of no network in {INDEX}.'
    )


def publish(
  networks: Iterable[Network], out: pathlib.Path | str, *, license: str, attribution: str
) -> store.Zoo:
  """Writes foreign networks as a zoo.

  All are in split 'train': what is foreign to a model that learns from this zoo is for that model's
  user to decide.

  Args:
    networks: what to write.
    out: folder of the zoo.
    license: SPDX expression of the weights, where `fields` has no other.
    attribution: whom the licence asks to name.

  Returns:
    The zoo, its weights verified.

  Raises:
    ValueError: if `out` holds a zoo, or a network does not fit its architecture.
  """
  out = pathlib.Path(out)
  entries = [
    store.Entry(
      network.id, network.params, _record(network, license=license, attribution=attribution)
    )
    for network in networks
  ]
  out.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory() as folder:
    with store.Log(pathlib.Path(folder) / 'log.lmdb') as log:
      log.append(entries)
      zoo = store.publish(log, out)
  zoo.check()
  return zoo


def dense(
  layers: Iterable[tuple[np.ndarray, np.ndarray | None]], *, path: str = 'layer'
) -> typing.Params:
  """Dense layers in the layout of the plug-ins.

  Args:
    layers: kernel [in, out] and bias [out] each. None is a layer without a bias, which becomes one
      of zeros: the same function.
    path: prefix of the names.

  Returns:
    'layer0/kernel', 'layer0/bias', ...
  """
  params = {}
  for i, (kernel, bias) in enumerate(layers):
    params[f'{path}{i}/kernel'] = np.ascontiguousarray(kernel)
    if bias is None:
      bias = np.zeros(kernel.shape[1], np.float32)
    params[f'{path}{i}/bias'] = bias
  return params


def _index(file: pathlib.Path, required: set[str]) -> list[dict[str, Any]]:
  """Entries of an index."""
  if not file.is_file():
    raise ValueError(f'{file} is missing: not a folder of foreign networks.')
  try:
    entries = digest.parse_json(file.read_text())
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{file} is broken: {error}.') from error
  if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
    raise ValueError(f'{file} must hold a list of objects.')
  seen = set()
  for number, entry in enumerate(entries):
    if missing := sorted(required - set(entry)):
      raise ValueError(f'{file} entry {number} lacks key {missing[0]!r}.')
    if entry['id'] in seen:
      raise ValueError(f'{file} has two entries with id {entry["id"]!r}.')
    seen.add(entry['id'])
  return entries


def _arrays(file: pathlib.Path) -> dict[str, np.ndarray]:
  """All arrays of an .npz file; finite float32."""
  if not file.is_file():
    raise ValueError(f'{file} is missing: not a folder of foreign networks.')
  try:
    with np.load(file, allow_pickle=False) as archive:
      arrays = {name: archive[name] for name in archive.files}
  except (ValueError, OSError, zipfile.BadZipFile, AttributeError) as error:
    raise ValueError(f'{file} is broken: {error}.') from error
  for name, array in arrays.items():
    if array.dtype != np.float32 or not np.isfinite(array).all():
      raise ValueError(f'{file} array {name!r} must be finite float32; it is {array.dtype}.')
  return arrays


def _record(network: Network, *, license: str, attribution: str) -> dict[str, Any]:
  """The record of a foreign network; what nobody has told is null."""
  run_id = f'{network.source}:{network.id}'
  fields = {
    'objective': None,
    'optimizer': None,
    'batch_size': None,
    'steps': None,
    'step': None,
    'seed': None,
    'precision': 'float32',
    'config_sha256': None,
    'code': None,
    'packages': None,
    'trace': [],
    'final': [],
    'diverged': False,
    'datasets': [],
    'license': license,
    'license_effective': license,
    'attribution': [attribution],
    'redistributable': True,
    'screens': [],
  }
  return record_lib.make(
    **fields
    | record_lib.describe_architecture(network.architecture)
    | record_lib.describe_params(network.params)
    | dict(network.fields),
    parents=[
      {
        'record_id': None,
        'external_ref': run_id,
        'relation': 'checkpoint_of',
        'detail': json.loads(json.dumps(dict(network.detail))),
      }
    ],
    run_id=run_id,
    split='train',
    split_group=run_id,
  )
