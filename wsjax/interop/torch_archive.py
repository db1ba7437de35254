"""State dicts of PyTorch (.pt, .pth, .bin) without PyTorch.

Such a file is an archive with a pickle that builds dicts of tensors, and one entry of bytes for
each storage. A pickle is a program; here its instructions are read one by one, only those that
build plain values are followed, and the few names that it may call are rebuilt as data: no code of
the file, or named by it, is ever run.

Source: torch/serialization.py and torch/_utils.py of PyTorch; pickletools of Python.
"""

import collections
import math
import pathlib
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from wsjax.interop import checkpoint

_MAX_PICKLE = 1 << 24
_MAX_NAMES = 1 << 20  # Of tensors in one file.
_MAX_DEPTH = 16
_DTYPES = {
  'FloatStorage': np.dtype('<f4'),
  'DoubleStorage': np.dtype('<f8'),
  'HalfStorage': np.dtype('<f2'),
  'BFloat16Storage': np.dtype(ml_dtypes.bfloat16),
  'LongStorage': np.dtype('<i8'),
  'IntStorage': np.dtype('<i4'),
  'ShortStorage': np.dtype('<i2'),
  'CharStorage': np.dtype('i1'),
  'ByteStorage': np.dtype('u1'),
  'BoolStorage': np.dtype('?'),
}
_CALLS = (
  'collections OrderedDict',
  'torch._utils _rebuild_tensor_v2',
  'torch._utils _rebuild_parameter',
)
# Where a training script keeps the network beside its optimizer.
_STATE_DICTS = ('state_dict', 'model_state_dict', 'model', 'net', 'params', 'policy', 'module')
_VALUES = (
  'BINUNICODE', 'SHORT_BINUNICODE', 'BININT', 'BININT1', 'BININT2', 'LONG1', 'BINFLOAT',
)  # fmt: skip
_CONSTANTS = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False}
_EMPTY = {'EMPTY_DICT': dict, 'EMPTY_LIST': list, 'EMPTY_TUPLE': tuple}


class _Name(NamedTuple):
  """A name that the pickle may call."""

  text: str


class _Storage(NamedTuple):
  """An entry of the archive."""

  key: str
  dtype: np.dtype


class _Mark:
  """Where the arguments of an instruction begin on the stack."""


_MARK = _Mark()


def read(path: pathlib.Path, id: str) -> Iterator[checkpoint.Checkpoint]:
  """Reads the state dict of a file.

  Raises:
    ValueError: naming the file: it is not such an archive, its pickle does more than building
      dicts of tensors, a tensor reaches beyond its storage, or there are several state dicts.
  """
  try:
    if not path.is_file():
      raise ValueError('it is not a regular file')
    with open(path, 'rb') as head:
      if head.read(2) != b'PK':
        raise ValueError('it is no archive; save it again with PyTorch 1.6 or newer')
    with zipfile.ZipFile(path) as archive:
      tensors = _tensors(archive)
  except (
    ValueError, LookupError, TypeError, ArithmeticError, EOFError, RecursionError, RuntimeError,
    NotImplementedError, OSError, struct.error, zipfile.BadZipFile, zlib.error,
  ) as error:  # fmt: skip
    raise ValueError(f'{path} cannot be read: {error or type(error).__name__}.') from error
  yield checkpoint.Checkpoint(id, tensors, 'torch', str(path))


def _tensors(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
  members = {member.filename: member for member in archive.infolist()}
  pickles = [name for name in members if name.split('/')[1:] == ['data.pkl']]
  if len(pickles) != 1 or len(members) < len(archive.infolist()):
    raise ValueError('it has not one data.pkl, as files of torch.save have')
  root = pickles[0].removesuffix('data.pkl')
  if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
    raise ValueError('it is compressed, which files of torch.save are not')
  if sum(member.file_size for member in members.values()) > archive.fp.seek(0, 2):
    raise ValueError('its entries are longer than the file')
  if members[pickles[0]].file_size > _MAX_PICKLE:
    raise ValueError(f'its pickle is longer than {_MAX_PICKLE} bytes')
  order = f'{root}byteorder'
  if order in members and archive.read(order) != b'little':
    raise ValueError('its byte order is not little')
  content: dict[str, np.ndarray] = {}

  def storage(found: _Storage) -> np.ndarray:
    name = f'{root}data/{found.key}'
    if name not in content:
      content[name] = np.frombuffer(archive.read(name), np.uint8)
    return content[name].view(found.dtype)

  # Views of their storages: shared weights stay shared, and nothing is copied.
  found = _state_dict(_load(archive.read(pickles[0])))
  return {name: _view(tensor, storage(tensor.storage)) for name, tensor in found.items()}


class _Tensor(NamedTuple):
  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


def _view(tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
  """The values of a tensor; raises ValueError if they are not all in its storage."""
  sizes = (*tensor.shape, *tensor.strides, tensor.offset)
  if any(type(n) is not int or n < 0 for n in sizes) or len(tensor.shape) != len(tensor.strides):
    raise ValueError('a tensor has a shape that is no shape')
  reach = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
  count = math.prod(tensor.shape)
  if count and (tensor.offset + reach >= len(storage) or count > len(storage)):
    raise ValueError(f'a tensor of shape {tensor.shape[:8]} reaches beyond its storage')
  if not count:
    return np.zeros(tensor.shape, storage.dtype)
  strides = [stride * storage.itemsize for stride in tensor.strides]
  view = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides)
  return np.asarray(view, order='C')


def _state_dict(value: Any) -> dict[str, _Tensor]:
  """The tensors of the network in what a script saved, by their names."""
  if not isinstance(value, dict):
    raise ValueError(f'it holds a {type(value).__name__}, not a state dict')
  nested = [name for name in _STATE_DICTS if isinstance(value.get(name), dict)]
  if nested and not any(isinstance(item, _Tensor) for item in value.values()):
    if len(nested) > 1:
      raise ValueError(f'it holds several networks: {", ".join(nested)}; save one of them alone')
    value = value[nested[0]]
  found: dict[str, _Tensor] = {}

  def collect(item: Any, name: str, depth: int) -> None:
    if isinstance(item, _Tensor):
      found[name] = item
    elif isinstance(item, dict | list | tuple) and not isinstance(item, _Name | _Storage):
      if depth > _MAX_DEPTH or len(found) > _MAX_NAMES:
        raise ValueError('it is nested too deeply')
      # What holds itself many times grows without bound, so each is met once.
      if item and id(item) in met:
        raise ValueError('it holds one dict twice')
      met.add(id(item))
      pairs = item.items() if isinstance(item, dict) else enumerate(item)
      for key, part in pairs:
        collect(part, f'{name}.{key}' if name else str(key), depth + 1)

  met: set[int] = set()
  collect(value, '', 0)
  if not found:
    raise ValueError('it holds no tensors')
  return found


def _load(content: bytes) -> Any:
  """The value that a pickle builds, of dicts, lists, tuples, numbers, texts and tensors."""
  stack: list[Any] = []
  memo: dict[int, Any] = {}

  def marked() -> list[Any]:
    start = max(i for i, item in enumerate(stack) if item is _MARK)
    items = stack[start + 1 :]
    del stack[start:]
    return items

  def set_items(items: list[Any]) -> None:
    target = stack[-1]
    if type(target) not in (dict, collections.OrderedDict) or len(items) % 2:
      raise ValueError('its pickle sets items of something that is no dict')
    for key, value in zip(items[::2], items[1::2], strict=True):
      if not isinstance(key, str | int):
        raise ValueError('its pickle has a dict whose keys are no names')
      target[key] = value

  for opcode, argument, _ in pickletools.genops(content):
    match opcode.name:
      case 'PROTO' | 'FRAME':
        pass
      case 'STOP':
        return stack.pop()
      case 'MARK':
        stack.append(_MARK)
      case name if name in _VALUES:
        stack.append(argument)
      case name if name in _CONSTANTS:
        stack.append(_CONSTANTS[name])
      case name if name in _EMPTY:
        stack.append(_EMPTY[name]())
      case 'TUPLE':
        stack.append(tuple(marked()))
      case 'TUPLE1' | 'TUPLE2' | 'TUPLE3' as name:
        count = int(name[-1])
        stack[-count:] = [tuple(stack[-count:])]
      case 'GLOBAL':
        stack.append(_name(argument))
      case 'STACK_GLOBAL':
        module, attribute = stack.pop(-2), stack.pop()
        if not isinstance(module, str) or not isinstance(attribute, str):
          raise ValueError('its pickle wants something that is no name')
        stack.append(_name(f'{module} {attribute}'))
      case 'BINPUT' | 'LONG_BINPUT':
        memo[argument] = stack[-1]
      case 'MEMOIZE':
        memo[len(memo)] = stack[-1]
      case 'BINGET' | 'LONG_BINGET':
        stack.append(memo[argument])
      case 'BINPERSID':
        stack.append(_storage(stack.pop()))
      case 'SETITEM':
        value, key = stack.pop(), stack.pop()
        set_items([key, value])
      case 'SETITEMS':
        set_items(marked())
      case 'APPEND' | 'APPENDS' as name:
        items = marked() if name == 'APPENDS' else [stack.pop()]
        if type(stack[-1]) is not list:
          raise ValueError('its pickle appends to something that is no list')
        stack[-1].extend(items)
      case 'REDUCE':
        arguments = stack.pop()
        stack.append(_call(stack.pop(), arguments))
      case 'BUILD':  # The attributes of an OrderedDict: versions of modules.
        stack.pop()
        if type(stack[-1]) is not collections.OrderedDict:
          raise ValueError('its pickle sets attributes')
      case name:
        raise ValueError(f'its pickle has the instruction {name}, which no state dict needs')
  raise ValueError('its pickle has no end')


def _name(text: str) -> _Name:
  module, _, attribute = text.partition(' ')
  if text not in _CALLS and (module != 'torch' or attribute not in _DTYPES):
    raise ValueError(
      f'its pickle wants {text[:80]!r}; only tensors and dicts of them are '
      'read; save net.state_dict()'
    )
  return _Name(text)


def _storage(value: Any) -> _Storage:
  kind, name, key, *_ = value
  if kind != 'storage' or not isinstance(name, _Name) or not isinstance(key, str):
    raise ValueError('its pickle has a reference that is no storage')
  return _Storage(key, _DTYPES[name.text.removeprefix('torch ')])


def _call(function: Any, arguments: Any) -> Any:
  """What a call of an allowed name means, as data."""
  if not isinstance(function, _Name) or not isinstance(arguments, tuple):
    raise ValueError('its pickle calls something that is no name')
  match function.text:
    case 'collections OrderedDict' if not arguments:
      return collections.OrderedDict()
    case 'torch._utils _rebuild_tensor_v2':
      storage, offset, shape, strides = arguments[:4]
      if isinstance(storage, _Storage) and isinstance(shape, tuple) and isinstance(strides, tuple):
        return _Tensor(storage, offset, shape, strides)
    case 'torch._utils _rebuild_parameter' if isinstance(arguments[0], _Tensor):
      return arguments[0]
  raise ValueError(f'its pickle calls {function.text!r} in an unusual way')
