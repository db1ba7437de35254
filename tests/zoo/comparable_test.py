import jax
import pytest

import wsjax
from wsjax.zoo import comparable


def zoo(activation, **records):
  model = wsjax.mlp((4, 6, 2), activation)
  networks = jax.vmap(model.init)(jax.random.split(jax.random.key(0), 4))
  return wsjax.Zoo.of(model, networks, records or None)


def test_networks_of_other_functions_are_refused_although_their_shapes_agree():
  assert comparable.check(zoo('relu'), zoo('relu'))
  for given, own in (('tanh', 'relu'), ('silu', 'gelu')):
    with pytest.raises(ValueError, match='activation'):
      comparable.check(zoo(given), zoo(own))


def test_networks_that_learned_from_other_data_are_refused():
  def data(digest):
    found = zoo('relu')
    sets = [{'name': 'mine', 'sha256': digest * 64}]
    found.records = [{**record, 'datasets': sets} for record in found.records]
    return found

  assert comparable.check(data('a'), data('a')) == []
  assert 'not recorded' in comparable.check(zoo('relu'), data('a'))[0]
  with pytest.raises(ValueError, match='learned from mine'):
    comparable.check(data('b'), data('a'))


def test_evaluate_compares_what_the_networks_are():
  mine = zoo('relu', split=['train'] * 3 + ['test'])
  with pytest.raises(ValueError, match='activation'):
    wsjax.evaluate(zoo('tanh'), mine, data=([[0.0] * 4] * 2, [0, 1]), progress=False)
