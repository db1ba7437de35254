"""Networks are drawn from a generator, led by their task or trained on.

The section `sample` of a config says how, see `wsjax.generators.parts.sampling`. What is done here
is part of the seconds per network that a report gives, so of the point from which a generator pays.
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
from wsjax.experiments import objectives, prepare
from wsjax.generators.parts import guidance
from wsjax.generators.parts import sampling as sampling_lib
from wsjax.train import data, sharding
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


def remarks(config: ml_collections.ConfigDict) -> list[str]:
  """What a report says of it; empty where networks are only drawn."""
  how = str(sampling_lib.read(config.get('sample', {})))
  if not how:
    return []
  return [
    f'Samples were {how}; their seconds per network, and the number of '
    'networks from which the generator pays, include it.'
  ]


def requests(prepared: prepare.Prepared, num: int, seed: int) -> np.ndarray | None:
  """[num, C] what samples are asked to be: as the ends of training runs."""
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
  task = objectives.task(prepared)
  key = jax.random.key(seed)
  return lambda latents: task.loss(latents[None], key, items, train=True)
