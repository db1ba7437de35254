"""What networks of binary tasks say about images, many at once."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from wsjax import typing
from wsjax.generators.conditions import task_code
from wsjax.models import model as model_lib
from wsjax.zoo.data import datasets


@dataclasses.dataclass(frozen=True, eq=False)
class Tasks:
  """A zoo of binary tasks.

  Attributes:
    architecture: of all its networks.
    dataset: whose classes the tasks are made of.
    codes: 'train', 'val' and 'test' -> [n, num_classes] int32 labels of the classes.
    conditions: the same -> [n, C], what a generator is told.
    params: the same -> path -> [n, ...] weights.
    num_leaks: test tasks whose complement is in the training split.
  """

  architecture: model_lib.Model
  dataset: datasets.Dataset
  codes: dict[str, np.ndarray]
  conditions: dict[str, np.ndarray]
  params: dict[str, typing.StackedParams]
  num_leaks: int


@dataclasses.dataclass(frozen=True, eq=False)
class Arm:
  """A way to solve the test tasks.

  Attributes:
    name: of the row.
    kind: 'reference', 'generator', 'baseline' or 'training'.
    accuracy: [S, n] of every seed and test task.
    seconds: wall time of one network, or None where nobody measured it.
  """

  name: str
  kind: str
  accuracy: np.ndarray
  seconds: float | None = None


def codes(records: Sequence[Mapping[str, Any]]) -> np.ndarray:
  """[n, num_classes] int32 codes of networks; raises as `task_code`."""
  bits = task_code.bits(records)
  return bits.astype(np.int32)


def margins(
  architecture: model_lib.Model, params: typing.StackedParams, x: np.ndarray
) -> np.ndarray:
  """[n, N] float32 logit of 'in the subset' minus that of 'not in it'."""
  return np.asarray(_margins(architecture, params, x))


@functools.partial(jax.jit, static_argnames='architecture')
def _margins(
  architecture: model_lib.Model, params: typing.StackedParams, x: jax.Array
) -> jax.Array:
  def one(params: typing.Params) -> jax.Array:
    logits = architecture.apply(params, x)
    return logits[:, 1] - logits[:, 0]

  # Few at a time, so that what is computed of them stays in cache.
  return jax.lax.map(one, params, batch_size=8)


def right(margin: np.ndarray, codes: np.ndarray, y: np.ndarray) -> np.ndarray:
  """[n] share of images on the right side.

  Args:
    margin: [n, N].
    codes: [n, num_classes].
    y: [N] classes of the images.
  """
  return ((margin > 0) == codes[:, y]).mean(1)


def accuracy(
  tasks: Tasks, params: typing.StackedParams, codes: np.ndarray, split: str = 'test'
) -> np.ndarray:
  """[n] accuracy of network i at task i, on images of a split."""
  x, y = (getattr(tasks.dataset, f'{split}_{part}') for part in 'xy')
  return right(margins(tasks.architecture, params, x), codes, y)
