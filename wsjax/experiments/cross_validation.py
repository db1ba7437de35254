"""Reading a property from a small zoo: every network is held out once.

Scores are of all networks, each read by the fold that did not train on it.
"""

import collections
import dataclasses
import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np
import scipy.stats

from wsjax import typing
from wsjax.experiments import folds as folds_lib
from wsjax.experiments import networks, properties, property_scores
from wsjax.train import cross_validated, loop
from wsjax.zoo import targets
from wsjax.zoo.store import store

WEIGHTS = ('real', 'noise')


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
  """A zoo in the form that the predictors of all folds learn from.

  Attributes:
    kinds: the architectures of its networks.
    data: 'example', what `networks.stack` gives; 'target' [n], as it is;
      'fold' [n], the one that a network is held out of.
    kind: 'class' or 'number'.
    names: of the classes; empty for a number.
    mean: [folds] of the target where a fold trains; 0 for a class.
    std: [folds] likewise; 1 for a class.
    symmetries: [n] groups of units of every network, which tell hidden layers apart.
    num_groups: what folds are made of.
  """

  kinds: networks.Kinds
  data: dict[str, Any]
  kind: str
  names: tuple[str, ...]
  mean: np.ndarray
  std: np.ndarray
  symmetries: tuple[Any, ...]
  num_groups: int


def prepare(config: ml_collections.ConfigDict, zoo: store.Zoo) -> Prepared:
  """Weights, targets and folds.

  Reads of `config.property`: folds, their number; only, target -> values that networks must have
  to take part; group, the target whose values are not to straddle folds, '' for the split groups
  of the records; weights, 'noise' for normal noise in their place, so that only architectures can
  be read.

  Raises:
    ValueError: if no network is left, classes are too few or gradients of folds would be joined; or
      as `networks.kinds`, `folds.assign` and `targets.load`.
  """
  section = config.property
  if section.weights not in WEIGHTS:
    raise ValueError(f'property.weights is {section.weights!r}; allowed: {", ".join(WEIGHTS)}.')
  if config.train.clip_norm:
    raise ValueError(
      f'train.clip_norm is {config.train.clip_norm}: a common limit would let '
      'folds see what others train on; with property.folds it must be 0.'
    )
  rows = _rows(config, zoo)
  found = targets.load(zoo, rows, section.target)
  target, names = found.values, found.names
  if found.kind == 'class':
    # Without the classes of networks that take no part.
    present, target = np.unique(target, return_inverse=True)
    names = tuple(names[number] for number in present)
    target = target.astype(np.int32)
    if len(names) < 2:
      raise ValueError(
        f'Networks of {zoo.path} that take part have one {section.target}, '
        f'{names[0]!r}; property.only leaves too few.'
      )
  raw = [networks.weights(zoo, row) for row in rows]
  groups = folds_lib.join(raw, _groups(config, zoo, rows))
  folds = folds_lib.assign(target, groups, num=section.folds, seed=config.seed)
  if section.weights == 'noise':
    raw = [
      networks.noise(params, seed=(config.seed, row))
      for params, row in zip(raw, rows.tolist(), strict=True)
    ]
  kinds = networks.kinds(config, zoo, rows)
  mean, std = np.zeros(section.folds), np.ones(section.folds)
  if found.kind == 'number':
    trained = [target[folds != fold] for fold in range(section.folds)]
    mean = np.array([values.mean() for values in trained])
    std = np.array([values.std() or 1.0 for values in trained])
  return Prepared(
    kinds,
    {'example': networks.stack(raw, rows, kinds), 'target': target, 'fold': folds.astype(np.int32)},
    found.kind,
    names,
    mean.astype(np.float32),
    std.astype(np.float32),
    tuple(kinds.of(row).spec.groups for row in rows),
    len(set(groups)),
  )


def fit(
  config: ml_collections.ConfigDict,
  prepared: Prepared,
  workdir: pathlib.Path,
  *,
  seed: int,
  progress: bool,
) -> tuple[cross_validated.CrossValidated, typing.PyTree, loop.History]:
  """The predictors of all folds of one training seed, trained or restored.

  Returns:
    The objective, its averaged variables and the history, whose 'val_loss' is that of networks that
    are held out.
  """
  objective = cross_validated.CrossValidated(
    properties.make_predictor(config, prepared.kinds, prepared.names),
    cross_validated.scales(prepared.data['example'], prepared.data['fold'], len(prepared.mean)),
    prepared.mean,
    prepared.std,
  )
  variables, history = loop.fit(
    objective,
    prepared.data,
    config.train.to_dict(),
    seed=seed,
    workdir=workdir / f'train/seed{seed}',
    val=prepared.data,
    progress=progress,
  )
  return objective, variables, history


def outputs(
  prepared: Prepared, objective: cross_validated.CrossValidated, variables: typing.PyTree
) -> dict[str, np.ndarray]:
  """'test' -> [n, ...] outputs for every network, by the fold without it."""
  return {'test': objective.held_out(variables, prepared.data)}


def judge(
  config: ml_collections.ConfigDict, prepared: Prepared, outputs: dict[str, np.ndarray]
) -> dict[str, Any]:
  """Scores of all training seeds over all networks.

  Args:
    config: of the run.
    prepared: the data.
    outputs: 'test' -> [S, n, ...] outputs of the head.

  Returns:
    As `properties.judge`. Intervals of a number are as wide as the pooled errors themselves demand,
    so how many they hold is no score.
  """
  truth, folds = prepared.data['target'], prepared.data['fold']
  if prepared.kind == 'class':
    return property_scores.classes(config, outputs['test'], truth, _majority(prepared))
  mean, std = prepared.mean[folds], prepared.std[folds]
  m, log_std = np.moveaxis(outputs['test'].astype(np.float64), -1, 0)
  read = np.stack([mean + std * m, std * np.exp(log_std)], -1)
  result = property_scores.numbers(config, read, truth, (read, truth), mean)
  for name in ('coverage', 'width'):
    del result['metrics'][name]
  # The means of the other folds, which fall where those of a fold rise.
  result['constant'] |= {
    'tau': float(np.nan_to_num(scipy.stats.kendalltau(mean, truth).statistic)),
    'r2': float(1 - np.mean((truth - mean) ** 2) / np.var(truth)),
  }
  return result


def describe(
  config: ml_collections.ConfigDict, prepared: Prepared, variables: typing.PyTree, seconds: float
) -> dict[str, Any]:
  """What was read, and by what, for the report; sizes are of one fold."""
  target, folds = prepared.data['target'], prepared.data['fold']
  told = {}
  if prepared.kind == 'class':
    told = {
      'counts': np.bincount(target).tolist(),
      'majority_of_architecture': float(
        np.mean(_majority(prepared, by_architecture=True) == target)
      ),
    }
  return {
    'property': {
      'target': config.property.target,
      'kind': prepared.kind,
      'names': list(prepared.names),
      'num_train': len(target) - int(np.bincount(folds).max()),
      'num_test': len(target),
      'num_architectures': len(prepared.kinds.architectures),
      'num_groups': prepared.num_groups,
      'folds': len(prepared.mean),
      'weights': config.property.weights,
      **told,
    },
    'encoder': properties.describe_model(
      config.encoder, config.train, jax.tree.map(lambda x: x[0], variables), seconds
    ),
  }


def _rows(config: ml_collections.ConfigDict, zoo: store.Zoo) -> np.ndarray:
  """Networks that take part; those reserved for audits never do."""
  rows = np.sort(np.concatenate([zoo.select(split=each) for each in properties.SPLITS]))
  for name, allowed in config.property.only.items():
    known = targets.known(zoo, rows, name)
    column = targets.load(zoo, known, name)
    values = np.asarray(column.names)[column.values]
    if unknown := sorted(set(allowed) - set(column.names)):
      raise ValueError(
        f'property.only.{name} has {unknown[0]!r}; {zoo.path} has {", ".join(column.names)}.'
      )
    rows = known[np.isin(values, list(allowed))]
  rows = targets.known(zoo, rows, config.property.target)
  if not len(rows):
    raise ValueError(
      f'No network of {zoo.path} has property.target '
      f'{config.property.target!r} and is in property.only.'
    )
  return rows


def _groups(config: ml_collections.ConfigDict, zoo: store.Zoo, rows: np.ndarray) -> list[str]:
  """[n] names of what must not straddle folds."""
  if not config.property.group:
    return [zoo.records[row]['split_group'] for row in rows.tolist()]
  found = targets.load(zoo, rows, config.property.group)
  return [str(value) for value in found.values.tolist()]


def _majority(prepared: Prepared, *, by_architecture: bool = False) -> np.ndarray:
  """[n] most frequent class where a network's fold trains.

  Args:
    prepared: the data.
    by_architecture: whether among networks of like hidden layers, if any.
  """
  target, folds = prepared.data['target'], prepared.data['fold']
  guesses = []
  for row, fold in enumerate(folds):
    trained = np.flatnonzero(folds != fold)
    same = [other for other in trained if prepared.symmetries[other] == prepared.symmetries[row]]
    chosen = same if by_architecture and same else trained
    counts = collections.Counter(target[chosen].tolist())
    # Of equal counts the first class, whatever the order of networks.
    guesses.append(min(counts, key=lambda value: (-counts[value], value)))
  return np.array(guesses)
