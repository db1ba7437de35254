"""Checkpoints: networks as files hold them, whatever the format."""

import dataclasses
import glob
import importlib
import itertools
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

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
  if isinstance(paths, Checkpoint):
    yield paths
  elif isinstance(paths, Mapping):
    for id, tensors in paths.items():
      arrays = {name: np.asarray(array) for name, array in layout_lib.flat(tensors)}
      yield Checkpoint(str(id), arrays, None, f'network {id!r}')
  elif isinstance(paths, str | os.PathLike):
    yield from _from_path(os.fspath(paths))
  else:
    for path in paths:
      yield from checkpoints(path)


def _from_path(path: str) -> Iterator[Checkpoint]:
  if path.startswith(HUB):
    from wsjax.interop import hub

    yield from _read(hub.download(path.removeprefix(HUB)), path)
    return
  if glob.has_magic(path) and not os.path.exists(path):
    found = natural(glob.glob(path, recursive=True))
    if not found:
      raise ValueError(f'No file matches {path}.')
    yield from _many(found, os.path.dirname(path))
    return
  place = pathlib.Path(path)
  if not place.exists():
    raise ValueError(f'There is no {path}.')
  if place.is_dir() and _reader(place) is None:
    names = [name for name in natural(os.listdir(place)) if _reader(place / name) is not None]
    yield from _many([os.path.join(path, name) for name in names], path)
  else:
    yield from _read(place, place.stem)


def _many(paths: list[str], where: str) -> Iterator[Checkpoint]:
  """Reads many files; their ids are their paths below the folder that they share."""
  if not paths:
    raise ValueError(f'{where} holds no checkpoint; known are {", ".join(_SUFFIXES)} and folders.')
  start = len(os.path.commonpath({os.path.dirname(path) for path in paths}))
  for path in paths:
    yield from _read(pathlib.Path(path), os.path.splitext(path)[0][start:].lstrip('/'))


def _read(path: pathlib.Path, id: str) -> Iterator[Checkpoint]:
  name = _reader(path)
  if name is None:
    raise ValueError(f'{path} is of no known format; known are {", ".join(_SUFFIXES)}.')
  yield from importlib.import_module(f'wsjax.interop.{name}').read(path, id)


def _reader(path: pathlib.Path) -> str | None:
  """The module that reads a file or a folder; None if there is none."""
  if path.suffix in _SUFFIXES and not os.path.isdir(path):
    return _SUFFIXES[path.suffix]
  return next((module for name, module in _FOLDERS.items() if (path / name).exists()), None)


def natural(names: Iterable[str]) -> list[str]:
  """Sorts names so that 'run10' comes behind 'run9'."""

  def key(name: str) -> list[Any]:
    return [(0, int(x), '') if x.isdecimal() else (1, 0, x) for x in re.split('([0-9]+)', name)]

  return sorted(names, key=key)


def missing(library: str, purpose: str) -> ValueError:
  """The error for a library of the extra that is not installed."""
  return ValueError(f"{purpose} needs {library}: pip install 'wsjax[interop]'.")
