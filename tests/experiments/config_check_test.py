"""Fields of a config that make no sense are named before anything is trained or written."""

import pathlib

import jax
import pytest

from tests import marks
from wsjax import pipeline
from wsjax.experiments import base, configs

CONFIG = 'configs/digits_flow.py:smoke'
WRONG = {
  'seed': [-1, 1 << 32],
  'train.learning_rate': [0.0, -1.0, float('inf')],
  'train.ema_decay': [1.5, -1.0],
  'train.clip_norm': [-1.0],
  'train.seeds': [(), (0, 0), (-1,), (1 << 32,)],
  'train.mesh': [('data', -1)],
  'train.steps': [0],
  'strategy.functional_networks': [0],
  'zoo.recipe.learning_rate': [-1.0],
  'zoo.recipe.momentum': [1.5],
  'zoo.recipe.steps': [0],
  'zoo.recipe.batch_size': [0],
  'zoo.chunk_size': [0],
}


@pytest.mark.parametrize('field', WRONG)
def test_a_wrong_field_is_named_and_no_workdir_is_made(field, tmp_path):
  for value in WRONG[field]:
    config, _ = configs.load(CONFIG)
    section, _, name = field.rpartition('.')
    with config.unlocked(), config.ignore_type():
      target = config
      for key in filter(None, section.split('.')):
        target = target[key]
      target[name] = value
    with pytest.raises(ValueError, match=field.rpartition('.')[2]):
      pipeline.run(config, tmp_path / 'run', progress=False)
    assert not (tmp_path / 'run').exists()


def test_float64_is_refused_in_one_sentence(tmp_path):
  config, _ = configs.load(CONFIG)
  with jax.enable_x64(True), pytest.raises(ValueError, match='JAX_ENABLE_X64'):
    pipeline.run(config, tmp_path / 'run', progress=False)
  assert not (tmp_path / 'run').exists()


def test_a_zoo_of_which_all_networks_diverged_is_refused(tmp_path):
  config, _ = configs.load(CONFIG)
  config.zoo.recipe.learning_rate = 1e30
  config.zoo.recipe.optimizer = 'sgd'
  config.zoo.splits = dict(train=2, val=0, test=0, holdout_audit=0)
  with pytest.raises(ValueError, match='All networks .*diverged.*zoo.recipe.learning_rate'):
    base.open_zoo(config, tmp_path, progress=False)


def test_a_whole_number_may_be_written_with_an_exponent():
  config, overrides = configs.load(CONFIG, ['--config.train.steps=1e3', '--config.seed=7'])
  assert config.train.steps == overrides['train.steps'] == 1000 and config.seed == 7
  with pytest.raises(ValueError, match='train.steps'):
    configs.load(CONFIG, ['--config.train.steps=2.5'])


# Of another type, or beyond all ranges; fields that take anything of a type, or a range, too.
SENSELESS = {
  bool: ['yes', 2, None, ()],
  int: ['x', -1, 0.5, None, (), 10**30, float('nan')],
  float: ['x', -1.0, None, (), float('nan'), float('inf')],
  str: [3, 'nonsense!', None, (), True],
  tuple: ['x', -3, None, ('nonsense!',), (None,), (1e30, -1e30, 3), True],
}
FREE = {('name', 'nonsense!'), ('zoo.path', 'nonsense!'), ('zoo.dataset.val_fraction', None)}
CONFIGS = sorted(
  path.stem for path in pathlib.Path('configs').glob('*.py') if path.stem not in ('common', 'demo')
)


def walk(section, where=''):
  """Dotted name of every field and section, with its value."""
  for name in section:
    yield f'{where}{name}', section[name]
    if hasattr(section[name], 'to_dict'):
      yield from walk(section[name], f'{where}{name}.')


def changed(config, where, value):
  """A copy of a config in which a field is another value."""
  copy = config.copy_and_resolve_references()
  with copy.unlocked(), copy.ignore_type():
    *path, name = where.split('.')
    target = copy
    for key in path:
      target = target[key]
    target[name] = value
  return copy


@pytest.mark.parametrize('name', marks.slow(CONFIGS, *set(CONFIGS) - {'prompting'}))
def test_every_senseless_field_is_one_sentence_that_names_it(name):
  config, _ = configs.load(f'configs/{name}.py:smoke')
  configs.check(config)
  for where, value in walk(config):
    wrong = SENSELESS.get(type(value), [3, 'x', (1, 2), True])
    cases = [(where, other) for other in wrong if (where, other) not in FREE]
    if hasattr(value, 'to_dict') and where != 'zoo.model':  # Arguments of the user's function.
      cases.append((f'{where}.nonsense', 1))
    for field, other in cases:
      with pytest.raises(ValueError) as caught:
        configs.check(configs.with_defaults(changed(config, field, other)))
        pytest.fail(f'{field} = {other!r} is accepted')
      text = str(caught.value)
      assert field.rpartition('.')[2] in text or where in text, (field, other, text)
      assert 'allowed' in text.lower() or 'must' in text or 'missing' in text, (field, other, text)
  with pytest.raises(ValueError, match="no field 'evalute'; did you mean 'evaluate'"):
    configs.check(changed(config, 'evalute', {}))


def test_a_field_that_is_left_out_is_its_default_or_an_error():
  config, _ = configs.load('configs/foreign_agents.py:smoke')
  kind = base.find(config.experiment)
  with config.unlocked():
    del config.property.weights, config.augment
  assert configs.filled(config, kind).property.weights == 'real'
  assert configs.filled(config, kind).augment.noise == 0.0
  configs.check(config)
  with config.unlocked():
    del config.property.target
  with pytest.raises(ValueError, match='property.target is missing; it is a str'):
    configs.check(config)


@pytest.mark.parametrize(
  'name, value, default',
  [
    ('jax_default_prng_impl', 'rbg', 'threefry2x32'),
    ('jax_numpy_dtype_promotion', 'strict', 'standard'),
    ('jax_threefry_partitionable', False, True),
  ],
)
def test_settings_of_jax_that_change_numbers_are_refused(name, value, default):
  config, _ = configs.load(CONFIG)
  jax.config.update(name, value)
  try:
    with pytest.raises(ValueError, match=f'{name} is {value!r}; allowed: {default!r}'):
      configs.check(config)
  finally:
    jax.config.update(name, default)
