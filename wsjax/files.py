"""Reads, writes and locks files in folders that somebody else may have filled.

A write makes a fresh file and renames it: a file is old or new and never half, and no symbolic link
is followed. A read takes regular files of bounded size only, and JSON that is not ambiguous.
"""

import contextlib
import datetime
import errno
import fcntl
import functools
import hashlib
import io
import json
import math
import os
import pathlib
import re
import socket
import stat
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, BinaryIO, NamedTuple

_NAME = '.lock'
# What a file system says that has no locks.
_UNSUPPORTED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)


@contextlib.contextmanager
def hold(workdir: pathlib.Path | str, *, wait: bool = False) -> Iterator[None]:
  """Holds a folder against other runs while the context lasts.

  The file '.lock' stays: to remove it could let two runs in, each with the lock of a file of that
  name. In a run of several processes only one calls this. A file system without locks gives a
  warning, and no protection.

  Args:
    workdir: created if it does not exist.
    wait: for another run to end, instead of an error.

  Raises:
    ValueError: if another run holds it, or the lock or a folder inside it is a symbolic link.
    OSError: if the file cannot be written.
  """
  from absl import logging  # Slow to import.

  path = pathlib.Path(workdir).absolute() / _NAME
  path.parent.mkdir(parents=True, exist_ok=True)
  check_no_links(path.parent)
  with update(path) as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      holder = f'Another run is writing to {path.parent}: {_holder(path)}.'
      if not wait:
        advice = 'Wait for it to end, stop it, or choose another folder.'
        raise ValueError(f'{holder} {advice}') from None
      logging.warning('%s Waiting for it to end.', holder)
      fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
      if error.errno not in _UNSUPPORTED:
        raise
      text = 'The file system of %s has no locks (%s): another run may write there, too.'
      logging.warning(text, path.parent, error.strerror)
    # Only now: until the lock is ours, the text is that of its holder.
    file.truncate(0)
    now = datetime.datetime.now(datetime.UTC).isoformat('T', 'seconds')
    holder = {'pid': os.getpid(), 'host': socket.gethostname(), 'since': now}
    file.write(json.dumps(holder).encode())
    file.flush()
    yield


def _holder(path: pathlib.Path) -> str:
  """Which process wrote the file; it may be about to."""
  try:
    holder = read_json(path, max_bytes=4096)
    return f'process {holder["pid"]} on {holder["host"]}, since {holder["since"]}'
  except (ValueError, OSError, KeyError, TypeError):
    return 'it has not said which process it is'


# Far more than any file of ours, and little enough to be read into memory.
MAX_BYTES = 1 << 28
MAX_DEPTH = 64
SEAL = 'sha256'
# What may be no finite number or no 64-bit integer; the hooks for it are slow and rarely needed.
_LONG_NUMBER = re.compile(r'[0-9]{16}|[eE]\+?[0-9]{3}')
_SURROGATE = re.compile(r'\\u[dD][89a-fA-F]')


class Line(NamedTuple):
  """An entry of a log: where it stands, how it is spelled, what it says."""

  number: int
  text: bytes
  value: Any


def folder(path: pathlib.Path | str, name: str) -> pathlib.Path:
  """A folder that a user names, read alike by every library that gets it.

  Args:
    path: '~' at its beginning is the home of the user.
    name: of the option, for errors.

  Raises:
    ValueError: for a path that some library takes for something else: an empty one, an address
      such as gs://bucket, one with a backslash or a NUL.
  """
  text = os.fspath(path)
  if not text:
    raise ValueError(f'{name} is empty; it has to be a folder.')
  if re.match(r'[A-Za-z][A-Za-z0-9+.-]*:/', text):  # pathlib makes 'gs:/b' of 'gs://b'.
    raise ValueError(f'{name} is {text!r}, an address; only folders of a mounted disk are allowed.')
  if '\\' in text or '\0' in text:
    raise ValueError(f'{name} is {text!r}; backslashes and NULs are not allowed in it.')
  expanded = os.path.expanduser(text)
  if text[0] == '~' and expanded == text:
    advice = 'write ./~ for a folder so named'
    raise ValueError(f'{name} is {text!r}, and there is no such home; {advice}.')
  return pathlib.Path(expanded)


def is_free(path: pathlib.Path) -> bool:
  """Whether something new may be written: nothing is there, or an empty folder."""
  return not os.path.lexists(path) or (path.is_dir() and not any(path.iterdir()))


def check_no_links(path: pathlib.Path) -> None:
  """Raises ValueError if a folder inside a folder is a symbolic link, which leads elsewhere."""
  for parent, names, _ in os.walk(path):
    for name in sorted(names):
      if os.path.islink(found := os.path.join(parent, name)):
        raise ValueError(
          f'{found} is a symbolic link to a folder; nothing is written through it. Give another '
          'folder, or put a real one in its place.'
        )


def replace(path: pathlib.Path, content: str | bytes) -> None:
  """Puts a file in place of an older one or a symbolic link; for one writer at a time.

  Text is spelled in UTF-8. Raises OSError if it cannot be written; an older file is as it was.
  """
  with replacing(path) as file:
    file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[BinaryIO]:
  """Opens a fresh file in the same folder, put at `path`, as by `replace`, when the context ends.

  After an error it is removed.
  """
  # Always the same name: what a killed process leaves is removed here.
  draft = path.with_name(f'.{path.name}.tmp')
  draft.unlink(missing_ok=True)
  flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
  file = open(draft, 'w+b', opener=lambda name, _: os.open(name, flags, 0o666))
  try:
    with file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    os.replace(draft, path)
  except BaseException:
    with contextlib.suppress(OSError):  # The cause is what counts.
      draft.unlink()
    raise


def update(path: pathlib.Path) -> BinaryIO:
  """Opens a file for reading and for writing at its end; makes it if there is none.

  Raises:
    ValueError: if a symbolic link, or anything but a regular file, has the name.
    OSError: if it cannot be opened.
  """
  flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
  return _regular(path, 'a+b', flags)


def set_aside(path: pathlib.Path, why: object) -> None:
  """Renames a damaged file that only informs, with a warning, so that a new one can begin."""
  from absl import logging  # Slow to import.

  aside, count = path.with_name(f'{path.name}.corrupt'), 1
  while aside.is_symlink() or aside.exists():
    aside, count = path.with_name(f'{path.name}.corrupt{count}'), count + 1
  logging.warning('%s is damaged (%s); it is kept as %s, and a new one begins.', path, why, aside)
  path.rename(aside)


def read_bytes(path: pathlib.Path | str, *, max_bytes: int = MAX_BYTES) -> bytes:
  """Reads a regular file, or one that a symbolic link leads to.

  Raises:
    ValueError: if the file is longer than `max_bytes`, or is a device, a pipe or a folder.
    OSError: if it cannot be read.
  """
  with _regular(path, 'rb', os.O_RDONLY | os.O_NONBLOCK) as file:
    size = os.fstat(file.fileno()).st_size
    if size > max_bytes:
      raise ValueError(f'{path} is {size} bytes long; at most {max_bytes} are read.')
    return file.read(size)  # Not more: as much memory would be taken as is asked for.


def parse_json(
  text: str | bytes,
  where: object,
  *,
  max_depth: int = MAX_DEPTH,
  schema: Mapping[str, Any] | None = None,
  parse_int: Callable[[str], Any] | None = None,
) -> Any:
  """Reads a JSON value that anybody may have written.

  Args:
    text: UTF-8 where it is bytes.
    where: what errors call the text, such as the path of its file.
    max_depth: of lists and objects inside each other.
    schema: JSON schema of the value.
    parse_int: of integers with 16 and more digits; without it those of 64 bits are allowed.

  Raises:
    ValueError: if it is not JSON (NaN, infinity and lone surrogates are not), has a key twice, is
      nested too deeply, holds a number that is not finite or too long, or is not of the schema.
  """
  try:
    text = text.decode() if isinstance(text, bytes) else text
    hooks = {}
    if _LONG_NUMBER.search(text):
      hooks = {'parse_int': parse_int or _integer, 'parse_float': _finite}
    value = json.loads(text, object_pairs_hook=_unique, parse_constant=_constant, **hooks)
    if _SURROGATE.search(text):
      json.dumps(value, ensure_ascii=False).encode()
  except (ValueError, RecursionError) as error:
    problem = error or 'nested too deeply'
    raise ValueError(f'{where} is not JSON that can be read: {problem}.') from error
  level, depth = [value], 0
  while level := [item for item in level if isinstance(item, dict | list)]:
    depth += 1
    if depth > max_depth:
      raise ValueError(f'{where} is nested more than {max_depth} deep.')
    level = [x for item in level for x in (item.values() if isinstance(item, dict) else item)]
  if schema is not None:
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema)
    if error := jsonschema.exceptions.best_match(validator.iter_errors(value)):
      place = '/'.join(map(str, error.absolute_path)) or 'the value'
      raise ValueError(f'{where} is not as it has to be: {place}: {error.message[:300]}.')
  return value


def read_json(path: pathlib.Path | str, *, max_bytes: int = MAX_BYTES, **options: Any) -> Any:
  """Reads a file of JSON that anybody may have written.

  Options and errors are those of `parse_json` and `read_bytes`; every error names the file.
  """
  return parse_json(read_bytes(path, max_bytes=max_bytes), path, **options)


def read_json_lines(
  path: pathlib.Path | str,
  *,
  max_bytes: int = MAX_BYTES,
  is_valid: Callable[[Any], bool] = lambda value: True,
) -> tuple[list[Line], list[int]]:
  """Reads a log, also one that is being written: one JSON value in each line.

  `is_valid` tells whether a value is an entry of this log; errors are those of `read_bytes`.

  Returns:
    The entries, and the numbers of the lines that are none. Empty lines and the beginning of a line
    at the end, where a process was killed, are neither.
  """
  entries, broken = [], []
  lines = read_bytes(path, max_bytes=max_bytes).split(b'\n')
  for number, line in enumerate(lines, 1):
    if not line.strip():
      continue
    try:
      value = parse_json(line, f'line {number} of {path}')
      if not is_valid(value):
        raise ValueError
      entries.append(Line(number, line, value))
    except ValueError:
      if number < len(lines):
        broken.append(number)
  return entries, broken


def read_npz(path: pathlib.Path | str, *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
  """Reads the arrays, name -> array, of an .npz archive that anybody may have written.

  Raises:
    ValueError: if the file is longer than `max_bytes`, packed or unpacked, not regular, or not an
      archive of arrays of numbers.
    OSError: as `read_bytes`.
  """
  content = read_bytes(path, max_bytes=max_bytes)
  arrays = {}
  with _arrays_of(path):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
      members = archive.infolist()
      if sum(member.file_size for member in members) > max_bytes:
        raise ValueError(f'it unpacks to more than {max_bytes} bytes')
      for member in members:
        name = member.filename.removesuffix('.npy')
        if name == member.filename or name in arrays:
          raise ValueError(f'{member.filename!r} is not one array')
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
          raise ValueError(f'{member.filename!r} is compressed in an unusual way')
        with archive.open(member) as file:
          arrays[name] = _array(file)
  return arrays


def read_npy(path: pathlib.Path | str) -> Any:
  """Reads the array of numbers of an .npy file; errors are those of `read_npz`."""
  content = read_bytes(path)
  with _arrays_of(path):
    return _array(io.BytesIO(content))


@contextlib.contextmanager
def _arrays_of(path: pathlib.Path | str) -> Iterator[None]:
  """Makes ValueError, naming the file, of what the libraries raise for damaged ones."""
  try:
    yield
  except (
    ValueError, LookupError, TypeError, ArithmeticError, EOFError, MemoryError, RecursionError,
    RuntimeError, SyntaxError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
  ) as error:  # fmt: skip
    raise ValueError(f'{path} is broken: {error or type(error).__name__}.') from error


def _array(file: IO[bytes]) -> Any:
  """An array in the format of NumPy, as long as its header says."""
  import numpy as np

  version = np.lib.format.read_magic(file)
  if version not in ((1, 0), (2, 0)):
    raise ValueError(f'version {version} of the array format is not known')
  read = getattr(np.lib.format, f'read_array_header_{version[0]}_0')
  shape, is_fortran, dtype = read(file)
  if dtype.hasobject or dtype.itemsize == 0:
    raise ValueError('an array of objects may hold a pickle, which is never loaded')
  content = file.read()
  if min(shape, default=0) < 0 or len(content) != math.prod(shape) * dtype.itemsize:
    raise ValueError(f'an array of shape {shape} has {len(content)} bytes')
  return np.frombuffer(content, dtype).reshape(shape, order='F' if is_fortran else 'C').copy()


def seal(value: Mapping[str, Any], *, sort_keys: bool = True) -> str:
  """The text of a JSON object with a digest of itself under `SEAL`; keys sorted or as they are."""
  value = {name: value[name] for name in value if name != SEAL}
  spell = functools.partial(json.dumps, sort_keys=sort_keys, indent=1, allow_nan=False)
  return spell(value | {SEAL: _seal(json.loads(spell(value)))}) + '\n'


def read_sealed(path: pathlib.Path | str, **options: Any) -> dict[str, Any]:
  """Reads what `seal` gave, without the digest.

  Options and errors are those of `read_json`, and ValueError if the object is not what was sealed.
  """
  value = read_json(path, **options)
  if not isinstance(value, dict) or SEAL not in value:
    raise ValueError(f'{path} is not a JSON object with its {SEAL}.')
  digest = value.pop(SEAL)
  if digest != _seal(value):
    raise ValueError(f'{path} was changed: it does not have the {SEAL} that it states.')
  return value


def _seal(value: Any) -> str:
  text = json.dumps(value, sort_keys=True, separators=(',', ':'))
  return hashlib.sha256(text.encode()).hexdigest()


def _regular(path: pathlib.Path | str, mode: str, flags: int) -> BinaryIO:
  """Opens a regular file; anything else is an error, before it can block."""
  try:
    file = open(path, mode, opener=lambda name, _: os.open(name, flags, 0o666))
  except OSError as error:
    if flags & os.O_NOFOLLOW and error.errno == errno.ELOOP:
      raise ValueError(f'{path} is a symbolic link; nothing is written through it.') from None
    if error.errno in (errno.EISDIR, errno.ENXIO):
      raise ValueError(f'{path} is not a regular file.') from error
    raise
  if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
    file.close()
    raise ValueError(f'{path} is not a regular file.')
  return file


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  value = dict(pairs)
  if len(value) < len(pairs):
    names = [name for name, _ in pairs]
    twice = next(name for name in value if names.count(name) > 1)
    raise ValueError(f'the key {twice[:80]!r} is there twice')
  return value


def _integer(text: str) -> int:
  if len(text) > 20 or not -(1 << 63) <= int(text) < 1 << 64:
    raise ValueError(f'the integer {text[:20]}... is too long')
  return int(text)


def _finite(text: str) -> float:
  if not math.isfinite(value := float(text)):
    raise ValueError(f'the number {text[:40]} is too large')
  return value


def _constant(text: str) -> None:
  raise ValueError(f'{text} is no JSON')
