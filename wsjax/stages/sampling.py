"""Networks are drawn from a generator, led by their task or trained on.

The section `sample` of a config says how; without it networks are what the
generator draws. What is done here is part of the seconds per network that a
report gives, so of the point from which a generator pays.
"""

import dataclasses
import functools
import inspect
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from wsjax import hosts, typing
from wsjax.evaluate import population
from wsjax.generate import guidance
from wsjax.stages import objectives, prepare
from wsjax.train import feed, sharding
from wsjax.zoo import breed


@dataclasses.dataclass(frozen=True)
class Sampling:
  """The sample section of a config.

  Attributes:
    task_scale: of the gradient of the loss on training images, taken off the
      field at every step of the solver; 0 is no guidance.
    task_items: training images of that loss, the same for all networks.
    refine_steps: updates by the recipe of the zoo after drawing.
  """

  task_scale: float = 0.0
  task_items: int = 256
  refine_steps: int = 0

  def __post_init__(self):
    for name, least in (
      ('task_scale', 0),
      ('task_items', 1),
      ('refine_steps', 0),
    ):
      if getattr(self, name) < least:
        raise ValueError(
          f'sample.{name} is {getattr(self, name)}, not >= {least}.'
        )

  def __str__(self):
    parts = []
    if self.task_scale:
      parts.append(
        f'led by the loss on {self.task_items} training images at scale '
        f'{self.task_scale:g}'
      )
    if self.refine_steps:
      parts.append(f'trained on for {self.refine_steps} steps')
    return ', '.join(parts)


# Option -> value where a section does not say it.
DEFAULTS = {field.name: field.default for field in dataclasses.fields(Sampling)}


def read(section: Mapping[str, Any]) -> Sampling:
  """The sampling of a config section; what it does not say is as by default.

  Raises:
    ValueError: for an unknown key or a value that is not allowed.
  """
  if unknown := sorted(set(section) - set(DEFAULTS)):
    raise ValueError(
      f'The sample section has {unknown[0]!r}; allowed: '
      f'{", ".join(sorted(DEFAULTS))}.'
    )
  return Sampling(**section)


def check(
  config: ml_collections.ConfigDict, prepared: prepare.Prepared, generator: Any
) -> Sampling:
  """The sampling of a config, before anything is trained for it.

  Raises:
    ValueError: as `read`, if the networks are no classifiers and more than
      drawn, or if the generator draws in one step, where there is nothing to
      lead.
  """
  sampling = read(config.get('sample', {}))
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
      f'{config.generate.name} does not. Allowed is 0.'
    )
  return sampling


def remarks(config: ml_collections.ConfigDict) -> list[str]:
  """What a report says of it; empty where networks are only drawn."""
  how = str(read(config.get('sample', {})))
  if not how:
    return []
  return [
    f'Samples were {how}; their seconds per network, and the number of '
    'networks from which the generator pays, include it.'
  ]


def requests(
  prepared: prepare.Prepared, num: int, seed: int
) -> np.ndarray | None:
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
    placed = feed.place(params, NamedSharding(mesh, P()))
    sharded = jax.jit(sample, out_shardings=NamedSharding(mesh, cut))
    latents = hosts.everywhere(sharded(placed, np.uint32(seed)))
  else:
    latents = sample(params, seed)
  networks = prepared.decoder.decode(latents)
  if not sampling.refine_steps:
    return networks
  train_on = finetune(config, prepared)
  return train_on(networks, steps=sampling.refine_steps, seed=seed)


def finetune(
  config: ml_collections.ConfigDict, prepared: prepare.Prepared
) -> population.Finetune:
  """What continues the training of networks by the recipe of the zoo."""
  return functools.partial(
    breed.finetune,
    prepared.architecture,
    prepared.dataset,
    recipe=breed.Recipe(**config.zoo.recipe.to_dict()),
  )


def _task_loss(
  prepared: prepare.Prepared, items: int, seed: int
) -> guidance.TaskLoss:
  """Latents [T, D] -> mean cross-entropy of their network, nats."""
  task = objectives.task(prepared)
  key = jax.random.key(seed)
  return lambda latents: task.loss(latents[None], key, items, train=True)
