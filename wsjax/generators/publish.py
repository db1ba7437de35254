"""Publishes generated networks as a zoo, each with a record of its making."""

import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.zoo.store import log as log_lib
from wsjax.zoo.store import published, record, store


def publish(
  path: pathlib.Path,
  params: typing.StackedParams,
  architecture: model_lib.Model,
  *,
  generated: Mapping[str, Any],
  parents: typing.PyTree,
  source: Mapping[str, Any],
) -> store.Zoo:
  """Writes networks as a zoo.

  A network that is not finite is marked diverged. All are in the split 'test': nothing generated
  may slip into a training split unnoticed.

  Args:
    path: folder of the new zoo.
    params: path -> [N, ...] weights, unselected.
    architecture: of all networks.
    generated: record field of that name, without what differs by network.
    parents: record field of that name: generator and training zoo.
    source: record of a training network; data, licence and task carry over.

  Raises:
    ValueError: if there is a zoo at `path` already, or the networks of another draw are published
      there.
  """
  shared = {
    **record.describe_model(architecture),
    **record.environment(),
    **{key: source[key] for key in ('task', 'datasets', 'license', 'redistributable')},
    **{'trace': [], 'final': [], 'screens': []},
    'parents': parents,
    'split': 'test',
  }
  # Nobody trained these networks: the recipe is known not to exist.
  unknown = ('objective', 'optimizer', 'batch_size', 'steps', 'step')
  shared |= dict.fromkeys((*unknown, 'seed', 'precision', 'config_sha256'))
  run = hashlib.sha256(repr(sorted(generated.items())).encode()).hexdigest()
  count = len(next(iter(params.values())))
  entries = []
  for i in range(count):
    net = {key: np.asarray(value[i]) for key, value in params.items()}
    name = f'generated-{run[:8]}-{i:08d}'
    made = record.make(
      **shared,
      **record.describe_params(net),
      run_id=name,
      split_group=name,
      generated={**generated, 'condition': None},
      diverged=not all(record.is_finite(value) for value in net.values()),
    )
    entries.append(store.Entry(key=f'{i:08d}', params=net, record=made))
  draw = {'generated': dict(generated), 'parents': parents, 'networks': count}
  log_lib.check_plan(path, draw, parts=(published.MANIFEST, 'log.lmdb'))
  if (path / published.MANIFEST).exists():
    raise ValueError(f'{path} holds a zoo already; give another folder.')
  log_lib.write_plan(path, draw)
  with store.Log(path / 'log.lmdb') as log:
    log.append([entry for entry in entries if entry.key not in set(log.keys())])
    return store.publish(log, path)
