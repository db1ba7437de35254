"""Training a zoo is bitwise the same anywhere; sampling up to rounding."""

import json

import numpy as np
import pytest

from tests.devices import simulated


def run(workdir, *, devices, processes=1):
  started = simulated.start(
    'tests.devices.pipeline_worker', str(workdir), devices=devices, processes=processes
  )
  results = []
  for status, out, err in simulated.finish(started):
    assert status == 0, err[-3000:]
    results.append(json.loads(out.splitlines()[-1]))
  return results


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
  """The pipeline on one device."""
  (result,) = run(tmp_path_factory.mktemp('alone'), devices=1)
  return result


def check(result, want):
  assert result['zoo'] == want['zoo']
  for path, value in want['networks'].items():
    np.testing.assert_allclose(result['networks'][path], value, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_two_processes_train_a_zoo_and_sample_like_one(tmp_path, alone):
  first, second = run(tmp_path, devices=2, processes=2)
  check(first, alone)
  check(second, alone)
  # One of them wrote; a second try would have found the files of the first.
  assert (first['writes'], second['writes']) == (True, False)
  assert not list(tmp_path.glob('zoo/log.lmdb'))


@pytest.mark.slow
@pytest.mark.parametrize('devices', [2, 4, 8])
def test_any_devices_train_a_zoo_and_sample_like_one(tmp_path, alone, devices):
  (result,) = run(tmp_path, devices=devices)
  check(result, alone)
