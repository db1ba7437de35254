"""Merging of checkpoints that are larger than memory: tensor by tensor, from file to file.

Bytes are read with `pread` rather than mapped, so that memory holds what is worked on and nothing
else. Methods that treat every weight by itself see one piece of a tensor after another.
"""

import collections
import contextlib
import dataclasses
import hashlib
import json
import math
import os
import pathlib
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any

import numpy as np

from wsjax import files
from wsjax.fusion import methods
from wsjax.fusion import recipe as recipe_lib
from wsjax.interop import hub, safetensors
from wsjax.zoo.store import safetensors_io

_WEIGHTS = 'model.safetensors'
# Files that stand beside the weights of a model and are no weights.
_BESIDE = (
  'config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json',
  'tokenizer.model', 'special_tokens_map.json', 'added_tokens.json', 'vocab.json', 'merges.txt',
)  # fmt: skip
_PIECE = 1 << 18  # Weights of a piece: few enough to stay in the cache of a processor.
_CODES = {dtype: code for code, dtype in safetensors_io.DTYPES.items()}


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """Tensors in files; none is read before it is asked for.

  Attributes:
    path: as it was given.
    tensors: name -> (file descriptor, place).
    metadata: of its first file.
  """

  path: str
  tensors: Mapping[str, tuple[int, safetensors_io.Tensor]]
  metadata: Mapping[str, str]

  def dtype(self, name: str) -> np.dtype:
    """The type of a tensor."""
    return self.tensors[name][1].dtype

  def shape(self, name: str) -> tuple[int, ...]:
    """The shape of a tensor."""
    return self.tensors[name][1].shape

  def read(self, name: str, start: int, stop: int, buffer: np.ndarray | None = None) -> np.ndarray:
    """Weights [start, stop) of a tensor, flat; in a buffer of bytes that is large enough."""
    descriptor, place = self.tensors[name]
    size = place.dtype.itemsize
    length = (stop - start) * size
    made = np.empty(length, np.uint8) if buffer is None else buffer[:length]
    view, at = memoryview(made), place.start + start * size
    done = 0
    while done < len(view):  # A call gives at most 2 GiB.
      count = os.preadv(descriptor, [view[done:]], at + done)
      if not count:
        raise ValueError(f'{self.path} became shorter while {name} was read.')
      done += count
    return made.view(place.dtype)


@contextlib.contextmanager
def opened(path: pathlib.Path | str) -> Iterator[Checkpoint]:
  """Opens a .safetensors file, or a folder of a model: one file, or several with their index.

  Raises:
    ValueError: naming the file, if it is not there or cannot be read.
  """
  with contextlib.ExitStack() as stack:
    tensors: dict[str, tuple[int, safetensors_io.Tensor]] = {}
    metadata: Mapping[str, str] = {}
    for file in reversed(_files(pathlib.Path(path))):
      descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
      stack.callback(os.close, descriptor)
      size = os.fstat(descriptor).st_size
      head = os.pread(descriptor, 8, 0)
      length = safetensors_io.check_length(head, size, str(file))
      head += os.pread(descriptor, length, 8)
      header = safetensors_io.parse(memoryview(head), size, str(file), safetensors.check_name)
      for name, place in header.tensors.items():
        if name in tensors:
          raise ValueError(f'{path}: the tensor {name!r} is in two files.')
        tensors[name] = descriptor, place
      metadata = header.metadata
    yield Checkpoint(str(path), tensors, metadata)


def _files(path: pathlib.Path) -> list[pathlib.Path]:
  """The files of a model, sorted."""
  if path.is_file():
    if path.suffix != '.safetensors':
      raise ValueError(f'{path} is no .safetensors file; read it with a model (--model) instead.')
    return [path]
  if not path.is_dir():
    raise ValueError(f'There is no {path}; models are files or folders on this machine.')
  if (path / hub.INDEX).exists():
    return [path / name for name in sorted(set(hub.read_index(path / hub.INDEX).values()))]
  if (path / _WEIGHTS).exists():
    return [path / _WEIGHTS]
  raise ValueError(f'{path} holds neither {_WEIGHTS} nor {hub.INDEX}.')


def merge_files(
  recipe: recipe_lib.Recipe, out: pathlib.Path | str, *, seed: int = 0
) -> pathlib.Path:
  """Merges checkpoints into a new one; memory holds one tensor of each at a time.

  Args:
    recipe: what to merge; its models are files or folders of safetensors.
    out: a .safetensors file, or a folder, which also gets the config and the tokenizer of the base
      or the first model.
    seed: of methods that drop weights at random.

  Returns:
    The file that was written. Its metadata say how it was made, with digests of its parents.

  Raises:
    ValueError: if a tensor is missing or of another shape in one of the models, an option is
      missing, or there is something at `out` already. Nothing is written then.
  """
  out = pathlib.Path(out)
  is_file = out.suffix == '.safetensors'
  if not files.is_free(out) or (is_file and out.exists()):
    raise ValueError(f'{out} is there already; nothing is overwritten.')
  target = out if is_file else out / _WEIGHTS
  with contextlib.ExitStack() as stack:
    sources = {model: stack.enter_context(opened(model)) for model in recipe.models}
    steps = list(recipe_lib.plan(recipe, {m: list(c.tensors) for m, c in sources.items()}))
    if not steps:
      raise ValueError('The recipe gives a network without tensors.')
    kinds = [_check(step, sources, recipe) for step in steps]
    is_new = not target.parent.exists()
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
      with files.replacing(target) as file:
        _write(file, recipe, steps, kinds, sources, seed)
    except BaseException:
      if is_new:
        with contextlib.suppress(OSError):
          target.parent.rmdir()
      raise
  if not is_file:
    first = pathlib.Path(recipe.base or recipe.models[0])
    for name in _BESIDE if first.is_dir() else ():
      if (first / name).is_file():
        shutil.copyfile(first / name, out / name)
  safetensors_io.sync_folder(target.parent)
  return target


def _check(
  step: recipe_lib.Step, sources: Mapping[str, Checkpoint], recipe: recipe_lib.Recipe
) -> tuple[np.dtype, tuple[int, ...]]:
  """Type and shape of a merged tensor."""
  places = [*step.inputs, *([step.base] if step.base else [])]
  shapes = {model: sources[model].shape(name) for model, name in places}
  if len(set(shapes.values())) > 1:
    shown = ', '.join(f'{list(shape)} in {model}' for model, shape in shapes.items())
    raise ValueError(f'{step.name} has different shapes: {shown}.')
  model, name = step.base or step.inputs[0]
  dtype = sources[model].dtype(name)
  if is_float(dtype) and (wanted := recipe.out_dtype or recipe.dtype):
    dtype = safetensors_io.DTYPES[_CODE_OF[wanted]]
  return dtype, sources[model].shape(name)


_CODE_OF = {'float32': 'F32', 'float16': 'F16', 'bfloat16': 'BF16', 'float64': 'F64'}


def is_float(dtype: np.dtype) -> bool:
  """Whether numbers of a type are merged; others are copied."""
  return dtype.kind == 'f' or dtype.name in ('bfloat16', 'float8_e4m3fn', 'float8_e5m2')


def _write(
  file: Any,
  recipe: recipe_lib.Recipe,
  steps: Sequence[recipe_lib.Step],
  kinds: Sequence[tuple[np.dtype, tuple[int, ...]]],
  sources: Mapping[str, Checkpoint],
  seed: int,
) -> None:
  """Writes header and tensors; the digests of the parents are filled in at the end."""
  digests = {model: '0' * 64 for model in sources}
  header = _header(recipe, steps, kinds, sources, digests)
  file.write(header)
  with _Digests(sources) as hashes:
    for number, (step, (dtype, _)) in enumerate(zip(steps, kinds, strict=True)):
      for piece in _merged(step, sources, recipe, hashes, np.random.default_rng([seed, number])):
        file.write(memoryview(np.ascontiguousarray(piece.astype(dtype, copy=False)).view(np.uint8)))
    found = hashes.finish()
  final = _header(recipe, steps, kinds, sources, found)
  assert len(final) == len(header)
  file.seek(0)
  file.write(final)


def _header(
  recipe: recipe_lib.Recipe,
  steps: Sequence[recipe_lib.Step],
  kinds: Sequence[tuple[np.dtype, tuple[int, ...]]],
  sources: Mapping[str, Checkpoint],
  digests: Mapping[str, str],
) -> bytes:
  """The length of the header, and the header."""
  lineage = {
    'merge': {
      'method': recipe.method,
      'parents': [
        {'relation': 'merge', 'name': pathlib.Path(model).name, 'tensor_digest': digests[model],
         'base': model == recipe.base}
        for model in sources
      ],
    }
  }  # fmt: skip
  metadata = {'wsjax': json.dumps(lineage)}
  if (layout := next(iter(sources.values())).metadata.get('format')) in ('pt', 'flax', 'np'):
    metadata['format'] = layout
  entries: dict[str, Any] = {'__metadata__': metadata}
  start = 0
  for step, (dtype, shape) in zip(steps, kinds, strict=True):
    stop = start + math.prod(shape) * dtype.itemsize
    entries[step.name] = {
      'dtype': _CODES[dtype], 'shape': list(shape), 'data_offsets': [start, stop]
    }  # fmt: skip
    start = stop
  text = json.dumps(entries, separators=(',', ':')).encode()
  text += b' ' * (-len(text) % 8)
  if len(text) > safetensors_io.MAX_HEADER_BYTES:
    raise ValueError(f'The merged network has {len(steps)} tensors, too many for one file.')
  return struct.pack('<Q', len(text)) + text


def _merged(
  step: recipe_lib.Step,
  sources: Mapping[str, Checkpoint],
  recipe: recipe_lib.Recipe,
  hashes: '_Digests',
  rng: np.random.Generator,
) -> Iterator[np.ndarray]:
  """Yields the pieces of a merged tensor."""
  rule = methods.METHODS[recipe.method]
  places = [*step.inputs, *([step.base] if step.base else [])]
  model, name = step.base or step.inputs[0]
  shape, size = sources[model].shape(name), math.prod(sources[model].shape(name))
  floats = is_float(sources[model].dtype(name))
  length = _PIECE if rule.elementwise or not floats else max(size, 1)
  # Two buffers for each network: while one is filled, the digest of the other may be computed.
  buffers = [
    [np.empty(min(length, size) * sources[m].dtype(n).itemsize, np.uint8) for _ in range(2)]
    if length < size
    else [None, None]
    for m, n in places
  ]
  for start in range(0, size, length):
    stop, turn = min(start + length, size), start // length % 2
    raw = [
      sources[m].read(n, start, stop, pair[turn])
      for (m, n), pair in zip(places, buffers, strict=True)
    ]
    for (m, n), piece in dict(zip(places, raw, strict=True)).items():
      hashes.add(m, n, piece, start)
    if not floats:
      if any(not np.array_equal(raw[0], other) for other in raw[1:]):
        kind = sources[model].dtype(name)
        raise ValueError(f'{step.name} is of type {kind}, and differs between the networks.')
      yield raw[-1]
      continue
    tensors = [as_float(piece, recipe.dtype) for piece in raw]
    if length == size:
      tensors = [piece.reshape(shape) for piece in tensors]
    base = tensors.pop() if step.base else None
    try:
      merged = methods.merge(recipe.method, tensors, base, step.each, step.shared, rng)
    except ValueError as error:
      raise ValueError(f'{step.name}: {error}') from error
    yield merged.reshape(-1)


def as_float(value: np.ndarray, dtype: str | None = None) -> np.ndarray:
  """Weights in the type that is computed with, rounded to `dtype` before."""
  if dtype is not None and dtype not in ('float32', 'float64'):
    value = value.astype(safetensors_io.DTYPES[_CODE_OF[dtype]])
  wide = value.dtype == np.float64 and dtype in (None, 'float64') or dtype == 'float64'
  return value.astype(np.float64 if wide else np.float32, copy=False)


class _Digests:
  """SHA-256 of the tensors of every parent, as `digest.of_tensors`, beside the merging itself.

  Tensors come sorted by name. Of a parent that is not read once from end to end, such as one of
  which some layers are taken, the rest is read for it.
  """

  def __init__(self, sources: Mapping[str, Checkpoint]):
    self._sources = sources
    self._hashers = {model: hashlib.sha256() for model in sources}
    self._names = {
      model: collections.deque(sorted(source.tensors)) for model, source in sources.items()
    }
    self._open: dict[str, str] = {}
    self._pool = {model: futures.ThreadPoolExecutor(1) for model in sources}
    self._last: dict[str, futures.Future] = {}

  def __enter__(self) -> '_Digests':
    return self

  def __exit__(self, *_: object) -> None:
    for pool in self._pool.values():
      pool.shutdown(wait=True, cancel_futures=True)

  def add(self, model: str, name: str, piece: np.ndarray, start: int) -> None:
    """Takes a piece of a tensor, if it is the next one of its network."""
    if start == 0:
      if not self._names[model] or self._names[model][0] != name:
        return
      self._names[model].popleft()
      self._open[model] = name
      self._begin(model, name)
    elif self._open.get(model) != name:
      return
    if model in self._last:  # One piece waits at most.
      self._last[model].result()
    self._last[model] = self._pool[model].submit(
      self._hashers[model].update, np.ascontiguousarray(piece).view(np.uint8)
    )

  def _begin(self, model: str, name: str) -> None:
    if model in self._last:
      self._last[model].result()
    source = self._sources[model]
    head = f'{json.dumps([name, source.dtype(name).name, list(source.shape(name))])}\n'
    self._hashers[model].update(head.encode())

  def finish(self) -> dict[str, str]:
    """Model -> digest."""
    for model, names in self._names.items():
      source = self._sources[model]
      while names:
        name = names.popleft()
        self._begin(model, name)
        size = math.prod(source.shape(name))
        for start in range(0, size, _PIECE):
          self._hashers[model].update(
            source.read(name, start, min(start + _PIECE, size)).view(np.uint8)
          )
      if model in self._last:
        self._last[model].result()
    return {model: hasher.hexdigest() for model, hasher in self._hashers.items()}
