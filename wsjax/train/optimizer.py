"""The Optax chain that a config section describes."""

import optax

SCHEDULES = ('constant', 'cosine')


def make(
  *,
  steps: int,
  learning_rate: float,
  schedule: str = 'constant',
  warmup_steps: int = 0,
  final_learning_rate: float = 0.0,
  weight_decay: float = 0.0,
  clip_norm: float = 0.0,
) -> optax.GradientTransformation:
  """AdamW under a schedule.

  Args:
    steps: length of the whole run.
    learning_rate: its largest value.
    schedule: 'constant', or 'cosine' down to `final_learning_rate`.
    warmup_steps: linear rise from 0 before it.
    final_learning_rate: at the end of 'cosine'.
    weight_decay: decoupled.
    clip_norm: largest norm of a gradient; 0 is no limit.

  Returns:
    The transformation.

  Raises:
    ValueError: if the schedule is unknown or the warm-up too long.

  Source: Loshchilov & Hutter 2019, arXiv:1711.05101.
  """
  if schedule not in SCHEDULES:
    raise ValueError(f'Unknown schedule {schedule!r}; allowed: {SCHEDULES}.')
  if not 0 <= warmup_steps <= steps:
    raise ValueError(f'warmup_steps is {warmup_steps}, not between 0 and the {steps} steps.')
  rate = optax.constant_schedule(learning_rate)
  if schedule == 'cosine':
    rate = optax.cosine_decay_schedule(
      learning_rate, max(steps - warmup_steps, 1), alpha=final_learning_rate / learning_rate
    )
  if warmup_steps:
    rise = optax.linear_schedule(0.0, learning_rate, warmup_steps)
    rate = optax.join_schedules([rise, rate], [warmup_steps])
  clip = [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
  return optax.chain(*clip, optax.adamw(rate, weight_decay=weight_decay))
