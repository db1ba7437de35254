"""Configs select experiments: arguments, plug-ins and their construction."""

import ast
import dataclasses
import importlib
import inspect
import pathlib
import pkgutil
from collections.abc import Mapping
from typing import Any, TypeVar

import wsjax

_Section = TypeVar('_Section')


def parse_arg(arg: str | None, **defaults: Any) -> dict[str, Any]:
  """Reads 'smoke,width=512' against the options that a config offers.

  Args:
    arg: comma-separated `key=value`; a bare key means True. None is ''. **defaults: option ->
    default. A tuple lists the allowed values, the first
      of which is the default. The type of the default is the type required.

  Returns:
    Option -> value, every option present.

  Raises:
    ValueError: for an unknown option or a value that is not allowed.
  """
  values = {
    key: default[0] if isinstance(default, tuple) else default for key, default in defaults.items()
  }
  for item in filter(None, (arg or '').split(',')):
    key, given, text = item.partition('=')
    if key not in defaults:
      raise ValueError(
        f'Unknown config option {key!r} in {arg!r}; '
        f'allowed: {", ".join(sorted(defaults)) or "none"}.'
      )
    value = _literal(text) if given else True
    default = values[key]
    if isinstance(default, float) and isinstance(value, int):
      value = float(value)
    if type(value) is not type(default):
      raise ValueError(f'Config option {key!r} needs a {type(default).__name__}; got {text!r}.')
    if isinstance(defaults[key], tuple) and value not in defaults[key]:
      raise ValueError(
        f'Config option {key!r} is {value!r}; allowed: {", ".join(map(repr, defaults[key]))}.'
      )
    values[key] = value
  return values


def _literal(text: str) -> Any:
  """The Python literal that `text` spells, or `text` itself."""
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text


def defaults(kind: type) -> dict[str, Any]:
  """Option -> value where a section, read as a dataclass, does not say it."""
  return {
    field.name: field.default
    for field in dataclasses.fields(kind)
    if field.default is not dataclasses.MISSING
  }


def read(kind: type[_Section], name: str, section: Mapping[str, Any]) -> _Section:
  """A section whose every key is optional, as a dataclass.

  Args:
    kind: the dataclass; all its fields have defaults.
    name: of the section, for errors.
    section: as in a config.

  Raises:
    ValueError: for an unknown key, or as the dataclass says.
  """
  allowed = defaults(kind)
  if unknown := sorted(set(section) - set(allowed)):
    raise ValueError(
      f'The {name} section has {unknown[0]!r}; allowed: {", ".join(sorted(allowed))}.'
    )
  return kind(**section)


def plugins(room: str) -> list[str]:
  """Names of the plug-ins of a room: modules that define `make`, or a class of their own name.

  Args:
    room: dotted path below wsjax, such as 'tokens' or 'models'.

  Returns:
    Sorted module names. The files are read, not imported.

  Raises:
    ValueError: if there is no such room.
  """
  folder = pathlib.Path(wsjax.__file__).parent.joinpath(*room.split('.'))
  if not folder.is_dir():
    raise ValueError(f'There is no room {room!r} in wsjax.')
  names = []
  for module in pkgutil.iter_modules([str(folder)]):
    file = folder / f'{module.name}.py'
    if file.exists() and any(
      isinstance(node, ast.FunctionDef)
      and node.name == 'make'
      or isinstance(node, ast.ClassDef)
      and node.name.lower() == module.name.replace('_', '')
      and node.decorator_list  # A dataclass.
      for node in ast.parse(file.read_text()).body
    ):
      names.append(module.name)
  return sorted(names)


def build(room: str, section: Mapping[str, Any]) -> Any:
  """Calls `make` of the plug-in that a config section names.

  Args:
    room: dotted path below wsjax.
    section: `name` is a file of that room; the rest are its arguments.

  Returns:
    What the plug-in's `make` returns.

  Raises:
    ValueError: if the section has no name, the plug-in does not exist, or the section has a key
      that `make` does not take or lacks one it requires.
  """
  arguments = {
    key: tuple(value) if isinstance(value, list) else value for key, value in dict(section).items()
  }
  name = arguments.pop('name', None)
  allowed = plugins(room)
  if name not in allowed:
    raise ValueError(f'{name!r} is not a plug-in of {room!r}; allowed: {", ".join(allowed)}.')
  module = vars(importlib.import_module(f'wsjax.{room}.{name}'))
  make = module.get('make') or next(
    value for key, value in module.items() if key.lower() == name.replace('_', '')
  )
  try:
    inspect.signature(make).bind(**arguments)
  except TypeError as error:
    raise ValueError(
      f'{room}.{name} was given {sorted(arguments)}: {error}; it takes '
      f'{name}{inspect.signature(make)}.'
    ) from error
  return make(**arguments)
