"""The wheel works in an empty environment, outside the repository."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_works_anywhere():
  path = f'{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
  if shutil.which('uv', path=path) is None:
    pytest.skip('no uv')
  env = {**os.environ, 'PATH': path, 'PYTHON': sys.executable}
  done = subprocess.run([ROOT / '.ci/wheel'], env=env, capture_output=True, text=True)
  assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_shipped_are_links_to_the_repository():
  for name in ('configs', 'launch'):
    assert (ROOT / 'wsjax/shipped' / name).resolve() == ROOT / name
