"""Networks in files are merged by one command, with and without a model."""

import jax
import numpy as np
import pytest
import safetensors.numpy

import wsjax
from wsjax.cli import main


def load(name):
  return safetensors.numpy.load_file(name)


@pytest.mark.parametrize('words', [['weights'], ['activations', '--data', 'inputs.npz']])
def test_a_moved_copy_is_merged_to_the_network(folder, words):
  start = ['merge', 'a.safetensors', 'b.safetensors', '--model', 'net.py:net', '--method', 'linear']
  end = ['--format', 'torch', '--out', 'out.safetensors']
  assert main.main([*start, '--align', *words, *end]) == 0
  for name, value in load('a.safetensors').items():
    np.testing.assert_allclose(load('out.safetensors')[name], value, atol=1e-6)


def test_files_are_merged_without_a_model(folder, capsys):
  words = ['merge', 'b.safetensors', 'c.safetensors', '--base', 'a.safetensors', '--method', 'ties']
  options = ['--option', 'density=0.5', '--option', 'weight=0.3,0.7']
  assert main.main([*words, *options, '--out', 'out.safetensors']) == 0
  assert capsys.readouterr().out.strip() == 'out.safetensors'
  recipe = """
merge_method: ties
base_model: a.safetensors
models:
  - {model: b.safetensors, parameters: {weight: 0.3}}
  - {model: c.safetensors, parameters: {weight: 0.7}}
parameters: {density: 0.5}
"""
  (folder / 'recipe.yml').write_text(recipe)
  assert main.main(['merge', 'recipe.yml', '--out', 'folder']) == 0
  one, two = load('out.safetensors'), load('folder/model.safetensors')
  assert all((one[name] == two[name]).all() for name in one)


def test_the_zoo_keeps_the_record(folder):
  words = ['merge', 'a.safetensors', 'c.safetensors', '--model', 'net.py:net', '--align', 'weights']
  assert main.main([*words, '--method', 'karcher', '--format', 'zoo', '--out', 'zoo']) == 0
  (record,) = wsjax.Zoo.open('zoo').records
  assert [edge['relation'] for edge in record['parents']] == ['merge', 'merge']


@pytest.mark.parametrize(
  ('words', 'rest'),
  [
    ('--method is missing', []),
    ('--method is', ['--method', 'average']),
    ('needs --model', ['--method', 'linear', '--align', 'weights']),
    ('give --model', ['--method', 'regmean']),
    ('give base_model', ['--method', 'ties']),
    ('3 values for 2', ['--method', 'linear', '--option', 'weight=1,2,3']),
    ('NAME=VALUE', ['--method', 'linear', '--option', 'weight']),
    ('values are numbers', ['--method', 'linear', '--option', 'weight=a']),
    ('--dtype is', ['--method', 'linear', '--dtype', 'int4']),
    ('keep their types', ['--method', 'linear', '--dtype', 'float16', '--model', 'net.py:net']),
  ],
)
def test_wrong_words_are_one_sentence(folder, capsys, words, rest):
  assert main.main(['merge', 'a.safetensors', 'c.safetensors', '--out', 'x', *rest]) == 2
  assert words in capsys.readouterr().err and not (folder / 'x').exists()


def test_a_network_is_edited_by_differences(folder):
  words = ['edit', 'a.safetensors', '--plus', 'c.safetensors', '--minus', 'b.safetensors']
  assert main.main([*words, '--factor', '0.5', '--out', 'out.safetensors']) == 0
  a, b, c = (load(f'{name}.safetensors') for name in 'abc')
  for name, value in load('out.safetensors').items():
    np.testing.assert_allclose(value, a[name] + 0.5 * (c[name] - b[name]), atol=1e-6)
  # b is a, moved: once it is moved back, nothing of a is taken away.
  aligned = [*words, '--model', 'net.py:net', '--align', 'weights', '--format', 'torch']
  aligned[aligned.index('c.safetensors')] = 'a.safetensors'
  assert main.main([*aligned, '--out', 'same.safetensors']) == 0
  for name, value in load('same.safetensors').items():
    np.testing.assert_allclose(value, a[name], atol=1e-5)


def test_an_edit_names_all_its_parents(folder):
  model = wsjax.mlp((5, 12, 3), 'tanh')
  zoo = wsjax.Zoo.of(model, [model.init(jax.random.key(seed)) for seed in range(3)])
  edited = wsjax.edit(zoo.subset([0]), zoo.subset([1]), zoo.subset([2]), factor=-1.0)
  ids = [edge['record_id'] for edge in edited.records[0]['parents']]
  assert ids == [record['record_id'] for record in zoo.records]
