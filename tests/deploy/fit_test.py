"""Files compute what rounded networks compute, and budgets are kept or refused."""

import json

import jax
import numpy as np
import pytest

import wsjax
from tests import marks
from tests.deploy import rounding_test
from wsjax.cli import main
from wsjax.experiments.deploy import exported, rounding
from wsjax.interop import quantized

pytest.importorskip('onnxruntime')


ALL = [f'{precision} {name}' for name in rounding_test.MODELS for precision in rounding.PRECISIONS]
# Each network and each precision is there once.
FIRST = ('float32 mlp', 'int8 cnn', 'ternary siren', 'int4 flax')


@pytest.mark.parametrize('case', marks.slow(ALL, *(set(ALL) - set(FIRST))))
def test_files_of_every_format_compute_the_rounded_network(case, tmp_path):
  precision, name = case.split()
  model, params, data = rounding_test.given(name)
  made = rounding.quantize(model, params, precision, data[:64])
  sizes = {}
  for format, suffix in exported.FORMATS.items():
    for exact in (False, True):
      path = tmp_path / f'net{exact}{suffix}'
      sizes[format] = exported.write(path, format, model, made, exact=exact)
      assert exported.verify(path, format, model, made, data[:5]) < 1e-4
    content = path.read_bytes()
    assert sizes[format] >= quantized.num_bytes(made) and b'/work' not in content
  one = exported.run(path, format, model, data[:1])
  np.testing.assert_allclose(one, model.apply(quantized.values(made), data[:1]), atol=1e-4)


def test_activations_are_not_rounded_where_weights_become_float_at_load(tmp_path):
  model, params, data = rounding_test.given('mlp')
  made = rounding.quantize(model, params, 'int8', data)
  expected = np.asarray(model.apply(quantized.values(made), data))
  for exact, most in ((True, 1e-5), (False, 0.1)):  # Small layers may not be rounded at all.
    path = tmp_path / f'{exact}.onnx'
    exported.write(path, 'onnx', model, made, exact=exact)
    assert np.abs(exported.run(path, 'onnx', model, data) - expected).max() < most


def test_a_file_that_computes_something_else_is_noticed(tmp_path):
  model, params, data = rounding_test.given('mlp')
  other = jax.device_get(model.init(jax.random.key(9)))
  exported.write(tmp_path / 'net.onnx', 'onnx', model, other)
  with pytest.raises(ValueError, match='something else'):
    exported.verify(tmp_path / 'net.onnx', 'onnx', model, params, data[:4])


@pytest.fixture(scope='module')
def zoos():
  """Two sizes of a network, three seeds each; targets are the classes of one of the large."""
  large, small = wsjax.mlp((12, 24, 16, 4)), wsjax.mlp((12, 6, 4))
  data = np.random.default_rng(0).normal(size=(200, 12)).astype(np.float32)
  made = [
    wsjax.Zoo.of(model, [model.init(jax.random.key(seed)) for seed in range(3)])
    for model in (small, large)
  ]
  targets = np.asarray(large.apply(made[1].networks()[2], data)).argmax(-1)
  return made, data, targets


def test_the_best_network_is_chosen_and_its_record_names_it(zoos, tmp_path):
  made, data, targets = zoos
  found = wsjax.deploy(made, tmp_path / 'net.onnx', data=data, targets=targets, precision='int8')
  assert found.score > 0.9 and found.float_score == 1 and found.microseconds > 0
  assert 0 <= found.peak_bytes < 1e9 and found.path.stat().st_size == found.bytes
  (record,) = found.zoo.records
  (edge,) = record['parents']
  assert edge['relation'] == 'quantized' and edge['record_id'] == made[1].records[2]['record_id']
  beside = json.loads((tmp_path / 'net.onnx.json').read_text())
  assert beside['record'] == record and beside['precision'] == 'int8'
  saved = found.zoo.save(tmp_path / 'zoo')
  assert saved.records[0]['parents'] == [edge]


@pytest.mark.slow
def test_a_tight_budget_takes_fewer_bits_and_then_the_smaller_network(zoos, tmp_path):
  made, data, targets = zoos
  sizes = []
  for number, budget in enumerate((10_000, 2_300, 1_000)):
    out = tmp_path / f'{number}.safetensors'
    found = wsjax.deploy(
      made, out, data=data, targets=targets, format='safetensors', max_bytes=budget
    )
    assert found.bytes <= budget and found.microseconds is None
    sizes.append((len(found.zoo.spec.leaves), found.precision))
  assert sizes[0] == (6, 'int8')  # As good as float32, and smaller.
  assert sizes[1][0] == 6 and sizes[2][0] == 4
  with pytest.raises(ValueError, match='the smallest, mlp in'):
    wsjax.deploy(made, tmp_path / 'no.onnx', data=data, targets=targets, max_bytes=100)
  with pytest.raises(ValueError, match='the fastest'):
    wsjax.deploy(made[0], tmp_path / 'no.onnx', data=data, targets=targets, max_us=1e-3)
  assert not list(tmp_path.glob('no*'))


@pytest.mark.parametrize(
  ('words', 'options'),
  [
    ('format is', {'format': 'tflite'}),
    ('max_us is for', {'format': 'safetensors', 'max_us': 3.0}),
    ('max_bytes is', {'max_bytes': 0}),
    ('give targets', {'targets': None}),
    ('as many are needed', {'targets': np.zeros(3, int)}),
    ('the model takes', {'data': np.zeros((200, 5), 'f')}),
  ],
)
def test_what_does_not_fit_together_is_refused(zoos, tmp_path, words, options):
  made, data, targets = zoos
  with pytest.raises(ValueError, match=words):
    wsjax.deploy(made, tmp_path / 'net', **{'data': data, 'targets': targets, **options})


def test_networks_of_values_are_scored_by_their_squared_error(tmp_path):
  model, params, data = rounding_test.given('siren')
  zoo = wsjax.Zoo.of(model, [params])
  values = np.asarray(model.apply(params, data))
  found = wsjax.deploy(zoo, tmp_path / 'a.stablehlo', data=data, targets=values, format='stablehlo')
  assert found.precision == 'float32' and -1e-6 < found.score <= 0
  rounded = wsjax.quantize(zoo, 'int8', data=data)
  assert rounded.records[0]['parents'][0]['relation'] == 'quantized'


def test_the_command_writes_the_file_or_says_why_not(zoos, tmp_path, monkeypatch, capsys):
  made, data, targets = zoos
  monkeypatch.chdir(tmp_path)
  made[0].save('zoo')
  np.savez('data.npz', x=data, y=targets)
  words = ['deploy', 'zoo', '--data', 'data.npz', '--out', 'net.onnx', '--max-bytes', '3KiB']
  assert main.main(words) == 0
  out = capsys.readouterr().out
  assert 'bytes, score' in out and out.rstrip().endswith('net.onnx')
  assert main.main(words) == 2  # Nothing is overwritten.
  for more, text in (
    (['--out', 'net.tflite'], 'ends with'),
    (['--out', 'b.onnx', '--max-bytes', '3 apples'], '--max-bytes is'),
    (['--out', 'b.onnx', '--max-bytes', '10'], 'the smallest'),
  ):
    capsys.readouterr()
    assert main.main([*words, *more]) == 2
    assert text in capsys.readouterr().err
