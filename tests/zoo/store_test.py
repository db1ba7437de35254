import weakref

import jax
import numpy as np
import pytest

import wsjax
from tests.zoo import zoo_samples
from wsjax.models import cnn, mlp, siren
from wsjax.zoo.store import digest, store
from wsjax.zoo.store import record as record_lib

CNN = cnn.CNN(image=(4, 4, 1), channels=(2,), dense=(3,), num_classes=2)


def stack(seeds, architecture=zoo_samples.ARCHITECTURE):
  nets = [zoo_samples.params(seed, architecture) for seed in seeds]
  return {path: np.stack([net[path] for net in nets]) for path in nets[0]}


def assert_same(found, expected):
  assert found.keys() == expected.keys()
  for path, array in expected.items():
    assert found[path].dtype == array.dtype
    np.testing.assert_array_equal(found[path], array)


def test_random_access_gives_the_trained_weights(published):
  zoo = store.Zoo.open(published)
  assert len(zoo) == 5
  for indices in ([0, 1, 2, 3, 4], [4, 0, 4, 2], np.array([3])):
    assert_same(zoo.params(indices), stack(indices))
  zoo.check()


def test_a_zoo_says_what_it_holds(published):
  zoo = store.Zoo.open(published)
  assert zoo.spec == zoo_samples.ARCHITECTURE.spec
  assert zoo.model == zoo_samples.ARCHITECTURE
  assert zoo.keys == [f'{i:06d}' for i in range(5)]
  assert zoo.records[3] == zoo_samples.entry(3).record
  assert zoo.digest == digest.of_file(published / 'manifest.json')
  files = {str(p.relative_to(published)) for p in published.rglob('*.*')}
  assert files >= {
    'manifest.json', 'records.jsonl', 'shards/00000.safetensors',
    'shards/00001.safetensors', 'shards/00002.safetensors',
  }  # fmt: skip


def test_the_content_digest_is_of_the_weights_alone(published, tmp_path):
  later = [zoo_samples.entry(seed, created_at='2027-01-01T00:00:00Z') for seed in range(5)]
  zoo = store.Zoo.open(published)
  other = zoo_samples.zoo(tmp_path, entries=later, shard_size=4)
  assert other.digest != zoo.digest
  assert other.content_digest == zoo.content_digest


def test_the_same_log_is_published_the_same_way(published, tmp_path):
  assert zoo_samples.zoo(tmp_path, 5).digest == store.Zoo.open(published).digest


def mixed_zoo(path):
  """Two runs with snapshots, a failed run, and one of another architecture."""
  nan = zoo_samples.params(2)
  nan['layer1/bias'][:] = np.nan
  runs = [
    zoo_samples.entry(0, step=50, run_id='a', split_group='a'),
    zoo_samples.entry(1, step=100, run_id='a', split_group='a'),
    zoo_samples.entry(2, weights=nan, diverged=True, split='val'),
    zoo_samples.entry(3, CNN, split='holdout_audit'),
    zoo_samples.entry(4, split='test', step=None, steps=None),
    zoo_samples.entry(5, CNN, split='val'),
  ]
  return zoo_samples.zoo(path, entries=runs)


def test_select_by_split_step_failure_and_architecture(tmp_path):
  zoo = mixed_zoo(tmp_path)
  assert zoo.select().tolist() == [1, 3, 4, 5]
  assert zoo.select(final=None).tolist() == [0, 1, 3, 4, 5]
  assert zoo.select(final=False).tolist() == [0]
  assert zoo.select(diverged=None).tolist() == [1, 2, 3, 4, 5]
  assert zoo.select(diverged=True).tolist() == [2]
  assert zoo.select(split='val', diverged=None).tolist() == [2, 5]
  assert zoo.select(split='val', arch_id='cnn').tolist() == [5]
  assert zoo.select(arch_id='siren').tolist() == []
  with pytest.raises(ValueError, match="'dev'"):
    zoo.select(split='dev')


def test_architectures_are_kept_apart(tmp_path):
  zoo = mixed_zoo(tmp_path)
  assert [a.arch_id for a in zoo.architectures] == ['mlp', 'cnn']
  assert zoo.architectures[1].build() == CNN
  assert zoo.architectures[1].spec == CNN.spec
  assert_same(zoo.params([5, 3]), stack([5, 3], CNN))
  with pytest.raises(ValueError, match=r'2 architectures \(mlp, cnn\)'):
    zoo.params([1, 3])
  with pytest.raises(ValueError, match='2 architectures'):
    _ = zoo.spec
  assert np.isnan(zoo.params([2])['layer1/bias']).all()
  zoo.check()


def test_the_activation_keeps_architectures_apart(tmp_path):
  tanh = mlp.MLP(widths=(4, 3, 2), activation='tanh')
  zoo = zoo_samples.zoo(tmp_path, entries=[zoo_samples.entry(0), zoo_samples.entry(1, tanh)])
  assert [a.activation for a in zoo.architectures] == ['relu', 'tanh']
  assert zoo.architectures[1].spec.groups[0].kinds == ('permutation', 'sign')


def test_half_turns_survive_to_the_last_digit(tmp_path):
  architecture = siren.SIREN(widths=(2, 3, 1), omega=17.3)
  zoo = zoo_samples.zoo(tmp_path, entries=[zoo_samples.entry(0, architecture)])
  assert zoo.spec == architecture.spec


def test_columns_are_arrays(tmp_path):
  zoo = mixed_zoo(tmp_path)
  np.testing.assert_allclose(zoo.column('final', 'val', 'accuracy'), 0.9 + np.arange(6) / 1000)
  assert zoo.column('trace', 'train', 'loss').tolist() == [1.0] * 6
  assert zoo.column('optimizer', 'hparams', 'learning_rate').dtype == float
  assert zoo.column('split').tolist()[2:4] == ['val', 'holdout_audit']
  assert zoo.column('diverged').dtype == bool
  np.testing.assert_array_equal(zoo.column('step'), [50, 100, 100, 100, np.nan, 100])
  for names in [('no_such',), ('param_tree',), ('final', 'val', 'x'), ()]:
    with pytest.raises(ValueError, match='No record|no field'):
      zoo.column(*names)


def test_the_table_has_the_same_columns(tmp_path):
  parquet = pytest.importorskip('pyarrow.parquet')
  zoo = mixed_zoo(tmp_path)
  table = parquet.read_table(tmp_path / 'records.parquet')
  assert table['key'].to_pylist() == zoo.keys
  assert table['split'].to_pylist() == zoo.column('split').tolist()
  assert table['final/val/accuracy'].to_pylist() == (
    zoo.column('final', 'val', 'accuracy').tolist()
  )


@pytest.mark.parametrize('indices', [[], [5], [-1], [0.5], 0, [[0]], [True]])
def test_wrong_indices_are_refused(published, indices):
  with pytest.raises(ValueError, match='indices'):
    store.Zoo.open(published).params(indices)


def test_equal_parts_of_records_are_kept_once(published):
  zoo = store.Zoo.open(published)
  assert zoo.records[0]['param_tree'] is zoo.records[4]['param_tree']
  assert set(record_lib.SCHEMA['required']) <= set(zoo.records[0])


def test_a_folder_is_renamed_and_goes_away_with_its_last_reader(tmp_path):
  model = wsjax.mlp((3, 4, 2))
  zoo = wsjax.Zoo.of(model, [model.init(jax.random.key(i)) for i in range(3)])
  with pytest.raises(ValueError, match='is in memory'):
    zoo.rename(tmp_path / 'b')
  saved = zoo.save(tmp_path / 'a').rename(tmp_path / 'b')
  assert saved.path == tmp_path / 'b' and not (tmp_path / 'a').exists()
  same = store.Zoo.open(tmp_path / 'b', model=model)
  assert same.digest == saved.digest and same.records == saved.records
  np.testing.assert_array_equal(saved.networks().flat(), same.networks().flat())
  # No reference cycle keeps it, so that memory of an import is free at once.
  gone = weakref.ref(saved)
  del saved
  assert gone() is None
