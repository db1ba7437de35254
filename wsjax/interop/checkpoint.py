"""Checkpoints: networks as files hold them, whatever the format."""

import dataclasses
import glob
import importlib
import itertools
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from wsjax.interop import layout as layout_lib

# Suffix -> module of this room that reads it.
_SUFFIXES = {
  '.safetensors': 'safetensors',
  '.npz': 'npz',
  '.pt': 'torch_archive',
  '.pth': 'torch_archive',
  '.bin': 'torch_archive',
  '.ckpt': 'torch_archive',
  '.onnx': 'onnx',
}
# File by which a folder is known -> module that reads the folder; the first that is there counts.
_FOLDERS = {
  'adapter_config.json': 'peft',
  'model.safetensors.index.json': 'hub',
  'model.safetensors': 'hub',
  'pytorch_model.bin': 'hub',
  '_METADATA': 'orbax',
  '_CHECKPOINT_METADATA': 'orbax',
  'index_dict.json': 'model_zoo',
}
HUB = 'hub:'
_DIGITS = re.compile('([0-9]+)')


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
  """One network as a file holds it.

  Attributes:
    id: name of the network in its source.
    tensors: name -> array, of any dtype.
    layout: of the tensors; see `layout.Layout`.
    where: its file.
    record: fields of its record that the source tells.
    run: inputs [b, ...] -> outputs, where the file holds the function, too.
    model: of an adapter or another network that says by itself what it computes.
  """

  id: str
  tensors: Mapping[str, np.ndarray]
  layout: layout_lib.Layout
  where: str
  record: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  run: Callable[[np.ndarray], np.ndarray] | None = None
  model: Any = None


def read(path: pathlib.Path | str) -> dict[str, np.ndarray]:
  """Reads the tensors of one network, as they are in the file.

  Args:
    path: of a .safetensors, .npz, .pt or .onnx file; of a folder of Orbax, PEFT or the Hugging Face
      Hub; or 'hub:OWNER/NAME', which is downloaded or found in the cache.

  Raises:
    ValueError: naming the file, if it cannot be read or holds several networks.
    OSError: if there is no such file.
  """
  found = list(itertools.islice(checkpoints(path), 2))
  if len(found) != 1:
    raise ValueError(f'{path} holds several networks; import_checkpoints takes them all.')
  return {name: np.array(array) for name, array in found[0].tensors.items()}


def checkpoints(paths: Any) -> Iterator[Checkpoint]:
  """Reads networks one after another.

  Args:
    paths: a path as in `read`, also of a folder with many such files; a pattern such as
      'ckpts/*.safetensors'; a mapping from ids to tensors, already read; a `Checkpoint`; or an
      iterable of these.

  Yields:
    Networks; only one of them is in memory.

  Raises:
    ValueError: naming the file that cannot be read, or if there is none.
  """
  for found in _found(paths):
    yield from [found] if isinstance(found, Checkpoint) else _read(found)


@dataclasses.dataclass(frozen=True, eq=False)
class Stack:
  """Networks whose tensors have equal names, shapes and dtypes.

  Attributes:
    ids: [n] names in their source.
    tensors: name -> [n, ...].
    layout: as of `Checkpoint`.
    where: [n] files.
    records: [n] known fields of the records.
    run: as of `Checkpoint`, of the first network.
    model: as of `Checkpoint`.
  """

  ids: Sequence[str]
  tensors: Mapping[str, np.ndarray]
  layout: layout_lib.Layout
  where: Sequence[str]
  records: Sequence[Mapping[str, Any]]
  run: Callable[[np.ndarray], np.ndarray] | None = None
  model: Any = None


def stacks(paths: Any) -> Iterator[Stack]:
  """Reads networks as `checkpoints` does, those that follow each other and are alike at once.

  So what files have in common is looked into once, which is most of the time of small ones. At most
  `MAX_ROWS` networks or `MAX_BYTES` bytes are in memory.
  """
  pending: list[Checkpoint] = []
  for is_plain, group in itertools.groupby(_found(paths), lambda x: _kind(x) == 'safetensors'):
    if is_plain:
      from wsjax.interop import safetensors  # It imports this module.

      yield from safetensors.read_stacks(group)
      continue
    for found in group:
      for read in [found] if isinstance(found, Checkpoint) else _read(found):
        if pending and (_alike(pending[0]) != _alike(read) or len(pending) >= _rows(read)):
          yield _stack(pending)
          pending = []
        pending.append(read)
    if pending:
      yield _stack(pending)
      pending = []


MAX_ROWS = 1000
MAX_BYTES = 1 << 25


def _alike(found: Checkpoint) -> Any:
  """Equal for networks of one `Stack`."""
  arrays = [(name, array.shape, array.dtype) for name, array in found.tensors.items()]
  return arrays, str(found.layout), id(found.model), found.run is None


def _rows(found: Checkpoint) -> int:
  """How many networks like this may be in a stack."""
  if found.run is not None or found.model is not None:
    return 1
  size = sum(array.nbytes for array in found.tensors.values())
  return min(MAX_ROWS, max(1, MAX_BYTES // max(1, size)))


def _stack(found: Sequence[Checkpoint]) -> Stack:
  first = found[0]
  tensors = {
    name: array[None] if len(found) == 1 else np.stack([each.tensors[name] for each in found])
    for name, array in first.tensors.items()
  }
  ids, where = [each.id for each in found], [each.where for each in found]
  records = [each.record for each in found]
  return Stack(ids, tensors, first.layout, where, records, first.run, first.model)


class Source(NamedTuple):
  """A file or folder: its path, the id of its network, the module of this room that reads it."""

  path: str
  id: str
  reader: str


def _kind(found: Checkpoint | Source) -> str | None:
  return found.reader if isinstance(found, Source) else None


def sources(paths: Any) -> list[Checkpoint | Source]:
  """The networks of `checkpoints`, files not yet read; any of them may take the place of a path.

  Raises:
    ValueError: if there is none, or a file of no known format is named.
  """
  return list(_found(paths))


def _found(paths: Any) -> Iterator[Checkpoint | Source]:
  """Every network of `checkpoints`, files not yet read."""
  if isinstance(paths, Checkpoint | Source):
    yield paths
  elif isinstance(paths, Mapping):
    for id, tensors in paths.items():
      arrays = {name: np.asarray(array) for name, array in layout_lib.flat(tensors)}
      yield Checkpoint(str(id), arrays, None, f'network {id!r}')
  elif isinstance(paths, str | os.PathLike):
    yield from _from_path(os.fspath(paths))
  else:
    for path in paths:
      source = _file(path) if type(path) is str else None
      yield from _found(path) if source is None else (source,)


def _from_path(path: str) -> Iterator[Source]:
  if path.startswith(HUB):
    from wsjax.interop import hub

    folder = str(hub.download(path.removeprefix(HUB)))
    yield _source(folder, _reader(folder), path)
    return
  if source := _file(path):
    yield source
  elif not os.path.exists(path):
    if not glob.has_magic(path):
      raise ValueError(f'There is no {path}.')
    found = natural(glob.glob(path, recursive=True))
    if not found:
      raise ValueError(f'No file matches {path}.')
    yield from _many({name: _reader(name) for name in found}, os.path.dirname(path))
  elif _reader(path) is None and os.path.isdir(path):
    names = [os.path.join(path, name) for name in natural(os.listdir(path))]
    yield from _many({name: reader for name in names if (reader := _reader(name))}, path)
  else:
    yield _source(path, _reader(path), os.path.splitext(os.path.basename(path.rstrip('/')))[0])


def _file(path: str) -> Source | None:
  """A file by itself; most are, and one look at each is enough."""
  stem, suffix = os.path.splitext(path)
  reader = _SUFFIXES.get(suffix)
  if reader is None or not os.path.isfile(path):
    return None
  return Source(path, stem.rpartition('/')[2], reader)


def _many(paths: Mapping[str, str | None], where: str) -> Iterator[Source]:
  """Many files and their readers; their ids are their paths below the folder that they share."""
  if not paths:
    raise ValueError(f'{where} holds no checkpoint; known are {", ".join(_SUFFIXES)} and folders.')
  start = len(os.path.commonpath({os.path.dirname(path) for path in paths}))
  for path, reader in paths.items():
    yield _source(path, reader, os.path.splitext(path)[0][start:].lstrip('/'))


def _source(path: str, reader: str | None, id: str) -> Source:
  if reader is None:
    raise ValueError(f'{path} is of no known format; known are {", ".join(_SUFFIXES)}.')
  return Source(path, id, reader)


def _read(source: Source) -> Iterator[Checkpoint]:
  module = importlib.import_module(f'wsjax.interop.{source.reader}')
  yield from module.read(pathlib.Path(source.path), source.id)


def _reader(path: str) -> str | None:
  """The module that reads a file or a folder; None if there is none."""
  suffix = os.path.splitext(path)[1]
  if suffix in _SUFFIXES and not os.path.isdir(path):
    return _SUFFIXES[suffix]
  folders = _FOLDERS.items()
  return next((module for name, module in folders if os.path.exists(f'{path}/{name}')), None)


def natural(names: Iterable[str]) -> list[str]:
  """Sorts names so that 'run10' comes behind 'run9'."""

  def key(name: str) -> list[Any]:
    parts: list[Any] = _DIGITS.split(name)  # Texts and numbers in turn.
    parts[1::2] = map(int, parts[1::2])
    return parts

  return sorted(names, key=key)


def missing(library: str, purpose: str, *, extra: str = 'interop') -> ValueError:
  """The error for a library of an extra that is not installed."""
  return ValueError(f"{purpose} needs {library}: pip install 'wsjax[{extra}]'.")
