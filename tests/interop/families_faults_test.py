"""Bad directories of foreign networks: refused, and nothing is written."""

import importlib
import io
import json
import random
import zipfile

import numpy as np
import pytest

from wsjax.interop.families import es_policies

ARRAYS = {
  'rl_agents': 'agents.npz',
  'es_policies': 'policies.npz',
  'third_party_classifiers': 'weights.npz',
}
FAMILY = es_policies.FAMILY


def family_of(name):
  return importlib.import_module(f'wsjax.interop.families.{name}').FAMILY


# What is wrong -> (change of the index, change of the arrays, what the error names).
FAULTS = {
  'a key is missing': (lambda index: index[0].pop('task'), None, "index.json .*0.*'task'"),
  'two have one id': (lambda index: index.append(index[0]), None, "two entries with id 'one'"),
  'no list of objects': (lambda index: index.insert(0, 3), None, 'index.json .*0: 3'),
  'another count': (lambda index: index[0].update(n_params=99), None, "'one'.*21 .*says 99"),
  'not a number': (None, lambda arrays: arrays['one:b0'].fill(np.nan), "'one:b0'.*finite"),
  'another dtype': (
    None,
    lambda arrays: arrays.update({'one:b0': np.zeros(4)}),
    'finite float32; it is float64',
  ),
  'pickles': (
    None,
    lambda arrays: arrays.update({'one:b0': np.array([{}], object)}),
    'policies.npz is broken: .*pickle',
  ),
  'of no network': (
    None,
    lambda arrays: arrays.update({'two:b0': np.zeros(4, np.float32)}),
    "'two:b0', which is of no network",
  ),
  'another shape': (lambda index: index[0].update(layers={'b0': [5]}), None, "'b0' has no shape"),
  'a layer that is not there': (
    lambda index: index[0].update(layer_sizes=[3, 4, 2, 1]),
    None,
    "'one' lacks array 'w2'",
  ),
  'a kernel that is no matrix': (
    None,
    lambda arrays: arrays.update({'one:w0': np.ones(12, np.float32)}),
    "'one'.*no tensor becomes layer0/kernel",
  ),
  'an unknown activation': (
    lambda index: index[0].update(hidden_activation='cube'),
    None,
    "'one'.*cube",
  ),
}
# Fields of another type, which the error names.
TYPES = {
  'id': [3, None, '', ['one']],
  'n_params': ['21', 21.5, -1, None, True, 10**400],
  'layers': [3, [4], {'b0': 4}, {'b0': [[4]]}],
  'layer_sizes': ['34', [3], [3, -4, 1], [3, 4.5, 1], [3, '4', 1], {'0': 3}, [1 << 40, 1]],
  'hidden_activation': [3, None, ['tanh']],
  'task': [{}, 3],
  'time_input': ['yes', 1],
  'score': ['high', [1.0]],
}


def write(folder, change_index=None, change_arrays=None):
  """One small policy, with a fault if wanted."""
  index = [
    dict(
      id='one', task='walk', layer_sizes=[3, 4, 1], time_input=False,
      hidden_activation='tanh', output_activation='tanh', score=1.0,
      n_params=21,
    )
  ]  # fmt: skip
  shapes = {'w0': (3, 4), 'b0': (4,), 'w1': (4, 1), 'b1': (1,)}
  arrays = {f'one:{k}': np.ones(v, np.float32) for k, v in shapes.items()}
  if change_index:
    change_index(index)
  if change_arrays:
    change_arrays(arrays)
  folder.mkdir()
  (folder / 'index.json').write_text(json.dumps(index))
  np.savez(folder / 'policies.npz', **arrays)


def test_a_small_folder_without_faults_is_imported(tmp_path):
  write(tmp_path / 'in')
  assert len(FAMILY.import_zoo(tmp_path / 'in', tmp_path / 'out')) == 1


@pytest.mark.parametrize('fault', FAULTS)
def test_a_bad_folder_is_refused_and_nothing_is_written(fault, tmp_path):
  change_index, change_arrays, message = FAULTS[fault]
  write(tmp_path / 'in', change_index, change_arrays)
  with pytest.raises(ValueError, match=message):
    FAMILY.import_zoo(tmp_path / 'in', tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('field', TYPES)
def test_a_field_of_another_type_is_named(field, tmp_path):
  for number, value in enumerate(TYPES[field]):
    folder = tmp_path / str(number)
    write(folder, lambda index, value=value: index[0].update({field: value}))
    with pytest.raises(ValueError, match='index.json') as error:
      list(FAMILY.checkpoints(folder))
    assert field in str(error.value) or value == 10**400


def test_an_archive_is_not_unpacked_beyond_what_the_index_promises(tmp_path):
  write(tmp_path / 'bomb')
  with zipfile.ZipFile(tmp_path / 'bomb/policies.npz', 'w', zipfile.ZIP_DEFLATED) as archive:
    content = io.BytesIO()
    np.save(content, np.zeros(1 << 18, np.float32))
    archive.writestr('one:w0.npy', content.getvalue())
  with pytest.raises(ValueError, match='policies.npz.*unpacks to more'):
    list(FAMILY.checkpoints(tmp_path / 'bomb'))
  write(tmp_path / 'sparse')
  with open(tmp_path / 'sparse/policies.npz', 'r+b') as file:
    file.truncate(1 << 34)
  with pytest.raises(ValueError, match='policies.npz is 17179869184 bytes long'):
    list(FAMILY.checkpoints(tmp_path / 'sparse'))
  write(tmp_path / 'huge')
  with zipfile.ZipFile(tmp_path / 'huge/policies.npz', 'w') as archive:
    content = io.BytesIO()
    header = {'descr': '<f4', 'fortran_order': False, 'shape': (1 << 44,)}
    np.lib.format.write_array_header_1_0(content, header)
    archive.writestr('one:w0.npy', content.getvalue())
  with pytest.raises(ValueError, match='policies.npz is broken: .*has 0 bytes'):
    list(FAMILY.checkpoints(tmp_path / 'huge'))


def mutated(content, generator):
  """Bytes of a file with one change of any kind."""
  content = bytearray(content)
  kind, place = generator.randrange(4), generator.randrange(len(content))
  if kind == 0:
    content[place] ^= 1 << generator.randrange(8)
  elif kind == 1:
    del content[place : place + generator.randrange(1, 64)]
  elif kind == 2:
    content[place:place] = generator.randbytes(generator.randrange(1, 64))
  else:
    content[place : place + 4] = generator.choice((b'\0\0\0\0', b'\xff\xff\xff\xff', b'(((('))
  return bytes(content)


@pytest.mark.parametrize('name', ['index.json', 'policies.npz'])
def test_damaged_files_are_read_or_refused_in_one_sentence(name, tmp_path):
  write(tmp_path / 'in')
  path = tmp_path / 'in' / name
  content, generator = path.read_bytes(), random.Random(0)
  refused = 0
  for _ in range(500):
    path.write_bytes(mutated(content, generator))
    try:
      list(FAMILY.checkpoints(tmp_path / 'in'))
    except ValueError as error:
      refused += 1
      assert str(tmp_path) in str(error)
  assert refused > 250


@pytest.mark.parametrize('name', ARRAYS)
def test_files_that_are_missing_or_broken_are_refused(name, tmp_path):
  read = family_of(name).import_zoo
  with pytest.raises(ValueError, match=r'index\.json is missing'):
    read(tmp_path, tmp_path / 'out')
  (tmp_path / 'index.json').write_text('[')
  (tmp_path / ARRAYS[name]).write_bytes(b'no zip')
  with pytest.raises(ValueError, match=r'index\.json'):
    read(tmp_path, tmp_path / 'out')
  (tmp_path / 'index.json').write_text('[]')
  with pytest.raises(ValueError, match=r'\.npz is broken'):
    read(tmp_path, tmp_path / 'out')
  (tmp_path / ARRAYS[name]).unlink()
  with pytest.raises(ValueError, match=r'\.npz is missing'):
    read(tmp_path, tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


def test_a_classifier_of_unknown_source_or_scale_is_refused(shared_data, tmp_path):
  source = shared_data / 'third_party_classifiers'
  index = json.loads((source / 'index.json').read_text())
  index[0]['input_normalization'] = 'mean and deviation'
  (tmp_path / 'index.json').write_text(json.dumps(index))
  (tmp_path / 'weights.npz').write_bytes((source / 'weights.npz').read_bytes())
  with pytest.raises(ValueError, match='input_normalization'):
    family_of('third_party_classifiers').import_zoo(tmp_path, tmp_path / 'out')
  assert not (tmp_path / 'out').exists()
