import copy
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from wsjax import terminal
from wsjax.models import model
from wsjax.zoo import build
from wsjax.zoo import train as train_lib
from wsjax.zoo.data import datasets
from wsjax.zoo.store import log, record, store

SECTION = dict(
  architecture=dict(name='mlp', widths=(64, 6, 10), activation='relu'),
  dataset=dict(name='digits', val_fraction=0.1),
  recipe=dict(
    optimizer='adam',
    learning_rate=1e-2,
    weight_decay=0.0,
    momentum=0.0,
    batch_size=64,
    steps=30,
    snapshots=(10,),
  ),
  splits=dict(train=11, val=2, test=5, holdout_audit=2),
  chunk_size=8,
)


def changed(**changes):
  section = copy.deepcopy(SECTION)
  for key, value in changes.items():
    if isinstance(value, dict):
      section[key].update(value)
    else:
      section[key] = value
  return section


@pytest.fixture(scope='module')
def zoo(tmp_path_factory):
  path = tmp_path_factory.mktemp('zoo') / 'a'
  return build.build(SECTION, path, seed=1, progress=False)


def test_the_zoo_has_every_run_and_its_checkpoints(zoo):
  assert len(zoo) == 40 and len(zoo.select(final=True)) == 20
  sizes = {split: len(zoo.select(split=split)) for split in SECTION['splits']}
  assert sizes == SECTION['splits']
  assert not (zoo.path / 'log.lmdb').exists()
  zoo.check()


def test_records_say_how_each_net_came_about(zoo):
  first, last = zoo.records[0], zoo.records[1]
  record.validate(last)
  assert (first['step'], last['step'], last['steps']) == (10, 30, 30)
  assert first['run_id'] == last['run_id'] == last['split_group']
  assert last['parents'][0]['record_id'] == first['record_id']
  assert [point['step'] for point in last['trace']] == [10] * 4 + [30] * 4
  assert last['optimizer']['hparams']['learning_rate'] == 0.01
  assert last['seed'] == {'init': 1, 'data': 1}
  assert last['epoch'] == pytest.approx(30 * 64 / 1293)
  assert not any('test' in str(m['split']) for m in last['final'])
  dataset = datasets.load('digits', val_fraction=0.1)
  assert last['datasets'][0]['sha256'] == dataset.sha256
  accuracy = next(m for m in last['final'] if m['metric'] == 'accuracy')
  net = model.from_record(last['arch_id'], last['arch_config'])
  params = {k: v[0] for k, v in zoo.params([1]).items()}
  logits = np.asarray(net.apply(params, dataset.val_x))
  value = (logits.argmax(-1) == dataset.val_y).mean()
  assert accuracy['value'] == pytest.approx(value, abs=1e-6)
  assert accuracy['ci_low'] < value < accuracy['ci_high']
  assert accuracy['n'] == 144


def test_networks_are_those_of_train_networks(zoo):
  dataset = datasets.load('digits', val_fraction=0.1)
  recipe = train_lib.Recipe(learning_rate=1e-2, batch_size=64, steps=30, snapshots=(10,))
  net = model.from_record('mlp', SECTION['architecture'] | {'name': 'x'})
  trained = train_lib.train_networks(net, dataset, recipe, [7], seed=1)
  stored = zoo.params(zoo.select(final=True)[[7]])
  for path, array in trained.params.items():
    np.testing.assert_array_equal(array, stored[path])


class _Interrupted(Exception):
  pass


def test_an_interrupted_build_goes_on_and_ends_the_same(zoo, tmp_path, monkeypatch):
  append, indices_trained = log.Log.append, []
  train_networks = train_lib.train_networks

  def append_then_stop(self, entries):
    append(self, entries)
    if len(self) >= 16:
      raise _Interrupted

  def count(architecture, dataset, recipe, indices, *, seed):
    indices_trained.append(sorted(set(np.asarray(indices).tolist())))
    return train_networks(architecture, dataset, recipe, indices, seed=seed)

  path = tmp_path / 'zoo'
  monkeypatch.setattr(log.Log, 'append', append_then_stop)
  monkeypatch.setattr(build.train, 'train_networks', count)
  with pytest.raises(_Interrupted):
    build.build(SECTION, path, seed=1, progress=False)
  with pytest.raises(ValueError, match='not a published zoo'):
    store.Zoo.open(path)
  monkeypatch.setattr(log.Log, 'append', append)
  # Another chunk size is no other zoo.
  resumed = build.build(changed(chunk_size=6), path, seed=1, progress=False)
  assert sorted(sum(indices_trained, [])) == list(range(20))  # Nothing twice.
  assert indices_trained[0] == list(range(8))
  assert resumed.content_digest == zoo.content_digest
  assert resumed.keys == zoo.keys


def test_a_killed_build_goes_on_and_ends_the_same(zoo, tmp_path):
  path = tmp_path / 'zoo'
  code = (
    'import os, signal\n'
    'from wsjax.zoo import build\n'
    'from wsjax.zoo.store import log\n'
    'append = log.Log.append\n'
    'def append_then_die(self, entries):\n'
    '  append(self, entries)\n'
    '  os.kill(os.getpid(), signal.SIGKILL)\n'
    'log.Log.append = append_then_die\n'
    f'build.build({SECTION!r}, {str(path)!r}, seed=1, progress=False)\n'
  )
  result = subprocess.run(
    [sys.executable, '-c', code],
    env={**os.environ, 'NPROC': '16'},
    capture_output=True,
    timeout=300,
    check=False,
  )
  assert result.returncode == -9, result.stderr[-2000:]
  with log.Log(path / 'log.lmdb') as partial:
    assert len(partial) == 16
  resumed = build.build(SECTION, path, seed=1, progress=False)
  assert resumed.content_digest == zoo.content_digest


def test_a_finished_zoo_is_opened_without_training(zoo, monkeypatch):
  monkeypatch.setattr(build.train, 'train_networks', None)
  monkeypatch.setattr(build.datasets, 'load', None)
  assert build.build(SECTION, zoo.path, seed=1).digest == zoo.digest


@pytest.mark.parametrize(
  ('changes', 'seed', 'words'),
  [
    (dict(recipe=dict(steps=31)), 1, 'recipe.steps is 31 and was 30'),
    (dict(dataset=dict(val_fraction=0.2)), 1, 'dataset.val_fraction is 0.2'),
    (dict(architecture=dict(initializer='he_normal')), 1, "'he_normal' and was 'abs"),
    (dict(), 2, 'seed is 2 and was 1'),
  ],
)
def test_a_zoo_of_another_config_is_left_as_it_is(zoo, changes, seed, words):
  with pytest.raises(ValueError, match=words):
    build.build(changed(**changes), zoo.path, seed=seed, progress=False)
  assert store.Zoo.open(zoo.path).digest == zoo.digest


def test_a_folder_with_somebody_elses_zoo_is_left_as_it_is(tmp_path):
  (tmp_path / 'manifest.json').write_text('{}')
  with pytest.raises(ValueError, match='not one trained from a config'):
    build.build(SECTION, tmp_path, seed=1, progress=False)


@pytest.mark.parametrize(
  ('section', 'named'),
  [
    (changed(recipe=dict(step=3)), "zoo.recipe has no field 'step'"),
    (changed(recipe=dict(learning_rate=0)), 'zoo.recipe.learning_rate is 0'),
    (changed(recipe=dict(batch_size=2000)), 'recipe.batch_size is 2000'),
    (changed(dataset=dict(split=3)), "zoo.dataset has no field 'split'"),
    (changed(dataset=dict(name='cifar')), "'cifar'"),
    (changed(dataset=dict(val_fraction=1.0)), 'zoo.dataset.val_fraction is 1.0'),
    (changed(dataset=dict(labels='all')), "zoo.dataset.labels is 'all'"),
    (changed(extra=3), "zoo has no field 'extra'"),
    ({k: SECTION[k] for k in SECTION if k != 'splits'}, 'zoo.splits is missing'),
    (changed(splits=dict(train=2.5)), 'zoo.splits'),
    (changed(chunk_size=0), 'zoo.chunk_size is 0'),
    (changed(architecture=dict(activation='cosine')), "'cosine'"),
    (changed(architecture=dict(widths=(32, 16, 10))), 'zoo.architecture: mlp takes no inputs'),
    (changed(architecture=dict(widths=(64, 16, 9))), 'zoo.architecture: mlp has 9 outputs'),
    (changed(architecture=dict(depth=3)), "zoo.architecture has no field 'depth'"),
  ],
)
def test_a_wrong_field_is_named_before_anything_is_trained(section, named, tmp_path, monkeypatch):
  monkeypatch.setattr(build.train, '_train', None)
  with pytest.raises(ValueError, match=named):
    build.build(section, tmp_path / 'zoo', seed=0, progress=False)
  assert not (tmp_path / 'zoo' / 'manifest.json').exists()


@pytest.mark.parametrize('seed', [-1, 1 << 32, 0.5, '0', True])
def test_a_seed_that_jax_would_cut_is_refused(seed, tmp_path):
  with pytest.raises(ValueError, match='seed is'):
    build.build(SECTION, tmp_path / 'zoo', seed=seed, progress=False)


def test_optimizers_and_activations_are_crossed():
  recipe = build.train.Recipe(optimizer=('sgd', 'adam'))
  architecture = {'name': 'mlp', 'widths': [4, 3, 2], 'activation': ['relu', 'tanh']}
  models = build.check(changed(architecture=architecture), 0)[1]
  names = {}
  for net, chosen in build._by_model(models, recipe, np.arange(3, 11)):
    for i in chosen.tolist():
      names[i] = (recipe.optimizers[i % 2], net.activation)
  assert [names[i] for i in range(4, 8)] == [
    ('sgd', 'relu'),
    ('adam', 'relu'),
    ('sgd', 'tanh'),
    ('adam', 'tanh'),
  ]
  assert names[3] == names[7] and names[8] == names[4]


def test_diverged_nets_are_in_the_zoo_and_marked(tmp_path):
  section = changed(
    recipe=dict(optimizer='sgd', learning_rate=(1e-3, 1e30), snapshots=()),
    splits=dict(train=16, val=0, test=0, holdout_audit=0),
  )
  zoo = build.build(section, tmp_path / 'zoo', seed=0, progress=False)
  assert 0 < len(zoo.select(diverged=True)) < 16
  assert len(zoo) == 16
  broken = zoo.records[int(zoo.select(diverged=True)[0])]
  assert broken['trace'][0]['value'] is None
  assert json.dumps(broken, allow_nan=False)


def test_sirens_are_a_zoo_like_any_other(tmp_path):
  section = dict(
    architecture=dict(name='siren', widths=(2, 8, 8, 1)),
    dataset=dict(name='digits'),
    recipe=dict(learning_rate=3e-3, steps=60),
    splits=dict(train=3, val=0, test=1, holdout_audit=0),
    chunk_size=8,
  )
  zoo = build.build(section, tmp_path / 'zoo', seed=0, progress=False)
  dataset = datasets.load('digits')
  net = model.from_record('siren', zoo.records[2]['arch_config'])
  params = {k: v[0] for k, v in zoo.params([2]).items()}
  fitted = net.apply(params, train_lib.coordinates(8, 8)).reshape(8, 8, 1)
  psnr = -10 * np.log10(np.mean((fitted - dataset.train_x[2]) ** 2))
  final = {m['metric']: m['value'] for m in zoo.records[2]['final']}
  assert final['psnr'] == pytest.approx(float(psnr), abs=0.01)
  assert psnr > 15
  subsets = {r['datasets'][0]['subset_indices_sha256'] for r in zoo.records}
  assert len(subsets) == 4
  assert zoo.records[0]['symmetry'][0]['half_turn'] == pytest.approx(np.pi / 30)
  too_many = dict(section, splits=dict(train=1300, holdout_audit=0))
  with pytest.raises(ValueError, match='1257'):
    build.build(too_many, tmp_path / 'other', seed=0, progress=False)


def test_progress_is_shown_on_standard_error(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(terminal, '_SECONDS', 0)
  section = changed(
    recipe=dict(steps=2, snapshots=()), splits=dict(train=2, val=0, test=0, holdout_audit=0)
  )
  build.build(section, tmp_path / 'zoo', seed=0)
  out, err = capsys.readouterr()
  assert not out and 'zoo: 2 of 2' in err
  assert jax.device_count() >= 1


OWN = """
import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import wsjax

def net(width=4):
  module = nn.Sequential([nn.Dense(width), nn.gelu, nn.Dense(1)])
  return wsjax.Model.from_flax(module, jnp.zeros((1, 3)))

def loss(model, params, batch):
  inputs, targets = batch
  gap = jnp.abs(model.apply(params, inputs)[:, 0] - targets).mean()
  return gap, {'gap': gap}

def load():
  x = np.random.default_rng(0).normal(size=(40, 3)).astype('float32')
  y = x.sum(1)
  return dict(train=(x[:30], y[:30]), val=(x[30:], y[30:]), loss=loss)

def bad():
  return dict(load(), loss=lambda model, params, batch: model.apply(params, batch[1]))
"""


def test_a_model_and_a_loss_of_ones_own_make_a_zoo(tmp_path):
  (tmp_path / 'own.py').write_text(OWN)
  section = {
    'architecture': {'name': f'{tmp_path / "own.py"}:net', 'width': 5},
    'dataset': {'name': f'{tmp_path / "own.py"}:load'},
    'recipe': {'learning_rate': 0.03, 'steps': 200, 'batch_size': 10},
    'splits': {'train': 3, 'test': 1, 'holdout_audit': 0},
    'chunk_size': 8,
  }
  zoo = build.build(section, tmp_path / 'zoo', seed=0, progress=False)
  assert len(zoo) == 4 and zoo.model.shapes['layers_0/kernel'].shape == (3, 5)
  assert zoo.records[0]['objective'].endswith(':loss')
  assert np.all(zoo.column('final/val/loss') < 0.9)  # A constant has about 1.4.
  for field, value, words in (
    ('dataset', {'name': f'{tmp_path / "own.py"}:bad'}, 'does not take'),
    ('recipe', {**section['recipe'], 'dropout': 0.5}, 'a loss of its own'),
    ('architecture', {'name': f'{tmp_path / "own.py"}:loss'}, 'zoo.architecture'),
  ):
    with pytest.raises(ValueError, match=words):
      build.build({**section, field: value}, tmp_path / 'other', seed=0, progress=False)
