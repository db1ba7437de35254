import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import types

import pytest

from tests.reference import fake_report
from wsjax.cli import main, run
from wsjax.evaluation.report import html
from wsjax.experiments import configs

CONFIG = """
from ml_collections import config_dict
from wsjax import config

def get_config(arg=''):
  config.parse_arg(arg, smoke=False)
  c = config_dict.ConfigDict()
  c.seed = 0
  c.train = dict(steps=10, learning_rate=1e-3)
  return c
"""


@pytest.fixture
def config(tmp_path):
  path = tmp_path / 'config.py'
  path.write_text(CONFIG)
  return str(path)


@pytest.fixture(autouse=True)
def _environment(monkeypatch, undone):
  monkeypatch.delenv('WSJAX_DEBUG', raising=False)


def test_help_is_fast_for_it_imports_nothing_heavy():
  code = (
    'import sys; from wsjax.cli import main\n'
    'try: main.main(sys.argv[1:])\n'
    'except SystemExit as stop: code = stop.code\n'
    'heavy = {"jax", "numpy", "matplotlib", "rich", "ml_collections"}\n'
    'sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) '
    'else code)'
  )
  for words in (['--help'], ['sweep', '--help']):
    done = subprocess.run([sys.executable, '-c', code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('usage: wsjax')


def test_help_names_every_command(capsys):
  with pytest.raises(SystemExit) as stop:
    main.main(['--help'])
  assert stop.value.code == 0
  out = capsys.readouterr().out
  assert all(re.search(rf'^    {name}\b', out, re.M) for name in main.COMMANDS)


@pytest.mark.parametrize(
  'words, message',
  [
    ([], 'arguments are required: command; see wsjax --help.'),
    (['brew'], "invalid choice: 'brew'"),
    (['run', '--workdir', 'x'], 'required: --config; see wsjax run --help.'),
    (['report', '--workdir', 'x', '--loud'], 'unrecognized arguments: --loud'),
    (['report', '--workdir', '/nowhere'], 'There is no report at /nowhere'),
    (['report', '--workdir', 'x', '--config.a=1'], 'takes no config'),
    (['run', '--config', 'no.py', '--workdir', 'x'], 'no config file no.py'),
    (['sample', '--workdir', 'x', '--out', 'y', '--num', '0'], '--num is 0'),
    (['sample', '--workdir', 'x', '--out', 'y', '--num', 'k'], 'invalid int'),
    (['data', 'prepare', 'mnist', '--from', '/nowhere'], 'no folder /nowhere'),
  ],
)
def test_wrong_input_is_one_line_and_status_2(words, message, capsys):
  assert main.main(words) == 2
  out, err = capsys.readouterr()
  assert not out
  assert err.startswith('wsjax: ') and err.count('\n') == 1
  assert message in err


@pytest.mark.parametrize(
  'override, message',
  [
    ('--config.train.step=3', "Did you mean 'steps'?"),
    ('--config.trains.steps=3', "no 'trains' in the config"),
    ('--config.train.steps.x=3', "no 'x' in train.steps; it has no fields"),
    ('--config.train.steps=many', 'invalid literal for int'),
    ('--config.train.steps', 'is not --config.FIELD=VALUE'),
  ],
)
def test_wrong_override_is_one_line_and_status_2(override, message, config, capsys):
  assert main.main(['run', '--config', config, '--workdir', 'x', override]) == 2
  err = capsys.readouterr().err
  assert message in err and err.count('\n') == 1


def test_debug_shows_the_traceback(monkeypatch):
  words = ['report', '--workdir', '/nowhere']
  with pytest.raises(ValueError):
    main.main([*words, '--debug'])
  monkeypatch.setenv('WSJAX_DEBUG', '1')
  with pytest.raises(ValueError):
    main.main(words)


def test_a_bug_is_not_taken_for_wrong_input(monkeypatch):
  def broken(args):
    raise KeyError('bug')

  monkeypatch.setattr('wsjax.cli.report.run', broken)
  with pytest.raises(KeyError):
    main.main(['report', '--workdir', 'x'])


def test_environment_is_set_unless_the_user_has(monkeypatch):
  seen = {}
  monkeypatch.setattr('wsjax.cli.report.run', lambda args: seen.update(os.environ) or 0)
  monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR')
  assert main.main(['report', '--workdir', 'x']) == 0
  assert seen['NPROC'] == 'set'
  cache = pathlib.Path(seen['JAX_COMPILATION_CACHE_DIR'])
  assert cache.name.startswith(f'jax-3.{sys.version_info.minor}-')


class _Stop(Exception):
  def __init__(self, signum):
    super().__init__('saved')
    self.signal = signum


@pytest.mark.parametrize(
  'error, status, word',
  [
    (KeyboardInterrupt(), 130, 'Ctrl-C'),
    (_Stop(signal.SIGINT), 130, 'Ctrl-C'),
    (_Stop(signal.SIGTERM), 75, 'SIGTERM'),
  ],
)
def test_a_stopped_run_says_how_to_go_on(error, status, word, monkeypatch, capfd):
  def stopped(args):
    raise error

  loop = types.SimpleNamespace(Interrupted=_Stop)
  monkeypatch.setitem(sys.modules, 'wsjax.train.loop', loop)
  monkeypatch.setattr('wsjax.cli.report.run', stopped)
  words = ['report', '--workdir', 'a b']
  assert main.main(words) == status
  err = capfd.readouterr().err
  assert word in err and "wsjax report --workdir 'a b'" in err
  assert err.count('\n') == 1


def test_sigterm_ends_with_75_and_the_handler_is_put_back(monkeypatch, capfd):
  def killed(args):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5)

  before = signal.getsignal(signal.SIGTERM)
  monkeypatch.setattr('wsjax.cli.report.run', killed)
  assert main.main(['report', '--workdir', 'x']) == 75
  assert 'SIGTERM' in capfd.readouterr().err
  assert signal.getsignal(signal.SIGTERM) is before


def test_report_renders_again_and_prints_the_table(tmp_path, capsys):
  fake_report.make(fake_report.METHODS[:3]).write(tmp_path, html.page)
  (tmp_path / 'report.html').unlink()
  assert main.main(['report', '--workdir', str(tmp_path)]) == 0
  out = capsys.readouterr().out
  assert 'noise(0.01)' in out and out.rstrip().endswith('report.html')
  assert (tmp_path / 'report.html').exists()


def test_run_hands_config_and_overrides_to_the_experiment(tmp_path, config, monkeypatch, capsys):
  seen = {}

  def experiment(config, workdir, *, overrides):
    seen.update(config=config, workdir=workdir, overrides=overrides)
    return fake_report.make(fake_report.METHODS[:3])

  fake = types.SimpleNamespace(run=experiment)
  monkeypatch.setitem(sys.modules, 'wsjax.pipeline', fake)
  monkeypatch.setattr('wsjax.pipeline', fake, raising=False)
  words = ['run', '--config', f'{config}:smoke', '--workdir', str(tmp_path)]
  assert main.main([*words, '--config.train.steps=3']) == 0
  assert seen['config'].train.steps == 3 and seen['config'].is_locked
  assert seen['overrides'] == {'train.steps': 3}
  assert 'diffusion' in capsys.readouterr().out
  assert run.__doc__ and configs.__doc__


@pytest.mark.parametrize(
  ('flags', 'threads'), [('', None), ('--xla_force_host_platform_device_count=4', '16')]
)
def test_only_simulated_devices_get_more_threads(monkeypatch, flags, threads):
  seen = {}
  monkeypatch.setattr('wsjax.cli.report.run', lambda args: seen.update(os.environ) or 0)
  monkeypatch.delenv('NPROC')
  monkeypatch.setenv('XLA_FLAGS', flags)
  assert main.main(['report', '--workdir', 'x']) == 0
  assert seen.get('NPROC') == threads
