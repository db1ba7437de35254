import sys

import pytest

from wsjax.cli import main

MODEL = """
import jax
import jax.numpy as jnp
from flax import linen as nn

X = jax.ShapeDtypeStruct((4, 3), jnp.float32)

class Net(nn.Module):
  @nn.compact
  def __call__(self, x):
    x = nn.relu(nn.Dense(6, name='up')(x))
    x = nn.tanh(nn.Dense(5, name='down')(x))
    return nn.Dense(2, name='head')(jnp.cumsum(x, axis=-1))

def module():
  return Net(), X

def function():
  def fn(params, x):
    return jnp.tanh(x @ params['w']) @ params['v']
  struct = jax.ShapeDtypeStruct
  shapes = {'w': struct((3, 6), jnp.float32), 'v': struct((6, 2), jnp.float32)}
  return fn, shapes, (X,)

def blocks():
  names = [f'block{i}/{name}' for i in range(9) for name in ('w', 'b')]
  struct = jax.ShapeDtypeStruct
  shapes = {name: struct((3,) if name[-1] == 'b' else (3, 3), jnp.float32) for name in names}
  def fn(params, x):
    hidden = []
    for i in range(9):
      x = nn.relu(x @ params[f'block{i}/w'] + params[f'block{i}/b'][None])
      hidden.append(x)
    return x, hidden
  return fn, shapes, X

def nnx_module():
  from flax import nnx
  return nnx.Linear(3, 4, rngs=nnx.Rngs(0)), X

def neighbour():
  import beside
  return beside.make()

def infinite():
  return lambda params, x: x * params['w'] / 0.0, {'w': jnp.ones(3)[None]}, jnp.ones((2, 3))

def number():
  return 3
"""


@pytest.fixture
def model(tmp_path):
  path = tmp_path / 'model.py'
  path.write_text(MODEL)
  return str(path)


@pytest.fixture(autouse=True)
def _environment(monkeypatch, undone):
  monkeypatch.setattr(sys, 'path', list(sys.path))


@pytest.mark.slow
def test_a_flax_module_is_inspected_and_drawn(model, tmp_path, capsys):
  out = tmp_path / 'graph.png'
  assert main.main(['inspect', f'{model}:module', '--out', str(out)]) == 0
  shown = capsys.readouterr().out
  assert '  up: 6 units, permutation, positive_scale' in shown.splitlines()
  for text in ('cumsum', 'down/{kernel:1, bias:0}', 'checked: 3 random elements', 'png'):
    assert text in shown
  assert max(map(len, shown.splitlines()[:-1])) <= 100
  assert out.read_bytes().startswith(b'\x89PNG')


def test_equal_blocks_are_told_once_and_extra_outputs_are_named(model, capsys):
  assert main.main(['inspect', f'{model}:blocks']) == 0
  shown = capsys.readouterr().out
  assert 'hint: all 10 outputs are kept as they are' in shown
  from wsjax.cli import inspect
  from wsjax.symmetry.inference import infer

  fn, shapes, inputs = inspect._call(f'{model}:blocks')
  inferred = infer.infer(lambda *args: fn(*args)[0], shapes, inputs)
  lines = list(inspect.describe(inferred))
  assert '  block{0..7} (×8): 3 units, permutation, positive_scale' in lines
  assert '    block{i}/{w:1, b:0}, block{i+1}/w:0' in lines


@pytest.mark.slow
def test_other_modules_and_imports_beside_the_file_are_understood(model, tmp_path, capsys):
  text = MODEL.replace('def module', 'def make')
  (tmp_path / 'beside.py').write_text(text)
  (tmp_path / 'model_of_wsjax.py').write_text(
    'import wsjax\n\ndef net():\n  return wsjax.mlp((3, 5, 2), "relu")\n'
  )
  assert main.main(['inspect', f'{tmp_path}/model_of_wsjax.py:net']) == 0
  assert '5 units' in capsys.readouterr().out
  for name in ('nnx_module', 'neighbour'):
    assert main.main(['inspect', f'{model}:{name}']) == 0
    assert 'checked' in capsys.readouterr().out


def test_outputs_that_are_not_finite_are_not_checked(model, capsys):
  assert main.main(['inspect', f'{model}:infinite']) == 0
  assert 'not checked: the outputs are not finite' in capsys.readouterr().out


def test_a_function_with_shapes_is_inspected(model, capsys):
  assert main.main(['inspect', f'{model}:function', '--check', '0']) == 0
  shown = capsys.readouterr().out
  assert 'permutation, sign' in shown and 'checked' not in shown
  assert 'found.spec.act(found.spec.random(key), weights)' in shown


@pytest.mark.parametrize(
  ('target', 'message'),
  [
    ('{}', 'does not name a function; write FILE.py:FN'),
    ('{}:number', 'gave int; needed: (apply_fn, params, inputs)'),
    ('{}:nothing', "no function 'nothing'; it has"),
    ('{}x:fn', 'There is no file'),
    ('{}:module --check -1', '--check is -1; it must be 0 or more'),
    ('{}:module --out graph.xyz', 'allowed suffixes: '),
  ],
)
def test_wrong_input_is_one_line_and_status_2(target, message, model, capsys):
  words = target.format(model).split()
  assert main.main(['inspect', *words]) == 2
  err = capsys.readouterr().err
  assert message in err and err.count('\n') == 1


def test_a_wrong_group_fails_the_check(model, monkeypatch, capsys):
  from wsjax.symmetry.inference import rules

  rule = rules.RULES['tanh']
  monkeypatch.setitem(rules.RULES, 'cumsum', rule)
  assert main.main(['inspect', f'{model}:module']) == 1
  assert 'check failed' in capsys.readouterr().out
