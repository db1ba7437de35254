"""Saves and restores checkpoints on the devices and processes that it has.

Run as `python -m tests.train.topology_worker '[mode, folder]'`; prints the step and the checksums
of what it restored.
"""

import json
import pathlib
import sys

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from wsjax import distributed
from wsjax.train.checkpoint import checkpoint
from wsjax.train.checkpoint import checksums as checksums_lib


def like(devices):
  """Arrays that are cut over devices by rows, by columns and not at all."""
  mesh = jax.make_mesh((len(devices),), ('data',), devices=devices, axis_types=(AxisType.Auto,))
  specs = {'rows': P('data'), 'columns': P(None, 'data'), 'whole': P()}
  return {
    name: jax.make_array_from_callback(
      value.shape, NamedSharding(mesh, specs[name]), lambda i, v=value: v[i]
    )
    for name, value in values().items()
  }


def values():
  """The same on the host."""
  w = np.random.default_rng(0).standard_normal((16, 32)).astype('float32')
  return {'rows': w, 'columns': w[::-1] * 2, 'whole': w * 3}


def restore(folder, like):
  """Restores to the shardings of a tree."""
  checkpoints = checkpoint.Checkpoints(folder)
  step, tree, _ = checkpoints.restore(like)
  checkpoints.close()
  assert jax.tree.map(lambda x: x.sharding, tree) == jax.tree.map(lambda x: x.sharding, like)
  sys.stdout.write(describe(step, tree) + '\n')


def describe(step, tree):
  """The line that says what was restored."""
  return ' '.join(['restored', str(step), *checksums_lib.checksums(tree).values()])


def save(folder):
  """Saves steps 10 and 20."""
  checkpoints = checkpoint.Checkpoints(folder)
  for step in (10, 20):
    checkpoints.save(step, like(jax.devices()), {'loss': [float(step)]})
  checkpoints.close()


def restore_all(folder):
  """Restores what is in every folder of a folder."""
  for child in sorted(folder.iterdir()):
    restore(child, like(jax.devices()))


def meshes(folder):
  """What every number of devices saved, every other restores."""
  for n in (1, 2, 4, 8):
    checkpoints = checkpoint.Checkpoints(folder / str(n))
    checkpoints.save(10, like(jax.devices()[:n]), {})
    checkpoints.close()
    for m in (1, 2, 4, 8):
      restore(folder / str(n), like(jax.devices()[:m]))


def one_cannot_read(folder):
  """Process 1 has an error of its own when it reads step 20."""
  read = checkpoint.ocp.StandardCheckpointHandler.restore

  def fail(self, folder, **kwargs):
    if jax.process_index() == 1 and folder.parent.name == '20':
      raise OSError('this disk is broken')
    return read(self, folder, **kwargs)

  checkpoint.ocp.StandardCheckpointHandler.restore = fail
  restore(folder, like(jax.devices()))


if __name__ == '__main__':
  distributed.initialize()
  mode, path = json.loads(sys.argv[1])
  modes = {
    'save': save,
    'restore': restore_all,
    'meshes': meshes,
    'one_cannot_read': one_cannot_read,
  }
  modes[mode](pathlib.Path(path))
