"""Samples of a generator, guided by the task loss or fine-tuned where the config says so.

See `wsjax.generators.parts.sampling` for the section `sample` of a config. All of it is part of the
seconds per network of a report, and so of the break-even count.
"""

import functools
import inspect
from typing import Any

import jax
import ml_collections
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from wsjax import distributed, typing
from wsjax.evaluation import reference
from wsjax.experiments.generation import prepare
from wsjax.generators.parts import guidance
from wsjax.generators.parts import sampling as sampling_lib
from wsjax.train import data, generative, sharding
from wsjax.zoo import train as train_lib


def check(
  config: ml_collections.ConfigDict, prepared: prepare.Prepared, generator: Any
) -> sampling_lib.Sampling:
  """The sampling of a config, before anything is trained for it.

  Raises:
    ValueError: as `drawing.read`, if the networks are no classifiers and more than drawn, or if the
      generator draws in one step, where there is nothing to lead.
  """
  sampling = sampling_lib.read(config.get('sample', {}))
  task = prepared.architecture.task
  if str(sampling) and task != 'classification':
    raise ValueError(
      f'sample.task_scale and sample.refine_steps are for classifiers, not for '
      f'{task}. Allowed are 0 and 0.'
    )
  takes = inspect.signature(generator.sample).parameters
  if sampling.task_scale and 'task_loss' not in takes:
    raise ValueError(
      'sample.task_scale is for generators that draw step by step; '
      f'{config.generator.name} does not. Allowed is 0.'
    )
  return sampling


def notes(config: ml_collections.ConfigDict) -> list[str]:
  """Describes guidance and fine-tuning of samples for a report; empty without them."""
  how = str(sampling_lib.read(config.get('sample', {})))
  if not how:
    return []
  return [
    f'Samples were {how}; their seconds per network, and the number of '
    'networks from which the generator pays, include it.'
  ]


def requests(prepared: prepare.Prepared, num: int, seed: int) -> np.ndarray | None:
  """Conditions [num, C] of samples, drawn from those of the training networks."""
  if prepared.condition is None:
    return None
  rng = np.random.default_rng(seed)
  return prepared.condition[rng.integers(prepared.num_train, size=num)]


def draw(
  config: ml_collections.ConfigDict,
  prepared: prepare.Prepared,
  generator: Any,
  params: typing.PyTree,
  num: int,
  seed: int,
) -> typing.StackedParams:
  """`num` networks of a generator, on the host; each device draws its share.

  Where it has conditions, they are `requests` of the same seed.

  Raises:
    ValueError: as `check`.
  """
  sampling = check(config, prepared, generator)
  shape = prepared.latents.shape[1:]
  condition = requests(prepared, num, seed)
  led = {}
  if sampling.task_scale:
    led = {
      'task_loss': _task_loss(prepared, sampling.task_items, seed),
      'task_scale': sampling.task_scale,
    }

  def sample(params: typing.PyTree, seed: int) -> jax.Array:
    return generator.sample(
      params, jax.random.key(seed), num, shape=shape, condition=condition, **led
    )

  if jax.device_count() > 1:
    mesh = sharding.make_mesh((('nets', -1),))
    cut = P('nets') if num % mesh.size == 0 else P()
    placed = data.place(params, NamedSharding(mesh, P()))
    sharded = jax.jit(sample, out_shardings=NamedSharding(mesh, cut))
    latents = distributed.everywhere(sharded(placed, np.uint32(seed)))
  else:
    latents = sample(params, seed)
  networks = prepared.decoder.decode(latents)
  if not sampling.refine_steps:
    return networks
  train_on = finetune(config, prepared)
  return train_on(networks, steps=sampling.refine_steps, seed=seed)


def finetune(config: ml_collections.ConfigDict, prepared: prepare.Prepared) -> reference.Finetune:
  """What continues the training of networks by the recipe of the zoo."""
  return functools.partial(
    train_lib.finetune,
    prepared.architecture,
    prepared.dataset,
    recipe=train_lib.Recipe(**config.zoo.recipe.to_dict()),
  )


def _task_loss(prepared: prepare.Prepared, items: int, seed: int) -> guidance.TaskLoss:
  """Latents [T, D] -> mean cross-entropy of their network, nats."""
  examples = task(prepared)
  key = jax.random.key(seed)
  return lambda latents: examples.loss(latents[None], key, items, train=True)


def task(prepared: prepare.Prepared) -> generative.Task:
  """The examples that the networks of the zoo were trained on.

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
