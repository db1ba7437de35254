"""Second stage: generators are fitted, and draw networks."""

import pathlib
import shutil
import time
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import logging

from wsjax import config as config_lib
from wsjax import distributed, typing
from wsjax.evaluation import methods as arms_lib
from wsjax.evaluation import predictions
from wsjax.experiments import objectives, prepare, sampling
from wsjax.generators import publish as publish_lib
from wsjax.generators.parts import sampling as sampling_lib
from wsjax.train import loop
from wsjax.zoo.store import digest


def fit(
  config: ml_collections.ConfigDict,
  prepared: prepare.Prepared,
  workdir: pathlib.Path,
  *,
  seed: int,
  progress: bool = False,
  trains: bool = True,
) -> tuple[Any, typing.PyTree, dict[str, Any]]:
  """The generator of one training seed: trained, restored, or fitted.

  With `trains` False it is only restored, and nothing is written.

  Returns:
    The generator, its averaged parameters and the training history. A generator without steps has
    no history: it says so, and how many networks it chose among.

  Raises:
    ValueError: as `sampling.check`, `objectives.make` or `loop.fit`.
  """
  generator = config_lib.build('generators', config.generator)
  sampling.check(config, prepared, generator)
  if hasattr(generator, 'fit'):
    return generator, *_fit_at_once(prepared, generator, seed)
  data = _examples(prepared.latents, prepared.condition)
  val = _examples(prepared.val_latents, prepared.val_condition)
  params, history = loop.fit(
    objectives.of_generator(config, prepared, generator),
    data,
    config.train.to_dict(),
    seed=seed,
    workdir=workdir / f'train/seed{seed}',
    val=val,
    progress=progress,
    trains=trains,
  )
  return generator, params, history


def _examples(
  latents: np.ndarray | None, condition: np.ndarray | None
) -> dict[str, np.ndarray] | None:
  """What `generative.GeneratorObjective` learns from; None if there is nothing."""
  if latents is None:
    return None
  examples = {'latents': latents, 'condition': condition}
  return {name: value for name, value in examples.items() if value is not None}


def _fit_at_once(
  prepared: prepare.Prepared, generator: Any, seed: int
) -> tuple[typing.PyTree, dict[str, Any]]:
  """Parameters of a `Fitted` generator, and what stands for its history.

  Nothing is stored: the same seed gives the same fit after a restart.

  Raises:
    ValueError: if it chooses by images and there are none for validation.
  """
  key, latents = jax.random.key(seed), prepared.latents
  said = 'fitted to all networks at once, without steps'
  if not getattr(generator, 'NEEDS_SCORE', False):
    return generator.fit(latents, key, prepared.condition), {'not_run': said}
  images, labels = prepared.dataset.val_x, prepared.dataset.val_y
  params = generator.fit(
    latents,
    key,
    prepared.condition,
    score=lambda latents: predictions.accuracy(
      prepared.architecture, prepared.decoder.decode(latents), images, labels
    ),
  )
  said += (
    f'; selected among {generator.num_scored} networks by their accuracy on '
    f'{len(labels)} validation images'
  )
  logging.info(said)
  return params, {'not_run': said, 'num_scored': generator.num_scored}


def publish(
  config: ml_collections.ConfigDict,
  prepared: prepare.Prepared,
  params: typing.PyTree,
  networks: typing.StackedParams,
  path: pathlib.Path,
  seed: int,
) -> None:
  """Writes generated networks with what is known of their making."""
  flat = {jax.tree_util.keystr(k): v for k, v in jax.tree.leaves_with_path(params)}
  name = f'{config.generator.name}:{digest.of_tensors(flat)}'
  how = str(sampling_lib.read(config.get('sample', {})))
  publish_lib.publish(
    path,
    networks,
    prepared.architecture,
    generated={
      'generator_record_id': name,
      'sampler': ', '.join(filter(None, (config.generator.name, how))),
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
) -> arms_lib.Method:
  """Samples of one training seed as an arm; drawn again after a restart."""
  num = config.evaluate.num_samples
  start = time.perf_counter()
  networks = sampling.draw(config, prepared, generator, params, num, seed)
  seconds = time.perf_counter() - start
  path = workdir / f'samples/seed{seed}'
  if distributed.is_writer() and not (path / 'manifest.json').exists():
    if path.exists():  # Of a process that was killed; the networks are all here.
      shutil.rmtree(path)
    publish(config, prepared, params, networks, path, seed)
  logging.info('%d networks in %.2f s: %s', num, seconds, path)
  return arms_lib.Method(
    config.generator.name,
    'generator',
    networks,
    seconds,
    sum(leaf.nbytes for leaf in jax.tree.leaves(params)),
    (seed,),
  )
