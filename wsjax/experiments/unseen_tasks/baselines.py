"""Baselines for unseen tasks that need no generator: linear models, retrieval, training.

Each has what the generator has; choices are made on tasks and images of validation.
"""

import dataclasses
import functools
import time
from collections.abc import Callable

import jax
import ml_collections
import numpy as np
import scipy.special
from jaxtyping import Float, Int

from wsjax import typing
from wsjax.experiments.unseen_tasks import tasks as tasks_lib
from wsjax.models import mlp
from wsjax.models import model as model_lib
from wsjax.symmetry import canonicalize
from wsjax.zoo import train as train_lib

# Penalties of ridge regressions, in units of the mean squared feature.
_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Method:
  """A way to solve the test tasks.

  Attributes:
    accuracy: [S, n] of every seed and test task.
    kind: of the row of the report.
    seconds: wall time to make one network, or None where it was not measured.
  """

  accuracy: Float[np.ndarray, 's n']
  kind: str = 'baseline'
  seconds: float | None = None


def panel(config: ml_collections.ConfigDict, tasks: tasks_lib.Tasks) -> dict[str, Method]:
  """Evaluates every baseline on the test tasks."""
  return {
    **linear(config, tasks),
    **retrieval(tasks),
    **many_classes(config, tasks),
    **trained_anew(config, tasks),
  }


def linear(config: ml_collections.ConfigDict, tasks: tasks_lib.Tasks) -> dict[str, Method]:
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
    'ridge, code to all weights': ridge(tasks, train, mean, list(train)),
    'ridge, code to last layer; mean backbone': ridge(tasks, train, mean, head),
    'least-squares head; mean backbone': functools.partial(least_squares, tasks, mean),
    'mean of the training networks': functools.partial(_repeat, mean),
  }
  codes = tasks.codes['test']
  return {name: Method(tasks.accuracy(make(codes), codes)[None]) for name, make in networks.items()}


def least_squares(
  tasks: tasks_lib.Tasks, params: typing.Params, codes: Int[np.ndarray, 'n c']
) -> typing.StackedParams:
  """Fits last layers to signed labels of training images, on one backbone.

  The sign of an image is linear in the code of a task, and so is the fitted layer: one fit serves
  all tasks.

  Args:
    tasks: source of the training images.
    params: of the backbone; its last layer is not used.
    codes: of the tasks.
  """
  architecture, dataset = tasks.architecture, tasks.dataset
  last = architecture.spec.leaves[-2]
  hidden = np.asarray(_hidden(params, architecture, dataset.train_x))
  features = np.append(hidden, np.ones((len(hidden), 1)), 1).astype(np.float64)
  classes = np.eye(codes.shape[1])[dataset.train_y]
  gram = features.T @ features
  penalty = 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram))
  by_class = np.linalg.solve(gram + penalty, features.T @ classes)
  layer = ((2.0 * codes - 1) @ by_class.T).astype(np.float32) / 2
  # Two logits, of which one is the negative of the other.
  layer = np.stack([-layer, layer], -1)
  bias = f'{last.path.partition("/")[0]}/bias'
  return _repeat(params, codes) | {last.path: layer[:, :-1], bias: layer[:, -1]}


def ridge(
  tasks: tasks_lib.Tasks, train: typing.StackedParams, mean: typing.Params, paths: list[str]
) -> Callable[[np.ndarray], typing.StackedParams]:
  """Regresses the weights at `paths` on features of the code; the others are the mean.

  The penalty is the one with which validation tasks are solved best.

  Returns:
    Codes [n, num_classes] -> path -> [n, ...].
  """
  x = _features(tasks.codes['train'])
  y = np.concatenate([(train[p] - mean[p]).reshape(len(x), -1) for p in paths], 1)
  gram, cross = x.T @ x, x.T @ y

  def networks(penalty: float, codes: np.ndarray) -> typing.StackedParams:
    diagonal = penalty * np.trace(gram) / len(gram) * np.eye(len(gram))
    change = _features(codes) @ np.linalg.solve(gram + diagonal, cross)
    params, start = _repeat(mean, codes), 0
    for path in paths:
      stop = start + mean[path].size
      part = change[:, start:stop].reshape(len(codes), *mean[path].shape)
      params[path] = (mean[path][None] + part).astype(np.float32)
      start = stop
    return params

  val = tasks.codes['val']
  best = max(
    _PENALTIES, key=lambda penalty: tasks.accuracy(networks(penalty, val), val, 'val').mean()
  )
  return functools.partial(networks, best)


def retrieval(tasks: tasks_lib.Tasks) -> dict[str, Method]:
  """Networks of the training tasks whose codes are nearest."""
  codes, seen = tasks.codes['test'], tasks.codes['train']
  y = tasks.dataset.test_y
  margin = np.asarray(
    tasks_lib.margins(tasks.architecture, tasks.params['train'], tasks.dataset.test_x)
  )
  distance = (codes[:, None] != seen[None]).sum(-1)
  near = distance == distance.min(1, keepdims=True)
  alone = [
    tasks_lib.correct(margin[row], code[None], y).mean()
    for row, code in zip(near, codes, strict=True)
  ]
  # Of several neighbours that differ in one class each, most are right.
  votes = np.stack([np.sign(margin[row]).mean(0) for row in near])
  share = (distance.min(1) == 1).mean()
  found = {
    f'nearest code ({share:.0%} at distance 1), mean over ties': np.array(alone),
    'vote of all nearest codes': tasks_lib.correct(votes, codes, y),
  }
  if (is_complement := distance == codes.shape[1]).any(1).all():
    swapped = -margin[is_complement.argmax(1)]
    found['complement, outputs swapped'] = tasks_lib.correct(swapped, codes, y)
  return {name: Method(accuracy[None]) for name, accuracy in found.items()}


def many_classes(config: ml_collections.ConfigDict, tasks: tasks_lib.Tasks) -> dict[str, Method]:
  """One network of all classes: its summed probabilities, and its backbone."""
  num_classes = tasks.codes['test'].shape[1]
  widths = (*tasks.architecture.config['widths'][:-1], num_classes)
  architecture = mlp.MLP(**{**tasks.architecture.config, 'widths': widths})
  recipe = _recipe(config, steps=config.tasks.steps_of_classes)
  dataset = dataclasses.replace(tasks.dataset, codes=None)
  seeds = np.arange(len(config.train.seeds))
  trained = train_lib.train_networks(architecture, dataset, recipe, seeds, seed=config.seed + 1)
  run = jax.jit(jax.vmap(architecture.apply, in_axes=(0, None)))
  logits = np.asarray(run(trained.params, dataset.test_x))
  y, codes = dataset.test_y, tasks.codes['test']
  summed = [tasks_lib.correct(log_odds(each, codes), codes, y) for each in logits]
  backbones = [{path: x[seed] for path, x in trained.params.items()} for seed in seeds]
  heads = [tasks.accuracy(least_squares(tasks, each, codes), codes) for each in backbones]
  return {
    f'one network of {num_classes} classes, probabilities summed': Method(np.stack(summed)),
    f'least-squares head; backbone of {num_classes} classes': Method(np.stack(heads)),
  }


def trained_anew(config: ml_collections.ConfigDict, tasks: tasks_lib.Tasks) -> dict[str, Method]:
  """Networks trained on each test task, for few steps."""
  steps = tuple(config.tasks.fresh_steps)
  recipe = _recipe(config, steps=steps[-1], snapshots=steps[:-1])
  dataset = dataclasses.replace(tasks.dataset, codes=tasks.codes['test'])
  indices = np.arange(len(dataset.codes))
  accuracy, seconds = [], []
  for seed in range(len(config.train.seeds)):
    start = time.perf_counter()
    trained = train_lib.train_networks(
      tasks.architecture, dataset, recipe, indices, seed=config.seed + 1 + seed
    )
    seconds.append(time.perf_counter() - start)
    networks = (*trained.snapshots.values(), trained.params)
    accuracy.append([tasks.accuracy(params, dataset.codes) for params in networks])
  # The first call compiles; with one seed that is part of the time.
  per_step = min(seconds) / len(indices) / steps[-1]
  return {
    f'trained anew, {number} steps': Method(np.stack(each), 'ceiling', number * per_step)
    for number, each in zip(steps, zip(*accuracy, strict=True), strict=True)
  }


def log_odds(
  logits: Float[np.ndarray, 'b c'], codes: Int[np.ndarray, 'n c']
) -> Float[np.ndarray, 'n b']:
  """Computes the log odds that the class of each image is in each subset."""
  inside, outside = (
    np.stack([scipy.special.logsumexp(logits[:, code == bit], axis=1) for code in codes])
    for bit in (1, 0)
  )
  return inside - outside


def _recipe(config: ml_collections.ConfigDict, **changes) -> train_lib.Recipe:
  """The recipe of the zoo, of another length."""
  return train_lib.Recipe(**{**config.zoo.recipe.to_dict(), **changes})


def _repeat(params: typing.Params, codes: np.ndarray) -> typing.StackedParams:
  return {path: np.broadcast_to(x, (len(codes), *x.shape)) for path, x in params.items()}


def _features(codes: Int[np.ndarray, 'n c']) -> Float[np.ndarray, 'n f']:
  """A constant, the labels as signs, and the products of two of them."""
  signs = 2.0 * codes - 1
  rows, columns = np.triu_indices(codes.shape[1], 1)
  ones = np.ones((len(codes), 1))
  return np.concatenate([ones, signs, signs[:, rows] * signs[:, columns]], 1)


@functools.partial(jax.jit, static_argnames='architecture')
def _hidden(params: typing.Params, architecture: model_lib.Model, x: jax.Array) -> jax.Array:
  """[b, h] activations that the last layer reads."""
  return architecture.forward(params, x)[1][architecture.spec.groups[-1].id]
