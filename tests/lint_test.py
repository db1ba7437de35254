"""The linters catch what they are there for, and `allow_pickle` is never on."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def allows_pickle(source: str) -> bool:
  """Whether a call passes `allow_pickle` as anything but the literal False."""
  return any(
    keyword.arg == 'allow_pickle' and getattr(keyword.value, 'value', None) is not False
    for node in ast.walk(ast.parse(source))
    if isinstance(node, ast.Call)
    for keyword in node.keywords
  )


def test_no_file_allows_pickle():
  assert not [path for path in (ROOT / 'wsjax').rglob('*.py') if allows_pickle(path.read_text())]
  assert allows_pickle('np.load(f, allow_pickle=True)') and allows_pickle('load(f, allow_pickle=x)')
  assert not allows_pickle('np.load(f, allow_pickle=False)')


@pytest.mark.parametrize(
  'source', ['import pickle', 'import numpy, torch.nn', 'from joblib import load', 'import dill']
)
def test_the_linter_refuses_what_unpickles(source):
  command = [sys.executable, '-m', 'ruff', 'check', '--select', 'TID251', '-']
  done = subprocess.run(command, input=source, capture_output=True, text=True, cwd=ROOT)
  assert done.returncode == 1 and 'TID251' in done.stdout
