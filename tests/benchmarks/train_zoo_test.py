import argparse
import json
import sys

import pytest

from benchmarks import train_zoo, worker

STUB = """
import json, sys
for line in sys.stdin:
  request = json.loads(line)
  seconds = request['nets'] * (2.0 if request.get('method') else 0.5)
  print(json.dumps({'seconds': seconds, 'cpu_seconds': seconds}), flush=True)
"""


def arguments(*given):
  parser = argparse.ArgumentParser()
  train_zoo.add_arguments(parser)
  return parser.parse_args(given)


@pytest.fixture
def stub(tmp_path):
  file = tmp_path / 'stub.py'
  file.write_text(STUB)
  return [sys.executable, str(file)]


def test_rates_and_ratios_are_those_of_the_answers(stub, monkeypatch):
  names = ('jax', 'jax 2 devices', 'jax second', 'torch')
  workers = {name: worker.Worker(stub) for name in names}
  monkeypatch.setattr(train_zoo.timing, 'sgemm_peak', lambda: 1e9)
  try:
    rows = train_zoo._compare('digits_mlp', workers, arguments('--repeats', '2'))
  finally:
    for process in workers.values():
      process.close()
  by_name = {row['contender']: row for row in rows}
  assert by_name['wsjax']['nets_per_second'] == pytest.approx(2)
  # Two processes with half of the nets each are done in half of the time.
  assert by_name['wsjax, 2 processes']['nets_per_second'] == pytest.approx(4)
  loop = by_name['torch loop, 1 thr.']
  assert loop['nets_per_second'] == pytest.approx(0.5)
  assert loop['wsjax_faster_by_seconds'] == pytest.approx(4)
  macs = 64 * 32 + 32 * 32 + 32 * 10
  flops = (6 * macs - 2 * 64 * 32) * 64 * train_zoo.SIZES['digits_mlp'][1]
  assert by_name['wsjax']['share_of_peak'] == pytest.approx(2 * flops / 1e9)
  assert json.dumps(rows)


def test_a_dead_worker_is_an_error_and_not_a_hang():
  process = worker.Worker([sys.executable, '-c', 'pass'])
  with pytest.raises(ValueError, match='died'):
    process.ask(nets=1)
  process.close()


def test_the_product_answers_requests():
  process = worker.Worker([sys.executable, str(worker.PEERS / 'jax_train_zoo.py')])
  task = dict(train_zoo.TASKS['digits_mlp'], widths=[4, 3, 10], examples=100)
  answer = process.ask(task=task, nets=2, steps=3, **train_zoo.DEFAULT)
  process.close()
  assert answer['seconds'] > 0 and 1 < answer['loss'] < 4


def test_no_torch_to_install_is_one_sentence(tmp_path, monkeypatch):
  def fail(command, check):
    raise worker.subprocess.CalledProcessError(1, command)

  monkeypatch.setattr(worker.subprocess, 'run', fail)
  with pytest.raises(ValueError, match='give --no-torch'):
    worker.torch_python(tmp_path / 'env')
