"""Zoos of several architectures: one encoder and one generator for all of them."""

import json

import jax
import numpy as np
import pytest

import wsjax
from tests import marks

WIDTHS = ((4, 3, 2), (4, 5, 2), (4, 4, 3, 2))


def made_of(tensors):
  """The model of a network, from its tensors."""
  kernels = [x.shape[1] for name, x in sorted(tensors.items()) if name.endswith('kernel')]
  return wsjax.mlp((4, *kernels), 'gelu')


@pytest.fixture(scope='module')
def zoo():
  nets = {}
  for kind, widths in enumerate(WIDTHS):
    model = wsjax.mlp(widths, 'gelu')
    for i in range(6):
      nets[f'{kind}-{i}'] = jax.device_get(model.init(jax.random.key(10 * kind + i)))
  return wsjax.import_checkpoints(made_of, nets)


def moved(zoo):
  """Networks with their units in another order."""
  params = {}
  for row, key in enumerate(zoo.keys):
    spec = zoo.architectures[int(key[0])].spec
    net = {path: x[0] for path, x in zoo.params([row]).items()}
    params[key] = jax.device_get(spec.act(spec.random(jax.random.key(row)), net))
  return wsjax.import_checkpoints(made_of, params)


@pytest.mark.parametrize('name', marks.slow(['graph_statistics', 'graph_net'], 'graph_net'))
def test_an_encoder_embeds_networks_of_random_widths_and_depths(zoo, name):
  fields = {} if name == 'graph_statistics' else {'width': 8, 'embedding': 6}
  first = wsjax.encode(zoo, name, progress=False, **fields)
  again = wsjax.encode(moved(zoo), name, progress=False, **fields)
  assert len(first) == 18 and np.isfinite(first).all()
  assert len(np.unique(first.round(4), axis=0)) == 18
  np.testing.assert_allclose(first, again, atol=1e-3)
  with pytest.raises(ValueError, match='reads one. Allowed: graph_'):
    wsjax.encode(zoo, 'flat_mlp', progress=False)


@pytest.mark.slow
def test_a_generator_samples_each_architecture(zoo):
  fields = {'backbone': {'name': 'transformer', 'width': 16, 'depth': 1}, 'num_steps': 4}
  made = wsjax.fit(zoo, 'flow_matching', steps=60, progress=False, **fields)
  losses = made.history['loss']
  assert np.isfinite(losses).all()
  for number, widths in enumerate(WIDTHS):
    drawn = made.sample(3, number)
    assert drawn.spec == zoo.architectures[number].spec
    assert drawn.params['layer0/kernel'].shape == (3, 4, widths[1])
    assert drawn.finite().all() and np.abs(drawn.params['layer0/kernel']).max() < 10
    for path, value in made.sample(3, number).params.items():
      np.testing.assert_array_equal(value, drawn.params[path])
  # Tokens are read back as they were, and padding is no weight.
  rows = zoo.select(architecture=zoo.architectures[1])
  params, form = zoo.params(rows), made.forms[1]
  back = form.decode(form.encode(params))
  assert (
    form.mask.sum() == form.spec.num_params and not form.encode(params)[:, form.mask == 0].any()
  )
  for path, value in params.items():
    np.testing.assert_allclose(back[path], value, atol=1e-6)
  for call, words in (
    (lambda: wsjax.fit(zoo, 'kde'), 'has 3 architectures'),
    (lambda: made.sample(1, 3), 'allowed: 0 to 2'),
  ):
    with pytest.raises(ValueError, match=words):
      call()


@pytest.mark.slow
def test_published_agents_of_many_sizes_are_embedded(shared_data):
  folder = shared_data / 'rl_agents'
  index = json.loads((folder / 'index.json').read_text())
  assert index

  def model(tensors):
    names = [
      n for n in tensors if n.startswith(('mlp_extractor.policy', 'action_net')) and 'w' in n[-6:]
    ]
    names.sort(key=lambda name: ('action' in name, name))
    return wsjax.mlp((tensors[names[0]].shape[1], *(tensors[n].shape[0] for n in names)), 'tanh')

  found = {
    c.id: c.tensors
    for c in wsjax.interop.checkpoints(folder / 'agents.npz')
    if not c.id.startswith('ars')
  }
  zoo = wsjax.import_checkpoints(
    model, found, folder / 'index.json', layout='torch', ignore=['*value_net*', '*log_std*']
  )
  embedding = wsjax.encode(zoo, 'graph_statistics', progress=False)
  assert len(embedding) == 32 and np.isfinite(embedding).all()
