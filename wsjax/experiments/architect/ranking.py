"""Ranking of architectures that nobody trained: proxies without training, and fitted predictors."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Float

from wsjax import networks as networks_lib
from wsjax import typing
from wsjax.experiments.architect import space

_EXAMPLES = 64  # Of NASWOT, whose kernel is a matrix of examples.


def num_params(chosen: Sequence[Any], inputs: int, outputs: int) -> Float[np.ndarray, ' n']:
  """Logarithm of the number of weights."""
  return np.log([space.model_of(one, inputs, outputs).spec.num_params for one in chosen])


def num_products(chosen: Sequence[Any], inputs: int, outputs: int) -> Float[np.ndarray, ' n']:
  """Logarithm of the floating-point operations of one input: two for each entry of a kernel."""
  sizes = [(inputs, *hidden, outputs) for hidden, _ in chosen]
  return np.log([2 * sum(a * b for a, b in zip(s, s[1:], strict=False)) for s in sizes])


def synflow(nets: typing.StackedParams, found: Mapping[str, Any]) -> Float[np.ndarray, ' n']:
  """Logarithm of the sum of |weight * gradient| of a network of absolute weights at ones.

  Source: Tanaka et al. 2020, arXiv:2006.05467.
  """

  def one(given: typing.PyTree) -> jax.Array:
    net = jax.tree.map(jnp.abs, given['net'])
    x = jnp.ones((1, net['first'].shape[0]))
    slope = jax.grad(lambda net: jnp.sum(space.forward(net, given['table'], x)))(net)
    parts = jax.tree.map(lambda w, g: jnp.sum(jnp.abs(w * g)), net, slope)
    return jnp.log(sum(jax.tree.leaves(parts)) + 1e-30)

  return networks_lib.in_chunks(
    jax.jit(jax.vmap(one)), {'net': dict(nets), 'table': dict(found)}, space.CHUNK
  )


def naswot(
  nets: typing.StackedParams, found: Mapping[str, Any], x: Float[np.ndarray, 'b d']
) -> Float[np.ndarray, ' n']:
  """Log-determinant of how often hidden units are on for both of two examples, or off for both.

  Source: Mellor et al. 2021, arXiv:2006.04647.
  """
  few = jnp.asarray(x[:_EXAMPLES])

  def one(given: typing.PyTree) -> jax.Array:
    table = given['table']
    before, _ = space.hidden_and_logits(given['net'], table, few)
    there, _ = space.units(table, before.shape[-1])
    on = (before > 0) * there[:, None]
    off = (before <= 0) * there[:, None]
    kernel = jnp.einsum('lbu,lcu->bc', on, on) + jnp.einsum('lbu,lcu->bc', off, off)
    return jnp.linalg.slogdet(kernel + 1e-3 * jnp.eye(len(few)))[1]

  return networks_lib.in_chunks(
    jax.jit(jax.vmap(one)), {'net': dict(nets), 'table': dict(found)}, space.CHUNK
  )


def graph_features(chosen: Sequence[Any]) -> Float[np.ndarray, 'n f']:
  """Depth, widths by place, their extremes and mean, sizes, and the activation, one-hot."""
  rows = []
  for hidden, activation in chosen:
    widths = np.zeros(8)
    widths[: len(hidden)] = hidden
    kinds = [activation == name for name in space.ACTIVATIONS]
    inner = sum(a * b for a, b in zip(hidden, hidden[1:], strict=False))
    rows.append([len(hidden), *widths, min(hidden), max(hidden), np.mean(hidden), hidden[-1], inner,
                 *kinds])  # fmt: skip
  return np.array(rows, float)


def forest(
  known: Float[np.ndarray, 'm f'], score: Float[np.ndarray, ' m'], new: Float[np.ndarray, 'n f'],
  *, seed: int,
) -> Float[np.ndarray, ' n']:  # fmt: skip
  """Scores of a random forest that was fitted to known architectures."""
  from sklearn import ensemble

  made = ensemble.RandomForestRegressor(300, random_state=seed, min_samples_leaf=2)
  return made.fit(known, score).predict(new)


def process(
  known: Float[np.ndarray, 'm f'], score: Float[np.ndarray, ' m'], new: Float[np.ndarray, 'n f']
) -> Float[np.ndarray, ' n']:
  """Scores of a Gaussian process with a smooth and a linear kernel, fitted to known ones."""
  from sklearn import gaussian_process, preprocessing
  from sklearn.gaussian_process import kernels

  scaler = preprocessing.StandardScaler().fit(known)
  size = known.shape[1] ** 0.5
  kernel = kernels.ConstantKernel(1.0, (1e-3, 1e3)) * kernels.RBF(
    size, (size / 10, 100 * size)
  ) + kernels.WhiteKernel(0.1, (1e-3, 1e1))
  made = gaussian_process.GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
  return made.fit(scaler.transform(known), score).predict(scaler.transform(new))


def tau(a: Float[np.ndarray, ' n'], b: Float[np.ndarray, ' n']) -> float:
  """Kendall's rank correlation; 0 where one of them is constant."""
  value = float(scipy.stats.kendalltau(a, b).statistic)
  return value if np.isfinite(value) else 0.0
