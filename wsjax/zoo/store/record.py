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
from collections.abc import Iterable, Mapping
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
  model: Prepared, params: typing.Params, given: Mapping[str, Any], *, task: str, run_id: str
) -> tuple[dict[str, Any], bytes]:
  """Makes the record of a network that was trained elsewhere, and its canonical JSON.

  Args:
    model: of `UNKNOWN` and `describe_model`.
    params: weights of the network.
    given: fields of the record; 'optimizer' and 'schedule' may be their names and 'seed' a number;
      'accuracy', 'loss' and 'psnr' are of a val split; any other name is kept as a field of the
      user's own. Fields that are not given are null.
    task: where `given` has none.
    run_id: where `given` has none.

  Raises:
    ValueError: as `validate`.
  """
  given = dict(given)
  if isinstance(optimizer := given.get('optimizer'), str):
    given['optimizer'] = {'name': optimizer, 'hparams': {}}
  if type(seed := given.get('seed')) is int:
    given['seed'] = {'init': seed, 'data': None}
  if isinstance(schedule := given.get('schedule'), str):
    given['schedule'] = {'name': schedule}
  if not isinstance(final := given.get('final', []), list | tuple):
    raise ValueError(f"Record field 'final' is {final!r:.80}, not a list.")
  given['final'] = list(final)
  for name in _METRICS:
    if name in given:
      metric = {'dataset': None, 'split': 'val', 'metric': name, 'value': given.pop(name)}
      given['final'].append(metric)
  extra = {name: given.pop(name) for name in list(given) if name not in SCHEMA['properties']}
  run_id = str(given.get('run_id') or run_id)
  return _make(
    model,
    {
      'task': task,
      'split': 'train',
      'diverged': not all(is_finite(np.asarray(x)) for x in params.values()),
      'extra': extra or None,
    }
    | {name: value for name, value in given.items() if name not in _OF_THE_MODEL}
    | {'run_id': run_id, 'split_group': str(given.get('split_group') or run_id)}
    | describe_params(params),
  )


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
  arrays = [np.asarray(array) for array in params.values()]
  return {
    'tensor_digest': digest.of_tensors(params),
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
  spec(record).check(params)
  for leaf in record['param_tree']:
    array = np.asarray(params[leaf['path']])
    if array.dtype.name != leaf['dtype']:
      raise ValueError(f'{leaf["path"]} is {array.dtype.name}; its record says {leaf["dtype"]}.')
    if not record['diverged'] and not is_finite(array):
      problem = 'NaN or infinite weights, but the record is not marked diverged'
      raise ValueError(f'{leaf["path"]} has {problem}.')
  if (expected := record['tensor_digest']) != (found := digest.of_tensors(params)):
    problem = f'but the weights hash to {found}; one of them was changed'
    raise ValueError(f"Record field 'tensor_digest' is {expected}, {problem}.")


def is_finite(array: np.ndarray) -> bool:
  """Whether no value is NaN or infinite; integers and booleans always."""
  return array.dtype.kind in 'iub' or bool(np.isfinite(array).all())


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
  if type(value) is str and _is_simple(name, value):
    return b'"%s"' % value.encode()
  return _canonical(name, _text(value))


def _is_simple(name: str, value: str) -> bool:
  """Whether a text is valid and spells itself in JSON; most differ from record to record."""
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
  sizes = _sizes(parts['param_tree'])
  for name, expected in zip(('n_params', 'n_bytes'), sizes, strict=True):
    if record[name] != expected:
      raise ValueError(
        f"Record field {name!r} is {record[name]}, but 'param_tree' has {expected} of them."
      )
  _spec(parts['param_tree'], parts['symmetry'])
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
