"""Merging weights that are learned from data without labels: AdaMerging."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wsjax import networks as networks_lib
from wsjax import typing


def adamerging(
  apply: Callable[..., Any],
  params: typing.StackedParams,
  data: Sequence[np.ndarray],
  *,
  base: typing.Params,
  seed: int = 0,
  steps: int = 100,
  learning_rate: float = 1e-2,
  batch_size: int = 64,
  start: float = 0.3,
  outputs: Callable[[int, Any], Any] | None = None,
) -> dict[str, np.ndarray]:
  """base + sum over networks of a coefficient per parameter times the difference to the base.

  Coefficients are learned so that predictions of the merged network are certain: the entropy is
  minimized at the inputs of all networks.

  Args:
    apply: (params of one network, inputs) -> logits [b, classes].
    params: N networks, path -> [N, ...].
    data: inputs [b, ...] of each network.
    base: the network that they were fine-tuned from.
    seed: of the batches.
    steps: updates of Adam.
    learning_rate: of Adam.
    batch_size: inputs of each network in a step.
    start: coefficients before the first step.
    outputs: (index of a network, logits) -> the logits of its task; None takes all.

  Source: Yang et al. 2024, arXiv:2310.02575.
  """
  count = networks_lib.length(params)
  paths = sorted(params)
  deltas = {path: jnp.asarray(params[path]) - jnp.asarray(base[path])[None] for path in paths}
  origin = {path: jnp.asarray(base[path]) for path in paths}
  select = outputs or (lambda i, logits: logits)

  def network(coefficients: Any) -> typing.Params:
    return {
      path: origin[path] + jnp.tensordot(coefficients[path], deltas[path], axes=1) for path in paths
    }

  def entropy(coefficients: Any, batches: Sequence[jax.Array]) -> jax.Array:
    net, total = network(coefficients), 0.0
    for i, x in enumerate(batches):
      log = jax.nn.log_softmax(select(i, apply(net, x)))
      total = total - (jnp.exp(log) * log).sum(-1).mean()
    return total / len(batches)

  optimizer = optax.adam(learning_rate)

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def step(coefficients: Any, state: Any, batches: Any) -> tuple[Any, Any]:
    gradient = jax.grad(entropy)(coefficients, batches)
    update, state = optimizer.update(gradient, state)
    return optax.apply_updates(coefficients, update), state

  rng = np.random.default_rng(seed)
  coefficients = {path: jnp.full((count,), start) for path in paths}
  state = optimizer.init(coefficients)
  for _ in range(steps):
    batches = [x[rng.integers(len(x), size=min(batch_size, len(x)))] for x in data]
    coefficients, state = step(coefficients, state, batches)
  return {path: np.asarray(x) for path, x in network(coefficients).items()}
