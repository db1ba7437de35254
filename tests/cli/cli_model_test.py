"""Every command with --model takes all that its help promises."""

import numpy as np
import pytest
import safetensors.numpy

import wsjax
from wsjax.cli import main

MODEL = wsjax.mlp((3, 5, 2))
NETS = """
import flax.linen as nn
import jax
import jax.numpy as jnp

import wsjax
from neighbour import widths

plain = wsjax.mlp(widths)
pair = nn.Sequential([nn.Dense(5), nn.relu, nn.Dense(2)]), jnp.zeros((1, 3))
lonely = pair[0]
number = 3


def made():
  return plain


def of_tensors(tensors):
  return plain
"""
COMMANDS = {
  'zoo': 'zoo import --from a.safetensors --out out',
  'align': 'align a.safetensors b.safetensors --out out.safetensors',
  'distance': 'distance a.safetensors b.safetensors',
  'merge': 'merge a.safetensors b.safetensors --method linear --out out.safetensors',
  'edit': 'edit a.safetensors --plus b.safetensors --minus c.safetensors --align weights --out out',
  'export': 'export zoo --format onnx --rows 0 --out out.onnx',
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'nets.py').write_text(NETS)
  (tmp_path / 'neighbour.py').write_text('widths = (3, 5, 2)\n')
  rng = np.random.default_rng(0)
  nets = []
  for name in 'abc':
    shapes = {leaf.path: leaf.shape for leaf in MODEL.spec.leaves}
    nets.append({path: rng.normal(size=shape).astype('f4') for path, shape in shapes.items()})
    safetensors.numpy.save_file(nets[-1], f'{name}.safetensors')
  wsjax.Zoo.of(MODEL, nets).save('zoo')
  return tmp_path


@pytest.mark.parametrize('command', COMMANDS)
def test_a_model_is_an_object_or_what_a_function_returns(command, folder, capsys):
  if command == 'export':
    pytest.importorskip('onnx')
  for place, kind in enumerate(('plain', 'made')):
    words = COMMANDS[command].replace('out', f'out{place}').replace(f'--out{place}', '--out')
    assert main.main([*words.split(), '--model', f'nets.py:{kind}']) == 0, capsys.readouterr().err


@pytest.mark.parametrize('command', COMMANDS)
@pytest.mark.parametrize(
  ('kind', 'message'),
  [
    ('nets.py:number', 'nets.py:number gave int; needed: a wsjax.Model'),
    ('nets.py:lonely', 'nets.py:lonely gave Sequential; needed: a wsjax.Model'),
    ('nets.py:missing', "--model is 'nets.py:missing': nets.py defines no class 'missing'"),
    ('nets.py', "--model is 'nets.py'; "),
    ('other.py:net', "--model is 'other.py:net'"),
  ],
)
def test_what_is_no_model_is_one_sentence(command, kind, message, folder, capsys):
  assert main.main([*COMMANDS[command].split(), '--model', kind]) == 2
  err = capsys.readouterr().err
  assert message in err and err.count('\n') == 1


def test_a_pair_and_a_function_of_tensors_are_models_where_networks_are_read(folder, capsys):
  for kind in ('pair', 'of_tensors'):
    words = f'zoo import --from a.safetensors --layout jax --out {kind} --model nets.py:{kind}'
    assert main.main(words.split()) == 0, capsys.readouterr().err
  assert main.main('align zoo zoo --model nets.py:of_tensors --out out'.split()) == 2
  assert 'makes a model of tensors' in capsys.readouterr().err


@pytest.mark.parametrize('kind', ['plain', 'made', 'pair'])
def test_a_model_is_inspected(kind, folder, capsys):
  assert main.main(['inspect', f'nets.py:{kind}']) == 0
  assert '5 units' in capsys.readouterr().out
