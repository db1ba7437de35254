"""Policies found by evolution strategies, from the zoo of estool.

Source: hardmaru/estool, directory `zoo`; hidden activation tanh. Learned noise of actions is not
part of a network; its name is in the record.
"""

from collections.abc import Mapping
from typing import Any

from wsjax.models import mlp
from wsjax.zoo.importers import foreign

SOURCE = 'https://github.com/hardmaru/estool/tree/b0954523e906/zoo'


def _convert(entry: Mapping[str, Any], arrays: foreign.Arrays) -> foreign.Network:
  depth = len(entry['layer_sizes']) - 1
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
      'left_out': sorted(set(arrays) - {f'{part}{i}' for part in 'wb' for i in range(depth)}),
    },
    fields={
      'task': 'control',
      'objective': 'expected_return',
      'optimizer': {'name': 'evolution_strategy', 'hparams': {}},
    },
  )


FAMILY = foreign.Family(
  file='policies.npz',
  fields={
    'task': foreign.TEXT,
    'layer_sizes': {**foreign.SIZES, 'minItems': 2},
    'time_input': foreign.BOOL,
    'hidden_activation': foreign.TEXT,
    'output_activation': foreign.TEXT,
    'score': foreign.NUMBER,
  },
  convert=_convert,
  license='MIT',
  attribution='estool, Copyright (c) 2017 David Ha (MIT)',
)
