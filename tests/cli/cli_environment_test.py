"""What the environment lacks is one sentence, or does no harm."""

import os
import pathlib
import subprocess
import sys
import warnings

import jax
import numpy as np
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
    pytest.param(RUN, {'JAX_PLATFORMS': 'cuda'}, 'JAX_PLATFORMS', marks=pytest.mark.slow),
    pytest.param(RUN, {'JAX_ENABLE_X64': '1'}, 'JAX_ENABLE_X64', marks=pytest.mark.slow),
    pytest.param(
      RUN, {'JAX_DEFAULT_PRNG_IMPL': 'rbg'}, 'JAX_DEFAULT_PRNG_IMPL', marks=pytest.mark.slow
    ),
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


def test_a_damaged_compiled_program_is_replaced(tmp_path, monkeypatch):
  from jax._src import compilation_cache  # A process that begins with this folder, for the test.

  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', str(tmp_path))
  before = jax.config.jax_compilation_cache_dir
  jax.config.update('jax_compilation_cache_dir', str(tmp_path))
  compilation_cache.reset_cache()
  try:

    def triple(x):
      return 3 * x + 1

    jax.jit(triple)(2.0)
    (entry,) = tmp_path.glob('jit_triple-*-cache')
    entry.write_bytes(b'damage')
    jax.clear_caches()
    with warnings.catch_warnings(record=True) as said:
      warnings.simplefilter('always')
      with main.damaged_programs_replaced():
        assert jax.jit(triple)(2.0) == 7
    assert 'jit_triple' in str(said[0].message) and entry.read_bytes() != b'damage'
  finally:
    jax.config.update('jax_compilation_cache_dir', before)
    compilation_cache.reset_cache()


def test_threads_of_orbax_say_nothing_beside_the_sentence_on_a_damaged_checkpoint(tmp_path):
  from wsjax.interop import orbax

  orbax.write(tmp_path / 'net', {f'{i}/w': np.ones((9, 9), np.float32) for i in range(8)})
  log = tmp_path / 'net/manifest.ocdbt'
  log.write_bytes(log.read_bytes()[:-30])
  words = ['zoo', 'import', '--model', 'net.py:net', '--from', 'net', '--out', 'zoo']
  (tmp_path / 'net.py').write_text('import wsjax\n\n\ndef net():\n  return wsjax.mlp((9, 9))\n')
  done = subprocess.run(
    [sys.executable, '-m', 'wsjax', *words], cwd=tmp_path, capture_output=True, text=True
  )
  assert done.returncode == 2
  assert 'Traceback' not in done.stderr and 'never retrieved' not in done.stderr
  assert done.stderr.splitlines()[-1].startswith('wsjax: ')
