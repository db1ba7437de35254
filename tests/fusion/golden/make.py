"""Merges a tiny model with mergekit's own command, for `tests/fusion/golden_test.py`.

It needs an environment of its own, with mergekit 0.1.5 and torch:

  python make.py           # writes golden.npz: every network as one vector, tensors by name
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import safetensors.numpy

HIDDEN, INNER, VOCAB, LAYERS = 4, 4, 6, 2
MODELS = ('base', 'a', 'b', 'c')


def shapes():
  """Name -> shape of the tensors of a tiny Llama."""
  found = {
    'model.embed_tokens.weight': (VOCAB, HIDDEN),
    'model.norm.weight': (HIDDEN,),
    'lm_head.weight': (VOCAB, HIDDEN),
  }
  for i in range(LAYERS):
    layer = f'model.layers.{i}'
    for name in 'qkvo':
      found[f'{layer}.self_attn.{name}_proj.weight'] = HIDDEN, HIDDEN
    found[f'{layer}.mlp.gate_proj.weight'] = found[f'{layer}.mlp.up_proj.weight'] = INNER, HIDDEN
    found[f'{layer}.mlp.down_proj.weight'] = HIDDEN, INNER
    for name in ('input', 'post_attention'):
      found[f'{layer}.{name}_layernorm.weight'] = (HIDDEN,)
  return found


def inputs():
  """Model -> name -> tensor; a, b and c are near the base."""
  rng = np.random.default_rng(0)
  base = {name: rng.normal(size=shape).astype('f') for name, shape in shapes().items()}
  made = {'base': base}
  for model in MODELS[1:]:
    made[model] = {
      name: (x + 0.3 * rng.normal(size=x.shape)).astype('f') for name, x in base.items()
    }
  return made


def uniform(shape):
  """Numbers in [0, 1) that depend on the shape alone, in place of random ones."""
  return np.random.default_rng(sum(shape)).random(shape).astype('f')


def recipes():
  """Name -> recipe, without dtype; models are named by their letters."""

  def of(method, weights=(0.5, 0.3, 0.4), base=True, each=None, **parameters):
    names = ['a', 'b', 'c'][: len(weights)]
    models = [
      {'model': name, 'parameters': {'weight': w, **(each or {})}}
      for name, w in zip(names, weights, strict=True)
    ]
    made = {'merge_method': method, 'models': models, 'parameters': parameters}
    return made | ({'base_model': 'base'} if base else {})

  def plain(method, count, base, **parameters):
    models = [{'model': name} for name in ['a', 'b', 'c'][:count]]
    made = {'merge_method': method, 'models': models, 'parameters': parameters}
    return made | ({'base_model': base} if base else {})

  return {
    'linear': of('linear', base=False),
    'linear_sum': of('linear', base=False, normalize=False),
    'slerp': plain('slerp', 2, 'a', t=0.3),
    'slerp_gradient': plain(
      'slerp',
      2,
      'a',
      t=[
        {'filter': 'self_attn', 'value': [0.1, 0.9]},
        {'filter': 'mlp', 'value': [1, 0.5, 0]},
        {'value': 0.4},
      ],
    ),
    'nuslerp': of('nuslerp', (0.7, 0.2), base=False),
    'nuslerp_rows': of('nuslerp', (0.7, 0.2), nuslerp_flatten=False, nuslerp_row_wise=True),
    'multislerp': of('multislerp', base=False),
    'multislerp_base': of('multislerp'),
    'karcher': plain('karcher', 3, None),
    'task_arithmetic': of('task_arithmetic'),
    'task_arithmetic_lambda': of('task_arithmetic', **{'lambda': 0.7, 'normalize': True}),
    'ties': of('ties', each={'density': 0.4}),
    'ties_gradient': of('ties', each={'density': [0.2, 0.8]}, **{'lambda': 1.3}),
    'breadcrumbs': of('breadcrumbs', each={'density': 0.6, 'gamma': 0.1}),
    'breadcrumbs_ties': of('breadcrumbs_ties', each={'density': 0.6, 'gamma': 0.1}),
    'sce': plain('sce', 3, 'base', select_topk=0.5),
    'model_stock': plain('model_stock', 3, 'base'),
    'model_stock_filters': plain('model_stock', 3, 'base', filter_wise=True),
    'nearswap': plain('nearswap', 1, 'base', t=0.05),
    'slices': {
      'merge_method': 'linear',
      'slices': [
        {'sources': [{'model': 'a', 'layer_range': [0, 2], 'parameters': {'weight': 0.25}},
                     {'model': 'b', 'layer_range': [0, 2], 'parameters': {'weight': 0.75}}]},
        {'sources': [{'model': 'c', 'layer_range': [1, 2]}, {'model': 'a', 'layer_range': [0, 1]}],
         'parameters': {'weight': [0.5]}},
      ],
    },
    'passthrough': {
      'merge_method': 'passthrough',
      'slices': [
        {'sources': [{'model': 'a', 'layer_range': [0, 2]}]},
        {'sources': [{'model': 'b', 'layer_range': [0, 1], 'parameters': {
          'scale': [{'filter': 'o_proj', 'value': 0.5}, {'value': 1.0}]}}]},
      ],
    },
    'random_dare_linear': of('dare_linear', each={'density': 0.5}),
    'random_dare_ties': of('dare_ties', each={'density': 0.5}),
    'random_della': of('della', each={'density': 0.5, 'epsilon': 0.2}),
    'random_della_linear': of('della_linear', each={'density': 0.5, 'epsilon': 0.2}),
  }  # fmt: skip


def flat(tensors):
  """One vector, tensors sorted by name."""
  return np.concatenate([tensors[name].ravel() for name in sorted(tensors)])


def write(folder, tensors):
  """Writes a model as mergekit reads it."""
  folder.mkdir()
  config = {
    'architectures': ['LlamaForCausalLM'], 'model_type': 'llama', 'hidden_size': HIDDEN,
    'intermediate_size': INNER, 'num_hidden_layers': LAYERS, 'vocab_size': VOCAB,
    'num_attention_heads': 1, 'num_key_value_heads': 1, 'tie_word_embeddings': False,
  }  # fmt: skip
  (folder / 'config.json').write_text(json.dumps(config))
  safetensors.numpy.save_file(tensors, folder / 'model.safetensors', {'format': 'pt'})


# Runs mergekit's command with random masks that depend on the shape alone.
COMMAND = """
import sys
import torch
from make import uniform
def bernoulli(p, **_):
  return (torch.from_numpy(uniform(tuple(p.shape))) < p).to(p.dtype)
torch.bernoulli = bernoulli
from mergekit.scripts.run_yaml import main
main()
"""


def main(out):
  """Writes the files."""
  import yaml

  given = inputs()
  found = {f'inputs/{model}': flat(net) for model, net in given.items()}
  with tempfile.TemporaryDirectory() as place:
    place = pathlib.Path(place)
    for model, net in given.items():
      write(place / model, net)
    for name, recipe in recipes().items():
      (place / f'{name}.yml').write_text(yaml.safe_dump({**recipe, 'dtype': 'float32'}))
      words = [f'{name}.yml', f'out_{name}', '--no-copy-tokenizer', '--no-write-model-card']
      here = str(pathlib.Path(__file__).parent)
      subprocess.run(
        [sys.executable, '-c', COMMAND, *words], cwd=place, check=True, env={'PYTHONPATH': here}
      )
      merged = {}
      for file in (place / f'out_{name}').glob('*.safetensors'):
        merged |= safetensors.numpy.load_file(file)
      found[f'outputs/{name}'] = flat(merged)
  np.savez_compressed(out, **found)


if __name__ == '__main__':
  main(pathlib.Path(__file__).parent / 'golden.npz')
