"""Config sections as dataclasses that check their fields, and plug-ins found by name.

A plug-in is a dataclass or a Flax module. Its fields are its config section, documented once, in
the docstring of the class. Types of fields say what is allowed:

  width: PositiveInt = 64
  dropout: Rate = 0.0
  solver: Annotated[str, OneOf(SOLVERS)] = 'heun'
  backbone: Annotated[Backbone, Plugin('generators.backbones')]
"""

import ast
import dataclasses
import difflib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import math
import numbers
import pathlib
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib import metadata
from typing import Annotated, Any, Literal, TypeVar, Union

import wsjax

_Section = TypeVar('_Section')
_REQUIRED = object()


def parse_arg(arg: str | None, **defaults: Any) -> dict[str, Any]:
  """Reads 'smoke,width=512' against the options that a config offers.

  Args:
    arg: comma-separated `key=value`; a bare key means True. None is ''.
    **defaults: option -> default, whose type is required. A tuple lists the allowed values, the
      default first.

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
    try:
      value = ast.literal_eval(text) if given else True
    except (ValueError, SyntaxError):
      value = text
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


@dataclasses.dataclass(frozen=True)
class Range:
  """Bounds of a number in a config, part of its type: `Annotated[float, Range(above=0)]`."""

  min: float = -math.inf
  max: float = math.inf
  above: float = -math.inf
  below: float = math.inf

  def __contains__(self, value: float) -> bool:
    return self.min <= value <= self.max and self.above < value < self.below

  def __str__(self) -> str:
    bounds = {'>=': self.min, '>': self.above, '<=': self.max, '<': self.below}
    return ' and '.join(
      f'{sign} {bound if isinstance(bound, int) else f"{bound:g}"}'
      for sign, bound in bounds.items()
      if math.isfinite(bound)
    )


@dataclasses.dataclass(frozen=True)
class OneOf:
  """Allowed values of a config field, part of its type: `Annotated[str, OneOf(SOLVERS)]`."""

  choices: Collection[Any]


@dataclasses.dataclass(frozen=True)
class Plugin:
  """Room of a plug-in in a field: a config gives a section, Python a section or the object."""

  room: str


PositiveInt = Annotated[int, Range(min=1)]
NonNegativeInt = Annotated[int, Range(min=0)]
PositiveFloat = Annotated[float, Range(above=0)]
NonNegativeFloat = Annotated[float, Range(min=0)]
# A share of a whole, and one that leaves something: the rate of a dropout, the decay of an average.
Share = Annotated[float, Range(min=0, max=1)]
Rate = Annotated[float, Range(min=0, below=1)]
# JAX keeps 32 bits of a seed: larger ones would repeat the random numbers of others.
Seed = Annotated[int, Range(min=0, max=2**32 - 1)]


class FieldError(ValueError):
  """A field of a config that is not allowed."""


class _NotAllowedError(Exception):
  """A value that its type does not allow."""


class Section:
  """Base of dataclasses and Flax modules that are config sections.

  The fields are checked against their types when an object is made, in Python as from a config;
  integers become floats, lists tuples and sections plug-ins where the type says so. A value that
  its field does not allow is a ValueError. Rules for several fields go into `__post_init__` of the
  subclass, after `super().__post_init__()`.
  """

  def __post_init__(self) -> None:
    kind: Callable[..., Any] = type(self)
    for name, (hint, _) in _fields(kind).items():
      value = getattr(self, name)
      converted = _convert(value, hint, f'{type(self).__name__}.{name}')
      if converted is not value:
        object.__setattr__(self, name, converted)
    super_init = getattr(super(), '__post_init__', None)  # Of a Flax module.
    if super_init is not None:
      super_init()


def defaults(kind: type) -> dict[str, Any]:
  """Defaults of the fields of a dataclass that have one."""
  return {name: default for name, (_, default) in _fields(kind).items() if default is not _REQUIRED}


def read(kind: Callable[..., _Section], where: str, section: Mapping[str, Any]) -> _Section:
  """Makes the dataclass, Flax module or result of an annotated function from a config section.

  Raises ValueError for a field that is unknown, missing or has a value that is not allowed; `where`
  is the path of the section in the config, for errors.
  """
  values, missing = _values(kind, where, section)
  if missing:
    hint = _fields(kind)[missing[0]][0]
    raise FieldError(f'{where}.{missing[0]} is missing; it is {_describe(hint)}.')
  try:
    return kind(**values)
  except FieldError:
    raise
  except ValueError as error:
    if str(error).startswith(where):
      raise
    raise ValueError(f'{where}: {error}') from error


def check_seed(seed: Any, where: str) -> int:
  """A seed as an integer; raises ValueError if it is no whole number from 0 to 2^32 - 1."""
  return _convert(seed, Seed, where)


def check_seeds(seeds: Any, where: str) -> tuple[int, ...]:
  """Seeds as integers; raises ValueError as `check_seed`, or if there is none or two are equal."""
  seeds = _convert(seeds, tuple[Seed, ...], where)
  if not seeds or len(set(seeds)) < len(seeds):
    raise FieldError(f'{where} is {seeds}; allowed: one or more seeds, all different.')
  return seeds


def check_keys(where: str, given: Iterable[str], allowed: Iterable[str]) -> None:
  """Raises ValueError for a name of a field or section that is not allowed."""
  for key in given:
    if key not in allowed:
      raise FieldError(f'{where} has no field {key!r}; {_allowed(key, allowed)}.')


def check_section(section: Any, where: str) -> Mapping[str, Any]:
  """A section as a mapping; raises ValueError if it is none."""
  return _convert(section, Mapping, where)


def _values(
  kind: Callable[..., Any], where: str, section: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
  """Converts the fields of a section, and lists those that are missing."""
  fields = _fields(kind)
  section = check_section(section, where)
  check_keys(where, section, fields)
  values = {}
  for key, value in section.items():
    values[key] = _convert(value, fields[key][0], f'{where}.{key}')
  required = [key for key, (_, default) in fields.items() if default is _REQUIRED]
  return values, [key for key in required if key not in values]


def plugins(room: str) -> list[str]:
  """Sorted names of the plug-ins of a room: its modules that define a class of their name.

  `flow_matching.py` defines `FlowMatching`; upper and lower case are free. The files are read, not
  imported. A room is a dotted path below wsjax, such as 'generators.backbones', else ValueError.
  """
  folder = pathlib.Path(wsjax.__file__).parent.joinpath(*room.split('.'))
  if not folder.is_dir():
    raise ValueError(f'There is no room {room!r} in wsjax.')
  sources = [*folder.glob('*.py'), *folder.glob('*/__init__.py')]
  return sorted(_stem(file) for file in sources if _class_name(file))


def find(room: str, name: str, where: str, *, foreign: bool = True) -> Callable[..., Any]:
  """The class that a config names; raises ValueError if there is none.

  Args:
    room: dotted path below wsjax.
    name: a file of that room, or a class of the user's own as 'package.module:Class' or
      'path/to/file.py:Class'.
    where: path of the section in the config, for errors.
    foreign: whether a class from outside the room may be named.
  """
  if isinstance(name, str) and ':' in name and foreign:
    return _foreign(name, where)[1]
  allowed = plugins(room)
  if name not in allowed:
    own = ", or a class of your own as 'my_package.my_module:MyClass'" if foreign else ''
    raise FieldError(f'{where}.name is {name!r}; {_allowed(name, allowed)}{own}.')
  module = importlib.import_module(f'wsjax.{room}.{name}')
  return getattr(module, _class_name(pathlib.Path(str(module.__file__))))


def build(room: str, section: Mapping[str, Any], where: str = '', *, foreign: bool = True) -> Any:
  """Makes the plug-in that a section describes: `name` as in `find`, and fields of the class.

  The other arguments and errors are those of `find` and `read`; `where` is by default the singular
  of the room.
  """
  where = where or room.rpartition('.')[2].removesuffix('s')
  rest = dict(check_section(section, where))
  return read(find(room, rest.pop('name', None), where, foreign=foreign), where, rest)


def check(
  room: str, section: Mapping[str, Any], where: str, *, given: Collection[str] = ()
) -> None:
  """Raises ValueError as `build` would, before the experiment fills in the fields `given`."""
  rest = dict(check_section(section, where))
  check_fields(find(room, rest.pop('name', None), where), rest, where, given=given)


def check_fields(
  kind: Callable[..., Any], section: Mapping[str, Any], where: str, *, given: Collection[str] = ()
) -> None:
  """Raises ValueError as `read` would, before the experiment fills in the fields `given`."""
  _, missing = _values(kind, where, section)
  if not set(missing) & set(given):
    read(kind, where, section)
  elif missing := sorted(set(missing) - set(given)):
    hint = _fields(kind)[missing[0]][0]
    raise FieldError(f'{where}.{missing[0]} is missing; it is {_describe(hint)}.')


def require(module: str, extra: str = 'provenance') -> Any:
  """Imports a module of an extra; raises ValueError that says how to install it."""
  try:
    return importlib.import_module(module)
  except ImportError as error:
    package = module.partition('.')[0].replace('_', '-')
    advice = f"pip install 'wsjax[{extra}]'"
    raise ValueError(f'This needs {package}, which is not installed; {advice}.') from error


def provenance(config: Mapping[str, Any]) -> dict[str, str]:
  """The sources of the plug-ins in a config, or a section of one, that are the user's own.

  Each name has the SHA-256 of its source file, and the version of its distribution if it has one.
  Raises ValueError if one cannot be imported.
  """
  found: dict[str, str] = {}
  for key, value in config.items():
    if _is_section(value):
      found |= provenance(value)
    elif key in ('name', 'experiment', 'metrics'):
      for name in (value,) if isinstance(value, str) else value:
        if ':' in str(name):
          found[name] = _source(name, key)
  return found


def _source(name: str, where: str) -> str:
  """Digest of the file that defines a foreign plug-in, and version of its distribution."""
  module, found = _foreign(name, where)
  if isinstance(found, type):  # A package may only pass it on.
    module = sys.modules[found.__module__]
  digest = hashlib.sha256(pathlib.Path(str(module.__file__)).read_bytes()).hexdigest()
  names = metadata.packages_distributions().get(module.__name__.partition('.')[0], ())
  return f'sha256 {digest}' + (f', version {metadata.version(names[0])}' if names else '')


def _foreign(name: str, where: str) -> tuple[types.ModuleType, Callable[..., Any]]:
  """Module and class of 'package.module:Class' or 'path/to/file.py:Class'."""
  module, found = foreign(name, where)
  if not callable(found):
    source, _, attribute = name.rpartition(':')
    raise FieldError(f'{field_of(where)} is {name!r}: {source} defines no class {attribute!r}.')
  return module, found


def foreign(name: str, where: str) -> tuple[types.ModuleType, Any]:
  """The module, and the object in it, that 'package.module:NAME' or 'path/to/file.py:NAME' names.

  Raises:
    FieldError: if there is no such module, or no such object in it.
  """
  source, _, attribute = name.rpartition(':')
  field = field_of(where)
  try:
    module = _file(source) if source.endswith('.py') else importlib.import_module(source)
  except (ModuleNotFoundError, FileNotFoundError) as error:
    rule = "A package must be installed; a file is named by its path, as 'path/to/file.py"
    raise FieldError(f"{field} is {name!r}: {error}. {rule}:{attribute}'.") from error
  if not hasattr(module, attribute):
    known = [
      key for key, value in vars(module).items()
      if getattr(value, '__module__', module.__name__) == module.__name__ and key[:1] != '_'
    ]  # fmt: skip
    raise FieldError(
      f'{field} is {name!r}: {source} defines no class {attribute!r}, nor anything else of that '
      f'name; it has {", ".join(known[:8]) or "nothing of its own"}.'
    )
  return module, getattr(module, attribute)


def field_of(where: str) -> str:
  """How errors call the field with the name of a plug-in: an option by itself."""
  return where if where.startswith('--') else f'{where}.name'


def _file(path: str) -> types.ModuleType:
  """Imports a file once."""
  file = pathlib.Path(path).resolve()
  name = f'{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:16]}'
  if name not in sys.modules:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    if str(file.parent) not in sys.path:  # Its neighbours may be imported, as of `python FILE.py`.
      sys.path.append(str(file.parent))
    try:
      spec.loader.exec_module(module)
    except BaseException:
      del sys.modules[name]
      raise
  return sys.modules[name]


def _stem(file: pathlib.Path) -> str:
  """Name of a module; of a folder, if the file is its `__init__.py`."""
  return file.parent.name if file.name == '__init__.py' else file.stem


@functools.cache
def _class_name(file: pathlib.Path) -> str:
  """The class of a file that has its name, or ''; a contract is no plug-in."""
  wanted = _stem(file).replace('_', '')
  found = ''
  for node in ast.parse(file.read_text()).body:
    if isinstance(node, ast.ClassDef) and node.name.lower() == wanted:
      bases = {ast.unparse(base).rpartition('.')[2] for base in node.bases}
      found = node.name if not bases & {'Protocol', 'ABC'} else ''
  return found


@functools.cache
def _fields(kind: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
  """Field -> (type, default) of a dataclass, a Flax module or a function."""
  found = {}
  if isinstance(kind, type) and dataclasses.is_dataclass(kind):
    # A Flax module has two fields that are no options.
    own = {'parent', 'name'} if hasattr(kind, 'init_with_output') else set()
    for field in dataclasses.fields(kind):
      if field.init and field.name not in own:
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
          default = field.default_factory()
        found[field.name] = field.type, _REQUIRED if default is dataclasses.MISSING else default
  else:
    for name, parameter in inspect.signature(kind).parameters.items():
      hint, default = parameter.annotation, parameter.default
      default = _REQUIRED if default is parameter.empty else default
      found[name] = Any if hint is parameter.empty else hint, default
  for name, (hint, default) in found.items():
    if isinstance(hint, str):
      try:
        hint = eval(hint, vars(sys.modules[kind.__module__]))  # noqa: S307  Code of the plug-in.
      except NameError:  # Its names are not at hand.
        hint = Any
      found[name] = hint, default
  return found


def _is_section(value: Any) -> bool:
  return isinstance(value, Mapping) or hasattr(value, 'to_dict')


def _convert(value: Any, hint: Any, where: str) -> Any:
  """A value in the form of its type, such as a float for an int; raises FieldError if it cannot."""
  try:
    return _cast(value, hint, where)
  except _NotAllowedError:
    raise FieldError(f'{where} is {value!r}; allowed: {_describe(hint)}.') from None


def _cast(value: Any, hint: Any, where: str) -> Any:
  """Converts like `_convert`, but raises _NotAllowedError."""
  origin, args = typing.get_origin(hint), typing.get_args(hint)
  if origin is Annotated:
    for note in args[1:]:
      if isinstance(note, Plugin):
        if _is_section(value):
          return build(note.room, value, where)
        plain = str | numbers.Number | list | tuple
        is_optional = args[0] is Any or type(None) in typing.get_args(args[0])
        return _require(value, not isinstance(value, plain) and (value is not None or is_optional))
    value = _cast(value, args[0], where)
    for note in args[1:]:
      if isinstance(note, Range):
        _require(value, value in note)
      elif isinstance(note, OneOf):
        _require(value, value in tuple(note.choices))
    return value
  if origin in (Union, types.UnionType):
    for arg in args:
      try:
        return _cast(value, arg, where)
      except _NotAllowedError:
        continue
    raise _NotAllowedError
  if origin is Literal:
    return _require(value, any(value is x or (value == x and type(value) is type(x)) for x in args))
  if hint in (tuple, Sequence) or origin in (tuple, list, Sequence):
    return _cast_tuple(value, args if origin in (tuple, None) else (*args, ...), where)
  if hint in (dict, Mapping) or origin in (dict, Mapping):
    _require(value, _is_section(value))
    return value if isinstance(value, Mapping) else value.to_dict()
  return _cast_plain(value, hint, where)


def _cast_tuple(value: Any, args: tuple[Any, ...], where: str) -> Any:
  _require(value, isinstance(value, list | tuple))
  if args[1:] == (...,):
    args = args[:1] * len(value)
  elif not args:
    args = (Any,) * len(value)
  _require(value, len(args) == len(value))
  items = tuple(_cast(item, arg, where) for item, arg in zip(value, args, strict=True))
  same = type(value) is tuple and all(a is b for a, b in zip(value, items, strict=True))
  return value if same else items


def _cast_plain(value: Any, hint: Any, where: str) -> Any:
  is_bool = isinstance(value, bool) or type(value).__name__ == 'bool_'
  if hint is bool:
    return bool(_require(value, is_bool))
  if hint is int:
    is_whole = isinstance(value, float) and value.is_integer()  # Such as 1e3.
    _require(value, is_whole or isinstance(value, numbers.Integral) and not is_bool)
    if abs(value) >= 1 << 32:  # JAX counts, and keeps seeds, with 32 bits.
      raise FieldError(f'{where} is {value!r}; allowed: whole numbers below 2^32.')
    return int(value)
  if hint is float:
    _require(value, isinstance(value, numbers.Real) and not is_bool)
    return float(_require(value, math.isfinite(value)))
  if hint is None or hint is type(None):
    return _require(value, value is None)
  if hint is Any or not isinstance(hint, type) or hint.__module__.startswith('jaxtyping'):
    return value
  if dataclasses.is_dataclass(hint) and _is_section(value):
    return read(hint, where, value)
  if getattr(hint, '_is_protocol', False):
    return _require(value, value is not None and not isinstance(value, str | numbers.Number))
  return _require(value, isinstance(value, hint))


def _require(value: Any, allowed: bool) -> Any:
  if not allowed:
    raise _NotAllowedError
  return value


def _describe(hint: Any) -> str:
  """Describes in words what a type allows."""
  origin, args = typing.get_origin(hint), typing.get_args(hint)
  if origin is Annotated:
    for note in args[1:]:
      if isinstance(note, Plugin):
        return f"a section with 'name' in {', '.join(plugins(note.room))}"
      if isinstance(note, OneOf):
        return f'one of {", ".join(map(repr, note.choices))}'
    return ' '.join([_describe(args[0]), *map(str, args[1:])])
  if origin in (Union, types.UnionType):
    return ' or '.join(map(_describe, args))
  if origin is Literal:
    return f'one of {", ".join(map(repr, args))}'
  if origin is tuple:
    if args[1:] == (...,):
      return f'a tuple of items, each {_describe(args[0])}'
    return f'a tuple ({", ".join(map(_describe, args))})'
  if hint in (None, type(None), float):
    return 'a finite float' if hint is float else 'None'
  name = getattr(hint, '__name__', str(hint))
  return f'{"an" if name[0] in "aeiouAEIOU" else "a"} {name}'


def _allowed(given: Any, names: Iterable[str]) -> str:
  """'did you mean ...? Allowed: ...' for a name that is not allowed."""
  near = difflib.get_close_matches(str(given), list(names), 1)
  hint = f'did you mean {near[0]!r}? Allowed' if near else 'allowed'
  return f'{hint}: {", ".join(names) or "none"}'
