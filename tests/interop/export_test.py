"""Networks of ours as files of others: bit by bit, and with the outputs that they have here."""

import json
import os
import pathlib
import shutil
import subprocess

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import wsjax
from tests import marks
from tests.interop import import_test
from wsjax.cli import main as cli
from wsjax.interop import exporting, hub

GOLDEN = pathlib.Path(__file__).parent / 'golden'


class Mixed(nn.Module):
  """Many operations: strides, pooling, norms, gelu, residuals."""

  @nn.compact
  def __call__(self, x):
    x = nn.Conv(6, (3, 3), strides=2)(x)
    x = nn.gelu(nn.LayerNorm()(x))
    x = x + nn.Conv(6, (3, 3), use_bias=False)(x)
    x = nn.max_pool(jnp.pad(x, [(0, 0), (1, 1), (0, 0), (0, 0)]), (2, 2), (1, 1))
    x = nn.silu(nn.Dense(7)(x.reshape(x.shape[0], -1)))
    return nn.log_softmax(nn.Dense(3)(jnp.concatenate([x, jnp.abs(x[:, 1:4])], axis=1)))


def mixed():
  return wsjax.Model.from_flax(Mixed(), jnp.zeros((1, 8, 8, 2)))


MODELS = {
  'mlp': lambda: wsjax.mlp((8, 8, 8, 3), 'tanh'),
  'cnn': lambda: wsjax.cnn((8, 8, 1), (4, 4), (5,), 3),
  'siren': wsjax.siren,
  'mixed': mixed,
}


def networks_of(model, count=2, seed=0):
  nets = [jax.device_get(model.init(jax.random.key(seed + i))) for i in range(count)]
  return wsjax.Zoo.of(model, nets, {'accuracy': np.linspace(0.5, 0.9, count)})


def same(a, b):
  assert set(a) == set(b)
  for path in a:
    assert np.asarray(a[path]).dtype == np.asarray(b[path]).dtype
    np.testing.assert_array_equal(np.asarray(a[path]), np.asarray(b[path]))


@pytest.mark.parametrize('name', MODELS)
@pytest.mark.parametrize('format', ['safetensors', 'npz', 'torch', 'orbax', 'hub'])
def test_what_goes_out_comes_back_bit_by_bit(name, format, tmp_path):
  model = MODELS[name]()
  zoo = networks_of(model)
  written = wsjax.export(zoo, format, tmp_path / 'out')
  assert len(written) == 2
  back = wsjax.import_checkpoints(model, tmp_path / 'out')
  for i in range(2):
    same(back.networks()[i], zoo.networks()[i])


@pytest.mark.parametrize('name', import_test.MODELS)
def test_a_state_dict_goes_through_unchanged(name, tmp_path):
  model = import_test.MODELS[name]()
  source = GOLDEN / f'{name}.pt'
  zoo = wsjax.import_checkpoints(model, source)
  (file,) = wsjax.export(zoo, 'torch', tmp_path / 'a.safetensors', like=source)
  same(wsjax.interop.read(file), wsjax.interop.read(source))


def test_half_precision_goes_through_unchanged(tmp_path):
  model = wsjax.mlp((8, 8, 8, 3), 'tanh')
  zoo = wsjax.import_checkpoints(model, GOLDEN / 'bfloat16.pt')
  (file,) = wsjax.export(zoo, 'torch', tmp_path / 'a.safetensors', like=GOLDEN / 'bfloat16.pt')
  same(wsjax.interop.read(file), wsjax.interop.read(GOLDEN / 'bfloat16.pt'))
  with pytest.raises(ValueError, match='bfloat16.*use safetensors'):
    wsjax.export(zoo, 'npz', tmp_path / 'a.npz')


@pytest.mark.parametrize('name', marks.slow(MODELS, 'cnn', 'siren'))
def test_onnx_and_stablehlo_compute_what_the_model_computes(name, tmp_path):
  runtime = pytest.importorskip('onnxruntime')
  model = MODELS[name]()
  zoo = networks_of(model, 1)
  inputs = np.random.default_rng(0).normal(size=(5, *model.input_shape)).astype(np.float32)
  expected = model.apply(zoo.networks()[0], inputs)
  (file,) = wsjax.export(zoo, 'onnx', tmp_path / 'net.onnx')
  session = runtime.InferenceSession(str(file), providers=['CPUExecutionProvider'])
  np.testing.assert_allclose(session.run(None, {'inputs': inputs})[0], expected, atol=1e-5)
  np.testing.assert_allclose(session.run(None, {'inputs': inputs[:1]})[0], expected[:1], atol=1e-5)
  (file,) = wsjax.export(zoo, 'stablehlo', tmp_path / 'net.stablehlo')
  run = jax.export.deserialize(bytearray(file.read_bytes()))
  np.testing.assert_allclose(run.call(inputs), expected, atol=1e-5)
  back = wsjax.import_checkpoints(model, tmp_path / 'net.onnx')
  same(back.networks()[0], zoo.networks()[0])


@pytest.mark.parametrize('name', MODELS)
def test_litert_computes_what_the_model_computes(name, tmp_path):
  """With litert-converter and ai-edge-litert, which are not in the lock file."""
  pytest.importorskip('litert_converter', reason="pip install 'wsjax[litert]'")
  interpreter = pytest.importorskip('ai_edge_litert.interpreter', reason='pip: ai-edge-litert')
  model = MODELS[name]()
  zoo = networks_of(model, 1)
  (file,) = wsjax.export(zoo, 'litert', tmp_path / 'net.tflite')
  run = interpreter.Interpreter(model_path=str(file)).get_signature_runner()
  for count in (1,) if name == 'mixed' else (1, 5):  # It has a pooling.
    inputs = np.random.default_rng(0).normal(size=(count, *model.input_shape)).astype(np.float32)
    outputs = run(inputs=inputs)['outputs']
    np.testing.assert_allclose(outputs, model.apply(zoo.networks()[0], inputs), atol=1e-5)


def test_what_litert_cannot_hold_is_named(tmp_path):
  pytest.importorskip('litert_converter', reason="pip install 'wsjax[litert]'")
  params = {'w': jnp.ones((3, 2))}
  model = wsjax.Model.from_function(
    lambda p, x: jnp.fft.fft(x @ p['w']).real, params, jnp.zeros((1, 3)), name='spectrum'
  )
  with pytest.raises(ValueError, match='spectrum cannot be a LiteRT model: '):
    wsjax.export(params, 'litert', tmp_path / 'net.tflite', model=model)


def test_an_onnx_file_of_pytorch_is_compared_with_what_it_computes(tmp_path):
  """Gemm with transB, Conv, a flatten in PyTorch's order; a network that is another is refused."""
  onnx = pytest.importorskip('onnx')
  pytest.importorskip('onnxruntime')
  from onnx import helper, numpy_helper

  tensors = wsjax.interop.read(GOLDEN / 'plain_cnn.pt')
  inputs = [helper.make_tensor_value_info('x', 1, ['b', 1, 6, 6])]
  nodes = [
    helper.make_node('Conv', ['x', '0.weight', '0.bias'], ['a'], pads=[1, 1, 1, 1]),
    helper.make_node('Relu', ['a'], ['b']),
    helper.make_node('AveragePool', ['b'], ['c'], kernel_shape=[2, 2], strides=[2, 2]),
    helper.make_node('Flatten', ['c'], ['d']),
    helper.make_node('Gemm', ['d', 'onnx::Gemm_1', 'b1'], ['e'], transB=1),
    helper.make_node('Relu', ['e'], ['f']),
    helper.make_node('Gemm', ['f', 'onnx::Gemm_2', 'b2'], ['g'], transB=1),
  ]
  named = {'4.weight': 'onnx::Gemm_1', '4.bias': 'b1', '6.weight': 'onnx::Gemm_2', '6.bias': 'b2'}
  weights = [numpy_helper.from_array(v, named.get(k, k)) for k, v in tensors.items()]
  graph = helper.make_graph(
    nodes, 'g', inputs, [helper.make_tensor_value_info('g', 1, ['b', 3])], weights
  )
  made = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=9)
  onnx.save(made, tmp_path / 'net.onnx')
  found = wsjax.import_checkpoints(import_test.MODELS['plain_cnn'](), tmp_path / 'net.onnx')
  given = wsjax.import_checkpoints(import_test.MODELS['plain_cnn'](), GOLDEN / 'plain_cnn.pt')
  same(found.networks()[0], given.networks()[0])
  other = wsjax.cnn((6, 6, 1), (4,), (5,), 3, 'tanh')
  with pytest.raises(ValueError, match=r'net.onnx: the model does not compute'):
    wsjax.import_checkpoints(other, tmp_path / 'net.onnx')
  (tmp_path / 'bad.onnx').write_bytes(b'\x08\xff' * 20)
  with pytest.raises(ValueError, match='bad.onnx'):
    wsjax.interop.read(tmp_path / 'bad.onnx')


def test_an_adapter_of_an_image_model_has_windows_and_a_classifier(tmp_path):
  """Of a convolution the input is a window; `modules_to_save` are layers that compute W x + b."""
  rng, start = np.random.default_rng(0), 'base_model.model'
  shapes = {
    f'{start}.vit.query.lora_A.weight': (2, 6),
    f'{start}.vit.query.lora_B.weight': (6, 2),
    f'{start}.vit.patches.lora_A.weight': (2, 3, 2, 2),
    f'{start}.vit.patches.lora_B.weight': (6, 2, 1, 1),
    f'{start}.classifier.weight': (4, 6),
    f'{start}.classifier.bias': (4,),
    f'{start}.norm.weight': (6,),
  }
  tensors = {name: rng.normal(size=shape).astype('f4') for name, shape in shapes.items()}
  config = {'peft_type': 'LORA', 'r': 2, 'lora_alpha': 2, 'target_modules': ['query', 'patches']}
  config['modules_to_save'] = ['classifier', 'norm']
  folder = tmp_path / 'adapter'
  folder.mkdir()
  safetensors.numpy.save_file(tensors, folder / 'adapter_model.safetensors', {'format': 'pt'})
  (folder / 'adapter_config.json').write_text(json.dumps(config))
  zoo = wsjax.import_checkpoints(None, folder)
  wsjax.testing.check_model(zoo.model)
  assert [group.size for group in zoo.spec.groups] == [2, 2]
  window, x, image, y = (rng.normal(size=size).astype('f4') for size in (12, 6, 6, 6))
  outputs = zoo.model.apply(zoo.networks()[0], np.concatenate([window, x, image, y])[None])[0]
  a, b = (tensors[f'{start}.vit.patches.lora_{end}.weight'] for end in 'AB')
  np.testing.assert_allclose(outputs[:6], b[:, :, 0, 0] @ (a.reshape(2, 12) @ window), rtol=1e-4)
  logits = tensors[f'{start}.classifier.weight'] @ image + tensors[f'{start}.classifier.bias']
  np.testing.assert_allclose(outputs[12:16], logits, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(outputs[16:], tensors[f'{start}.norm.weight'] * y, rtol=1e-5)
  wsjax.export(zoo, 'peft', tmp_path / 'out')
  same(wsjax.interop.read(tmp_path / 'out/adapter_model.safetensors'), tensors)
  written = json.loads((tmp_path / 'out/adapter_config.json').read_text())
  assert written['modules_to_save'] == config['modules_to_save']
  tensors[f'{start}.words.lora_embedding_A'] = np.zeros((2, 6), 'f4')
  safetensors.numpy.save_file(tensors, folder / 'adapter_model.safetensors')
  with pytest.raises(ValueError, match='other tensors than'):
    wsjax.import_checkpoints(None, folder)


def test_an_adapter_of_peft_goes_in_and_out(tmp_path):
  zoo = wsjax.import_checkpoints(None, GOLDEN / 'adapter', out=tmp_path / 'zoo')
  params, model = zoo.networks()[0], zoo.model
  deltas = np.load(GOLDEN / 'adapter.npz')
  inputs = np.eye(10, dtype=np.float32)  # 'down' takes 4 inputs, 'up' 6.
  outputs = np.asarray(model.apply(params, inputs))
  np.testing.assert_allclose(outputs[:4, :6].T, deltas['base_model.model.down'], atol=1e-5)
  np.testing.assert_allclose(outputs[4:, 6:].T, deltas['base_model.model.up'], atol=1e-5)
  wsjax.testing.check_model(model)
  wsjax.export(wsjax.Zoo.open(tmp_path / 'zoo'), 'peft', tmp_path / 'out')
  same(
    wsjax.interop.read(tmp_path / 'out/adapter_model.safetensors'),
    wsjax.interop.read(GOLDEN / 'adapter/adapter_model.safetensors'),
  )
  config = json.loads((tmp_path / 'out/adapter_config.json').read_text())
  assert (config['r'], config['lora_alpha'], config['target_modules']) == (2, 6, ['down', 'up'])
  folder = tmp_path / 'changed'
  shutil.copytree(GOLDEN / 'adapter', folder)
  given = json.loads((folder / 'adapter_config.json').read_text())

  def change(**fields):
    (folder / 'adapter_config.json').write_text(json.dumps({**given, **fields}))
    return wsjax.import_checkpoints(None, folder)

  rank_stabilized = change(use_rslora=True, fan_in_fan_out=True)
  scaled = rank_stabilized.model.apply(rank_stabilized.networks()[0], inputs)
  np.testing.assert_allclose(scaled, outputs * 2**0.5, rtol=1e-5)
  wsjax.export(rank_stabilized, 'peft', tmp_path / 'rslora')
  config = json.loads((tmp_path / 'rslora/adapter_config.json').read_text())
  assert config['use_rslora'] and config['fan_in_fan_out']
  for field in ('use_dora', 'alpha_pattern'):
    with pytest.raises(ValueError, match=field):
      change(**{field: {'x': 3}})
  with pytest.raises(ValueError, match='holds adapters'):
    wsjax.export(networks_of(wsjax.mlp((2, 2))), 'peft', tmp_path / 'no')


def test_the_command_writes_what_is_asked_for(tmp_path, capsys):
  model = wsjax.mlp((4, 3, 2), 'tanh')
  networks_of(model, 5).save(tmp_path / 'zoo')
  words = ['export', str(tmp_path / 'zoo'), '--out', str(tmp_path / 'out')]
  assert cli.main([*words, '--format', 'torch', '--where', 'accuracy > 0.65']) == 0
  assert '3 networks' in capsys.readouterr().out
  assert len(list((tmp_path / 'out').iterdir())) == 3
  for wrong, message in (
    (['--format', 'torch'], 'is there already'),
    (['--format', 'torch', '--rows', '9'], 'got indices from 9'),
    (['--format', 'paper'], 'invalid choice'),
    (['--format', 'npz', '--like', 'x'], "for format 'torch'"),
  ):
    assert cli.main([*words, *wrong]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count('\n') == 1


def test_the_command_and_the_function_have_the_same_formats():
  from wsjax.cli import export as command

  assert command.FORMATS == tuple(exporting.FORMATS)


def test_the_cache_of_the_hub_is_read_offline(tmp_path, monkeypatch):
  library = pytest.importorskip('huggingface_hub')
  model = wsjax.mlp((4, 3, 2), 'tanh')
  zoo = networks_of(model, 1)
  folder = tmp_path / 'models--us--net'
  wsjax.export(zoo, 'hub', folder / 'snapshots/abc')
  (folder / 'refs').mkdir()
  (folder / 'refs/main').write_text('abc')
  download = library.snapshot_download
  monkeypatch.setattr(
    library, 'snapshot_download',
    lambda *args, **options: download(*args, **options, cache_dir=tmp_path, local_files_only=True),
  )  # fmt: skip
  same(wsjax.import_checkpoints(model, 'hub:us/net').networks()[0], zoo.networks()[0])
  for name in ('hub:us/other', 'hub:../x', 'hub:'):
    with pytest.raises(ValueError, match='cannot be had|is no repository'):
      wsjax.import_checkpoints(model, name)


def test_a_card_says_what_the_record_says_and_nothing_more():
  record = networks_of(wsjax.mlp((2, 2)), 1).records[0]
  text = hub.card({**record, 'attribution': ['<script>|\n# me'], 'license': 'MIT'})
  assert 'license: "MIT"' in text and '| accuracy (val) | 0.5 |' in text
  assert '<script>' not in text and '\n# me' not in text


def model_zoo(folder):
  """Two runs of a CNN as the ModelZoo project publishes them."""
  for run in range(2):
    place = folder / f'NN_tune_{run:05d}'
    for epoch in (0, 5):
      (place / f'checkpoint_{epoch:06d}').mkdir(parents=True)
      content = (GOLDEN / 'plain_cnn.pt').read_bytes()
      (place / f'checkpoint_{epoch:06d}/checkpoints').write_bytes(content)
    config = {'seed': run, 'optim::optimizer': 'Adam', 'optim::lr': 1e-3, 'model::nlin': 'relu'}
    (place / 'params.json').write_text(json.dumps(config))
    rows = [
      {'training_iteration': e, 'test_acc': 0.1 * e, 'train_loss': 1 / (1 + e)} for e in (0, 5)
    ]
    (place / 'result.json').write_text('\n'.join(map(json.dumps, rows)) + '\n')
  (folder / 'index_dict.json').write_text('{"layer": []}')
  return folder


def test_a_folder_of_the_model_zoo_project_is_read(tmp_path):
  model = import_test.MODELS['plain_cnn']()
  zoo = wsjax.import_checkpoints(model, model_zoo(tmp_path / 'in'), out=tmp_path / 'zoo')
  assert len(zoo) == 4 and len(zoo.select(split='train', final=True)) == 2
  assert list(zoo.column('test_acc')) == [0, 0.5, 0, 0.5]
  assert zoo.column('optimizer/hparams/learning_rate')[0] == 1e-3
  assert list(zoo.column('seed/init')) == [0, 0, 1, 1]
  (tmp_path / 'in/NN_tune_00001/params.json').write_text('[')
  with pytest.raises(ValueError, match=r'params.json is not JSON'):
    wsjax.import_checkpoints(model, tmp_path / 'in')


def test_pytorch_loads_what_is_written(tmp_path):
  """With WSJAX_TORCH, the Python of an environment that has PyTorch."""
  python = os.environ.get('WSJAX_TORCH')
  if not python:
    pytest.skip('set WSJAX_TORCH to a Python that has torch and safetensors')
  for name in ('mlp', 'cnn', 'plain_cnn', 'transposed'):
    zoo = wsjax.import_checkpoints(import_test.MODELS[name](), GOLDEN / f'{name}.pt')
    wsjax.export(zoo, 'torch', tmp_path / f'{name}.safetensors', like=GOLDEN / f'{name}.pt')
  script = (
    'import sys, numpy, torch, safetensors.torch as s; sys.path.insert(0, sys.argv[1])\n'
    'import make\n'
    'for name, (net, _) in make.NETWORKS.items():\n'
    '  net = net(); net.load_state_dict(s.load_file(f"{sys.argv[2]}/{name}.safetensors"))\n'
    '  given = numpy.load(f"{sys.argv[1]}/{name}.npz")\n'
    '  out = net.eval()(torch.tensor(given["inputs"])).detach().numpy()\n'
    '  assert abs(out - given["outputs"]).max() < 1e-5, name\n'
  )
  subprocess.run([python, '-c', script, str(GOLDEN), str(tmp_path)], check=True)
