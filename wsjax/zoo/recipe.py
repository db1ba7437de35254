"""Recipe: how the networks of a zoo are trained."""

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import optax

# A value for all networks, or the bounds of a log-uniform draw per network.
Range: TypeAlias = float | tuple[float, float]


def _sgd(momentum: float) -> list[optax.GradientTransformation]:
  return [optax.trace(momentum)] if momentum else []


# Name -> (momentum -> what turns gradients into directions, whether weight
# decay comes after it). Before it, weight decay is the L2 penalty of the loss.
_OPTIMIZERS: dict[
  str, tuple[Callable[[float], list[optax.GradientTransformation]], bool]
] = {
  'sgd': (_sgd, False),
  'adam': (lambda momentum: [optax.scale_by_adam(b1=momentum or 0.9)], False),
  'adamw': (lambda momentum: [optax.scale_by_adam(b1=momentum or 0.9)], True),
}
OPTIMIZERS = tuple(_OPTIMIZERS)


@dataclasses.dataclass(frozen=True)
class Recipe:
  """Hyper-parameters of a zoo; hashable, so static under jit.

  Attributes:
    optimizer: from `OPTIMIZERS`; net i of a tuple of k uses number i mod k.
    learning_rate: one value, or (low, high): log-uniform, drawn per net.
    weight_decay: as learning_rate; decoupled for 'adamw', else an L2 penalty.
    momentum: of 'sgd', or b1 of the others, where 0 is their usual 0.9.
    batch_size: examples per step.
    steps: number of updates.
    snapshots: steps, increasing and below `steps`, whose weights are kept
      besides the final ones.
    shared_batches: whether all nets see the same batches in the same order;
      faster, but then only the initial weights tell two nets apart.
  """

  optimizer: str | tuple[str, ...] = 'adam'
  learning_rate: Range = 1e-3
  weight_decay: Range = 0.0
  momentum: float = 0.0
  batch_size: int = 64
  steps: int = 500
  snapshots: tuple[int, ...] = ()
  shared_batches: bool = False

  def __post_init__(self):
    if unknown := set(self.optimizers).difference(OPTIMIZERS):
      raise ValueError(
        f'Unknown optimizer {sorted(unknown)[0]!r}; allowed: '
        f'{", ".join(OPTIMIZERS)}.'
      )
    if not self.optimizers:
      raise ValueError('A recipe needs an optimizer; got none.')
    for name in ('learning_rate', 'weight_decay'):
      value = getattr(self, name)
      if isinstance(value, tuple) and not (
        len(value) == 2 and 0 < value[0] <= value[1]
      ):
        raise ValueError(
          f'{name} as a range must be (low, high) with 0 < low <= high; got '
          f'{value}.'
        )
    if self.batch_size < 1 or self.steps < 1:
      raise ValueError(
        f'batch_size and steps must be at least 1; got {self.batch_size} and '
        f'{self.steps}.'
      )
    edges = (0, *self.snapshots, self.steps)
    if list(edges) != sorted(set(edges)):
      raise ValueError(
        f'snapshots must increase and lie between 0 and {self.steps} steps; '
        f'got {self.snapshots}.'
      )

  @property
  def optimizers(self) -> tuple[str, ...]:
    """The optimizers, also where there is but one."""
    if isinstance(self.optimizer, str):
      return (self.optimizer,)
    return self.optimizer

  def draw(self, key: jax.Array) -> dict[str, jax.Array]:
    """Learning rate and weight decay of one net, float32 scalars."""
    values = {}
    for number, name in enumerate(('learning_rate', 'weight_decay')):
      value = getattr(self, name)
      if isinstance(value, tuple):
        low, high = jnp.log(jnp.asarray(value, jnp.float32))
        u = jax.random.uniform(jax.random.fold_in(key, number))
        values[name] = jnp.exp(low + u * (high - low))
      else:
        values[name] = jnp.float32(value)
    return values

  def transformation(
    self, optimizer: str, hparams: dict[str, jax.Array]
  ) -> optax.GradientTransformation:
    """The Optax chain of one net.

    Args:
      optimizer: one of `optimizers`.
      hparams: what `draw` gave; traced, so nets that differ in them share one
        compiled program.

    Returns:
      The transformation from gradients to updates.
    """
    make, decays_last = _OPTIMIZERS[optimizer]
    chain = make(self.momentum)
    if self.weight_decay != 0:
      decay = optax.add_decayed_weights(hparams['weight_decay'])
      chain = [*chain, decay] if decays_last else [decay, *chain]
    return optax.chain(*chain, optax.scale(-hparams['learning_rate']))
