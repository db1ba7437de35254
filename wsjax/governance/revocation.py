"""Signed lists of what was taken down, honoured without a network.

A list is a file with one envelope. What it names is refused by `verify`: a record, the weights of a
network, a generator or a zoo, and every release that has it among its contents or its ancestors.
"""

import datetime
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from wsjax import files
from wsjax.governance import signing

if TYPE_CHECKING:
  from securesystemslib import signer as signer_lib

TYPE = 'application/vnd.wsjax.revocations+json'
_ID = re.compile(r'(?:[a-z0-9_]+:)?([0-9a-f]{64})')
_SCHEMA = {
  'type': 'object',
  'required': ['number', 'issued_at', 'revoked'],
  'additionalProperties': False,
  'properties': {
    'number': {'type': 'integer', 'minimum': 1},
    'issued_at': {'type': 'string'},
    'revoked': {
      'type': 'array',
      'items': {
        'type': 'object',
        'required': ['id', 'reason', 'at'],
        'additionalProperties': False,
        'properties': {
          'id': {'type': 'string', 'pattern': f'^{_ID.pattern}$'},
          'reason': {'type': 'string', 'minLength': 1},
          'at': {'type': 'string'},
        },
      },
    },
  },
}


def digest_of(id: str) -> str:
  """The SHA-256 in an id: of a record, 'wsr1:...', of a zoo or generator, 'name:...', or alone.

  Raises:
    ValueError: if it has none.
  """
  if not (found := _ID.fullmatch(id)):
    raise ValueError(f'{id[:100]!r} is no id: it has to end in a SHA-256 of 64 hexadecimal digits.')
  return found[1]


def revoke(
  ids: Iterable[str], reason: str, key: pathlib.Path | str, path: pathlib.Path | str
) -> dict[str, Any]:
  """Adds ids to a list, which is made if it is not there, and signs it again.

  Args:
    ids: as `digest_of` takes them.
    reason: why, for those who are refused; a list may be started without ids and reason.
    key: private key; an older list has to be signed by it.
    path: of the list.

  Returns:
    What the list says now.

  Raises:
    ValueError: if an id is none, there is no reason, or the older list is not to be trusted.
  """
  ids, path, signer = list(ids), pathlib.Path(path), signing.private_key(key)
  if ids and not reason.strip():
    raise ValueError('A revocation needs a reason.')
  value = {'number': 0, 'revoked': []}
  if path.exists():
    value = read(path, [signer.public_key])
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
  known = {digest_of(entry['id']) for entry in value['revoked']}
  added = [{'id': id, 'reason': reason, 'at': now} for id in ids if digest_of(id) not in known]
  value = {'number': value['number'] + 1, 'issued_at': now, 'revoked': [*value['revoked'], *added]}
  files.replace(path, signing.sign(value, TYPE, signer))
  return value


def read(path: pathlib.Path | str, keys: Sequence['signer_lib.SSlibKey']) -> dict[str, Any]:
  """Reads a list.

  Returns:
    'number', which grows by one with every change; 'issued_at'; 'revoked': 'id', 'reason' and 'at'
    of each.

  Raises:
    ValueError: if it is not a list that one of the keys signed.
    OSError: if it cannot be read.
  """
  return signing.verify(files.read_bytes(path), TYPE, keys, path, _SCHEMA)


def reasons(lists: Iterable[dict[str, Any]]) -> dict[str, str]:
  """SHA-256 of what is revoked -> reason, of several lists."""
  return {
    digest_of(entry['id']): f'{entry["id"]} was revoked on {entry["at"]}: {entry["reason"]}'
    for value in lists
    for entry in value['revoked']
  }
