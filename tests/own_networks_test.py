"""Networks of one's own, of any library and task, without a config."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

import wsjax
from tests import marks
from wsjax import config, own_networks
from wsjax.evaluation import methods
from wsjax.experiments import generation
from wsjax.experiments.generation import any_task
from wsjax.zoo import losses

X = np.linspace(-2, 2, 64, dtype='float32')[:, None]
Y = np.sin(2 * X)


def apply(params, x):
  return jnp.tanh(x @ params['in']['w'] + params['in']['b'][None]) @ params['out']


def init(key):
  keys = jax.random.split(key, 3)
  return {
    'in': {'w': jax.random.normal(keys[0], (1, 12)), 'b': jax.random.normal(keys[1], (12,))},
    'out': 0.3 * jax.random.normal(keys[2], (12, 1)),
  }


def trained(key):
  """Gradient descent on the sine."""

  def step(params, _):
    grads = jax.grad(lambda p: jnp.mean((apply(p, X) - Y) ** 2))(params)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), None

  return jax.lax.scan(step, init(key), None, 600)[0]


@pytest.fixture(scope='module')
def zoo():
  model = wsjax.Model.from_function(apply, init(jax.random.key(0)), X, init=init, task='regression')
  params = jax.jit(jax.vmap(trained))(jax.random.split(jax.random.key(1), 24))
  return wsjax.Zoo.of(model, params, {'split': ['train'] * 16 + ['test'] * 8})


@pytest.mark.slow
def test_an_encoder_embeds_every_network_alike_in_every_order_of_units(zoo):
  found = wsjax.encode(zoo, 'neural_functional')
  kinds = {kind for group in zoo.spec.groups for kind in group.kinds}
  assert kinds == {'permutation', 'sign'} and found.shape == (24, 128)
  params = zoo.networks().params
  axes = {'in/b': 1, 'in/w': 2, 'out': 1}  # Of the hidden units.
  moved = {path: np.flip(params[path], axis) for path, axis in axes.items()}
  again = wsjax.encode(wsjax.Zoo.of(zoo.model, moved), 'neural_functional')
  np.testing.assert_allclose(again, found, atol=1e-4)


@pytest.mark.slow
def test_training_without_labels_changes_the_embedding_and_masks_only_tokens(zoo):
  plain = wsjax.encode(zoo, 'statistics')
  assert not np.allclose(wsjax.encode(zoo, 'statistics', steps=3, progress=False), plain)
  with pytest.raises(ValueError, match='masked'):
    wsjax.encode(zoo, 'statistics', steps=3, objective='masked', progress=False)


@pytest.mark.slow
def test_a_generator_of_regressors_is_fitted_sampled_saved_and_evaluated(zoo, tmp_path):
  generator = wsjax.fit(zoo, 'hypernetwork', task=(X, Y), steps=40, width=64, progress=False)
  networks = generator.sample(8, seed=3)
  assert len(networks) == 8 and networks.spec == zoo.spec
  again = generator.sample(8, seed=3).params
  assert all(np.array_equal(again[path], value) for path, value in networks.params.items())
  saved = generator.save(4, tmp_path / 'made')
  assert {r['parents'][0]['relation'] for r in saved.records} == {'generated_by'}
  report = wsjax.evaluate(
    networks, zoo, data=(X[::4], Y[::4]), num_bootstrap=50, progress=False, name='mine'
  )
  rows = report.tables['methods'].rows
  assert rows['mine'].n == 8 and rows['zoo, leave one out'].value('loss') < 0.1
  assert rows['permuted copy'].value('novelty') < 1e-3 and rows['retrieval'].value('copy_rate') == 1
  assert rows['random init'].value('gate_strict') == 0
  assert 'mine' in str(report) and 'srcdoc' in report._repr_html_()
  assert report.save(tmp_path / 'page').exists()


def test_no_gate_opens_where_the_zoo_is_not_trained(zoo):
  keys = jax.random.split(jax.random.key(5), 8)
  untrained = wsjax.Zoo.of(zoo.model, [init(key) for key in keys])
  report = wsjax.evaluate(
    untrained, untrained, data=(X, Y), num_bootstrap=20, progress=False, name='mine'
  )
  stat = report.tables['methods'].rows['mine'].stats['gate_half']
  assert stat['value'] is None and 'untrained' in stat['not_run']


def test_a_loss_of_ones_own(zoo):
  def loss(model, params, batch):
    x, y = batch
    error = jnp.abs(model.apply(params, x) - y)
    return error.mean(), {'largest': error.max()}

  data = wsjax.Dataset.of(train=(X, Y), test=(X, Y), loss=loss)
  generator = wsjax.fit(zoo, 'hypernetwork', task=data, steps=4, width=8, progress=False)
  report = wsjax.evaluate(
    generator.sample(2), zoo, data=data, num_bootstrap=20, progress=False, name='mine'
  )
  value = report.tables['methods'].rows['zoo, leave one out'].value('loss')
  params = zoo.networks('train').params
  outputs = jax.vmap(zoo.model.apply, (0, None))(params, X)
  assert value == pytest.approx(float(jnp.abs(outputs - Y[None]).mean()), rel=1e-4)


@pytest.mark.parametrize('name', ['flow_matching', 'diffusion'])
def test_a_flow_with_a_task_is_cheap_unless_told_otherwise(zoo, name, monkeypatch):
  monkeypatch.setattr(generation.Generation, 'fit', lambda experiment, seed: (None, {}))
  made = wsjax.fit(zoo, name, task=(X, Y), progress=False).experiment.generator
  assert made.num_steps == 15 and made.backbone.width == 128
  backbone = {'name': 'mlp', 'width': 64}
  own = wsjax.fit(zoo, name, task=(X, Y), num_steps=4, backbone=backbone).experiment.generator
  assert own.num_steps == 4 and own.backbone.width == 64
  plain = wsjax.fit(zoo, name).experiment.generator
  assert plain.num_steps > 15 and plain.backbone.width > 128


def test_a_loss_of_any_scale_counts_alike(zoo):
  def scaled(factor, shift=0.0):
    data = wsjax.Dataset.of(
      train=(X, Y), loss=lambda *batch: factor * losses.squared_error(*batch) + shift
    )
    strategy = {'functional': 1.0, 'functional_relative': True}
    sections = {
      'generator': {'name': 'hypernetwork'}, 'strategy': strategy, 'tokens': {'name': 'flat'},
      'normalize': {'how': 'layer'}, 'codec': {'name': 'identity'}, 'sample': {}, 'evaluate': {},
      'symmetry': {'canonicalize': 'none', 'restarts': 1}, 'seed': 0, 'zoo': {},
    }  # fmt: skip
    made = generation.Generation(ml_collections.ConfigDict(sections), zoo, lambda: data)
    return made.objective(0).task.scale

  plain = scaled(1.0)
  assert plain > 2  # The networks have learned a sine; their average has not.
  assert scaled(100.0) == pytest.approx(plain / 100, rel=1e-3)
  assert scaled(1.0, shift=-7.0) == pytest.approx(plain, rel=1e-3)
  assert scaled(-1.0) == 1  # The average is not worse, so nothing tells the scale.


@pytest.mark.parametrize('steps', [1, 7, 40, 60, 97, 500, 1300, 2000, 2500])
def test_training_has_blocks_of_one_length_where_it_can(steps):
  section = own_networks._train(steps, 4)
  inner, every = section['inner_steps'], section['checkpoint_every_steps']
  assert 1 <= inner <= 50
  if steps != 97:  # A prime number of steps has none.
    assert steps % inner == 0 and (steps <= every or every % inner == 0)


@pytest.mark.parametrize('call, message', [
  (lambda zoo: wsjax.fit(zoo, 'no_such'), 'no_such'),
  (lambda zoo: wsjax.fit(zoo, 'hypernetwork', wdth=3), 'wdth'),
  (lambda zoo: wsjax.fit(zoo, sections={'trian': {}}), 'trian'),
  (lambda zoo: wsjax.fit(zoo.subset([0])), 'at least 2'),
  (lambda zoo: wsjax.encode(zoo, 'no_such'), 'no_such'),
  (lambda zoo: wsjax.evaluate(zoo, zoo, data=(X, Y[:3])), '64 inputs and 3 targets'),
  (lambda zoo: wsjax.Dataset.of(), 'at least one'),
])  # fmt: skip
def test_wrong_arguments_are_named(zoo, call, message):
  with pytest.raises(ValueError, match=message):
    call(zoo)


def test_a_config_takes_the_users_zoo_model_and_data(zoo, tmp_path, monkeypatch):
  zoo.save(tmp_path / 'zoo')
  (tmp_path / 'mine.py').write_text(
    'import jax.numpy as jnp, numpy as np, wsjax\n'
    'X = np.linspace(-2, 2, 64, dtype="float32")[:, None]\n'
    'def apply(p, x):\n'
    '  return jnp.tanh(x @ p["in"]["w"] + p["in"]["b"][None]) @ p["out"]\n'
    'def net():\n'
    '  params = {"in": {"w": np.zeros((1, 12)), "b": np.zeros(12)}, "out": np.zeros((12, 1))}\n'
    '  return wsjax.Model.from_function(apply, params, X, task="regression")\n'
    'def load():\n'
    '  return dict(train=(X, np.sin(2 * X)), test=(X[::4], np.sin(2 * X[::4])))\n'
  )
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'own.py').write_text(
    'from ml_collections import config_dict\n'
    'def get_config():\n'
    '  c = config_dict.ConfigDict()\n'
    '  c.name, c.experiment, c.seed = "own", "generation", 0\n'
    '  c.zoo = dict(path="zoo", model=dict(name="mine.py:net"),\n'
    '            dataset=dict(name="mine.py:load"))\n'
    '  c.symmetry = dict(canonicalize="permutation", restarts=1)\n'
    '  c.tokens, c.normalize = dict(name="flat"), dict(how="layer")\n'
    '  c.codec = dict(name="pca", rank=8, whiten=True)\n'
    '  c.generator = dict(name="gaussian_mixture")\n'
    '  c.train = dict(seeds=(0,), steps=1, batch_size=4, learning_rate=1e-3, inner_steps=1,\n'
    '                 checkpoint_every_steps=1, ema_decay=0.0, mesh=(("data", -1),))\n'
    '  c.evaluate = dict(num_samples=4, num_bootstrap=20)\n'
    '  return c.lock()\n'
  )
  report = wsjax.run(wsjax.load_config('own.py'), 'run', progress=False)
  rows = report.tables['methods'].rows
  assert rows['gaussian_mixture'].value('loss') is not None and 'random init' not in rows
  assert 'mine.py:net' in ' '.join(report.run.versions)


def test_a_copy_of_a_snapshot_is_a_copy_and_one_run_gives_no_thresholds(zoo):
  train, test = zoo.networks('train'), zoo.networks('test')
  given = dict(
    architecture=zoo.model, loss=losses.squared_error, test_x=X, test_y=Y,
    train=train.params, heldout=None, reference=train[0], num_bootstrap=20,
  )  # fmt: skip
  shown = any_task.Reference(snapshots=test.params, **given)
  copied = any_task.measure(methods.Method('copies', 'model', test.params), shown)
  assert copied['copy_rate']['value'] == 1 and copied['novelty']['value'] > 0.5
  with pytest.raises(ValueError, match='Checkpoints of one run'):
    _ = any_task.Reference(independent=False, **given).thresholds


@pytest.mark.parametrize(
  'name',
  marks.slow(
    config.plugins('generators'),
    'autoregressive',
    'best_of_n',
    'diffusion',
    'flow',
    'flow_matching',
    'graph_flow',
  ),
)
def test_every_generator_needs_no_field(zoo, name):
  if name == 'best_of_n':
    with pytest.raises(ValueError, match='give task='):
      wsjax.fit(zoo, name, progress=False)
    model = wsjax.mlp((1, 4, 3))
    params = jax.vmap(model.init)(jax.random.split(jax.random.key(0), 8))
    zoo, task = wsjax.Zoo.of(model, jax.device_get(params)), (X, np.arange(64) % 3)
    made = wsjax.fit(zoo, name, task=task, candidates=8, keep=4, progress=False)
  else:
    made = wsjax.fit(zoo, name, steps=2, progress=False)
  assert len(made.sample(2)) == 2 and made.sample(2).finite().all()


@pytest.mark.parametrize(
  'name',
  marks.slow(
    config.plugins('encoders'), 'graph_net', 'graph_transformer', 'probes', 'scale_equivariant',
    'token_transformer',
  ),
)  # fmt: skip
def test_every_encoder_needs_no_field(zoo, name):
  embedding = wsjax.encode(zoo, name, progress=False)
  assert len(embedding) == 24 and np.isfinite(embedding).all()


def test_metrics_of_classifiers_are_refused_where_networks_are_compared_by_a_loss(zoo):
  with pytest.raises(ValueError, match='for classifiers'):
    wsjax.evaluate(zoo, zoo, data=(X, Y), metrics=('ensembles',), progress=False)


def test_variances_of_generated_networks_are_never_negative():
  def apply(params, x):
    return jnp.tanh(x @ params['w'] / jnp.sqrt(params['var'][None] + 1e-5)) @ params['v']

  rng = np.random.default_rng(0)
  params = {
    'w': rng.normal(size=(12, 1, 5)),
    'v': rng.normal(size=(12, 5, 1)),
    'var': rng.lognormal(sigma=2, size=(12, 5)),
  }
  params = {path: value.astype('float32') for path, value in params.items()}
  first = {path: value[0] for path, value in params.items()}
  model = wsjax.Model.from_function(apply, first, X, task='regression')
  made = wsjax.fit(wsjax.Zoo.of(model, params), 'kde', factor=5.0, progress=False).sample(64)
  assert made.params['var'].min() == pytest.approx(params['var'].min() / 2)
  assert made.params['w'].min() < params['w'].min()
