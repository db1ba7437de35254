"""What the environment lacks is one sentence, or does no harm."""

import os
import pathlib
import subprocess
import sys

import pytest

from wsjax.cli import main

ROOT = pathlib.Path(__file__).parents[2]
REPORT = ['report', '--workdir', '/nowhere']
RUN = ['zoo', 'build', '--config', 'configs/digits_flow.py:smoke', '--workdir', 'x']


def call(words, *, shell='', **environment):
  """Exit status, output and errors of the program; None removes a variable."""
  variables = {k: v for k, v in (os.environ | environment).items() if v is not None}
  command = ['sh', '-c', f'exec "$@" {shell}', 'sh', sys.executable, '-m', 'wsjax', *words]
  done = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True)
  return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
  'words, environment, message',
  [
    (REPORT, {'PYTHONOPTIMIZE': '2'}, 'PYTHONOPTIMIZE'),
    (RUN, {'JAX_PLATFORMS': 'cuda'}, 'JAX_PLATFORMS'),
    (RUN, {'JAX_ENABLE_X64': '1'}, 'JAX_ENABLE_X64'),
    (REPORT, {'HOME': None, 'WSJAX_DEBUG': '0'}, 'There is no report'),
    (['report', '--workdir', '/nö\x9bwhere'], {'PYTHONIOENCODING': 'ascii'}, 'There is no report'),
  ],
)
def test_f15_it_is_one_sentence_and_status_2(words, environment, message):
  status, out, err = call(words, **environment)
  assert status == 2 and out == '', err
  (said,) = [line for line in err.splitlines() if line.startswith('wsjax: ')]
  assert message in said and 'Traceback' not in err


@pytest.mark.parametrize('shell, status', [('>&-', 2), ('2>&-', 2), ('>&- 2>&-', 2)])
def test_f15_closed_streams_do_no_harm(shell, status):
  assert call(REPORT, shell=shell)[0] == status


def test_f15_a_user_without_a_home_has_no_cache(monkeypatch, capsys):
  monkeypatch.setattr(os.path, 'expanduser', lambda path: path)
  monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
  monkeypatch.setenv('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '1')
  assert main.main(['report', '--workdir', '/nowhere']) == 2
  assert 'JAX_COMPILATION_CACHE_DIR' not in os.environ


def test_a_sentence_with_control_characters_is_shown_without_them(capsys):
  assert main.main(['report', '--workdir', '/no\x1b[31mwhere\u202e']) == 2
  assert not set(capsys.readouterr().err) & set('\x1b\u202e')


def test_help_says_that_a_config_is_code(capsys):
  with pytest.raises(SystemExit):
    main.main(['run', '--help'])
  assert 'Python code that is executed' in capsys.readouterr().out
