"""Reading a property from weights: data, training, scores."""

import dataclasses
import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np

from wsjax import config as config_lib
from wsjax import typing
from wsjax.evaluate import property_metrics
from wsjax.predict import predictor as predictor_lib
from wsjax.symmetry import canonicalize
from wsjax.train import augment, loop, supervised
from wsjax.zoo import architecture as architecture_lib
from wsjax.zoo import store, targets

SPLITS = ('train', 'val', 'test')


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
  """A zoo in the form that a predictor learns from.

  Attributes:
    architecture: of all its networks.
    splits: 'train', 'val' and 'test' -> {'example': path -> [N, ...],
      'target': [N]}; numbers are in units of the training split's standard
      deviation around its mean.
    kind: 'class' or 'number'.
    names: of the classes; empty for a number.
    mean: of the training targets; 0 for a class.
    std: of the training targets; 1 for a class.
  """

  architecture: architecture_lib.Architecture
  splits: dict[str, dict[str, Any]]
  kind: str
  names: tuple[str, ...]
  mean: float
  std: float


def prepare(config: ml_collections.ConfigDict, zoo: store.Zoo) -> Prepared:
  """Weights and targets of every split.

  Raises:
    ValueError: if a split has no network, or as `targets.load`.
  """
  architecture = architecture_lib.from_record(
    zoo.records[0]['arch_id'], zoo.records[0]['arch_config']
  )
  splits, found = {}, {}
  reference = None
  for split in SPLITS:
    rows = zoo.select(split=split, final=True, diverged=False)
    if split == 'train' and config.predict.num_train:
      rows = rows[: config.predict.num_train]
    if not len(rows):
      raise ValueError(f'The zoo at {zoo.path} has no networks of {split}.')
    params = zoo.params(rows)
    reference = reference or {path: x[0] for path, x in params.items()}
    found[split] = targets.load(zoo, rows, config.predict.target)
    splits[split] = {
      'example': canonicalize.canonicalize(
        params,
        architecture.spec,
        config.symmetry.canonicalize,
        reference=reference,
        restarts=config.symmetry.restarts,
        seed=config.seed,
      ),
      'target': found[split].values,
    }
  kind = found['train'].kind
  mean, std = 0.0, 1.0
  if kind == 'number':
    mean = float(found['train'].values.mean())
    std = float(found['train'].values.std()) or 1.0
    for split in splits.values():
      split['target'] = ((split['target'] - mean) / std).astype(np.float32)
  return Prepared(
    architecture, splits, kind, tuple(found['train'].names), mean, std
  )


def make_predictor(
  config: ml_collections.ConfigDict, prepared: Prepared
) -> predictor_lib.Predictor:
  """The module that a config describes."""
  number = prepared.kind == 'number'
  head = {
    'name': 'regressor' if number else 'classifier',
    'num_outputs': 1 if number else len(prepared.names),
    **config.predict.head.to_dict(),
  }
  return predictor_lib.Predictor(
    encoder=config_lib.build(
      'embed',
      {**config.embed.to_dict(), 'architecture': prepared.architecture},
    ),
    head=config_lib.build('predict.heads', head),
    scales=predictor_lib.leaf_scales(prepared.splits['train']['example']),
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
  predictor = make_predictor(config, prepared)
  section = config.train.to_dict()
  del section['seeds']
  variables, history = loop.fit(
    supervised.Supervised(
      predictor, augment.make(config.augment, prepared.architecture)
    ),
    prepared.splits['train'],
    section,
    seed=seed,
    workdir=workdir / f'train/seed{seed}',
    val=prepared.splits['val'],
    progress=progress,
  )
  return predictor, variables, history


def judge(
  config: ml_collections.ConfigDict,
  prepared: Prepared,
  outputs: dict[str, np.ndarray],
) -> dict[str, Any]:
  """Scores of all training seeds on the test split.

  Args:
    config: of the run.
    prepared: the data.
    outputs: 'val' and 'test' -> [S, n, ...] outputs of the head.

  Returns:
    'metrics', 'constant' (what the best constant scores) and 'outcome', what
    a figure shows of the first seed.
  """
  options = {
    'num_bootstrap': config.evaluate.num_bootstrap,
    'seed': config.seed,
  }
  truth = {name: s['target'] for name, s in prepared.splits.items()}
  if prepared.kind == 'class':
    k = len(prepared.names)
    counts = np.zeros((k, k), int)
    np.add.at(counts, (truth['test'], outputs['test'][0].argmax(-1)), 1)
    share = np.bincount(truth['train'], minlength=k) / len(truth['train'])
    guess = share.argmax()
    return {
      'metrics': property_metrics.classification(
        outputs['test'], truth['test'], **options
      ),
      'constant': {'accuracy': float(np.mean(truth['test'] == guess))},
      'outcome': {'confusion': counts},
    }
  mean, std = prepared.mean, prepared.std
  known = {name: mean + std * truth[name] for name in ('val', 'test')}
  read = {}
  for name in known:
    m, log_std = np.moveaxis(outputs[name].astype(np.float64), -1, 0)
    read[name] = np.stack([mean + std * m, std * np.exp(log_std)], -1)
  metrics, half = property_metrics.regression(
    read['test'], known['test'], (read['val'], known['val']), **options
  )
  return {
    'metrics': metrics,
    'constant': {
      'tau': 0.0,
      'r2': 0.0,
      'mae': float(np.abs(known['test'] - mean).mean()),
    },
    'outcome': {
      'truth': known['test'],
      'mean': read['test'][0, :, 0],
      'half_width': half[0],
    },
  }


def describe(
  config: ml_collections.ConfigDict,
  prepared: Prepared,
  variables: typing.PyTree,
  seconds: float,
) -> dict[str, Any]:
  """What was read, and by what, for the report."""
  return {
    'property': {
      'target': config.predict.target,
      'kind': prepared.kind,
      'names': list(prepared.names),
      'num_train': len(prepared.splits['train']['target']),
      'num_test': len(prepared.splits['test']['target']),
    },
    'encoder': {
      **config.embed.to_dict(),
      'num_params': sum(x.size for x in jax.tree.leaves(variables)),
      'steps': config.train.steps,
      'train_seconds': seconds,
      'seeds': list(config.train.seeds),
    },
  }
