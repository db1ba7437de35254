"""Every method that mergekit has gives its numbers; `golden/make.py` ran its command."""

import json
import pathlib

import numpy as np
import pytest
import safetensors.numpy
import yaml

from tests.fusion.golden import make
from wsjax.fusion import methods, stream
from wsjax.fusion import recipe as recipe_lib

GOLDEN = dict(np.load(pathlib.Path(__file__).parent / 'golden/golden.npz'))
RECIPES = make.recipes()
# Karcher means end within a tolerance of 1e-5.
TOLERANCE = {'karcher': 5e-5}


def models():
  shapes, found = make.shapes(), {}
  for model in make.MODELS:
    vector, start, net = GOLDEN[f'inputs/{model}'], 0, {}
    for name in sorted(shapes):
      stop = start + int(np.prod(shapes[name]))
      net[name], start = vector[start:stop].reshape(shapes[name]), stop
    found[model] = net
  return found


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp('models')
  for model, net in models().items():
    make.write(path / model, net)
  return path


@pytest.mark.parametrize('name', [name for name in RECIPES if not name.startswith('random')])
def test_a_recipe_gives_the_tensors_of_mergekit(name, folder):
  (folder / f'{name}.yml').write_text(yaml.safe_dump({**RECIPES[name], 'dtype': 'float32'}))
  recipe = recipe_lib.read(folder / f'{name}.yml')
  written = stream.merge_files(recipe, folder / f'out_{name}')
  found = make.flat(safetensors.numpy.load_file(written))
  wanted = GOLDEN[f'outputs/{name}']
  np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE.get(name, 2e-6))
  assert json.loads((folder / f'out_{name}/config.json').read_text())['model_type'] == 'llama'


class Uniform:
  """In place of a random generator: numbers that depend on the shape alone."""

  def random(self, shape):
    return make.uniform(tuple(shape))


@pytest.mark.parametrize('name', [name for name in RECIPES if name.startswith('random')])
def test_random_methods_are_those_of_mergekit_for_equal_draws(name):
  recipe, nets = recipe_lib.parse(RECIPES[name]), models()
  merged = {}
  for step in recipe_lib.plan(recipe, {model: sorted(net) for model, net in nets.items()}):
    tensors = [nets[model][tensor] for model, tensor in step.inputs]
    base = nets[step.base[0]][step.base[1]]
    merged[step.name] = methods.merge(
      recipe.method, tensors, base, step.each, step.shared, Uniform()
    )
  np.testing.assert_allclose(make.flat(merged), GOLDEN[f'outputs/{name}'], rtol=0, atol=2e-6)


def test_a_fault_is_seen():
  """The figures tell methods apart: no two recipes give one network."""
  found = [value for name, value in GOLDEN.items() if name.startswith('outputs/')]
  for i, one in enumerate(found):
    for other in found[:i]:
      assert one.shape != other.shape or np.abs(one - other).max() > 1e-3
