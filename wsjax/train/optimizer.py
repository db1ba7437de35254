"""AdamW with the schedule of the settings."""

import optax

from wsjax.train import settings as settings_lib


def make(settings: settings_lib.Settings) -> optax.GradientTransformation:
  """AdamW with warm-up, schedule and gradient clipping.

  Source: Loshchilov & Hutter 2019, arXiv:1711.05101.
  """
  s = settings
  rate = optax.constant_schedule(s.learning_rate)
  if s.schedule == 'cosine':
    alpha = s.final_learning_rate / s.learning_rate
    rate = optax.cosine_decay_schedule(s.learning_rate, max(s.steps - s.warmup_steps, 1), alpha)
  if s.warmup_steps:
    rise = optax.linear_schedule(0.0, s.learning_rate, s.warmup_steps)
    rate = optax.join_schedules([rise, rate], [s.warmup_steps])
  clip = [optax.clip_by_global_norm(s.clip_norm)] if s.clip_norm else []
  return optax.chain(*clip, optax.adamw(rate, weight_decay=s.weight_decay))
