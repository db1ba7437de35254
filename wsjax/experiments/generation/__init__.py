"""Trains a generator of networks; its samples are compared with every baseline."""

import contextlib
import copy
import dataclasses
import functools
import inspect
import pathlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import ml_collections
import numpy as np
from absl import logging
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from wsjax import config as config_lib
from wsjax import distributed, typing
from wsjax import networks as networks_lib
from wsjax.evaluation import baselines, evaluator, methods, predictions
from wsjax.evaluation import reference as reference_lib
from wsjax.evaluation.metrics import membership
from wsjax.evaluation.report import model
from wsjax.experiments import base, configs, sections
from wsjax.experiments.generation import any_task, prepare, verdict
from wsjax.generators.parts import keyed_noise
from wsjax.train import generative, loop, privacy, sharding
from wsjax.train.monitor import goodput
from wsjax.zoo import build, entries, losses
from wsjax.zoo import train as train_lib
from wsjax.zoo.data import datasets
from wsjax.zoo.store import digest, published, store

_PROBES = 4  # Random directions of an estimated divergence.
_SCALED, _SCALED_ITEMS = 32, 256  # Networks and items that tell the scale of a loss.


@dataclasses.dataclass(frozen=True)
class Evaluate(sections.Evaluate):
  """The section `evaluate`.

  Attributes:
    num_samples: generated networks per training seed, and networks of each baseline.
    finetune_steps: updates after which samples are evaluated once more.
    membership: whether densities of training and of held-out networks are compared.
    metrics: groups of optional metrics, and metrics of the user's own.
    metric_limits: name in `metrics` -> most networks and items of each method.
  """

  num_samples: config_lib.PositiveInt
  finetune_steps: config_lib.PositiveInt = 50
  membership: bool = False
  metrics: tuple[str, ...] = ()
  metric_limits: dict | None = None

  def __post_init__(self):
    super().__post_init__()
    try:
      evaluator.check(self.metrics, self.metric_limits)
    except (ValueError, TypeError) as error:
      given = f'{self.metrics} with evaluate.metric_limits {self.metric_limits}'
      raise ValueError(f'evaluate.metrics is {given}: {error}') from error


class Generation(base.Experiment):
  """Trains a generator on the canonical weights of a zoo, and evaluates its samples.

  With a section `rivals`, name -> changes of sections, other generators are trained on the zoo with
  one seed and evaluated in the same report.

  Attributes:
    data: the zoo in the form that the generator is trained on.
    generator: the plug-in that `config.generator` names.
    sampling: the section `sample` of the config.
  """

  SECTIONS: ClassVar[Mapping[str, type]] = {
    'evaluate': Evaluate,
    'symmetry': sections.Symmetry,
    'normalize': sections.Normalize,
    'gates': sections.Gates,
  }
  PLUGINS: ClassVar[tuple[str, ...]] = ('tokens', 'codec', 'generator')
  OPTIONAL: ClassVar[tuple[str, ...]] = ('condition', 'gates', 'rivals', 'sample', 'strategy')
  PRIVATE: ClassVar[bool] = True

  @classmethod
  def check(cls, config: ml_collections.ConfigDict, counts: Mapping[str, int] | None) -> None:
    """Checks what several fields say together; see `Experiment.check`."""
    prepare.check(config, counts)
    for name in config_lib.check_section(config.get('rivals', {}), 'rivals'):
      try:
        configs.check(_of_rival(config, name))
      except ValueError as error:
        raise ValueError(f'rivals.{name}: {error}') from error

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    zoo: store.Zoo,
    load: Callable[[], datasets.Dataset] | None = None,
  ):
    """Args: load: gives the data of the networks, if it is not what the config names."""
    super().__init__(config, zoo)
    self.data = prepare.prepare(config, zoo, load)
    self.generator = config_lib.build('generators', config.generator)
    self.sampling = config_lib.read(generative.Sampling, 'sample', config.get('sample', {}))
    self._check()
    self.rivals = {
      name: type(self)(_of_rival(config, name), zoo) for name in config.get('rivals', {})
    }
    self.train, self.val = self.data.examples['train'], self.data.examples['val']
    self._sentences: list[str] = []
    self._memberships: list[dict[str, Any]] = []

  def _check(self) -> None:
    """Raises ValueError for options of sampling and evaluation that do not fit the zoo."""
    task, section = self.data.architecture.task, self.config.evaluate
    if str(self.sampling) and task != 'classification':
      raise ValueError(
        f'sample.task_scale and sample.refine_steps are for classifiers, not for {task}. Allowed '
        'are 0 and 0.'
      )
    takes = inspect.signature(self.generator.sample).parameters
    if self.sampling.watermark:
      if not hasattr(self.generator, 'recover') or 'condition' in self.config:
        raise ValueError(
          'sample.watermark is for generators whose noise can be recovered, without a condition, '
          f"such as hypernetwork; {self.config.generator.name} is none. Allowed is ''."
        )
      keyed_noise.read(self.sampling.watermark)  # A wrong file is an error now.
    if self.sampling.task_scale and 'task_loss' not in takes:
      raise ValueError(
        'sample.task_scale is for generators that sample step by step; '
        f'{self.config.generator.name} does not. Allowed is 0.'
      )
    names = tuple(section.get('metrics', ()))
    evaluator.check(names, section.get('metric_limits'))
    if names and task != 'classification':
      raise ValueError(
        f'evaluate.metrics are for classifiers, not for {task}; got {names}. Allowed is ().'
      )
    heldout = self.data.examples['test']
    if section.get('membership') and (heldout is None or not hasattr(self.generator, 'log_prob')):
      raise ValueError(
        'evaluate.membership needs a generator with log_prob and a zoo with a split test; got '
        f'{self.config.generator.name}, and a zoo {"without" if heldout is None else "with"} it.'
      )

  def objective(self, seed: int) -> generative.GeneratorObjective:
    """Makes the loss of the generator by the strategy of the config.

    Raises:
      ValueError: if a functional loss is wanted and the networks are no classifiers, or the
        strategy section is wrong.
    """
    strategy = generative.read(self.config.get('strategy', {}))
    decoder = self.data.decoder
    task = self._task() if strategy.functional else None
    if task is not None and task.task_loss is not None and strategy.functional_relative:
      task = dataclasses.replace(task, scale=self._task_scale(task))
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
    if trains and 'dataset' in self.config.zoo:
      _ = self.data.dataset  # What was changed since the zoo was trained is an error now.
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
    params = self.generator.fit(self.data.latents, key, self.train.get('condition'), **options)
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
    if distributed.is_writer() and not published.is_zoo(path):
      if path.exists():  # Of a process that was killed; the networks are all here.
        shutil.rmtree(path)
      self.publish(params, networks, path, seed)
    logging.info('%d networks in %.2f s: %s', num, seconds, path)
    if self.config.evaluate.get('membership'):
      self._memberships.append(self._membership(params, seed))
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    return methods.Method(self.config.generator.name, 'model', networks, seconds, size, (seed,))

  def draw(self, params: typing.PyTree, num: int, seed: int) -> typing.StackedParams:
    """Samples networks as the section `sample` says, path -> [num, ...] on the host.

    Each device samples its share. Conditions are drawn from those of the training networks.
    """
    data, sampling = self.data, self.sampling
    condition = guided = noise = None
    if sampling.watermark:
      parts = self.generator.noise_parts(data.latents.shape[1:])
      key = keyed_noise.read(sampling.watermark)
      noise = keyed_noise.normal(key, self.nonces(params, num, seed), sum(parts))
    if 'condition' in self.train:
      rows = np.random.default_rng(seed).integers(data.num_train, size=num)
      condition = self.train['condition'][rows]
    if sampling.task_scale:
      task, key = self._task(), jax.random.key(seed)
      guided = {
        'task_loss': lambda x: task.loss(x[None], key, sampling.task_items, train=True),
        'task_scale': sampling.task_scale,
      }

    def sample(params: typing.PyTree, seed: int) -> jax.Array:
      key, shape = jax.random.key(seed), data.latents.shape[1:]
      given = (guided or {}) | ({} if noise is None else {'noise': noise})
      return self.generator.sample(params, key, num, shape=shape, condition=condition, **given)

    if jax.device_count() > 1:
      mesh = sharding.make_mesh((('nets', -1),))
      cut = P('nets') if num % mesh.size == 0 else P()
      placed = sharding.place(params, NamedSharding(mesh, P()))
      sharded = jax.jit(sample, out_shardings=NamedSharding(mesh, cut))
      latents = distributed.everywhere(sharded(placed, np.uint32(seed)))
    else:
      latents = sample(params, seed)
    networks = data.decoder.decode(latents)
    if not sampling.refine_steps:
      return networks
    return self._finetune()(networks, steps=sampling.refine_steps, seed=seed)

  def _finetune(self) -> reference_lib.Finetune:
    """What continues the training of networks by the recipe of the zoo."""
    recipe = train_lib.Recipe(**self.config.zoo.recipe.to_dict())
    return functools.partial(
      train_lib.finetune, self.data.architecture, self.data.dataset, recipe=recipe
    )

  def _task(self) -> generative.Task:
    """The examples that the networks of the zoo were trained on.

    Raises:
      ValueError: if they are no classifiers, and the data have no loss of their own.
    """
    architecture, dataset = self.data.architecture, self.data.dataset
    if architecture.task != 'classification' and dataset.loss is None:
      raise ValueError(
        'strategy.functional needs classifiers, or a data set with a loss of its own; '
        f'{architecture.name} is for {architecture.task}.'
      )
    dataset.check(architecture, 'train', 'val')
    val = (dataset.val_x, dataset.val_y) if len(dataset.val_y) else (None, None)
    return generative.Task(
      architecture,
      self.data.decoder.networks,
      dataset.train_x,
      dataset.train_y,
      *val,
      task_loss=dataset.loss,
    )

  def _task_scale(self, task: generative.Task) -> float:
    """The factor of `strategy.functional_relative`; 1 where the average network is not worse."""
    train = networks_lib.take(self.data.train, slice(_SCALED))
    mean = {path: np.mean(value, axis=0, keepdims=True) for path, value in train.items()}
    batch = task.inputs[:_SCALED_ITEMS], task.labels[:_SCALED_ITEMS]
    one = functools.partial(losses.value, task.task_loss, task.architecture)
    found = jax.jit(jax.vmap(one, (0, None)))
    gap = float(found(mean, batch)[0]) - float(np.median(found(train, batch)))
    return float(np.log(10)) / gap if np.isfinite(gap) and gap > 0 else 1.0

  def _membership(self, params: typing.PyTree, seed: int) -> dict[str, Any]:
    """Compares log-densities of training and of held-out networks.

    Returns:
      'auc', the chance that a training network has the higher density, with its interval; 'seed';
      median log-densities 'train' and 'heldout', nats per latent or None.
    """
    data, log_prob, options = self.data, self.generator.log_prob, {}
    if 'trace' in inspect.signature(log_prob).parameters:
      options = dict(trace='hutchinson', num_probes=_PROBES, key=jax.random.key(seed))
    # Snapshots are of another population.
    sets = {
      'train': {name: x[: data.num_train] for name, x in self.train.items()},
      'heldout': data.examples['test'],
    }
    densities, medians = [], {}
    for name, given in sets.items():
      latents = given['latents']
      found = log_prob(params, latents, given.get('condition'), **options)
      densities.append(np.asarray(found) / latents[0].size)
      median = float(np.median(densities[-1]))
      # Infinite where most networks have density 0, which JSON lacks.
      medians[name] = round(median, 3) if np.isfinite(median) else None
    num_bootstrap = self.config.evaluate.num_bootstrap
    auc = membership.auc(*densities, num_bootstrap=num_bootstrap, seed=seed)
    return {'auc': auc, 'seed': seed, **medians}

  def generator_id(self, params: typing.PyTree) -> str:
    """The generator in records: its name in the config, and the digest of its parameters."""
    flat = {jax.tree_util.keystr(k): v for k, v in jax.tree.leaves_with_path(params)}
    return f'{self.config.generator.name}:{digest.of_tensors(flat)}'

  def _private(self) -> privacy.Private | None:
    """How the training networks were kept private; None if they were not."""
    section = self.config.train.to_dict()
    return loop.read_settings(section).private(len(self.data.latents))

  def nonces(self, params: typing.PyTree, num: int, seed: int) -> list[str]:
    """Names of the keyed noise of `num` samples, no two alike."""
    name = self.generator_id(params).rpartition(':')[2]
    return [f'{name}/{seed}/{num}/{place}' for place in range(num)]

  def publish(
    self, params: typing.PyTree, networks: typing.StackedParams, path: Any, seed: int
  ) -> None:
    """Writes generated networks as a zoo, with records of how they were made."""
    name, nonces, marked = self.generator_id(params), None, {}
    if self.sampling.watermark:
      marked = {'watermark_key_id': keyed_noise.read(self.sampling.watermark).id}
      nonces = self.nonces(params, networks_lib.length(networks), seed)
    sources = config_lib.provenance({k: v for k, v in self.config.items() if k != 'name'})
    private = self._private()
    hidden = {'privacy': {'epsilon': private.epsilon, 'delta': private.delta}} if private else {}
    entries.publish_generated(
      path,
      networks,
      self.data.architecture,
      generated={
        'generator_record_id': name,
        'sampler': ', '.join(filter(None, (self.config.generator.name, str(self.sampling)))),
        'seed': seed,
        **marked,
      },
      parents=[
        {
          'record_id': None,
          'external_ref': f'zoo:{self.zoo.digest}',
          'relation': 'generated_by',
          'detail': {'generator': name} | ({'sources': sources} if sources else {}) | hidden,
        }
      ],
      source=self.zoo.records[0],
      nonces=nonces,
    )

  def report(self, predictions: list[methods.Method]) -> model.Report:
    """Evaluates the samples of all seeds, and of the rivals, beside the baselines."""
    merged = methods.merge(predictions, self.config.generator.name)
    merged = dataclasses.replace(merged, fit_seconds=self._train_seconds())
    rivals = [self._sample_of(name, rival) for name, rival in self.rivals.items()]
    report = self.compare([merged, *rivals])
    report.notes += [*self._sentences, *map(_sentence, self._memberships)]
    if (private := self._private()) is not None:
      report.notes.append(
        f'Training was {private}; networks of the split val are public. This is of one generator, '
        'and those of several seeds add up; this report compares it with the training networks.'
      )
      report.facts['Privacy'] = dataclasses.asdict(private)
    if how := str(self.sampling):
      report.notes.append(
        f'Samples were {how}; their seconds per network, and the number of networks from which the '
        'generator pays, include it.'
      )
    if self._memberships:
      report.facts['Membership'] = {
        f'seed {found["seed"]}': found['auc']['value'] for found in self._memberships
      }
    return report

  def _train_seconds(self) -> float:
    """Wall seconds of training, also of processes that were killed."""
    logged = 0.0
    for file in self.workdir.glob('train/**/goodput.jsonl'):
      with contextlib.suppress(ValueError, OSError):  # It is only a log.
        summary = goodput.summary(file)
        logged += summary['wall_seconds'] - summary['down_seconds']
    return max(logged, self.seconds['train'])

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
    report = judge(
      given,
      data.dataset,
      num_samples=section.num_samples,
      metrics=tuple(section.get('metrics', ())),
      limits=limits.to_dict() if limits else None,
      progress=self.progress,
      architecture=data.architecture,
      train=data.train,
      snapshots=data.snapshots,
      independent=data.independent,
      heldout=data.heldout,
      reference=data.reference,
      restarts=self.config.symmetry.restarts,
      finetune=self._finetune() if 'recipe' in self.config.zoo else None,
      finetune_steps=(section.get('finetune_steps', 50),),
      fresh_seconds=build.seconds_per_network(self.zoo.path),
      num_bootstrap=section.num_bootstrap,
      seed=self.config.seed,
    )
    report.facts['Zoo'] |= {
      'dataset': data.dataset.name, 'digest': self.zoo.digest, 'path': str(self.zoo.path)
    }  # fmt: skip
    return report


def of_run(
  config: ml_collections.ConfigDict, zoo: store.Zoo, workdir: pathlib.Path
) -> 'Generation':
  """The experiment of a run, whose config is as it was given; ValueError without a generator."""
  kind = base.find(config.get('experiment', ''))
  if not issubclass(kind, Generation):
    raise ValueError(
      f'{workdir}: experiment is {config.experiment!r}, which has no generator of networks.'
    )
  experiment = kind(configs.filled(config, kind), zoo)
  experiment.workdir = workdir
  return experiment


def judge(
  given: Sequence[methods.Method],
  dataset: datasets.Dataset,
  *,
  num_samples: int,
  metrics: Sequence[str] = (),
  limits: Mapping[str, tuple[int, int]] | None = None,
  progress: bool = True,
  **zoo: Any,
) -> model.Report:
  """Compares methods with a zoo beside all baselines: by accuracy, or by a loss of the data's own.

  Args:
    given: the methods.
    dataset: whose test split they are compared on.
    num_samples: networks per baseline.
    metrics: optional metrics, for classifiers.
    limits: see `evaluator.evaluate`.
    progress: whether to show progress.
    **zoo: other fields of `reference.Reference`.

  Raises:
    ValueError: as `evaluator.evaluate`; or for metrics where networks are compared by a loss.
  """
  if not len(dataset.test_y):
    raise ValueError(f'{dataset.name} has no split test, on which networks are compared.')
  dataset.check(zoo['architecture'], 'test')
  zoo |= {'test_x': dataset.test_x, 'test_y': dataset.test_y}
  if dataset.loss is not None:
    if metrics:
      raise ValueError(f'evaluate.metrics are for classifiers; got {metrics}. Allowed is ().')
    reference = any_task.Reference(loss=dataset.loss, **zoo)
    return any_task.evaluate(given, reference, num_samples=num_samples, progress=progress)
  classifiers = reference_lib.Reference(**zoo)
  panel = baselines.panel(classifiers, num_samples=num_samples, seed=classifiers.seed)
  evaluation = evaluator.evaluate(
    [*given, *panel], classifiers, metrics=metrics, limits=limits, progress=progress
  )
  return verdict.report(evaluation)


def _of_rival(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
  """The config in which the sections of a rival are changed."""
  config = copy.deepcopy(ml_collections.ConfigDict(config))
  with config.unlocked(), config.ignore_type():
    changes = config_lib.check_section(config.rivals[name], f'rivals.{name}')
    del config.rivals
    if 'sample' in config:  # Samples of rivals are not released.
      config.sample.watermark = ''
    for section, values in changes.items():
      config_lib.check_section(values, f'rivals.{name}.{section}')
      if 'name' in values or section not in config:  # Another plug-in has other fields.
        config[section] = values
      else:
        config[section].update(values)
  return config.lock()


def _sentence(found: dict[str, Any]) -> str:
  """Describes what `_membership` returns."""
  auc = found['auc']
  return (
    f'train/seed{found["seed"]}: the median log-density per latent is {found["train"]} for '
    f'training and {found["heldout"]} for held-out networks; that of a training network is higher '
    f'with probability {auc["value"]:.2f} [{auc["low"]:.2f}, {auc["high"]:.2f}], chance 0.5.'
  )
