"""Checkpoints larger than memory are merged from file to file, all or nothing."""

import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from wsjax.fusion import methods, recipe, stream
from wsjax.zoo.store import digest


def tensors(seed, dtype='f'):
  rng = np.random.default_rng(seed)
  return {
    'layers.0.weight': rng.normal(size=(5, 4)).astype(dtype),
    'layers.1.weight': rng.normal(size=(4, 4)).astype(dtype),
    'layers.1.bias': rng.normal(size=4).astype(dtype),
    'empty': np.zeros((0, 3), dtype),
    'steps': np.arange(3),
  }


@pytest.fixture
def files(tmp_path):
  for name, seed in (('a', 0), ('b', 1)):
    safetensors.numpy.save_file(tensors(seed), tmp_path / f'{name}.safetensors', {'format': 'pt'})
  return [str(tmp_path / f'{name}.safetensors') for name in 'ab']


def of(paths, method='linear', base=None, **parameters):
  sources = tuple(map(recipe.Source, paths))
  return recipe.Recipe(method, (recipe.Slice(sources),), base, {'weight': 0.5, **parameters})


def header(path):
  content = path.read_bytes()
  return json.loads(content[8 : 8 + int.from_bytes(content[:8], 'little')])


def test_pieces_and_whole_tensors_give_one_result(files, tmp_path, monkeypatch):
  monkeypatch.setattr(stream, '_PIECE', 7)
  written = stream.merge_files(of(files), tmp_path / 'out.safetensors')
  found = safetensors.numpy.load_file(written)
  for name, a in tensors(0).items():
    wanted = a if name == 'steps' else (a + tensors(1)[name]) / 2
    np.testing.assert_allclose(found[name], wanted, atol=1e-6)


def test_metadata_name_the_parents_by_digest(files, tmp_path):
  written = stream.merge_files(of(files), tmp_path / 'out.safetensors')
  metadata = header(written)['__metadata__']
  parents = json.loads(metadata['wsjax'])['merge']['parents']
  assert [p['tensor_digest'] for p in parents] == [digest.of_tensors(tensors(i)) for i in (0, 1)]
  assert metadata['format'] == 'pt' and [p['name'] for p in parents] == [
    'a.safetensors',
    'b.safetensors',
  ]


def test_layers_that_are_taken_twice_do_not_change_the_digest(files, tmp_path):
  sources = tuple(recipe.Source(path, {}, (0, 2)) for path in files)
  again = (recipe.Source(files[1], {}, (1, 2)),)
  made = recipe.Recipe('linear', (recipe.Slice(sources), recipe.Slice(again)), None, {'weight': 1})
  written = stream.merge_files(made, tmp_path / 'out.safetensors')
  found = safetensors.numpy.load_file(written)
  np.testing.assert_array_equal(found['layers.2.bias'], tensors(1)['layers.1.bias'])
  parents = json.loads(header(written)['__metadata__']['wsjax'])['merge']['parents']
  assert [p['tensor_digest'] for p in parents] == [digest.of_tensors(tensors(i)) for i in (0, 1)]


def test_shards_with_an_index_are_one_network(files, tmp_path):
  folder = tmp_path / 'sharded'
  folder.mkdir()
  parts = list(tensors(0).items())
  safetensors.numpy.save_file(dict(parts[:2]), folder / 'x-1.safetensors')
  safetensors.numpy.save_file(dict(parts[2:]), folder / 'x-2.safetensors')
  names = {name: f'x-{1 + (i > 1)}.safetensors' for i, (name, _) in enumerate(parts)}
  index = folder / 'model.safetensors.index.json'
  index.write_text(json.dumps({'weight_map': names}))
  written = stream.merge_files(of([str(folder), files[1]]), tmp_path / 'out')
  same = stream.merge_files(of(files), tmp_path / 'same')
  one, two = (safetensors.numpy.load_file(path) for path in (written, same))
  assert all((one[name] == two[name]).all() for name in one)
  index.write_text(json.dumps({'weight_map': {'a': '../a.safetensors'}}))
  with pytest.raises(ValueError, match='not in its folder'):
    stream.merge_files(of([str(folder), files[1]]), tmp_path / 'out2')


def test_bfloat16_is_computed_in_float32(tmp_path):
  paths = []
  for i in range(3):
    paths.append(str(tmp_path / f'{i}.safetensors'))
    made = {'w': tensors(i)['layers.0.weight'].astype(ml_dtypes.bfloat16)}
    safetensors.numpy.save_file(made, paths[-1])
  written = stream.merge_files(of(paths), tmp_path / 'out.safetensors')
  found = safetensors.numpy.load_file(written)['w']
  stack = [tensors(i)['layers.0.weight'].astype(ml_dtypes.bfloat16).astype('f') for i in range(3)]
  assert found.dtype == ml_dtypes.bfloat16
  np.testing.assert_array_equal(
    found, methods.merge('linear', stack, each={'weight': [0.5] * 3}).astype(ml_dtypes.bfloat16)
  )


def broken(tmp_path, files, name, change):
  made = tensors(1)
  change(made)
  safetensors.numpy.save_file(made, files[1])
  with pytest.raises(ValueError, match=name):
    stream.merge_files(of(files), tmp_path / 'out/merged.safetensors')
  assert not (tmp_path / 'out').exists()


def test_a_missing_or_misshapen_tensor_is_named_and_nothing_is_written(tmp_path, files):
  broken(tmp_path, files, "no tensor 'layers.1.bias'", lambda t: t.pop('layers.1.bias'))
  broken(tmp_path, files, 'layers.1.bias has different shapes',
         lambda t: t.update({'layers.1.bias': np.zeros(5, 'f')}))  # fmt: skip
  broken(tmp_path, files, 'steps is of type int64', lambda t: t.update(steps=np.arange(3) + 1))


def test_nothing_is_overwritten_and_no_other_format_is_read(files, tmp_path):
  with pytest.raises(ValueError, match='nothing is overwritten'):
    stream.merge_files(of(files), files[0])
  (tmp_path / 'c.pt').write_bytes(b'x')
  with pytest.raises(ValueError, match='no .safetensors file'):
    stream.merge_files(of([files[0], str(tmp_path / 'c.pt')]), tmp_path / 'out')
  with pytest.raises(ValueError, match='There is no'):
    stream.merge_files(of([files[0], 'org/model']), tmp_path / 'out')
  with open(files[1], 'r+b') as file:
    file.truncate(200)
  with pytest.raises(ValueError, match='b.safetensors'):
    stream.merge_files(of(files), tmp_path / 'out')


def test_random_methods_repeat_with_their_seed(files, tmp_path):
  made = of(files[1:], 'dare_linear', files[0], density=0.5)
  found = [
    safetensors.numpy.load_file(stream.merge_files(made, tmp_path / f'{i}.safetensors', seed=seed))
    for i, seed in enumerate((0, 0, 1))
  ]
  name = 'layers.0.weight'
  assert (found[0][name] == found[1][name]).all() and (found[0][name] != found[2][name]).any()
