"""Devices, hosts and modes change who computes, not what."""

import numpy as np
import pytest

from tests.devices import simulated

MODES = {
  'jit': {},
  'shard_map': {'parallel': 'shard_map'},
  'pmap': {'parallel': 'pmap'},
  'streamed': {'data': 'host'},
  'streamed_shard_map': {'data': 'host', 'parallel': 'shard_map'},
  'fsdp': {'fsdp': True},
}
OVER_TWO_AXES = {
  'mesh': [['data', 2], ['model', -1]],
  'sharding': [[r'wide\d/kernel', [None, 'model']], [r'back\d/kernel', ['model']]],
}


def jobs(folder, modes):
  return [{'workdir': str(folder / name), **changes} for name, changes in modes.items()]


@pytest.fixture(scope='module')
def by_one(tmp_path_factory):
  """What one device ends with, and what it ends with under other noise."""
  folder = tmp_path_factory.mktemp('alone')
  return simulated.run(jobs(folder, {'jit': {}, 'other': {'microbatch': 16}}), devices=1)[0]


@pytest.fixture(scope='module')
def alone(by_one):
  return by_one[0]


def check(result, want):
  np.testing.assert_allclose(simulated.params(result), simulated.params(want), rtol=1e-5, atol=1e-5)
  for name in ('loss', 'val_loss'):
    np.testing.assert_allclose(result[name], want[name], rtol=1e-4)


@pytest.mark.slow
def test_every_mode_on_four_devices_ends_where_one_device_does(tmp_path, by_one):
  alone, other = by_one
  modes = {name: MODES[name] for name in ('shard_map', 'pmap')}
  modes |= {'two_axes': OVER_TWO_AXES}
  (results,) = simulated.run(jobs(tmp_path, modes), devices=4)
  for name, result in zip(modes, results, strict=True):
    assert result['devices'] == 4, name
    check(result, alone)
  # And it can fail: other noise ends elsewhere.
  with pytest.raises(AssertionError):
    check(other, alone)


@pytest.mark.slow
def test_two_processes_train_like_one(tmp_path, alone):
  modes = {'streamed': {'data': 'host'}}
  first, second = simulated.run(jobs(tmp_path, modes), devices=2, processes=2)
  for a, b in zip(first, second, strict=True):
    assert a['processes'] == 2 and a['devices'] == 4
    assert a == b  # Both have the same numbers in the end.
    check(a, alone)


@pytest.mark.slow
def test_no_number_of_devices_changes_the_parts_of_a_batch(tmp_path):
  # Modes that cut the work otherwise need the size of a part to be said; jit does not, and no
  # number of devices changes it.
  whole = {'whole': {'microbatch': 0}}
  ((four,),) = simulated.run(jobs(tmp_path / 'four', whole), devices=4)
  ((one,),) = simulated.run(jobs(tmp_path / 'one', whole), devices=1)
  check(four, one)


@pytest.mark.slow
@pytest.mark.parametrize('devices', [1, 2, 4, 8])
def test_every_mode_on_any_devices(tmp_path, alone, devices):
  (results,) = simulated.run(jobs(tmp_path, MODES), devices=devices)
  for result in results:
    check(result, alone)


@pytest.mark.slow
def test_state_may_be_spread_over_processes(tmp_path, alone):
  results = simulated.run(jobs(tmp_path, {'fsdp': {'fsdp': True}}), devices=2, processes=2)
  for (result,) in results:
    check(result, alone)


@pytest.mark.slow
def test_the_same_topology_ends_bitwise_alike(tmp_path):
  one = simulated.run(jobs(tmp_path / 'a', {'jit': {}}), devices=2, processes=2)
  two = simulated.run(jobs(tmp_path / 'b', {'jit': {}}), devices=2, processes=2)
  assert one == two
