"""Policies of agents trained by reinforcement learning, from rl-trained-agents.

Source: DLR-RM/rl-trained-agents, trained with stable-baselines3. A2C and PPO have tanh activations
and an identity output; ARS has relu activations, and tanh outputs where actions are continuous and
there is a hidden layer (sb3_contrib/ars/policies.py). A policy maps observations to action means or
logits. Critics and learned noise of actions are not part of it; their names are in the record.
"""

import math
from collections.abc import Mapping
from typing import Any

from wsjax.models import mlp
from wsjax.zoo.importers import foreign

SOURCE = 'https://github.com/DLR-RM/rl-trained-agents/tree/cd35bde610f4'
_PARTS = ('weight', 'bias')


def _convert(entry: Mapping[str, Any], arrays: foreign.Arrays) -> foreign.Network:
  names = _layers(arrays)
  layers = [(arrays[f'{name}.weight'].T, arrays.get(f'{name}.bias')) for name in names]
  params = foreign.dense(layers)
  squashed = entry['algo'] == 'ars' and entry['action_type'] == 'continuous' and len(layers) > 1
  return foreign.Network(
    id=entry['id'],
    architecture=mlp.MLP(
      (layers[0][0].shape[0], *(kernel.shape[1] for kernel, _ in layers)),
      entry['activation'].partition(' ')[0],
      output_activation='tanh' if squashed else 'identity',
    ),
    params=params,
    source=SOURCE,
    detail={
      'task': entry['env'],
      'algorithm': entry['algo'],
      'score': entry['eval_last_mean_reward'],
      'best_score': entry['eval_best_mean_reward'],
      'action_type': entry['action_type'],
      'environment_steps': entry['num_timesteps'],
      'expects_normalized_observations': entry['has_vecnormalize'],
      'left_out': sorted(set(arrays) - {f'{n}.{part}' for n in names for part in _PARTS}),
      'biases_of_zeros': [n for n in names if f'{n}.bias' not in arrays],
    },
    fields={
      'task': 'control',
      'objective': 'expected_return',
      'optimizer': {
        'name': entry['algo'],
        'hparams': {name: _value(text) for name, text in entry['hyperparameters'].items()},
      },
    },
  )


def _layers(arrays: foreign.Arrays) -> list[str]:
  """Names of the layers of the policy, first to last."""
  for names in (
    ['mlp_extractor.policy_net.0', 'mlp_extractor.policy_net.2', 'action_net'],
    ['action_net.0', 'action_net.2'],
    ['action_net'],
  ):
    if all(f'{name}.weight' in arrays for name in names):
      return names
  raise ValueError(f'it has no policy of a known form; its arrays are {sorted(arrays)}')


def _value(text: str | float | None) -> str | float | None:
  """The finite number that a text spells, or the text."""
  try:
    number = float(text)
  except (TypeError, ValueError, OverflowError):
    return text
  return number if math.isfinite(number) else str(text)


_NUMBERS = ('num_timesteps', 'eval_last_mean_reward', 'eval_best_mean_reward')
FAMILY = foreign.Family(
  file='agents.npz',
  fields={
    'algo': foreign.TEXT,
    'env': foreign.TEXT,
    'action_type': {'enum': ['discrete', 'continuous']},
    'activation': foreign.TEXT,
    'hyperparameters': {
      'type': 'object',
      'additionalProperties': {**foreign.NUMBER, 'type': ['string', 'number', 'boolean', 'null']},
    },
    **dict.fromkeys(_NUMBERS, foreign.NUMBER),
    'has_vecnormalize': foreign.BOOL,
  },
  convert=_convert,
  license='MIT',
  attribution='rl-trained-agents, Copyright (c) 2020 Antonin Raffin (MIT)',
)
