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


def test_models_of_equal_symmetries_are_told_apart_by_what_they_compute(tmp_path):
  def own(activation):
    params = {'w': jax.numpy.ones((4, 6)), 'v': jax.numpy.ones((6, 2))}
    model = wsjax.Model.from_function(
      lambda p, x: activation(x @ p['w']) @ p['v'], params, jax.numpy.zeros((1, 4))
    )
    return wsjax.Zoo.of(model, [params] * 2)

  gelu, silu = own(jax.nn.gelu), own(jax.nn.silu)
  assert gelu.spec == silu.spec
  with pytest.raises(ValueError, match='another function'):
    comparable.check(silu, gelu)
  assert len(comparable.check(own(jax.nn.gelu), gelu)) == 1
  unnamed = silu.save(tmp_path / 'zoo').path
  assert 'Which function' in comparable.check(wsjax.Zoo.open(unnamed), gelu)[0]


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
