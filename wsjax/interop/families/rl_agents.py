"""Policies of agents trained by reinforcement learning, from rl-trained-agents.

Source: DLR-RM/rl-trained-agents, trained with stable-baselines3. A2C and PPO have tanh activations
and an identity output; ARS has relu activations, and tanh outputs where actions are continuous and
there is a hidden layer (sb3_contrib/ars/policies.py). A policy maps observations to action means or
logits. Critics and learned noise of actions are not part of it; their names are in the record.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from wsjax.interop.families import family
from wsjax.models import mlp

SOURCE = 'https://github.com/DLR-RM/rl-trained-agents/tree/cd35bde610f4'


def _convert(entry: Mapping[str, Any], arrays: family.Arrays) -> family.Network:
  names = _layers(arrays)
  squashed = entry['algo'] == 'ars' and entry['action_type'] == 'continuous' and len(names) > 1
  tensors = {}
  for i, name in enumerate(names):
    kernel = tensors[f'layer{i}.weight'] = arrays[f'{name}.weight']
    tensors[f'layer{i}.bias'] = arrays.get(f'{name}.bias', np.zeros(len(kernel), np.float32))
  widths = [len(tensors[f'layer{i}.weight']) for i in range(len(names))]
  return family.Network(
    model=mlp.MLP(
      (arrays[f'{names[0]}.weight'].shape[-1], *widths),
      entry['activation'].partition(' ')[0],
      output_activation='tanh' if squashed else 'identity',
    ),
    tensors=tensors,
    source=SOURCE,
    detail={
      'task': entry['env'],
      'algorithm': entry['algo'],
      'score': entry['eval_last_mean_reward'],
      'best_score': entry['eval_best_mean_reward'],
      'action_type': entry['action_type'],
      'environment_steps': entry['num_timesteps'],
      'expects_normalized_observations': entry['has_vecnormalize'],
      'left_out': sorted(
        set(arrays) - {f'{name}.{part}' for name in names for part in ('weight', 'bias')}
      ),
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


def _layers(arrays: family.Arrays) -> list[str]:
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


FAMILY = family.Family(
  file='agents.npz',
  layout='torch',
  fields={
    'algo': family.TEXT,
    'env': family.TEXT,
    'action_type': {'enum': ['discrete', 'continuous']},
    'activation': family.TEXT,
    'hyperparameters': {
      'type': 'object',
      'additionalProperties': {**family.NUMBER, 'type': ['string', 'number', 'boolean', 'null']},
    },
    'num_timesteps': family.NUMBER,
    'eval_last_mean_reward': family.NUMBER,
    'eval_best_mean_reward': family.NUMBER,
    'has_vecnormalize': family.BOOL,
  },
  convert=_convert,
  license='MIT',
  attribution='rl-trained-agents, Copyright (c) 2020 Antonin Raffin (MIT)',
)
