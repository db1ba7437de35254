"""Trains a generator of networks; its samples are compared with every baseline."""

import copy
import dataclasses
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import logging

from wsjax import config as config_lib
from wsjax import distributed, typing
from wsjax.evaluation import baselines, evaluator, methods, predictions
from wsjax.evaluation import reference as reference_lib
from wsjax.evaluation.report import model
from wsjax.experiments import base, manifest
from wsjax.experiments.generation import membership, prepare, sampling, verdict
from wsjax.generators import publish as publish_lib
from wsjax.generators.parts import sampling as sampling_lib
from wsjax.train import generative, loop
from wsjax.zoo import build
from wsjax.zoo.store import digest, store


class Generation(base.Experiment):
  """Trains a generator on the canonical weights of a zoo, and evaluates its samples.

  With a section `rivals`, name -> changes of sections, other generators are trained on the zoo with
  one seed and evaluated in the same report.

  Attributes:
    data: the zoo in the form that the generator is trained on.
    generator: the plug-in that `config.generator` names.
  """

  def __init__(self, config: ml_collections.ConfigDict, zoo: store.Zoo):
    super().__init__(config, zoo)
    self.data = prepare.prepare(config, zoo)
    self.generator = config_lib.build('generators', config.generator)
    sampling.check(config, self.data, self.generator)
    self.check_metrics()
    if config.evaluate.get('membership'):
      membership.check(self.data, self.generator)
    self.rivals = {name: self._rival(name) for name in config.get('rivals', {})}
    self.train = _examples(self.data.latents, self.data.condition)
    self.val = _examples(self.data.val_latents, self.data.val_condition)
    self._sentences: list[str] = []
    self._memberships: list[dict[str, Any]] = []

  def _rival(self, name: str) -> 'Generation':
    """The experiment with some sections changed, on the same zoo."""
    config = copy.deepcopy(ml_collections.ConfigDict(self.config))
    with config.unlocked():
      changes = config.rivals[name]
      del config.rivals
      for section, values in changes.items():
        if 'name' in values:  # Another plug-in has other fields.
          config[section] = values
        else:
          config[section].update(values)
    return type(self)(config.lock(), self.zoo)

  def check_metrics(self) -> None:
    """Raises ValueError for metrics that are unknown, or not for networks of this task."""
    section = self.config.evaluate
    names = tuple(section.get('metrics', ()))
    evaluator.check(names, section.get('metric_limits'))
    task = self.data.architecture.task
    if names and task != 'classification':
      raise ValueError(
        f'evaluate.metrics are for classifiers, not for {task}; got {names}. Allowed is ().'
      )

  def objective(self, seed: int) -> generative.GeneratorObjective:
    """Makes the loss of the generator by the strategy of the config.

    Raises:
      ValueError: if a functional loss is wanted and the networks are no classifiers, or the
        strategy section is wrong.
    """
    strategy = generative.read(self.config.get('strategy', {}))
    decoder = self.data.decoder
    task = sampling.task(self.data) if strategy.functional else None
    move = None
    if strategy.augment:
      spec = self.data.architecture.spec

      def move(key: jax.Array, latents: jax.Array) -> jax.Array:
        network = {k: v[0] for k, v in decoder.networks(latents[None]).items()}
        network = spec.act(spec.random(key), network)
        return decoder.latents({k: v[None] for k, v in network.items()})[0]

    centred = self.data.latents - self.data.latents.mean(0, keepdims=True)
    spread = float(np.sqrt(np.mean(centred**2)))
    return generative.GeneratorObjective(self.generator, strategy, task, move, spread)

  def fit(self, seed: int, *, trains: bool = True) -> tuple[typing.PyTree, loop.History]:
    """Trains the generator of one seed; one without steps is fitted to all networks at once."""
    if not hasattr(self.generator, 'fit'):
      return super().fit(seed, trains=trains)
    # Nothing is stored: the same seed gives the same fit after a restart.
    text, options = 'The generator is fitted to all networks at once, without steps', {}
    if getattr(self.generator, 'NEEDS_SCORE', False):
      images, labels = self.data.dataset.val_x, self.data.dataset.val_y
      options['score'] = lambda latents: predictions.accuracy(
        self.data.architecture, self.data.decoder.decode(latents), images, labels
      )
      text += (
        f'; selected among {self.generator.num_scored} networks by their accuracy on '
        f'{len(labels)} validation images'
      )
    key = jax.random.key(seed)
    params = self.generator.fit(self.data.latents, key, self.data.condition, **options)
    self._sentences = [f'{text}.']
    logging.info(text)
    return params, {}

  def predict(self, params: typing.PyTree, seed: int) -> methods.Method:
    """Samples networks and publishes them as a zoo in the work directory."""
    num = self.config.evaluate.num_samples
    start = time.perf_counter()
    networks = self.draw(params, num, seed)
    seconds = time.perf_counter() - start
    path = self.workdir / f'samples/seed{seed}'
    if distributed.is_writer() and not (path / 'manifest.json').exists():
      if path.exists():  # Of a process that was killed; the networks are all here.
        shutil.rmtree(path)
      self.publish(params, networks, path, seed)
    logging.info('%d networks in %.2f s: %s', num, seconds, path)
    if self.config.evaluate.get('membership'):
      found = membership.compare(
        self.data, self.generator, params, seed=seed,
        num_bootstrap=self.config.evaluate.num_bootstrap,
      )  # fmt: skip
      self._memberships.append(found)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    return methods.Method(self.config.generator.name, 'model', networks, seconds, size, (seed,))

  def draw(self, params: typing.PyTree, num: int, seed: int) -> typing.StackedParams:
    """Samples `num` networks, path -> [num, ...] on the host."""
    return sampling.draw(self.config, self.data, self.generator, params, num, seed)

  def publish(
    self, params: typing.PyTree, networks: typing.StackedParams, path: Any, seed: int
  ) -> None:
    """Writes generated networks as a zoo, with records of how they were made."""
    flat = {jax.tree_util.keystr(k): v for k, v in jax.tree.leaves_with_path(params)}
    name = f'{self.config.generator.name}:{digest.of_tensors(flat)}'
    how = str(sampling_lib.read(self.config.get('sample', {})))
    publish_lib.publish(
      path,
      networks,
      self.data.architecture,
      generated={
        'generator_record_id': name,
        'sampler': ', '.join(filter(None, (self.config.generator.name, how))),
        'seed': seed,
      },
      parents=[
        {
          'record_id': None,
          'external_ref': f'zoo:{self.zoo.digest}',
          'relation': 'generated_by',
          'detail': {'generator': name},
        }
      ],
      source=self.zoo.records[0],
    )

  def report(self, predictions: list[methods.Method]) -> model.Report:
    """Evaluates the samples of all seeds, and of the rivals, beside the baselines."""
    merged = methods.merge(predictions, self.config.generator.name)
    fitted = manifest.train_seconds(self.workdir, self.seconds)
    merged = dataclasses.replace(merged, fit_seconds=fitted)
    rivals = [self._sample_of(name, rival) for name, rival in self.rivals.items()]
    report = self.compare([merged, *rivals])
    report.notes += [
      *self._sentences,
      *sampling.notes(self.config),
      *map(membership.sentence, self._memberships),
    ]
    if self._memberships:
      report.facts['Membership'] = {
        f'seed {found["seed"]}': found['auc']['value'] for found in self._memberships
      }
    return report

  def _sample_of(self, name: str, rival: 'Generation') -> methods.Method:
    """Trains a rival with the first seed and samples as many networks."""
    seed = self.config.train.seeds[0]
    rival.workdir, rival.progress = self.workdir / 'rivals' / name, self.progress
    start = time.perf_counter()
    params, _ = rival.fit(seed)
    fitted = time.perf_counter() - start
    return dataclasses.replace(rival.predict(params, seed), name=name, fit_seconds=fitted)

  def compare(self, given: Sequence[methods.Method]) -> model.Report:
    """Evaluates networks of any origin beside all baselines."""
    data, section = self.data, self.config.evaluate
    limits = section.get('metric_limits')
    reference = reference_lib.Reference(
      architecture=data.architecture,
      test_x=data.dataset.test_x,
      test_y=data.dataset.test_y,
      train=data.train,
      snapshots=data.snapshots,
      independent=data.independent,
      heldout=data.heldout,
      reference=data.reference,
      restarts=self.config.symmetry.restarts,
      finetune=sampling.finetune(self.config, data),
      finetune_steps=(section.finetune_steps,),
      fresh_seconds=build.seconds_per_network(self.zoo.path),
      num_bootstrap=section.num_bootstrap,
      seed=self.config.seed,
    )
    panel = baselines.panel(reference, num_samples=section.num_samples, seed=self.config.seed)
    evaluation = evaluator.evaluate(
      [*given, *panel],
      reference,
      progress=self.progress,
      metrics=tuple(section.get('metrics', ())),
      limits=limits.to_dict() if limits else None,
    )
    report = verdict.report(evaluation)
    report.facts['Zoo'] |= {
      'dataset': data.dataset.name, 'digest': self.zoo.digest, 'path': str(self.zoo.path)
    }  # fmt: skip
    return report


def _examples(
  latents: np.ndarray | None, condition: np.ndarray | None
) -> Mapping[str, np.ndarray] | None:
  """Examples of `generative.GeneratorObjective`; None if there are no latents."""
  if latents is None:
    return None
  examples = {'latents': latents, 'condition': condition}
  return {name: value for name, value in examples.items() if value is not None}
