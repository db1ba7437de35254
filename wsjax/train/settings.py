"""The train section of a config: how long, how often saved, how spread."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from wsjax import config

# Same numbers, whatever these say; a run may go on with others.
HOW = (
  'checkpoint_every_steps',
  'checkpoint_every_seconds',
  'keep',
  'keep_best',
  'mesh',
  'parallel',
  'data',
  'sharding',
  'fsdp',
)
DATA = ('device', 'host')


@dataclasses.dataclass(frozen=True)
class Settings:
  """What the loop reads of a train section; the rest is the optimizer's.

  Attributes:
    steps: of the whole run.
    batch_size: examples per step, over all devices.
    inner_steps: steps per compiled call.
    checkpoint_every_steps: saved whenever so many more are done, and at the end.
    ema_decay: of the average of parameters; 0 is no average.
    mesh: (axis, size) pairs; one size may be -1, the devices that remain.
    checkpoint_every_seconds: saved, too, at the end of a block that is so long after the last save;
      0 is never.
    keep: newest checkpoints that are kept.
    keep_best: checkpoints of the lowest validation loss, or training loss where there is no
      validation, that are kept besides.
    parallel: 'jit', 'shard_map' or 'pmap'; see `gradients.make`.
    data: 'device', all examples on every device; 'host', every process puts only its part of every
      batch on its devices.
    microbatch: examples whose gradients are taken at once; 0 is what the model wishes on CPU, and
      all of them elsewhere.
    sharding: rules by name; see `sharding.of_state`.
    fsdp: whether the state is spread over the axis 'data'.
    compute_dtype: 'float32' or 'bfloat16', inside the loss.
    skip_nonfinite: steps in a row that may have a loss or gradient that is not finite, and are
      skipped; one more ends the run.
    patience: blocks in a row without a lower validation loss, after which training ends; the
      parameters are then those of the lowest one. 0 is training to the last step, and its
      parameters.
  """

  steps: int
  batch_size: int
  inner_steps: int
  checkpoint_every_steps: int
  ema_decay: float
  mesh: tuple[tuple[str, int], ...]
  checkpoint_every_seconds: float = 0.0
  keep: int = 2
  keep_best: int = 0
  parallel: str = 'jit'
  data: str = 'device'
  microbatch: int = 0
  sharding: tuple[tuple[str, tuple[str | None, ...]], ...] = ()
  fsdp: bool = False
  compute_dtype: str = 'float32'
  skip_nonfinite: int = 0
  patience: int = 0

  def __post_init__(self):
    for name in (
      'steps', 'batch_size', 'inner_steps', 'checkpoint_every_steps', 'keep',
    ):  # fmt: skip
      if getattr(self, name) < 1:
        raise ValueError(f'train.{name} is {getattr(self, name)}, not >= 1.')
    for name in (
      'checkpoint_every_seconds', 'keep_best', 'microbatch', 'skip_nonfinite',
      'patience',
    ):  # fmt: skip
      if getattr(self, name) < 0:
        raise ValueError(f'train.{name} is {getattr(self, name)}, not >= 0.')
    if self.patience and not self.keep_best:
      raise ValueError(
        f'train.patience is {self.patience}, and train.keep_best 0: the '
        'checkpoint that training goes back to would not be kept.'
      )
    if self.patience and self.checkpoint_every_steps % self.inner_steps:
      raise ValueError(
        'Patience counts blocks, which end where checkpoints are due: with '
        'train.patience, train.checkpoint_every_steps must be a multiple of '
        f'train.inner_steps; they are {self.checkpoint_every_steps} and '
        f'{self.inner_steps}.'
      )
    if self.data not in DATA:
      raise ValueError(f'train.data is {self.data!r}; allowed: {", ".join(DATA)}.')


# Option -> value where a section does not say it.
DEFAULTS = config.defaults(Settings)


def read(section: Mapping[str, Any], optimizer: Any) -> tuple[Settings, dict[str, Any]]:
  """Reads a train section.

  Args:
    section: as in a config; 'seeds' is for who trains once per seed.
    optimizer: function that takes the rest, by name.

  Returns:
    The settings, and arguments of `optimizer`.

  Raises:
    ValueError: if the section lacks a key or has one too many, or a value is not allowed.
  """
  rest = {key: value for key, value in section.items() if key != 'seeds'}
  names = [field.name for field in dataclasses.fields(Settings)]
  required = {*names, 'learning_rate'} - set(DEFAULTS)
  if missing := sorted(required - set(rest)):
    raise ValueError(f'The train section lacks {missing[0]!r}.')
  allowed = inspect.signature(optimizer).parameters
  if unknown := sorted(set(rest) - set(allowed) - set(names)):
    raise ValueError(
      f'The train section has {unknown[0]!r}; allowed: {", ".join(sorted({*names, *allowed}))}.'
    )
  settings = Settings(**{name: rest[name] for name in names if name in rest})
  return settings, {name: rest[name] for name in allowed if name in rest}
