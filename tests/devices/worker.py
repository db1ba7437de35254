"""Trains a small flow under several settings; prints one JSON line each.

Run as a process of its own: `python -m tests.devices.worker '[{...}, ...]'`,
each a train section's changes and 'workdir'. Devices are simulated by
JAX_NUM_CPU_DEVICES, processes joined as `wsjax.hosts` says.
"""

import json
import os
import pathlib
import sys

import jax

# Before anything is computed.
jax.config.update('jax_num_cpu_devices', int(os.environ['SIMULATED_DEVICES']))

import numpy as np  # noqa: E402

from wsjax import config as config_lib  # noqa: E402
from wsjax import hosts  # noqa: E402
from wsjax.train import loop  # noqa: E402

DATA = np.random.default_rng(0).standard_normal((200, 1, 24)).astype(np.float32)
SECTION = {
  'steps': 12,
  'batch_size': 64,
  'microbatch': 8,
  # Adam moves by this much even where a gradient is nothing but rounding.
  'learning_rate': 1e-3,
  'ema_decay': 0.9,
  'inner_steps': 3,
  'checkpoint_every_steps': 6,
  'mesh': (('data', -1),),
}
GENERATOR = {
  'name': 'flow_matching',
  'backbone': {'name': 'mlp', 'width': 32, 'depth': 2, 'dropout': 0.1},
  'source_std': 1.0,
  'source_draws': 0,
  'path_std': 0.0,
  'solver': 'heun',
  'num_steps': 4,
}


def train(workdir: str, stop_at: int = 0, **changes) -> dict:
  """What a training with a changed section ends with.

  Args:
    workdir: of the checkpoints.
    stop_at: the run is stopped there as a signal does; 0 is not.
    **changes: of the section.
  """
  section = {**SECTION, **changes}
  section['mesh'] = tuple((name, size) for name, size in section['mesh'])
  if stop_at:
    section['steps'] = stop_at
  params, history = loop.fit(
    config_lib.build('generate', GENERATOR),
    DATA,
    section,
    seed=0,
    workdir=pathlib.Path(workdir),
    val=DATA[:20],
    progress=False,
  )
  leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
  return {
    'devices': jax.device_count(),
    'processes': jax.process_count(),
    'bytes': b''.join(leaf.tobytes() for leaf in leaves).hex(),
    'loss': history['loss'],
    'val_loss': history['val_loss'],
  }


def main() -> None:
  """Does what the command line says."""
  hosts.initialize()
  for job in json.loads(sys.argv[1]):
    result = train(**job)
    sys.stdout.write(json.dumps(result) + '\n')
    sys.stdout.flush()


if __name__ == '__main__':
  main()
