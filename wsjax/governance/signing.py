"""Keys, and JSON signed in DSSE envelopes with Ed25519 or with ECDSA on the curve P-256.

An envelope is accepted in one spelling only, so that no bit of its file can change unnoticed.

Source: DSSE v1, https://github.com/secure-systems-lab/dsse, as securesystemslib implements it.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rfc8785

from wsjax import config as config_lib
from wsjax import files

if TYPE_CHECKING:
  from securesystemslib import signer as signer_lib

KINDS = ('p256', 'ed25519')
_SCHEMES = {'ecdsa-sha2-nistp256': 'p256', 'ed25519': 'ed25519'}
_MAX_KEY_BYTES = 1 << 14
_TEXT = {'type': 'string'}
_ENVELOPE = {
  'type': 'object',
  'required': ['payload', 'payloadType', 'signatures'],
  'additionalProperties': False,
  'properties': {
    'payload': _TEXT,
    'payloadType': _TEXT,
    'signatures': {
      'type': 'array',
      'minItems': 1,
      'maxItems': 1,
      'items': {
        'type': 'object',
        'required': ['keyid', 'sig'],
        'additionalProperties': False,
        'properties': {'keyid': _TEXT, 'sig': _TEXT},
      },
    },
  },
}


def new_key(path: pathlib.Path | str, kind: str = 'p256') -> tuple[pathlib.Path, pathlib.Path]:
  """Makes a pair of keys: the private one at `path`, for its owner only, the public one beside it.

  Args:
    path: of the private key, PEM; the public key has the suffix '.pub'.
    kind: 'p256', which OpenSSF model signing takes too, or 'ed25519'.

  Returns:
    Both paths.

  Raises:
    ValueError: for another kind, or if one of the files is there.
  """
  if kind not in KINDS:
    raise ValueError(f'Keys are of kind {" or ".join(KINDS)}, not {kind!r}.')
  serialization = config_lib.require('cryptography.hazmat.primitives.serialization')
  asymmetric = 'cryptography.hazmat.primitives.asymmetric'
  if kind == 'p256':
    ec = config_lib.require(f'{asymmetric}.ec')
    key = ec.generate_private_key(ec.SECP256R1())
  else:
    key = config_lib.require(f'{asymmetric}.ed25519').Ed25519PrivateKey.generate()
  private = pathlib.Path(path)
  public = private.with_name(f'{private.name}.pub')
  pem = serialization.Encoding.PEM
  texts = {
    private: key.private_bytes(
      pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ),
    public: key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo),
  }
  for file in texts:
    if os.path.lexists(file):
      raise ValueError(f'{file} is there already; a key is never overwritten.')
  private.parent.mkdir(parents=True, exist_ok=True)
  for file, text in texts.items():
    mode = 0o600 if file == private else 0o644
    number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(number, 'wb') as out:
      out.write(text)
  return private, public


def private_key(path: pathlib.Path | str) -> 'signer_lib.CryptoSigner':
  """Reads a private key, unencrypted PEM; raises ValueError for any other file."""
  serialization = config_lib.require('cryptography.hazmat.primitives.serialization')
  signer = config_lib.require('securesystemslib.signer')
  content = files.read_bytes(path, max_bytes=_MAX_KEY_BYTES)
  try:
    found = signer.CryptoSigner(serialization.load_pem_private_key(content, None))
  except Exception as error:  # Of several libraries, also for keys of other kinds.
    problem = 'is not an unencrypted private key in PEM'
    raise ValueError(f'{path} {problem} of kind {" or ".join(KINDS)}.') from error
  kind(found.public_key, path)
  return found


def public_key(path: pathlib.Path | str) -> 'signer_lib.SSlibKey':
  """Reads a public key, PEM; raises ValueError for any other file."""
  serialization = config_lib.require('cryptography.hazmat.primitives.serialization')
  signer = config_lib.require('securesystemslib.signer')
  content = files.read_bytes(path, max_bytes=_MAX_KEY_BYTES)
  try:
    found = signer.SSlibKey.from_crypto(serialization.load_pem_public_key(content))
  except Exception as error:  # As above.
    raise ValueError(f'{path} is not a public key in PEM of kind {" or ".join(KINDS)}.') from error
  kind(found, path)
  return found


def kind(key: 'signer_lib.SSlibKey', where: object = 'The key') -> str:
  """Which of `KINDS` a key is; raises ValueError if it is none of them."""
  if key.scheme not in _SCHEMES:
    raise ValueError(f'{where} is of kind {key.scheme}; allowed: {" or ".join(KINDS)}.')
  return _SCHEMES[key.scheme]


def sign(value: Mapping[str, Any], payload_type: str, signer: 'signer_lib.CryptoSigner') -> bytes:
  """Signs a JSON object; returns the envelope as one line."""
  dsse = config_lib.require('securesystemslib.dsse')
  envelope = dsse.Envelope(rfc8785.dumps(value), payload_type, {})
  envelope.sign(signer)
  return _spell(envelope)


def verify(
  content: bytes,
  payload_type: str,
  keys: Sequence['signer_lib.SSlibKey'],
  where: object,
  schema: Mapping[str, Any] | None = None,
) -> Any:
  """Reads what `sign` gave.

  Args:
    content: of a file that holds one envelope.
    payload_type: that it has to have.
    keys: trusted public keys; one of them signed it.
    where: what errors call it.
    schema: JSON schema of what is signed.

  Raises:
    ValueError: if it is not such an envelope, or no trusted key signed what it holds.
  """
  dsse = config_lib.require('securesystemslib.dsse')
  parsed = files.parse_json(content, where, schema=_ENVELOPE)
  try:
    envelope = dsse.Envelope.from_dict(parsed)
    is_ours = _spell(envelope) == content
  except Exception as error:  # Of the library: it was not written for files of strangers.
    raise ValueError(f'{where} is not a signed envelope.') from error
  if not is_ours or envelope.payload_type != payload_type:
    raise ValueError(f'{where} was changed: it is not spelled as it was signed.')
  check(envelope, keys, where)
  return files.parse_json(envelope.payload, f'What is signed in {where}', schema=schema)


def check(envelope: Any, keys: Sequence['signer_lib.SSlibKey'], where: object) -> None:
  """Raises ValueError unless one of the keys signed an envelope of securesystemslib."""
  try:
    envelope.verify(list(keys), 1)
  except Exception as error:  # As above.
    (signed_by,) = envelope.signatures
    trusted = {key.keyid for key in keys}
    problem = 'its signature does not match what it says'
    if signed_by not in trusted:
      problem = f'it was signed by the key {signed_by[:12]}, which is not trusted here'
    raise ValueError(f'{where} is not to be trusted: {problem}.') from error


def _spell(envelope: Any) -> bytes:
  return rfc8785.dumps(envelope.to_dict()) + b'\n'
