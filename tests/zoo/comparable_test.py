import jax
import numpy as np
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


ROWS = np.zeros((6, 4), np.float32)
CLASSES = np.arange(6) % 3


@pytest.mark.parametrize('outputs, x, y, words', [
  (3, ROWS, CLASSES + 1, 'labels are 1 to 3; allowed with 3 outputs: 0 to 2'),
  (3, ROWS, CLASSES - 1, 'labels are -1 to 1'),
  (1, ROWS, CLASSES % 2, 'one output'),
  (1, ROWS, CLASSES > 0, 'one output'),
  (3, ROWS[:, :3], CLASSES, r'does not take inputs \(3,\) of float32; its own are \(4,\)'),
  (3, ROWS, CLASSES[:, None], r'outputs are \(3,\) and targets \(1,\)'),
  (3, ROWS, np.array(list('abcabc')), 'finite numbers'),
  (1, ROWS, np.where(CLASSES, np.nan, 1.0), 'finite numbers'),
  (1, np.full_like(ROWS, np.inf), np.ones(6), 'finite numbers'),
])  # fmt: skip
def test_data_that_do_not_fit_the_model_are_refused(outputs, x, y, words):
  model = wsjax.mlp((4, 5, outputs))
  with pytest.raises(ValueError, match=words):
    wsjax.Dataset.of(test=(x, y)).check(model, 'train', 'test')


def test_data_that_fit_the_model_pass():
  fitting = [
    (3, ROWS, CLASSES), (2, ROWS, CLASSES > 0), (3, ROWS, np.eye(3)[CLASSES]),
    (1, ROWS, np.ones(6)), (1, ROWS, np.ones((6, 1))), (3, ROWS.reshape(6, 2, 2, 1), CLASSES),
  ]  # fmt: skip
  for outputs, x, y in fitting:
    wsjax.Dataset.of(test=(x, y)).check(wsjax.mlp((4, 5, outputs)), 'test')
  odd = wsjax.Dataset.of(test=(ROWS[:, :2], CLASSES), loss=lambda model, params, batch: 0.0)
  odd.check(wsjax.mlp((4, 5, 3)), 'test')


def test_fit_and_evaluate_compare_data_with_the_model():
  mine = zoo('relu')
  wrong = np.zeros((5, 4), np.float32), np.arange(5) + 7
  with pytest.raises(ValueError, match='labels are 7 to 11'):
    wsjax.fit(mine, task=wrong, steps=1, progress=False)
  with pytest.raises(ValueError, match='labels are 7 to 11'):
    wsjax.evaluate(mine.networks(), mine, data=wrong, progress=False)
  with pytest.raises(ValueError, match='no split test'):
    wsjax.evaluate(mine.networks(), mine, data=wsjax.Dataset.of(train=wrong), progress=False)
