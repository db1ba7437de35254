"""Files that anybody may have changed end in ValueError or OSError, or say what they said.

Mutations are of bytes, or of the value with every digest made right again, as an attacker does.
"""

import copy
import gc
import hashlib
import json
import pathlib
import random
import shutil

import numpy as np
import pytest

from tests.faults import foreign
from tests.reference import fake_report
from tests.zoo import zoo_samples
from wsjax import files, manifest
from wsjax.evaluation.report import html, model, terminal
from wsjax.interop import checkpoint
from wsjax.interop import records as interop_records
from wsjax.symmetry import spec
from wsjax.train.monitor import goodput, metrics_writer
from wsjax.zoo import build
from wsjax.zoo.store import log as log_lib
from wsjax.zoo.store import published, safetensors_io, store

ROOT = pathlib.Path(__file__).parents[2]
WEIRD = [
  None, True, -1, 0, 3, 2**53 + 1, 10**30, 1e308, -0.5, '', 'x', '\x1b[31m\u202e', 'a/../b',
  '\0', [], {}, [[]], {'': None}, 'y' * 5000, [None] * 100, {'name': {'name': []}},
]  # fmt: skip


def mutate_bytes(rng, content):
  """Flips, cuts, doubles or inserts bytes."""
  data = bytearray(content)
  for _ in range(rng.choice((1, 1, 1, 3, 20))):
    place = rng.randrange(len(data) + 1)
    act = rng.randrange(5)
    if act == 0 and place < len(data):
      data[place] ^= 1 << rng.randrange(8)
    elif act == 1:
      del data[place : place + rng.choice((1, 8, len(data)))]
    elif act == 2:
      data[place:place] = data[place : place + rng.randrange(200)]
    elif act == 3:
      data[place:place] = rng.choice(
        (b'\0', b'"', b'[' * 2000, b'9' * 400, b'1e999', b'\xff', b'{')
      )
    elif place < len(data):
      data[place] = rng.randrange(256)
  return bytes(data)


def mutate_value(rng, value):
  """Changes some places of a JSON value."""
  value = copy.deepcopy(value)
  for _ in range(rng.choice((1, 1, 2, 5))):
    parents = [value]
    for item in parents:
      children = item.values() if isinstance(item, dict) else item
      parents += [child for child in children if isinstance(child, dict | list) and child]
    parent = rng.choice(parents)
    key = rng.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
    act = rng.randrange(4)
    if act == 0:
      del parent[key]
    elif act == 1 and isinstance(parent, dict):
      parent[rng.choice(('x', 'name', 'kind'))] = copy.deepcopy(rng.choice(WEIRD))
    elif act == 2:
      parent[key] = copy.deepcopy(rng.choice(parents))
    else:
      parent[key] = copy.deepcopy(rng.choice(WEIRD))
    if not value:
      break
  return value


def sealed(value):
  return files.seal(value) if isinstance(value, dict) else json.dumps(value)


class Target:
  """A file, how it is read, and how its value is spelled with its digests."""

  def __init__(self, path, read, spell=json.dumps, is_lines=False, exact=False, value=None):
    self.path, self.read, self.spell = path, read, spell
    self.content = path.read_bytes()
    self.exact = exact
    load = files.parse_json
    self.is_lines = is_lines
    self.value = value
    if value is not None:
      return
    if is_lines:
      self.value = [load(line, 'x') for line in self.content.splitlines()]
    elif not exact:
      self.value = load(self.content, 'x')

  def mutated(self, rng):
    if self.value is None or rng.random() < 0.3:
      return mutate_bytes(rng, self.content)
    value = mutate_value(rng, self.value)
    if not self.is_lines:
      return self.spell(value).encode(errors='surrogatepass')
    return ''.join(f'{self.spell(each)}\n' for each in value).encode(errors='surrogatepass')


@pytest.fixture(scope='module')
def targets(tmp_path_factory):
  folder = tmp_path_factory.mktemp('fuzz')
  made = {}
  # A run.
  run = folder / 'run'
  run.mkdir()
  config = {
    'name': 'digits', 'seed': 0,
    'train': {'seeds': [0], 'steps': 3, 'learning_rate': 1e-3, 'mesh': [['data', -1]]},
    'zoo': {'path': '', 'recipe': {'learning_rate': [1e-3, 1e-2]}, 'splits': {'train': 8}},
    'generator': {'name': 'flow_matching', 'backbone': {'name': 'mlp', 'width': 8}},
  }  # fmt: skip
  value = {
    'config': config, 'overrides': {}, 'versions': {'jax': '1'}, 'device': '1 x cpu',
    'processes': 1, 'created_at': '2026', 'evaluates': None,
  }  # fmt: skip
  files.replace(run / 'run.json', files.seal(value))
  with goodput.Recorder(run / 'train/seed0/goodput.jsonl') as recorder:
    recorder.start(0)
    recorder.block(0, 2, seconds=0.1, compiled=True)
    recorder.save(0.1)
    recorder.block(2, 3, seconds=0.1, compiled=False)
    recorder.stop(3, goodput.DONE)

  def describe(_):
    manifest.load_config(run)
    manifest.of_run(run, manifest.Stages(run / 'stages.json'))

  made['run.json'] = Target(run / 'run.json', describe, sealed)
  log = run / 'train/seed0/goodput.jsonl'
  made['goodput.jsonl'] = Target(
    log, lambda path: goodput.describe(goodput.summary(path)), is_lines=True
  )
  with metrics_writer.Metrics(folder / 'm', resume_step=0) as writer:
    for step in (1, 2, 3):
      writer.write(step, {'loss': 1.0}, seconds=0.1)

  def resume(path):
    metrics_writer.read(path)
    metrics_writer.Metrics(path.parent, resume_step=2).close()
    for other in path.parent.glob('*.corrupt*'):
      other.unlink()

  made['metrics.jsonl'] = Target(folder / 'm/metrics.jsonl', resume, is_lines=True)
  (folder / 's').mkdir()
  files.replace(folder / 's/stages.json', json.dumps({'zoo': 1.0, 'train': 2.0}))

  def stages(path):
    opened = manifest.Stages(path)
    with opened.stage('zoo'):
      pass
    for other in path.parent.glob('*.corrupt*'):
      other.unlink()

  made['stages.json'] = Target(folder / 's/stages.json', stages)
  files.replace(folder / 's/seconds.json', json.dumps({'seconds': 1.5, 'networks': 3}))
  made['seconds.json'] = Target(
    folder / 's/seconds.json', lambda p: build.seconds_per_network(p.parent)
  )
  log_lib.write_plan(folder / 'b', {'seed': 0, 'section': config['zoo']})
  made['build.json'] = Target(
    folder / 'b/build.json',
    lambda p: log_lib.check_plan(p.parent, {'seed': 0, 'section': config['zoo']}, parts=()),
  )
  (folder / 'l').mkdir()
  (folder / 'l/.lock').write_text('{"pid": 1, "host": "a", "since": "b"}')
  made['.lock'] = Target(folder / 'l/.lock', lambda path: files._holder(path))
  # A report.
  fake_report.make(fake_report.METHODS[:3]).write(folder / 'r', lambda report: 'page')
  made['report.json'] = Target(
    folder / 'r/report.json',
    lambda p: terminal.show(model.load(p.parent)),
    lambda v: files.seal(v, sort_keys=False) if isinstance(v, dict) else json.dumps(v),
  )
  # A zoo, and the spec of its networks.
  with store.Log(folder / 'log') as log:
    log.append([zoo_samples.entry(i, split='train') for i in range(4)])
    zoo = store.publish(log, folder / 'zoo').path
  want = store.Zoo.open(zoo).content_digest

  def open_zoo(_):
    found = store.Zoo.open(zoo)
    found.params(np.arange(len(found)))
    return found

  def same_zoo(path):
    assert open_zoo(path).content_digest == want

  def remade(name, text):
    """A manifest in which the digest of a file is right again."""
    value = json.loads((zoo / published.MANIFEST).read_text())
    if name in value['files']:
      content = text.encode(errors='surrogatepass')
      value['files'][name] = {'bytes': len(content), 'sha256': hashlib.sha256(content).hexdigest()}
    return published.manifest_text(value)

  def spell_manifest(value):
    try:
      return published.manifest_text(value)
    except (ValueError, TypeError, AttributeError):
      return json.dumps(value)

  made['manifest.json'] = Target(zoo / published.MANIFEST, open_zoo, spell_manifest)
  records = Target(zoo / published.RECORDS, open_zoo, is_lines=True)
  original = (zoo / published.MANIFEST).read_bytes()

  def open_resealed(path):
    try:
      (zoo / published.MANIFEST).write_text(
        remade(published.RECORDS, path.read_bytes().decode(errors='surrogateescape'))
      )
      open_zoo(path)
    finally:
      (zoo / published.MANIFEST).write_bytes(original)

  records.read = open_resealed
  made['records.jsonl'] = records
  (shard,) = (zoo / published.SHARDS).iterdir()
  made['shard'] = Target(shard, same_zoo, exact=True)
  path = folder / 'spec.json'
  path.write_text(json.dumps(zoo_samples.ARCHITECTURE.spec.to_json()))
  made['spec'] = Target(path, lambda p: spec.Spec.from_json(files.read_json(p)))
  # Networks of others.
  network = folder / 'network.pt'
  shutil.copy(ROOT / 'tests/interop/golden/mlp.pt', network)
  made['network.pt'] = Target(network, checkpoint.read, exact=True)
  shutil.copytree(ROOT / 'tests/interop/golden/adapter', folder / 'adapter')
  made['adapter_config.json'] = Target(
    folder / 'adapter/adapter_config.json', lambda p: checkpoint.read(p.parent)
  )
  path = folder / 'network.safetensors'
  safetensors_io.save(path, {'a': np.ones((3, 5), np.float32), 'b': np.arange(4)}, {'x': 1})
  made['network.safetensors'] = Target(path, checkpoint.read, exact=True)
  path = folder / 'table.csv'
  path.write_text('id,seed,accuracy,license\none,1,0.5,MIT\ntwo,2,0.25,\n')
  made['table.csv'] = Target(path, interop_records.read, exact=True)

  def read_log(path):
    with store.Log(path.parent) as log:
      return [log.read(key) for key in log.keys()]

  made['data.mdb'] = Target(folder / 'log/data.mdb', read_log, exact=True)
  for name, (path, read, spell, value) in foreign.make(folder / 'foreign').items():
    exact = foreign.NAMES[name]
    made[name] = Target(path, read, spell, exact=exact, value=value)
  return made


def fuzz(target, rng, count):
  """Reads a file in many mutations; then it is as it was."""
  try:
    for number in range(count):
      content = target.mutated(rng)
      target.path.write_bytes(content)
      try:
        target.read(target.path)
      except (ValueError, OSError) as error:
        assert str(error) or type(error) is not ValueError
      except Exception as error:
        raise AssertionError(f'input {number}: {content[:2000]!r}') from error
  finally:
    target.path.write_bytes(target.content)
    gc.collect()  # What Orbax forgets of a damaged checkpoint is not another test's.
  target.read(target.path)


NAMES = [
  'run.json', 'goodput.jsonl', 'metrics.jsonl', 'stages.json', 'seconds.json', 'build.json',
  '.lock', 'report.json', 'manifest.json', 'records.jsonl', 'shard', 'spec', 'network.pt',
  'adapter_config.json', 'network.safetensors', 'table.csv', 'data.mdb', *foreign.NAMES,
]  # fmt: skip
# Inputs of what is read in a process of its own, or by a library that takes long.
SLOW = {'data.mdb': 20, 'architect.json': 40, 'hypernetwork.safetensors': 40} | {
  name: 60 for name in foreign.NAMES if name.startswith('orbax')
}


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
@pytest.mark.parametrize('name', NAMES)
def test_a_changed_file_is_an_error_or_harmless(name, targets, capsys):
  fuzz(targets[name], random.Random(name), SLOW.get(name, 340) // 2)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
@pytest.mark.parametrize('seed', range(10))
@pytest.mark.parametrize('name', NAMES)
def test_100_000_changed_files_are_errors_or_harmless(name, seed, targets, capsys):
  fuzz(targets[name], random.Random(f'{name} {seed}'), SLOW.get(name, 840))


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')  # Of matplotlib, for axes that make no sense.
def test_the_page_of_a_changed_report_is_an_error_or_harmless(targets):
  target = targets['report.json']
  target.read = lambda path: html.page(model.load(path.parent))
  fuzz(target, random.Random('page'), 100)
