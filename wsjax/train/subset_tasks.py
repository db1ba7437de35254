"""Objective of a hypernetwork: what its networks do on images of a task."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.train import objective


@dataclasses.dataclass(frozen=True, eq=False)
class SubsetTasks(objective.Objective):
  """What `loop.fit` trains: cross-entropy of generated networks.

  The examples of a batch are dealt out to some tasks that are drawn, and each task calls their
  classes by its own labels. What the module is told of a task is its condition, or some of its
  labelled examples: then it is the others
  that the generated network is tried on.

  Attributes:
    module: from a condition to the weights of one network.
    architecture: of the networks.
    codes: [n, num_classes] label of every class, of the tasks to learn.
    conditions: [n, C] what the module is told about them.
    val_codes: [m, num_classes] the same of tasks to look at.
    val_conditions: [m, C].
    num_tasks: per step; divides the batch.
    set_size: examples per task that the module is given instead of conditions; 0 is none.
  """

  val_draws: ClassVar[int] = 1

  module: nn.Module
  architecture: model_lib.Model
  codes: np.ndarray
  conditions: np.ndarray
  val_codes: np.ndarray
  val_conditions: np.ndarray
  num_tasks: int
  set_size: int = 0

  def init(self, key: jax.Array, example: Mapping[str, Any]) -> typing.PyTree:
    """Variables of the module, from one example 'x' and its class 'y'."""
    given = jnp.asarray(self.conditions[0])
    if self.set_size:
      x = jnp.repeat(jnp.asarray(example['x'])[None], self.set_size, 0)
      given = labelled(x, jnp.zeros(self.set_size))
    return self.module.init(key, given)

  def loss(
    self,
    params: typing.PyTree,
    batch: Mapping[str, jax.Array],
    key: jax.Array,
    *,
    train: bool = True,
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Mean cross-entropy in nats, and the share of right answers.

    Args:
      params: variables of the module.
      batch: 'x' [b, ...] and classes 'y' [b].
      key: of the tasks that are drawn.
      train: whether they are those to learn; else all those to look at have their share of the
        batch.

    Raises:
      ValueError: if the batch is too small for the tasks.
    """
    if train:
      rows = jax.random.randint(key, (self.num_tasks,), 0, len(self.codes))
      codes = jnp.asarray(self.codes)[rows]
      conditions = jnp.asarray(self.conditions)[rows]
    else:
      codes = jnp.asarray(self.val_codes)
      conditions = jnp.asarray(self.val_conditions)
    share = len(batch['y']) // len(codes)
    if share <= self.set_size:
      raise ValueError(
        f'{len(batch["y"])} examples for {len(codes)} tasks are {share} each; '
        f'more than {self.set_size} are needed.'
      )
    x, y = (
      batch[part][: share * len(codes)].reshape(len(codes), share, *batch[part].shape[1:])
      for part in ('x', 'y')
    )

    def of_task(
      code: jax.Array, condition: jax.Array, x: jax.Array, y: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
      labels, given, size = code[y], condition, self.set_size
      if size:
        given = labelled(x[:size], labels[:size])
        x, labels = x[size:], labels[size:]
      logits = self.architecture.apply(self.module.apply(params, given), x)
      losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
      return losses.mean(), (logits.argmax(-1) == labels).mean()

    losses, accuracies = jax.vmap(of_task)(codes, conditions, x, y)
    return losses.mean(), {'accuracy': accuracies.mean()}


def labelled(x: jax.Array, labels: jax.Array) -> jax.Array:
  """[S, d + 1] examples [S, ...] flattened, and labels [S] as signs."""
  signs = 2.0 * labels[:, None] - 1
  return jnp.concatenate([x.reshape(len(x), -1), signs], axis=1)
