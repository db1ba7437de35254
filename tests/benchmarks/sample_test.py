import argparse
import pathlib

import numpy as np
import pytest

from benchmarks import sample
from wsjax import pipeline
from wsjax.experiments import configs

CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'


def parsed(*options):
  parser = argparse.ArgumentParser()
  sample.add_arguments(parser)
  return parser.parse_args(options)


@pytest.mark.slow
def test_samplers_stand_beside_the_recipe_of_the_first_run(tmp_path):
  config, _ = configs.load(f'{CONFIGS}/digits_flow.py:smoke', [])
  pipeline.run(config, tmp_path / 'flow', progress=False)
  result = sample.run(
    parsed(f'--runs={tmp_path / "flow"}', '--nets=4', '--repeats=1',
           '--weights=2e3')
  )  # fmt: skip
  own, *cheaper, size = result['rows']
  assert own['what'] == 'flow: heun x 32' and own['evaluations'] == 64
  assert own['times faster'] == 1
  assert {row['evaluations'] for row in cheaper} == {32, 16, 8, 1}
  for row in (own, *cheaper):
    assert 0 <= row['accuracy %'] <= 100 and row['ms'] > 0
  assert size['file MiB'] > 0


def test_tokens_that_come_in_parts_are_one_array(tmp_path):
  want = np.arange(20, dtype=np.float32).reshape(5, 4)
  sample.store_tokens(tmp_path / 'x.npy', iter([want[:2], want[2:]]), (5, 4))
  np.testing.assert_array_equal(np.load(tmp_path / 'x.npy'), want)


def test_a_workdir_without_a_run_is_an_error(tmp_path):
  with pytest.raises(ValueError, match='holds no run'):
    sample.run(parsed(f'--runs={tmp_path}'))
