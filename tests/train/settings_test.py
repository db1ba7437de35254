"""The sections train and strategy: every field that is wrong is named."""

import math

import pytest

from wsjax.train import generative, loop

SECTION = {
  'steps': 10,
  'batch_size': 8,
  'inner_steps': 5,
  'checkpoint_every_steps': 5,
  'ema_decay': 0.9,
  'mesh': (('data', -1),),
  'learning_rate': 1e-3,
}


def test_values_of_another_form_become_those_of_their_fields():
  read = loop.read_settings(
    SECTION | {'steps': 1e3, 'mesh': [['data', 2], ['model', -1]], 'clip_norm': 1, 'seeds': [3, 1]}
  )
  assert read.steps == 1000 and type(read.steps) is int
  assert read.mesh == (('data', 2), ('model', -1)) and read.seeds == (3, 1)
  assert read.clip_norm == 1.0 and type(read.clip_norm) is float


def test_every_field_has_a_default_or_must_be_given():
  read = loop.read_settings(SECTION)
  for name, value in loop.DEFAULTS.items():
    assert getattr(read, name) == value
  # What changes no number is a field, or the exceptions would have no effect.
  assert set(loop.EXECUTION) <= {*loop.DEFAULTS, *SECTION}
  for name in SECTION:
    section = {k: v for k, v in SECTION.items() if k != name}
    with pytest.raises(ValueError, match=rf'train\.{name} is missing'):
      loop.read_settings(section)


# Field -> values that are not allowed.
WRONG = {
  'steps': [0, -1, 2.5, '10', True, None, math.inf],
  'batch_size': [0, -8, 8.5],
  'learning_rate': [0, -1.0, math.inf, math.nan, '1e-3', True],
  'inner_steps': [0],
  'checkpoint_every_steps': [0],
  'ema_decay': [1.0, 1.5, -1],
  'mesh': [
    ('data', -1), (), (('data',),), (('model', -1),), (('data', 0),), (('data', 2.5),),
    (('data', -1), ('data', -1)), (('data', -1), ('model', -1)), 'data', (('data', -2),),
  ],
  'seeds': [(), (0, 0), (-1,), (0.5,), (1 << 32,), ('0',), 3, (True,)],
  'schedule': ['step', None],
  'warmup_steps': [-1, 11, 1.5],
  'final_learning_rate': [-1e-3],
  'weight_decay': [-1, math.inf],
  'clip_norm': [-1, math.nan],
  'checkpoint_every_seconds': [-1],
  'keep': [0],
  'keep_best': [-1],
  'parallel': ['xmap'],
  'data': ['disk'],
  'microbatch': [-1, 0.5],
  'sharding': [('kernel', 'data'), ((1, ('data',)),)],
  'fsdp': ['yes', 1],
  'compute_dtype': ['float8'],
  'skip_nonfinite': [-1],
  'patience': [-1, 2],
  'paralel': ['jit'],
}  # fmt: skip


@pytest.mark.parametrize('name', WRONG)
def test_a_wrong_field_is_named(name):
  for value in WRONG[name]:
    with pytest.raises(ValueError, match=rf'train\.{name} is|train has no field {name!r}'):
      loop.read_settings(SECTION | {name: value})


@pytest.mark.parametrize(
  ('name', 'values'),
  [
    ('distribution', [-1, 0, math.nan]),
    ('functional', [-1]),
    ('functional_networks', [0, 1.5]),
    ('functional_examples', [0]),
    ('augment', ['yes']),
    ('num_train', [-1, 1.5]),
    ('min_diversity', [-0.1]),
    ('likeness', [1.0]),
  ],
)
def test_a_wrong_field_of_the_strategy_is_named(name, values):
  for value in values:
    with pytest.raises(ValueError, match=rf'strategy.*{name}'):
      generative.read({name: value})
