"""What a run is: its config and versions, written before step 0."""

import contextlib
import datetime
import importlib.metadata
import json
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import ml_collections

from wsjax import distributed, files
from wsjax.generators.parts import sampling
from wsjax.train import generative, settings
from wsjax.train.monitor import goodput

PACKAGES = ('wsjax', 'jax', 'jaxlib', 'flax', 'optax', 'numpy', 'scipy')


class Stages:
  """Wall seconds of every stage of a run, summed over restarts."""

  def __init__(self, path: pathlib.Path):
    """Args: path: file that keeps them; read if it exists."""
    self._path = path
    self.seconds: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}

  @contextlib.contextmanager
  def stage(self, name: str) -> Iterator[None]:
    """Adds the wall time of its body, also of one that was interrupted."""
    start = time.perf_counter()
    try:
      yield
    finally:
      passed = time.perf_counter() - start
      self.seconds[name] = self.seconds.get(name, 0.0) + passed
      _write(self._path, self.seconds)


def open_run(
  workdir: pathlib.Path, config: ml_collections.ConfigDict, overrides: Mapping[str, Any]
) -> Stages:
  """Claims a workdir for a config, or checks that it is this config's.

  Args:
    workdir: created if it does not exist.
    config: of the run.
    overrides: what the command line changed in it.

  Returns:
    The stages that earlier starts went through.

  Raises:
    ValueError: if the workdir belongs to another config; nothing is changed.
  """
  path = workdir / 'run.json'
  run = {
    'config': json.loads(config.to_json_best_effort()),
    'overrides': {key: str(value) for key, value in overrides.items()},
  }
  if path.exists():
    before = json.loads(path.read_text())['config']
    if keys := sorted(_difference(_identity(before), _identity(run['config']))):
      raise ValueError(
        f'{workdir} belongs to a run with another config: {", ".join(keys)} '
        'differ; use another --workdir, or the same config to go on.'
      )
  else:
    workdir.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
    devices = jax.devices()
    _write(
      path,
      run
      | {
        'versions': {name: importlib.metadata.version(name) for name in PACKAGES},
        'device': f'{len(devices)} x {devices[0].device_kind}',
        'processes': jax.process_count(),
        'created_at': now,
      },
    )
  return Stages(workdir / 'stages.json')


def load_config(workdir: pathlib.Path) -> ml_collections.ConfigDict:
  """The config of the run in a workdir, for the devices of this process.

  Raises:
    ValueError: if there is no run.
  """
  path = workdir / 'run.json'
  if not path.exists():
    raise ValueError(f'{workdir} holds no run: it has no run.json.')
  config = json.loads(path.read_text())['config']
  config = ml_collections.ConfigDict(config, convert_dict=True)
  # Whatever it was trained on; what is kept of it stays.
  config.train.update(
    {
      key: value
      for key, value in settings.DEFAULTS.items()
      if key in settings.HOW and key not in ('keep', 'keep_best')
    }
  )
  config.train.mesh = (('data', -1),)
  return config.lock()


def describe(workdir: pathlib.Path) -> dict[str, Any]:
  """The parts of the report that say what the run in a workdir was."""
  run = json.loads((workdir / 'run.json').read_text())
  logs, notes = {}, []
  for file in sorted(workdir.glob('*train/**/goodput.jsonl')):
    name = str(file.parent.relative_to(workdir))
    try:
      logs[name] = goodput.summary(file)
      notes.append(f'{name}: {goodput.describe(logs[name])}')
    except ValueError as error:  # It is only a log.
      notes.append(f'{name}: no goodput, since {error}')
  return run | {
    'schema_version': '1.0.0',
    'name': run['config']['name'],
    'config_text': json.dumps(run['config'], indent=2),
    'goodput': logs,
    'notes': notes,
  }


def _identity(config: Mapping[str, Any]) -> dict[str, Any]:
  """A config without what changes no number, such as the devices."""
  train = settings.DEFAULTS | dict(config.get('train', {}))
  kept = {key: train[key] for key in set(train) - set(settings.HOW)}
  # A run from before there was an option goes on with its default.
  strategy = generative.DEFAULTS | dict(config.get('strategy', {}))
  sample = sampling.DEFAULTS | dict(config.get('sample', {}))
  return {**config, 'train': kept, 'strategy': strategy, 'sample': sample}


def _difference(a: Any, b: Any, prefix: str = '') -> set[str]:
  """Dotted keys of two JSON values where they differ."""
  if isinstance(a, dict) and isinstance(b, dict):
    keys = set(a) | set(b)
    found = [_difference(a.get(k), b.get(k), f'{prefix}.{k}') for k in keys]
    return set().union(*found)
  return set() if a == b else {prefix.removeprefix('.')}


def _write(path: pathlib.Path, value: Any) -> None:
  """Writes JSON, on one host only."""
  if distributed.is_writer():
    files.replace(path, json.dumps(value, indent=2, sort_keys=True))
