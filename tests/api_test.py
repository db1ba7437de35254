"""`import wsjax` is enough, and costs nothing before a name is used."""

import ast
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import wsjax

LIBRARIES = {'jax', 'flax', 'numpy', 'rich', 'absl', 'ml_collections'}
ROOT = pathlib.Path(wsjax.__file__).parent


def test_every_public_name_is_found_and_listed():
  assert set(dir(wsjax)) == set(wsjax.__all__)
  for name in wsjax.__all__:
    assert getattr(wsjax, name) is not None
  with pytest.raises(AttributeError, match='no_such'):
    _ = wsjax.no_such


def test_type_checkers_see_the_same_names():
  tree = ast.parse((ROOT / '__init__.py').read_text())
  block = next(node for node in tree.body if isinstance(node, ast.If))
  seen = {
    alias.asname
    or alias.name: f'{node.module.removeprefix("wsjax").lstrip(".")}:{alias.name}'.lstrip(':')
    for node in block.body
    for alias in node.names
  }
  assert seen == wsjax._WHERE
  assert (ROOT / 'py.typed').exists()


@pytest.mark.parametrize('words', ['import wsjax; dir(wsjax)', 'from wsjax.cli import main'])
def test_importing_loads_no_library(words):
  script = (
    f'import sys; {words}; print(sorted({{"jax", "flax", "numpy", "rich"}} & set(sys.modules)))'
  )
  found = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
  assert found.stdout.strip() == '[]'


def test_help_loads_no_library():
  script = (
    'import sys\nfrom wsjax.cli import main\n'
    'try:\n  main.main(["--help"])\nexcept SystemExit:\n  pass\n'
    f'print(sorted({LIBRARIES} & set(sys.modules)))'
  )
  found = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
  assert found.stdout.strip().splitlines()[-1] == '[]'


def test_a_zoo_of_ones_own_in_a_few_lines():
  model = wsjax.mlp((4, 3, 2))
  params = [{leaf.path: np.full(leaf.shape, i, 'float32') for leaf in model.spec.leaves}
            for i in range(3)]  # fmt: skip
  zoo = wsjax.Zoo.of(model, params, {'accuracy': [0.1, 0.5, 0.9]})
  assert len(zoo.query('accuracy > 0.4').networks()) == 2


def test_configs_are_loaded_with_the_defaults_of_the_command_line():
  file = ROOT.parent / 'configs/digits_flow.py'
  config = wsjax.load_config(f'{file}:smoke', {'train.steps': 3})
  assert config.train.steps == 3 and config.is_locked and 'batch_size' in config.train
  again = wsjax.load_config(f'{file}:smoke', ['--config.train.steps=3'])
  assert again.to_json() == config.to_json()
