"""Fields of a config that make no sense are named before anything is trained or written."""

import jax
import pytest

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
