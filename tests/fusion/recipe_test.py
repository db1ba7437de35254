"""Recipes are read as mergekit's users write them; what is not understood is a sentence."""

import pytest

from wsjax.fusion import recipe

TWO = 'models: [{model: a}, {model: b}]\n'


def read(tmp_path, text):
  (tmp_path / 'r.yml').write_text(text)
  return recipe.read(tmp_path / 'r.yml')


@pytest.mark.parametrize(
  ('words', 'text'),
  [
    ('tokenizer_source is not read: vocabularies', f'{TWO}tokenizer_source: base'),
    ('chat_template is not read', f'merge_method: linear\n{TWO}chat_template: auto'),
    ('modules is not read', 'merge_method: linear\nmodules: {}'),
    ("no field 'model'", 'merge_method: linear\nmodel: []'),
    ('merge_method is', f'{TWO}'),
    ("merge_method is 'moe'", f'merge_method: moe\n{TWO}'),
    ('give base_model', f'merge_method: ties\n{TWO}'),
    ('either models or slices', 'merge_method: linear'),
    ('slerp merges 1 networks besides the base; the recipe has 2',
     f'merge_method: slerp\nbase_model: c\n{TWO}'),
    ("no option 'wieght'", f'merge_method: linear\n{TWO}parameters: {{wieght: 1}}'),
    ('dtype is', f'merge_method: linear\n{TWO}dtype: int8'),
    ('not a list', 'merge_method: linear\nmodels: a'),
    ('has no model', 'merge_method: linear\nmodels: [{parameters: {weight: 1}}]'),
    ('adapters are not added', 'merge_method: linear\nmodels: [{model: a+lora}]'),
    ('it has to be a number', f'merge_method: linear\n{TWO}parameters: {{weight: big}}'),
    ('it has to be a number', f'merge_method: linear\n{TWO}parameters: {{weight: .nan}}'),
    ('has a value and a filter',
     f'merge_method: linear\n{TWO}parameters: {{weight: [{{filter: a}}]}}'),
    ('equally many layers', 'merge_method: linear\nslices: [{sources: [{model: a, layer_range: '
     '[0, 2]}, {model: b, layer_range: [0, 1]}]}]'),
    (r'it is \[first, end\]',
     'merge_method: linear\nslices: [{sources: [{model: a, layer_range: 3}]}]'),
    ('there twice', f'merge_method: linear\nmerge_method: ties\n{TWO}'),
    ('not YAML', 'merge_method: [}'),
    ('not YAML', 'merge_method: !!python/object/apply:os.system [ls]'),
    ('not YAML', '[' * 5000),
    ('not names with values', '- 1'),
  ],
)  # fmt: skip
def test_a_wrong_recipe_is_one_sentence_with_the_file(tmp_path, words, text):
  with pytest.raises(ValueError, match=words) as caught:
    read(tmp_path, text)
  assert 'r.yml' in str(caught.value) and len(str(caught.value)) < 600


def test_aliases_do_not_explode(tmp_path):
  lines = ['a0: &a0 [1, 1]'] + [f'a{i}: &a{i} [*a{i - 1}, *a{i - 1}]' for i in range(1, 40)]
  text = '\n'.join(lines) + '\nmerge_method: *a39\n'
  with pytest.raises(ValueError, match='no field'):
    read(tmp_path, text)


def test_settings_come_from_the_nearest_place(tmp_path):
  text = """
merge_method: task_arithmetic
base_model: base
models:
  - model: base
  - model: a
    parameters:
      weight: [{filter: mlp, value: [0.0, 1.0]}, {filter: "*", value: 1e-1}]
  - {model: b}
parameters: {weight: 0.25, lambda: 2, int8_mask: true}
"""
  made = read(tmp_path, text)
  names = [f'layers.{i}.{part}.weight' for i in range(3) for part in ('mlp', 'attn')]
  found = {step.name: step for step in recipe.plan(made, dict.fromkeys(('base', 'a', 'b'), names))}
  assert [found[f'layers.{i}.mlp.weight'].each['weight'] for i in range(3)] == [
    (0.0, 0.25),
    (0.5, 0.25),
    (1.0, 0.25),
  ]
  assert found['layers.2.attn.weight'].each['weight'] == (0.1, 0.25)
  assert found['layers.0.mlp.weight'].shared['lambda'] == 2
  assert found['layers.0.mlp.weight'].base == ('base', 'layers.0.mlp.weight')


def test_numbers_of_layers_are_found_in_names():
  assert recipe.layer('model.layers.12.mlp.weight') == 12
  assert recipe.layer('layer3/bias') == 3 and recipe.layer('Dense_2/kernel') == 2
  assert recipe.layer('lm_head.weight') is None
  assert recipe.renumbered('model.layers.1.ln_1.weight', 7) == 'model.layers.7.ln_1.weight'


def test_paths_are_below_the_folder_of_the_recipe(tmp_path):
  (tmp_path / 'a').mkdir()
  made = read(tmp_path, f'merge_method: linear\n{TWO}parameters: {{weight: 1}}')
  assert made.models == [str(tmp_path / 'a'), 'b']
