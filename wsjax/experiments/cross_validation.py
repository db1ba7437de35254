"""Predicts a property of the networks of a small zoo: each is held out once.

Scores are of all networks, each predicted by the fold that did not train on it.
"""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import scipy.stats

from wsjax import config as config_lib
from wsjax import typing
from wsjax.encoders import examples as examples_lib
from wsjax.evaluation.report import model
from wsjax.experiments import base, property
from wsjax.heads import prediction
from wsjax.train import loop
from wsjax.train import objective as objective_lib
from wsjax.zoo import folds as folds_lib
from wsjax.zoo import recipe as recipe_lib
from wsjax.zoo import targets
from wsjax.zoo.store import store

WEIGHTS = ('real', 'noise')


@dataclasses.dataclass(frozen=True)
class Section(property.Section):
  """The section `property` of a cross-validation.

  Attributes:
    folds: their number.
    only: target -> values that networks must have to take part.
    group: target whose values are not to straddle folds; '' for the split groups of the records.
    weights: 'noise' for normal noise in their place, so that only architectures can be read.
  """

  folds: Annotated[int, config_lib.Range(min=2)] = dataclasses.field(kw_only=True)
  only: Mapping = dataclasses.field(default_factory=dict)
  group: str = ''
  weights: Annotated[str, config_lib.OneOf(WEIGHTS)] = 'real'

  def __post_init__(self):
    super().__post_init__()
    for name, values in self.only.items():
      if not isinstance(values, list | tuple) or not values:
        raise ValueError(f'property.only.{name} is {values!r}; allowed: a tuple of values.')


class CrossValidation(property.Property):
  """Trains one predictor per fold; every network is predicted by the fold without it.

  Attributes:
    train: 'example'; 'target' [n], as it is; 'fold' [n], the one that a network is held out of.
    mean: [folds] of the target where a fold trains; 0 for a class.
    std: [folds] of the target where a fold trains; 1 for a class.
    groups: [n] symmetry groups of every network, which tell hidden layers apart.
    num_groups: number of groups that folds are made of.
  """

  SECTIONS: ClassVar[Mapping[str, type]] = property.Property.SECTIONS | {'property': Section}

  @classmethod
  def check(cls, config: ml_collections.ConfigDict, counts: Mapping[str, int] | None) -> None:
    """Checks the gradients, and the targets of a zoo; see `Experiment.check`."""
    section = config.property
    if config.train.clip_norm:
      raise ValueError(
        f'train.clip_norm is {config.train.clip_norm}: a common limit would let folds see networks '
        'that others train on; in a cross-validation it must be 0.'
      )
    if counts is None:
      return
    property.check_target(section.target, 'property.target')
    if section.get('group'):
      property.check_target(section.group, 'property.group')
    for name, values in section.get('only', {}).items():
      property.check_target(name, f'property.only.{name}')
      held = {
        'optimizer': config.zoo.recipe.get('optimizer', recipe_lib.Recipe.optimizer),
        'activation': config.zoo.architecture.get('activation', values),
      }.get(name, values)
      held = held if isinstance(held, list | tuple) else (held,)
      if unknown := [value for value in values if value not in held]:
        raise ValueError(
          f'property.only.{name} has {unknown[0]!r}; allowed: {", ".join(map(str, held))}, as the '
          'networks of the zoo have.'
        )
    num = sum(counts.get(split, 0) for split in base.SPLITS)
    if section.folds > num:
      raise ValueError(f'property.folds is {section.folds}; allowed: at most the {num} networks.')

  def __init__(self, config: ml_collections.ConfigDict, zoo: store.Zoo):
    base.Experiment.__init__(self, config, zoo)
    section = config.property
    self.check(config, None)
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
    raw = [examples_lib.weights(zoo, row) for row in rows]
    groups = folds_lib.join(raw, _groups(config, zoo, rows))
    folds = folds_lib.assign(target, groups, num=section.folds, seed=config.seed)
    if section.weights == 'noise':
      raw = [
        examples_lib.noise(params, seed=(config.seed, row))
        for params, row in zip(raw, rows.tolist(), strict=True)
      ]
    self.kinds = examples_lib.kinds(config, zoo, rows)
    self.kind, self.names = found.kind, tuple(names)
    self.mean, self.std = np.zeros(section.folds, np.float32), np.ones(section.folds, np.float32)
    if self.kind == 'number':
      trained = [target[folds != fold] for fold in range(section.folds)]
      self.mean = np.array([values.mean() for values in trained], np.float32)
      self.std = np.array([values.std() or 1.0 for values in trained], np.float32)
    self.train = {
      'example': examples_lib.stack(raw, rows, self.kinds),
      'target': target,
      'fold': folds.astype(np.int32),
    }
    self.val = self.train
    self.groups = tuple(self.kinds.of(row).spec.groups for row in rows)
    self.num_groups = len(set(groups))
    self.predictor = property.make_predictor(config, self.kinds, self.names)

  def objective(self, seed: int) -> 'Objective':
    """Makes the loss of all folds; its validation loss is that of networks that are held out."""
    found = scales(self.train['example'], self.train['fold'], len(self.mean))
    return Objective(self.predictor, found, self.mean, self.std)

  def fit(self, seed: int) -> tuple[typing.PyTree, loop.History]:
    """Trains the predictors of all folds."""
    params, history = super().fit(seed)
    self.num_params //= len(self.mean)
    return params, history

  def predict(self, params: typing.PyTree, seed: int) -> dict[str, np.ndarray]:
    """Computes the outputs for every network, 'test' -> [n, ...], by the fold without it."""
    return {'test': self.objective(seed).held_out(params, self.train)}

  def report(self, predictions: list[dict[str, np.ndarray]]) -> model.Report:
    """Scores the predictions of all networks.

    Intervals of a number are as wide as the pooled errors themselves demand, so the share that
    they hold is no score.
    """
    outputs = self.save(predictions)['test']
    truth, folds = self.train['target'], self.train['fold']
    if self.kind == 'class':
      return self.report_classes(outputs, truth, self.majority())
    mean = self.mean[folds]
    read = property.in_units(outputs, mean, self.std[folds])
    # The means of the other folds, which fall where those of a fold rise.
    constant = {
      'tau': float(np.nan_to_num(scipy.stats.kendalltau(mean, truth).statistic)),
      'r2': float(1 - np.mean((truth - mean) ** 2) / np.var(truth)),
    }
    return self.report_numbers(read, truth, (read, truth), mean, constant)

  def facts(self) -> dict[str, Any]:
    """Describes the property and its networks; numbers of training networks are those of a fold."""
    target, folds = self.train['target'], self.train['fold']
    made = {
      'num_train': len(target) - int(np.bincount(folds).max()),
      'num_test': len(target),
      'num_architectures': len(self.kinds.architectures),
      'num_groups': self.num_groups,
      'folds': len(self.mean),
      'weights': self.config.property.weights,
    }
    if self.kind == 'class':
      made['counts'] = np.bincount(target).tolist()
      made['majority_of_architecture'] = float(
        np.mean(self.majority(by_architecture=True) == target)
      )
    return made

  def majority(self, *, by_architecture: bool = False) -> np.ndarray:
    """[n] most frequent class where a network's fold trains.

    Args:
      by_architecture: whether among networks with the same hidden layers, if there are any.
    """
    target, folds = self.train['target'], self.train['fold']
    guesses = []
    for row, fold in enumerate(folds):
      trained = np.flatnonzero(folds != fold)
      same = [other for other in trained if self.groups[other] == self.groups[row]]
      chosen = same if by_architecture and same else trained
      counts = collections.Counter(target[chosen].tolist())
      # Of equal counts the first class, whatever the order of networks.
      guesses.append(min(counts, key=lambda value: (-counts[value], value)))
    return np.array(guesses)


def scales(examples: typing.PyTree, folds: np.ndarray, num_folds: int) -> dict[str, np.ndarray]:
  """`prediction.parameter_scales` of the networks that every fold trains on, [num_folds, ...].

  Args:
    examples: arrays with leading axis [n].
    folds: [n] the fold that a network is held out of.
    num_folds: number of folds.
  """
  found = [
    dict(prediction.parameter_scales(jax.tree.map(lambda x, fold=fold: x[folds != fold], examples)))
    for fold in range(num_folds)
  ]
  return {name: np.array([each[name] for each in found], np.float32) for name in found[0]}


@dataclasses.dataclass(frozen=True, eq=False)
class Objective(objective_lib.Objective):
  """Supervised loss of one predictor per fold, all trained at once.

  Each fold has parameters of its own, stacked, and one compiled program trains them all. Data are
  {'example': ..., 'target': [n], 'fold': [n] int}, the whole zoo: a fold trains on the networks of
  all other folds, and its validation loss is that of its own. Gradients of the folds must not be
  joined, for example by a limit on their common norm.

  Attributes:
    predictor: the module.
    scales: weight scales of every fold, arrays [folds, ...].
    mean: [folds] of the target, of the networks that a fold trains on.
    std: [folds] likewise.
  """

  val_draws: ClassVar[int] = 1

  predictor: prediction.Predictor
  scales: dict[str, np.ndarray]
  mean: np.ndarray
  std: np.ndarray

  def init(self, key: jax.Array, example: typing.PyTree) -> typing.PyTree:
    """Variables [folds, ...] of the predictors."""

    def of_fold(key, scales):
      return self.predictor.init(key, example['example'], scales=scales)

    return jax.vmap(of_fold)(jax.random.split(key, len(self.mean)), self.scales)

  def loss(
    self, params: typing.PyTree, batch: typing.PyTree, key: jax.Array, *, train: bool = True
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Mean loss of the folds over what each may train on or, without `train`, is held out."""
    examples, target = batch['example'], batch['target']
    head = self.predictor.head

    def of_fold(variables, scales, mean, std, fold, key):
      def of_network(x, y, key):
        rngs = {'dropout': key} if train else {}
        output = self.predictor.apply(variables, x, train=train, scales=scales, rngs=rngs)
        return head.loss(output[None], y[None])[0]

      # A class has mean 0 and deviation 1, and stays a whole number.
      scaled = ((target - mean) / std).astype(target.dtype)
      losses = jax.vmap(of_network)(examples, scaled, jax.random.split(key, len(target)))
      chosen = (batch['fold'] != fold) if train else (batch['fold'] == fold)
      return jnp.sum(jnp.where(chosen, losses, 0)), jnp.sum(chosen)

    folds = jnp.arange(len(self.mean))
    keys = jax.random.split(key, len(folds))
    mean, std = jnp.asarray(self.mean), jnp.asarray(self.std)
    sums, counts = jax.vmap(of_fold)(params, self.scales, mean, std, folds, keys)
    if train:  # Each fold by itself, however many networks it has here.
      return jnp.mean(sums / jnp.maximum(counts, 1)), {}
    return jnp.sum(sums) / jnp.maximum(jnp.sum(counts), 1), {}

  def held_out(self, params: typing.PyTree, data: typing.PyTree) -> np.ndarray:
    """Outputs [n, ...] of the head for every network, by the fold that did not train on it."""

    @jax.jit
    def run(params, examples, folds):
      def one(pair):
        x, fold = pair
        variables, scales = jax.tree.map(
          lambda value: jnp.asarray(value)[fold], (params, self.scales)
        )
        return self.predictor.apply(variables, x, scales=scales)

      return jax.lax.map(one, (examples, folds))

    examples = jax.tree.map(jnp.asarray, data['example'])
    return np.asarray(run(params, examples, jnp.asarray(data['fold'])))


def _rows(config: ml_collections.ConfigDict, zoo: store.Zoo) -> np.ndarray:
  """Networks that take part; those reserved for audits never do."""
  rows = np.sort(np.concatenate([zoo.select(split=each) for each in base.SPLITS]))
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
