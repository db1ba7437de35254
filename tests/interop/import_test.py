"""Networks of others: read, laid out as the model has them, and described."""

import collections
import io
import json
import pathlib
import pickle  # noqa: TID251
import random
import zipfile

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import wsjax
from wsjax import testing
from wsjax.cli import main as cli
from wsjax.interop import checkpoint

GOLDEN = pathlib.Path(__file__).parent / 'golden'


class Convolutions(nn.Module):
  """golden/cnn.pt in Flax."""

  @nn.compact
  def __call__(self, x):
    x = nn.relu(nn.BatchNorm(use_running_average=True)(nn.Conv(4, (3, 3))(x)))
    x = nn.avg_pool(nn.relu(nn.Conv(4, (3, 3))(x)), (2, 2), (2, 2)).reshape(x.shape[0], -1)
    return nn.Dense(5)(nn.relu(nn.Dense(5)(x)))


class Transposed(nn.Module):
  """golden/transposed.pt in Flax."""

  @nn.compact
  def __call__(self, x):
    x = nn.relu(nn.ConvTranspose(2, (3, 3), padding='VALID')(x))
    return nn.ConvTranspose(1, (2, 2), padding='VALID')(x)


def flax_cnn():
  return wsjax.Model.from_flax(Convolutions(), jnp.zeros((1, 6, 6, 1)))


MODELS = {
  'mlp': lambda: wsjax.mlp((8, 8, 8, 3), 'tanh'),
  'plain_cnn': lambda: wsjax.cnn((6, 6, 1), (4,), (5,), 3),
  'cnn': flax_cnn,
  'transposed': lambda: wsjax.Model.from_flax(Transposed(), jnp.zeros((1, 4, 4, 2))),
}


def golden(name):
  """Inputs and outputs of a network, channels last."""
  arrays = np.load(GOLDEN / f'{name}.npz')
  return [
    x.transpose(0, 2, 3, 1) if x.ndim == 4 else x for x in (arrays['inputs'], arrays['outputs'])
  ]


@pytest.mark.parametrize('name', MODELS)
def test_a_state_dict_computes_what_pytorch_computes(name):
  zoo = wsjax.import_checkpoints(MODELS[name](), GOLDEN / f'{name}.pt')
  inputs, outputs = golden(name)
  np.testing.assert_allclose(zoo.model.apply(zoo.networks()[0], inputs), outputs, atol=1e-5)


@pytest.mark.parametrize('name', ['mlp', 'cnn'])
def test_imported_networks_obey_the_laws_of_symmetry(name):
  zoo = wsjax.import_checkpoints(MODELS[name](), GOLDEN / f'{name}.pt')
  inputs, outputs = golden(name)
  spec = zoo.model.spec
  moved = spec.act(spec.random(jax.random.key(0)), zoo.networks()[0])
  np.testing.assert_allclose(zoo.model.apply(moved, inputs), outputs, atol=1e-4)
  testing.check_model(zoo.model)


def test_half_precision_is_kept_bit_by_bit(tmp_path):
  model = wsjax.mlp((8, 8, 8, 3), 'tanh')
  zoo = wsjax.import_checkpoints(model, GOLDEN / 'bfloat16.pt', out=tmp_path / 'zoo')
  params, bits = zoo.networks()[0], np.load(GOLDEN / 'bfloat16.npz')
  for i, name in enumerate(('fc1', 'fc2', 'head')):
    assert params[f'layer{i}/kernel'].dtype == jnp.bfloat16
    stored = np.ascontiguousarray(params[f'layer{i}/kernel'].T).view(np.int16)
    np.testing.assert_array_equal(stored, bits[f'{name}.weight'])


def random_networks(model, count):
  return [jax.device_get(model.init(jax.random.key(i))) for i in range(count)]


def torch_tensors(params):
  """An MLP of ours as PyTorch would have it."""
  return {
    path.replace('/kernel', '.weight').replace('/', '.'): np.ascontiguousarray(np.asarray(x).T)
    for path, x in params.items()
  }


def folder_of(tmp_path, count=12):
  """Files and a table of a zoo: returns the model and its networks."""
  model = wsjax.mlp((4, 5, 5, 3), 'tanh')
  nets = random_networks(model, count)
  (tmp_path / 'ckpts').mkdir()
  rows = ['file,accuracy,optimizer,learning_rate,run_id,note']
  for i, net in enumerate(nets):
    safetensors.numpy.save_file(
      torch_tensors(net), tmp_path / f'ckpts/net{i}.safetensors', {'format': 'pt'}
    )
    rows.append(
      f'net{i}.safetensors,0.{50 + i},adam,1e-{1 + i % 3},run{i // 2},{"" if i else "first"}'
    )
  (tmp_path / 'runs.csv').write_text('\n'.join(rows) + '\n')
  (tmp_path / 'my.py').write_text(
    'import wsjax\ndef net():\n  return wsjax.mlp((4, 5, 5, 3), "tanh")\n'
  )
  return model, nets


def test_the_command_makes_a_zoo_of_files_and_a_table(tmp_path, capsys):
  _, nets = folder_of(tmp_path)
  words = f'zoo import --model {tmp_path}/my.py:net --from {tmp_path}/ckpts/*.safetensors'
  words += f' --records {tmp_path}/runs.csv --out {tmp_path}/zoo --split train=0.5,test=0.5'
  assert cli.main(words.split()) == 0
  assert '12 networks' in capsys.readouterr().out
  zoo = wsjax.Zoo.open(tmp_path / 'zoo')
  assert zoo.keys[2] == 'net2' and zoo.keys[-1] == 'net11'
  for i in (0, 11):
    params = {path: x[0] for path, x in zoo.params([i]).items()}
    jax.tree.map(np.testing.assert_array_equal, params, nets[i])
  assert zoo.column('final/val/accuracy')[1] == 0.51
  assert set(zoo.column('optimizer/name')) == {'adam'}
  assert zoo.column('run_id')[5] == 'run2' and zoo.column('learning_rate')[2] == 1e-3
  assert set(zoo.column('split')) == {'train', 'test'}
  assert len(zoo.query('accuracy > 0.55 and optimizer == "adam"')) == 6


def test_safetensors_npz_stacks_and_arrays_are_read_alike(tmp_path):
  model = wsjax.mlp((4, 6, 6, 3), 'relu')
  nets = random_networks(model, 3)
  stacked = {path: np.stack([net[path] for net in nets]) for path in nets[0]}
  safetensors.numpy.save_file(stacked, tmp_path / 'stack.safetensors')
  np.savez(tmp_path / 'stack.npz', **stacked)
  np.savez(
    tmp_path / 'ids.npz', **{f'n{i}:{k}': v for i, n in enumerate(nets) for k, v in n.items()}
  )
  nested = {
    f'n{i}': {'params': {k.replace('/', '.'): v for k, v in net.items()}}
    for i, net in enumerate(nets)
  }
  for source in (
    tmp_path / 'stack.safetensors',
    tmp_path / 'stack.npz',
    tmp_path / 'ids.npz',
    nested,
  ):
    zoo = wsjax.import_checkpoints(model, source)
    assert len(zoo) == 3
    jax.tree.map(np.testing.assert_array_equal, dict(zoo.networks()[2]), nets[2])
  assert len(wsjax.import_checkpoints(model, [tmp_path / 'stack.npz', tmp_path / 'ids.npz'])) == 6


def test_names_and_shapes_decide_or_nobody_does(tmp_path):
  model = wsjax.mlp((5, 5, 5), 'relu')
  net = {k: np.asarray(v) for k, v in random_networks(model, 1)[0].items()}
  odd = {k.replace('/kernel', '.matrix').replace('layer', 'w'): v for k, v in net.items()}
  with pytest.raises(ValueError, match='no tensor becomes'):
    wsjax.import_checkpoints(model, {'a': odd})
  unnamed = {k.replace('/kernel', '.w').replace('/bias', '.b'): v for k, v in net.items()}
  with pytest.raises(ValueError, match='ambiguous.*torch, jax, same'):
    wsjax.import_checkpoints(model, {'a': unnamed})
  as_is = wsjax.import_checkpoints(model, {'a': unnamed}, layout='jax').networks()[0]
  np.testing.assert_array_equal(as_is['layer0/kernel'], net['layer0/kernel'])
  turned = wsjax.import_checkpoints(model, {'a': unnamed}, layout='torch').networks()[0]
  np.testing.assert_array_equal(turned['layer0/kernel'], net['layer0/kernel'].T)
  x = np.ones((2, 5), np.float32) * np.arange(5, dtype=np.float32)
  found = wsjax.import_checkpoints(model, {'a': unnamed}, check=(x, model.apply(net, x)))
  np.testing.assert_array_equal(found.networks()[0]['layer0/kernel'], net['layer0/kernel'])
  with pytest.raises(ValueError, match='does not compute'):
    wsjax.import_checkpoints(model, {'a': unnamed}, check=(x, x + 1))
  swapped = {'hidden.kernel': net['layer0/kernel'], 'hidden.bias': net['layer0/bias'],
             'middle.kernel': net['layer1/kernel'], 'middle.bias': net['layer1/bias']}  # fmt: skip
  with pytest.raises(ValueError, match='do not tell which'):
    wsjax.import_checkpoints(model, {'a': swapped})
  names = {'hidden.kernel': 'layer0/kernel', 'hidden.bias': 'layer0/bias'}
  told = wsjax.import_checkpoints(model, {'a': swapped}, names=names).networks()[0]
  jax.tree.map(np.testing.assert_array_equal, dict(told), net)
  checked = wsjax.import_checkpoints(model, {'a': swapped}, check=(x, model.apply(net, x)))
  jax.tree.map(np.testing.assert_array_equal, dict(checked.networks()[0]), net)
  # Names say [out, in], the shape of one matrix says [in, out]: squares are not guessed.
  model = wsjax.mlp((4, 5, 5), 'relu')
  net = random_networks(model, 1)[0]
  wrong = {k.replace('/kernel', '.weight').replace('/', '.'): v for k, v in net.items()}
  with pytest.raises(ValueError, match='contradict'):
    wsjax.import_checkpoints(model, {'a': wrong})
  assert len(wsjax.import_checkpoints(model, {'a': wrong}, layout='jax')) == 1


def test_what_is_unused_must_be_named():
  model = wsjax.mlp((4, 5, 3), 'tanh')
  net = torch_tensors(random_networks(model, 1)[0])
  net = {f'module.pi.{k}': v for k, v in net.items()} | {'module.log_std': np.zeros(3, np.float32)}
  with pytest.raises(ValueError, match=r'no parameter takes module.log_std \[3\]'):
    wsjax.import_checkpoints(model, {'a': net})
  assert len(wsjax.import_checkpoints(model, {'a': net}, ignore=['*log_std'])) == 1


def test_networks_of_many_widths_and_a_text_format_of_ones_own():
  """A zoo in a text format, read by its user."""
  text = 'one 3 2 ' + ' '.join(map(str, range(8))) + '\ntwo 2 2 ' + ' '.join(map(str, range(6)))
  networks = {}
  for line in text.splitlines():
    name, i, o, *numbers = line.split()
    values = np.array(numbers, np.float32)
    i, o = int(i), int(o)
    networks[name] = {'w0': values[: i * o].reshape(i, o), 'b0': values[i * o :]}
  zoo = wsjax.import_checkpoints(
    lambda tensors: wsjax.mlp(tensors['w0'].shape, 'tanh'), networks, layout='jax'
  )
  assert [d.spec.num_params for d in zoo.architectures] == [8, 6]
  assert zoo.params([1])['layer0/kernel'].shape == (1, 2, 2)


def archive(pickled, **storages):
  made = io.BytesIO()
  with zipfile.ZipFile(made, 'w') as file:
    file.writestr('a/data.pkl', pickled)
    for key, content in storages.items():
      file.writestr(f'a/data/{key}', content)
  return made.getvalue()


class Evil:
  def __reduce__(self):
    return pathlib.Path.touch, (pathlib.Path('/tmp/wsjax_was_here'),)


def nested_pickle():
  value = ()
  for _ in range(60):
    value = (value, value)
  return pickle.dumps({'a': value}, 2)


HOSTILE = {
  'code.pt': archive(pickle.dumps({'w': Evil()}, 2)),
  'code_by_name.pt': archive(pickle.dumps({'w': Evil()}, 4)),
  'doubling.pt': archive(nested_pickle()),
  'no_tensors.pt': archive(pickle.dumps(collections.OrderedDict(), 2)),
  'no_zip.pt': b'PK' + bytes(50),
  'old.pt': pickle.dumps(0x1950A86A20F9469CFC6C, 2),
  'huge_string.pt': archive(b'\x80\x02X\xff\xff\xff\x7fa.'),
  'empty_stack.pt': archive(b'\x80\x02ss.'),
  'no_header.safetensors': b'\xff' * 40,
  'twice.safetensors': (lambda h: len(h).to_bytes(8, 'little') + h)(b'{"a": {}, "a": {}}'),
  'control.safetensors': (lambda h: len(h).to_bytes(8, 'little') + h)(
    json.dumps({'\x1b[2J': {'dtype': 'F32', 'shape': [0], 'data_offsets': [0, 0]}}).encode()
  ),
  'empty.safetensors': b'',
  'text.npz': b'hello',
  'what.xyz': b'',
}


@pytest.mark.parametrize('name', HOSTILE)
def test_a_hostile_file_is_refused_in_one_sentence(name, tmp_path, capsys):
  (tmp_path / name).write_bytes(HOSTILE[name])
  with pytest.raises(ValueError, match=name):
    wsjax.interop.read(tmp_path / name)
  folder_of(tmp_path, 1)
  words = f'zoo import --model {tmp_path}/my.py:net --from {tmp_path / name} --out {tmp_path}/zoo'
  assert cli.main(words.split()) == 2
  said = capsys.readouterr().err
  assert said.count('\n') == 1 and name in said and '\x1b' not in said
  assert not (tmp_path / 'zoo').exists()
  assert not pathlib.Path('/tmp/wsjax_was_here').exists()


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
  content = (GOLDEN / 'mlp.pt').read_bytes()
  source = zipfile.ZipFile(io.BytesIO(content))
  for cut in (4, 32):
    with zipfile.ZipFile(tmp_path / 'cut.pt', 'w') as file:
      for member in source.namelist():
        data = source.read(member)
        file.writestr(member, data[:-cut] if member.endswith('data/0') else data)
    with pytest.raises(ValueError, match='cut.pt.*beyond its storage'):
      wsjax.interop.read(tmp_path / 'cut.pt')


@pytest.mark.parametrize('suffix', ['pt', 'safetensors', 'npz', 'onnx'])
def test_damaged_files_are_read_or_refused(suffix, tmp_path):
  net = random_networks(wsjax.mlp((3, 4, 2)), 1)[0]
  path = tmp_path / f'net.{suffix}'
  if suffix == 'pt':
    path.write_bytes((GOLDEN / 'mlp.pt').read_bytes())
  else:
    if suffix == 'onnx':
      pytest.importorskip('onnx')
    wsjax.export(net, suffix, path, model=wsjax.mlp((3, 4, 2)))
  content, generator = path.read_bytes(), random.Random(0)
  refused = 0
  for _ in range(200):
    changed, place = bytearray(content), generator.randrange(len(content))
    match generator.randrange(3):
      case 0:
        changed[place] ^= 1 << generator.randrange(8)
      case 1:
        del changed[place : place + generator.randrange(1, 64)]
      case _:
        changed[place:place] = generator.choice((b'\0' * 4, b'\xff' * 8, b'(((('))
    path.write_bytes(bytes(changed))
    try:
      wsjax.interop.read(path)
    except ValueError as error:
      refused += 1
      assert path.name in str(error)
  assert refused > 20


RECORDS = {
  'empty.csv': ('', 'different names of columns'),
  'ragged.csv': ('file,a\nnet0,1,2\n', 'row 2 has 3 cells'),
  'twice.csv': ('a,a\n1,2\n', 'different names'),
  'others.csv': ('file,a\nnet7,1\n', "no row of network 'net0'"),
  'list.json': ('[1]', 'not a list of objects'),
  'broken.jsonl': ('{"id": "net0"}\n{\n', 'line 2'),
  'split.csv': ('file,split\nnet0,everything\n', 'split'),
  'table.xlsx': ('', 'is no table'),
}


@pytest.mark.parametrize('name', RECORDS)
def test_a_bad_table_is_refused_in_one_sentence(name, tmp_path):
  model, _ = folder_of(tmp_path, 1)
  text, message = RECORDS[name]
  (tmp_path / name).write_text(text)
  with pytest.raises(ValueError, match=message):
    wsjax.import_checkpoints(model, tmp_path / 'ckpts', tmp_path / name)


def test_the_agents_of_a_published_zoo_come_by_the_general_door(shared_data):
  def model(tensors):
    names = [
      n for n in tensors if n.startswith(('mlp_extractor.policy', 'action_net')) and 'w' in n[-6:]
    ]
    names.sort(key=lambda name: ('action' in name, name))
    return wsjax.mlp((tensors[names[0]].shape[1], *(tensors[n].shape[0] for n in names)), 'tanh')

  folder = shared_data / 'rl_agents'
  found = {
    c.id: c.tensors
    for c in checkpoint.checkpoints(folder / 'agents.npz')
    if not c.id.startswith('ars')
  }
  zoo = wsjax.import_checkpoints(
    model, found, folder / 'index.json', layout='torch', ignore=['*value_net*', '*log_std*']
  )
  assert len(zoo) == 32
  assert set(zoo.column('algo')) == {'a2c', 'ppo'}
