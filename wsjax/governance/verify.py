"""Verifies releases: every byte is the signed one, by a key that the reader trusts.

It fails closed: what is missing, unknown, added or spelled in another way is an error. It imports
neither JAX nor NumPy.
"""

import concurrent.futures
import dataclasses
import datetime
import hashlib
import os
import pathlib
import stat
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rfc8785

from wsjax import config as config_lib
from wsjax import files
from wsjax.governance import revocation, signing

if TYPE_CHECKING:
  from securesystemslib import signer as signer_lib

PAYLOAD_TYPE = 'application/vnd.in-toto+json'
STATEMENT_TYPE = 'https://in-toto.io/Statement/v1'
PREDICATE_TYPE = 'https://slsa.dev/provenance/v1'
BUILD_TYPES = ('urn:wsjax:generator:v1', 'urn:wsjax:zoo:v1')
# Files of every release.
ATTESTATION, BYTES_SIGNATURE, LINEAGE = 'provenance.intoto.jsonl', 'model.sig', 'lineage.json'
DECISIONS = 'decisions.jsonl'
REVOKED = 'revoked.jsonl'  # The list of the publisher when it was released.
DECISION_TYPE = 'application/vnd.wsjax.gate+json'
_MODEL_SIGNING = 'https://model_signing/signature/v1.0'
_SHA256 = {'type': 'string', 'pattern': '^[0-9a-f]{64}$'}
_DIGEST = {'type': 'object', 'properties': {'sha256': _SHA256, 'gitCommit': {'type': 'string'}}}
_STATEMENT = {
  'type': 'object',
  'required': ['_type', 'subject', 'predicateType', 'predicate'],
  'additionalProperties': False,
  'properties': {
    '_type': {'const': STATEMENT_TYPE},
    'predicateType': {'const': PREDICATE_TYPE},
    'subject': {
      'type': 'array',
      'minItems': 1,
      'items': {
        'type': 'object',
        'required': ['name', 'digest'],
        'additionalProperties': False,
        'properties': {
          'name': {'type': 'string', 'minLength': 1},
          'digest': {
            'type': 'object',
            'required': ['sha256'],
            'additionalProperties': False,
            'properties': {'sha256': _SHA256},
          },
        },
      },
    },
    'predicate': {
      'type': 'object',
      'required': ['buildDefinition', 'runDetails'],
      'properties': {
        'buildDefinition': {
          'type': 'object',
          'required': ['buildType', 'externalParameters', 'resolvedDependencies'],
          'properties': {
            'buildType': {'enum': list(BUILD_TYPES)},
            'externalParameters': {'type': 'object'},
            'resolvedDependencies': {
              'type': 'array',
              'items': {
                'type': 'object',
                'required': ['name', 'digest'],
                'properties': {'name': {'type': 'string'}, 'digest': _DIGEST},
              },
            },
          },
        },
        'runDetails': {'type': 'object'},
      },
    },
  },
}
_LINEAGE = {
  'type': 'object',
  'required': ['nodes', 'edges'],
  'properties': {
    'nodes': {
      'type': 'array',
      'items': {
        'type': 'object',
        'required': ['id', 'digests'],
        'properties': {
          'id': {'type': 'string'},
          'digests': {'type': 'array', 'items': {'type': 'string'}},
        },
      },
    },
    'edges': {
      'type': 'array',
      'items': {
        'type': 'array', 'minItems': 3, 'maxItems': 3, 'items': {'type': 'string'}
      },
    },
  },
}  # fmt: skip
_DECISION = {
  'type': 'object',
  'required': ['gate', 'status', 'override', 'checks'],
  'properties': {
    'gate': {'type': 'string'},
    'status': {'enum': ['pass', 'fail', 'override']},
    'checks': {'type': 'array', 'minItems': 1},
    'override': {
      'type': ['object', 'null'],
      'required': ['name', 'reason', 'expires'],
      'properties': {
        'name': {'type': 'string', 'minLength': 1},
        'reason': {'type': 'string', 'minLength': 1},
        'expires': {'type': 'string', 'pattern': r'^\d{4}-\d{2}-\d{2}$'},
      },
    },
  },
}
_DEPTH = 32
_THREADS = 4
_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Verified:
  """A release whose every byte is the signed one.

  Attributes:
    key_id: of the key that signed it.
    files: name -> SHA-256 of every file but the attestation.
    num_bytes: of these files.
    statement: how it was made, as in-toto and SLSA say it.
    revocation_lists: number of each list that was looked into.
  """

  key_id: str
  files: Mapping[str, str]
  num_bytes: int
  statement: Mapping[str, Any]
  revocation_lists: tuple[int, ...] = ()

  @property
  def build(self) -> Mapping[str, Any]:
    """Build definition: type, parameters, and what it was made from."""
    return self.statement['predicate']['buildDefinition']


def verify(
  path: pathlib.Path | str,
  keys: Sequence[pathlib.Path | str],
  *,
  revocations: Sequence[pathlib.Path | str] = (),
) -> Verified:
  """Verifies a release.

  Args:
    path: of its folder.
    keys: public keys, PEM, that the reader trusts and did not get with the release.
    revocations: lists that are signed by one of the keys.

  Raises:
    ValueError: if the folder holds anything but the signed files, or one of them is not as it was
      signed; no trusted key signed it; something in it, or that it was made from, was revoked; or
      the extra `provenance` is not installed.
    OSError: if a file cannot be read.
  """
  if not keys:
    raise ValueError('No trusted key is given; a release cannot vouch for itself.')
  return check(pathlib.Path(path), [signing.public_key(key) for key in keys], revocations)


def check(
  path: pathlib.Path,
  trusted: Sequence['signer_lib.SSlibKey'],
  revocations: Sequence[pathlib.Path | str] = (),
) -> Verified:
  """Verifies a release with keys that are read already; as `verify`."""
  # Before the release is read: a list that cannot be trusted must not pass for an empty one.
  lists = [revocation.read(name, trusted) for name in revocations]
  sizes = _walk(path)
  if ATTESTATION not in sizes:
    raise ValueError(
      f'{path} has no {ATTESTATION}: it is no release, or its signature was removed.'
    )
  content = _read(path / ATTESTATION)
  statement = signing.verify(content, PAYLOAD_TYPE, trusted, path / ATTESTATION, _STATEMENT)
  signed = {subject['name']: subject['digest']['sha256'] for subject in statement['subject']}
  if len(signed) < len(statement['subject']) or ATTESTATION in signed:
    raise ValueError(f'{path / ATTESTATION} names a file twice, or itself.')
  present = sizes.keys() - {ATTESTATION}
  if missing := sorted(signed.keys() - present):
    raise ValueError(f'{path} lacks {missing[0]!r}, which is signed; {len(missing)} are missing.')
  if added := sorted(present - signed.keys()):
    raise ValueError(f'{path} has {added[0]!r}, which is not signed; {len(added)} were added.')
  found = _hash(path, {name: sizes[name] for name in signed})
  for name, digest in signed.items():
    if found[name] != digest:
      raise ValueError(f'{path / name} was changed: its SHA-256 is {found[name]}, not {digest}.')
  (key,) = [key for key in trusted if key.keyid == _key_id(content)][:1]
  if signing.kind(key) == 'p256':
    _check_model_signing(path, key, found)
  if DECISIONS in found:
    _check_decisions(path / DECISIONS, trusted)
  if REVOKED in found:
    lists.append(revocation.read(path / REVOKED, trusted))
  _check_lineage(path, statement, found, revocation.reasons(lists))
  return Verified(
    key.keyid,
    found,
    sum(sizes[name] for name in signed),
    statement,
    tuple(value['number'] for value in lists),
  )


def merkle_root(ids: Iterable[str]) -> str:
  """Root of a Merkle tree over the ids of records, in the order of the ids.

  Source: RFC 6962, section 2.1.
  """

  def root(level: list[bytes]) -> bytes:
    while len(level) > 1:
      pairs = [
        hashlib.sha256(b'\1' + a + b).digest()
        for a, b in zip(level[::2], level[1::2], strict=False)
      ]
      level = pairs + level[2 * len(pairs) :]
    return level[0] if level else hashlib.sha256().digest()

  return root([hashlib.sha256(b'\0' + id.encode()).digest() for id in sorted(ids)]).hex()


def members(lineage: Mapping[str, Any], zoo: str) -> list[str]:
  """Ids of the records that a lineage says are in a zoo."""
  return [
    parent for child, relation, parent in lineage['edges'] if (child, relation) == (zoo, 'contains')
  ]


def _walk(root: pathlib.Path) -> dict[str, int]:
  """Size of every file of a folder, by its relative name; ValueError for anything else in it."""
  if root.is_symlink() or not root.is_dir():
    raise ValueError(f'{root} is not a folder, or only a link to one.')
  sizes: dict[str, int] = {}

  def walk(folder: str, prefix: str) -> None:
    with os.scandir(folder) as entries:
      is_empty = True
      for entry in entries:
        is_empty = False
        name = f'{prefix}{entry.name}'
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
          if name.count('/') >= _DEPTH:
            raise ValueError(f'{root} has folders more than {_DEPTH} deep.')
          walk(entry.path, f'{name}/')
        elif stat.S_ISREG(found.st_mode):
          sizes[name] = found.st_size
        else:
          kind = 'a link' if stat.S_ISLNK(found.st_mode) else 'no regular file'
          raise ValueError(f'{root} has {name!r}, which is {kind}; a release has files only.')
      if prefix and is_empty:
        raise ValueError(f'{root} has an empty folder {prefix!r}, which was not signed.')

  walk(os.fspath(root), '')
  return sizes


def _open(path: pathlib.Path) -> Any:
  flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
  return open(path, 'rb', buffering=0, opener=lambda name, _: os.open(name, flags))


def _read(path: pathlib.Path) -> bytes:
  with _open(path) as file:
    if os.fstat(file.fileno()).st_size > files.MAX_BYTES:
      raise ValueError(f'{path} is too long to be what it is named.')
    return file.readall()


def hash_file(path: pathlib.Path) -> str:
  """SHA-256 of a file that is no link."""
  hasher, block = hashlib.sha256(), bytearray(_BLOCK)
  with _open(path) as file:
    while count := file.readinto(block):
      hasher.update(memoryview(block)[:count])
  return hasher.hexdigest()


def _hash(root: pathlib.Path, sizes: Mapping[str, int]) -> dict[str, str]:
  """SHA-256 of every file, several at once; the largest first."""
  names = sorted(sizes, key=lambda name: -sizes[name])
  if sum(sizes.values()) < 4 * _BLOCK:  # Threads take longer to start than this to be hashed.
    return {name: hash_file(root / name) for name in names}
  with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
    return dict(zip(names, pool.map(lambda name: hash_file(root / name), names), strict=True))


def _key_id(content: bytes) -> str:
  return files.parse_json(content, 'The attestation')['signatures'][0]['keyid']


def _check_model_signing(
  path: pathlib.Path, key: 'signer_lib.SSlibKey', found: Mapping[str, str]
) -> None:
  """Raises ValueError unless the OpenSSF signature is of all files but the signatures.

  Its bytes are signed by the attestation, so that only what it says is to be checked.
  """
  dsse = config_lib.require('securesystemslib.dsse')
  where = path / BYTES_SIGNATURE
  if BYTES_SIGNATURE not in found:
    raise ValueError(f'{path} has no {BYTES_SIGNATURE}, which releases with keys of its kind have.')
  try:
    bundle = files.parse_json(_read(where), where)
    outer = dict(bundle['dsseEnvelope'])
    (signature,) = outer['signatures']
    # The format does not name the key here.
    outer['signatures'] = [{'keyid': key.keyid, 'sig': signature['sig']}]
    envelope = dsse.Envelope.from_dict(outer)
  except Exception as error:  # Of several libraries.
    raise ValueError(f'{where} is no signature of OpenSSF model signing.') from error
  signing.check(envelope, [key], where)
  inner = files.parse_json(envelope.payload, f'What is signed in {where}')
  try:
    resources = inner['predicate']['resources']
    signed = {item['name']: item['digest'] for item in resources}
    sound = (
      inner['_type'] == STATEMENT_TYPE
      and inner['predicateType'] == _MODEL_SIGNING
      and envelope.payload_type == PAYLOAD_TYPE
      and {item['algorithm'] for item in resources} == {'sha256'}
      and len(signed) == len(resources)
    )
  except (KeyError, TypeError) as error:
    raise ValueError(f'{where} is no signature of OpenSSF model signing.') from error
  if not sound or signed != {k: v for k, v in found.items() if k != BYTES_SIGNATURE}:
    raise ValueError(f'{where} is the signature of other files.')


def _check_decisions(path: pathlib.Path, trusted: Sequence['signer_lib.SSlibKey']) -> None:
  """Raises ValueError for a gate that did not pass and whose override does not hold today."""
  today = datetime.datetime.now(datetime.UTC).date().isoformat()
  for line in _read(path).splitlines(keepends=True):
    decision = signing.verify(line, DECISION_TYPE, trusted, path, _DECISION)
    override = decision['override']
    if decision['status'] == 'pass':
      continue
    if decision['status'] != 'override' or override is None:
      raise ValueError(f'{path}: the gate {decision["gate"]} did not pass.')
    if override['expires'] < today:
      raise ValueError(
        f'{path}: the override of the gate {decision["gate"]} by {override["name"]} expired on '
        f'{override["expires"]}.'
      )


def _check_lineage(
  path: pathlib.Path,
  statement: Mapping[str, Any],
  found: Mapping[str, str],
  revoked: Mapping[str, str],
) -> None:
  """Raises ValueError if the lineage contradicts the statement, or has what was revoked."""
  where = path / LINEAGE
  lineage = files.parse_json(_read(where), where, schema=_LINEAGE)
  build = statement['predicate']['buildDefinition']
  for source in build['resolvedDependencies']:
    if source['name'].startswith('zoo:'):
      root = merkle_root(members(lineage, source['name']))
      if source['digest'].get('sha256') != root:
        raise ValueError(f'{where} has other records of {source["name"]} than were attested.')
  if (config := build['externalParameters'].get('config_sha256')) is not None:
    run = files.read_json(path / 'run.json')
    if hashlib.sha256(rfc8785.dumps(run['config'])).hexdigest() != config:
      raise ValueError(f'{path / "run.json"} has another config than was attested.')
  if not revoked:
    return
  named = [*found.values(), *(source['name'] for source in build['resolvedDependencies'])]
  for node in lineage['nodes']:
    named += [node['id'], *node['digests']]
  for name in named:
    if reason := revoked.get(name.rpartition(':')[2]):
      raise ValueError(f'{path} must not be used: {reason}.')
