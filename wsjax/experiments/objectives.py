"""The strategy of a config, made ready for the training loop."""

from typing import Any

import jax
import ml_collections
import numpy as np

from wsjax.experiments import prepare
from wsjax.train import generative


def of_generator(
  config: ml_collections.ConfigDict, prepared: prepare.Prepared, generator: Any
) -> generative.GeneratorObjective:
  """What a generator minimises by the strategy of a config.

  Raises:
    ValueError: if generated networks are to be tried on a task that is not classification, or the
      strategy section is wrong.
  """
  strategy = generative.read(config.get('strategy', {}))
  decoder, behaves, move = prepared.decoder, None, None
  if strategy.functional:
    behaves = task(prepared)
  if strategy.augment:
    spec = prepared.architecture.spec

    def move(key: jax.Array, latents: jax.Array) -> jax.Array:
      net = {k: v[0] for k, v in decoder.networks(latents[None]).items()}
      net = spec.act(spec.random(key), net)
      return decoder.latents({k: v[None] for k, v in net.items()})[0]

  centred = prepared.latents - prepared.latents.mean(0, keepdims=True)
  spread = float(np.sqrt(np.mean(centred**2)))
  return generative.GeneratorObjective(generator, strategy, behaves, move, spread)


def task(prepared: prepare.Prepared) -> generative.Task:
  """The examples that the networks of the zoo learned from.

  Raises:
    ValueError: if they are no classifiers.
  """
  architecture = prepared.architecture
  if architecture.task != 'classification':
    raise ValueError(
      f'strategy.functional needs classifiers; {architecture.name} is for {architecture.task}.'
    )
  dataset = prepared.dataset
  has_val = len(dataset.val_y) > 0
  return generative.Task(
    architecture,
    prepared.decoder.networks,
    dataset.train_x,
    dataset.train_y,
    dataset.val_x if has_val else None,
    dataset.val_y if has_val else None,
  )
