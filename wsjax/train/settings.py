"""The section `train` of a config: length, optimizer, checkpoints and parallelism."""

import dataclasses
import functools
from typing import Annotated, Literal

import optax

from wsjax import config
from wsjax.train import step

# Fields that change no number of the result; a run may be resumed with others.
_CHECKPOINTS = ('checkpoint_every_steps', 'checkpoint_every_seconds', 'keep', 'keep_best')
EXECUTION = (*_CHECKPOINTS, 'mesh', 'parallel', 'data', 'sharding', 'fsdp')


@dataclasses.dataclass(frozen=True)
class Settings(config.Section):
  """Settings of the training loop.

  Attributes:
    steps: number of updates of the whole run.
    batch_size: examples per step, over all devices; at most all of the training split.
    learning_rate: largest learning rate of AdamW.
    inner_steps: steps per compiled call.
    checkpoint_every_steps: steps between checkpoints; the last step has one, too.
    ema_decay: decay of the average of parameters; 0 disables the average.
    mesh: (axis, size) pairs, one of them 'data'; one size may be -1, the remaining devices.
    seeds: training seeds; the experiment is trained once with each.
    schedule: 'constant', or 'cosine' from `learning_rate` to `final_learning_rate`.
    warmup_steps: steps of a linear rise from 0 to `learning_rate`.
    final_learning_rate: learning rate at the end of 'cosine'.
    weight_decay: decoupled weight decay.
    clip_norm: largest norm of the gradient; 0 is no limit.
    checkpoint_every_seconds: longest time between checkpoints, which are saved at the end of a
      block; 0 is no limit.
    keep: number of newest checkpoints to keep.
    keep_best: number of further checkpoints to keep, of the lowest validation loss, or of the
      lowest training loss if there is no validation split.
    parallel: 'jit', 'shard_map' or 'pmap'; see `step.make`.
    data: 'device' puts all examples on every device; with 'host' every process puts only its part
      of every batch on its devices.
    microbatch: examples whose gradients are computed together; 0 is what the objective prefers on
      CPU, and the whole batch elsewhere.
    sharding: rules by parameter name; see `sharding.of_state`.
    fsdp: whether the training state is spread over the axis 'data'.
    compute_dtype: 'float32' or 'bfloat16', inside the loss.
    skip_nonfinite: number of steps in a row with a loss or gradient that is not finite which are
      skipped; one more ends training.
    patience: blocks in a row without a lower validation loss after which training ends, with the
      parameters of the lowest one. 0 trains to the last step, and takes its parameters.
  """

  steps: config.PositiveInt
  batch_size: config.PositiveInt
  learning_rate: config.PositiveFloat
  inner_steps: config.PositiveInt
  checkpoint_every_steps: config.PositiveInt
  ema_decay: config.Rate
  mesh: tuple[tuple[str, Annotated[int, config.Range(min=-1)]], ...]
  seeds: tuple[config.Seed, ...] = (0,)
  schedule: Literal['constant', 'cosine'] = 'constant'
  warmup_steps: config.NonNegativeInt = 0
  final_learning_rate: config.NonNegativeFloat = 0.0
  weight_decay: config.NonNegativeFloat = 0.0
  clip_norm: config.NonNegativeFloat = 0.0
  checkpoint_every_seconds: config.NonNegativeFloat = 0.0
  keep: config.PositiveInt = 2
  keep_best: config.NonNegativeInt = 0
  parallel: Annotated[str, config.OneOf(step.PARALLEL)] = 'jit'
  data: Literal['device', 'host'] = 'device'
  microbatch: config.NonNegativeInt = 0
  sharding: tuple[tuple[str, tuple[str | None, ...]], ...] = ()
  fsdp: bool = False
  compute_dtype: Annotated[str, config.OneOf(step.COMPUTE_DTYPES)] = 'float32'
  skip_nonfinite: config.NonNegativeInt = 0
  patience: config.NonNegativeInt = 0

  def __post_init__(self):
    super().__post_init__()
    config.check_seeds(self.seeds, 'train.seeds')
    if self.warmup_steps > self.steps:
      raise ValueError(
        f'train.warmup_steps is {self.warmup_steps}; allowed: at most the {self.steps} train.steps.'
      )
    names, sizes = [name for name, _ in self.mesh], [size for _, size in self.mesh]
    if 'data' not in names or len(set(names)) < len(names) or 0 in sizes or sizes.count(-1) > 1:
      raise ValueError(
        f'train.mesh is {self.mesh}; allowed: (name, size) pairs of different axes, one of them '
        "'data', with sizes of at least 1 or one -1."
      )
    if self.patience and not self.keep_best:
      raise ValueError(
        f'train.patience is {self.patience} and train.keep_best is 0; with patience it must be at '
        'least 1, so that the best checkpoint is kept.'
      )
    if self.patience and self.checkpoint_every_steps % self.inner_steps:
      raise ValueError(
        'Patience counts blocks, which end where checkpoints are due: with train.patience, '
        'train.checkpoint_every_steps must be a multiple of train.inner_steps; they are '
        f'{self.checkpoint_every_steps} and {self.inner_steps}.'
      )

  def optimizer(self) -> optax.GradientTransformation:
    """AdamW with warm-up, schedule and gradient clipping.

    Source: Loshchilov & Hutter 2019, arXiv:1711.05101.
    """
    rate = optax.constant_schedule(self.learning_rate)
    if self.schedule == 'cosine':
      alpha = self.final_learning_rate / self.learning_rate
      steps = max(self.steps - self.warmup_steps, 1)
      rate = optax.cosine_decay_schedule(self.learning_rate, steps, alpha)
    if self.warmup_steps:
      rise = optax.linear_schedule(0.0, self.learning_rate, self.warmup_steps)
      rate = optax.join_schedules([rise, rate], [self.warmup_steps])
    clip = [optax.clip_by_global_norm(self.clip_norm)] if self.clip_norm else []
    return optax.chain(*clip, optax.adamw(rate, weight_decay=self.weight_decay))


# Field -> value, of those that a section may leave out.
DEFAULTS = config.defaults(Settings)
# The settings that a section describes.
read = functools.partial(config.read, Settings, 'train')
