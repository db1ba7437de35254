"""The flags of `wsjax run` reach training, and wrong ones nothing at all."""

import os
import subprocess
import sys
import types

import pytest

from tests.reference import fake_report
from wsjax.cli import main

CONFIG = """
from ml_collections import config_dict

def get_config(arg=''):
  return config_dict.ConfigDict({'seed': 0})
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
  for name in ('WSJAX_PROFILE', 'WSJAX_TENSORBOARD', 'NPROC',
               'JAX_COMPILATION_CACHE_DIR',
               'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'):  # fmt: skip
    monkeypatch.setenv(name, '')  # So that what the command sets is undone.


@pytest.fixture
def run(tmp_path, monkeypatch):
  """Runs the command; gives its status and what the experiment would see."""
  config = tmp_path / 'config.py'
  config.write_text(CONFIG)
  seen = []

  def experiment(config, workdir, *, overrides):
    names = ('WSJAX_PROFILE', 'WSJAX_TENSORBOARD')
    seen.append(tuple(os.environ[name] for name in names))
    return fake_report.make(fake_report.METHODS[:3])

  fake = types.SimpleNamespace(run=experiment)
  monkeypatch.setitem(sys.modules, 'wsjax.pipeline', fake)
  monkeypatch.setattr('wsjax.pipeline', fake, raising=False)
  words = ['run', '--config', str(config), '--workdir', str(tmp_path / 'out')]
  return lambda *more: (main.main([*words, *more]), seen)


@pytest.mark.parametrize(
  'flags, want',
  [
    ([], ('', '')),
    (['--profile', '10:20'], ('10:20', '')),
    (['--tensorboard'], ('', '1')),
    (['--profile=0:1', '--tensorboard'], ('0:1', '1')),
  ],
)
def test_flags_are_in_the_environment_of_the_experiment(flags, want, run):
  assert run(*flags) == (0, [want])


def test_a_flag_is_stronger_than_the_variable(run, monkeypatch):
  monkeypatch.setenv('WSJAX_PROFILE', '1:2')
  monkeypatch.setenv('WSJAX_TENSORBOARD', '0')
  assert run('--profile', '3:4', '--tensorboard') == (0, [('3:4', '1')])


@pytest.mark.parametrize('value', ['', '10', '20:10', '5:5', '-1:2', 'a:b'])
def test_a_wrong_profile_is_one_line_and_runs_nothing(value, run, capsys):
  assert run(f'--profile={value}') == (2, [])
  err = capsys.readouterr().err
  assert f'--profile is {value!r}, not START:STOP' in err
  assert err.count('\n') == 1
  assert os.environ['WSJAX_PROFILE'] == ''


@pytest.mark.parametrize(
  'name, value, message',
  [
    ('WSJAX_PROFILE', '9:8', "WSJAX_PROFILE is '9:8', not START:STOP"),
    ('WSJAX_TENSORBOARD', 'yes', "WSJAX_TENSORBOARD is 'yes'; allowed:"),
  ],
)
def test_a_wrong_variable_is_refused_before_anything_runs(
  name, value, message, run, monkeypatch, capsys
):
  monkeypatch.setenv(name, value)
  assert run() == (2, [])
  assert message in capsys.readouterr().err


def test_help_explains_both(capsys):
  with pytest.raises(SystemExit) as stop:
    main.main(['run', '--help'])
  assert stop.value.code == 0
  out = ' '.join(capsys.readouterr().out.split())  # Its lines are folded.
  for word in ('--profile START:STOP', '--tensorboard', 'WSJAX_PROFILE',
               'WSJAX_TENSORBOARD=1', 'beside its checkpoints'):  # fmt: skip
    assert word in out


def test_flags_are_checked_without_jax():
  code = (
    'import sys; from wsjax.cli import main\n'
    'assert main.main(sys.argv[1:]) == 2\n'
    'sys.exit(int("jax" in sys.modules))'
  )
  words = ['run', '--config', 'x', '--workdir', 'x', '--profile', '2:1']
  subprocess.run([sys.executable, '-c', code, *words], check=True)


def test_a_profile_beyond_the_training_is_refused_before_it(tmp_path, capsys, monkeypatch):
  monkeypatch.setenv('WSJAX_PROFILE', '')
  words = ['run', '--config', 'wsjax/digits_flow:smoke', '--workdir', str(tmp_path / 'x')]
  assert main.main([*words, '--profile', '4:9']) == 2
  assert 'longest training has 4 steps' in capsys.readouterr().err
  assert not (tmp_path / 'x').exists()
