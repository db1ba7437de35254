"""Scaling is what the processes answer; work is counted outside of loops."""

import argparse
import json

import jax
import jax.numpy as jnp
import pytest

from benchmarks import scaling, worker
from benchmarks.peers import jax_scaling

# A machine of two cores: more devices do not help, and weak scaling is flat.
STUB = """
import json, os, sys
devices = int(os.environ['XLA_FLAGS'].rsplit('=')[-1])
assert os.environ['NPROC'] == '16'
batches = {{}}
for line in sys.stdin:
  request = json.loads(line)
  if 'build' in request:
    batch = request.get('nets') or request['batch']
    batches[request['build']] = batch
    answer = {{'num_params': 50, 'collectives': []}}
    if devices > 1:
      answer['collectives'] = [dict(
        kind='all-reduce', devices=devices, count=1, payload=200., sent=300.
      )]
    if devices == 1:
      answer['flops'] = 10. * batch
  elif 'describe' in request:
    answer = {{'num_params': 10**8, 'flops': 1e11}}
  else:
    seconds = batches[request['run']] / min(devices, 2) / 1e3
    answer = {{
      'seconds': seconds,
      'cpu_seconds': seconds * min(devices, 2),
      'loss': {loss},
    }}
  {fault}
  print(json.dumps(answer), flush=True)
"""


def arguments(*words):
  parser = argparse.ArgumentParser()
  scaling.add_arguments(parser)
  return parser.parse_args(words)


def run(monkeypatch, tmp_path, *words, loss='1.0', fault=''):
  (tmp_path / 'jax_scaling.py').write_text(STUB.format(loss=loss, fault=fault))
  monkeypatch.setattr(scaling.worker, 'PEERS', tmp_path)
  monkeypatch.setattr(scaling.os, 'cpu_count', lambda: 2)
  monkeypatch.setattr(scaling.timing, 'sgemm_peak', lambda repeats: 1e6)
  return scaling.run(arguments('--repeats', '2', *words))


def test_rows_are_what_the_processes_answer(tmp_path, monkeypatch, capsys):
  result = run(monkeypatch, tmp_path, '--modes', 'jit', 'zoo')
  rows = {(r['mode'], r['scaling'], r['dev']): r for r in result['rows']}
  assert len(rows) == len(result['rows']) == 2 * 2 * 4
  one, eight = (rows['jit', 'strong', n] for n in (1, 8))
  assert one['batch'] == eight['batch'] == 8 * 32
  assert one['step_ms'] == pytest.approx(256)
  assert (eight['vs_one'], eight['/dev'], eight['/cores']) == (2, 0.25, 1)
  # One process on each core sends nothing, and is as fast.
  assert (one['vs_alone'], eight['vs_alone']) == (0.5, 1)
  assert (one['busy'], eight['busy']) == (1, 2)
  assert (one['sent_kb'], eight['sent_kb']) == (0, 0.3)
  weak = rows['zoo', 'weak', 4]
  assert (weak['batch'], weak['vs_one'], weak['/cores']) == (32, 2, 1)
  assert json.dumps(result, allow_nan=False)
  notes = '\n'.join(result['notes'])
  assert '1 all-reduce over 8, 0.2 kB' in notes
  # 2560 FLOPs in 256 ms of 1 MFLOP/s; 8 devices send 300 bytes each.
  assert '0.01 of sgemm peak' in notes and '1 FLOP per byte sent' in notes
  assert 'nothing was run' in notes and 'measured generator' in notes
  assert {row['workload'] for row in result['projection']} == {
    'measured generator',
    'large generator',
  }
  said = capsys.readouterr().err
  assert 'round 1 of 2' in said and 'round 2 of 2' in said


def test_one_device_alone_can_be_measured(tmp_path, monkeypatch):
  result = run(monkeypatch, tmp_path, '--devices', '1', '--modes', 'zoo')
  assert [row['vs_one'] for row in result['rows']] == [1, 1]
  assert {row['workload'] for row in result['projection']} == {'large generator'}


@pytest.mark.parametrize(
  ('fault', 'message'),
  [
    (dict(loss='float("nan")'), 'the loss is not finite'),
    (dict(fault='if "run" in request: break'), "died on .*'run': 'jit 32'"),
    (dict(fault='break'), 'died on'),
  ],
)
def test_a_contender_that_fails_is_an_error(fault, message, tmp_path, monkeypatch):
  with pytest.raises(ValueError, match=message):
    run(monkeypatch, tmp_path, '--modes', 'jit', '--devices', '2', **fault)


@pytest.mark.parametrize('devices', [('3', '8'), ('0', '8')])
def test_devices_that_do_not_divide_the_largest_are_refused(devices):
  with pytest.raises(ValueError, match='the largest is a multiple'):
    scaling.run(arguments('--devices', *devices))


def test_xla_counts_the_body_of_a_loop_once():
  """Why FLOPs are counted on a step that is in no loop."""

  def flops(turns):
    def many(x):
      return jax.lax.scan(lambda x, _: (x @ x, None), x, length=turns)[0]

    lowered = jax.jit(many).lower(jnp.ones((64, 64)))
    return lowered.compile().cost_analysis()['flops']

  assert flops(50) < 1.1 * flops(5)


@pytest.mark.slow
def test_flops_of_a_step_are_those_of_its_products():
  generator = {'name': 'flow_matching', 'backbone': {'name': 'mlp', 'width': 128, 'depth': 1}}
  contender, facts = jax_scaling.training(generator, [2, 64], 'jit', 64, 3)
  # Kernels: given, in, wide0, given0, back0, out. Two have inputs that need no gradient.
  given, rest = 64 * 128, 5 * 128 * 128
  expected = 64 * (6 * (given + rest) - 2 * (given + 128 * 128))
  # What is not a product, such as noise, activations and Adam, is little.
  assert expected < facts['flops'] < 1.2 * expected
  assert facts['num_params'] == given + rest + (5 + 5) * 128
  assert facts['collectives'] == []
  steps, loss = contender()
  assert steps == 3 and 0 < loss < 10
  described = jax_scaling.describe(generator, [2, 64])
  assert described['num_params'] == facts['num_params']
  assert described['flops'] == pytest.approx(facts['flops'] / 64, rel=0.2)


@pytest.mark.slow
def test_zoo_training_over_devices_sends_nothing():
  process = worker.Worker(
    [scaling.sys.executable, str(worker.PEERS / 'jax_scaling.py')],
    environment=scaling._environment(2),
  )
  facts = process.ask(build='b', kind='zoo', widths=[4, 3, 2], batch=8, nets=16, steps=3)
  answer = process.ask(run='b')
  process.close()
  assert facts['collectives'] == []
  assert facts['flops'] == 16 * 8 * (6 * (12 + 6) - 2 * 12)
  assert answer['seconds'] > 0 and 0 < answer['loss'] < 10
