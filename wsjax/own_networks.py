"""Encodes, generates and evaluates any networks in a few lines, without a config."""

import contextlib
import dataclasses
import math
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import ml_collections
import numpy as np
from jaxtyping import Float

from wsjax import config as config_lib
from wsjax import files, mixed_networks, typing
from wsjax import networks as networks_lib
from wsjax.encoders import examples
from wsjax.evaluation import methods
from wsjax.evaluation.report import model as report_lib
from wsjax.experiments import generation, geometry
from wsjax.heads import prediction
from wsjax.train import loop, pretrain
from wsjax.zoo import comparable
from wsjax.zoo.data import datasets
from wsjax.zoo.store import store

Data: TypeAlias = datasets.Dataset | tuple[Any, Any]  # Or inputs and targets.

_STEPS = 2_000
_BLOCK = 50  # Steps after which progress is shown, at most.
# Fields that generators of these families need.
_NEEDED = {
  'autoregressive': {'head': {'name': 'mlp'}},
  'diffusion': {'backbone': {'name': 'mlp'}},
  'flow_matching': {'backbone': {'name': 'mlp'}},
}
# Families that learn whole weights, and the tokens of those that are not learned as one vector.
_WHOLE = ('autoregressive', 'graph_flow', 'hypernetwork')
_TOKENS = {'autoregressive': 'neurons'}
# Families whose samples are solutions of an equation. Where samples learn the task, every step of
# training follows it there and back, which takes a small backbone and few steps of the solver: up
# to 15 cost the same.
_SOLVED = ('diffusion', 'flow_matching')
_SOLVED_FIELDS = {'backbone': {'name': 'mlp', 'width': 128}, 'num_steps': 15}
_SOLVED_NETWORKS = 8
# Training of generators and encoders, where the caller gives nothing else.
_TRAIN = dict(
  learning_rate=1e-3,
  schedule='cosine',
  clip_norm=1.0,
  ema_decay=0.99,
  checkpoint_every_steps=1_000,
  mesh=(('data', -1),),
)


def encode(
  zoo: store.Zoo,
  encoder: str = 'statistics',
  *,
  steps: int = 0,
  objective: str = 'contrastive',
  seed: int = 0,
  progress: bool = True,
  **fields: Any,
) -> Float[np.ndarray, 'networks embedding']:
  """Embeds every network of a zoo as a vector.

  Args:
    zoo: networks of one model, or of several for an encoder of graphs.
    encoder: plug-in of `wsjax.encoders`, or a class of the user's own.
    steps: of self-supervised training on the networks; 0 leaves the encoder as it is initialized,
      which keeps its symmetries and much of what weights tell.
    objective: of that training, 'contrastive' or 'masked'.
    seed: of the encoder and its training.
    progress: whether to show a progress bar.
    **fields: of the encoder.

  Raises:
    ValueError: for an unknown encoder or field, or networks that the encoder cannot read.
  """
  config = ml_collections.ConfigDict(
    {
      'seed': seed,
      'encoder': {'name': encoder},
      'symmetry': {'canonicalize': 'none', 'restarts': 1},
      'augment': {},
    }
  )
  rows = np.arange(len(zoo))
  kinds = examples.kinds(config, zoo, rows)
  given = examples.read(config, zoo, rows, kinds, examples.weights(zoo, 0))
  section = {'name': encoder, **fields, 'architecture': kinds.architectures[0]}
  if kinds.capacity is not None:
    section['capacity'] = kinds.capacity
  module = config_lib.build('encoders', section, 'encoder')
  predictor = prediction.Predictor(module, _Identity(), prediction.parameter_scales(given))
  first = jax.tree.map(lambda x: x[0], given)
  variables = jax.jit(predictor.init)(jax.random.key(seed), first)
  if steps:
    settings = {'objective': objective, 'steps': steps}
    with tempfile.TemporaryDirectory() as workdir:
      trained, _ = loop.fit(
        pretrain.make(settings, module, kinds.architectures[0].spec, predictor.scales),
        {'example': given},
        _train(steps, min(64, len(zoo))),
        seed=seed,
        workdir=pathlib.Path(workdir),
        progress=progress,
      )
    variables = pretrain.transfer(trained, variables)
  return prediction.predict(predictor, variables, given)


class _Identity(nn.Module):
  """Head that returns the embedding."""

  def __call__(self, x: jax.Array) -> jax.Array:
    return x


@dataclasses.dataclass(frozen=True, eq=False)
class FittedGenerator:
  """A generator of networks, from `fit`.

  Attributes:
    experiment: its zoo in the form that it learned from, and the generator.
    params: of the generator.
    history: losses of its training.
  """

  experiment: generation.Generation
  params: typing.PyTree
  history: loop.History

  def sample(self, num: int, *, seed: int = 0) -> networks_lib.Networks:
    """Draws networks; equal seeds give equal networks."""
    config_lib.check_seed(seed, 'seed')
    if num < 1:
      raise ValueError(f'num is {num}; at least 1 is allowed.')
    drawn = self.experiment.draw(self.params, num, seed)
    return networks_lib.Networks(drawn, self.experiment.zoo.spec)

  def save(self, num: int, path: str | pathlib.Path, *, seed: int = 0) -> store.Zoo:
    """Draws networks into a new zoo, whose records name the generator and its training zoo."""
    drawn = self.sample(num, seed=seed)
    self.experiment.publish(self.params, drawn.params, pathlib.Path(path), seed)
    return store.Zoo.open(path, model=self.experiment.zoo.model)


def fit(
  zoo: store.Zoo,
  generator: str = 'hypernetwork',
  *,
  task: Data | None = None,
  steps: int = _STEPS,
  seed: int = 0,
  workdir: str | pathlib.Path | None = None,
  progress: bool = True,
  sections: Mapping[str, Any] | None = None,
  **fields: Any,
) -> FittedGenerator | mixed_networks.MixedGenerator:
  """Fits a generator to the training networks of a zoo.

  Scales are balanced and permutations aligned first. A hypernetwork learns whole weights, other
  families up to 64 whitened principal components, and 'autoregressive' and 'graph_flow' weights as
  they are. A flow or diffusion with a task has a small backbone and 15 steps of its solver. Of a
  zoo of several architectures 'flow_matching' learns all of them at once, as tokens with masks, and
  samples each.

  Args:
    zoo: networks of one model, or of several.
    generator: plug-in of `wsjax.generators`, or a class of the user's own.
    task: what the networks learned: inputs [n, ...] and targets [n, ...], or a `Dataset`. The loss
      of generated networks on it is then part of the objective of the generator.
    steps: of the training.
    seed: of the generator and its training.
    workdir: directory of checkpoints, from which an interrupted training continues; None keeps
      nothing.
    progress: whether to show a progress bar.
    sections: changes of sections of the config, such as `{'train': {'batch_size': 8}}`.
    **fields: of the generator.

  Raises:
    ValueError: for an unknown generator, field or section, or a zoo with fewer than two training
      networks.
  """
  num = len(zoo.select(split='train'))
  if num < 2:
    raise ValueError(f'{zoo!r} has {num} training networks; at least 2 are needed.')
  if len(zoo.architectures) > 1:
    if generator != mixed_networks.NAME or task is not None or sections:
      raise ValueError(
        f'{zoo!r} has {len(zoo.architectures)} architectures; allowed are the generator '
        f'{mixed_networks.NAME!r} without a task and sections, or a zoo of one architecture, '
        'such as zoo.subset(zoo.select(architecture=zoo.architectures[0])).'
      )
    with _folder(workdir) as path:
      train = _train(steps, min(64, num))
      options = {'train': train, 'seed': seed, 'progress': progress, 'fields': fields}
      return mixed_networks.fit(zoo, workdir=path, **options)
  needed = dict(_NEEDED.get(generator, {}))
  if generator == 'graph_flow':
    needed['architecture'] = zoo.model
  selects = getattr(config_lib.find('generators', generator, 'generator'), 'NEEDS_SCORE', False)
  if selects and task is None:
    raise ValueError(
      f'{generator!r} selects networks by their accuracy; give task=(inputs, targets).'
    )
  # With privacy the codec is of public networks.
  private = bool((sections or {}).get('train', {}).get('privacy'))
  known = len(zoo.select(split='val')) if private else num
  codec = {'name': 'pca', 'rank': max(min(64, known - 1), 1), 'whiten': True}
  strategy: dict[str, Any] = {}
  if task is not None:
    strategy = {'distribution': 4.0, 'functional': 1.0, 'functional_relative': True}
    if generator in _SOLVED:
      needed |= _SOLVED_FIELDS
      strategy['functional_networks'] = _SOLVED_NETWORKS
  config = {
    'name': generator,
    'seed': seed,
    'zoo': {},
    'symmetry': {'canonicalize': 'permutation+scale', 'restarts': 3},
    'tokens': {'name': _TOKENS.get(generator, 'flat')},
    'normalize': {'how': 'layer'},
    'codec': {'name': 'identity'} if generator in _WHOLE else codec,
    'generator': {'name': generator, **needed, **fields},
    'strategy': strategy,
    'sample': {},
    'train': _train(steps, min(16 if generator == 'hypernetwork' else 64, num)),
    'evaluate': {},
  }
  for name, values in (sections or {}).items():
    if name not in config:
      raise ValueError(f'sections has {name!r}; allowed: {", ".join(config)}.')
    config[name] = {**config[name], **values}
  dataset = None if task is None else _dataset(task, 'train')
  if selects and not isinstance(task, datasets.Dataset):
    dataset = datasets.Dataset.of(train=task, val=task)
  experiment = generation.Generation(
    ml_collections.ConfigDict(config), zoo, dataset and (lambda: dataset)
  )
  experiment.progress = progress
  with _folder(workdir) as experiment.workdir:
    params, history = experiment.fit(seed)
  return FittedGenerator(experiment, params, history)


@contextlib.contextmanager
def _folder(workdir: str | pathlib.Path | None) -> Iterator[pathlib.Path]:
  """The directory of checkpoints; a temporary one for None."""
  with contextlib.ExitStack() as stack:
    if workdir is None:
      workdir = stack.enter_context(tempfile.TemporaryDirectory())
    yield files.folder(workdir, 'workdir')


def evaluate(
  networks: networks_lib.Networks | store.Zoo,
  zoo: store.Zoo,
  *,
  data: Data,
  name: str = 'generator',
  metrics: Sequence[str] = (),
  num_bootstrap: int = 1_000,
  seed: int = 0,
  progress: bool = True,
) -> report_lib.Report:
  """Compares networks with the training networks of a zoo, beside every baseline.

  Networks of the test split of the zoo are the ceiling, 'fresh runs'.

  Args:
    networks: of the model of the zoo: generated, merged or from elsewhere.
    zoo: networks of one model.
    data: test inputs [n, ...] and targets [n, ...], or a `Dataset`. Networks are compared by
      accuracy if targets are classes, else by their loss.
    name: of what made the networks, in the report.
    metrics: groups of metrics beside the standard ones, for classifiers.
    num_bootstrap: resamples behind every interval.
    seed: of baselines and resamples.
    progress: whether to show a progress bar.

  Returns:
    The report; a notebook shows it as tables, and `report.save(directory)` writes it as a page.

  Raises:
    ValueError: if the networks do not fit the model, records say that they are other functions or
      learned from other data, or the zoo consists of copies of one network.
  """
  unknown = []
  if isinstance(networks, store.Zoo):
    unknown = comparable.check(networks, zoo)
    networks = networks.networks()
  zoo.spec.check(networks.params, stacked=True)
  dataset = _dataset(data, 'test')
  train = zoo.networks('train').params
  heldout = zoo.select(split='test')
  report = generation.judge(
    [methods.Method(name, 'model', networks.host().params)],
    dataset,
    num_samples=len(networks),
    metrics=metrics,
    progress=progress,
    architecture=zoo.model,
    train=train,
    heldout=zoo.params(heldout) if len(heldout) else None,
    reference={path: value[0] for path, value in train.items()},
    num_bootstrap=num_bootstrap,
    seed=seed,
  )
  report.notes += unknown
  return report


def survey(
  zoo: store.Zoo,
  *,
  train: tuple[Any, Any] | None = None,
  test: tuple[Any, Any] | None = None,
  seed: int = 0,
  **fields: Any,
) -> report_lib.Report:
  """Surveys the geometry of a zoo: barriers, flatness, dimension, implicit bias, modularity.

  Args:
    zoo: at least 4 networks of one model.
    train: inputs [n, ...] and targets [n, ...] that they learned; without them there is no loss,
      and only weights are looked at.
    test: others, for the generalization gap; both or none are given.
    seed: of random directions, vectors and resamples.
    **fields: of the section `geometry`, see `experiments.geometry.Section`.

  Raises:
    ValueError: if data or a field do not fit.
  """
  if (train is None) != (test is None):
    raise ValueError('survey takes both of train and test, or none of them.')
  config = {
    'seed': seed, 'zoo': {}, 'geometry': fields, 'train': {'seeds': (seed,)},
    'evaluate': {'num_bootstrap': 1_000},
  }  # fmt: skip
  dataset = None if train is None else datasets.Dataset.of(train=train, test=test)
  experiment = geometry.Geometry(ml_collections.ConfigDict(config), zoo, dataset)
  return experiment.report([experiment.predict({}, seed)])


def _train(steps: int, batch_size: int) -> dict[str, Any]:
  """The section train; blocks of equal length, since every length is compiled."""
  common = steps if steps < _TRAIN['checkpoint_every_steps'] else math.gcd(steps, 1_000)
  inner = max(x for x in range(1, _BLOCK + 1) if common % x == 0)
  return _TRAIN | {
    'steps': steps,
    'batch_size': batch_size,
    'inner_steps': inner if inner >= _BLOCK / 5 else min(_BLOCK, steps),
    'seeds': (0,),
  }


def _dataset(data: Data, split: str) -> datasets.Dataset:
  """Data as a data set with one split, if it is none yet."""
  if isinstance(data, datasets.Dataset):
    return data
  return datasets.Dataset.of(**{split: data})
