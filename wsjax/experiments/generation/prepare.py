"""First stage: a zoo, and the form of it that a generator learns from."""

import dataclasses
import functools
from collections.abc import Callable

import ml_collections
import numpy as np

from wsjax import config as config_lib
from wsjax import typing
from wsjax.experiments import base
from wsjax.generators import decode
from wsjax.models import model as model_lib
from wsjax.symmetry import canonicalize
from wsjax.train import generative
from wsjax.zoo.data import datasets
from wsjax.zoo.store import store


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
  """The zoo in the form that a generator learns from.

  Attributes:
    zoo: checkpoints and records.
    architecture: of all its networks.
    reference: the network that the others are aligned to.
    train: path -> [N, ...] raw training networks: ends of runs; of a single run whose trajectory is
      learned from, all its checkpoints, the end first.
    independent: whether `train` are of several runs.
    snapshots: path -> [S, ...] raw, what else is learned from of several runs, or None.
    heldout: path -> [M, ...] raw networks of the test split, or None.
    latents: [N + S, T, D] `train` and, behind them, `snapshots`: canonical, tokenized, normalized,
      encoded.
    val_latents: [V, T, D] the same of the validation split, or None.
    condition: [N + S, C] what each of `latents` was told to be, or None.
    val_condition: [V, C] the same of `val_latents`, or None.
    heldout_latents: [M, T, D] the same of `heldout`, if there are any and the config wants a
      likelihood of them; else None.
    heldout_condition: [M, C] the same of `heldout_latents`, or None.
    decoder: latents -> networks.
    load: reads the data that the networks of the zoo learned from.
  """

  zoo: store.Zoo
  architecture: model_lib.Model
  reference: typing.Params
  train: typing.StackedParams
  independent: bool
  snapshots: typing.StackedParams | None
  heldout: typing.StackedParams | None
  latents: np.ndarray
  val_latents: np.ndarray | None
  condition: np.ndarray | None
  val_condition: np.ndarray | None
  heldout_latents: np.ndarray | None
  heldout_condition: np.ndarray | None
  decoder: decode.Decoder
  load: Callable[[], datasets.Dataset]

  @functools.cached_property
  def dataset(self) -> datasets.Dataset:
    """What the networks of the zoo learned from; read when it is needed."""
    return self.load()

  @property
  def num_train(self) -> int:
    """Training networks N; as many rows of `latents` come first."""
    return len(next(iter(self.train.values())))


def prepare(
  config: ml_collections.ConfigDict,
  zoo: store.Zoo,
  load: Callable[[], datasets.Dataset] | None = None,
) -> Prepared:
  """Brings a zoo into the form that a generator learns from.

  All statistics are those of the training split.

  Args:
    config: of the experiment.
    zoo: networks of one model.
    load: gives the data that they learned from; None reads what `config.zoo.dataset` names.

  Raises:
    ValueError: if the zoo has no training network, its networks differ in architecture or in task,
      or more of them are wanted than it has, or snapshots and it has none.
  """
  strategy = generative.read(config.get('strategy', {}))
  if config.zoo.get('dataset', {}).get('labels', 'classes') != 'classes':
    raise ValueError(
      f'zoo.dataset.labels is {config.zoo.dataset.labels!r}: every network has '
      'a task of its own, which is for a config with a section tasks.'
    )
  rows = _final(zoo, 'train')
  if not len(rows):
    raise ValueError(f'The zoo at {zoo.path} has no training network.')
  if strategy.num_train > len(rows):
    raise ValueError(
      f'strategy.num_train is {strategy.num_train}; the zoo has {len(rows)} training networks.'
    )
  rows = rows[: strategy.num_train or None]
  before = _snapshots(zoo, rows) if strategy.trajectory else rows[:0]
  independent = len(rows) > 1
  if not independent:  # Then the checkpoints of that run are the population.
    rows, before = np.concatenate([rows, before]), rows[:0]
  rows, num = np.concatenate([rows, before]), len(rows)
  shown = zoo.params(rows)
  train = {path: value[:num] for path, value in shown.items()}
  architecture = zoo.model
  reference = {path: value[0] for path, value in train.items()}
  canonical = functools.partial(
    canonicalize.canonicalize,
    spec=architecture.spec,
    mode=config.symmetry.canonicalize,
    reference=reference,
    restarts=config.symmetry.restarts,
    seed=config.seed,
  )
  decoder, latents = decode.fit(
    canonical(shown),
    architecture.spec,
    tokens=config.tokens,
    normalize=config.normalize,
    codec=config.codec,
  )
  val, heldout = _final(zoo, 'val'), _final(zoo, 'test')
  likely = heldout if config.evaluate.get('membership') else heldout[:0]
  condition = functools.partial(_condition, config, zoo)

  def encoded(rows: np.ndarray) -> np.ndarray | None:
    if not len(rows):
      return None
    return decoder.encode(canonical(zoo.params(rows)))

  return Prepared(
    zoo=zoo,
    architecture=architecture,
    reference=reference,
    train=train,
    independent=independent,
    snapshots=({path: value[num:] for path, value in shown.items()} if len(before) else None),
    heldout=zoo.params(heldout) if len(heldout) else None,
    latents=latents,
    val_latents=encoded(val),
    condition=condition(rows),
    val_condition=condition(val) if len(val) else None,
    heldout_latents=encoded(likely),
    heldout_condition=condition(likely) if len(likely) else None,
    decoder=decoder,
    load=load or functools.partial(_load, config, zoo),
  )


def _load(config: ml_collections.ConfigDict, zoo: store.Zoo) -> datasets.Dataset:
  """Reads the data set that a config names.

  Raises:
    ValueError: if it names none, or as `datasets.load_for`.
  """
  if 'dataset' not in config.zoo:
    raise ValueError(
      'zoo.dataset is missing: the data that the networks of the zoo learned from, '
      "such as dict(name='path/to/data.py:load')."
    )
  return datasets.load_for(zoo.records, **config.zoo.dataset)


def _final(zoo: store.Zoo, split: str) -> np.ndarray:
  """Rows of the ends of the runs of a split that did not diverge."""
  return np.asarray(zoo.select(split=split, final=True, diverged=False), int)


def _snapshots(zoo: store.Zoo, final: np.ndarray) -> np.ndarray:
  """Rows of the weights of some training runs before their end.

  Raises:
    ValueError: if there are none.
  """
  rows = np.setdiff1d(base.rows_of_runs(zoo, final), final)
  if not len(rows):
    raise ValueError(
      f'strategy.trajectory is set, and the zoo at {zoo.path} has no '
      'snapshots; zoo.recipe.snapshots lists the steps to keep.'
    )
  return rows


def _condition(
  config: ml_collections.ConfigDict, zoo: store.Zoo, rows: np.ndarray
) -> np.ndarray | None:
  """[n, C] what networks are told to be, if the config has that section.

  Raises:
    ValueError: if the generator takes conditions of another size.
  """
  section = config.get('condition')
  size = config.generator.get('condition_size', 0)
  if section is None:
    if size:
      raise ValueError(f'generator.condition_size is {size}, and there is no section condition.')
    return None
  condition = config_lib.build('generators.conditions', section)
  if condition.size != size:
    raise ValueError(
      f'The condition {section.name!r} has {condition.size} features; '
      f'generator.condition_size of {config.generator.name!r} is {size}, and a '
      'family without it takes no condition.'
    )
  return condition.of_records([zoo.records[row] for row in rows])
