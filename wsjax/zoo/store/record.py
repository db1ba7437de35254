"""Checkpoint records: all that is known about one network, by content hash.

Every field is described in `schema/checkpoint_record.v1.json`. A record never changes: a correction
is a new record that names the old one in `supersedes`.
"""

import bisect
import dataclasses
import datetime
import functools
import hashlib
import importlib.metadata
import itertools
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
# What a name or a number that a user gave is short for.
_SHORT_FORMS: dict[str, Callable[[Any], Any]] = {
  'optimizer': lambda value: {'name': value, 'hparams': {}} if type(value) is str else value,
  'schedule': lambda value: {'name': value} if type(value) is str else value,
  'seed': lambda value: {'init': value, 'data': None} if type(value) is int else value,
}
# Fields that `_check_facts` looks at.
_FACTS = (
  'step', 'steps', 'parents', 'license', 'license_effective', 'datasets', 'redistributable'
)  # fmt: skip
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
  finite = np.all([are_finite(array) for array in params.values()], axis=0).tolist()
  digests = digest.of_stacked(params)
  records: list[dict[str, Any]] = []
  texts: list[bytes] = []
  start = 0
  for _, group in itertools.groupby(given, tuple):  # Rows that tell the same fields.
    rows = list(group)
    stop = start + len(rows)
    own = rows, run_ids[start:stop], digests[start:stop], finite[start:stop]
    try:
      made = _of_rows(shared, *own)
    except ValueError:
      for row, *rest in zip(*own, strict=True):  # And now the one that it is.
        try:
          _of_rows(shared, [row], *([x] for x in rest))
        except ValueError as error:
          name = str(row.get('run_id') or rest[0])
          raise ValueError(f'What is known about network {name!r} is no record: {error}') from error
      raise
    records += made[0]
    texts += made[1]
    start = stop
  return records, texts


def _of_rows(
  shared: Prepared,
  rows: Sequence[Mapping[str, Any]],
  run_ids: Sequence[str],
  digests: Sequence[str],
  finite: Sequence[bool],
) -> tuple[list[dict[str, Any]], list[bytes]]:
  """Records, and their canonical JSON, of rows with equal names; field by field, which is fast."""
  own, spelled = _own(rows)
  given = {name: own.pop(name, [None] * len(rows)) for name in ('run_id', 'split_group')}
  runs = [str(value or run) for value, run in zip(given['run_id'], run_ids, strict=True)]
  groups = [str(x or run) for x, run in zip(given['split_group'], runs, strict=True)]
  if 'diverged' not in own and not all(finite):
    own['diverged'] = [not is_finite for is_finite in finite]
  own |= {'run_id': runs, 'split_group': groups, 'tensor_digest': list(digests)}
  spelled['tensor_digest'] = [b'"%b"' % x.encode() for x in digests]
  check_names({**shared.values, **dict.fromkeys(own)})
  names = sorted(own)
  columns = [_canonical_column(name, own[name], spelled.get(name)) for name in names]
  own['record_id'], texts = _Template(shared.parts, names).fill(zip(*columns, strict=True))
  common, own_names, records = dict(shared.values), tuple(own), []
  for values in zip(*own.values(), strict=True):
    record = common.copy()
    record.update(zip(own_names, values, strict=True))
    records.append(record)
  # What all of them share is checked once.
  for record in records if any(name in own for name in _FACTS) else records[:1]:
    _check_facts(record)
  return records, texts


def _canonical_column(
  name: str, values: Sequence[Any], spelled: Sequence[bytes | None] | None
) -> list[bytes]:
  """`canonical` of one field of many records; what is one object in them is spelled once."""
  if spelled is not None:
    pairs = zip(values, spelled, strict=True)
    return [canonical(name, value) if text is None else text for value, text in pairs]
  if {*map(type, values)} == {str} and _are_simple(name, values):
    return [b'"%b"' % value.encode() for value in values]
  known = {id(value): value for value in values}
  if len(known) == len(values):
    return [canonical(name, value) for value in values]
  texts = {key: canonical(name, value) for key, value in known.items()}
  return [texts[id(value)] for value in values]


class _Template:
  """Canonical JSON of records that share all fields but some, whose names are sorted."""

  def __init__(self, shared: Mapping[str, bytes], own: Sequence[str]):
    whole, signed = [], []
    for name in sorted({*shared, *own, 'record_id'}):
      is_own = name in own or name == 'record_id'
      whole.append(_key(name) + (b'%b' if is_own else shared[name].replace(b'%', b'%%')))
      if name not in UNSIGNED:
        signed.append(whole[-1])
    self._whole, self._signed = (b'{%s}' % b','.join(parts) for parts in (whole, signed))
    self._place = bisect.bisect(own, 'record_id')
    self._is_signed = [name not in UNSIGNED for name in own]

  def fill(self, rows: Iterable[tuple[bytes, ...]]) -> tuple[list[str], list[bytes]]:
    """Ids and texts of the records whose own fields have this canonical JSON."""
    whole, signed, place = self._whole, self._signed, self._place
    are_signed = all(self._is_signed)
    ids, texts = [], []
    for row in rows:
      chosen = row if are_signed else tuple(itertools.compress(row, self._is_signed))
      record_id = f'wsr1:{hashlib.sha256(signed % chosen).hexdigest()}'
      ids.append(record_id)
      texts.append(whole % (*row[:place], b'"%b"' % record_id.encode(), *row[place:]))
    return ids, texts


def _own(
  rows: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, list[Any]], dict[str, list[bytes | None]]]:
  """The fields of records that their user gave, name -> [n] plain JSON values.

  Also the canonical JSON of some, None where a value is not simple.
  """
  own: dict[str, list[Any]] = {}
  extra: dict[str, list[Any]] = {}
  metrics: dict[str, list[Any]] = {}
  for name in rows[0]:
    values = _plain_column([row[name] for row in rows])
    if name in _METRICS:
      metrics[name] = values
    elif name not in SCHEMA['properties']:
      extra[name if type(name) is str else str(name)] = values
    elif name not in _SET_HERE:
      own[name] = values
  spelled: dict[str, list[bytes | None]] = {}
  for name, made in _SHORT_FORMS.items():
    if name in own:
      given = own[name]
      # One object for equal values.
      known = {value: made(value) for value in given if type(value) in (str, int)}
      own[name] = [known[x] if type(x) in (str, int) else x for x in given]
      if name == 'seed' and all(type(value) is int and value >= 0 for value in given):
        spelled[name] = _fill(b'{"data":null,"init":%b}', [given])
  final = [
    [
      {'dataset': None, 'split': 'val', 'metric': name, 'value': value}
      for name, value in zip(metrics, row, strict=True)
    ]
    for row in (zip(*metrics.values(), strict=True) if metrics else [()] * len(rows))
  ]
  if 'final' in own:
    for value in own['final']:
      if not isinstance(value, list):
        raise ValueError(f"Record field 'final' is {value!r:.80}, not a list.")
    final = [given + made for given, made in zip(own['final'], final, strict=True)]
  elif {type(x) for values in metrics.values() for x in values} <= {int, float, type(None)}:
    parts = [
      b'{"dataset":null,"metric":"%b","split":"val","value":%%b}' % x.encode() for x in metrics
    ]
    template = b'[%b]' % b','.join(parts)
    spelled['final'] = _fill(template, [*metrics.values()]) if metrics else [template] * len(rows)
  own['final'] = final
  if extra:
    own['extra'] = [dict(zip(extra, row, strict=True)) for row in zip(*extra.values(), strict=True)]
    if all(map(_spell, extra)):
      parts = [b'%b:%%b' % _spell(name).replace(b'%', b'%%') for name in sorted(extra)]
      spelled['extra'] = _fill(b'{%b}' % b','.join(parts), [extra[x] for x in sorted(extra)])
  return own, spelled


def _fill(template: bytes, columns: Sequence[Sequence[Any]]) -> list[bytes | None]:
  """Canonical JSON with the values of columns [n] in a template; None where one is not simple."""
  texts = [_spell_column(column) for column in columns]
  return [None if None in parts else template % parts for parts in zip(*texts, strict=True)]


def _spell_column(values: Sequence[Any]) -> list[bytes | None]:
  """`_spell` of each; texts are looked into together."""
  if {*map(type, values)} == {str} and _spells_itself(''.join(values)):
    return [b'"%b"' % value.encode() for value in values]
  return [*map(_spell, values)]


def _spells_itself(text: str) -> bool:
  """Whether JSON has a text as it is."""
  return text.isascii() and text.isprintable() and not ('"' in text or '\\' in text)


def _spell(value: Any) -> bytes | None:
  """Canonical JSON of a scalar; None where it is not simple."""
  kind = type(value)
  if kind is str:
    return b'"%s"' % value.encode() if _spells_itself(value) else None
  if kind is float:
    text = repr(value)
    return None if 'e' in text or text.endswith('.0') or text[-1] in 'nf' else text.encode()
  if kind is int:
    return b'%d' % value if -(1 << 50) < value < 1 << 50 else None
  return _CONSTANTS.get(value) if kind is bool or value is None else None


def _plain_column(values: list[Any]) -> list[Any]:
  """`plain` of each; values of one simple type are looked into together."""
  kinds = {*map(type, values)}
  if (
    (kinds == {str} and ''.join(values).isascii())
    or (kinds == {float} and all(map(math.isfinite, values)))
    or (kinds == {int} and -(1 << 50) < min(values) and max(values) < 1 << 50)
  ):
    return values
  return [_plain_scalar(x) if type(x) in _SCALARS else plain(x) for x in values]


def validate(record: Mapping[str, Any]) -> bytes:
  """The canonical JSON of a record that follows the schema and agrees with itself.

  Raises:
    ValueError: one sentence that names the field: it is missing, unknown or of a wrong type; the id
      does not match the content; the sizes do not match the parameters; a licence is not an SPDX
      expression; a network of unknown licence is marked redistributable.
  """
  return validate_all([record])[0]


def validate_all(records: Sequence[Mapping[str, Any]]) -> list[bytes]:
  """`validate` of many records; what is one object in several of them is looked into once."""
  texts = []
  known: dict[tuple[str, int], bytes] = {}  # Field and identity of its value -> its text.
  for record in records:
    check_names(record)
    parts = {}
    for name, value in record.items():
      if type(value) is str:
        parts[name] = canonical(name, value)
        continue
      identity = name, id(value)
      if identity not in known:
        known[identity] = canonical(name, value)
      parts[name] = known[identity]
    if (found := record['record_id']) != (expected := _id(parts)):
      problem = f'but the content hashes to {expected}; the record was changed'
      raise ValueError(f"Record field 'record_id' is {found!r}, {problem}.")
    _check_agreement(record, parts)
    texts.append(join(parts))
  return texts


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
    if _are_simple(name, [value]):
      return b'"%s"' % value.encode()
  elif (type(value) in _SCALARS or name in _VARIED) and _checker(name)(value):
    try:
      text = _encode(value)
    except (TypeError, ValueError, RecursionError):
      text = '\\'  # And now in the way that names what is wrong.
    if not _NOT_CANONICAL.search(text):
      return text.encode()
  return _canonical(name, _text(value))


def _are_simple(name: str, values: Sequence[str]) -> bool:
  """Whether texts are valid and spell themselves in JSON; most differ from record to record."""
  if name == 'split':
    return {*values} <= {*SPLITS}
  pattern = _pattern(name)
  return (
    pattern is not None and _spells_itself(''.join(values)) and all(map(pattern.search, values))
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
