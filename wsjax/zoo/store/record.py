"""Checkpoint records: all that is known about one network, by content hash.

Every field is described in `schema/checkpoint_record.v1.json`. A record never changes: a correction
is a new record that names the old one in `supersedes`.
"""

import dataclasses
import datetime
import functools
import hashlib
import importlib.metadata
import json
import math
import operator
import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jsonschema
import numpy as np
from absl import logging

import wsjax
from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.zoo.store import digest

PACKAGES = ('wsjax', 'jax', 'jaxlib', 'flax', 'optax', 'numpy')
ROOT = pathlib.Path(wsjax.__file__).parents[1]


def environment() -> dict[str, Any]:
  """Returns code (null outside a checkout), packages, xla_flags and accelerator."""
  devices = jax.devices()
  return {
    'code': code(ROOT),
    'packages': {name: _version(name) for name in PACKAGES},
    'xla_flags': os.environ.get('XLA_FLAGS', '').split(),
    'accelerator': {
      'kind': devices[0].device_kind,
      'count': len(devices),
      'processes': jax.process_count(),
    },
  }


def code(root: pathlib.Path) -> dict[str, Any] | None:
  """Reads repo, commit and dirty of the checkout at `root` from its files, without git.

  None if it is no checkout; dirty is None where no git program can say.
  """
  commit = _commit(root / '.git')
  return commit and {'repo': 'wsjax', 'commit': commit, 'dirty': _is_dirty(root)}


def _commit(git: pathlib.Path) -> str | None:
  try:
    if git.is_file():  # A worktree: one line, 'gitdir: PATH'.
      git = git.parent / git.read_text().strip().removeprefix('gitdir: ')
    common = git
    if (git / 'commondir').exists():
      common = git / (git / 'commondir').read_text().strip()
    commit = (git / 'HEAD').read_text().strip()
    if commit.startswith('ref: '):
      ref = commit.removeprefix('ref: ')
      if (common / ref).is_file():
        commit = (common / ref).read_text().strip()
      else:
        packed = (line.split(' ', 1) for line in (common / 'packed-refs').read_text().splitlines())
        commit = next((commit for commit, *name in packed if name == [ref]), '')
  except OSError:
    return None
  return commit if re.fullmatch('[0-9a-f]{40}', commit) else None


def _is_dirty(root: pathlib.Path) -> bool | None:
  if shutil.which('git') is None:
    return None
  words = ['git', '--no-optional-locks', 'status', '--porcelain', '-uno']
  status = subprocess.run(words, cwd=root, capture_output=True, check=False)
  return bool(status.stdout) if status.returncode == 0 else None


def _version(package: str) -> str | None:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


_FILE = pathlib.Path(__file__).parent / 'schema/checkpoint_record.v1.json'
SCHEMA = json.loads(_FILE.read_text())
VERSION = SCHEMA['properties']['schema_version']['const']
# Networks of 'holdout_audit' are reserved for memorization and privacy audits when a zoo is built;
# they cannot be set aside afterwards.
SPLITS = ('train', 'val', 'test', 'holdout_audit')
ROLES = ('kernel', 'bias', 'scale', 'embed', 'stat', 'lora_a', 'lora_b')
# Fields that may be added to a record without making it another record.
UNSIGNED = ('record_id', 'attestations', 'signature_ref')
_OF_THE_MODEL = ('arch_id', 'arch_config', 'param_tree', 'symmetry', 'activation')
_METRICS = ('accuracy', 'loss', 'psnr')  # In a user's record they are of a val split.
# Fields that are not for a user to give.
_SET_HERE = (
  *_OF_THE_MODEL, 'schema_version', 'record_id', 'tensor_digest', 'file_sha256', 'format',
  'n_bytes', 'n_params',
)  # fmt: skip
_SCALARS = (str, int, float, bool, type(None))
_CONSTANTS = {None: b'null', True: b'true', False: b'false'}
# Fields that differ from record to record, so that it does not pay to keep their spelling.
_VARIED = ('extra', 'final', 'trace', 'optimizer', 'schedule', 'seed', 'generated')
# What the encoder of Python may spell in another way than the canonical one.
_NOT_CANONICAL = re.compile(r'[^ -~]|\\|(?<![0-9.])[0-9]{16}|\.0(?![0-9])|[0-9][eE]')
_encode = json.JSONEncoder(
  sort_keys=True, separators=(',', ':'), ensure_ascii=False, allow_nan=False
).encode
# Values of required fields that nobody has told.
UNKNOWN = {
  name: [] if SCHEMA['properties'][name].get('type') == 'array' else None
  for name in SCHEMA['required']
  if 'array' == (kind := SCHEMA['properties'][name].get('type')) or 'null' in (kind or ())
} | {'format': 'safetensors', 'diverged': False, 'redistributable': False}


def make(**values: Any) -> dict[str, Any]:
  """Makes a valid record, of plain JSON values, from its fields; errors are those of `validate`.

  Fields that the schema does not require are null when not given; `UNKNOWN` has values of the
  required ones. `schema_version` and `record_id` are set here, and `created_at` is now when not
  given. NumPy scalars become numbers, and numbers that are not finite null.
  """
  return _make(_nothing(), values)[0]


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
  """Fields that many records share, checked once.

  Attributes:
    values: plain JSON values; records share them.
    parts: canonical JSON of each.
  """

  values: Mapping[str, Any]
  parts: Mapping[str, bytes]


def prepare(values: Mapping[str, Any]) -> Prepared:
  """Checks fields of records, and those that the schema does not require, which are null."""
  optional = {name: None for name in SCHEMA['properties'] if name not in SCHEMA['required']}
  shared = optional | plain(dict(values))
  return Prepared(shared, {name: canonical(name, value) for name, value in shared.items()})


@functools.cache
def _nothing() -> Prepared:
  return prepare({})


def _make(shared: Prepared, values: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
  """A record and its canonical JSON; `values` count before those of `shared`."""
  own = plain(dict(values))
  record = {**shared.values, **own}
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
  record.setdefault('created_at', now.replace('+00:00', 'Z'))
  record['schema_version'] = VERSION
  record['record_id'] = None
  check_names(record)
  parts = {
    name: shared.parts[name] if name in shared.parts and name not in own else canonical(name, value)
    for name, value in sorted(record.items())  # As they are joined, twice.
    if name != 'record_id'
  }
  record['record_id'] = _id(parts)
  parts['record_id'] = canonical('record_id', record['record_id'])
  _check_agreement(record, parts)
  return record, join(parts)


def of_given(
  model: Prepared,
  params: typing.StackedParams,
  given: Sequence[Mapping[str, Any]],
  *,
  task: str,
  run_ids: Sequence[str],
) -> tuple[list[dict[str, Any]], list[bytes]]:
  """Makes the records of networks that were trained elsewhere, and their canonical JSON.

  Args:
    model: of `UNKNOWN` and `describe_model`.
    params: weights, path -> [n, ...].
    given: fields of each record; 'optimizer' and 'schedule' may be their names and 'seed' a number;
      'accuracy', 'loss' and 'psnr' are of a val split; any other name is kept as a field of the
      user's own. Fields that are not given are null.
    task: where `given` has none.
    run_ids: where `given` has none.

  Raises:
    ValueError: as `validate`; it begins with the run.
  """
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds').replace('+00:00', 'Z')
  common = describe_sizes({path: array[0] for path, array in params.items()}) | {
    'task': task, 'created_at': now, 'schema_version': VERSION, 'split': 'train', 'diverged': False,
    'extra': None,
  }  # fmt: skip
  parts = {**model.parts, **{name: canonical(name, value) for name, value in common.items()}}
  shared = Prepared({**model.values, **common, 'record_id': None}, parts)
  _check_sizes(shared.values, parts)
  templates: dict[tuple[str, ...], _Template] = {}
  finite = np.all([are_finite(array) for array in params.values()], axis=0)
  records, texts = [], []
  rows = zip(digest.of_stacked(params), finite.tolist(), given, run_ids, strict=True)
  for tensor_digest, is_whole, row, run_id in rows:
    try:
      own, spelled = _own(row)
      own['run_id'] = run_id = str(own.get('run_id') or run_id)
      own['split_group'] = str(own.get('split_group') or run_id)
      if not is_whole:
        own.setdefault('diverged', True)
      own['tensor_digest'] = tensor_digest
      spelled['tensor_digest'] = b'"%s"' % tensor_digest.encode()
      names = tuple(own)
      if names not in templates:
        check_names({**shared.values, **own})
        templates[names] = _Template(shared.parts, names)
      record = {**shared.values, **own}
      record['record_id'], text = templates[names].fill(own, spelled)
      _check_facts(record)
    except ValueError as error:
      raise ValueError(f'What is known about network {run_id!r} is no record: {error}') from error
    records.append(record)
    texts.append(text)
  return records, texts


class _Template:
  """Canonical JSON of records that share all fields but some."""

  def __init__(self, shared: Mapping[str, bytes], own: Sequence[str]):
    self._names = own
    self._pieces: list[bytes] = []
    self._slots: dict[str, int] = {}
    self._signed: list[int] = []  # Pieces that the id depends on.
    for name in sorted({*shared, *own, 'record_id'}):
      start = len(self._pieces)
      self._pieces += [b',' + _key(name), shared.get(name, b'')]
      if name in own or name == 'record_id':
        self._slots[name] = start + 1
      if name not in UNSIGNED:
        self._signed += [start, start + 1]

  def fill(self, own: Mapping[str, Any], spelled: Mapping[str, bytes]) -> tuple[str, bytes]:
    """The id and the text of the record with these fields, of which some are canonical already."""
    pieces = self._pieces
    for name in self._names:
      text = spelled.get(name)
      pieces[self._slots[name]] = canonical(name, own[name]) if text is None else text
    content = b'{%s}' % b''.join([pieces[place] for place in self._signed])[1:]
    record_id = f'wsr1:{hashlib.sha256(content).hexdigest()}'
    pieces[self._slots['record_id']] = b'"%s"' % record_id.encode()
    return record_id, b'{%s}' % b''.join(pieces)[1:]


def _own(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
  """The fields of a record that its user gave, as plain JSON values, and canonical JSON of some."""
  own: dict[str, Any] = {}
  spelled: dict[str, bytes] = {}
  extra: dict[str, Any] = {}
  metrics: dict[str, Any] = {}
  for name, value in given.items():
    value = _plain_scalar(value) if type(value) in _SCALARS else plain(value)
    if name in _METRICS:
      metrics[name] = value
    elif name not in SCHEMA['properties']:
      extra[name if type(name) is str else str(name)] = value
    elif name not in _SET_HERE:
      own[name] = value
  if type(optimizer := own.get('optimizer')) is str:
    own['optimizer'] = {'name': optimizer, 'hparams': {}}
    if optimizer and (text := _spell(optimizer)):
      spelled['optimizer'] = b'{"hparams":{},"name":%s}' % text
  if type(seed := own.get('seed')) is int:
    own['seed'] = {'init': seed, 'data': None}
    if seed >= 0:
      spelled['seed'] = b'{"data":null,"init":%d}' % seed
  if type(schedule := own.get('schedule')) is str:
    own['schedule'] = {'name': schedule}
  if not isinstance(final := own.get('final', []), list):
    raise ValueError(f"Record field 'final' is {final!r:.80}, not a list.")
  made = [
    {'dataset': None, 'split': 'val', 'metric': name, 'value': value}
    for name, value in metrics.items()
  ]
  own['final'] = final + made
  if not final and all(type(value) in (int, float, type(None)) for value in metrics.values()):
    texts = [_spell(value) for value in metrics.values()]
    if None not in texts:
      spelled['final'] = b'[%s]' % b','.join(
        [
          b'{"dataset":null,"metric":"%s","split":"val","value":%s}' % (name.encode(), text)
          for name, text in zip(metrics, texts, strict=True)
        ]
      )
  if extra:
    own['extra'] = extra
    pairs = [(_spell(name), _spell(extra[name])) for name in sorted(extra)]
    if all(None not in pair for pair in pairs):
      spelled['extra'] = b'{%s}' % b','.join([b'%s:%s' % pair for pair in pairs])
  return own, spelled


def _spell(value: Any) -> bytes | None:
  """Canonical JSON of a scalar; None where it is not simple."""
  kind = type(value)
  if kind is str:
    is_simple = value.isascii() and value.isprintable() and not ('"' in value or '\\' in value)
    return b'"%s"' % value.encode() if is_simple else None
  if kind is float:
    text = repr(value)
    return None if 'e' in text or text.endswith('.0') or text[-1] in 'nf' else text.encode()
  if kind is int:
    return b'%d' % value if -(1 << 50) < value < 1 << 50 else None
  return _CONSTANTS.get(value) if kind is bool or value is None else None


def validate(record: Mapping[str, Any]) -> bytes:
  """The canonical JSON of a record that follows the schema and agrees with itself.

  Raises:
    ValueError: one sentence that names the field: it is missing, unknown or of a wrong type; the id
      does not match the content; the sizes do not match the parameters; a licence is not an SPDX
      expression; a network of unknown licence is marked redistributable.
  """
  check_names(record)
  parts = _parts(record)
  parts['record_id'] = canonical('record_id', record['record_id'])
  if (found := record['record_id']) != (expected := _id(parts)):
    problem = f'but the content hashes to {expected}; the record was changed'
    raise ValueError(f"Record field 'record_id' is {found!r}, {problem}.")
  _check_agreement(record, parts)
  return join(parts)


def record_id(record: Mapping[str, Any]) -> str:
  """Returns 'wsr1:' and the SHA-256 of the canonical JSON of all fields but `UNSIGNED`."""
  return _id(_parts(record))


def check_names(record: Mapping[str, Any]) -> None:
  """Raises ValueError, naming the field, unless a record has all required and no unknown ones."""
  names = SCHEMA['properties']
  if unknown := sorted(set(record) - set(names)):
    allowed = f'which the schema has not; it has {", ".join(names)}'
    raise ValueError(f'Record has field {unknown[0]!r}, {allowed}.')
  if missing := [name for name in SCHEMA['required'] if name not in record]:
    advice = 'null says that it is not known, where the schema allows it'
    raise ValueError(f'Record lacks required field {missing[0]!r}; {advice}.')


def check_splits(groups: Iterable[str], splits: Iterable[str]) -> None:
  """Raises ValueError, naming the group, unless all networks of a split group are in one split."""
  seen: dict[str, str] = {}
  for group, split in zip(groups, splits, strict=True):
    if seen.setdefault(group, split) != split:
      raise ValueError(
        f'Split group {group!r} is in both {seen[group]!r} and {split!r}; a run has one split.'
      )


def spec(record: Mapping[str, Any]) -> spec_lib.Spec:
  """Reads the symmetry; raises ValueError if `param_tree` and `symmetry` do not fit each other."""
  return _spec(*(canonical(name, record[name]) for name in ('param_tree', 'symmetry')))


def describe_model(model: model_lib.Model, params: typing.Params | None = None) -> dict[str, Any]:
  """Returns arch_id, arch_config, param_tree, symmetry and activation of a model.

  The last part of a path is the role of the parameter where it is one of `ROLES`. Dtypes are those
  of a network, or by default of the model.
  """
  spec, shapes = model.spec.to_json(), params or model.shapes
  for leaf in spec['leaves']:
    role = leaf['path'].rpartition('/')[-1]
    leaf['dtype'] = shapes[leaf['path']].dtype.name
    leaf['role'] = role if role in ROLES else None
  return {
    'arch_id': model.name,
    'arch_config': model.config,
    'param_tree': spec['leaves'],
    'symmetry': spec['groups'],
    'activation': model.activation or None,
  }


def describe_params(params: typing.Params) -> dict[str, Any]:
  """Returns the fields of the weights of one network, stored with others."""
  return {'tensor_digest': digest.of_tensors(params), **describe_sizes(params)}


def describe_sizes(params: typing.Params) -> dict[str, Any]:
  """Returns the fields of weights that all networks of one model share."""
  arrays = [np.asarray(array) for array in params.values()]
  return {
    'file_sha256': None,
    'format': 'safetensors',
    'n_bytes': sum(array.nbytes for array in arrays),
    'n_params': sum(array.size for array in arrays),
  }


def check_params(record: Mapping[str, Any], params: typing.Params) -> None:
  """Raises ValueError unless `params` are the weights that a record describes.

  They have the paths, shapes and dtypes of `param_tree` and the digest, and are finite if they are
  not marked diverged.
  """
  check_stacked([record], {path: np.asarray(array)[None] for path, array in params.items()})


def check_stacked(records: Sequence[Mapping[str, Any]], params: typing.StackedParams) -> None:
  """`check_params` of the records of n networks of one architecture, path -> [n, ...]."""
  first = records[0]
  spec(first).check(params, stacked=True)
  finite = np.ones(len(records), bool)
  for leaf in first['param_tree']:
    array = np.asarray(params[leaf['path']])
    if array.dtype.name != leaf['dtype']:
      raise ValueError(f'{leaf["path"]} is {array.dtype.name}; its record says {leaf["dtype"]}.')
    finite &= are_finite(array)
    for row in np.flatnonzero(~finite):
      if not records[row]['diverged']:
        problem = 'NaN or infinite weights, but the record is not marked diverged'
        raise ValueError(f'{leaf["path"]} has {problem}.')
  for record, found in zip(records, digest.of_stacked(params), strict=True):
    if (expected := record['tensor_digest']) != found:
      problem = f'but the weights hash to {found}; one of them was changed'
      raise ValueError(f"Record field 'tensor_digest' is {expected}, {problem}.")


def is_finite(array: np.ndarray) -> bool:
  """Whether no value is NaN or infinite; integers and booleans always."""
  return array.dtype.kind in 'iub' or bool(np.isfinite(array).all())


def are_finite(stacked: np.ndarray) -> np.ndarray:
  """`is_finite` of each of n arrays [n, ...]."""
  if stacked.dtype.kind in 'iub':
    return np.ones(len(stacked), bool)
  return np.isfinite(stacked.reshape(len(stacked), -1)).all(axis=1)


@functools.lru_cache(maxsize=256)
def licence_problem(expression: str) -> str | None:
  """The problem of an SPDX licence expression, such as 'MIT AND CC-BY-4.0', in a few words.

  'LicenseRef-...' may stand for a licence that SPDX does not list. None if nothing is wrong or the
  `zoo` extra, which can tell, is not installed.
  """
  try:
    import license_expression  # Slow, and not everyone has it.
  except ImportError:
    text = "Licences are not checked: that needs license-expression; pip install 'wsjax[zoo]'."
    logging.log_first_n(logging.WARNING, text, 1)
    return None
  licensing = _spdx()
  try:
    parsed = licensing.parse(expression, strict=True)
  except license_expression.ExpressionError as error:
    return ' '.join(str(error).split())
  keys = licensing.unknown_license_keys(parsed)
  unknown = [key for key in keys if not key.startswith('LicenseRef-')]
  return f'unknown licence {", ".join(unknown)}' if unknown else None


def canonical(name: str, value: Any) -> bytes:
  """Canonical JSON of one field; raises ValueError if the schema or JSON forbids its value."""
  if type(value) is str:
    if _is_simple(name, value):
      return b'"%s"' % value.encode()
  elif (type(value) in _SCALARS or name in _VARIED) and _checker(name)(value):
    try:
      text = _encode(value)
    except (TypeError, ValueError, RecursionError):
      text = '\\'  # And now in the way that names what is wrong.
    if not _NOT_CANONICAL.search(text):
      return text.encode()
  return _canonical(name, _text(value))


def _is_simple(name: str, value: str) -> bool:
  """Whether a text is valid and spells itself in JSON; most differ from record to record."""
  if name == 'split':
    return value in SPLITS
  pattern = _pattern(name)
  return (
    pattern is not None
    and value.isascii()
    and value.isprintable()
    and not {'"', '\\'} & set(value)
    and pattern.search(value) is not None
  )


@functools.cache
def _pattern(name: str) -> re.Pattern[str] | None:
  """The pattern that the schema wants of a text; None if it wants more than that."""
  schema = SCHEMA['properties'].get(name, {})
  if not schema.keys() <= {'description', 'type', 'pattern', 'minLength'}:
    return None
  if 'string' not in schema.get('type', ()) or schema.get('minLength', 0) > 1:
    return None
  return re.compile(schema.get('pattern') or ('.' if 'minLength' in schema else ''))


_TYPES: dict[str, tuple[type, ...]] = {
  'string': (str,),
  'integer': (int,),
  'number': (int, float),
  'boolean': (bool,),
  'null': (type(None),),
  'object': (dict,),
  'array': (list,),
}


@functools.cache
def _checker(name: str) -> Callable[[Any], bool]:
  """A function that is true of a value only if the schema allows it in a field."""
  return _compile(SCHEMA['properties'].get(name, {'not': {}}))


def _compile(schema: Mapping[str, Any]) -> Callable[[Any], bool]:
  """The checks of a schema; where one is not known here, nothing passes."""
  known = {
    'description', 'type', 'enum', 'pattern', 'minLength', 'minItems', 'minimum', 'items',
    'properties', 'required', 'additionalProperties',
  }  # fmt: skip
  if not schema.keys() <= known:
    return lambda value: False
  kinds = schema.get('type', list(_TYPES))
  types = frozenset(
    x for kind in ([kinds] if isinstance(kinds, str) else kinds) for x in _TYPES[kind]
  )
  enum = frozenset((type(x), x) for x in schema['enum']) if 'enum' in schema else None
  if enum is not None:
    types &= {kind for kind, _ in enum}
  pattern = re.compile(schema['pattern']).search if 'pattern' in schema else None
  shortest, fewest = schema.get('minLength', 0), schema.get('minItems', 0)
  least = schema.get('minimum', -math.inf)
  item = _compile(schema['items']) if 'items' in schema else None
  fields = {name: _compile(x) for name, x in schema.get('properties', {}).items()}
  required = schema.get('required', ())
  rest = schema.get('additionalProperties', True)
  other = rest if isinstance(rest, bool) else _compile(rest)

  def check(value: Any) -> bool:
    kind = type(value)
    if kind not in types or (enum is not None and (kind, value) not in enum):
      return False
    if kind is str:
      return len(value) >= shortest and (pattern is None or pattern(value) is not None)
    if kind is int or kind is float:
      return value >= least
    if kind is list:
      return len(value) >= fewest and (item is None or all(map(item, value)))
    if kind is dict:
      for name, part in value.items():
        if type(name) is not str:
          return False
        if name in fields:
          if not fields[name](part):
            return False
        elif other is not True and (other is False or not other(part)):
          return False
      return all(name in value for name in required)
    return True

  return check


def join(parts: Mapping[str, bytes]) -> bytes:
  """Canonical JSON of an object from that of its values."""
  return b'{%s}' % b','.join([_key(name) + parts[name] for name in sorted(parts)])


@functools.lru_cache(maxsize=1024)
def _key(name: str) -> bytes:
  return b'"%s":' % name.encode()


def plain(value: Any) -> Any:
  """Copies plain JSON values; NumPy scalars become numbers, and numbers not finite become None.

  Raises:
    ValueError: if there is anything else than dicts, lists, tuples, strings, numbers and None.
  """
  return digest.parse_json(_text(_finite(value)))


def _plain_scalar(value: Any) -> Any:
  """`plain` of a text, a number, a boolean or None."""
  if type(value) is float:
    return value if math.isfinite(value) else None
  if type(value) is int:
    return value if -(1 << 50) < value < 1 << 50 else plain(value)
  if type(value) is str and not value.isascii():
    return plain(value)
  return value


def _text(value: Any) -> str:
  """JSON text of a value: fast, not canonical; equal text is equal value."""
  if value is None:
    return 'null'
  if type(value) is int:
    return str(value)
  try:
    return json.dumps(value)
  except (TypeError, ValueError, RecursionError) as error:
    raise ValueError(f'Not a JSON value in a record: {error}.') from error


def _finite(value: Any) -> Any:
  """The value with NumPy scalars as numbers, and NaN and infinities as None, at any depth."""
  if isinstance(value, np.generic):
    value = value.item()
  if isinstance(value, Mapping):
    return {key: _finite(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [_finite(item) for item in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value


@functools.lru_cache(maxsize=8192)
def _canonical(name: str, text: str) -> bytes:
  """Canonical JSON of one field; cached, because most fields are equal in all records of a zoo."""
  value = digest.parse_json(text)
  if error := jsonschema.exceptions.best_match(_validator(name).iter_errors(value)):
    place = '/'.join(map(str, [name, *error.absolute_path]))
    raise ValueError(f'Record field {place!r} is wrong: {error.message[:200]}.')
  try:
    return digest.canonical_json(value)
  except ValueError as error:
    raise ValueError(f'Record field {name!r}: {error}') from error


@functools.cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
  if name not in SCHEMA['properties']:
    raise ValueError(f'Record has field {name!r}, which the schema has not.')
  return jsonschema.Draft202012Validator(SCHEMA['properties'][name])


@functools.cache
def _spdx() -> Any:
  import license_expression

  return license_expression.get_spdx_licensing()


def _check_agreement(record: Mapping[str, Any], parts: Mapping[str, bytes]) -> None:
  """Raises ValueError where valid fields contradict each other."""
  _check_sizes(record, parts)
  _check_facts(record)


def _check_sizes(record: Mapping[str, Any], parts: Mapping[str, bytes]) -> None:
  """Raises ValueError unless the sizes are those of the parameters, and these fit the symmetry."""
  sizes = _sizes(parts['param_tree'])
  for name, expected in zip(('n_params', 'n_bytes'), sizes, strict=True):
    if record[name] != expected:
      raise ValueError(
        f"Record field {name!r} is {record[name]}, but 'param_tree' has {expected} of them."
      )
  _spec(parts['param_tree'], parts['symmetry'])


def _check_facts(record: Mapping[str, Any]) -> None:
  """Raises ValueError where what is known about a network contradicts itself."""
  step, steps = record['step'], record['steps']
  if None not in (step, steps) and step > steps:
    raise ValueError(f"Record field 'step' is {step}, beyond the {steps} of 'steps'.")
  for parent in record['parents']:
    if not (parent['record_id'] or parent.get('external_ref')):
      raise ValueError("Record field 'parents' has neither record_id nor external_ref in an entry.")
  licences = [(name, record.get(name)) for name in ('license', 'license_effective')]
  licences += [('datasets', dataset['license']) for dataset in record['datasets']]
  for name, expression in licences:
    if expression is not None and (problem := licence_problem(expression)):
      rule = f'which is not an SPDX expression: {problem}'
      raise ValueError(f'Record field {name!r} holds {expression!r}, {rule}.')
  if record['license'] is None and record['redistributable']:
    raise ValueError("Record field 'redistributable' is true although 'license' is unknown.")


def _parts(record: Mapping[str, Any]) -> dict[str, bytes]:
  """Canonical JSON of every field but the id, each checked by the schema."""
  return {name: canonical(name, value) for name, value in record.items() if name != 'record_id'}


def _id(parts: Mapping[str, bytes]) -> str:
  content = {name: part for name, part in parts.items() if name not in UNSIGNED}
  return f'wsr1:{hashlib.sha256(join(content)).hexdigest()}'


@functools.lru_cache(maxsize=256)
def _spec(param_tree: bytes, symmetry: bytes) -> spec_lib.Spec:
  return spec_lib.Spec.from_json({'groups': json.loads(symmetry), 'leaves': json.loads(param_tree)})


@functools.lru_cache(maxsize=256)
def _sizes(param_tree: bytes) -> tuple[int, int]:
  """Number of weights and of bytes of a parameter tree."""
  import ml_dtypes  # noqa: F401  Names bfloat16 and float8 to NumPy.

  leaves = json.loads(param_tree)
  sizes = [math.prod(leaf['shape']) for leaf in leaves]
  items = [np.dtype(leaf['dtype']).itemsize for leaf in leaves]
  return sum(sizes), sum(map(operator.mul, sizes, items))
