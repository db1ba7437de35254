"""Weights of a network as a line in the code of its task, and means."""

import functools
from collections.abc import Callable

import jax
import ml_collections
import numpy as np

from wsjax import typing
from wsjax.experiments import task_outputs
from wsjax.models import model as model_lib
from wsjax.symmetry import canonicalize

# Penalties of ridge regressions, in units of the mean squared feature.
_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


def lines(config: ml_collections.ConfigDict, tasks: task_outputs.Tasks) -> list[task_outputs.Arm]:
  """Weights as a linear function of the code, and averages."""
  train = canonicalize.canonicalize(
    tasks.params['train'],
    spec=tasks.architecture.spec,
    mode=config.symmetry.canonicalize,
    reference={path: x[0] for path, x in tasks.params['train'].items()},
    restarts=config.symmetry.restarts,
    seed=config.seed,
  )
  mean = {path: x.mean(0) for path, x in train.items()}
  last = tasks.architecture.spec.leaves[-1].path.partition('/')[0]
  head = [path for path in train if path.startswith(f'{last}/')]
  networks = {
    'ridge, code to all weights': _ridge(tasks, train, mean, list(train)),
    'ridge, code to last layer; mean backbone': _ridge(tasks, train, mean, head),
    'least-squares head; mean backbone': functools.partial(least_squares, tasks, mean),
    'mean of the training networks': functools.partial(_repeat, mean),
  }
  codes = tasks.codes['test']
  return [
    task_outputs.Arm(name, 'baseline', task_outputs.accuracy(tasks, make(codes), codes)[None])
    for name, make in networks.items()
  ]


def least_squares(
  tasks: task_outputs.Tasks, params: typing.Params, codes: np.ndarray
) -> typing.StackedParams:
  """Networks of one backbone, whose last layers are fitted to signs of labels.

  Every image is of one class, so its sign is linear in the code of a task, and so is the fitted
  layer: one fit is for all tasks.

  Args:
    tasks: of which the training images are read.
    params: of the backbone; its last layer is not used.
    codes: [n, num_classes].

  Returns:
    path -> [n, ...].
  """
  architecture, dataset = tasks.architecture, tasks.dataset
  last = architecture.spec.leaves[-2]
  hidden = np.asarray(_hidden(params, architecture, dataset.train_x))
  features = np.append(hidden, np.ones((len(hidden), 1)), 1).astype(np.float64)
  classes = np.eye(codes.shape[1])[dataset.train_y]
  gram = features.T @ features
  ridge = 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram))
  by_class = np.linalg.solve(gram + ridge, features.T @ classes)
  layer = ((2.0 * codes - 1) @ by_class.T).astype(np.float32) / 2
  # Two logits, of which one is the other with its sign changed.
  layer = np.stack([-layer, layer], -1)
  bias = f'{last.path.partition("/")[0]}/bias'
  return _repeat(params, codes) | {last.path: layer[:, :-1], bias: layer[:, -1]}


def _ridge(
  tasks: task_outputs.Tasks, train: typing.StackedParams, mean: typing.Params, paths: list[str]
) -> Callable[[np.ndarray], typing.StackedParams]:
  """Codes -> networks: some leaves linear in features, the others the mean.

  The penalty is that with which validation tasks are solved best.
  """
  x = _features(tasks.codes['train'])
  y = np.concatenate([(train[p] - mean[p]).reshape(len(x), -1) for p in paths], 1)
  gram, cross = x.T @ x, x.T @ y

  def networks(penalty: float, codes: np.ndarray) -> typing.StackedParams:
    ridge = penalty * np.trace(gram) / len(gram) * np.eye(len(gram))
    change = _features(codes) @ np.linalg.solve(gram + ridge, cross)
    params, start = _repeat(mean, codes), 0
    for path in paths:
      stop = start + mean[path].size
      part = change[:, start:stop].reshape(len(codes), *mean[path].shape)
      params[path] = (mean[path][None] + part).astype(np.float32)
      start = stop
    return params

  val = tasks.codes['val']
  best = max(
    _PENALTIES,
    key=lambda penalty: task_outputs.accuracy(tasks, networks(penalty, val), val, 'val').mean(),
  )
  return functools.partial(networks, best)


def _repeat(params: typing.Params, codes: np.ndarray) -> typing.StackedParams:
  return {path: np.broadcast_to(x, (len(codes), *x.shape)) for path, x in params.items()}


def _features(codes: np.ndarray) -> np.ndarray:
  """[n, f] a constant, the labels as signs, and the products of two."""
  signs = 2.0 * codes - 1
  rows, columns = np.triu_indices(codes.shape[1], 1)
  ones = np.ones((len(codes), 1))
  return np.concatenate([ones, signs, signs[:, rows] * signs[:, columns]], 1)


@functools.partial(jax.jit, static_argnames='architecture')
def _hidden(params: typing.Params, architecture: model_lib.Model, x: jax.Array) -> jax.Array:
  """[N, h] activations that the last layer reads."""
  return architecture.forward(params, x)[1][architecture.spec.groups[-1].id]
