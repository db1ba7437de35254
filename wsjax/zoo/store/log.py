"""The log of a zoo that is being built, append-only and transactional, and what it belongs to.

One LMDB value per checkpoint, itself a safetensors file with the record as its metadata.
"""

import dataclasses
import errno
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import lmdb

from wsjax import files, typing
from wsjax.zoo.store import digest, safetensors_io
from wsjax.zoo.store import record as record_lib

NAME = 'build.json'


def check_plan(path: pathlib.Path, plan: Mapping[str, Any], *, parts: Sequence[str]) -> None:
  """Raises ValueError unless a folder is free, or holds what a plan builds.

  Args:
    path: of the folder.
    plan: seed and section of the zoo.
    parts: names of what a folder with a zoo holds besides the plan.
  """
  if not (path / NAME).exists():
    if any((path / part).exists() for part in parts):
      problem = f'a zoo without {NAME}, so not one trained from a config'
      raise ValueError(f'{path} holds {problem}; give another folder.')
    return
  try:
    old = _flat(files.read_json(path / NAME))
  except (ValueError, AttributeError) as error:
    raise ValueError(f'{path / NAME} is broken: {error}.') from error
  new = _flat(json.loads(json.dumps(plan)))
  changes = [
    f'{k} is {new.get(k, "absent")!r} and was {old.get(k, "absent")!r}'
    for k in sorted(old | new)
    if old.get(k, ...) != new.get(k, ...)
  ]
  if changes:
    advice = 'It is left as it is; give another folder, such as with --config.zoo.path=DIR.'
    raise ValueError(f'{path} holds a zoo of another config: {", ".join(changes)}. {advice}')


def write_plan(path: pathlib.Path, plan: Mapping[str, Any]) -> None:
  """Writes a plan; it is either there or absent. For one writer at a time."""
  path.mkdir(parents=True, exist_ok=True)
  files.replace(path / NAME, json.dumps(plan, indent=2))


def _flat(plan: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Nested keys joined by dots, as a config has them."""
  flat = {}
  for key, value in plan.items():
    if isinstance(value, Mapping):
      flat |= _flat(value, prefix + ('zoo.' if key == 'section' else f'{key}.'))
    else:
      flat[prefix + key] = value
  return flat


KEY = re.compile(r'[A-Za-z0-9_./=-]{1,200}')
# Address space, not disk: the file grows as it is filled.
FIRST_MAP_BYTES = 1 << 28


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
  """One checkpoint: its key in the log, its weights, its record."""

  key: str
  params: typing.Params
  record: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
  """Checkpoints of one architecture.

  Attributes:
    keys: [n].
    params: path -> [n, ...].
    records: [n].
    texts: [n] canonical JSON of the records.
  """

  keys: Sequence[str]
  params: typing.StackedParams
  records: Sequence[Mapping[str, Any]]
  texts: Sequence[bytes]


class Log:
  """An append-only log of checkpoints in a folder, which is made if it is not there; a context.

  Raises:
    ValueError: if the folder holds something that is not a log.
    OSError: if it cannot be written.
  """

  def __init__(self, path: pathlib.Path | str):
    self.path = pathlib.Path(path)
    self.path.mkdir(parents=True, exist_ok=True)
    for path in (self.path, self.path / 'data.mdb', self.path / 'lock.mdb'):
      if path.is_symlink():
        raise ValueError(f'{path} is a symbolic link; nothing is written through it.')
    _check_readable(self.path)
    try:
      self._environment = lmdb.open(str(self.path), map_size=FIRST_MAP_BYTES)
      self._environment.reader_check()  # Readers that were killed.
    except lmdb.Error as error:
      raise ValueError(f'{self.path} is not a readable log: {error}.') from error

  def __enter__(self) -> 'Log':
    return self

  def __exit__(self, *_: object) -> None:
    self._environment.close()

  def __len__(self) -> int:
    return self._environment.stat()['entries']

  def append(self, entries: Sequence[Entry]) -> None:
    """Adds checkpoints in one transaction: when it returns all are on the disk, or none.

    Keys sort as text, and a zoo is published in that order, so pad their numbers with zeros.

    Raises:
      ValueError: for a key that is there already or not allowed, an invalid record, or weights that
        are not those of their record.
      OSError: if the disk is full; what was there before stays as it was.
    """
    items = [(entry.key.encode(), _encode(entry)) for entry in entries]
    while True:
      try:
        with self._environment.begin(write=True) as transaction:
          for key, value in items:
            if not transaction.put(key, value, overwrite=False):
              raise ValueError(
                f'{self.path} has an entry {key.decode()!r} already; a log is only added to.'
              )
        return
      except lmdb.MapFullError:
        self._environment.set_mapsize(2 * self._environment.info()['map_size'])
      except lmdb.Error as error:
        raise OSError(
          _errno(error),
          f'{self.path} could not take {len(items)} entries, which are lost; '
          f'the {len(self)} before them are intact: {error}',
        ) from error

  def keys(self) -> list[str]:
    """Keys of all entries, sorted."""
    try:
      with self._environment.begin() as transaction:
        return [bytes(key).decode() for key in transaction.cursor().iternext(values=False)]
    except (lmdb.Error, UnicodeDecodeError) as error:
      raise ValueError(f'{self.path} is not a readable log: {error}.') from error

  def read(self, key: str) -> tuple[Entry, bytes]:
    """The entry of a key, and canonical JSON of its record.

    Raises:
      ValueError: if there is none, or it is not as it was written.
    """
    try:
      with self._environment.begin() as transaction:
        value = transaction.get(key.encode())
    except lmdb.Error as error:
      raise ValueError(f'{self.path} entry {key!r} is corrupt: {error}') from error
    if value is None:
      raise ValueError(f'{self.path} has no entry {key!r}; it has {len(self)} others.')
    try:
      params, text = safetensors_io.unpack(value, 'its value')
      content = _record_text(key, text.encode())
      record = digest.parse_json(content)
      if record['tensor_digest'] != digest.of_tensors(params):
        raise ValueError('its weights have another digest than its record.')
    except ValueError as error:
      raise ValueError(f'{self.path} entry {key!r} is corrupt: {error}') from error
    return Entry(key, params, record), content


# A file that is mapped into memory and shorter than it says ends its reader with a signal.
_READ_ALL = """
import sys, lmdb
with lmdb.open(sys.argv[1], readonly=True, lock=False) as environment:
  with environment.begin() as transaction:
    for key, value in transaction.cursor():
      sum(value[::512])
"""


def _check_readable(path: pathlib.Path) -> None:
  """Reads a log in a process of its own, which damage may end; raises ValueError if it does."""
  data = path / 'data.mdb'
  if not data.exists() or not data.stat().st_size:
    return
  words = [sys.executable, '-I', '-c', _READ_ALL, str(path)]
  done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
  if done.returncode:
    said = done.stderr.decode(errors='replace').strip() or 'it ends its reader'
    advice = 'Move it away; its networks are trained again.'
    raise ValueError(f'{path} is not a readable log: {said.splitlines()[-1]}. {advice}')


def _encode(entry: Entry) -> bytes:
  """The value of an entry; raises ValueError unless it is valid."""
  if not KEY.fullmatch(entry.key):
    raise ValueError(f'Log key {entry.key[:80]!r} is not allowed; it must match {KEY.pattern}.')
  try:
    content = record_lib.validate(entry.record)
    record_lib.check_params(entry.record, entry.params)
    text = b'%s%s%s' % (_head(entry.key), content, _tail(content))
    return safetensors_io.pack(entry.params, text.decode())
  except ValueError as error:
    raise ValueError(f'Entry {entry.key!r} was refused: {error}') from error


# The metadata of a value are canonical JSON of the key, the record and the digest of its text. They
# are put together and taken apart as text: reading spells no record again to verify it.


def _head(key: str) -> bytes:
  return f'{{"key":"{key}","record":'.encode()


def _tail(content: bytes) -> bytes:
  return f',"sha256":"{hashlib.sha256(content).hexdigest()}"}}'.encode()


def _record_text(key: str, text: bytes) -> bytes:
  """The record inside metadata; raises ValueError if a byte was changed."""
  head = _head(key)
  content = text[len(head) : -len(_tail(b''))]
  if text != head + content + _tail(content):
    raise ValueError('its record or key was changed.')
  return content


def _errno(error: lmdb.Error) -> int:
  """The system's error number in what LMDB says; EIO if it says none."""
  text = str(error)
  for number in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EFBIG):
    if os.strerror(number) in text:
      return number
  return errno.EIO
