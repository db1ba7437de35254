"""The manifest of a run, its config and versions, and the seconds of its stages."""

import contextlib
import datetime
import importlib.metadata
import json
import math
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import ml_collections
from absl import logging

from wsjax import config as config_lib
from wsjax import distributed, files
from wsjax.evaluation.report import model
from wsjax.train import generative, loop
from wsjax.train.monitor import goodput

_TEXTS = {'type': 'object', 'additionalProperties': {'type': 'string'}}
_SECTIONS = (
  'train', 'zoo', 'symmetry', 'tokens', 'codec', 'encoder', 'editor', 'head', 'generator', 'rivals',
  'strategy', 'sample', 'evaluate', 'property', 'tasks', 'prompt', 'personalize', 'gates',
)  # fmt: skip
# The schema of run.json.
_RUN = {
  'type': 'object',
  'required': ['config', 'overrides', 'versions', 'device', 'processes', 'created_at', 'evaluates'],
  'properties': {
    'config': {
      'type': 'object',
      'required': ['name', 'train'],
      'properties': {'name': {'type': 'string'}} | dict.fromkeys(_SECTIONS, {'type': 'object'}),
    },
    'overrides': _TEXTS,
    'versions': _TEXTS,
    'device': {'type': 'string'},
    'processes': {'type': 'integer'},
    'created_at': {'type': 'string'},
    'evaluates': {'type': ['string', 'null']},
    'settings': _TEXTS,
  },
}
PACKAGES = ('wsjax', 'jax', 'jaxlib', 'flax', 'optax', 'numpy', 'scipy')


class Stages:
  """Wall seconds of every stage of a run, summed over restarts."""

  def __init__(self, path: pathlib.Path):
    """Args: path: file that keeps them; read if it exists."""
    self._path = path
    self.seconds: dict[str, float] = {}
    if not path.exists() and not path.is_symlink():
      return
    number = {'type': 'number', 'minimum': 0, 'maximum': 1e12}
    schema = {'type': 'object', 'additionalProperties': number}
    try:
      self.seconds = files.read_json(path, max_bytes=1 << 20, schema=schema)
    except (ValueError, OSError) as error:  # It only informs.
      if distributed.is_writer():
        with contextlib.suppress(OSError):  # A finished run may be read-only.
          files.set_aside(path, error)

  @contextlib.contextmanager
  def stage(self, name: str) -> Iterator[None]:
    """Adds the wall time of its body, also of one that was interrupted."""
    start = time.perf_counter()
    try:
      yield
    finally:
      passed = time.perf_counter() - start
      self.seconds[name] = self.seconds.get(name, 0.0) + passed
      try:
        _write(self._path, json.dumps(self.seconds, indent=2, sort_keys=True))
      except OSError as error:  # A full disk, which the body may be telling already.
        logging.warning('The time of stage %s is not kept: %s.', name, error)


def open_run(
  workdir: pathlib.Path,
  config: ml_collections.ConfigDict,
  overrides: Mapping[str, Any],
  *,
  evaluates: str | None = None,
) -> Stages:
  """Claims a workdir, which is made, for a config; or checks that it is this config's.

  Args:
    workdir: of the run.
    config: of the run.
    overrides: what the command line changed in it.
    evaluates: digest of the zoo that is evaluated; None is a run of the experiment.

  Returns:
    The stages that earlier starts went through.

  Raises:
    ValueError: if the workdir belongs to another config or command; nothing is changed.
  """
  _check_finite('', config.to_dict())
  path = workdir / 'run.json'
  run = {
    'config': json.loads(config.to_json_best_effort()),
    'overrides': {key: str(value) for key, value in overrides.items()},
    'evaluates': evaluates,
  }
  sections = {key: value for key, value in run['config'].items() if key != 'name'}
  plugins = config_lib.provenance(sections)
  # Products on a TPU or a GPU are as exact as this says, and so is every number.
  settings = {'jax_default_matmul_precision': str(jax.config.jax_default_matmul_precision)}
  if path.exists():
    before = read_run(workdir)
    if before['evaluates'] != evaluates:
      of = 'the evaluation of a zoo' if before['evaluates'] else 'a run'
      raise ValueError(f'{workdir} belongs to {of}; use another --workdir.')
    for name, source in plugins.items():
      if before['versions'].get(name) not in (None, source):
        raise ValueError(
          f'{workdir} was started with {name} of {before["versions"][name]}, which now is of '
          f'{source}; use another --workdir, or the earlier source.'
        )
    for name, value in settings.items():
      if (earlier := before.get('settings', {}).get(name, value)) != value:
        raise ValueError(
          f'{workdir} was started with {name} {earlier}, and it is {value} now; use another '
          f'--workdir, or set {name.upper()} as it was.'
        )
    if keys := sorted(_difference(_identity(before['config']), _identity(run['config']))):
      raise ValueError(
        f'{workdir} belongs to a run with another config: {", ".join(keys)} '
        'differ; use another --workdir, or the same config to go on.'
      )
  else:
    workdir.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
    devices = distributed.devices()
    made = run | {
      'versions': {name: importlib.metadata.version(name) for name in PACKAGES} | plugins,
      'device': f'{len(devices)} x {devices[0].device_kind}',
      'processes': jax.process_count(),
      'created_at': now,
      'settings': settings,
    }
    _write(path, files.seal(made))
  return Stages(workdir / 'stages.json')


def _check_finite(name: str, value: Any) -> None:
  """Raises ValueError for a number that JSON cannot hold, naming its field."""
  if isinstance(value, Mapping):
    for key, child in value.items():
      _check_finite(f'{name}.{key}'.lstrip('.'), child)
  elif isinstance(value, list | tuple):
    for child in value:
      _check_finite(name, child)
  elif isinstance(value, float) and not math.isfinite(value):
    raise ValueError(f'{name} is {value}; only finite numbers are allowed.')


def load_config(workdir: pathlib.Path) -> ml_collections.ConfigDict:
  """The config of the run in a workdir, for the devices of this process.

  Raises:
    ValueError: as `read_run`.
  """
  config = _tuples(read_run(workdir)['config'])
  # Whatever it was trained on; what is kept of it stays.
  fields = [key for key in loop.DEFAULTS if key in loop.EXECUTION]
  here = {key: loop.DEFAULTS[key] for key in fields if key not in ('keep', 'keep_best')}
  config['train'] |= here | {'mesh': (('data', -1),)}
  return ml_collections.ConfigDict(config, convert_dict=True).lock()


def of_run(workdir: pathlib.Path, stages: Stages) -> tuple[model.Run, list[str]]:
  """Describes the run in a workdir for its report; and notes about its training."""
  run = read_run(workdir)
  logs, notes = {}, []
  for file in sorted(workdir.glob('*train/**/goodput.jsonl')):
    name = str(file.parent.relative_to(workdir))
    try:
      logs[name] = goodput.summary(file)
      notes.append(f'{name}: {goodput.describe(logs[name])}')
    except (ValueError, OSError) as error:  # It is only a log.
      notes.append(f'{name}: no goodput, since {error}')
  fields = {key: run[key] for key in _RUN['required'] if key != 'evaluates'}
  precision = run.get('settings', {}).get('jax_default_matmul_precision', 'None')
  if precision != 'None':
    fields['device'] += f', matmul precision {precision}'
  name = run['config']['name']
  return model.Run(name, **fields, wall_seconds=stages.seconds, goodput=logs), notes


def read_run(workdir: pathlib.Path) -> dict[str, Any]:
  """What the run in a workdir is, from its run.json.

  Raises:
    ValueError: if there is no run, or the file is not as it was written.
    OSError: if it cannot be read.
  """
  path = workdir / 'run.json'
  if not path.exists():
    raise ValueError(f'{workdir} holds no run: it has no run.json.')
  return files.read_sealed(path, max_bytes=1 << 24, schema=_RUN)


def _tuples(value: Any) -> Any:
  """Lists of JSON as tuples, which configs have in their place."""
  if isinstance(value, dict):
    return {name: _tuples(child) for name, child in value.items()}
  return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _identity(config: Mapping[str, Any]) -> dict[str, Any]:
  """A config without what changes no number, such as the devices."""
  train = loop.DEFAULTS | dict(config.get('train', {}))
  kept = {key: train[key] for key in set(train) - set(loop.EXECUTION)}
  # A run from before there was an option goes on with its default.
  strategy = generative.DEFAULTS | dict(config.get('strategy', {}))
  sample = config_lib.defaults(generative.Sampling) | dict(config.get('sample', {}))
  return {**config, 'train': kept, 'strategy': strategy, 'sample': sample}


def _difference(a: Any, b: Any, prefix: str = '') -> set[str]:
  """Dotted keys of two JSON values where they differ."""
  if isinstance(a, dict) and isinstance(b, dict):
    keys = set(a) | set(b)
    found = [_difference(a.get(k), b.get(k), f'{prefix}.{k}') for k in keys]
    return set().union(*found)
  return set() if a == b else {prefix.removeprefix('.')}


def _write(path: pathlib.Path, text: str) -> None:
  """Writes a file, on one host only."""
  if distributed.is_writer():
    files.replace(path, text)
