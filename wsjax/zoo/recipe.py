"""Recipe: how the networks of a zoo are trained."""

import dataclasses
import math
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import optax

# A value for all networks, or the bounds of a draw per network.
Range: TypeAlias = float | tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Factor:
  """A hyper-parameter that may be drawn per network.

  Attributes:
    scale: 'log' for a log-uniform draw, 'linear' for a uniform one, 'whole' for whole numbers, both
      bounds included.
    neutral: the value at which it is as if there were no such factor; None where every value
      counts.
    low: smallest value allowed.
    high: largest value allowed.
  """

  scale: str
  neutral: float | None = None
  low: float = 0.0
  high: float = math.inf


# The place of a factor is its stream of randomness: new ones go to the end.
FACTORS = {
  'learning_rate': Factor('log'),
  'weight_decay': Factor('log'),
  'init_scale': Factor('log', 1.0),
  'dropout': Factor('linear', 0.0, high=0.99),
  'train_fraction': Factor('log', 1.0, high=1.0),
  'label_noise': Factor('linear', 0.0, high=1.0),
  'input_noise': Factor('linear', 0.0),
  'shift': Factor('whole', 0),
}


def _sgd(momentum: float) -> list[optax.GradientTransformation]:
  return [optax.trace(momentum)] if momentum else []


# Name -> (momentum -> what turns gradients into directions, whether weight decay comes after it).
# Before it, weight decay is the L2 penalty of the loss.
_OPTIMIZERS: dict[str, tuple[Callable[[float], list[optax.GradientTransformation]], bool]] = {
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
    snapshots: steps, increasing and below `steps`, whose weights are kept besides the final ones.
    shared_batches: whether all nets see the same batches in the same order; faster, but then only
      the initial weights tell two nets apart.
    shared_init: whether all nets start from the same weights; then only their batches and labels
      tell them apart.
    init_scale: multiplies the initial kernels; as learning_rate.
    dropout: share of the hidden activations that a step leaves out; one value, or (low, high):
      uniform, drawn per net. This and all below are of classifiers only.
    train_fraction: share of the training split that a net sees, which part is drawn per net; as
      learning_rate. An epoch stays as many examples as the split has: the net sees each of its own
      several times in it.
    label_noise: share of the examples a net sees that have a wrong label, always the same ones and
      the same label; as dropout.
    input_noise: standard deviation of Gaussian noise on the pixels, new in every step; as dropout.
    shift: images are moved by up to so many pixels along both axes, anew in every step, and filled
      with 0; one whole number, or (low, high), drawn
      per net.
  """

  optimizer: str | tuple[str, ...] = 'adam'
  learning_rate: Range = 1e-3
  weight_decay: Range = 0.0
  momentum: float = 0.0
  batch_size: int = 64
  steps: int = 500
  snapshots: tuple[int, ...] = ()
  shared_batches: bool = False
  shared_init: bool = False
  init_scale: Range = 1.0
  dropout: Range = 0.0
  train_fraction: Range = 1.0
  label_noise: Range = 0.0
  input_noise: Range = 0.0
  shift: int | tuple[int, int] = 0

  def __post_init__(self):
    if unknown := set(self.optimizers).difference(OPTIMIZERS):
      raise ValueError(
        f'Unknown optimizer {sorted(unknown)[0]!r}; allowed: {", ".join(OPTIMIZERS)}.'
      )
    if not self.optimizers:
      raise ValueError('A recipe needs an optimizer; got none.')
    for name, factor in FACTORS.items():
      _check(name, getattr(self, name), factor)
    if self.batch_size < 1 or self.steps < 1:
      raise ValueError(
        f'batch_size and steps must be at least 1; got {self.batch_size} and {self.steps}.'
      )
    edges = (0, *self.snapshots, self.steps)
    if list(edges) != sorted(set(edges)):
      raise ValueError(
        f'snapshots must increase and lie between 0 and {self.steps} steps; got {self.snapshots}.'
      )

  @property
  def optimizers(self) -> tuple[str, ...]:
    """The optimizers, also where there is but one."""
    if isinstance(self.optimizer, str):
      return (self.optimizer,)
    return self.optimizer

  def uses(self, *names: str) -> bool:
    """Whether any of these factors is not constant at its neutral value."""
    return any(getattr(self, name) != FACTORS[name].neutral for name in names)

  def draw(self, key: jax.Array) -> dict[str, jax.Array]:
    """Learning rate, weight decay, and every other factor in use, of one net.

    Args:
      key: of the net.

    Returns:
      Name -> float32 scalar; int32 for whole numbers.
    """
    return {
      name: _draw(jax.random.fold_in(key, number), getattr(self, name), factor)
      for number, (name, factor) in enumerate(FACTORS.items())
      if self.uses(name)
    }

  def transformation(
    self, optimizer: str, hparams: dict[str, jax.Array]
  ) -> optax.GradientTransformation:
    """The Optax chain of one net.

    Args:
      optimizer: one of `optimizers`.
      hparams: what `draw` gave; traced, so nets that differ in them share one compiled program.

    Returns:
      The transformation from gradients to updates.
    """
    make, decays_last = _OPTIMIZERS[optimizer]
    chain = make(self.momentum)
    if self.weight_decay != 0:
      decay = optax.add_decayed_weights(hparams['weight_decay'])
      chain = [*chain, decay] if decays_last else [decay, *chain]
    return optax.chain(*chain, optax.scale(-hparams['learning_rate']))


def _check(name: str, value: Range, factor: Factor) -> None:
  """Raises ValueError unless a factor has a value or range it may have."""
  bounds = value if isinstance(value, tuple) else (value, value)
  is_log_range = isinstance(value, tuple) and factor.scale == 'log'
  if isinstance(value, tuple) and not (
    len(value) == 2 and value[0] <= value[1] and (value[0] > 0 or not is_log_range)
  ):
    raise ValueError(
      f'{name} as a range must be (low, high) with '
      f'{"0 < " if is_log_range else ""}low <= high; got {value}.'
    )
  if not all(factor.low <= bound <= factor.high for bound in bounds):
    raise ValueError(f'{name} must be between {factor.low} and {factor.high}; got {value}.')
  if factor.scale == 'whole' and any(type(bound) is not int for bound in bounds):
    raise ValueError(f'{name} must be a whole number; got {value}.')


def _draw(key: jax.Array, value: Range, factor: Factor) -> jax.Array:
  """The value of one net."""
  if factor.scale == 'whole':
    low, high = value if isinstance(value, tuple) else (value, value)
    return jax.random.randint(key, (), low, high + 1)
  if not isinstance(value, tuple):
    return jnp.float32(value)
  u = jax.random.uniform(key)
  low, high = jnp.asarray(value, jnp.float32)
  if factor.scale == 'linear':
    return low + u * (high - low)
  low, high = jnp.log(low), jnp.log(high)
  return jnp.exp(low + u * (high - low))
