"""Differentially private training: random batches, clipped gradients of examples, noise.

Two training sets that differ in one example give nearly the same parameters: the chance of any
outcome differs by a factor of at most e^epsilon, up to delta. The noise that this takes is found by
an accountant, and is drawn from a secret: who knows the seed of a run can take it off again. The
guarantee is of the parameters alone: losses that are logged, and reports, are of the training set.

Source: Abadi et al. 2016, arXiv:1607.00133, algorithm 1.
"""

import dataclasses
import os
import pathlib
import secrets
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats

from wsjax import files, typing

SECRET = 'secret.json'  # Never leaves the work directory.
_ORDERS = np.arange(2, 257)[:, None]
_SPILLED = 1e-3  # Share of delta for batches that are larger than there is room.


def accountant(noise: float, rate: float, steps: int, delta: float) -> float:
  """Epsilon of training, from the Renyi divergences of whole orders; an upper bound.

  Args:
    noise: standard deviation of the noise in units of the largest norm of a gradient.
    rate: chance of every example to be in a batch.
    steps: number of batches.
    delta: chance of anything worse.

  Source: Mironov et al. 2019, arXiv:1908.10530, section 3.3 (whole orders); Canonne et al. 2020,
    arXiv:2004.00010, proposition 12 (epsilon from them).
  """
  order, k = _ORDERS, np.arange(_ORDERS[-1, 0] + 1)
  # Terms beyond the order have a binomial coefficient of 0.
  with np.errstate(divide='ignore', invalid='ignore'):
    terms = (
      scipy.special.gammaln(order + 1) - scipy.special.gammaln(k + 1)
      - scipy.special.gammaln(np.maximum(order - k, 0) + 1)
      + scipy.special.xlog1py(order - k, -rate) + scipy.special.xlogy(k, rate)
      + k * (k - 1) / (2 * noise**2)
    )  # fmt: skip
  divergence = scipy.special.logsumexp(np.where(k <= order, terms, -np.inf), axis=1)
  order = order[:, 0]
  found = steps * divergence / (order - 1) + np.log1p(-1 / order)
  return max(0.0, float(np.min(found - (np.log(delta) + np.log(order)) / (order - 1))))


def secret_key(workdir: pathlib.Path) -> jax.Array:
  """The key of batches and noise of one training, which its restarts have too.

  It is drawn from the system, not from a seed, and kept in a file that only the owner reads.
  """
  path = workdir / SECRET
  if not path.exists():
    workdir.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as file:
      os.fchmod(file.fileno(), 0o600)
      file.write(files.seal({'key': [secrets.randbits(32) for _ in range(2)]}).encode())
  return jax.random.wrap_key_data(np.array(files.read_sealed(path)['key'], np.uint32))


@dataclasses.dataclass(frozen=True)
class Private:
  """How training keeps its examples private.

  Attributes:
    epsilon: of its guarantee.
    delta: of its guarantee.
    clip: largest norm of the gradient of one example.
    noise: standard deviation of the noise of a sum of gradients, in units of `clip`.
    size: N examples.
    batch_size: that is expected; every example is in a batch with a chance of `batch_size` / N.
    room: examples that a batch has room for.
    microbatch: examples whose gradients are in memory together.
  """

  epsilon: float
  delta: float
  clip: float
  noise: float
  size: int
  batch_size: int
  room: int
  microbatch: int

  @classmethod
  def make(
    cls, *, epsilon: float, delta: float, clip: float, size: int, batch_size: int, steps: int,
    microbatch: int = 0,
  ) -> 'Private':  # fmt: skip
    """Finds the noise for a guarantee.

    Args:
      epsilon: of the guarantee.
      delta: of the guarantee, below 1 / `size`.
      clip: largest norm of the gradient of one example.
      size: N examples.
      batch_size: that is expected, at most N.
      steps: number of batches.
      microbatch: examples whose gradients are in memory together; 0 is 1 on CPU, where a gradient
        stays in its cache, and 32 elsewhere.

    Raises:
      ValueError: if no noise gives the guarantee, or delta is too large to mean anything.
    """
    if delta >= 1 / size:
      raise ValueError(
        f'train.privacy_delta is {delta:g}; allowed: below 1 / {size}, the number of examples.'
      )
    rate = batch_size / size

    def excess(log_noise: float) -> float:
      return accountant(np.exp(log_noise), rate, steps, (1 - _SPILLED) * delta) - epsilon

    limits = np.log([0.1, 1e6])
    if excess(limits[1]) > 0:
      raise ValueError(f'train.privacy is {epsilon:g}; no noise gives it with delta {delta:g}.')
    noise = 0.1
    if excess(limits[0]) > 0:
      noise = float(np.exp(scipy.optimize.brentq(excess, *limits, xtol=1e-6))) * (1 + 1e-5)
    microbatch = min(microbatch or (1 if jax.default_backend() == 'cpu' else 32), size)
    spilled = _SPILLED * delta / (steps * (1 + np.exp(min(epsilon, 50.0))))
    room = min(int(scipy.stats.binom.isf(spilled, size, rate)) + 1, size)
    room = -(-room // microbatch) * microbatch
    return cls(epsilon, delta, clip, noise, size, batch_size, room, microbatch)

  def __str__(self):
    return (
      f'differentially private with epsilon {self.epsilon:g} at delta {self.delta:g} for each of '
      f'{self.size} examples (noise {self.noise:.3g}, gradients of norm {self.clip:g})'
    )

  def batch(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """[room] examples of which those marked [room] are in a batch, each of N by chance alone."""
    drawn = jax.random.uniform(key, (self.size,))
    rows, real = jnp.argsort(drawn)[: self.room], min(self.room, self.size)
    rows = jnp.pad(rows, (0, self.room - real))
    return rows, (drawn[rows] < self.batch_size / self.size) & (jnp.arange(self.room) < real)

  def gradient(self, loss: Callable[..., Any], public: Callable[..., Any] | None) -> Callable:
    """Makes (params, (examples [room, ...], marked [room]), key) -> ((loss, metrics), gradient).

    Args:
      loss: (params, examples, key) -> (mean, metrics); it sees one example at a time.
      public: a further loss, of no example, whose gradient needs no noise; it is given zeros.
    """

    def one(params: typing.PyTree, example: typing.PyTree, key: jax.Array) -> tuple:
      batch = jax.tree.map(lambda x: x[None], example)
      value, grads = jax.value_and_grad(loss, has_aux=True)(params, batch, key)
      norm = jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(grads)))
      scale = jnp.minimum(1.0, self.clip / jnp.maximum(norm, 1e-30))
      # An example whose gradient is not finite counts for nothing.
      return value, jax.tree.map(lambda x: jnp.where(jnp.isfinite(norm), scale * x, 0.0), grads)

    def mean(params: typing.PyTree, batch: tuple, key: jax.Array) -> tuple:
      examples, marked = batch
      keys = jax.random.split(key, self.room + 2)
      parts = jax.tree.map(
        lambda x: x.reshape(-1, self.microbatch, *x.shape[1:]), (examples, marked, keys[2:])
      )

      def add(total: typing.PyTree, part: tuple) -> tuple:
        examples, marked, keys = part
        found = jax.vmap(one, (None, 0, 0))(params, examples, keys)
        masked = jax.tree.map(
          lambda x: jnp.sum(jnp.where(marked.reshape(-1, *[1] * (x.ndim - 1)), x, 0), axis=0), found
        )
        return jax.tree.map(jnp.add, total, masked), None

      first = jax.tree.map(lambda x: x[0], (examples, keys))
      shapes = jax.eval_shape(one, params, *first)
      zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
      (losses, grads), _ = jax.lax.scan(add, zeros, parts)
      leaves, structure = jax.tree.flatten(grads)
      noise = [
        self.clip * self.noise * jax.random.normal(key, x.shape)
        for x, key in zip(leaves, jax.random.split(keys[0], len(leaves)), strict=True)
      ]
      grads = jax.tree.map(
        lambda x, y: (x + y) / self.batch_size, grads, jax.tree.unflatten(structure, noise)
      )
      value, metrics = jax.tree.map(lambda x: x / jnp.maximum(jnp.sum(marked), 1), losses)
      if public is not None:
        nothing = jax.tree.map(jnp.zeros_like, examples)
        (more, others), extra = jax.value_and_grad(public, has_aux=True)(params, nothing, keys[1])
        grads, value, metrics = jax.tree.map(jnp.add, grads, extra), value + more, metrics | others
      return (value, metrics), grads

    return mean
