"""Weights for architectures: equal in the padded program and alone, for any library and width."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import wsjax
from tests import marks
from wsjax.cli import main
from wsjax.experiments.architect import hypernetwork, prediction, ranking, space

NETWORK = hypernetwork.GraphHypernetwork(
  inputs=9, outputs=3, units=6, width=8, depth=2, num_heads=2, rank=5, code=4
)
CHOSEN = [
  ((4,), 'relu'), ((6, 3), 'tanh'), ((5, 6, 2), 'gelu'), ((9, 4, 13, 6), 'relu'),
]  # fmt: skip
PADDING = space.Padding(4, 13)


@pytest.fixture(scope='module')
def made():
  """Variables in which nothing is 0, tables, and padded weights."""
  tables = space.tables(CHOSEN, PADDING, NETWORK)
  one = {name: x[0] for name, x in tables.items()}
  variables = NETWORK.init(
    jax.random.key(0), one['features'], one['relation'], one['mask'], NETWORK.units
  )
  rng = np.random.default_rng(0)
  variables = jax.tree.map(lambda x: x + 0.1 * rng.normal(size=x.shape).astype('f'), variables)
  return variables, tables, space.make(NETWORK, variables, tables, PADDING.width)


@pytest.mark.slow
def test_the_padded_program_makes_what_is_made_alone(made):
  variables, tables, nets = made
  x = np.random.default_rng(1).normal(size=(5, 9)).astype(np.float32)
  for i, one in enumerate(CHOSEN):
    model = space.model_of(one, 9, 3)
    alone = hypernetwork.predict(NETWORK, variables, model.spec)
    model.spec.check(alone)
    padded = {name: value[i] for name, value in nets.items()}
    for path, value in space.cut(padded, one[0]).items():
      np.testing.assert_allclose(value, alone[path], atol=1e-5)
    table = {name: value[i] for name, value in tables.items()}
    logits = space.forward(jax.tree.map(jnp.asarray, padded), table, x)
    np.testing.assert_allclose(logits, model.apply(alone, x), atol=1e-4)


def test_other_orders_of_the_codes_give_the_network_with_its_units_in_that_order(made):
  variables, _, _ = made
  model = wsjax.mlp((9, 6, 3), 'tanh')
  plain = hypernetwork.predict(NETWORK, variables, model.spec)
  order = np.random.default_rng(0).permutation(6)
  moved = jax.tree.map(lambda x: x, variables)
  moved['params']['unit codes'] = moved['params']['unit codes'][order]
  other = hypernetwork.predict(NETWORK, moved, model.spec)
  np.testing.assert_allclose(other['layer0/kernel'], plain['layer0/kernel'][:, order], atol=1e-5)
  np.testing.assert_allclose(other['layer1/kernel'], plain['layer1/kernel'][order], atol=1e-5)
  np.testing.assert_allclose(other['layer0/bias'], plain['layer0/bias'][order], atol=1e-5)


def test_units_that_share_a_code_send_what_one_would():
  assert hypernetwork.shares(4, 6).tolist() == [1] * 4
  np.testing.assert_allclose(hypernetwork.shares(8, 6), [0.5, 0.5, 1, 1, 1, 1, 0.5, 0.5])
  table = {'widths': np.array([8, 4, 13]), 'codes': np.int32(6)}
  there, share = space.units(table, 13)
  for row, width in enumerate((8, 4, 13)):
    np.testing.assert_allclose(share[row, :width], hypernetwork.shares(width, 6))
    assert not np.asarray(share[row, width:]).any() and there[row].sum() == width


def test_a_network_of_another_library_gets_the_same_weights(made):
  variables, _, _ = made
  own = wsjax.mlp((9, 5, 4, 3), 'relu')
  module = nn.Sequential([nn.Dense(5), nn.relu, nn.Dense(4), nn.relu, nn.Dense(3)])
  flax = wsjax.Model.from_flax(module, jnp.zeros((1, 9)))
  ours, theirs = (hypernetwork.predict(NETWORK, variables, m.spec) for m in (own, flax))
  x = np.random.default_rng(1).normal(size=(5, 9)).astype(np.float32)
  np.testing.assert_allclose(own.apply(ours, x), flax.apply(theirs, x), atol=1e-5)


@pytest.mark.parametrize(
  ('words', 'model'),
  [
    ('has 8 inputs; weights are for 9', lambda: wsjax.mlp((8, 4, 3))),
    ('has 4 outputs; weights are for 3', lambda: wsjax.mlp((9, 4, 4))),
    ('known for dense layers', lambda: wsjax.cnn((3, 3, 1), (2,), (), 3)),
    (
      'is no bias',
      lambda: wsjax.Model.from_flax(
        nn.Sequential([nn.Dense(4), nn.LayerNorm(), nn.relu, nn.Dense(3)]), jnp.zeros((1, 9))
      ),
    ),
  ],
)
def test_a_model_that_no_weights_are_known_for_is_refused(made, words, model):
  with pytest.raises(ValueError, match=words):
    hypernetwork.predict(NETWORK, made[0], model().spec)


@pytest.mark.parametrize('optimizer', marks.slow(space.OPTIMIZERS, 'adam'))
def test_padded_training_is_training(optimizer):
  """A padded network takes the steps that it takes alone, and padding stays 0."""
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(64, 9)).astype('f'), rng.integers(0, 3, 64)
  x, y, order = jnp.asarray(x), jnp.asarray(y), rng.permutation(64).reshape(8, 8)
  tables = space.tables(CHOSEN, PADDING, NETWORK)
  nets = space.initial(CHOSEN, PADDING, 9, 3, 'he_normal', 0)
  done = space.train(nets, tables, np.full(4, 0.01), x, y, order, optimizer)
  import optax

  rule = optax.adam(0.01) if optimizer == 'adam' else optax.sgd(0.01, 0.9)
  for i, one in enumerate(CHOSEN):
    model = space.model_of(one, 9, 3)
    params = space.cut({name: value[i] for name, value in nets.items()}, one[0])
    state = rule.init(params)

    def loss(p, rows, model=model):
      return space.cross_entropy(model.apply(p, x[rows]), y[rows])

    step = jax.jit(jax.grad(loss))
    for rows in order:
      update, state = rule.update(step(params, rows), state, params)
      params = optax.apply_updates(params, update)
    padded = {name: value[i] for name, value in done.items()}
    for path, value in space.cut(padded, one[0]).items():
      # Adam makes whole steps of gradients that are all but 0, and so of their rounding.
      np.testing.assert_allclose(value, params[path], atol=2e-3 if optimizer == 'adam' else 2e-4)
    sizes = sum(np.count_nonzero(value) for value in padded.values())
    assert sizes <= model.spec.num_params


def test_proxies_agree_with_their_definitions():
  tables = space.tables(CHOSEN, PADDING, NETWORK)
  nets = space.initial(CHOSEN, PADDING, 9, 3, 'he_normal', 0)
  sizes = ranking.num_params(CHOSEN, 9, 3)
  assert np.exp(sizes[0]) == pytest.approx(9 * 4 + 4 + 4 * 3 + 3)
  assert np.exp(ranking.num_products(CHOSEN, 9, 3)[0]) == pytest.approx(2 * (9 * 4 + 4 * 3))
  flow = ranking.synflow(nets, tables)
  first = space.cut({name: np.abs(value[0]) for name, value in nets.items()}, (4,))
  # Of a network without biases every layer has the sum of the outputs.
  total = (np.ones(9) @ first['layer0/kernel'] @ first['layer1/kernel']).sum()
  assert np.exp(flow[0]) == pytest.approx(2 * total, rel=1e-4)
  kernel = ranking.naswot(nets, tables, np.random.default_rng(0).normal(size=(16, 9)).astype('f'))
  assert np.isfinite(kernel).all()
  assert ranking.tau(sizes, sizes) == 1 and ranking.tau(sizes, np.ones(4)) == 0


@pytest.fixture(scope='module')
def run(smoke_run):
  return smoke_run('architect')


@pytest.mark.slow
def test_the_report_compares_predictions_with_training_and_rankings(run):
  report, _, config = run
  assert {'in_the_space', 'wider', 'deeper', 'ranking'} == set(report.tables)
  rows = report.tables['in_the_space'].rows
  assert {'predicted', 'epoch from predicted', 'epoch from he_normal', 'tuned epoch'} <= set(rows)
  assert rows['predicted'].n == config.architect.held_out
  assert rows['tuned epoch'].kind == 'reference' and rows['predicted'].kind == 'model'
  assert {'synflow', 'NASWOT', 'number of weights'} <= set(report.tables['ranking'].rows)


def test_a_model_gets_weights_by_one_call_and_by_the_command(tmp_path, monkeypatch, capsys):
  sizes = {'units': 6, 'width': 8, 'depth': 1, 'num_heads': 2, 'rank': 4, 'code': 4}
  network = hypernetwork.GraphHypernetwork(64, 10, **sizes)
  layers = np.zeros((2, hypernetwork.NUM_FEATURES), np.float32)
  given = layers, np.eye(2, dtype=int), np.ones(2, bool), network.units
  facts = {'middle': [0.0] * 64, 'size': 1.0, 'pool': 1, 'record': {'license': 'MIT'}}
  workdir = tmp_path / 'run'
  prediction.save(workdir / 'seed0', network, network.init(jax.random.key(0), *given), facts)
  module = nn.Sequential([nn.Dense(7), nn.tanh, nn.Dense(10)])
  model = wsjax.Model.from_flax(module, jnp.zeros((1, 64)))
  zoo = wsjax.predict_weights(model, workdir)
  (record,) = zoo.records
  assert [edge['relation'] for edge in record['parents']] == ['generated_by']
  assert record['license'] and record['split'] == 'test'
  assert np.isfinite(model.apply(zoo.networks()[0], np.zeros((2, 64), 'f'))).all()
  monkeypatch.chdir(tmp_path)
  words = ['predict-weights', '64-7-10:tanh', '--workdir', str(workdir), '--out', 'net.safetensors']
  assert main.main(words) == 0 and main.main(words) == 2
  capsys.readouterr()
  for change, text in (
    ({1: '64-7-10:sine'}, 'activation'), ({1: '32-7-10:relu'}, 'inputs'),
    ({3: '.'}, 'no hypernetwork'),
  ):  # fmt: skip
    other = [change.get(i, word) for i, word in enumerate(words[:-1])] + ['new.safetensors']
    assert main.main(other) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
  ('words', 'overrides'),
  [
    ('architect has a space of', {'architect.held_out': 1_000}),
    ('architect.deeper is', {'architect.deeper': (2,)}),
    ('architect.pool is 3', {'architect.pool': 3}),
  ],
)
def test_a_config_that_cannot_run_is_refused(tmp_path, words, overrides):
  with pytest.raises(ValueError, match=words):
    wsjax.run(wsjax.load_config('wsjax/architect:smoke', overrides), tmp_path / 'run')
