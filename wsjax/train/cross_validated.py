"""Supervised objective of all folds of a cross-validation at once.

Each fold has parameters of its own, stacked, and one compiled program trains them all. A network
has no part in the loss of the fold that it is held out of.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.encoders import predictor as predictor_lib
from wsjax.train import objective


def scales(examples: typing.PyTree, folds: np.ndarray, num_folds: int) -> dict[str, np.ndarray]:
  """Scales of weights for every fold, from the networks it trains on.

  Args:
    examples: arrays with leading axis [n].
    folds: [n] the fold that a network is held out of.
    num_folds: how many there are.

  Returns:
    As `predictor.leaf_scales`, arrays [num_folds, ...].
  """
  found = [
    dict(predictor_lib.leaf_scales(jax.tree.map(lambda x, fold=fold: x[folds != fold], examples)))
    for fold in range(num_folds)
  ]
  return {name: np.array([each[name] for each in found], np.float32) for name in found[0]}


@dataclasses.dataclass(frozen=True, eq=False)
class CrossValidated(objective.Objective):
  """What `loop.fit` trains: one predictor per fold.

  Data are {'example': ..., 'target': [n], 'fold': [n] int}, the whole zoo: a fold trains on the
  networks of all other folds, and its loss without training is that of its own. Gradients of the
  folds must not be joined, by a limit on their common norm for one.

  Attributes:
    predictor: the module.
    scales: weight scales of every fold, arrays [folds, ...].
    mean: [folds] of the target, of the networks that a fold trains on.
    std: [folds] likewise.
  """

  val_draws: ClassVar[int] = 1

  predictor: predictor_lib.Predictor
  scales: dict[str, np.ndarray]
  mean: np.ndarray
  std: np.ndarray

  def init(self, key: jax.Array, example: typing.PyTree) -> typing.PyTree:
    """Variables [folds, ...] of the predictors."""
    keys = jax.random.split(key, len(self.mean))
    return jax.vmap(
      lambda key, scales: self.predictor.init(key, example['example'], scales=scales)
    )(keys, self.scales)

  def loss(
    self, params: typing.PyTree, batch: typing.PyTree, key: jax.Array, *, train: bool = True
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Mean loss of the folds over what each may train on.

    Args:
      params: variables of the predictors, [folds, ...].
      batch: some of the data; shared by the folds.
      key: of dropout.
      train: False gives the loss over networks that are held out instead.
    """
    examples, target = batch['example'], batch['target']
    head = self.predictor.head

    def of_fold(variables, scales, mean, std, fold, key):
      def of_network(x, y, key):
        rngs = {'dropout': key} if train else {}
        output = self.predictor.apply(variables, x, train=train, scales=scales, rngs=rngs)
        return head.loss(output[None], y[None])[0]

      # A class has mean 0 and deviation 1, and stays a whole number.
      scaled = ((target - mean) / std).astype(target.dtype)
      keys = jax.random.split(key, len(target))
      losses = jax.vmap(of_network)(examples, scaled, keys)
      mine = batch['fold'] == fold
      chosen = ~mine if train else mine
      return jnp.sum(jnp.where(chosen, losses, 0)), jnp.sum(chosen)

    folds = jnp.arange(len(self.mean))
    sums, counts = jax.vmap(of_fold)(
      params,
      self.scales,
      jnp.asarray(self.mean),
      jnp.asarray(self.std),
      folds,
      jax.random.split(key, len(folds)),
    )
    if train:  # Each fold by itself, however many networks it has here.
      return jnp.mean(sums / jnp.maximum(counts, 1)), {}
    return jnp.sum(sums) / jnp.maximum(jnp.sum(counts), 1), {}

  def held_out(self, params: typing.PyTree, data: typing.PyTree) -> np.ndarray:
    """Outputs of every network, by the fold that did not train on it.

    Args:
      params: variables of the predictors, [folds, ...].
      data: as the loss reads them.

    Returns:
      [n, ...] outputs of the head.
    """

    @jax.jit
    def run(params, examples, folds):
      def one(x, fold):
        variables, scales = jax.tree.map(
          lambda value: jnp.asarray(value)[fold], (params, self.scales)
        )
        return self.predictor.apply(variables, x, scales=scales)

      return jax.lax.map(lambda pair: one(*pair), (examples, folds))

    examples = jax.tree.map(jnp.asarray, data['example'])
    return np.asarray(run(params, examples, jnp.asarray(data['fold'])))
