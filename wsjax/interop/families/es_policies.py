"""Policies found by evolution strategies, from the zoo of estool.

Source: hardmaru/estool, directory `zoo`; hidden activation tanh. Learned noise of actions is not
part of a network; its name is in the record.
"""

from collections.abc import Mapping
from typing import Any

from wsjax.interop.families import family
from wsjax.models import mlp

SOURCE = 'https://github.com/hardmaru/estool/tree/b0954523e906/zoo'


def _convert(entry: Mapping[str, Any], arrays: family.Arrays) -> family.Network:
  depth = len(entry['layer_sizes']) - 1
  kept = [f'{part}{i}' for i in range(depth) for part in 'wb']
  return family.Network(
    model=mlp.MLP(
      tuple(entry['layer_sizes']),
      entry['hidden_activation'],
      output_activation=entry['output_activation'],
    ),
    tensors={name: arrays[name] for name in kept},
    source=SOURCE,
    detail={
      'task': entry['task'],
      'algorithm': 'evolution_strategy',
      'score': entry['score'],
      'last_input_is_time': entry['time_input'],
      'left_out': sorted(set(arrays) - set(kept)),
    },
    fields={
      'task': 'control',
      'objective': 'expected_return',
      'optimizer': {'name': 'evolution_strategy', 'hparams': {}},
    },
  )


FAMILY = family.Family(
  file='policies.npz',
  layout='jax',
  fields={
    'task': family.TEXT,
    'layer_sizes': {**family.SIZES, 'minItems': 2},
    'time_input': family.BOOL,
    'hidden_activation': family.TEXT,
    'output_activation': family.TEXT,
    'score': family.NUMBER,
  },
  convert=_convert,
  license='MIT',
  attribution='estool, Copyright (c) 2017 David Ha (MIT)',
)
