"""One flipped bit in any file of a finished run is an error, or changes nothing that is read."""

import collections
import random
import shutil

import jax
import numpy as np
import pytest

from wsjax import files, manifest
from wsjax.evaluation.report import model
from wsjax.experiments import base, generation
from wsjax.train.monitor import goodput, metrics_writer
from wsjax.zoo import build
from wsjax.zoo.store import log, store

# What only informs: no number of a result is read from it.
INFORMS = {'.lock', 'goodput.jsonl', 'metrics.jsonl', 'stages.json', 'seconds.json', 'report.html'}


def _networks(folder):
  zoo = store.Zoo.open(folder)
  return zoo.content_digest, [x.tobytes() for x in zoo.params(np.arange(len(zoo))).values()]


def _log(folder):
  with store.Log(folder) as opened:
    return [repr(opened.read(key)) for key in opened.keys()]


def _informing(path):
  """Reads what informs; nothing is compared."""
  read = {
    'goodput.jsonl': goodput.summary,
    'metrics.jsonl': metrics_writer.read,
    'stages.json': manifest.Stages,
    'seconds.json': lambda file: build.seconds_per_network(file.parent),
  }
  read.get(path.name, lambda file: file.read_bytes())(path)


def _reader(run, path):
  """What a file is for: function () -> what is read of it."""
  folder, name = path.relative_to(run).parts[0], path.name
  if name in INFORMS:
    return lambda: _informing(path)
  if name == 'report.json':
    return lambda: model.load(run).plain()
  if name == 'run.json':
    return lambda: manifest.read_run(run)
  if folder == 'train':
    return lambda: _restored(run)
  if path.parent.name == 'log.lmdb':
    return lambda: _log(path.parents[1])
  if name == log.NAME:
    plan = files.read_json(path)
    return lambda: log.check_plan(path.parent, plan, parts=())
  return lambda: _networks(run / 'zoo' if folder == 'zoo' else run / 'samples/seed0')


def _restored(run):
  config = manifest.load_config(run)
  zoo = base.open_zoo(config, run, progress=False, trains=False)
  params, _ = generation.of_run(config, zoo, run).fit(0, trains=False)
  return [np.asarray(x).tobytes() for x in jax.tree.leaves(params)]


def _is_sealed(path):
  """Whether every bit of a file counts."""
  names = {'report.json', 'run.json', 'manifest.json', 'records.jsonl'}
  return path.name in names or path.suffix in ('.safetensors', '.parquet')


def _flip(path, rng):
  content = bytearray(path.read_bytes())
  content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
  path.write_bytes(content)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
@pytest.mark.parametrize('seed', range(10))
def test_a_flipped_bit_is_an_error_or_harmless(seed, smoke_run, tmp_path):
  """A thousand of them, in all; files are drawn alike, whatever their length."""
  run = shutil.copytree(smoke_run('digits_flow')[1], tmp_path / 'run')
  names = sorted(path for path in run.rglob('*') if path.is_file() and path.stat().st_size)
  rng, found, intact = random.Random(seed), collections.Counter(), {}
  for path in rng.choices(names, k=100):
    if path not in intact:
      intact[path] = _reader(run, path), _reader(run, path)()
    read, want = intact[path]
    kept = shutil.copytree(run, tmp_path / 'kept')
    _flip(path, rng)
    try:
      outcome = 'informs' if path.name in INFORMS else 'harmless'
      assert read() == want, path
    except (ValueError, OSError):
      outcome = 'detected'
    found[outcome] += 1
    assert outcome == 'detected' or not _is_sealed(path), path
    shutil.rmtree(run)
    kept.rename(run)
  # The rest are older checkpoints and what informs.
  assert found['detected'] > 20 and found['harmless'], found
