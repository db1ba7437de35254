"""Losses of adapted language models, and adapters that are trained on the words of one task."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from wsjax import terminal, typing
from wsjax.generators.parts import adapter_network
from wsjax.zoo import losses
from wsjax.zoo.data import lexicon

_TOGETHER = 16  # Tasks that are computed side by side.
_SHOWN = 5  # Updates of all tasks between two looks at the progress.


@dataclasses.dataclass(frozen=True, eq=False)
class Adapted:
  """A frozen base model under adapters.

  Attributes:
    network: whose `apply_to` adapts; its weights are not needed.
    base: weights of the base model.
  """

  network: adapter_network.AdapterNetwork
  base: typing.Params

  def loss(self, made: typing.Params, targets: Int[Array, 'w length']) -> Float[Array, '']:
    """Cross-entropy of the words of one task, nats per character; an end counts as one."""
    params = self.network.apply_to(self.base, made)
    return losses.next_token(self.network.model, params, (lexicon.inputs(targets), targets))

  @functools.cached_property
  def _evaluate(self):
    return jax.jit(
      lambda made, targets: jax.lax.map(
        lambda pair: self.loss(*pair), (made, targets), batch_size=_TOGETHER
      )
    )

  def evaluate(
    self, made: typing.StackedParams, targets: Int[np.ndarray, 'n w length']
  ) -> Float[np.ndarray, ' n']:
    """The loss of every task under its adapter."""
    return np.asarray(self._evaluate(made, targets))

  @functools.cached_property
  def _tune(self):
    optimizer = optax.scale_by_adam()

    def one(pair, key, rate, begin, end, size):
      (made, state), targets, count = pair
      words = jnp.arange(size)

      def step(number, carry):
        made, state = carry
        # As many words as there are examples are all of them.
        rows = words
        if size < len(targets):
          rows = jax.random.randint(jax.random.fold_in(key, number), (size,), 0, count)
        gradients = jax.grad(self.loss)(made, targets[rows])
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(made, jax.tree.map(lambda u: -rate * u, updates)), state

      return jax.lax.fori_loop(begin, end, step, (made, state))

    def all_tasks(carry, targets, counts, key, rate, begin, end, size):
      return jax.lax.map(
        lambda pair: one(pair, key, rate, begin, end, size),
        (carry, targets, counts),
        batch_size=_TOGETHER,
      )

    return jax.jit(all_tasks, static_argnums=7), jax.jit(jax.vmap(optimizer.init))

  def tune(
    self,
    start: typing.StackedParams,
    targets: Int[np.ndarray, 'n p length'],
    counts: Int[np.ndarray, ' n'],
    *,
    rate: float,
    steps: Sequence[int],
    words: int,
    seed: int,
    label: str = '',
  ) -> list[typing.StackedParams]:
    """Trains every adapter on words of its own task by Adam.

    Args:
      start: adapters [n, ...] before the first step.
      targets: words of every task, of which the first `counts` are real.
      counts: words of every task.
      rate: learning rate.
      steps: increasing numbers of updates after which adapters are kept.
      words: drawn for every update; all of them if there are no more.
      seed: of the draws.
      label: of the progress that is shown; '' shows none.
    """
    tune, init = self._tune
    start = {path: jnp.asarray(x) for path, x in start.items()}
    carry, kept = (start, init(start)), []
    key, size = jax.random.key(seed), min(words, targets.shape[1])
    ends = sorted({*steps, *range(_SHOWN, steps[-1], _SHOWN)})
    with terminal.Progress(label, steps[-1] * len(counts), show=bool(label)) as bar:
      for begin, end in itertools.pairwise([0, *ends]):
        carry = jax.block_until_ready(tune(carry, targets, counts, key, rate, begin, end, size))
        bar.advance((end - begin) * len(counts))
        if end in steps:
          kept.append(carry[0])
    return kept
