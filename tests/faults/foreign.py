"""Files of networks, recipes, keys and generators that strangers send, and how they are read."""

import json
import pathlib
import shutil

import jax
import numpy as np

import wsjax
from wsjax import files
from wsjax.cli import merge
from wsjax.experiments.architect import hypernetwork, prediction
from wsjax.experiments.personalize import generator
from wsjax.fusion import recipe, stream
from wsjax.generators.conditions import text
from wsjax.generators.parts import keyed_noise
from wsjax.governance import gates, revocation, signing
from wsjax.interop import checkpoint, exporting, quantized, records, safetensors

GOLDEN = pathlib.Path(__file__).parents[1] / 'interop/golden'
ARRAYS = {'a': np.ones((2, 3), np.float32), 'b': np.arange(4)}
# Name of a target -> whether only its bytes are changed; the others are JSON.
NAMES = {
  'archive.npz': True, 'plain_cnn.pt': True, 'bfloat16.pt': True, 'network.onnx': True,
  'orbax/_METADATA': False, 'orbax/_CHECKPOINT_METADATA': False, 'orbax/manifest.ocdbt': True,
  'hub/config.json': False, 'hub/model.safetensors.index.json': False,
  'hub/model-1.safetensors': True, 'zoo/index_dict.json': False, 'zoo/run/params.json': False,
  'zoo/run/result.json': False, 'records.json': False, 'recipe.yml': False, 'packed.json': False,
  'packed.safetensors': True, 'inputs.npy': True, 'texts.npz': True, 'architect.json': False,
  'hypernetwork.safetensors': True, 'personalize/generator.json': False, 'overrides.json': False,
  'key.pem': True, 'key.pem.pub': True, 'revoked.jsonl': False,
}  # fmt: skip
RECIPE = {
  'merge_method': 'linear',
  'slices': [{'sources': [
    {'model': 'a', 'layer_range': [0, 4], 'parameters': {'weight': 0.5}},
    {'model': 'b', 'layer_range': [2, 6]},
  ]}],
  'parameters': {'weight': [{'filter': 'mlp', 'value': [0, 1]}, {'value': 0.5}]},
  'dtype': 'bfloat16',
}  # fmt: skip


def make(folder):
  """Writes the files; returns name -> (path, how to read, how to spell a value, value)."""
  folder.mkdir()
  read = checkpoint.read
  made = {}

  def add(name, content=None, read=read, spell=json.dumps, value=None):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is not None:
      files.replace(path, content if isinstance(content, str | bytes) else json.dumps(content))
    made[name] = path, read, spell, value

  model = wsjax.mlp((4, 3, 2))
  net = {x.path: np.ones(x.shape, np.float32) for x in model.spec.leaves}
  np.savez(folder / 'archive.npz', **ARRAYS)
  add('archive.npz')
  for name in ('plain_cnn.pt', 'bfloat16.pt'):
    add(name, (GOLDEN / name).read_bytes())
  exporting.export(wsjax.Zoo.of(model, [net]), 'onnx', folder / 'network.onnx')
  add('network.onnx')
  exporting.export(wsjax.Zoo.of(model, [net]), 'orbax', folder / 'orbax')
  for name in ('_METADATA', '_CHECKPOINT_METADATA', 'manifest.ocdbt'):
    add(f'orbax/{name}', read=lambda path: checkpoint.read(path.parent))

  def read_parts(path):
    list(checkpoint.checkpoints(path.parent))
    with stream.opened(path.parent):
      pass

  add('hub/config.json', {'architectures': ['net'], 'width': 3}, read_parts)
  part = folder / 'hub/model-1.safetensors'
  safetensors.write(part, ARRAYS)
  add('hub/model-1.safetensors', read=read_parts)
  index = {'metadata': {'size': 32}, 'weight_map': dict.fromkeys(ARRAYS, part.name)}
  add('hub/model.safetensors.index.json', index, read_parts)

  def read_zoo(_):
    list(checkpoint.checkpoints(folder / 'zoo'))

  add('zoo/index_dict.json', {'layer': [['a', 'b']]}, read_zoo)
  params = {'optim::lr': 0.1, 'optim::optimizer': 'adam', 'model::nlin': 'tanh', 'seed': 3}
  add('zoo/run/params.json', params, read_zoo)
  add('zoo/run/result.json', {'training_iteration': 10, 'test_acc': 0.5}, read_zoo)
  (folder / 'zoo/run/checkpoint_000010').mkdir()
  shutil.copy(GOLDEN / 'mlp.pt', folder / 'zoo/run/checkpoint_000010/checkpoints')
  rows = [{'id': 'one', 'accuracy': 0.5, 'datasets': [{'name': 'x'}]}, {'id': 'two', 'seed': 2}]
  add('records.json', rows, records.read)
  add('recipe.yml', RECIPE, recipe.read)
  _packed(folder, add)
  np.save(folder / 'inputs.npy', ARRAYS['a'])
  add('inputs.npy', read=lambda path: merge.read_inputs(str(path)))
  np.savez(folder / 'texts.npz', texts=np.array(['a', 'b']), vectors=ARRAYS['a'])
  add('texts.npz', read=lambda path: text.Text(path=str(path)))
  _generators(folder, add, model)
  _signed(folder, add)
  return made


def _packed(folder, add):
  """Weights of few bits: the file, and what is said about them."""
  path = folder / 'packed.safetensors'
  codes = quantized.Quantized(np.ones((4, 3), np.int8), np.ones((1, 3), np.float32), 'int4')
  quantized.write(path, {'a': codes, 'b': np.ones(3, np.float32)})
  add('packed.safetensors', read=quantized.read)
  (tensors,) = (dict(x.tensors) for x in safetensors.read(path, ''))

  def read(path):
    other = path.with_name('described.safetensors')
    described = path.read_bytes().decode(errors='replace')
    safetensors.write(other, tensors, {'wsjax.quantized': described})
    quantized.read(other)

  add('packed.json', safetensors.metadata(path)['wsjax.quantized'], read)


def _generators(folder, add, model):
  """Trained hypernetworks, and what is said about them."""
  sizes = {'units': 4, 'width': 8, 'depth': 1, 'num_heads': 2, 'rank': 4, 'code': 4}
  network = hypernetwork.GraphHypernetwork(4, 2, **sizes)
  layers = np.zeros((2, hypernetwork.NUM_FEATURES), np.float32)
  given = layers, np.eye(2, dtype=int), np.ones(2, bool), network.units
  params = network.init(jax.random.key(0), *given)
  facts = {'middle': [0.1] * 4, 'size': 1.0, 'pool': 1, 'record': {'license': 'MIT'}}
  prediction.save(folder / 'seed0', network, params, facts)
  path = folder / 'seed0/hypernetwork.safetensors'
  (tensors,) = (dict(x.tensors) for x in safetensors.read(path, ''))

  def read(given):
    described = given.read_bytes()
    if given.suffix == '.json':
      metadata = {'wsjax.architect': described.decode(errors='replace')}
      safetensors.write(path, tensors, metadata)
    else:
      path.write_bytes(described)
    prediction.load(folder, 0)
    if given.suffix == '.json':
      prediction.predict_weights(model, folder)
      prediction.prepare(np.ones((2, 2, 2, 1)), folder)

  add('hypernetwork.safetensors', path.read_bytes(), read)
  add('architect.json', safetensors.metadata(path)['wsjax.architect'], read)
  workdir = folder / 'personalize'
  workdir.mkdir()
  facts = {'encoder': 'minilm', 'rates': {'4': 0.1}, 'record': {'record_id': 'x'}}
  generator.save(workdir, ARRAYS, facts)
  add('personalize/generator.json', read=lambda path: generator.load(path.parent, ARRAYS))


def _signed(folder, add):
  """Keys, lists of what was revoked, and overrides of gates."""
  private, public = signing.new_key(folder / 'key.pem')
  signer, keys = signing.private_key(private), [signing.public_key(public)]
  add('key.pem', read=lambda path: (signing.private_key(path), keyed_noise.read(path)))
  add('key.pem.pub', read=signing.public_key)
  revocation.revoke([f'wsz:{"ab" * 32}'], 'a test', private, folder / 'revoked.jsonl')
  value = revocation.read(folder / 'revoked.jsonl', keys)

  def spell(value):
    """Signs what was changed."""
    try:
      return signing.sign(value, revocation.TYPE, signer).decode()
    except Exception:  # Of several libraries, for what is no object.
      return json.dumps(value)

  def read(path):
    revocation.reasons([revocation.read(path, keys)])

  add('revoked.jsonl', spell(value), read, spell, value)
  override = {'gate': 'G1', 'name': 'us', 'reason': 'a test', 'expires': '2030-01-01'}
  add('overrides.json', [override], gates.read_overrides)
