"""Properties of networks of several architectures, and of small zoos."""

import jax
import numpy as np
import pytest

from wsjax import pipeline
from wsjax.encoders import examples
from wsjax.experiments import base, configs, cross_validation, property
from wsjax.heads import prediction
from wsjax.zoo.store import store

CONFIG = 'configs/foreign_agents.py:smoke'


def load(*overrides, arg=''):
  return configs.load(CONFIG + arg, list(overrides))[0]


@pytest.fixture(scope='module')
def zoo(tmp_path_factory) -> store.Zoo:
  """Networks with tanh and with relu units, trained with two optimizers."""
  return base.open_zoo(load(), tmp_path_factory.mktemp('zoo'), progress=False)


@pytest.fixture(scope='module')
def at(zoo):
  return f'--config.zoo.path={zoo.path}'


@pytest.mark.slow
def test_a_run_over_two_architectures_ends_in_a_report(zoo, at, tmp_path):
  report = pipeline.run(load(at), tmp_path / 'a', progress=False)
  told, stats = report.facts['Property'], report.tables['methods'].rows['graph_net'].stats
  assert told['num_architectures'] == 2 and told['folds'] == 2
  assert told['num_test'] == sum(told['counts']) == 12  # None of the audit.
  assert stats['accuracy']['n'] == 12
  assert len(stats['accuracy']['per_seed']) == 2
  assert len(report.figures['training'].data['panels'][0]['lines']) == 2
  assert (tmp_path / 'a/report.html').stat().st_size > 10_000
  again = pipeline.run(load(at), tmp_path / 'b', progress=False)
  rows = again.tables['methods'].rows['graph_net'].stats
  assert rows | {'train_seconds': stats['train_seconds']} == stats


@pytest.mark.slow
def test_a_number_is_read_over_folds(zoo, at, tmp_path):
  config = load(at, '--config.property.target=val_accuracy', '--config.train.seeds=(0,)')
  report = pipeline.run(config, tmp_path, progress=False)
  row = report.tables['methods'].rows['graph_net']
  assert set(row.stats) == {'tau', 'r2', 'mae', 'num_params', 'train_seconds'}
  assert len(report.figures['outcome'].data['x']) == 12


@pytest.mark.slow
def test_a_held_out_network_has_no_part_in_its_fold(zoo, at):
  """Its label, and its weights, may change: its fold does not notice."""
  config = load(at, '--config.train.seeds=(0,)')
  made = cross_validation.CrossValidation(config, zoo)
  data, objective = made.train, made.objective(0)
  variables = jax.jit(objective.init)(jax.random.key(0), jax.tree.map(lambda x: x[0], data))
  gradient = jax.jit(jax.grad(lambda v, d: objective.loss(v, d, jax.random.key(1))[0]))
  row, fold = 3, int(data['fold'][3])
  changed = {**data, 'target': data['target'].copy()}
  changed['target'][row] = 1 - changed['target'][row]
  before = gradient(variables, data)
  after = gradient(variables, changed)
  same = [
    [np.array_equal(a[f], b[f]) for f in range(2)]
    for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True)
  ]
  assert all(pair[fold] for pair in same)
  assert not all(pair[1 - fold] for pair in same)
  # Nor do the scales of its fold depend on its weights.
  example = data['example']
  edges = example.edges.copy()
  edges[row] *= 100
  made.train = {**data, 'example': example.replace(edges=edges)}
  other = made.objective(0)
  for name, scale in objective.scales.items():
    np.testing.assert_array_equal(scale[fold], other.scales[name][fold])
  assert (objective.scales['edges'] != other.scales['edges']).any()


@pytest.mark.slow
def test_fixed_splits_take_several_architectures_too(zoo, at, tmp_path):
  config = load(
    at, '--config.experiment=property', '--config.property.folds=0', '--config.train.seeds=(0,)',
    '--config.train.batch_size=8',
  )  # fmt: skip
  with config.unlocked():
    for name in set(config.property) - {'target', 'num_train', 'head', 'folds'}:
      del config.property[name]  # Fields of a cross-validation alone.
  report = pipeline.run(config, tmp_path, progress=False)
  assert report.facts['Property']['num_train'] == 8
  assert report.facts['Property']['num_test'] == 2


@pytest.mark.slow
@pytest.mark.parametrize('encoder', ['graph_net', 'statistics'])
def test_predictions_do_not_see_how_a_network_is_arranged(zoo, at, encoder):
  config = load(at, arg=f',encoder={encoder}')
  rows = zoo.select(split='train')
  kinds = examples.kinds(config, zoo, rows)
  raw = [examples.weights(zoo, row) for row in rows]
  moved = []
  for number, (row, params) in enumerate(zip(rows, raw, strict=True)):
    spec = kinds.of(row).spec.permutations_only()
    g = spec.random(jax.random.key(number))
    moved.append(jax.tree.map(np.asarray, spec.act(g, params)))
  before, after = (examples.stack(x, rows, kinds) for x in (raw, moved))
  assert not np.array_equal(before.edges, after.edges)
  scales = prediction.parameter_scales(before)
  predictor = property.make_predictor(config, kinds, ('a', 'b'), scales)
  variables = jax.jit(predictor.init)(jax.random.key(0), jax.tree.map(lambda x: x[0], before))
  outputs = [prediction.predict(predictor, variables, x)
             for x in (before, after)]  # fmt: skip
  np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-5)
  assert np.ptp(outputs[0], axis=0).min() > 1e-4


@pytest.mark.slow
def test_scales_of_graphs_are_those_of_leaves(zoo):
  """Of one architecture both ways of scaling give the same numbers."""
  config = load()
  rows = zoo.select(split='train')
  kinds = examples.kinds(config, zoo, rows)
  rows = [row for row in rows if kinds.of(row) == kinds.architectures[0]]
  raw = [examples.weights(zoo, row) for row in rows]
  graphs = dict(prediction.parameter_scales(examples.stack(raw, rows, kinds)))
  leaves = dict(prediction.parameter_scales(zoo.params(rows)))
  wanted = [leaves[f'layer{i}/kernel'] for i in range(2)]
  np.testing.assert_allclose(graphs['edges'], wanted, rtol=1e-6)
  divided = prediction.divide(
    jax.tree.map(lambda x: x[0], examples.stack(raw, rows, kinds)), graphs
  )
  ratio = np.sqrt(np.mean(np.asarray(divided.edges) ** 2))
  assert 0.5 < ratio < 2


@pytest.mark.parametrize(
  'overrides, message',
  [
    (['train.clip_norm=1.0'], 'must be 0'),
    (['symmetry.canonicalize=norm'], 'have no common form'),
    (['augment.noise=0.1'], 'augment.noise must be off'),
    (['property.folds=99'], 'from 2 to the 12 groups; got 99'),
    (["property.only.optimizer=('adam','lion')"], "'lion'.*has adam, sgd"),
    (["property.only.optimizer=('adam',)"], "have one optimizer, 'adam'"),
  ],
)
def test_what_makes_no_sense_is_refused(zoo, at, overrides, message):
  config = load(at, *(f'--config.{each}' for each in overrides))
  with pytest.raises(ValueError, match=message):
    cross_validation.CrossValidation(config, zoo)


def test_weights_are_real_or_noise(at):
  with pytest.raises(ValueError, match="property.weights is 'none'.*'real', 'noise'"):
    configs.check(load(at, '--config.property.weights=none'))


def test_an_encoder_of_one_architecture_is_refused(zoo, at):
  config = load(at)
  config.unlock()
  config.encoder = dict(name='neural_functional')
  message = "2 architectures; the encoder 'neural_functional' reads one"
  with pytest.raises(ValueError, match=message):
    cross_validation.CrossValidation(config, zoo)
  config.property.folds = 0
  with pytest.raises(ValueError, match=message):
    property.Property(config, zoo)


def test_noise_has_the_architecture_and_nothing_else(zoo, at):
  real = cross_validation.CrossValidation(load(at), zoo)
  noise = cross_validation.CrossValidation(load(at, arg=',weights=noise'), zoo)
  np.testing.assert_array_equal(real.train['fold'], noise.train['fold'])
  for name in ('edge_mask', 'edge_kinds', 'senders', 'node_kinds'):
    a, b = (getattr(x.train['example'], name) for x in (real, noise))
    np.testing.assert_array_equal(a, b)
  a, b = (x.train['example'].edges.ravel() for x in (real, noise))
  assert abs(np.corrcoef(a, b)[0, 1]) < 0.1


def test_a_zoo_that_is_not_imported_names_the_command(tmp_path):
  config = configs.load('configs/foreign_agents.py', [f'--config.zoo.path={tmp_path / "no"}'])[0]
  with pytest.raises(ValueError, match='wsjax zoo import rl_agents --from DIR'):
    pipeline.run(config, tmp_path / 'run', progress=False)
