"""Recipes: which networks are merged and how, as the YAML files of mergekit say it.

A setting is a number, a list of numbers (a gradient along the layers, first to last), or a list of
`{filter, value}` of which the first counts whose filter is part of the name of the tensor. The
closest one counts: that of the model, of the slice, of the recipe.
"""

import dataclasses
import pathlib
import re
import reprlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from wsjax import files
from wsjax.fusion import methods

DTYPES = ('float32', 'float16', 'bfloat16', 'float64')
_MAX_BYTES = 1 << 20
_FIELDS = {
  'merge_method', 'models', 'slices', 'base_model', 'parameters', 'dtype', 'out_dtype',
}  # fmt: skip
# Fields of mergekit that are not for us -> why.
_REFUSED = {
  'tokenizer_source': 'vocabularies are not merged; merge networks of one vocabulary',
  'tokenizer': 'vocabularies are not merged; merge networks of one vocabulary',
  'chat_template': 'templates are not written; copy the file of one of the models',
  'modules': 'models of several modules are not known; merge each module by a recipe of its own',
}
_INDEX = re.compile(r'(?:[A-Za-z]+_?)?(\d{1,6})')


@dataclasses.dataclass(frozen=True)
class Source:
  """A network of a recipe.

  Attributes:
    model: path, or another name.
    parameters: option -> setting.
    layers: first layer, and the one after the last, that are taken; None is all.
  """

  model: str
  parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  layers: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Slice:
  """Layers of the merged network: the networks that they are made of, and settings for them."""

  sources: tuple[Source, ...]
  parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Recipe:
  """A merge.

  Attributes:
    method: key of `methods.METHODS`.
    slices: parts of the merged network, in order; one without layer ranges is the whole network.
    base: the network that the others are compared with, or None.
    parameters: option -> setting for all networks.
    dtype: in which tensors are read, and by default written; None is that of the first network.
    out_dtype: of the merged tensors.
  """

  method: str
  slices: tuple[Slice, ...]
  base: str | None = None
  parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  dtype: str | None = None
  out_dtype: str | None = None

  @property
  def models(self) -> list[str]:
    """Networks that are read, the base included, each once."""
    names = [source.model for part in self.slices for source in part.sources]
    return list(dict.fromkeys([*names, *([self.base] if self.base else [])]))


@dataclasses.dataclass(frozen=True)
class Step:
  """How one tensor is merged.

  Attributes:
    name: of the merged tensor.
    inputs: (network, name of its tensor) of the networks that are merged.
    base: likewise, or None.
    each: option -> value for every network.
    shared: option -> value.
  """

  name: str
  inputs: tuple[tuple[str, str], ...]
  base: tuple[str, str] | None
  each: Mapping[str, tuple[Any, ...]]
  shared: Mapping[str, Any]


def read(path: pathlib.Path | str) -> Recipe:
  """Reads a recipe from a YAML file; relative paths of models are below its folder, if there.

  Raises:
    ValueError: naming the file and the field, if it is not a recipe that can be merged.
    OSError: if it cannot be read.
  """
  import yaml

  class Loader(yaml.SafeLoader):
    """Makes plain values only, and refuses a key that is there twice."""

  def mapping(loader: Any, node: Any) -> dict:
    made: dict = {}
    for key_node, value_node in node.value:
      key = loader.construct_object(key_node, deep=True)
      if not isinstance(key, Hashable) or key in made:
        raise ValueError(f'the key {reprlib.repr(key)} is there twice or is none')
      made[key] = loader.construct_object(value_node, deep=True)
    return made

  Loader.add_constructor('tag:yaml.org,2002:map', mapping)
  text = files.read_bytes(path, max_bytes=_MAX_BYTES)
  try:
    # A subclass of the safe loader: no objects are made.
    value = yaml.load(text.decode(), Loader)  # noqa: S506
  except (yaml.YAMLError, ValueError, RecursionError) as error:
    problem = ' '.join(str(error).split()) or 'nested too deeply'
    raise ValueError(f'{path} is not YAML that can be read: {problem[:300]}.') from error
  folder = pathlib.Path(path).parent

  def find(name: str) -> str:
    return str(folder / name) if (folder / name).exists() else name

  try:
    return parse(value, find)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error


def parse(value: Any, find: Any = str) -> Recipe:
  """A recipe from its plain value; `find` makes a path of the name of a model.

  Raises:
    ValueError: naming the field.
  """
  fields = _mapping(value, 'the recipe')
  for name in fields:
    if name in _REFUSED:
      raise ValueError(f'{name} is not read: {_REFUSED[name]}.')
    if name not in _FIELDS:
      raise ValueError(f'the recipe has no field {name!r}; it has {", ".join(sorted(_FIELDS))}.')
  method = fields.get('merge_method')
  check_method(method)
  base = fields.get('base_model')
  base = None if base is None else find(_model(base, 'base_model'))
  if ('models' in fields) == ('slices' in fields):
    raise ValueError('a recipe has either models or slices.')
  if 'models' in fields:
    sources = _sources(fields['models'], 'models', find, ranged=False)
    slices = [Slice(sources)]
  else:
    slices = []
    for i, part in enumerate(_list(fields['slices'], 'slices')):
      where = f'slices[{i}]'
      part = _mapping(part, where)
      _keys(part, {'sources', 'parameters'}, where)
      sources = _sources(part.get('sources'), f'{where}.sources', find, ranged=True)
      lengths = {source.layers[1] - source.layers[0] for source in sources if source.layers}
      if len(lengths) != 1:
        raise ValueError(f'{where}: its sources must have equally many layers.')
      slices.append(Slice(sources, _settings(part.get('parameters'), f'{where}.parameters')))
  for name in ('dtype', 'out_dtype'):
    if fields.get(name) not in (None, *DTYPES):
      shown = reprlib.repr(fields[name])
      raise ValueError(f'{name} is {shown}; allowed: {", ".join(DTYPES)}.')
  recipe = Recipe(
    method,
    tuple(slices),
    base,
    _settings(fields.get('parameters'), 'parameters'),
    fields.get('dtype'),
    fields.get('out_dtype'),
  )
  check(recipe)
  return recipe


def of_options(
  method: str,
  names: Sequence[str],
  options: Mapping[str, Any],
  *,
  base: str | None = None,
  parameters: Mapping[str, Any] | None = None,
  out_dtype: str | None = None,
) -> Recipe:
  """The recipe that merges some networks by a method with options.

  Args:
    method: key of `methods.METHODS`.
    names: of the networks.
    options: a setting for all networks, or a list of numbers, one for each.
    base: network that the others are compared with.
    parameters: further settings, which may be filters.
    out_dtype: type of the merged tensors.

  Raises:
    ValueError: if number of networks, base and options do not fit the method.
  """
  rule, count = methods.METHODS[method], len(names)
  shared, each = dict(parameters or {}), [{} for _ in names]
  for name, value in options.items():
    if name in rule.each and isinstance(value, list | tuple | np.ndarray):
      if len(value) != count:
        raise ValueError(f'{name} has {len(value)} values for {count} networks.')
      for own, x in zip(each, value, strict=True):
        own[name] = x.item() if isinstance(x, np.generic) else x
    else:
      shared[name] = value
  if rule.each.get('weight') is methods.REQUIRED:
    shared.setdefault('weight', 1 / count if method in ('linear', 'multislerp') else 1.0)
  sources = tuple(map(Source, names, each))
  made = Recipe(method, (Slice(sources),), base, shared, out_dtype=out_dtype)
  check(made)
  return made


def check_method(method: Any) -> None:
  """Raises ValueError unless a method of that name merges tensors one by one."""
  if not isinstance(method, str) or method not in methods.METHODS:
    raise ValueError(
      f'merge_method is {reprlib.repr(method)}; allowed: {", ".join(methods.METHODS)}.'
    )


def check(recipe: Recipe) -> None:
  """Raises ValueError unless number of networks, base and names of options fit the method."""
  rule, method = methods.METHODS[recipe.method], recipe.method
  if rule.base == 'required' and recipe.base is None:
    raise ValueError(f'{method} compares networks with a base; give base_model.')
  known = {*rule.each, *rule.shared, 'int8_mask'}
  low, high = rule.counts
  for part in recipe.slices:
    count = len(_inputs(recipe, part))
    if count < low or (high is not None and count > high):
      wanted = (
        f'{low}' if low == high else f'at least {low}' if high is None else f'{low} to {high}'
      )
      besides = ' besides the base' if rule.base == 'required' else ''
      raise ValueError(f'{method} merges {wanted} networks{besides}; the recipe has {count}.')
    scopes = [recipe.parameters, part.parameters, *(source.parameters for source in part.sources)]
    for name in (name for scope in scopes for name in scope):
      if name not in known:
        allowed = ', '.join(sorted(known - {'int8_mask'})) or 'none'
        raise ValueError(f'{method} has no option {name!r}; it has {allowed}.')


def plan(recipe: Recipe, names: Mapping[str, Sequence[str]]) -> Iterator[Step]:
  """Yields how every tensor of the merged network is made, sorted by name.

  Args:
    recipe: what to merge.
    names: network -> names of its tensors.

  Raises:
    ValueError: naming the tensor: a network lacks it, or an option has no value for it.
  """
  steps = [step for part in _numbered(recipe, names) for step in part]
  yield from sorted(steps, key=lambda step: step.name)


def _numbered(recipe: Recipe, names: Mapping[str, Sequence[str]]) -> Iterator[list[Step]]:
  """The steps of every slice; its layers are numbered on from those of the slices before it."""
  start = 0
  for place, part in enumerate(recipe.slices):
    first = part.sources[0]
    layers = sorted({i for name in names[first.model] if (i := layer(name)) is not None})
    if first.layers is not None:
      low, high = first.layers
      if not layers or high > max(layers) + 1:
        raise ValueError(
          f'layer_range {list(first.layers)} of {first.model}: it has {len(layers)} layers.'
        )
      layers = list(range(low, high))
    steps = []
    for name in names[first.model]:
      index = layer(name)
      if index is None:
        is_last = bool(
          re.search(r'(?:^|[./_])(?:lm_head|head|norm|ln_f|final\w*)(?=[./_]|$)', name)
        )
        if place == (len(recipe.slices) - 1 if is_last else 0):
          steps.append(_step(recipe, part, names, name, None, 0, 0.0))
      elif index in layers:
        offset = layers.index(index)
        t = offset / (len(layers) - 1) if len(layers) > 1 else 1.0
        shift = start - first.layers[0] if first.layers else 0
        steps.append(_step(recipe, part, names, name, index, shift, t))
    yield steps
    start += len(layers)


def _step(
  recipe: Recipe,
  part: Slice,
  names: Mapping[str, Sequence[str]],
  name: str,
  index: int | None,
  shift: int,
  t: float,
) -> Step:
  rule, first = methods.METHODS[recipe.method], part.sources[0]
  sources = _inputs(recipe, part)
  bases = [source for source in part.sources if source.model == recipe.base]
  base = None
  if rule.base != 'none' and recipe.base is not None:
    base = bases[0] if bases else Source(recipe.base, {}, first.layers)

  def theirs(source: Source) -> tuple[str, str]:
    known = name
    if index is not None and source.layers and first.layers:
      known = renumbered(name, index - first.layers[0] + source.layers[0])
    if known not in names[source.model]:
      raise ValueError(f'{source.model} has no tensor {known!r}, which {first.model} has.')
    return source.model, known

  def setting(option: str, default: Any, scopes: Sequence[Mapping[str, Any]], tensor: str) -> Any:
    for scope in scopes:
      if option in scope and (value := _evaluate(scope[option], tensor, t)) is not None:
        if isinstance(value, bool) != isinstance(default, bool):
          wanted = 'true or false' if isinstance(default, bool) else 'a number'
          raise ValueError(f'the option {option!r} is {value!r}; it has to be {wanted}.')
        return int(value) if type(default) is int else value
    if default is methods.REQUIRED:
      raise ValueError(f'{recipe.method} needs the option {option!r}; none is given for {tensor}.')
    return default

  inputs = tuple(theirs(source) for source in sources)
  each = {
    option: tuple(
      setting(option, default, (source.parameters, part.parameters, recipe.parameters), tensor)
      for source, (_, tensor) in zip(sources, inputs, strict=True)
    )
    for option, default in rule.each.items()
  }
  common = (part.parameters, recipe.parameters)
  shared = {
    option: setting(option, default, common, name) for option, default in rule.shared.items()
  }
  out = name if index is None else renumbered(name, index + shift)
  return Step(out, inputs, base and theirs(base), each, shared)


def _inputs(recipe: Recipe, part: Slice) -> list[Source]:
  """Networks that are merged: the base is one of them only where the method knows no base."""
  if methods.METHODS[recipe.method].base != 'none':
    return [source for source in part.sources if source.model != recipe.base]
  sources = list(part.sources)
  if recipe.base is not None and recipe.base not in [source.model for source in sources]:
    sources.append(Source(recipe.base, {}, sources[0].layers))
  return sources


def layer(name: str) -> int | None:
  """The number of the layer in the name of a tensor: 3 of 'model.layers.3.mlp', 'layer3/bias'."""
  for part in re.split(r'[./]', name):
    if match := _INDEX.fullmatch(part):
      return int(match[1])
  return None


def renumbered(name: str, index: int) -> str:
  """The name of the same tensor of another layer."""
  parts = re.split(r'([./])', name)
  for i, part in enumerate(parts):
    if match := _INDEX.fullmatch(part):
      parts[i] = part[: match.start(1)] + str(index)
      break
  return ''.join(parts)


def _evaluate(setting: Any, name: str, t: float) -> Any:
  """The value of a setting for a tensor at t of the layers; None where no filter fits."""
  if isinstance(setting, Mapping):
    setting = [setting]
  if not isinstance(setting, list | tuple):
    return setting
  if all(isinstance(item, Mapping) for item in setting):
    for item in setting:
      wanted = item.get('filter')
      if wanted in (None, '*') or wanted in name:
        return _evaluate(item['value'], name, t)
    return None
  if all(isinstance(item, bool) for item in setting):
    return setting[int(t * (len(setting) - 1))]
  place = t * (len(setting) - 1)
  low = int(place)
  high, share = min(low + 1, len(setting) - 1), place - low
  return (1 - share) * setting[low] + share * setting[high]


def _sources(value: Any, where: str, find: Any, *, ranged: bool) -> tuple[Source, ...]:
  made = []
  for i, item in enumerate(_list(value, where)):
    place = f'{where}[{i}]'
    item = _mapping(item, place)
    _keys(item, {'model', 'parameters'} | ({'layer_range'} if ranged else set()), place)
    if 'model' not in item:
      raise ValueError(f'{place} has no model.')
    layers = None
    if ranged:
      span = item.get('layer_range')
      is_pair = isinstance(span, list) and len(span) == 2 and all(type(x) is int for x in span)
      if not is_pair or not 0 <= span[0] < span[1] <= 100_000:
        raise ValueError(f'{place}.layer_range is {reprlib.repr(span)}; it is [first, end].')
      layers = span[0], span[1]
    name = find(_model(item['model'], f'{place}.model'))
    made.append(Source(name, _settings(item.get('parameters'), f'{place}.parameters'), layers))
  return tuple(made)


def _model(value: Any, where: str) -> str:
  if isinstance(value, Mapping):
    value = _mapping(value, where)
    if set(value) == {'model'} and isinstance(value['model'], Mapping):  # As mergekit spells it.
      value = value['model']
    if value.get('lora'):
      raise ValueError(f'{where} has a lora; merge the adapter into its model first.')
    value = value.get('path') if isinstance(value.get('path'), str) else value
  if not isinstance(value, str) or not 0 < len(value) < 4096 or '\0' in value:
    raise ValueError(f'{where} is {reprlib.repr(value)}; it is a file or a folder.')
  if '+' in value and not pathlib.Path(value).exists():
    raise ValueError(f'{where} is {value!r}: adapters are not added; merge them first.')
  return value


def _settings(value: Any, where: str) -> dict[str, Any]:
  """Option -> setting, of numbers and filters only."""
  if value is None:
    return {}
  return {name: _setting(item, f'{where}.{name}') for name, item in _mapping(value, where).items()}


def _setting(value: Any, where: str, depth: int = 0) -> Any:
  if isinstance(value, Mapping):
    value = [value]
  if isinstance(value, list):
    if not 0 < len(value) <= 10_000 or depth > 1:
      raise ValueError(f'{where} is {reprlib.repr(value)}; it is numbers, or filters with values.')
    if not any(isinstance(item, Mapping) for item in value):
      return [_scalar(item, where) for item in value]
    made = []
    for item in value:
      item = _mapping(item, where)
      _keys(item, {'filter', 'value'}, where)
      if 'value' not in item or not isinstance(item.get('filter', ''), str | None):
        raise ValueError(f'{where} has {reprlib.repr(item)}; an entry has a value and a filter.')
      made.append({**item, 'value': _setting(item['value'], where, depth + 1)})
    return made
  return _scalar(value, where)


def _scalar(value: Any, where: str) -> Any:
  if isinstance(value, str):  # '1e-5' is text for YAML.
    try:
      value = float(value)
    except ValueError:
      pass
  if isinstance(value, bool) or (
    isinstance(value, int | float) and value == value and abs(value) < 1e30
  ):
    return value
  raise ValueError(f'{where} is {reprlib.repr(value)}; it has to be a number, true or false.')


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
  if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
    raise ValueError(f'{where} is {reprlib.repr(value)}, not names with values.')
  return value


def _list(value: Any, where: str) -> list:
  if not isinstance(value, list) or not 0 < len(value) <= 10_000:
    raise ValueError(f'{where} is {reprlib.repr(value)}, not a list.')
  return value


def _keys(value: Mapping[str, Any], allowed: set[str], where: str) -> None:
  for name in value:
    if name not in allowed:
      raise ValueError(f'{where} has no field {name!r}; allowed: {", ".join(sorted(allowed))}.')
