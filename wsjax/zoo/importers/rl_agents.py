"""Agents trained by reinforcement learning: the policies of rl-trained-agents.

Source: DLR-RM/rl-trained-agents, trained with stable-baselines3; A2C and PPO have tanh units and an
identity output, ARS relu units, and tanh outputs where actions are continuous and there is a hidden
layer (sb3_contrib/ars/policies.py).
"""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from wsjax.models import mlp
from wsjax.zoo.importers import foreign
from wsjax.zoo.store import store

ARRAYS = 'agents.npz'
SOURCE = 'https://github.com/DLR-RM/rl-trained-agents/tree/cd35bde610f4'
_KEYS = (
  'algo',
  'env',
  'action_type',
  'activation',
  'hyperparameters',
  'num_timesteps',
  'eval_last_mean_reward',
  'eval_best_mean_reward',
  'has_vecnormalize',
)


def import_zoo(folder: pathlib.Path | str, out: pathlib.Path | str) -> store.Zoo:
  """Publishes the policy network of every agent as a zoo.

  A policy maps observations to action means or logits. Critics and learned noise of actions are no
  part of it; their names are in the record.

  Args:
    folder: with `agents.npz` and `index.json`.
    out: folder of the zoo.

  Returns:
    The zoo; several architectures, for observations and actions differ.

  Raises:
    ValueError: as `foreign.read` and `foreign.publish`, or for an agent of another form.
  """
  return foreign.publish(
    networks(folder),
    out,
    license='MIT',
    attribution='rl-trained-agents, Copyright (c) 2020 Antonin Raffin (MIT)',
  )


def networks(folder: pathlib.Path | str) -> Iterator[foreign.Network]:
  """The policies of a folder; see `import_zoo`."""
  for entry, arrays in foreign.read(folder, ARRAYS, required=_KEYS):
    yield _network(entry, arrays)


def _network(entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> foreign.Network:
  names = _layers(entry, arrays)
  layers = [(arrays[f'{name}.weight'].T, arrays.get(f'{name}.bias')) for name in names]
  squashed = entry['algo'] == 'ars' and entry['action_type'] == 'continuous' and len(layers) > 1
  architecture = mlp.MLP(
    (layers[0][0].shape[0], *(kernel.shape[1] for kernel, _ in layers)),
    entry['activation'].split()[0],
    output_activation='tanh' if squashed else 'identity',
  )
  used = {f'{name}.{part}' for name in names for part in ('weight', 'bias')}
  return foreign.Network(
    id=entry['id'],
    architecture=architecture,
    params=foreign.dense(layers),
    source=SOURCE,
    detail={
      'task': entry['env'],
      'algorithm': entry['algo'],
      'score': entry['eval_last_mean_reward'],
      'best_score': entry['eval_best_mean_reward'],
      'action_type': entry['action_type'],
      'environment_steps': entry['num_timesteps'],
      'expects_normalized_observations': entry['has_vecnormalize'],
      'left_out': sorted(set(arrays) - used),
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


def _layers(entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[str]:
  """Names of the layers of the policy, first to last."""
  for names in (
    ['mlp_extractor.policy_net.0', 'mlp_extractor.policy_net.2', 'action_net'],
    ['action_net.0', 'action_net.2'],
    ['action_net'],
  ):
    if all(f'{name}.weight' in arrays for name in names):
      return names
  raise ValueError(
    f'Agent {entry["id"]!r} has no policy that is known here; its arrays are {sorted(arrays)}.'
  )


def _value(text: Any) -> Any:
  """A number where the text is one."""
  try:
    return float(text)
  except (TypeError, ValueError):
    return text
