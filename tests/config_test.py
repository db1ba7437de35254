import dataclasses
import hashlib
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import ml_collections
import numpy as np
import pytest

from wsjax import config


def test_options_keep_their_defaults():
  assert config.parse_arg('', smoke=False, width=64) == {'smoke': False, 'width': 64}


def test_a_bare_option_is_true_and_values_are_read_as_literals():
  values = config.parse_arg('smoke,width=8,rate=1', smoke=False, width=64,
                            rate=0.1)  # fmt: skip
  assert values == {'smoke': True, 'width': 8, 'rate': 1.0}


def test_a_tuple_lists_what_is_allowed_and_starts_with_the_default():
  assert config.parse_arg(None, mode=('raw', 'aligned')) == {'mode': 'raw'}
  with pytest.raises(ValueError, match="'nope'; allowed: 'raw', 'aligned'"):
    config.parse_arg('mode=nope', mode=('raw', 'aligned'))


@pytest.mark.parametrize(
  ('arg', 'message'),
  [
    ('widht=8', "Unknown config option 'widht'.*allowed: smoke, width"),
    ('width=wide', "'width' needs a int; got 'wide'"),
    ('smoke=1', "'smoke' needs a bool; got '1'"),
  ],
)
def test_a_wrong_option_says_what_is_allowed(arg, message):
  with pytest.raises(ValueError, match=message):
    config.parse_arg(arg, smoke=False, width=64)


@dataclasses.dataclass(frozen=True)
class Inner(config.Section):
  size: config.PositiveInt = 3


@dataclasses.dataclass(frozen=True)
class Example(config.Section):
  """One field of every type."""

  count: config.PositiveInt
  rate: config.Rate = 0.5
  scale: Annotated[float, config.Range(above=0, max=2)] = 1.0
  solver: Annotated[str, config.OneOf({'euler': 1, 'heun': 2})] = 'heun'
  mode: Literal['raw', 0] = 'raw'
  widths: tuple[config.PositiveInt, ...] = (4,)
  pair: tuple[str, float] = ('a', 1.0)
  flag: bool = False
  limit: int | None = None
  inner: Inner = Inner()
  model: Annotated[Any, config.Plugin('models')] = None
  rest: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  later: 'int' = 0
  unknown: 'NotImported' = None  # noqa: F821

  def __post_init__(self):
    super().__post_init__()
    if self.count > 9 and self.flag:
      raise ValueError('count and flag contradict each other.')


def test_values_take_the_form_of_their_type():
  section = ml_collections.ConfigDict(
    dict(
      count=np.int64(2), rate=0, widths=[3, 2], pair=['b', 2], inner=dict(size=7), rest=dict(a=1)
    )
  )
  made = config.read(Example, 'example', section)
  assert made == Example(2, 0.0, widths=(3, 2), pair=('b', 2.0), inner=Inner(7), rest={'a': 1})
  assert type(made.count) is int and type(made.rate) is float and type(made.widths) is tuple
  assert config.read(Example, 'example', {'count': 1}) == Example(1)
  assert config.defaults(Example)['widths'] == (4,) and 'count' not in config.defaults(Example)


@pytest.mark.parametrize(
  ('field', 'value', 'allowed'),
  [
    ('count', 0, 'an int >= 1'),
    ('count', 1.5, 'an int >= 1'),
    ('count', True, 'an int >= 1'),
    ('count', '3', 'an int >= 1'),
    ('rate', 1.0, 'a finite float >= 0 and < 1'),
    ('rate', math.nan, 'a finite float >= 0 and < 1'),
    ('scale', 0.0, 'a finite float > 0 and <= 2'),
    ('scale', math.inf, 'a finite float > 0 and <= 2'),
    ('solver', 'rk', "one of 'euler', 'heun'"),
    ('mode', 'cooked', "one of 'raw', 0"),
    ('mode', False, "one of 'raw', 0"),
    ('widths', (3, 0), 'a tuple of items, each an int >= 1'),
    ('widths', 3, 'a tuple of items, each an int >= 1'),
    ('pair', ('a',), 'a tuple (a str, a finite float)'),
    ('flag', 1, 'a bool'),
    ('limit', 'x', 'an int or None'),
    ('inner', 3, 'an Inner'),
    ('model', 'mlp', "a section with 'name' in cnn, mlp, siren, transformer"),
    ('rest', 3, 'a Mapping'),
    ('later', 'x', 'an int'),
  ],
)
def test_a_value_that_is_not_allowed_is_named_with_its_field(field, value, allowed):
  text = f'{field} is {value!r}; allowed: {allowed}.'
  with pytest.raises(ValueError) as error:
    config.read(Example, 'example', {'count': 1, field: value})
  assert str(error.value) == f'example.{text}'
  with pytest.raises(ValueError) as error:
    Example(**{'count': 1, field: value})
  assert str(error.value) == f'Example.{text}'


@pytest.mark.parametrize(
  ('section', 'words'),
  [
    (
      {'count': 1, 'ratte': 0.1},
      "example has no field 'ratte'; did you mean 'rate'? Allowed: count",
    ),
    ({}, 'example.count is missing; it is an int >= 1.'),
    ({'count': 1, 'inner': {'size': 0}}, 'example.inner.size is 0'),
    ({'count': 1, 'inner': {'sizes': 1}}, "example.inner has no field 'sizes'"),
    ({'count': 1, 'model': {'name': 'mpl'}}, "example.model.name is 'mpl'; did you mean 'mlp'?"),
    ({'count': 10, 'flag': True}, 'example: count and flag contradict each other.'),
  ],
)
def test_a_wrong_section_is_one_sentence(section, words):
  with pytest.raises(ValueError) as error:
    config.read(Example, 'example', section)
  assert str(error.value).startswith(words)


class Module(config.Section, nn.Module):
  """A Flax module with checked fields, one of which is a plug-in."""

  width: config.PositiveInt
  reader: Annotated[Any, config.Plugin('generators.backbones')] = None

  @nn.compact
  def __call__(self, x):
    return self.reader(nn.Dense(self.width)(x), 0.5)


def test_a_plugin_is_checked_before_all_of_its_fields_are_known():
  section = {'name': 'graph_transformer', 'width': 8, 'num_heads': 3}
  config.check('generators.backbones', section, 'backbone', given=('architecture',))
  with pytest.raises(ValueError, match='backbone.architecture is missing'):
    config.check('generators.backbones', section, 'backbone')
  with pytest.raises(ValueError, match='backbone.depth is -1'):
    config.check(
      'generators.backbones', {**section, 'depth': -1}, 'backbone', given=('architecture',)
    )
  with pytest.raises(ValueError, match='into 3 heads'):
    config.check('generators.backbones', {**section, 'name': 'transformer'}, 'backbone')


def test_flax_modules_are_sections():
  reader = {'name': 'mlp', 'width': 4, 'depth': 1}
  made = config.read(Module, 'model', {'width': 3, 'reader': reader})
  out, variables = made.init_with_output(jax.random.key(0), np.ones((1, 2)))
  assert out.shape == (1, 3) and set(variables['params']) == {'Dense_0', 'reader'}
  assert hash(made) == hash(Module(width=3, reader=reader)) and made == Module(3, reader)
  with pytest.raises(ValueError, match='model.reader.width is 0'):
    config.read(Module, 'model', {'width': 3, 'reader': {**reader, 'width': 0}})
  with pytest.raises(ValueError, match="has no field 'parent'"):
    config.read(Module, 'model', {'width': 3, 'parent': None})
  with pytest.raises(ValueError, match='Module.width is 0'):
    Module(width=0)


def test_plugins_are_the_files_with_a_class_of_their_name():
  assert config.plugins('models') == ['cnn', 'mlp', 'siren', 'transformer']
  with pytest.raises(ValueError, match='no room'):
    config.plugins('nowhere')


def test_build_makes_the_class_that_a_section_names():
  section = {'name': 'mlp', 'widths': [4, 3, 2]}
  assert config.build('models', section).spec.num_params == 23


@pytest.mark.parametrize(
  ('section', 'message'),
  [
    ({'name': 'mpl'}, "model.name is 'mpl'; did you mean 'mlp'.*cnn, mlp, siren"),
    ({'widths': (4, 2)}, 'model.name is None'),
    ({'name': 'mlp', 'width': 4}, "model has no field 'width'; did you mean 'widths'"),
    ({'name': 'nowhere_lab.layers:Mean'}, 'nowhere_lab'),
    ({'name': 'nowhere/layers.py:Mean'}, 'nowhere/layers.py'),
    ({'name': 'wsjax.config:Nothing'}, "defines no class 'Nothing'"),
  ],
)
def test_a_wrong_name_says_what_is_allowed(section, message):
  with pytest.raises(ValueError, match=message):
    config.build('models', section)


OWN = """
import dataclasses

from wsjax import config


@dataclasses.dataclass(frozen=True)
class Mean(config.Section):
  width: config.PositiveInt = 3
"""


def test_a_plugin_may_live_in_a_file_or_package_of_the_user(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(tmp_path)
  for name in ('own_layers.py', 'own_lab.py'):
    (tmp_path / name).write_text(OWN)
  for name in ('own_layers.py:Mean', 'own_lab:Mean'):
    made = config.build('encoders', {'name': name, 'width': 4})
    assert made == config.build('encoders', {'name': name, 'width': 4}) and made.width == 4
    with pytest.raises(ValueError, match='encoder.width is 0'):
      config.build('encoders', {'name': name, 'width': 0})
    with pytest.raises(ValueError, match='encoder.name'):
      config.build('encoders', {'name': name}, foreign=False)
    digest = hashlib.sha256(OWN.encode()).hexdigest()
    for section in (
      {'encoder': {'name': name}},
      {'generator': {'name': 'x', 'head': {'name': name}}},
    ):
      found = config.provenance(ml_collections.ConfigDict(section))
      assert found == {name: f'sha256 {digest}'}
  found = config.provenance({'head': {'name': 'pytest:Item'}})['pytest:Item']
  assert found.endswith(f', version {pytest.__version__}')
