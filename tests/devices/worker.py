"""Trains a small flow under several settings; prints one JSON line each.

Run as a process of its own: `python -m tests.devices.worker '[{...}, ...]'`, each a train section's
changes and 'workdir'. The environment says which devices and processes there are; see simulated.py.
"""

import json
import pathlib
import sys

import jax
import numpy as np

from wsjax import config as config_lib
from wsjax import distributed, typing
from wsjax.train import generative, loop

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


def train(workdir: str, **changes) -> dict:
  """What a training with a changed section ends with.

  Args:
    workdir: of the checkpoints.
    **changes: of the section.
  """
  params, history = loop.fit(
    generative.GeneratorObjective(
      config_lib.build('generators', GENERATOR), generative.Strategy(), None, None, 1.0
    ),
    {'latents': DATA},
    {**SECTION, **changes},
    seed=0,
    workdir=pathlib.Path(workdir),
    val={'latents': DATA[:20]},
    progress=False,
  )
  return {
    'devices': jax.device_count(),
    'processes': jax.process_count(),
    'bytes': as_text(params),
    'loss': history['loss'],
    'val_loss': history['val_loss'],
  }


def as_text(params: typing.PyTree) -> str:
  """Every bit of all arrays, as hex digits."""
  leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
  return b''.join(leaf.tobytes() for leaf in leaves).hex()


def main() -> None:
  """Does what the command line says."""
  distributed.initialize()
  for job in json.loads(sys.argv[1]):
    result = train(**job)
    sys.stdout.write(json.dumps(result) + '\n')
    sys.stdout.flush()


if __name__ == '__main__':
  main()
