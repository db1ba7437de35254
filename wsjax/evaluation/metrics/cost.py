"""Cost: after how many networks has a generator paid for itself?"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from wsjax.evaluation import statistics
from wsjax.evaluation.methods import Sample, once
from wsjax.evaluation.metric import NotRun, Stat, metric
from wsjax.evaluation.reference import Reference

GROUP = 'Cost'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Costs:
  """Costs in one unit: seconds, FLOPs or money.

  Attributes:
    zoo: to train the networks that the generator learned from.
    generator: to train the generator, its failed trials included.
    finetune: to get one network as accurate without the generator, by the best known way: a tuned
      fine-tuning or a fresh run.
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


def networks_to_break_even(costs: Costs, *, with_zoo: bool) -> Stat:
  """Number N* of networks whose training runs cost as much as the generator that replaces them.

  N* = (C_zoo + C_gen) / (C_ft - C_sample - C_select); C_zoo counts only `with_zoo`. The next whole
  network is the first that pays. No value and the reason where none does.
  """
  saved = costs.finetune - costs.sample - costs.select
  if saved <= 0:
    return statistics.not_run(
      f'never: one generated network costs {-saved:.3g} more than it replaces'
      if saved
      else 'never: one generated network costs as much as it replaces'
    )
  spent = costs.generator + (costs.zoo if with_zoo else 0)
  return statistics.exact(spent / saved, 1)


@once
def costs(method: Sample) -> Costs:
  """Seconds of one training seed.

  Networks less accurate than the 5th percentile of the zoo are drawn in vain, and drawn again; the
  cost of telling is not counted. A generated network replaces a fresh run.

  Raises:
    NotRun: if a time was not measured or no network is as accurate as the zoo.
  """
  made, fresh = method.method, method.reference.fresh_seconds
  good = method.accuracy >= method.reference.thresholds.accuracy
  if made.fit_seconds is None:
    raise NotRun('nothing was trained for it, or the time was not measured')
  if fresh is None or made.seconds is None:
    raise NotRun('the time of a fresh run was not measured')
  if not good.any():
    raise NotRun('never: no network is as accurate as the zoo')
  each = made.seconds / made.num_networks
  return Costs(
    zoo=fresh * method.reference.num_runs,
    generator=made.fit_seconds / max(len(made.seeds), 1),
    finetune=fresh,
    sample=each,
    select=each * float(1 / np.mean(good) - 1),
  )


@metric('break-even', ',.0f', better='lower', unit='networks')
def break_even(method: Sample, reference: Reference) -> Stat:
  """Networks as accurate as the zoo after which training and drawing from the generator took no
  longer than as many fresh runs; networks drawn in vain count.
  """
  return networks_to_break_even(costs(method), with_zoo=False)


@metric('break-even with the zoo', ',.0f', better='lower', heading='break-even, with zoo',
        unit='networks')  # fmt: skip
def break_even_with_zoo(method: Sample, reference: Reference) -> Stat:
  """Break-even if the zoo had to be trained for the generator."""
  return networks_to_break_even(costs(method), with_zoo=True)


@metric('seconds per network', '.2g', better='lower', heading='s / network', unit='s')
def seconds_per_net(method: Sample, reference: Reference) -> Stat:
  """Wall time to make the networks of the method, divided by their number."""
  made = method.method
  if made.seconds is None:
    raise NotRun('the time was not measured')
  return statistics.exact(made.seconds / made.num_networks, made.num_networks)


@metric('bytes per network', ',.0f', better='lower', heading='bytes / network', unit='bytes')
def bytes_per_net(method: Sample, reference: Reference) -> Stat:
  """Bytes that must be kept to make the networks (generator, or training networks), divided by the
  number made here.
  """
  made = method.method
  return statistics.exact(made.num_bytes / made.num_networks, made.num_networks)


def mlp_forward_flops(widths: Sequence[int]) -> int:
  """FLOPs per example of the matrix products of an MLP of these widths, input and output included.

  Counted by hand: XLA counts the body of a loop once, however often it runs.
  """
  return 2 * sum(a * b for a, b in itertools.pairwise(widths))


def mlp_train_flops(widths: Sequence[int]) -> int:
  """Forward, gradient by weights, and gradient by inputs but for the first layer, per example."""
  return 3 * mlp_forward_flops(widths) - 2 * widths[0] * widths[1]
