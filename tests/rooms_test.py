"""A room imports only rooms above it in the pipeline."""

import ast
import pathlib

import wsjax

# In pipeline order; a room may import what stands before it.
ROOMS = (
  'typing config files distributed lock symmetry networks testing models zoo tokens layers '
  'encoders codecs heads editors generators train evaluation experiments run cli'
).split()
ROOT = pathlib.Path(wsjax.__file__).parent


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
    other for other in imported if other not in ROOMS or ROOMS.index(other) > ROOMS.index(room)
  }


def test_imports_point_up_the_pipeline():
  found = {}
  for file in sorted(ROOT.rglob('*.py')):
    room = file.relative_to(ROOT).parts[0].removesuffix('.py')
    if room != '__init__':
      assert room in ROOMS, f'{room} is not a room of the design'
      if wrong := violations(room, file.read_text()):
        found[str(file.relative_to(ROOT))] = sorted(wrong)
  assert not found


def test_planted_violations_are_caught():
  assert violations('symmetry', 'from wsjax.zoo import store') == {'zoo'}
  assert violations('zoo', 'def f():\n  import wsjax.evaluation.gate') == {'evaluation'}
  assert not violations('evaluation', 'from wsjax.zoo import store')
