"""Encoders are timed by what their processes answer."""

import argparse
import sys

import pytest

from benchmarks import encoders, worker

STUB = """
import json, sys
for line in sys.stdin:
  request = json.loads(line)
  answer = {'num_params': 7, 'flop': 2e9}
  if 'run' in request:
    seconds = float(sys.argv[1]) * (3 if request['run'] == 'step' else 1)
    answer = {'seconds': [seconds], 'peak_mb': 5.0}
  print(json.dumps(answer), flush=True)
"""


def arguments(*words):
  parser = argparse.ArgumentParser()
  encoders.add_arguments(parser)
  return parser.parse_args(words)


def test_rows_are_what_the_processes_answer(tmp_path, monkeypatch):
  file = tmp_path / 'stub.py'
  file.write_text(STUB)
  monkeypatch.setattr(encoders.timing, 'sgemm_peak', lambda: 1e11)
  contenders = {
    name: ([sys.executable, str(file), str(seconds)], {})
    for name, seconds in (('ours', 0.1), ('nfn', 0.8))
  }
  ours, nfn = encoders._rows(contenders, 64, arguments('--repeats', '2'))
  assert (ours['contender'], ours['parameters']) == ('ours', 7)
  assert ours['forward_ms'] == pytest.approx(100)
  assert ours['step_ms'] == pytest.approx(300)
  assert ours['share_of_peak'] == pytest.approx(2e9 / 0.3 / 1e11)
  assert ours['ours_faster'] == pytest.approx(1)
  assert nfn['ours_faster'] == pytest.approx(8)
  assert len(ours['step_seconds']) == 2  # The first round warms up.


@pytest.mark.slow
def test_an_encoder_answers_requests():
  command, build = encoders._jax(
    {'name': 'neural_functional', 'channels': 4, 'depth': 1}, 3, (2, 5, 1)
  )
  process = worker.Worker(command)
  facts = process.ask(build=build)
  step = process.ask(run='step', times=2)
  forward = process.ask(run='forward', times=1)
  process.close()
  assert facts['num_params'] > 0 and facts['flop'] > 0
  assert len(step['seconds']) == 2 and min(step['seconds']) > 0
  assert len(forward['seconds']) == 1 and forward['peak_mb'] > 10
