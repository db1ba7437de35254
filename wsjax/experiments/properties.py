"""Reading a property from weights: data, training, scores."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from wsjax import config as config_lib
from wsjax import typing
from wsjax.encoders import predictor as predictor_lib
from wsjax.experiments import networks, property_scores
from wsjax.train import augment, loop, pretrain, supervised
from wsjax.zoo import targets
from wsjax.zoo.store import store

SPLITS = ('train', 'val', 'test')


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
  """A zoo in the form that a predictor learns from.

  Attributes:
    kinds: the architectures of its networks.
    splits: 'train', 'val' and 'test' -> {'example': what `networks.read` gives, 'target': [N]};
      numbers are in units of the training split's standard deviation around its mean.
    unlabelled: {'example': all networks of the training split}, whatever number of them has labels;
      None where there is no pretraining.
    kind: 'class' or 'number'.
    names: of the classes; empty for a number.
    mean: of the training targets; 0 for a class.
    std: of the training targets; 1 for a class.
  """

  kinds: networks.Kinds
  splits: dict[str, dict[str, Any]]
  unlabelled: dict[str, Any] | None
  kind: str
  names: tuple[str, ...]
  mean: float
  std: float


def prepare(config: ml_collections.ConfigDict, zoo: store.Zoo) -> Prepared:
  """Weights and targets of every split.

  Raises:
    ValueError: if a split has no network, or as `networks.kinds` and `targets.load`.
  """
  rows = {split: zoo.select(split=split, final=True, diverged=False) for split in SPLITS}
  unlabelled = rows['train']
  if config.property.num_train:
    rows['train'] = rows['train'][: config.property.num_train]
  for split, chosen in rows.items():
    if not len(chosen):
      raise ValueError(
        f'The zoo at {zoo.path} has no networks of {split}; property.folds makes splits of its own.'
      )
  kinds = networks.kinds(config, zoo, np.concatenate([unlabelled, *rows.values()]))
  reference = networks.weights(zoo, rows['train'][0])
  splits, found = {}, {}
  for split, chosen in rows.items():
    found[split] = targets.load(zoo, chosen, config.property.target)
    splits[split] = {
      'example': networks.read(config, zoo, chosen, kinds, reference),
      'target': found[split].values,
    }
  kind = found['train'].kind
  extra = None
  if config.pretrain.objective != 'none':
    read = networks.read(config, zoo, unlabelled, kinds, reference)
    extra = {'example': read}
  mean, std = 0.0, 1.0
  if kind == 'number':
    mean = float(found['train'].values.mean())
    std = float(found['train'].values.std()) or 1.0
    for split in splits.values():
      split['target'] = ((split['target'] - mean) / std).astype(np.float32)
  names = tuple(found['train'].names)
  return Prepared(kinds, splits, extra, kind, names, mean, std)


def make_predictor(
  config: ml_collections.ConfigDict,
  kinds: networks.Kinds,
  names: Sequence[str],
  scales: tuple[tuple[str, Any], ...] = (),
) -> predictor_lib.Predictor:
  """The module that a config describes.

  Args:
    config: of the run.
    kinds: what the networks are.
    names: of the classes; none for a number.
    scales: of the weights.
  """
  head = {
    'name': 'classifier' if names else 'regressor',
    'num_outputs': len(names) or 1,
    **config.property.head.to_dict(),
  }
  encoder = {
    **config.encoder.to_dict(),
    'architecture': kinds.architectures[0],
    **({} if kinds.capacity is None else {'capacity': kinds.capacity}),
  }
  return predictor_lib.Predictor(
    encoder=config_lib.build('encoders', encoder),
    head=config_lib.build('heads', head),
    scales=scales,
  )


def fit(
  config: ml_collections.ConfigDict,
  prepared: Prepared,
  workdir: pathlib.Path,
  *,
  seed: int,
  progress: bool,
) -> tuple[predictor_lib.Predictor, typing.PyTree, loop.History]:
  """The predictor of one training seed, trained or restored.

  Returns:
    The module, its averaged variables and the history.
  """
  scales = predictor_lib.leaf_scales(prepared.splits['train']['example'])
  predictor = make_predictor(config, prepared.kinds, prepared.names, scales)
  # Refused for several architectures, where no augmentation is made.
  change = None
  if prepared.kinds.capacity is None:
    change = augment.make(config.augment, prepared.kinds.architectures[0])
  pretrained = _pretrain(config, prepared, predictor, workdir, seed=seed, progress=progress)
  variables, history = loop.fit(
    supervised.Supervised(predictor, change, pretrained),
    prepared.splits['train'],
    config.train.to_dict(),
    seed=seed,
    workdir=workdir / f'train/seed{seed}',
    val=prepared.splits['val'],
    progress=progress,
  )
  return predictor, variables, history


def _pretrain(
  config: ml_collections.ConfigDict,
  prepared: Prepared,
  predictor: predictor_lib.Predictor,
  workdir: pathlib.Path,
  *,
  seed: int,
  progress: bool,
) -> typing.PyTree | None:
  """Variables from training without labels, or None where there is none."""
  if config.pretrain.objective == 'none':
    return None
  objective = pretrain.make(
    config.pretrain, predictor.encoder, prepared.kinds.architectures[0].spec, predictor.scales
  )
  variables, _ = loop.fit(
    objective,
    prepared.unlabelled,
    config.train.to_dict() | {'steps': config.pretrain.steps},
    seed=seed,
    workdir=workdir / f'pretrain/seed{seed}',
    progress=progress,
  )
  return variables


def judge(
  config: ml_collections.ConfigDict, prepared: Prepared, outputs: dict[str, np.ndarray]
) -> dict[str, Any]:
  """Scores of all training seeds on the test split.

  Args:
    config: of the run.
    prepared: the data.
    outputs: 'val' and 'test' -> [S, n, ...] outputs of the head.

  Returns:
    'metrics', 'constant' (what the best constant scores) and 'outcome', what a figure shows of the
    first seed.
  """
  truth = {name: s['target'] for name, s in prepared.splits.items()}
  if prepared.kind == 'class':
    guess = np.bincount(truth['train']).argmax()
    return property_scores.classes(config, outputs['test'], truth['test'], guess)
  mean, std = prepared.mean, prepared.std
  known = {name: mean + std * truth[name] for name in ('val', 'test')}
  read = {}
  for name in known:
    m, log_std = np.moveaxis(outputs[name].astype(np.float64), -1, 0)
    read[name] = np.stack([mean + std * m, std * np.exp(log_std)], -1)
  return property_scores.numbers(
    config, read['test'], known['test'], (read['val'], known['val']), mean
  )


def outputs(
  prepared: Prepared, predictor: predictor_lib.Predictor, variables: typing.PyTree
) -> dict[str, np.ndarray]:
  """'val' and 'test' -> [n, ...] outputs of the head."""
  return {
    split: predictor_lib.predict(predictor, variables, prepared.splits[split]['example'])
    for split in ('val', 'test')
  }


def describe(
  config: ml_collections.ConfigDict, prepared: Prepared, variables: typing.PyTree, seconds: float
) -> dict[str, Any]:
  """What was read, and by what, for the report."""
  return {
    'property': {
      'target': config.property.target,
      'kind': prepared.kind,
      'names': list(prepared.names),
      'num_train': len(prepared.splits['train']['target']),
      'num_test': len(prepared.splits['test']['target']),
    },
    'encoder': describe_model(config.encoder, config.train, variables, seconds),
  }


def describe_model(
  section: ml_collections.ConfigDict,
  train: ml_collections.ConfigDict,
  variables: typing.PyTree,
  seconds: float,
) -> dict[str, Any]:
  """A trained model for the report: its section, size and training."""
  return {
    **section.to_dict(),
    'num_params': sum(x.size for x in jax.tree.leaves(variables)),
    'steps': train.steps,
    'train_seconds': seconds,
    'seeds': list(train.seeds),
  }
