"""Small checkpoints with valid records, for the tests of the store."""

import numpy as np

from wsjax.models import mlp
from wsjax.zoo.store import record as record_lib
from wsjax.zoo.store import store

ARCHITECTURE = mlp.MLP(widths=(4, 3, 2))


def params(seed, architecture=ARCHITECTURE):
  rng = np.random.default_rng(seed)
  return {
    leaf.path: rng.standard_normal(leaf.shape).astype(np.float32)
    for leaf in architecture.spec.leaves
  }


def fields(weights, seed=0, architecture=ARCHITECTURE):
  """Everything that `record.make` needs for a trained network."""
  return {
    **record_lib.describe_model(architecture),
    **record_lib.describe_params(weights),
    'created_at': '2026-11-23T12:00:00Z',
    'task': 'classification',
    'objective': 'cross_entropy',
    'optimizer': {'name': 'adam', 'hparams': {'learning_rate': 1e-3}},
    'batch_size': 32,
    'steps': 100,
    'step': 100,
    'seed': {'init': seed, 'data': seed},
    'precision': 'float32',
    'config_sha256': '0' * 64,
    'code': None,
    'packages': {'jax': '0.10.2'},
    'trace': [
      {'step': 50, 'split': 'train', 'metric': 'loss', 'value': 2.0},
      {'step': 100, 'split': 'train', 'metric': 'loss', 'value': 1.0},
    ],
    'final': [
      {'dataset': 'digits', 'split': 'val', 'metric': 'accuracy', 'value': 0.9 + seed / 1000}
    ],
    'diverged': False,
    'datasets': [{'name': 'digits', 'version': '1', 'sha256': '0' * 64, 'license': 'CC-BY-4.0'}],
    'parents': [],
    'run_id': f'run{seed}',
    'split': 'train',
    'split_group': f'run{seed}',
    'license': 'Apache-2.0',
    'redistributable': True,
    'screens': [],
  }


def entry(seed, architecture=ARCHITECTURE, weights=None, **changes):
  weights = params(seed, architecture) if weights is None else weights
  record = record_lib.make(**fields(weights, seed, architecture) | changes)
  return store.Entry(f'{seed:06d}', weights, record)


def zoo(path, num_nets=5, *, shard_size=2, entries=()):
  """A published zoo of `num_nets` networks, or of the given entries."""
  with store.Log(path / 'log.lmdb') as log:
    log.append(entries or [entry(seed) for seed in range(num_nets)])
    return store.publish(log, path, shard_size=shard_size)
