"""A written model of one training step on n chips, from numbers of one chip.

Nothing here was run on many chips: it is arithmetic on published numbers and on named assumptions.
Of P float32 parameters and b examples per chip

  compute = b * FLOPs per example / (peak FLOP/s * share achieved)
  memory  = 40 P / memory bytes/s
  passes  = 2 with data parallelism (reduce-scatter, all-gather: one
            all-reduce), 3 with FSDP (all-gather before the way forth and the way back,
            reduce-scatter of the gradient; Rajbhandari et al. 2020, arXiv:1910.02054, section 7)
  communication = passes * ((n-1)/n * 4 P / link bytes/s
                            + messages * (n-1) * seconds per hop)
  exposed = communication - min(overlap * communication, busy)
  step    = busy + exposed, busy = max(compute, memory)

with one message per pass for data parallelism, where the compiler combines all gradients, and one
per layer for FSDP. That is what a compiler for such chips is expected to do: on CPU it gathers
weights once and reduces gradients whole, so the bytes that `python -m benchmarks scaling` reads
there for FSDP differ.

The 40 bytes are what Adam in float32 cannot avoid: weights are read forth and back (8), the
gradient written (4), and weight, gradient and two moments read and three of them written (28);
activations are left out, and so is that FSDP cuts the 28. A ring passes every chip, so its latency
grows with n; a torus of two axes would need fewer hops. Efficiency is busy / step: weak scaling
against one chip, which sends nothing.

The ring terms: Patarasuk & Yuan 2009, doi:10.1016/j.jpdc.2008.09.002. The form latency + bytes /
bandwidth: Thakur et al. 2005, doi:10.1177/1094342005051521.
"""

import argparse
import dataclasses
import math
from collections.abc import Iterator, Sequence

CHIPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
STRATEGIES = {'data parallel': 2, 'fsdp': 3}
_BYTES = 4  # Of a parameter or gradient.
_MEMORY_BYTES = 40  # Per parameter and step; see above.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
  """What is assumed of a chip and its links; the default is a TPU v5e.

  Attributes:
    peak: FLOP/s. 197e12 in bfloat16 (cloud.google.com/tpu/docs/v5e).
    achieved: share of the peak that a step reaches. 0.4 is an assumption; large language models
      report about as much (46 % in arXiv:2204.02311), narrow networks less.
    memory: bytes/s of its memory. 819e9 (same page).
    link: bytes/s that it sends in a ring. 100e9: two of four ports of 50e9 each (same page, 400e9
      over four ports and both directions; Austin et al. 2025, How to Scale Your Model, part 2).
    hop: seconds from a chip to the next. 1e-6 (same book, part 3; it measures more for small
      arrays).
    overlap: share of communication that can hide behind the busy time. 0: the compiled
      data-parallel step has one all-reduce behind the whole backward pass, which hides nothing.
  """

  peak: float = 197e12
  achieved: float = 0.4
  memory: float = 819e9
  link: float = 100e9
  hop: float = 1e-6
  overlap: float = 0.0

  def __post_init__(self):
    for name, value in dataclasses.asdict(self).items():
      share = name in ('achieved', 'overlap')
      lowest = 0 if name in ('hop', 'overlap') else 1e-12
      if not lowest <= value <= (1 if share else math.inf):
        raise ValueError(
          f'{name} of a chip is {value}; allowed: {lowest:g} ' + ('to 1.' if share else 'and more.')
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workload:
  """What is trained.

  Attributes:
    name: of it.
    num_params: float32 parameters.
    flops: per example and step, forth and back.
    layers: that FSDP gathers one by one.
  """

  name: str
  num_params: int
  flops: float
  layers: int


@dataclasses.dataclass(frozen=True)
class Step:
  """Seconds of a step on n chips.

  Attributes:
    compute: at the share of the peak that is achieved.
    memory: of parameters and moments.
    communication: all of it: bandwidth and latency.
    latency: the part of it that no bandwidth shortens.
    exposed: the part of it that hides behind nothing.
  """

  compute: float
  memory: float
  communication: float
  latency: float
  exposed: float

  @property
  def busy(self) -> float:
    """Seconds of the same step without any communication."""
    return max(self.compute, self.memory)

  @property
  def seconds(self) -> float:
    """Of the whole step."""
    return self.busy + self.exposed

  @property
  def efficiency(self) -> float:
    """Of weak scaling: throughput per chip over that of one chip."""
    return self.busy / self.seconds


def step(work: Workload, chip: Chip, *, chips: int, batch: int, strategy: str) -> Step:
  """The model of this module's docstring.

  Args:
    work: what is trained.
    chip: what on.
    chips: n.
    batch: examples per chip.
    strategy: of STRATEGIES.

  Raises:
    ValueError: for an unknown strategy, or less than one chip or example.
  """
  if strategy not in STRATEGIES:
    raise ValueError(f'Unknown strategy {strategy!r}; allowed: {", ".join(STRATEGIES)}.')
  if chips < 1 or batch < 1:
    raise ValueError(f'A step has one chip and example or more; got {chips} and {batch}.')
  passes = STRATEGIES[strategy]
  messages = work.layers if strategy == 'fsdp' else 1
  latency = passes * messages * (chips - 1) * chip.hop
  size = _BYTES * work.num_params
  communication = passes * (chips - 1) / chips * size / chip.link + latency
  compute = batch * work.flops / (chip.peak * chip.achieved)
  memory = _MEMORY_BYTES * work.num_params / chip.memory
  hidden = min(chip.overlap * communication, max(compute, memory))
  return Step(compute, memory, communication, latency, communication - hidden)


def smallest_batch(
  work: Workload, chip: Chip, *, chips: int, strategy: str, least: float = 0.8
) -> int:
  """Fewest examples per chip at which efficiency is `least` or more.

  Raises:
    ValueError: as `step`, or if no batch is enough.
  """
  if not (0 < least < 1 and work.flops > 0):
    raise ValueError(
      f'No batch gives efficiency {least} at {work.flops} FLOPs per example; '
      'allowed: a share between 0 and 1, and more than 0 FLOPs.'
    )

  def enough(batch: int) -> bool:
    found = step(work, chip, chips=chips, batch=batch, strategy=strategy)
    return found.efficiency >= least

  high = 1
  while not enough(high):  # Efficiency grows with the batch, to 1.
    high *= 2
  low = high // 2
  while high - low > 1:
    middle = (low + high) // 2
    low, high = (low, middle) if enough(middle) else (middle, high)
  return high


def rows(
  works: Sequence[Workload], chip: Chip, *, batch: int
) -> Iterator[dict[str, str | int | float]]:
  """Projected steps for every workload, strategy and number of chips."""
  for work in works:
    for strategy in STRATEGIES:
      for chips in CHIPS:
        found = step(work, chip, chips=chips, batch=batch, strategy=strategy)
        yield {
          'workload': work.name,
          'strategy': strategy,
          'chips': chips,
          'batch_per_chip': batch,
          **dataclasses.asdict(found),
          'seconds': found.seconds,
          'efficiency': found.efficiency,
          'batch_per_chip_for_80_percent': smallest_batch(
            work, chip, chips=chips, strategy=strategy
          ),
        }


def notes(works: Sequence[Workload], chip: Chip, *, batch: int) -> list[str]:
  """The projection in words, assumptions first."""
  assumed = ', '.join(f'{k} {v:g}' for k, v in dataclasses.asdict(chip).items())
  lines = [
    'projection, a model: nothing was run on more than one real chip, let '
    f'alone 256. Assumed per chip: {assumed} (bytes, FLOPs, seconds; sources '
    'in benchmarks/projection.py).'
  ]
  for work in works:
    for strategy in STRATEGIES:
      shown = [
        row
        for row in rows([work], chip, batch=batch)
        if row['strategy'] == strategy and row['chips'] in (1, 4, 16, 64, 256)
      ]
      last = shown[-1]
      lines.append(
        f'{work.name} ({work.num_params / 1e6:.3g} M parameters, '
        f'{work.flops / 1e9:.3g} GFLOP per example), {strategy}, {batch} per '
        'chip: efficiency '
        + ', '.join(f'{row["chips"]}: {row["efficiency"]:.2g}' for row in shown)
        + f'; 80 % on 256 takes {last["batch_per_chip_for_80_percent"]} per '
        f'chip; there {last["latency"] / last["communication"]:.0%} of '
        'communication is latency'
      )
  return lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Options of the assumptions; see `Chip`."""
  for field in dataclasses.fields(Chip):
    parser.add_argument(
      f'--chip-{field.name}',
      type=float,
      default=field.default,
      help=f'assumed {field.name} of a chip, in the projection',
    )


def chip_of(args: argparse.Namespace) -> Chip:
  """The chip that the options describe."""
  return Chip(
    **{field.name: getattr(args, f'chip_{field.name}') for field in dataclasses.fields(Chip)}
  )
