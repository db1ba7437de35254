import os

import pytest

from wsjax.cli import main
from wsjax.experiments import configs

CONFIG = """
from ml_collections import config_dict

def get_config(arg=''):
  c = config_dict.ConfigDict()
  c.arg = arg
  c.train = dict(steps=10, rate=1e-3, widths=(1, 2), fast=True, path=None)
  return c
"""


def write(tmp_path, text, name='config.py'):
  path = tmp_path / name
  path.write_text(text)
  return str(path)


def test_overrides_have_the_type_of_the_field(tmp_path):
  path = write(tmp_path, CONFIG)
  config, overrides = configs.load(
    f'{path}:a=b',
    [
      '--config.train.steps=3',
      '--config.train.rate=1',
      '--config.train.widths=(5,)',
      '--config.train.fast=false',
    ],
  )
  assert config.arg == 'a=b'
  assert config.train.steps == 3 and isinstance(config.train.rate, float)
  assert config.train.widths == (5,) and config.train.fast is False
  assert overrides == {
    'train.steps': 3,
    'train.rate': 1.0,
    'train.widths': (5,),
    'train.fast': False,
  }


def test_the_config_is_locked_and_loads_are_independent(tmp_path):
  path = write(tmp_path, CONFIG)
  config, _ = configs.load(path, ['--config.train.steps=3'])
  with pytest.raises(AttributeError):
    config.train.setps = 1
  other, overrides = configs.load(path)
  assert other.train.steps == 10 and overrides == {}


@pytest.mark.parametrize(
  'text, message',
  [
    ('x = 1', r'does not define get_config\(\)'),
    ('import no_such_thing', 'does not run as Python: ModuleNotFoundError'),
    ('def f(:', 'does not run as Python: SyntaxError'),
    ('def get_config(): return {}', 'returned a dict, not a ConfigDict'),
  ],
)
def test_a_file_that_is_no_config_is_an_error(text, message, tmp_path):
  configs.load(write(tmp_path, CONFIG, 'good.py'))  # Leaves nothing behind.
  with pytest.raises(ValueError, match=message):
    configs.load(write(tmp_path, text))


def test_an_argument_it_does_not_take_is_an_error(tmp_path):
  text = CONFIG.replace("arg=''", '').replace('c.arg = arg', '')
  with pytest.raises(ValueError, match='takes 0 positional arguments'):
    configs.load(write(tmp_path, text) + ':smoke')


@pytest.mark.parametrize(
  'override, message',
  [
    ('--config.train.step=1', "Did you mean 'steps'"),
    ('--config.train.path=x', 'is None in the config'),
    ('--config.train=1', 'Failed to parse'),
    ('--train.steps=1', 'is not --config.FIELD=VALUE'),
  ],
)
def test_a_wrong_override_is_an_error(override, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    configs.load(write(tmp_path, CONFIG), [override])


@pytest.mark.parametrize('values', [['(0,1)', '(2,)'], ['(2,)', '(0,1)', '(2,)']])
def test_the_last_override_of_a_field_counts(values, tmp_path):
  path = tmp_path / 'c.py'
  path.write_text(
    'from ml_collections import config_dict\n'
    'def get_config():\n'
    '  return config_dict.ConfigDict(dict(seed=0, train=dict(seeds=(0, 1, 2))))\n'
  )
  overrides = [f'--config.train.seeds={value}' for value in values]
  config, changed = configs.load(str(path), ['--config.seed=1', *overrides])
  assert config.train.seeds == (2,) and config.seed == 1
  assert changed == {'train.seeds': (2,), 'seed': 1}


@pytest.mark.parametrize(
  'text, parts',
  [
    ('a.py', ('a.py', '')),
    ('/a:b/c.py', ('/a:b/c.py', '')),
    ('/a:b/c.py:smoke,target=x:y', ('/a:b/c.py', 'smoke,target=x:y')),
    ('a.py:b.py:c', ('a.py', 'b.py:c')),
  ],
)
def test_a_path_may_have_colons(text, parts):
  assert configs.split(text) == parts


def test_every_config_of_the_package_is_listed_and_loads(capsys):
  assert main.main(['configs']) == 0
  lines = dict(line.split('  ', 1) for line in capsys.readouterr().out.splitlines())
  assert lines['wsjax/digits_flow'].strip().startswith('Flow matching')
  assert set(lines) == set(configs.shipped()) and 'wsjax/ablations/width' in lines
  assert configs.load_config('wsjax/digits_flow:smoke').name == 'digits_flow'
  with pytest.raises(ValueError, match='wsjax/digits_flow'):
    configs.load('wsjax/digit_flow')


def test_configs_are_copied_where_they_find_each_other(tmp_path, capsys):
  assert main.main(['configs', '--copy', str(tmp_path)]) == 0
  (tmp_path / 'configs/common.py').write_text((tmp_path / 'configs/common.py').read_text()
    .replace("optimizer='adam'", "optimizer='sgd'"))  # fmt: skip
  mine = configs.load_config(f'{tmp_path}/configs/digits_flow.py')
  assert mine.zoo.recipe.optimizer == 'sgd'
  assert configs.load_config('wsjax/digits_flow').zoo.recipe.optimizer == 'adam'
  assert os.access(tmp_path / 'launch/slurm/submit.sh', os.X_OK)
  assert main.main(['configs', '--copy', str(tmp_path)]) == 2
  assert 'exists' in capsys.readouterr().err


def test_what_names_no_python_file_is_refused():
  with pytest.raises(ValueError, match='a.yaml'):
    configs.load('a.yaml:smoke')
