"""Zoos in memory: from arrays of one's own to queries, canonical form and a folder."""

import flax.linen as nn
import jax
import numpy as np
import pytest

import wsjax
from wsjax import networks
from wsjax.models import mlp, model
from wsjax.zoo.store import columns, store

MLP = mlp.MLP((4, 3, 2))
X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
RECORDS = [
  {
    'accuracy': 0.5 + i / 10,
    'optimizer': 'adam' if i % 2 else {'name': 'sgd', 'hparams': {'learning_rate': 10.0**-i}},
    'split': 'test' if i == 4 else 'train',
    'colour': 'red' if i < 2 else None,
  }
  for i in range(5)
]


class Net(nn.Module):
  @nn.compact
  def __call__(self, x):
    return nn.Dense(2)(nn.gelu(nn.Dense(3)(x)))


def stacked(num=5, made=MLP):
  return jax.vmap(made.init)(jax.random.split(jax.random.key(0), num))


@pytest.fixture(scope='module')
def zoo():
  return store.Zoo.of(MLP, stacked(), RECORDS)


def test_networks_are_those_that_were_given(zoo):
  assert len(zoo) == 5 and zoo.model == MLP and zoo.spec == MLP.spec
  jax.tree.map(np.testing.assert_array_equal, zoo.params(range(5)), stacked())
  train, test = zoo.networks('train'), zoo.networks(split='test')
  assert (len(train), len(test)) == (4, 1)
  np.testing.assert_array_equal(test.flat(), networks.Networks(stacked(), MLP.spec).flat()[4:])
  with pytest.raises(ValueError, match="'val'"):
    zoo.networks('val')
  zoo.check()


@pytest.mark.parametrize('form', ['trees', 'stacked tree', 'paths', 'networks', 'list of paths'])
def test_every_form_of_parameters_is_the_same_zoo(form):
  made = model.Model.from_flax(Net(), X)
  trees = [Net().init(jax.random.key(i), X) for i in range(3)]
  tree = jax.tree.map(lambda *x: np.stack(x), *trees)
  given = {
    'trees': trees,
    'stacked tree': tree,
    'paths': made.flatten(tree),
    'networks': networks.Networks(made.flatten(tree), made.spec),
    'list of paths': [made.flatten(tree) for tree in trees],
  }[form]
  zoo = store.Zoo.of(made, given)
  for i in range(3):
    outputs = made.apply(zoo.networks()[i], X)
    np.testing.assert_allclose(outputs, Net().apply(trees[i], X), atol=1e-6)


def test_what_nobody_has_told_is_null():
  record = store.Zoo.of(MLP, stacked(1)).records[0]
  assert record['optimizer'] is None and record['seed'] is None and record['license'] is None
  assert record['final'] == [] and record['redistributable'] is False


@pytest.mark.parametrize(
  ('condition', 'rows'),
  [
    ('accuracy > 0.65', [2, 3, 4]),
    ('accuracy > 0.65 and optimizer == "adam"', [3]),
    ('final.val.accuracy <= 0.6 or split in ("test", "val")', [0, 1, 4]),
    ('learning_rate < 0.5', [2, 4]),
    ('not optimizer == "adam" and learning_rate * 2 >= 2', [0]),
    ('0.55 < accuracy < 0.85', [1, 2, 3]),
    ('colour is None', [2, 3, 4]),
    ('colour == "red"', [0, 1]),
    ('optimizer.hparams.learning_rate != None', [0, 2, 4]),
    ('-accuracy < -0.8', [4]),
    ('not diverged', [0, 1, 2, 3, 4]),
  ],
)
def test_queries_find_records(zoo, condition, rows):
  found = zoo.query(condition)
  assert found.keys == [zoo.keys[row] for row in rows]
  np.testing.assert_array_equal(
    found.params(range(len(rows)))['layer0/kernel'], stacked()['layer0/kernel'][np.array(rows)]
  )


@pytest.mark.parametrize(
  'condition',
  [
    '__import__("os")', 'accuracy.__class__', '(lambda: 1)()', '[x for x in (1,)]', 'f"{split}"',
    'accuracy >', 'no_such > 1', 'split > 1', 'accuracy ** 2 > 1', '1 / 0 > 0', 'split * 9 > 1',
    'accuracy if 1 else 2', 'split[0] == "t"', 'accuracy := 1', 'accuracy in 3', '(' * 500,
    '1 + ' * 800 + '1', 'accuracy > 2',
  ],
)  # fmt: skip
def test_anything_else_in_a_query_is_refused(zoo, condition):
  with pytest.raises(ValueError):
    zoo.query(condition)


def test_a_name_with_two_meanings_is_refused():
  known = {'final/train/loss', 'final/val/loss', 'seed/init', 'optimizer/hparams/init', 'loss_of'}
  assert columns.resolve('loss', known) == 'final/val/loss'
  with pytest.raises(ValueError, match='seed/init'):
    columns.resolve('init', known)


def test_columns_hold_own_fields(zoo):
  assert zoo.column('colour').tolist() == ['red', 'red', '', '', '']
  np.testing.assert_allclose(zoo.column('final/val/accuracy'), [0.5, 0.6, 0.7, 0.8, 0.9])
  with pytest.raises(ValueError, match='no_such'):
    zoo.column('no_such')


def test_canonical_networks_compute_the_same_and_name_their_origin(zoo):
  moved = zoo.canonicalize()
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    zoo.networks().map(lambda net: MLP.apply(net, X)),
    moved.networks().map(lambda net: MLP.apply(net, X)),
  )
  assert moved.records[1]['parents'][-1]['record_id'] == zoo.records[1]['record_id']
  assert moved.column('final/val/accuracy').tolist() == zoo.column('final/val/accuracy').tolist()
  assert moved.content_digest != zoo.content_digest
  moved.check()


def test_a_zoo_is_saved_and_opened_with_its_model(tmp_path):
  made = model.Model.from_flax(Net(), X)
  zoo = store.Zoo.of(made, stacked(3, made), {'accuracy': [0.1, 0.2, None], 'split': ['train'] * 3})
  zoo.save(tmp_path / 'zoo', shard_size=2)
  again = store.Zoo.open(tmp_path / 'zoo', model=made)
  assert again.content_digest == zoo.content_digest and again.model is made
  assert again.query('accuracy > 0.15').keys == ['00000001']
  with pytest.raises(ValueError):
    _ = store.Zoo.open(tmp_path / 'zoo').model
  with pytest.raises(ValueError, match='shape'):
    store.Zoo.open(tmp_path / 'zoo', model=MLP)


def test_weights_keep_their_precision():
  half = jax.tree.map(lambda x: np.asarray(x, 'float16'), stacked(2))
  made = model.Model.from_function(lambda params, x: MLP.apply(params, x), {
    path: x[0] for path, x in half.items()}, X.astype('float16'))  # fmt: skip
  zoo = store.Zoo.of(made, half)
  assert {x.dtype.name for x in zoo.params([0]).values()} == {'float16'}


@pytest.mark.parametrize(
  ('params', 'records'),
  [
    ([], None),
    ({'layer0/kernel': np.zeros((2, 4, 3))}, None),
    (stacked(2), [{}]),
    (stacked(2), {'split': ['train']}),
    (stacked(2), [{'split': 'dev'}, {}]),
    (stacked(2), [{'split': 'train', 'split_group': 'a'}, {'split': 'val', 'split_group': 'a'}]),
  ],
)
def test_what_does_not_fit_is_refused(params, records):
  with pytest.raises(ValueError):
    store.Zoo.of(MLP, params, records)


def test_records_made_in_bulk_are_spelled_as_one_by_one():
  from wsjax.zoo.store import record

  odd = [0.1 + 0.2, 1.0, -0.0, 1e-7, 1e21, 123456789012345.6, None, float('nan'), 7, -3]
  given = [
    {
      'accuracy': value,
      'loss': np.float32(0.3),
      'optimizer': ('adam', {'name': 'sgd', 'hparams': {'lr': 1e-5, 'b': 2.5}}, 'rät')[i % 3],
      'seed': i,
      'note': ('plain', 'quote "', 'ünï', 'back\\slash', 'a\nb')[i % 5],
      'many': [1, {'x': value}],
      'z1e5': 10**16,
      'run_id': f'run{i}',
      'signature_ref': f'{i}.sig',  # It is no part of what the id is of.
    }
    for i, value in enumerate(odd)
  ]
  model = wsjax.mlp((3, 2))
  params = {
    path: np.full((len(odd), *struct.shape), 0.5, np.float32)
    for path, struct in model.shapes.items()
  }
  params['layer0/bias'][4, 0] = np.nan
  common = record.prepare(record.UNKNOWN | record.describe_model(model))
  ids = [str(i) for i in range(len(odd))]
  records, texts = record.of_given(common, params, given, task='classification', run_ids=ids)
  assert [record.validate(made) for made in records] == texts
  assert [made['diverged'] for made in records] == [i == 4 for i in range(len(odd))]
  nets = [{path: array[i] for path, array in params.items()} for i in range(len(odd))]
  for made, net in zip(records, nets, strict=True):
    record.check_params(made, net)
  simple = [{'loss': i / 7, 'note': f'n{i}', 'split': 'val'} for i in range(len(odd))]
  for rows in (simple, [{**row, 'note': '"'} for row in simple]):
    records, texts = record.of_given(common, params, rows, task='x', run_ids=ids)
    assert [record.validate(made) for made in records] == texts
  for wrong in ({'seed': -1}, {'optimizer': ''}, {'steps': 'many'}, {'split': 'exam'}):
    with pytest.raises(ValueError, match=f'network .0. is no record.*{next(iter(wrong))}'):
      record.of_given(common, params, [wrong] * len(odd), task='x', run_ids=ids)


def test_an_extract_is_a_saved_subset(tmp_path):
  models = {made.widths[1]: made for made in (MLP, mlp.MLP((3, 6, 2), 'relu'))}
  nets = {f'{n}_{i}': made.init(jax.random.key(i)) for n, made in models.items() for i in range(4)}
  zoo = wsjax.import_checkpoints(
    lambda tensors: models[len(tensors['layer0/bias'])], nets, out=tmp_path / 'zoo', layout='same'
  )
  rows = np.array([0, 2, 3, 6])
  saved = zoo.subset(rows).save(tmp_path / 'saved', shard_size=2)
  cut = zoo.extract(rows, tmp_path / 'cut', shard_size=2)
  assert cut.digest == saved.digest and cut.keys == ['3_0', '3_2', '3_3', '6_2']
  store.Zoo.open(tmp_path / 'cut').check()
  with pytest.raises(ValueError, match='in memory'):
    zoo.subset(rows).extract(rows, tmp_path / 'other')
