"""Networks of others: read as they are, moved without harm, refused if bad."""

import gzip
import importlib
import json
import types

import jax
import numpy as np
import pytest

from tests import marks
from wsjax import config, interop, testing
from wsjax.cli import main as cli
from wsjax.interop.families import es_policies, rl_agents
from wsjax.interop.families import third_party_classifiers as classifiers
from wsjax.tokens import graph
from wsjax.zoo import targets
from wsjax.zoo.store import store

FAMILIES = {
  'rl_agents': (43, 'agents.npz'),
  'es_policies': (46, 'policies.npz'),
  'third_party_classifiers': (3, 'weights.npz'),
}
IDS = ('mnist_cnn/kw_eps0.1', 'fashion_cnn/kw_eps0.1', 'mnist_mlp/toy_2_20')


@pytest.fixture(params=FAMILIES)
def family(request):
  return request.param


@pytest.fixture(scope='module')
def agents(shared_data):
  folder = shared_data / 'rl_agents'
  return networks_of(rl_agents, folder)


@pytest.fixture(scope='module')
def pictures(shared_data):
  folder = shared_data / 'third_party_classifiers'
  return networks_of(classifiers, folder)


def networks_of(family, folder):
  """Id -> model, weights and what the publisher says of a network."""
  made = {}
  for each in family.FAMILY.checkpoints(folder):
    zoo = interop.import_checkpoints(None, each)
    made[each.id] = types.SimpleNamespace(
      architecture=each.model, params=zoo.networks()[0], detail=each.record['parents'][0]['detail']
    )
  return made


def module(family):
  return importlib.import_module(f'wsjax.interop.families.{family}')


def raw(shared_data, family):
  """[(entry of the index, parameter -> array)], read in another way."""
  folder = shared_data / family
  arrays = np.load(folder / FAMILIES[family][1])
  made = []
  for entry in json.loads((folder / 'index.json').read_text()):
    prefix = entry['id'] + ':'
    own = {name[len(prefix) :]: arrays[name] for name in arrays.files if name.startswith(prefix)}
    made.append((entry, own))
  return made


def inputs_of(network, num=7):
  size = network.params['layer0/kernel'].shape[0]
  rng = np.random.default_rng(0)
  return rng.normal(size=(num, size)).astype(np.float32)


def moved(network, seed):
  spec = network.architecture.spec
  g = spec.random(jax.random.key(seed))
  return spec.act(g, network.params)


def test_every_network_is_imported_and_says_where_from(family, shared_data, tmp_path):
  words = ['zoo', 'import', family, '--from', str(shared_data / family)]
  assert cli.main([*words, '--out', str(tmp_path / 'zoo')]) == 0
  zoo = store.Zoo.open(tmp_path / 'zoo')
  assert len(zoo) == FAMILIES[family][0]
  assert len(zoo.select(split='train')) == len(zoo)
  zoo.check()
  given = {
    entry['id']: sum(array.size for array in arrays.values())
    for entry, arrays in raw(shared_data, family)
  }
  assert set(zoo.keys) == set(given)
  for key, record in zip(zoo.keys, zoo.records, strict=True):
    assert record['parents'][0]['external_ref'].startswith('https://github')
    assert record['license'] in ('MIT', 'BSD-3-Clause')
    assert record['attribution']
    params = zoo.params([zoo.keys.index(key)])
    added = record['parents'][0]['detail'].get('biases_of_zeros', [])
    left_out = record['parents'][0]['detail'].get('left_out', [])
    if not (added or left_out):
      assert sum(x.size for x in params.values()) == given[key]
  with pytest.raises(ValueError, match='holds a published zoo'):
    module(family).FAMILY.import_zoo(shared_data / family, tmp_path / 'zoo')


def test_targets_are_what_the_publisher_says(shared_data, tmp_path):
  zoo = rl_agents.FAMILY.import_zoo(shared_data / 'rl_agents', tmp_path / 'rl')
  found = targets.load(zoo, np.arange(len(zoo)), 'algorithm')
  assert found.names == ('a2c', 'ars', 'ppo')
  assert np.bincount(found.values).tolist() == [20, 11, 12]
  zoo = es_policies.FAMILY.import_zoo(shared_data / 'es_policies', tmp_path / 'es')
  known = targets.known(zoo, np.arange(len(zoo)), 'score')
  assert len(known) == len(zoo) - 1  # One score is not told.
  with pytest.raises(ValueError, match="1 of 46 networks .* have no 'score'"):
    targets.load(zoo, np.arange(len(zoo)), 'score')


def test_agents_act_as_their_arrays_say(shared_data, agents):
  for entry, arrays in raw(shared_data, 'rl_agents'):
    network = agents[entry['id']]
    x = h = inputs_of(network)
    names = sorted(
      name.removesuffix('.weight')
      for name in arrays
      if name.endswith('.weight') and 'value' not in name
    )
    names.sort(key=lambda name: 'policy_net' not in name)
    act = np.tanh if entry['algo'] != 'ars' else lambda v: np.maximum(v, 0)
    for number, name in enumerate(names):
      h = h @ arrays[f'{name}.weight'].T + arrays.get(f'{name}.bias', 0)
      h = act(h) if number < len(names) - 1 else h
    squashed = entry['algo'] == 'ars' and len(names) > 1
    if squashed and entry['action_type'] == 'continuous':
      h = np.tanh(h)
    got = network.architecture.apply(network.params, x)
    np.testing.assert_allclose(got, h, rtol=1e-4, atol=1e-4)


def test_policies_act_as_their_arrays_say(shared_data):
  given = raw(shared_data, 'es_policies')
  networks = networks_of(es_policies, shared_data / 'es_policies')
  for entry, arrays in given:
    network = networks[entry['id']]
    x = h = inputs_of(network)
    depth = len(entry['layer_sizes']) - 1
    for i in range(depth):
      h = h @ arrays[f'w{i}'] + arrays[f'b{i}']
      if i < depth - 1 or entry['output_activation'] == 'tanh':
        h = np.tanh(h)
    got = network.architecture.apply(network.params, x)
    np.testing.assert_allclose(got, h, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('every', [30, pytest.param(1, marks=pytest.mark.slow)])
def test_every_agent_is_a_graph_without_loss(agents, every):
  tokenizer = graph.Graph()
  # Some are linear: they have no hidden unit.
  for network in list(agents.values())[::every]:
    spec = network.architecture.spec
    back = tokenizer.detokenize(tokenizer.tokenize(network.params, spec), spec)
    for path, value in network.params.items():
      np.testing.assert_array_equal(back[path], value)


def test_moving_an_agent_does_not_change_what_it_does(agents):
  for id in ('a2c/Ant-v3', 'ppo/CartPole-v1', 'ars/Pendulum-v1'):
    network = agents[id]
    apply = jax.jit(network.architecture.apply)
    before = apply(network.params, inputs_of(network))
    for seed in range(3):
      after = apply(moved(network, seed), inputs_of(network))
      np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('id', marks.slow(IDS, 'mnist_mlp/toy_2_20'))
def test_moving_a_classifier_keeps_its_accuracy(id, shared_data, pictures):
  network = pictures[id]
  subset = np.load(shared_data / network.detail['task'] / 'subset.npz')
  x = subset['test_images'][..., None].astype(np.float32) / 255
  y = subset['test_labels']
  logits = jax.jit(network.architecture.apply)
  before = logits(network.params, x)
  published = network.detail['score']
  accuracy = np.mean(before.argmax(-1) == y)
  # Five standard errors: 500 images are fewer than the official 10,000.
  noise = 5 * np.sqrt(published * (1 - published) / len(y))
  assert abs(accuracy - published) < noise
  for seed in range(3):
    params = moved(network, seed)
    assert not np.allclose(params[min(params)], network.params[min(params)])
    after = logits(params, x)
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3)
    assert np.mean(after.argmax(-1) == y) == accuracy


@pytest.mark.slow
@pytest.mark.parametrize('id', IDS)
def test_the_published_accuracy_holds_on_the_whole_test_set(id, shared_data, pictures):
  network = pictures[id]
  folder = shared_data / network.detail['task']
  arrays = []
  for name, offset in (('images-idx3', 16), ('labels-idx1', 8)):
    with gzip.open(folder / f't10k-{name}-ubyte.gz') as file:
      arrays.append(np.frombuffer(file.read(), np.uint8, offset=offset))
  x = arrays[0].reshape(-1, 28, 28, 1).astype(np.float32) / 255
  logits = jax.jit(network.architecture.apply)
  for params in (network.params, moved(network, 0)):
    hits = [
      logits(params, x[i : i + 500]).argmax(-1) == arrays[1][i : i + 500]
      for i in range(0, len(x), 500)
    ]
    # Published with four decimals; a tie of logits may fall either way.
    assert abs(np.mean(hits) - network.detail['score']) < 2e-4


@pytest.mark.slow
@pytest.mark.parametrize('id', ['ppo/LunarLander-v2', 'ars/Acrobot-v1'])
@pytest.mark.parametrize('name', config.plugins('encoders'))
def test_encoders_do_not_see_how_an_agent_is_arranged(name, id, agents):
  network = agents[id]
  encoder = config.build('encoders', {'name': name, 'architecture': network.architecture})
  kinds = type(encoder).INVARIANT_TO
  if not kinds:
    pytest.skip(f'{name} claims no invariance')
  testing.assert_invariant(encoder, network.architecture.spec, network.params, kinds=kinds)
