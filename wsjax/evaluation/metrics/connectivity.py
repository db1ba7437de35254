"""Connectivity: what lies between two networks, before and after alignment."""

from typing import Any

import numpy as np
import scipy.spatial.distance

from wsjax import typing
from wsjax.evaluation import context as context_lib
from wsjax.evaluation import methods, predictions
from wsjax.models import model as model_lib
from wsjax.symmetry import canonicalize
from wsjax.symmetry.matching import weight_matching

NUM_POINTS = 11

# Training networks of the alignment figure, pairs of the barrier figure.
_ALIGNMENT_NETS = 64
_BARRIER_PAIRS = 16


def path_losses(
  architecture: model_lib.Model,
  a: typing.StackedParams,
  b: typing.StackedParams,
  items: predictions.Items,
  *,
  num_points: int = NUM_POINTS,
) -> np.ndarray:
  """Mean loss at even steps from one network of each pair to the other.

  Args:
    architecture: of all networks.
    a: path -> [P, ...] one end of each pair.
    b: path -> [P, ...] the other.
    items: the test set.
    num_points: points s on the line, ends included.

  Returns:
    [P, s] mean negative log likelihood, nats per item.
  """
  count = len(next(iter(a.values())))
  t = np.linspace(0, 1, num_points, dtype=np.float32)
  points = {}
  for path in a:
    ends = np.asarray(a[path])[:, None], np.asarray(b[path])[:, None]
    weight = t.reshape(1, num_points, *(1,) * (ends[0].ndim - 2))
    line = (1 - weight) * ends[0] + weight * ends[1]
    points[path] = line.reshape(count * num_points, *line.shape[2:])
  nll = predictions.predict(architecture, points, items).nll
  return np.mean(nll, axis=1).reshape(count, num_points)


def loss_barrier(path_loss: np.ndarray) -> np.ndarray:
  """Height of the worst bump on the line, measured from the chord.

  Args:
    path_loss: [*b, s] loss at even steps, ends included.

  Returns:
    [*b] barrier in the unit of the loss; never negative.

  Raises:
    ValueError: if s < 3.

  Source: Frankle et al. 2020, arXiv:1912.05671; with the chord as in Entezari et al. 2022,
    arXiv:2110.06296.
  """
  points = path_loss.shape[-1]
  if points < 3:
    raise ValueError(
      f'loss_barrier needs both ends and a point between; got path_loss of shape {path_loss.shape}.'
    )
  chord = np.linspace(path_loss[..., 0], path_loss[..., -1], points, axis=-1)
  return np.max(path_loss - chord, axis=-1)


def alignment(context: context_lib.Context) -> dict[str, Any]:
  """Distances of pairs of training networks before and after alignment.

  Args:
    context: the zoo; its first networks are taken.

  Returns:
    before and after: sorted L2 distances over tau, as trained and in canonical form; description.
  """
  chosen = np.arange(min(context.num_train, _ALIGNMENT_NETS))

  def distances(zoo: typing.StackedParams) -> list[float]:
    vectors = methods.flatten(methods.take(zoo, chosen))
    pairs = scipy.spatial.distance.pdist(vectors)
    return np.sort(pairs / context.bar.tau).tolist()

  return {
    'before': distances(context.train),
    'after': distances(context.aligned_train),
    'description': (
      f'L2 distance of all pairs of {len(chosen)} training networks over tau, '
      f'as trained and in canonical form ({context.mode}).'
    ),
  }


def barriers(context: context_lib.Context) -> dict[str, Any]:
  """Losses on the line between pairs of training networks.

  Args:
    context: the zoo; its first networks are taken, each in one pair.

  Returns:
    t: [s]; raw: [P, s] as trained; aligned: [P, s] the second of each pair matched to the first;
    unit.
  """
  count = min(context.num_train // 2, _BARRIER_PAIRS)
  first = methods.take(context.train, np.arange(count))
  second = methods.take(context.train, np.arange(count, 2 * count))
  lines = {'raw': (first, second), 'aligned': matched(first, second, context)}
  return {
    't': np.linspace(0, 1, NUM_POINTS).tolist(),
    **{
      name: path_losses(context.architecture, *ends, context.items).tolist()
      for name, ends in lines.items()
    },
    'unit': 'nats',
  }


def matched(
  first: typing.StackedParams, second: typing.StackedParams, context: context_lib.Context
) -> tuple[typing.StackedParams, typing.StackedParams]:
  """Pairs of networks that compute the same as before, units side by side.

  Args:
    first: path -> [P, ...].
    second: path -> [P, ...].
    context: how to match.

  Returns:
    The first ones balanced; the second ones matched to them, pair by pair.
  """
  count, spec = len(next(iter(first.values()))), context.architecture.spec
  # Balanced networks compute the same, and only of them can units be compared.
  first = canonicalize.balance_all(first, spec)
  second = canonicalize.balance_all(second, spec)
  elements = weight_matching.match_pairs(
    first,
    second,
    np.stack([np.arange(count)] * 2, axis=1),
    spec,
    restarts=context.restarts,
    seed=context.seed,
  )
  return first, canonicalize.apply_all(elements, second, spec)
