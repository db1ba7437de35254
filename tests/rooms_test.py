"""A room imports only rooms above it in the pipeline."""

import ast
import pathlib

import pytest

import wsjax

# In pipeline order; a room may import what stands before it.
ROOMS = (
  'typing', 'config', 'files', 'hosts', 'lock', 'symmetry', 'testing', 'zoo',
  'tokens', 'embed', 'predict', 'generate', 'train', 'evaluate', 'apps',
  'govern', 'stages', 'bench', 'experiment', 'cli',
)  # fmt: skip
ROOT = pathlib.Path(wsjax.__file__).parent
FILES = sorted(ROOT.rglob('*.py'))


def room_of(file: pathlib.Path) -> str:
  return file.relative_to(ROOT).parts[0].removesuffix('.py')


def imported_rooms(source: str) -> set[str]:
  """Rooms of wsjax that the source imports, at any depth of the code."""
  modules = []
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      modules += [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
      modules += [f'{node.module}.{alias.name}' for alias in node.names]
  parts = [module.split('.') for module in modules]
  return {part[1] for part in parts if part[0] == 'wsjax' and len(part) > 1}


def violations(room: str, source: str) -> set[str]:
  """Rooms that `room` imports although they do not stand above it."""
  imported = imported_rooms(source) - {room, '__version__'}
  return {
    other
    for other in imported
    if other not in ROOMS or ROOMS.index(other) > ROOMS.index(room)
  }


@pytest.mark.parametrize('file', FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_point_up_the_pipeline(file):
  room = room_of(file)
  if room == '__init__':
    assert not imported_rooms(file.read_text())
    return
  assert room in ROOMS, f'{room} is not a room of the design'
  assert not violations(room, file.read_text())


@pytest.mark.parametrize('file', FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_files_stay_short(file):
  assert len(file.read_text().splitlines()) <= 300, 'one file, one idea'


def test_planted_violations_are_caught():
  assert violations('symmetry', 'from wsjax.zoo import store') == {'zoo'}
  assert violations('zoo', 'def f():\n  import wsjax.evaluate.gate') == {
    'evaluate'
  }
  assert not violations('evaluate', 'from wsjax.zoo import store')
