"""Recipe: hyper-parameters with which the networks of a zoo are trained."""

import dataclasses
from typing import Annotated, TypeAlias

import jax
import jax.numpy as jnp
import optax

from wsjax import config


@dataclasses.dataclass(frozen=True)
class Factor:
  """A hyper-parameter that may be drawn for each network.

  Attributes:
    scale: 'log' for a log-uniform draw, 'linear' for a uniform one, 'whole' for whole numbers, both
      bounds included.
    neutral: value at which the factor has no effect; None if every value has one.
  """

  scale: str
  neutral: float | None = None


# The position of a factor is its random stream: new ones go to the end.
FACTORS = {
  'learning_rate': Factor('log'),
  'weight_decay': Factor('log'),
  'init_scale': Factor('log', 1.0),
  'dropout': Factor('linear', 0.0),
  'train_fraction': Factor('log', 1.0),
  'label_noise': Factor('linear', 0.0),
  'input_noise': Factor('linear', 0.0),
  'shift': Factor('whole', 0),
}


OPTIMIZERS = ('sgd', 'adam', 'adamw')

# A value for all networks, or the bounds (low, high) of a draw for each network.
Positive: TypeAlias = config.PositiveFloat | tuple[config.PositiveFloat, config.PositiveFloat]
NonNegative: TypeAlias = (
  config.NonNegativeFloat | tuple[config.NonNegativeFloat, config.NonNegativeFloat]
)
Share: TypeAlias = config.Share | tuple[config.Share, config.Share]
Dropout: TypeAlias = Annotated[float, config.Range(min=0, max=0.99)]
Optimizer: TypeAlias = Annotated[str, config.OneOf(OPTIMIZERS)]


@dataclasses.dataclass(frozen=True)
class Recipe(config.Section):
  """Hyper-parameters of a zoo; hashable, so static under jit.

  A range (low, high) is drawn for each network, log-uniform or uniform.

  Attributes:
    optimizer: optimizer, or a tuple of k, of which network i has number i mod k.
    learning_rate: log-uniform.
    weight_decay: log-uniform; decoupled for 'adamw', else an L2 penalty.
    momentum: momentum of 'sgd', or b1 of the others, where 0 is their usual 0.9.
    batch_size: examples per step.
    steps: number of updates.
    snapshots: steps, increasing and below `steps`, whose weights are kept besides the final ones.
    shared_batches: whether all networks see equal batches in equal order, which is faster.
    shared_init: whether all networks start from equal weights.
    init_scale: factor of the initial kernels, log-uniform.
    dropout: share of hidden activations that a step drops, uniform. This and all following factors
      are for classifiers only.
    train_fraction: share of the training split that a network sees, log-uniform. An epoch has as
      many examples as the split: the network sees each of its own several times.
    label_noise: share of the examples of a network with a wrong label that stays, uniform.
    input_noise: standard deviation of Gaussian noise on the pixels, new in every step, uniform.
    shift: largest shift of images along both axes, in pixels, new in every step and filled with 0;
      whole numbers.
  """

  optimizer: Optimizer | tuple[Optimizer, ...] = 'adam'
  learning_rate: Positive = 1e-3
  weight_decay: NonNegative = 0.0
  momentum: config.Rate = 0.0
  batch_size: config.PositiveInt = 64
  steps: config.PositiveInt = 500
  snapshots: tuple[config.PositiveInt, ...] = ()
  shared_batches: bool = False
  shared_init: bool = False
  init_scale: Positive = 1.0
  dropout: Dropout | tuple[Dropout, Dropout] = 0.0
  train_fraction: Share = 1.0
  label_noise: Share = 0.0
  input_noise: NonNegative = 0.0
  shift: config.NonNegativeInt | tuple[config.NonNegativeInt, config.NonNegativeInt] = 0

  def __post_init__(self):
    super().__post_init__()
    if not self.optimizers:
      raise ValueError(f'optimizer is (); allowed: one or more of {", ".join(OPTIMIZERS)}.')
    for name, factor in FACTORS.items():
      value = getattr(self, name)
      low, high = value if isinstance(value, tuple) else (value, value)
      is_log_range = isinstance(value, tuple) and factor.scale == 'log'
      if low > high or (is_log_range and not low):
        bounds = '0 < low <= high' if is_log_range else 'low <= high'
        raise ValueError(f'{name} is {value}; allowed: (low, high) with {bounds}.')
    if not self.train_fraction:
      raise ValueError('train_fraction is 0; allowed: more than 0.')
    edges = (0, *self.snapshots, self.steps)
    if list(edges) != sorted(set(edges)):
      allowed = f'increasing steps below {self.steps}'
      raise ValueError(f'snapshots is {self.snapshots}; allowed: {allowed}.')

  @property
  def optimizers(self) -> tuple[str, ...]:
    """The optimizers, also if there is only one."""
    return (self.optimizer,) if isinstance(self.optimizer, str) else self.optimizer

  def uses(self, *names: str) -> bool:
    """Whether any of these factors is not constant at its neutral value."""
    return any(getattr(self, name) != FACTORS[name].neutral for name in names)

  def draw(self, key: jax.Array) -> dict[str, jax.Array]:
    """Draws every factor in use, of one network: name -> float32, or int32 for whole numbers."""
    return {
      name: _draw(jax.random.fold_in(key, number), getattr(self, name), factor)
      for number, (name, factor) in enumerate(FACTORS.items())
      if self.uses(name)
    }

  def transformation(
    self, optimizer: str, hparams: dict[str, jax.Array]
  ) -> optax.GradientTransformation:
    """The Optax chain of one network, from gradients to updates.

    Args:
      optimizer: one of `optimizers`.
      hparams: hyper-parameters from `draw`; traced, so networks that differ in them share one
        compiled program.
    """
    if optimizer == 'sgd':
      chain = [optax.trace(self.momentum)] if self.momentum else []
    else:
      chain = [optax.scale_by_adam(b1=self.momentum or 0.9)]
    if self.weight_decay != 0:
      decay = optax.add_decayed_weights(hparams['weight_decay'])
      # Before the others, weight decay is the L2 penalty of the loss.
      chain = [*chain, decay] if optimizer == 'adamw' else [decay, *chain]
    return optax.chain(*chain, optax.scale(-hparams['learning_rate']))


def _draw(key: jax.Array, value: float | tuple[float, float], factor: Factor) -> jax.Array:
  """Draws the value of one network."""
  low, high = value if isinstance(value, tuple) else (value, value)
  if factor.scale == 'whole':
    return jax.random.randint(key, (), low, high + 1)
  if not isinstance(value, tuple):
    return jnp.float32(value)
  low, high = jnp.float32(low), jnp.float32(high)
  if factor.scale == 'log':
    low, high = jnp.log(low), jnp.log(high)
  drawn = low + jax.random.uniform(key) * (high - low)
  return jnp.exp(drawn) if factor.scale == 'log' else drawn
