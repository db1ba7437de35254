"""What some devices and processes saved, any others restore.

Tests f3_N are the numbered faults that training has to survive.
"""

import json

import jax.numpy as jnp
import pytest

from tests.devices import simulated
from tests.train import saves, topology_worker

# A read that fails leaves coroutines that nobody awaits.
pytestmark = saves.FILTERS


def run(mode, folder, *, processes=1, devices=1):
  """What every process says that it restored."""
  started = simulated.start(
    'tests.train.topology_worker',
    json.dumps([mode, str(folder)]),
    devices=devices,
    processes=processes,
  )
  lines = []
  for status, out, err in simulated.finish(started):
    assert status == 0, err[-3000:]
    lines.append([x for x in out.splitlines() if x.startswith('restored')])
  return lines


def expected_line(step):
  return topology_worker.describe(step, topology_worker.values())


@pytest.mark.slow
def test_f3_6_what_one_mesh_saved_every_other_restores(tmp_path):
  lines = run('meshes', tmp_path, devices=8)[0]
  assert lines == [expected_line(10)] * 16


@pytest.mark.slow
def test_f3_6_two_processes_agree_and_one_process_reads_what_they_saved(tmp_path):
  run('save', tmp_path, processes=2, devices=2)
  lines = run('one_cannot_read', tmp_path, processes=2, devices=2)
  assert lines == [[expected_line(10)]] * 2
  assert (tmp_path / '20.corrupt').is_dir()
  w = jnp.zeros((16, 32))
  restored = saves.restore(tmp_path, like={'rows': w, 'columns': w, 'whole': w})
  assert topology_worker.describe(*restored[:2]) == expected_line(10)


@pytest.mark.slow
def test_f3_6_every_topology_restores_what_every_other_saved(tmp_path):
  topologies = [
    {'processes': processes, 'devices': devices} for processes in (1, 2) for devices in (1, 2, 4, 8)
  ]
  for number, topology in enumerate(topologies):
    run('save', tmp_path / str(number), **topology)
  for topology in topologies:
    lines = run('restore', tmp_path, **topology)
    expected = [expected_line(20)] * len(topologies)
    assert lines == [expected] * topology['processes'], topology
