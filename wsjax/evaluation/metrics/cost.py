"""Efficiency: after how many networks has a generator paid for itself?

FLOPs are counted by hand: XLA counts the body of a loop once, however often it runs, and would make
scanned layers, training steps and diffusion steps free.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from wsjax.evaluation import context as context_lib
from wsjax.evaluation import methods, statistics


@dataclasses.dataclass(frozen=True, kw_only=True)
class Costs:
  """What was spent, all in one unit: seconds, FLOPs or money.

  Attributes:
    zoo: to train the networks that the generator learned from.
    generator: to train the generator, its failed trials included.
    finetune: to get one network of the same quality without it, by the best known way: a tuned
      fine-tuning from the same base, or a fresh run.
    sample: to draw one network, and to train it on where that is done; compilation is spread over
      all drawn.
    select: to choose it, which is k evaluations for the best of k.
  """

  zoo: float
  generator: float
  finetune: float
  sample: float
  select: float = 0.0

  def __post_init__(self):
    negative = {name: cost for name, cost in dataclasses.asdict(self).items() if cost < 0}
    if negative:
      raise ValueError(f'Costs must be at least 0; got {negative}.')


def break_even(costs: Costs, *, with_zoo: bool) -> dict[str, Any]:
  """Number of networks at which generating them has cost as much as not to.

  N* = (C_zoo + C_gen) / (C_ft - C_sample - C_select)

  Args:
    costs: all of one unit.
    with_zoo: whether the zoo had to be trained for this; without, it was there. A report gives
      both.

  Returns:
    Entry of the report; the next whole network is the first that pays. Value None and the reason
    where it never does.
  """
  saved = costs.finetune - costs.sample - costs.select
  if saved <= 0:
    return statistics.not_run(
      f'never: one generated network costs {-saved:.3g} more than it replaces'
      if saved
      else 'never: one generated network costs as much as it replaces'
    )
  spent = costs.generator + (costs.zoo if with_zoo else 0)
  return statistics.stat(spent / saved, None, n=1, method='none')


def metrics(costs: Costs) -> dict[str, Any]:
  """Both break-even points.

  Args:
    costs: all of one unit.

  Returns:
    metric -> entry of the report: 'break_even' and 'break_even_with_zoo'.
  """
  return {
    'break_even': break_even(costs, with_zoo=False),
    'break_even_with_zoo': break_even(costs, with_zoo=True),
  }


def of_arm(arm: methods.Arm, good: np.ndarray, context: context_lib.Context) -> dict[str, Any]:
  """What the networks of an arm cost.

  Args:
    arm: the networks, and the seconds that they took.
    good: [N] whether a network is as accurate as the zoo; the others are drawn in vain, and drawn
      again. What it costs to tell is not counted.
    context: the zoo, and the seconds of a fresh run, which is what a generated network replaces.

  Returns:
    metric -> entry of the report: those of `metrics`, for one training seed, 'seconds_per_net' and
    'bytes_per_net'.
  """
  n, fresh = arm.num_nets, context.fresh_seconds
  seconds = statistics.not_run('nobody measured the time')
  if arm.seconds is not None:
    seconds = statistics.stat(arm.seconds / n, None, n=n, method='none')
  reason = None
  if arm.fit_seconds is None:
    reason = 'nothing was trained for it, or nobody measured the time'
  elif fresh is None or arm.seconds is None:
    reason = 'nobody measured the time of a fresh run'
  elif not good.any():
    reason = 'never: no network is as accurate as the zoo'
  if reason is not None:
    paid = dict.fromkeys(('break_even', 'break_even_with_zoo'), statistics.not_run(reason))
  else:
    each, share = arm.seconds / n, np.mean(good)
    paid = metrics(
      Costs(
        zoo=fresh * context.num_runs,
        generator=arm.fit_seconds / max(len(arm.seeds), 1),
        finetune=fresh,
        sample=each,
        select=each * float(1 / share - 1),
      )
    )
  size = statistics.stat(arm.num_bytes / n, None, n=n, method='none')
  return {**paid, 'seconds_per_net': seconds, 'bytes_per_net': size}


def mlp_forward_flops(widths: Sequence[int]) -> int:
  """FLOPs per example of a forward pass of an MLP: its matrix products.

  Args:
    widths: units of every layer, input and output included.

  Returns:
    Two for each weight of a kernel, a multiplication and an addition.
  """
  return 2 * sum(a * b for a, b in itertools.pairwise(widths))


def mlp_train_flops(widths: Sequence[int]) -> int:
  """FLOPs per example of a training step of an MLP: its matrix products.

  Args:
    widths: units of every layer, input and output included.

  Returns:
    Forward, gradient by weights, and gradient by inputs but for the first layer.
  """
  return 3 * mlp_forward_flops(widths) - 2 * widths[0] * widths[1]
