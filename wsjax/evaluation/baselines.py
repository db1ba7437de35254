"""Baselines that any generator must beat, controls, and fresh runs as the ceiling.

All draw from the training networks only, 'raw' as they were trained or 'aligned' in canonical form;
the alignment is not in the seconds of a method.
"""

import functools
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

from wsjax import networks, typing
from wsjax.evaluation import methods, neighbours
from wsjax.evaluation import reference as reference_lib
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
    num_samples: networks per method, at least 1; fresh runs are at most as many as the held-out
      ones.
    seed: of all draws; each method has a stream of its own.
    noise: standard deviations of the noise on copies, in units of the weights.

  Returns:
    One method each, seconds measured. Soups of more networks than there are, random networks of a
    model that draws none, fresh runs without held-out networks and fine-tuning without a `finetune`
    are left out.

  Source: arXiv:2506.07998 (noise, average, per-coordinate Gaussian).
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
      count = networks.length(params)
      num_bytes = num_bytes * count
      seconds = population.fresh_seconds and population.fresh_seconds * count
    result.append(methods.Method(name, kind, params, seconds, num_bytes, (seed,)))
  return result


def _makers(
  population: reference_lib.Population, n: int, noise: Sequence[float]
) -> list[tuple[str, str, int, _Make]]:
  """Name, kind, bytes to keep and maker of every method."""
  train, count = population.train, population.num_train
  raw, aligned = networks.flatten(train), networks.flatten(population.aligned_train)
  zoo_bytes, net_bytes = raw.nbytes, raw[0].nbytes

  def of_vectors(vectors: np.ndarray) -> typing.StackedParams:
    vectors = np.asarray(vectors, np.float32)
    return networks.Networks.from_flat(vectors, population.architecture.spec).params

  def vectors(make: Callable[[np.random.Generator], np.ndarray]) -> _Make:
    return lambda rng: of_vectors(make(rng))

  makers: list[tuple[str, str, int, _Make]] = [
    (f'noise({size})', 'baseline', zoo_bytes,
     vectors(lambda rng, size=size: noisy(rng, raw, n, size)))
    for size in noise
  ]  # fmt: skip
  for name, zoo in (('raw', raw), ('aligned', aligned)):
    blends = {'interpolation': lambda rng: interpolation(rng, n, count)}
    for k in SOUPS:
      if k <= count:
        blends[f'soup-{k}'] = lambda rng, k=k: mixture(rng, n, count, k)
    makers += [
      (f'{blend} {name}', 'baseline', zoo_bytes,
       vectors(lambda rng, zoo=zoo, weights=weights: weights(rng) @ zoo))
      for blend, weights in blends.items()
    ]  # fmt: skip
  rank = min(PCA_RANK, count - 1)
  makers += [
    ('gaussian', 'baseline', 2 * net_bytes, vectors(lambda rng: gaussian(rng, aligned, n))),
    ('pca-gaussian', 'baseline', (rank + 1) * net_bytes,
     vectors(lambda rng: pca_gaussian(rng, aligned, n, rank))),
    ('retrieval', 'baseline', zoo_bytes,
     lambda rng: networks.take(train, rng.integers(count, size=n))),
    ('permuted copy', 'control', zoo_bytes, lambda rng: permuted_copy(rng, population, n)),
  ]  # fmt: skip
  if population.architecture.can_init:
    makers.append(('random init', 'control', 0, lambda rng: random_init(rng, population, n)))
  if (heldout := population.heldout) is not None:
    fresh = networks.length(heldout)
    makers.append(
      ('fresh runs', 'ceiling', net_bytes,
       lambda rng: networks.take(heldout, rng.permutation(fresh)[:n]))
    )  # fmt: skip
  if (finetune := population.finetune) is not None:
    for steps in population.finetune_steps:

      def tuned(rng: np.random.Generator, steps: int = steps) -> typing.StackedParams:
        start = of_vectors(noisy(rng, raw, n, FINETUNE_NOISE))
        return finetune(start, steps=steps, seed=_seed(rng))

      makers.append((f'finetune-{steps}', 'baseline', zoo_bytes, tuned))
  return makers


def noisy(rng: np.random.Generator, zoo: np.ndarray, n: int, sigma: float) -> np.ndarray:
  """[n, d] random training networks plus white noise of standard deviation `sigma`."""
  copies = zoo[rng.integers(len(zoo), size=n)]
  return copies + np.float32(sigma) * rng.standard_normal(copies.shape, np.float32)


def mixture(rng: np.random.Generator, n: int, count: int, k: int) -> np.ndarray:
  """[n, count] float32 weights of the mean of k different networks: k entries of 1 / k in a row."""
  order = np.argsort(rng.random((n, count)), axis=1)[:, :k]
  weights = np.zeros((n, count), np.float32)
  np.put_along_axis(weights, order, np.float32(1 / k), axis=1)
  return weights


def interpolation(rng: np.random.Generator, n: int, count: int) -> np.ndarray:
  """[n, count] float32 weights 1 - t and t of two different networks, t uniform in [0, 1]."""
  pair = np.argsort(rng.random((n, count)), axis=1)[:, :2]
  t = rng.random((n, 1), np.float32)
  weights = np.zeros((n, count), np.float32)
  np.put_along_axis(weights, pair, np.concatenate([1 - t, t], axis=1), axis=1)
  return weights


def gaussian(rng: np.random.Generator, zoo: np.ndarray, n: int) -> np.ndarray:
  """[n, d] independent normal coordinates with the mean and deviation of an aligned zoo."""
  z = rng.standard_normal((n, zoo.shape[1]), np.float32)
  mean, deviation = zoo.mean(axis=0), zoo.std(axis=0, ddof=1)
  return mean[None] + z * deviation[None]


def pca_gaussian(rng: np.random.Generator, zoo: np.ndarray, n: int, rank: int) -> np.ndarray:
  """[n, d] samples of a normal distribution on the `rank` leading principal components of a zoo.

  With the centred, aligned zoo X = U S V', they are mean + z S V' / sqrt(N - 1). The rank is below
  N.
  """
  mean = zoo.mean(axis=0, keepdims=True)
  _, scaled = neighbours.leading(zoo - mean, rank)
  z = rng.standard_normal((n, len(scaled)), np.float32)
  return mean + z @ scaled / np.float32(np.sqrt(len(zoo) - 1))


def permuted_copy(
  rng: np.random.Generator, population: reference_lib.Population, n: int
) -> typing.StackedParams:
  """Path -> [n, ...] random training networks moved by symmetry, whose novelty must be 0."""
  copies = networks.take(population.train, rng.integers(population.num_train, size=n))
  return move(copies, population.architecture.spec, seed=_seed(rng))


def move(params: typing.StackedParams, spec: spec_lib.Spec, *, seed: int) -> typing.StackedParams:
  """Path -> [n, ...] networks, each moved by a random element of the group; functions are kept."""
  count = networks.length(params)
  return _move(jax.random.split(jax.random.key(seed), count), params, spec)


@functools.partial(jax.jit, static_argnames='spec')
def _move(
  keys: jax.Array, params: typing.StackedParams, spec: spec_lib.Spec
) -> typing.StackedParams:
  return jax.vmap(lambda key, net: spec.act(spec.random(key), net))(keys, params)


def random_init(
  rng: np.random.Generator, population: reference_lib.Population, n: int
) -> typing.StackedParams:
  """Path -> [n, ...] untrained networks."""
  keys = jax.random.split(jax.random.key(_seed(rng)), n)
  return jax.jit(jax.vmap(population.architecture.init))(keys)


def _seed(rng: np.random.Generator) -> int:
  """An integer for streams that are not NumPy's."""
  return int(rng.integers(2**31))
