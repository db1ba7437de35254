"""Repositories of the Hugging Face Hub: downloaded, in the cache, or a folder."""

import json
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from wsjax import files, terminal
from wsjax.interop import checkpoint, safetensors, torch_archive

INDEX = 'model.safetensors.index.json'
_SCHEMA = {
  'type': 'object',
  'required': ['weight_map'],
  'properties': {
    'weight_map': {
      'type': 'object', 'minProperties': 1, 'additionalProperties': {'type': 'string'}
    }
  },
}  # fmt: skip
_REPOSITORY = re.compile(r'[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)?')
_WANTED = ['*.safetensors', '*.json', 'pytorch_model.bin', '*.npz', '*.onnx']
_CARD = ('optimizer', 'objective', 'task', 'steps', 'batch_size', 'precision', 'n_params', 'split')


def download(name: str) -> pathlib.Path:
  """Brings a repository into the cache of huggingface_hub, and returns its folder.

  Args:
    name: 'OWNER/NAME' or 'OWNER/NAME@REVISION'; with HF_HUB_OFFLINE=1 the cache alone is asked.

  Raises:
    ValueError: if the library is not installed, or there is no such repository.
  """
  repository, _, revision = name.partition('@')
  if not _REPOSITORY.fullmatch(repository):
    raise ValueError(f'{name[:100]!r} is no repository of the Hub; write hub:OWNER/NAME.')
  try:
    import huggingface_hub
  except ImportError:
    raise checkpoint.missing('huggingface_hub', 'A repository of the Hub') from None
  try:
    folder = huggingface_hub.snapshot_download(
      repository, revision=revision or None, allow_patterns=_WANTED
    )
  except Exception as error:  # Of HTTP, of the cache, of the file system.
    raise ValueError(f'hub:{name} cannot be had: {str(error).splitlines()[0]}.') from error
  return pathlib.Path(folder)


def read(path: pathlib.Path, id: str) -> Iterator[checkpoint.Checkpoint]:
  """Reads a folder with model.safetensors, its parts by an index, or pytorch_model.bin."""
  record = {}
  if (path / 'config.json').exists():
    record = {'hub': files.read_json(path / 'config.json')}
  if (path / INDEX).exists():
    places = read_index(path / INDEX)
    tensors: dict[str, np.ndarray] = {}
    layout = None
    for name in sorted(set(places.values())):
      (part,) = safetensors.read(path / name, id)
      layout = layout or part.layout
      tensors.update(part.tensors)
    if tensors.keys() != places.keys():
      raise ValueError(f'{path / INDEX} does not list the tensors that its files hold.')
  else:
    file = path / 'model.safetensors'
    reader = safetensors if file.exists() else torch_archive
    (found,) = reader.read(file if file.exists() else path / 'pytorch_model.bin', id)
    tensors, layout = dict(found.tensors), found.layout
  yield checkpoint.Checkpoint(id, tensors, layout, str(path), record)


def read_index(path: pathlib.Path) -> dict[str, str]:
  """Tensor -> file in the folder of an index that holds it.

  Raises:
    ValueError: naming the index, if it is none or names a file elsewhere.
  """
  places = files.read_json(path, schema=_SCHEMA)['weight_map']
  for name in places.values():
    if name in ('', '.', '..') or pathlib.PurePosixPath(name).name != name:
      raise ValueError(f'{path} names {name[:80]!r}, which is not in its folder.')
  return places


def write(
  path: pathlib.Path, tensors: Mapping[str, np.ndarray], record: Mapping[str, Any] | None
) -> None:
  """Writes a folder that can be uploaded: weights, config and a card made from the record."""
  path.mkdir(parents=True, exist_ok=True)
  record = record or {}
  safetensors.write(path / 'model.safetensors', tensors, {'format': 'pt'})
  names = ('arch_id', 'arch_config', 'activation', 'record_id')
  config = {name: record.get(name) for name in names}
  files.replace(path / 'config.json', json.dumps(config, indent=2, sort_keys=True))
  files.replace(path / 'README.md', card(record))


def card(record: Mapping[str, Any]) -> str:
  """The card of a network, from its record; what is not known is left out."""
  # In JSON, which YAML contains, so that a text of a stranger stays a text.
  head = {'library_name': 'wsjax', 'license': record.get('license') or 'unknown'}
  lines = ['---', *(f'{name}: {json.dumps(value)}' for name, value in head.items()), '---', '']
  lines += [f'# {text(record.get("arch_id") or "Network")}', '']
  lines += ['| field | value |', '| --- | --- |']
  for name in _CARD:
    value = record.get(name)
    if value is not None:
      shown = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
      lines.append(f'| {name} | {text(shown)} |')
  for entry in record.get('final') or []:
    lines.append(f'| {text(entry["metric"])} ({entry["split"]}) | {entry["value"]} |')
  for dataset in record.get('datasets') or []:
    lines.append(f'| data | {text(dataset["name"])} ({text(dataset["license"] or "unknown")}) |')
  for line in record.get('attribution') or []:
    lines.append(f'| attribution | {text(line)} |')
  lines += ['', f'Record `{record.get("record_id")}`, weights `{record.get("tensor_digest")}`.', '']
  lines += ['Written by wsjax from the checkpoint record; nothing was added by hand.', '']
  return '\n'.join(lines)


def text(value: Any) -> str:
  """Text of a stranger as Markdown that is only text."""
  return re.sub(r'([\\`*_{}\[\]<>()#+!|~])', r'\\\1', ' '.join(terminal.plain(str(value)).split()))
