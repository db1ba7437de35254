import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wsjax import config
from wsjax.zoo import recipe as recipe_lib


def test_ranges_are_drawn_log_uniformly_within_bounds():
  recipe = recipe_lib.Recipe(learning_rate=(1e-4, 1e-2), weight_decay=0.5)
  keys = jax.random.split(jax.random.key(0), 4000)
  drawn = jax.vmap(recipe.draw)(keys)
  rates = np.log10(drawn['learning_rate'])
  assert rates.min() >= -4.001 and rates.max() <= -1.999
  assert np.mean(rates) == pytest.approx(-3, abs=0.05)
  assert np.std(rates) == pytest.approx(2 / 12**0.5, abs=0.03)
  np.testing.assert_array_equal(drawn['weight_decay'], np.full(4000, 0.5))


def test_other_factors_are_drawn_uniformly_or_as_whole_numbers():
  recipe = recipe_lib.Recipe(dropout=(0.1, 0.5), shift=(1, 3), init_scale=2.0)
  drawn = jax.vmap(recipe.draw)(jax.random.split(jax.random.key(0), 4000))
  rates = drawn['dropout']
  assert 0.1 <= rates.min() < 0.11 and 0.49 < rates.max() <= 0.5
  assert np.std(rates) == pytest.approx(0.4 / 12**0.5, abs=0.01)
  counts = np.bincount(drawn['shift'], minlength=5)
  assert counts[0] == counts[4] == 0 and counts[1:4].min() > 1200
  np.testing.assert_array_equal(drawn['init_scale'], np.full(4000, 2.0))


def test_factors_at_their_neutral_value_are_not_drawn():
  recipe = recipe_lib.Recipe(dropout=0.0, train_fraction=1.0)
  drawn = recipe.draw(jax.random.key(0))
  assert set(drawn) == {'learning_rate', 'weight_decay'}
  assert not recipe.uses('dropout', 'train_fraction')


@pytest.mark.parametrize(
  ('name', 'momentum', 'expected'),
  [
    ('sgd', 0.9, optax.sgd(0.1, momentum=0.9)),
    ('sgd', 0.0, optax.sgd(0.1)),
    ('adam', 0.0, optax.adam(0.1)),
    ('adamw', 0.0, optax.adamw(0.1, weight_decay=0.01)),
  ],
)
def test_chains_are_those_of_optax(name, momentum, expected):
  decay = 0.01 if name == 'adamw' else 0.0
  recipe = recipe_lib.Recipe(name, 0.1, decay, momentum)
  tx = recipe.transformation(name, recipe.draw(jax.random.key(0)))
  one = two = {'w': jnp.array([1.0, -2.0])}
  state, other = tx.init(one), expected.init(two)
  for _ in range(3):
    gradients = jax.tree.map(lambda w: 3 * w, one)
    updates, state = tx.update(gradients, state, one)
    one = optax.apply_updates(one, updates)
    gradients = jax.tree.map(lambda w: 3 * w, two)
    updates, other = expected.update(gradients, other, two)
    two = optax.apply_updates(two, updates)
  np.testing.assert_allclose(one['w'], two['w'], rtol=1e-6)


def test_weight_decay_is_a_penalty_unless_decoupled():
  recipe = recipe_lib.Recipe('sgd', 0.1, 0.5)
  tx = recipe.transformation('sgd', recipe.draw(jax.random.key(0)))
  params = {'w': jnp.array([2.0])}
  updates, _ = tx.update({'w': jnp.array([1.0])}, tx.init(params), params)
  np.testing.assert_allclose(updates['w'], [-0.1 * (1 + 0.5 * 2)], rtol=1e-6)


# Field -> values that are not allowed.
WRONG = {
  'optimizer': ['lion', ('adam', 'lion'), (), 3],
  'learning_rate': [0, -1e-3, math.inf, (1e-2, 1e-4), (0.0, 1e-2), (1e-3,), '1e-3', True],
  'weight_decay': [-1.0, (0.0, 1e-4), (1e-2, 1e-4)],
  'momentum': [-0.1, 1.0, 1.5],
  'batch_size': [0, 2.5, -64],
  'steps': [0, 2.5, '500'],
  'snapshots': [(5, 5), (500,), (0,), (2.5,), 5],
  'shared_batches': ['yes', 1],
  'init_scale': [0, -1],
  'dropout': [1.0, 2.0, -0.1, (0.5, 0.1)],
  'train_fraction': [0, 1.5, (0.0, 1.0)],
  'label_noise': [1.5, (0.5, 0.1)],
  'input_noise': [-0.1, math.nan],
  'shift': [(0, 1.5), -1, 1.5, (3, 1)],
  'step': [3],
}


@pytest.mark.parametrize('name', WRONG)
def test_a_wrong_field_is_named(name):
  for value in WRONG[name]:
    with pytest.raises(ValueError, match=rf'zoo\.recipe.* {name!r}|zoo\.recipe.*\b{name} is'):
      config.read(recipe_lib.Recipe, 'zoo.recipe', {name: value})


def test_a_recipe_of_a_json_file_is_that_of_the_config():
  section = {
    'optimizer': ['sgd', 'adam'],
    'learning_rate': [1e-3, 1e-2],
    'snapshots': [10],
    'steps': 2e2,
  }
  recipe = config.read(recipe_lib.Recipe, 'zoo.recipe', section)
  assert recipe == recipe_lib.Recipe(('sgd', 'adam'), (1e-3, 1e-2), steps=200, snapshots=(10,))
  assert hash(recipe) == hash(
    config.read(recipe_lib.Recipe, 'zoo.recipe', dataclasses.asdict(recipe))
  )
