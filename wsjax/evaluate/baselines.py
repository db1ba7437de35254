"""The panel: what any generator must beat, in the same rows as it.

All draw from the training networks only. 'raw' works on the weights as they
were trained, 'aligned' on their canonical forms; that alignment is done once
and is not in the seconds of an arm.
"""

import time
from collections.abc import Callable

import jax
import numpy as np

from wsjax import typing
from wsjax.evaluate import arms
from wsjax.evaluate import context as context_lib
from wsjax.symmetry import element

# Standard deviations in units of the weights, the same for every weight.
NOISE = (0.01, 0.02, 0.05, 0.1)
FINETUNE_NOISE = 0.1
SOUPS = (2, 4, 16)
PCA_RANK = 99

_Make = Callable[[np.random.Generator], typing.StackedParams]


def panel(
  context: context_lib.Context, *, num_samples: int, seed: int
) -> list[arms.Arm]:
  """Baselines, controls and the ceiling for one zoo.

  Args:
    context: the zoo.
    num_samples: networks per arm; fresh runs are at most as many as the
      held-out ones.
    seed: of all draws; each arm has a stream of its own.

  Returns:
    One arm each, seconds measured. Soups of more networks than there are,
    fresh runs without held-out networks and fine-tuning without a `finetune`
    are left out.

  Raises:
    ValueError: if `num_samples` < 1.

  Source: arXiv:2506.07998 (noise, average, Gaussian); panel and definitions
    in docs of `noise`, `mixture`, `gaussian`, `pca_gaussian`.
  """
  if num_samples < 1:
    raise ValueError(f'num_samples is {num_samples}, not >= 1.')
  result = []
  for number, (name, kind, num_bytes, make) in enumerate(
    _makers(context, num_samples)
  ):
    rng = np.random.default_rng([seed, number])
    start = time.perf_counter()
    params = {path: np.asarray(value) for path, value in make(rng).items()}
    seconds = time.perf_counter() - start
    if kind == 'ceiling':  # Drawing one is not what it costs to train it.
      count = len(next(iter(params.values())))
      num_bytes = num_bytes * count
      seconds = context.fresh_seconds and context.fresh_seconds * count
    result.append(arms.Arm(name, kind, params, seconds, num_bytes, (seed,)))
  return result


def _makers(
  context: context_lib.Context, n: int
) -> list[tuple[str, str, int, _Make]]:
  """Name, kind, bytes to keep and maker of every arm."""
  train, count = context.train, context.num_train
  raw, aligned = arms.flatten(train), arms.flatten(context.aligned_train)
  zoo_bytes, net_bytes = raw.nbytes, raw[0].nbytes

  def vectors(make: Callable[[np.random.Generator], np.ndarray]) -> _Make:
    return lambda rng: arms.unflatten(make(rng), train)

  makers = [
    (
      f'noise({sigma})',
      'baseline',
      zoo_bytes,
      vectors(lambda rng, sigma=sigma: noise(rng, raw, n, sigma)),
    )
    for sigma in NOISE
  ]
  for name, zoo in (('raw', raw), ('aligned', aligned)):
    makers.append(
      (
        f'interpolation {name}',
        'baseline',
        zoo_bytes,
        vectors(lambda rng, zoo=zoo: interpolation(rng, n, count) @ zoo),
      )
    )
    for k in SOUPS:
      if k <= count:
        makers.append(
          (
            f'soup-{k} {name}',
            'baseline',
            zoo_bytes,
            vectors(lambda rng, zoo=zoo, k=k: mixture(rng, n, count, k) @ zoo),
          )
        )
  rank = min(PCA_RANK, count - 1)
  makers += [
    (
      'gaussian',
      'baseline',
      2 * net_bytes,
      vectors(lambda rng: gaussian(rng, aligned, n)),
    ),
    (
      'pca-gaussian',
      'baseline',
      (rank + 1) * net_bytes,
      vectors(lambda rng: pca_gaussian(rng, aligned, n, rank)),
    ),
    (
      'retrieval',
      'baseline',
      zoo_bytes,
      lambda rng: arms.take(train, rng.integers(count, size=n)),
    ),
    (
      'permuted copy',
      'control',
      zoo_bytes,
      lambda rng: permuted_copy(rng, context, n),
    ),
    ('random init', 'control', 0, lambda rng: random_init(rng, context, n)),
  ]
  if context.heldout is not None:
    heldout = context.heldout
    fresh = len(next(iter(heldout.values())))
    makers.append(
      (
        'fresh runs',
        'ceiling',
        net_bytes,
        lambda rng: arms.take(heldout, rng.permutation(fresh)[:n]),
      )
    )
  if context.finetune is not None:
    finetune = context.finetune
    for steps in context.finetune_steps:
      makers.append(
        (
          f'finetune-{steps}',
          'baseline',
          zoo_bytes,
          lambda rng, steps=steps: finetune(
            arms.unflatten(noise(rng, raw, n, FINETUNE_NOISE), train),
            steps=steps,
            seed=_seed(rng),
          ),
        )
      )
  return makers


def noise(
  rng: np.random.Generator, zoo: np.ndarray, n: int, sigma: float
) -> np.ndarray:
  """Random training networks plus white noise.

  Args:
    rng: source of randomness.
    zoo: [N, d].
    n: samples.
    sigma: standard deviation of the noise, in units of the weights.

  Returns:
    [n, d] float32.
  """
  copies = zoo[rng.integers(len(zoo), size=n)]
  return copies + np.float32(sigma) * rng.standard_normal(
    copies.shape, np.float32
  )


def mixture(rng: np.random.Generator, n: int, count: int, k: int) -> np.ndarray:
  """Weights of the mean of k different networks out of `count`.

  Returns:
    [n, count] float32, k entries of 1 / k in every row.
  """
  order = np.argsort(rng.random((n, count)), axis=1)[:, :k]
  weights = np.zeros((n, count), np.float32)
  np.put_along_axis(weights, order, np.float32(1 / k), axis=1)
  return weights


def interpolation(rng: np.random.Generator, n: int, count: int) -> np.ndarray:
  """Weights 1 - t and t of two different networks, t uniform in [0, 1].

  A fifth of the samples is thus within a tenth of the way from an end.

  Returns:
    [n, count] float32.
  """
  pair = np.argsort(rng.random((n, count)), axis=1)[:, :2]
  t = rng.random((n, 1), np.float32)
  weights = np.zeros((n, count), np.float32)
  np.put_along_axis(weights, pair, np.concatenate([1 - t, t], axis=1), axis=1)
  return weights


def gaussian(rng: np.random.Generator, zoo: np.ndarray, n: int) -> np.ndarray:
  """Independent normal coordinates with the mean and deviation of the zoo.

  Args:
    rng: source of randomness.
    zoo: [N, d] aligned.
    n: samples.

  Returns:
    [n, d] float32.
  """
  z = rng.standard_normal((n, zoo.shape[1]), np.float32)
  mean, deviation = zoo.mean(axis=0), zoo.std(axis=0, ddof=1)
  return mean[None] + z * deviation[None]


def pca_gaussian(
  rng: np.random.Generator, zoo: np.ndarray, n: int, rank: int
) -> np.ndarray:
  """A normal distribution on the leading principal components of the zoo.

  With centred zoo X = U S V', the samples are mean + z S V' / sqrt(N - 1), and
  S V' = U' X, so that only the N x N Gram matrix is decomposed.

  Args:
    rng: source of randomness.
    zoo: [N, d] aligned.
    n: samples.
    rank: components kept, below N.

  Returns:
    [n, d] float32.
  """
  mean = zoo.mean(axis=0, keepdims=True)
  centred = zoo - mean
  _, u = np.linalg.eigh((centred @ centred.T).astype(np.float64))
  scaled = u[:, -rank:].T.astype(np.float32) @ centred
  z = rng.standard_normal((n, rank), np.float32)
  return mean + z @ scaled / np.float32(np.sqrt(len(zoo) - 1))


def permuted_copy(
  rng: np.random.Generator, context: context_lib.Context, n: int
) -> typing.StackedParams:
  """Random training networks, each moved by a random element of the group.

  Exact copies that do not look like it: what novelty must call 0.

  Args:
    rng: source of randomness.
    context: the zoo.
    n: samples.

  Returns:
    path -> [n, ...].
  """
  spec = context.architecture.spec
  copies = arms.take(context.train, rng.integers(context.num_train, size=n))

  def move(key: jax.Array, params: typing.Params) -> typing.Params:
    return element.apply(element.random(key, spec), params, spec)

  keys = jax.random.split(jax.random.key(_seed(rng)), n)
  return jax.jit(jax.vmap(move))(keys, copies)


def random_init(
  rng: np.random.Generator, context: context_lib.Context, n: int
) -> typing.StackedParams:
  """Networks before training: far from everything and good for nothing.

  Args:
    rng: source of randomness.
    context: the zoo.
    n: samples.

  Returns:
    path -> [n, ...].
  """
  keys = jax.random.split(jax.random.key(_seed(rng)), n)
  return jax.jit(jax.vmap(context.architecture.init))(keys)


def _seed(rng: np.random.Generator) -> int:
  """An integer for streams that are not NumPy's."""
  return int(rng.integers(2**31))
