"""Bad folders of foreign networks: refused, and nothing is written."""

import importlib
import json

import numpy as np
import pytest

from wsjax.zoo.importers import es_policies
from wsjax.zoo.importers import third_party_classifiers as classifiers

ARRAYS = {
  'rl_agents': 'agents.npz',
  'es_policies': 'policies.npz',
  'third_party_classifiers': 'weights.npz',
}


# What is wrong -> (change of the index, change of the arrays, message).
FAULTS = {
  'a key is missing': (
    lambda index: index[0].pop('task'), None, "entry 0 lacks key 'task'"
  ),
  'two have one id': (
    lambda index: index.append(index[0]), None, "two entries with id 'one'"
  ),
  'no list': (lambda index: index.insert(0, 3), None, 'a list of objects'),
  'another count': (
    lambda index: index[0].update(n_params=99), None, '21 weights .* says 99'
  ),
  'not a number': (
    None, lambda arrays: arrays['one:b0'].fill(np.nan), "'one:b0'.*finite"
  ),
  'another dtype': (
    None,
    lambda arrays: arrays.update({'one:b0': np.zeros(4)}),
    'finite float32; it is float64',
  ),
  'pickles': (
    None,
    lambda arrays: arrays.update({'one:b0': np.array([{}], object)}),
    'broken: Object arrays cannot be loaded',
  ),
  'of no network': (
    None,
    lambda arrays: arrays.update({'two:b0': np.zeros(4, np.float32)}),
    "'two:b0', which is of no network",
  ),
  'another shape': (
    lambda index: index[0].update(layers={'b0': [5]}), None, 'of shape'
  ),
  'a layer is missing': (
    lambda index: index[0].update(layer_sizes=[3, 4, 2, 1]), None, 'lacks'
  ),
  'an unknown activation': (
    lambda index: index[0].update(hidden_activation='cube'), None, 'cube'
  ),
}  # fmt: skip


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
  assert len(es_policies.import_zoo(tmp_path / 'in', tmp_path / 'out')) == 1


@pytest.mark.parametrize('fault', FAULTS)
def test_a_bad_folder_is_refused_and_nothing_is_written(fault, tmp_path):
  change_index, change_arrays, message = FAULTS[fault]
  write(tmp_path / 'in', change_index, change_arrays)
  with pytest.raises(ValueError, match=message):
    es_policies.import_zoo(tmp_path / 'in', tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('family', ARRAYS)
def test_files_that_are_missing_or_broken_are_refused(family, tmp_path):
  read = importlib.import_module(f'wsjax.zoo.importers.{family}').import_zoo
  with pytest.raises(ValueError, match=r'index\.json is missing'):
    read(tmp_path, tmp_path / 'out')
  (tmp_path / 'index.json').write_text('[')
  with pytest.raises(ValueError, match=r'index\.json is broken'):
    read(tmp_path, tmp_path / 'out')
  (tmp_path / 'index.json').write_text('[]')
  with pytest.raises(ValueError, match=r'\.npz is missing'):
    read(tmp_path, tmp_path / 'out')
  (tmp_path / ARRAYS[family]).write_bytes(b'no zip')
  with pytest.raises(ValueError, match=r'\.npz is broken'):
    read(tmp_path, tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


def test_a_classifier_of_unknown_source_or_scale_is_refused(shared_data, tmp_path):
  source = shared_data / 'third_party_classifiers'
  index = json.loads((source / 'index.json').read_text())
  index[0]['input_normalization'] = 'mean and deviation'
  (tmp_path / 'index.json').write_text(json.dumps(index))
  (tmp_path / 'weights.npz').write_bytes((source / 'weights.npz').read_bytes())
  with pytest.raises(ValueError, match='take pixels in'):
    classifiers.import_zoo(tmp_path, tmp_path / 'out')
  assert not (tmp_path / 'out').exists()
