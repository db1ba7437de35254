"""What a folder of a zoo is being built from: `build.json`."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from wsjax import files

NAME = 'build.json'


def check(path: pathlib.Path, plan: Mapping[str, Any], *, parts: Sequence[str]) -> None:
  """Raises ValueError unless a folder is free, or holds what a plan builds.

  Args:
    path: of the folder.
    plan: seed and section of the zoo.
    parts: names of what a folder with a zoo holds besides the plan.
  """
  if not (path / NAME).exists():
    if any((path / part).exists() for part in parts):
      problem = f'a zoo without {NAME}, so not one trained from a config'
      raise ValueError(f'{path} holds {problem}; give another folder.')
    return
  try:
    old = _flat(files.read_json(path / NAME))
  except (ValueError, AttributeError) as error:
    raise ValueError(f'{path / NAME} is broken: {error}.') from error
  new = _flat(json.loads(json.dumps(plan)))
  changes = [
    f'{k} is {new.get(k, "absent")!r} and was {old.get(k, "absent")!r}'
    for k in sorted(old | new)
    if old.get(k, ...) != new.get(k, ...)
  ]
  if changes:
    advice = 'It is left as it is; give another folder.'
    raise ValueError(f'{path} holds a zoo of another config: {", ".join(changes)}. {advice}')


def write(path: pathlib.Path, plan: Mapping[str, Any]) -> None:
  """Writes a plan; it is either there or absent. For one writer at a time."""
  path.mkdir(parents=True, exist_ok=True)
  files.replace(path / NAME, json.dumps(plan, indent=2))


def _flat(plan: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Nested keys joined by dots; the section itself without a prefix."""
  flat = {}
  for key, value in plan.items():
    if isinstance(value, Mapping):
      flat |= _flat(value, prefix + ('' if key == 'section' else f'{key}.'))
    else:
      flat[prefix + key] = value
  return flat
