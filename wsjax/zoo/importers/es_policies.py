"""Policies found by evolution strategies: the zoo of estool.

Source: hardmaru/estool, folder `zoo`; tanh units.
"""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from wsjax.models import mlp
from wsjax.zoo.importers import foreign
from wsjax.zoo.store import store

ARRAYS = 'policies.npz'
SOURCE = 'https://github.com/hardmaru/estool/tree/b0954523e906/zoo'
_KEYS = ('task', 'layer_sizes', 'time_input', 'hidden_activation', 'output_activation', 'score')


def import_zoo(folder: pathlib.Path | str, out: pathlib.Path | str) -> store.Zoo:
  """Publishes every evolved policy as a zoo.

  Args:
    folder: with `policies.npz` and `index.json`.
    out: folder of the zoo.

  Returns:
    The zoo; several architectures. Learned noise of actions is no part of a network; its name is in
    the record.

  Raises:
    ValueError: as `foreign.read` and `foreign.publish`.
  """
  return foreign.publish(
    networks(folder), out, license='MIT', attribution='estool, Copyright (c) 2017 David Ha (MIT)'
  )


def networks(folder: pathlib.Path | str) -> Iterator[foreign.Network]:
  """The policies of a folder; see `import_zoo`."""
  for entry, arrays in foreign.read(folder, ARRAYS, required=_KEYS):
    yield _network(entry, arrays)


def _network(entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> foreign.Network:
  depth = len(entry['layer_sizes']) - 1
  used = {f'{part}{i}' for part in 'wb' for i in range(depth)}
  if missing := sorted(used - set(arrays)):
    raise ValueError(f'Policy {entry["id"]!r} lacks array {missing[0]!r}.')
  return foreign.Network(
    id=entry['id'],
    architecture=mlp.MLP(
      tuple(entry['layer_sizes']),
      entry['hidden_activation'],
      output_activation=entry['output_activation'],
    ),
    params=foreign.dense([(arrays[f'w{i}'], arrays[f'b{i}']) for i in range(depth)]),
    source=SOURCE,
    detail={
      'task': entry['task'],
      'algorithm': 'evolution_strategy',
      'score': entry['score'],
      'last_input_is_time': entry['time_input'],
      'left_out': sorted(set(arrays) - used),
    },
    fields={
      'task': 'control',
      'objective': 'expected_return',
      'optimizer': {'name': 'evolution_strategy', 'hparams': {}},
    },
  )
