"""Damaged zoos. Each is a ValueError of one sentence that names the file, wherever it is noticed:
at open, or when the weights are read.
"""

import json
import os
import shutil

import numpy as np
import pytest

from tests.zoo import zoo_samples
from wsjax.models import cnn
from wsjax.zoo.store import digest, safetensors_io, store
from wsjax.zoo.store import published as published_lib
from wsjax.zoo.store import record as record_lib

CNN = cnn.CNN(image=(4, 4, 1), channels=(2,), dense=(3,), num_classes=2)


@pytest.fixture
def folder(published, tmp_path):
  """A copy of the published zoo, to be damaged."""
  return shutil.copytree(published, tmp_path / 'zoo')


def flip(path, place):
  content = bytearray(path.read_bytes())
  content[place] ^= 1
  path.write_bytes(bytes(content))


def everything(path):
  zoo = store.Zoo.open(path)
  for index in range(len(zoo)):
    zoo.params([index])


@pytest.mark.parametrize('where', [0, 0.2, 0.5, 0.8, 0.999])
@pytest.mark.parametrize('name', ['manifest.json', 'records.jsonl', 'shards/00001.safetensors'])
def test_a_flipped_byte_is_noticed(folder, name, where):
  flip(folder / name, int(where * (folder / name).stat().st_size))
  with pytest.raises(ValueError, match=os.path.basename(name)) as caught:
    everything(folder)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize('damage', ['truncate', 'extend', 'delete'])
@pytest.mark.parametrize('name', ['manifest.json', 'records.jsonl', 'shards/00001.safetensors'])
def test_a_truncated_or_missing_file_is_noticed_at_open(folder, name, damage):
  content = (folder / name).read_bytes()
  if damage == 'delete':
    (folder / name).unlink()
  else:
    changed = content[:-9] if damage == 'truncate' else content + b'\n'
    (folder / name).write_bytes(changed)
  with pytest.raises(ValueError, match=os.path.basename(name)):
    store.Zoo.open(folder)


def test_a_swapped_shard_is_noticed(folder):
  one, other = (folder / f'shards/0000{i}.safetensors' for i in range(2))
  content = one.read_bytes()
  one.write_bytes(other.read_bytes())
  other.write_bytes(content)
  with pytest.raises(ValueError, match='shards/0000[01].*was changed'):
    everything(folder)


def test_a_byte_that_flips_after_the_shard_was_verified_is_noticed(folder):
  zoo = store.Zoo.open(folder)
  zoo.params([0])
  with open(folder / 'shards/00000.safetensors', 'r+b') as file:
    file.seek(-1, os.SEEK_END)
    last = file.read(1)[0]
    file.seek(-1, os.SEEK_END)
    file.write(bytes([last ^ 1]))
  with pytest.raises(ValueError, match=r"00000.safetensors net '000001' was"):
    zoo.params([0, 1])


def reseal(path):
  """Makes all digests of a zoo agree again, as a careless tool would."""
  manifest = json.loads((path / 'manifest.json').read_text())
  for name in manifest['files']:
    manifest['files'][name] = {
      'bytes': (path / name).stat().st_size,
      'sha256': digest.of_file(path / name),
    }
  (path / 'manifest.json').write_text(published_lib.manifest_text(manifest))


def edit_records(path, change):
  file = path / 'records.jsonl'
  lines = [json.loads(line) for line in file.read_text().splitlines()]
  changed = change(lines)
  lines = changed if isinstance(changed, list) else lines
  file.write_text(''.join(json.dumps(line) + '\n' for line in lines))
  reseal(path)


def edit_shard(path, change):
  file = path / 'shards/00001.safetensors'
  mapped, metadata = safetensors_io.open_mapped(file)
  tensors = {name: np.array(array) for name, array in mapped.items()}
  change(tensors)
  safetensors_io.save(file, tensors, metadata)
  reseal(path)


def resign(line):
  line['record']['record_id'] = record_lib.record_id(line['record'])


def with_nan(path):
  """Weights, record and manifest agree; only the mark is missing."""
  edit_shard(path, lambda tensors: tensors['layer0/bias'][0].fill(np.nan))
  tensors = safetensors_io.open_mapped(path / 'shards/00001.safetensors')[0]

  def change(lines):
    lines[2]['record']['tensor_digest'] = digest.of_stacked(tensors)[0]
    resign(lines[2])

  edit_records(path, change)


def other_tree(lines):
  """A parameter tree that agrees with itself but not with the weights."""
  other = zoo_samples.fields(zoo_samples.params(0, CNN), 2, CNN)
  lines[2]['record'] = record_lib.make(**other)


def weights(change):
  return lambda path: edit_shard(path, change)


def lines(change):
  return lambda path: edit_records(path, change)


def record(number, **changes):
  return lines(lambda lines: lines[number]['record'].update(changes))


def huge_tree(lines):
  record = lines[2]['record']
  record['param_tree'][0]['shape'][0] = 1 << 44


BIAS = 'layer0/bias'
SHARD = '00001.safetensors'
BAD = {
  'NaN not marked': (with_nan, f"{SHARD} net '000002' has NaN"),
  'other weights': (
    weights(lambda tensors: tensors[BIAS].fill(7)),
    f"{SHARD} net '000002' was changed",
  ),
  'a leaf is missing': (
    weights(lambda tensors: tensors.pop(BIAS)),
    f"{SHARD} does not fit .*'layer0/bias'",
  ),
  'another shape': (
    weights(lambda tensors: tensors.update({BIAS: np.ones((2, 9), 'f4')})),
    f'{SHARD} does not fit .*shape',
  ),
  'another dtype': (
    weights(lambda tensors: tensors.update({BIAS: np.ones((2, 3))})),
    f'{SHARD} does not fit .*float64',
  ),
  'rows missing': (
    weights(lambda t: t.update({path: t[path][:1] for path in t})),
    f'{SHARD} does not fit .*1 rows',
  ),
  'another architecture': (lines(other_tree), f'{SHARD} does not fit'),
  'tree and symmetry disagree': (record(1, symmetry=[]), "net '000001' has a broken architecture"),
  'another schema version': (
    record(3, schema_version='2.0.0'),
    "records.jsonl net '000003' .*schema version",
  ),
  'a field is missing': (
    lines(lambda lines: lines[3]['record'].pop('license')),
    "records.jsonl net '000003' .*'license'",
  ),
  'a record is missing': (lines(lambda lines: lines[:-1]), 'has 4 records'),
  'a line that is no object': (lines(lambda lines: [*lines[:-1], 3]), 'records.jsonl line 5'),
  'a place that does not exist': (
    lines(lambda lines: lines[0].update(shard='shards/9')),
    "records.jsonl net '000000' .*place",
  ),
  'a negative row': (lines(lambda lines: lines[0].update(row=-1)), "net '000000' .*row"),
  'a row beyond any shard': (
    lines(lambda lines: lines[0].update(row=1 << 62)),
    "net '000000' .*row",
  ),
  'a shard that is a list': (
    lines(lambda lines: lines[0].update(shard=['x'])),
    "net '000000' .*place",
  ),
  'a key that is a number': (lines(lambda lines: lines[0].update(key=3)), 'line 1'),
  'weights that no memory holds': (lines(huge_tree), f'{SHARD} does not fit'),
  **{
    f'{name} is {type(value).__name__}': (record(1, **{name: value}), f"net '000001' .*{name}")
    for name, value in [
      ('arch_id', ['mlp']),
      ('arch_id', {}),
      ('activation', ['relu']),
      ('activation', 3),
      ('split', []),
      ('split', 'dev'),
      ('split_group', {}),
      ('diverged', 0),
      ('step', '1'),
      ('steps', [1]),
      ('final', {}),
      ('final', [1]),
      ('final', [{'split': 'val'}]),
      ('trace', 1),
      ('optimizer', 'adam'),
      ('optimizer', {'hparams': 1}),
      ('datasets', ['digits']),
    ]
  },
  'a run in two splits': (record(1, split='test', split_group='run0'), "'run0' is in both"),
}


@pytest.mark.parametrize('name', BAD)
def test_a_zoo_that_contradicts_itself_is_refused(folder, name):
  damage, message = BAD[name]
  damage(folder)
  with pytest.raises(ValueError, match=message) as caught:
    everything(folder)
  assert '\n' not in str(caught.value)


def test_check_finds_a_forged_record(folder):
  edit_records(folder, lambda lines: lines[3]['record'].update(license='MIT'))
  everything(folder)
  with pytest.raises(ValueError, match="net '000003' .*'record_id'"):
    store.Zoo.open(folder).check()


RECORDS = {'bytes': 0, 'sha256': ''}


@pytest.mark.parametrize(
  'change, message',
  [
    ({'schema_version': '9.0.0'}, 'schema_version'),
    ({'num_nets': 6}, '6'),
    ({'num_nets': 0}, 'num_nets'),
    ({'num_nets': True}, 'num_nets'),
    ({'files': {}}, 'records.jsonl'),
    ({'files': ['records.jsonl']}, 'files'),
    ({'files': {'records.jsonl': RECORDS, '../x': RECORDS}}, 'x'),
    ({'files': {'records.jsonl': RECORDS, '/x': RECORDS}}, 'x'),
    ({'files': {'records.jsonl': 3}}, 'records.jsonl'),
    ({'content_digest': None}, 'content_digest'),
  ],
)
def test_a_wrong_manifest_is_refused(folder, change, message):
  manifest = json.loads((folder / 'manifest.json').read_text()) | change
  (folder / 'manifest.json').write_text(published_lib.manifest_text(manifest))
  with pytest.raises(ValueError, match=message):
    store.Zoo.open(folder)


def test_a_key_that_is_there_twice_is_refused(folder):
  file = folder / 'records.jsonl'
  file.write_text(file.read_text().replace('"license":', '"license":"MIT","license":', 1))
  reseal(folder)
  with pytest.raises(ValueError, match='license'):
    store.Zoo.open(folder)


def test_control_characters_of_others_are_escaped(folder):
  manifest = json.loads((folder / 'manifest.json').read_text())
  manifest['files']['records.jsonl']['sha256'] = '\x1b]0;title\x07'
  (folder / 'manifest.json').write_text(published_lib.manifest_text(manifest))
  with pytest.raises(ValueError) as caught:
    store.Zoo.open(folder)
  assert '\x1b' not in str(caught.value)
