"""Reads a config file with its overrides; wrong ones are clear errors."""

import contextlib
import difflib
import pathlib
import re
import runpy
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wsjax import config as config_lib

if TYPE_CHECKING:
  from ml_collections import config_dict

# Folders of the repository that come with the package.
SHIPPED = pathlib.Path(__file__).parents[1] / 'shipped/configs'
LAUNCH = SHIPPED.with_name('launch')
_PREFIX = '--config.'
# Section of a config -> room of the plug-in that it describes.
_ROOMS = {
  'tokens': 'tokens',
  'codec': 'codecs',
  'encoder': 'encoders',
  'editor': 'editors',
  'property.head': 'heads',
  'tasks.condition': 'generators.conditions',
  'generator': 'generators',
  'condition': 'generators.conditions',
}
# Fields of a section zoo whose networks were trained elsewhere.
_IMPORTED = ('path', 'family', 'model', 'dataset', 'recipe')
# What any config may have.
_COMMON = ('name', 'experiment', 'seed', 'zoo', 'train')
# Fields of plug-ins that an experiment fills in once it knows the zoo.
_GIVEN = ('architecture', 'capacity', 'num_outputs')


def load(
  config_arg: str, overrides: Sequence[str] = ()
) -> tuple['config_dict.ConfigDict', dict[str, Any]]:
  """Calls `get_config` of a file and applies overrides.

  Args:
    config_arg: 'path/to/file.py' or 'path/to/file.py:argument'; 'wsjax/NAME' is one of `shipped`.
    overrides: '--config.a.b=value' each.

  Returns:
    The locked config, and dotted field -> value of what was overridden.

  Raises:
    ValueError: if the file is missing or defines no `get_config`, if it does not take the argument,
      or if an override names no field or has a value of another type.
  """
  from absl import flags
  from ml_collections import config_flags

  config = with_defaults(_config(config_arg))
  # The last one of a field counts; ml_collections would join two tuples.
  overrides = {override.partition('=')[0]: _checked(config, override) for override in overrides}
  values = flags.FlagValues()
  argv = ['wsjax', *overrides.values()]
  config_flags.DEFINE_config_dict('config', config, flag_values=values, sys_argv=argv)
  try:
    values(argv)
  except flags.Error as error:
    message = str(error).removeprefix('flag ').rstrip('.')
    raise ValueError(f'{message}.') from error
  return values.config, dict(config_flags.get_override_values(values['config']))


def shipped() -> dict[str, pathlib.Path]:
  """Names and files of the configs that come with the package, sweeps included."""
  return {
    f'wsjax/{path.relative_to(SHIPPED).with_suffix("")}': path
    # Not rglob, which follows no links.
    for path in (*sorted(SHIPPED.glob('*.py')), *sorted(SHIPPED.glob('ablations/*.py')))
    if path.stem != 'common'  # Blocks that configs share.
  }


def split(config_arg: str) -> tuple[str, str]:
  """The path and the argument of 'path/to/file.py:argument'; a path may have colons.

  Raises:
    ValueError: if it is neither a Python file nor the name of a config that is `shipped`.
  """
  match = re.fullmatch(r'(.*?\.py)(?::(.*))?', config_arg, re.DOTALL)
  if match is not None:
    return match[1], match[2] or ''
  name, _, arg = config_arg.partition(':')
  if name in (known := shipped()):
    return str(known[name]), arg
  near = difflib.get_close_matches(name, known, 1)
  hint = f' Did you mean {near[0]!r}?' if near else ''
  raise ValueError(
    f'{config_arg!r} is not a config: path/to/file.py, path/to/file.py:argument, or a name that '
    f'`wsjax configs` lists.{hint}'
  )


def load_config(
  config_arg: str, overrides: Mapping[str, Any] | Sequence[str] = ()
) -> 'config_dict.ConfigDict':
  """Reads a config file as the command line does.

  Args:
    config_arg: 'path/to/file.py' or 'path/to/file.py:argument'; 'wsjax/NAME' is one of `shipped`.
    overrides: dotted field -> value, or '--config.a.b=value' each.

  Returns:
    The locked config, with every field of its sections.

  Raises:
    ValueError: as `load`.
  """
  if isinstance(overrides, Mapping):
    overrides = [f'{_PREFIX}{field}={value}' for field, value in overrides.items()]
  return load(config_arg, overrides)[0]


def load_module(path: str, function: str) -> Any:
  """Runs the Python file at a path and gives the function of a name.

  Raises:
    ValueError: if the file is missing, does not run, or lacks the function.
  """
  if not pathlib.Path(path).is_file():
    raise ValueError(f'There is no config file {path}.')
  try:
    # So that configs/x.py can import configs.common, wherever it is run from.
    with _importing_from(pathlib.Path(path).resolve().parents[1]):
      names = runpy.run_path(path, run_name='wsjax_config')
  except Exception as error:
    raise ValueError(f'{path} does not run as Python: {type(error).__name__}: {error}') from error
  if not callable(names.get(function)):
    raise ValueError(f'{path} does not define {function}().')
  return names[function]


@contextlib.contextmanager
def _importing_from(folder: pathlib.Path) -> Iterator[None]:
  """Puts a folder first where modules are looked for; its `configs` are not those of others."""

  def take() -> dict[str, Any]:
    names = [name for name in sys.modules if name.partition('.')[0] == 'configs']
    return {name: sys.modules.pop(name) for name in names}

  others = take()
  sys.path.insert(0, str(folder))
  try:
    yield
  finally:
    del sys.path[0]
    take()
    sys.modules.update(others)


def _config(config_arg: str) -> 'config_dict.ConfigDict':
  """The config of a file, before overrides."""
  from ml_collections import config_dict

  path, arg = split(config_arg)
  get_config = load_module(path, 'get_config')
  try:
    config = get_config(arg) if arg else get_config()
  except (TypeError, ValueError) as error:
    raise ValueError(f'{config_arg}: {error}') from error
  if not isinstance(config, config_dict.ConfigDict):
    raise ValueError(f'get_config of {path} returned a {type(config).__name__}, not a ConfigDict.')
  return config


def with_defaults(config: Mapping[str, Any]) -> 'config_dict.ConfigDict':
  """Copies a config, with every field of its sections: those that are not given have defaults."""
  from ml_collections import config_dict

  from wsjax.train import generative, loop

  defaults: dict[str, Any] = {}
  if 'train' in config:
    defaults['train'] = loop.DEFAULTS
  if 'generator' in config:
    defaults['strategy'] = generative.DEFAULTS
    defaults['sample'] = config_lib.defaults(generative.Sampling)
    defaults['evaluate'] = {'metrics': ()}
  config = config_dict.ConfigDict(config)
  with config.unlocked():
    for section, values in defaults.items():
      config_lib.check_section(config.get(section, {}), section)
      given = config.get(section, config_dict.ConfigDict())
      given.update({name: value for name, value in values.items() if name not in given})
      config[section] = given
  return config


def filled(config: 'config_dict.ConfigDict', kind: Any) -> 'config_dict.ConfigDict':
  """Copies a config, with the defaults of all fields that an experiment declares."""
  config = config.copy_and_resolve_references()
  with config.unlocked():
    for section, fields in kind.SECTIONS.items():
      values = config_lib.defaults(fields)
      if section in config:
        config[section].update({k: v for k, v in values.items() if k not in config[section]})
      elif section not in kind.OPTIONAL:
        config[section] = values
  return config.lock()


def check(config: 'config_dict.ConfigDict') -> None:
  """Checks every field of a config, before anything is trained or written.

  Sections of experiments of the user's own are checked as far as the class says what they are.

  Raises:
    ValueError: if a field is not allowed, or JAX is set up in a way that changes numbers.
  """
  from wsjax import distributed
  from wsjax.experiments import base
  from wsjax.train import generative, loop
  from wsjax.zoo import build

  distributed.require_jax_defaults()
  if not isinstance(config.get('name', ''), str):
    raise ValueError(f'name is {config.name!r}; allowed: a text.')
  config_lib.check_seeds((config.get('seed', 0),), 'seed')
  kind = base.find(config.get('experiment', ''))
  for name in ('seed', 'train', 'zoo'):
    if name not in config:
      raise ValueError(f'{name} is missing; every config needs it.')
  _check_names(config, kind)
  parts = {
    'train': loop.Settings, 'strategy': generative.Strategy, 'sample': generative.Sampling
  }  # fmt: skip
  for section, fields in parts.items():
    if section in config:
      config_lib.read(fields, section, config_lib.check_section(config[section], section))
  if config.train.get('privacy') and not kind.PRIVATE:
    raise ValueError(
      f'train.privacy is {config.train.privacy:g}; allowed for {config.experiment}: 0. Generators '
      'of networks have it.'
    )
  zoo = dict(config_lib.check_section(config.zoo, 'zoo'))
  if not isinstance(zoo.pop('path', ''), str):
    raise ValueError(f"zoo.path is {config.zoo.path!r}; allowed: a folder, or '' for the workdir.")
  counts = None
  if {'architecture', 'splits'} & set(zoo):
    built, _, _ = build.check(zoo, config.seed)
    counts = dict(built.splits)
  else:
    _check_imported(zoo)
  for where, room in _ROOMS.items():
    section = config
    for key in where.split('.'):
      section = config_lib.check_section(section.get(key) or {}, where)
    if 'name' in section:  # A head without a name is chosen by what is read.
      config_lib.check(room, section, where, given=_GIVEN)
  for section, fields in kind.SECTIONS.items():
    if section in config or section not in kind.OPTIONAL:
      config_lib.read(fields, section, config.get(section, {}))
  kind.check(config, counts)


def _check_names(config: 'config_dict.ConfigDict', kind: Any) -> None:
  """Raises ValueError for a section that an experiment needs, or does not know."""
  for section in kind.PLUGINS:
    if 'name' not in config_lib.check_section(config.get(section, {}), section):
      raise ValueError(f'{section}.name is missing; the experiment {config.experiment} needs it.')
  if kind.__module__.startswith('wsjax.'):  # An own experiment may have sections of its own.
    known = (*_COMMON, *kind.SECTIONS, *kind.PLUGINS, *kind.OPTIONAL)
    config_lib.check_keys('The config', config, known)
    for section in config:
      if section not in ('name', 'experiment', 'seed') and config[section] is not None:
        config_lib.check_section(config[section], section)


def _check_imported(zoo: Mapping[str, Any]) -> None:
  """Raises ValueError for a wrong field of a section zoo that trains nothing."""
  from wsjax.zoo import build, train

  if unknown := sorted(set(zoo) - set(_IMPORTED)):
    raise ValueError(
      f'zoo has a field {unknown[0]!r}; without zoo.architecture the zoo is imported, and allowed '
      f'are {", ".join(_IMPORTED)}.'
    )
  if not isinstance(zoo.get('family', ''), str):
    raise ValueError(f'zoo.family is {zoo["family"]!r}; allowed: the name of an importer.')
  if zoo.get('model') is not None:  # Its other fields are arguments of the user's function.
    name = config_lib.check_section(zoo['model'], 'zoo.model').get('name')
    built_in = config_lib.plugins('models')
    if not isinstance(name, str) or (':' not in name and name not in built_in):
      raise ValueError(
        f'zoo.model.name is {name!r}; allowed: {", ".join(built_in)}, or a model of your own as '
        "'path/to/net.py:net'."
      )
  for name, fields in (('dataset', build.Data), ('recipe', train.Recipe)):
    if name in zoo:
      config_lib.read(fields, f'zoo.{name}', zoo[name])


def _checked(config: 'config_dict.ConfigDict', override: str) -> str:
  """An override in which 1e3, for a field that holds an integer, is 1000.

  Raises:
    ValueError: unless it names a field and has a value.
  """
  from ml_collections import config_dict

  field, equals, text = override.removeprefix(_PREFIX).partition('=')
  if not override.startswith(_PREFIX) or not equals:
    raise ValueError(f'Override {override!r} is not --config.FIELD=VALUE.')
  section: Any = config
  for depth, key in enumerate(field.split('.')):
    if not isinstance(section, config_dict.ConfigDict) or key not in section:
      where = '.'.join(field.split('.')[:depth]) or 'the config'
      keys = list(section) if isinstance(section, config_dict.ConfigDict) else []
      near = difflib.get_close_matches(key, keys, 1)
      hint = f' Did you mean {near[0]!r}?' if near else ''
      raise ValueError(
        f'{override}: there is no {key!r} in {where}; it has '
        f'{", ".join(sorted(keys)) or "no fields"}.{hint}'
      )
    section = section[key]
  if section is None:
    raise ValueError(
      f'{override}: {field} is None in the config, so that its type is not '
      'known; give it a value there.'
    )
  with contextlib.suppress(ValueError):
    if type(section) is int and not text.isdigit() and float(text).is_integer():
      return f'{_PREFIX}{field}={int(float(text))}'
  return override
