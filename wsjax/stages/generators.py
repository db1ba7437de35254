"""Second stage: generators are fitted, and draw networks."""

import pathlib
import time
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import logging
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from wsjax import config as config_lib
from wsjax import hosts, typing
from wsjax.evaluate import arms as arms_lib
from wsjax.generate import publish as publish_lib
from wsjax.stages import prepare
from wsjax.symmetry import element
from wsjax.train import feed, generative, loop, sharding
from wsjax.zoo import datasets, digest


def fit(
  config: ml_collections.ConfigDict,
  prepared: prepare.Prepared,
  workdir: pathlib.Path,
  *,
  seed: int,
  progress: bool = False,
) -> tuple[Any, typing.PyTree, dict[str, list[float]]]:
  """The generator of one training seed, trained or restored.

  Returns:
    The generator, its averaged parameters and the training history.

  Raises:
    ValueError: if generated networks are to be tried on a task that is not
      classification, or as `loop.fit`.
  """
  generator = config_lib.build('generate', config.generate)
  data, val = {'latents': prepared.latents}, None
  if prepared.val_latents is not None:
    val = {'latents': prepared.val_latents}
  params, history = loop.fit(
    objective(config, prepared, generator),
    data,
    config.train.to_dict(),
    seed=seed,
    workdir=workdir / f'train/seed{seed}',
    val=val,
    progress=progress,
  )
  return generator, params, history


def objective(
  config: ml_collections.ConfigDict, prepared: prepare.Prepared, generator: Any
) -> generative.Objective:
  """What a generator minimises by the strategy of a config."""
  strategy = generative.read(config.get('strategy', {}))
  decoder, task, move = prepared.decoder, None, None
  if strategy.behaviour:
    task = _task(config, prepared)
  if strategy.augment:
    spec = prepared.architecture.spec

    def move(key: jax.Array, latents: jax.Array) -> jax.Array:
      net = {k: v[0] for k, v in decoder.networks(latents[None]).items()}
      net = element.apply(element.random(key, spec), net, spec)
      return decoder.latents({k: v[None] for k, v in net.items()})[0]

  centred = prepared.latents - prepared.latents.mean(0, keepdims=True)
  spread = float(np.sqrt(np.mean(centred**2)))
  return generative.Objective(generator, strategy, task, move, spread)


def _task(
  config: ml_collections.ConfigDict, prepared: prepare.Prepared
) -> generative.Task:
  """The examples that the networks of the zoo learned from."""
  architecture = prepared.architecture
  if architecture.task != 'classification':
    raise ValueError(
      f'strategy.behaviour is for classifiers; {architecture.name} is made for '
      f'{architecture.task}.'
    )
  dataset = datasets.load(**config.zoo.dataset.to_dict())
  has_val = len(dataset.val_y) > 0
  return generative.Task(
    architecture,
    prepared.decoder.networks,
    dataset.train_x,
    dataset.train_y,
    dataset.val_x if has_val else None,
    dataset.val_y if has_val else None,
  )


def draw(
  prepared: prepare.Prepared,
  generator: Any,
  params: typing.PyTree,
  num: int,
  seed: int,
) -> typing.StackedParams:
  """`num` networks of a generator, on the host; each device draws its share."""
  shape = prepared.latents.shape[1:]

  def sample(params: typing.PyTree, seed: int) -> jax.Array:
    return generator.sample(params, jax.random.key(seed), num, shape=shape)

  if jax.device_count() > 1:
    mesh = sharding.make_mesh((('nets', -1),))
    cut = P('nets') if num % mesh.size == 0 else P()
    placed = feed.place(params, NamedSharding(mesh, P()))
    sharded = jax.jit(sample, out_shardings=NamedSharding(mesh, cut))
    latents = hosts.everywhere(sharded(placed, np.uint32(seed)))
  else:
    latents = sample(params, seed)
  return prepared.decoder.decode(latents)


def publish(
  config: ml_collections.ConfigDict,
  prepared: prepare.Prepared,
  params: typing.PyTree,
  networks: typing.StackedParams,
  path: pathlib.Path,
  seed: int,
) -> None:
  """Writes generated networks with what is known of their making."""
  flat = {
    jax.tree_util.keystr(k): v for k, v in jax.tree.leaves_with_path(params)
  }
  name = f'{config.generate.name}:{digest.of_tensors(flat)}'
  publish_lib.publish(
    path,
    networks,
    prepared.architecture,
    generated={
      'generator_record_id': name,
      'sampler': config.generate.name,
      'seed': seed,
    },
    parents=[
      {
        'record_id': None,
        'external_ref': f'zoo:{prepared.zoo.digest}',
        'relation': 'generated_by',
        'detail': {'generator': name},
      }
    ],
    source=prepared.zoo.records[0],
  )


def sampled_arm(
  config: ml_collections.ConfigDict,
  prepared: prepare.Prepared,
  workdir: pathlib.Path,
  generator: Any,
  params: typing.PyTree,
  seed: int,
) -> arms_lib.Arm:
  """Samples of one training seed as an arm; drawn again after a restart."""
  num = config.evaluate.num_samples
  start = time.perf_counter()
  networks = draw(prepared, generator, params, num, seed)
  seconds = time.perf_counter() - start
  path = workdir / f'samples/seed{seed}'
  if hosts.is_writer() and not (path / 'manifest.json').exists():
    publish(config, prepared, params, networks, path, seed)
  logging.info('%d networks in %.2f s: %s', num, seconds, path)
  return arms_lib.Arm(
    config.generate.name,
    'generator',
    networks,
    seconds,
    sum(leaf.nbytes for leaf in jax.tree.leaves(params)),
    (seed,),
  )
