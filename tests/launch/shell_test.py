"""The shell scripts stand up to ShellCheck."""

import os
import pathlib
import subprocess
import sys

import pytest

from launch import local

FOLDER = pathlib.Path(local.__file__).parent
SCRIPTS = sorted([*FOLDER.rglob('*.sh'), *FOLDER.rglob('*.sbatch')])
CHECKER = pathlib.Path(sys.executable).with_name('shellcheck')


def check(path):
  return subprocess.run([CHECKER, path], capture_output=True, text=True)


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_clean_and_stop_at_the_first_error(path):
  done = check(path)
  assert done.returncode == 0, done.stdout
  text = path.read_text()
  assert 'set -euo pipefail\n' in text or 'source "$here/common.sh"\n' in text
  assert max(map(len, text.splitlines())) <= 80
  if path.suffix == '.sh' and path.name != 'common.sh':
    assert os.access(path, os.X_OK)


def test_a_planted_fault_is_found(tmp_path):
  path = tmp_path / 'fault.sh'
  path.write_text('#!/usr/bin/env bash\nrm -r $1/*\n')
  done = check(path)
  assert done.returncode == 1 and 'SC2086' in done.stdout
