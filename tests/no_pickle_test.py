"""Nothing in wsjax can run code that a data file brings along."""

import ast
import pathlib

import pytest

import wsjax

FORBIDDEN = {
  'pickle', 'cPickle', '_pickle', 'cloudpickle', 'dill', 'joblib', 'shelve',
  'marshal', 'torch',
}  # fmt: skip
ROOT = pathlib.Path(wsjax.__file__).parent
FILES = sorted(ROOT.rglob('*.py'))


def violations(source):
  found = []
  for node in ast.walk(ast.parse(source)):
    names = []
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
      names = [node.module]
    elif isinstance(node, ast.Call):
      function = ast.unparse(node.func)
      if function in ('__import__', 'importlib.import_module'):
        names = [
          argument.value
          for argument in node.args
          if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
        ]
      found += [
        f'{function}(allow_pickle=...)'
        for keyword in node.keywords
        if keyword.arg == 'allow_pickle'
        and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
      ]
    found += [name for name in names if name.split('.')[0] in FORBIDDEN]
  return found


@pytest.mark.parametrize('file', FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_no_file_imports_what_unpickles(file):
  found = violations(file.read_text())
  # Scripts that another environment runs, to be measured against.
  if file.parent == ROOT / 'bench/peers' and file.stem.startswith('torch_'):
    found = [name for name in found if name.split('.')[0] != 'torch']
  assert not found


@pytest.mark.parametrize(
  'source',
  [
    'import pickle',
    'import numpy, torch.nn',
    'from joblib import load',
    'def f():\n  import dill',
    'import importlib\nimportlib.import_module("cloudpickle")',
    'import numpy as np\nnp.load("f", allow_pickle=True)',
    'import numpy as np\nnp.load("f", allow_pickle=flag)',
  ],
)
def test_planted_violations_are_caught(source):
  assert violations(source)


def test_what_is_harmless_passes():
  assert not violations(
    'import json\nfrom . import pickle_free\nimport numpy as np\nnp.load("f", allow_pickle=False)'
  )
