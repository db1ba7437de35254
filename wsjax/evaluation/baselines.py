"""Baselines that any generator must beat, controls, and fresh runs as the ceiling.

All draw from the training networks only. 'raw' works on the weights as they were trained, 'aligned'
on their canonical forms; that alignment is done once and is not in the seconds of a method.
"""

import functools
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

from wsjax import typing
from wsjax.evaluation import methods, null_models
from wsjax.evaluation import reference as reference_lib
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib

# Standard deviations in units of the weights, the same for every weight; for classifiers.
NOISE = (0.01, 0.02, 0.05, 0.1)
FINETUNE_NOISE = 0.1
SOUPS = (2, 4, 16)
PCA_RANK = 99

_Make = Callable[[np.random.Generator], typing.StackedParams]


def panel(
  population: reference_lib.Population,
  *,
  num_samples: int,
  seed: int,
  noise: Sequence[float] = NOISE,
) -> list[methods.Method]:
  """Baselines, controls and the ceiling for one zoo.

  Args:
    population: the zoo.
    num_samples: networks per method; fresh runs are at most as many as the held-out ones.
    seed: of all draws; each method has a stream of its own.
    noise: standard deviations of the noise on copies, in units of the weights.

  Returns:
    One method each, seconds measured. Soups of more networks than there are, random networks of a
    model that draws none, fresh runs without held-out networks and fine-tuning without a `finetune`
    are left out.

  Raises:
    ValueError: if `num_samples` < 1.

  Source: arXiv:2506.07998 (noise, average, per-coordinate Gaussian). `nulls` and the functions
    below define each method.
  """
  if num_samples < 1:
    raise ValueError(f'num_samples is {num_samples}, not >= 1.')
  result = []
  for number, (name, kind, num_bytes, make) in enumerate(_makers(population, num_samples, noise)):
    rng = np.random.default_rng([seed, number])
    start = time.perf_counter()
    params = {path: np.asarray(value) for path, value in make(rng).items()}
    seconds = time.perf_counter() - start
    if kind == 'ceiling':  # Drawing one is not what it costs to train it.
      count = len(next(iter(params.values())))
      num_bytes = num_bytes * count
      seconds = population.fresh_seconds and population.fresh_seconds * count
    result.append(methods.Method(name, kind, params, seconds, num_bytes, (seed,)))
  return result


def _makers(
  population: reference_lib.Population, n: int, noise: Sequence[float]
) -> list[tuple[str, str, int, _Make]]:
  """Name, kind, bytes to keep and maker of every method."""
  train, count = population.train, population.num_train
  raw, aligned = methods.flatten(train), methods.flatten(population.aligned_train)
  zoo_bytes, net_bytes = raw.nbytes, raw[0].nbytes

  def vectors(make: Callable[[np.random.Generator], np.ndarray]) -> _Make:
    return lambda rng: methods.unflatten(make(rng), train)

  makers = [
    (
      f'noise({sigma})',
      'baseline',
      zoo_bytes,
      vectors(lambda rng, sigma=sigma: null_models.noise(rng, raw, n, sigma)),
    )
    for sigma in noise
  ]
  for name, zoo in (('raw', raw), ('aligned', aligned)):
    makers.append(
      (
        f'interpolation {name}',
        'baseline',
        zoo_bytes,
        vectors(lambda rng, zoo=zoo: null_models.interpolation(rng, n, count) @ zoo),
      )
    )
    for k in SOUPS:
      if k <= count:
        makers.append(
          (
            f'soup-{k} {name}',
            'baseline',
            zoo_bytes,
            vectors(lambda rng, zoo=zoo, k=k: null_models.mixture(rng, n, count, k) @ zoo),
          )
        )
  rank = min(PCA_RANK, count - 1)
  makers += [
    (
      'gaussian',
      'baseline',
      2 * net_bytes,
      vectors(lambda rng: null_models.gaussian(rng, aligned, n)),
    ),
    (
      'pca-gaussian',
      'baseline',
      (rank + 1) * net_bytes,
      vectors(lambda rng: null_models.pca_gaussian(rng, aligned, n, rank)),
    ),
    (
      'retrieval',
      'baseline',
      zoo_bytes,
      lambda rng: methods.take(train, rng.integers(count, size=n)),
    ),
    ('permuted copy', 'control', zoo_bytes, lambda rng: permuted_copy(rng, population, n)),
  ]
  if population.architecture.can_init:
    makers.append(('random init', 'control', 0, lambda rng: random_init(rng, population, n)))
  if population.heldout is not None:
    heldout = population.heldout
    fresh = len(next(iter(heldout.values())))
    makers.append(
      (
        'fresh runs',
        'ceiling',
        net_bytes,
        lambda rng: methods.take(heldout, rng.permutation(fresh)[:n]),
      )
    )
  if population.finetune is not None:
    finetune = population.finetune
    for steps in population.finetune_steps:
      makers.append(
        (
          f'finetune-{steps}',
          'baseline',
          zoo_bytes,
          lambda rng, steps=steps: finetune(
            methods.unflatten(null_models.noise(rng, raw, n, FINETUNE_NOISE), train),
            steps=steps,
            seed=_seed(rng),
          ),
        )
      )
  return makers


def permuted_copy(
  rng: np.random.Generator, population: reference_lib.Population, n: int
) -> typing.StackedParams:
  """Random training networks, each moved by a random element of the group.

  Exact copies moved by symmetry, whose novelty must be 0.

  Args:
    rng: source of randomness.
    population: the zoo.
    n: samples.

  Returns:
    path -> [n, ...].
  """
  copies = methods.take(population.train, rng.integers(population.num_train, size=n))
  return move(copies, population.architecture.spec, seed=_seed(rng))


def move(params: typing.StackedParams, spec: spec_lib.Spec, *, seed: int) -> typing.StackedParams:
  """Moves every network by a random element of the group of its own.

  Args:
    params: path -> [n, ...].
    spec: the symmetry.
    seed: of the elements.

  Returns:
    path -> [n, ...] networks with the functions that they had.
  """
  count = len(next(iter(params.values())))
  return _move(jax.random.split(jax.random.key(seed), count), params, spec)


@functools.partial(jax.jit, static_argnames='spec')
def _move(
  keys: jax.Array, params: typing.StackedParams, spec: spec_lib.Spec
) -> typing.StackedParams:
  def one(key: jax.Array, net: typing.Params) -> typing.Params:
    return spec.act(spec.random(key), net)

  return jax.vmap(one)(keys, params)


def random_init(
  rng: np.random.Generator, population: reference_lib.Population, n: int
) -> typing.StackedParams:
  """Untrained networks.

  Args:
    rng: source of randomness.
    population: the zoo.
    n: samples.

  Returns:
    path -> [n, ...].
  """
  keys = jax.random.split(jax.random.key(_seed(rng)), n)
  return _initialise(keys, population.architecture)


@functools.partial(jax.jit, static_argnames='architecture')
def _initialise(keys: jax.Array, architecture: model_lib.Model) -> typing.StackedParams:
  return jax.vmap(architecture.init)(keys)


def _seed(rng: np.random.Generator) -> int:
  """An integer for streams that are not NumPy's."""
  return int(rng.integers(2**31))
