"""Methods: the networks that a generator or baseline made, and their costs."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from wsjax import networks, typing
from wsjax.symmetry import spec as spec_lib

KINDS = ('model', 'baseline', 'control', 'ceiling', 'reference')


@dataclasses.dataclass(frozen=True, eq=False)
class Method:
  """N networks of one architecture from one method.

  Attributes:
    name: row of the report, unique in it.
    kind: one of `KINDS`.
    params: path -> [N, ...] weights, unselected: best-of-k is another method.
    seconds: wall time to make all N; None if it was not measured.
    num_bytes: bytes that must be kept to make them: the generator's weights, or the training
      networks that a baseline draws from.
    seeds: training seeds of the generator. With S > 1 the networks lie in S equal blocks, one per
      seed, and intervals resample seeds first.
    fit_seconds: wall time to train the generator, all seeds together; None where nothing was
      trained or it was not measured.
  """

  name: str
  kind: str
  params: typing.StackedParams
  seconds: float | None = None
  num_bytes: int = 0
  seeds: tuple[int, ...] = ()
  fit_seconds: float | None = None

  def __post_init__(self):
    if self.kind not in KINDS:
      raise ValueError(f'Method {self.name!r} has kind {self.kind!r}; allowed: {KINDS}.')
    lengths = {path: len(value) for path, value in self.params.items()}
    if len(set(lengths.values())) != 1 or not min(lengths.values()):
      raise ValueError(
        f'Method {self.name!r} needs one number of networks, at least 1, for every parameter; got '
        f'{lengths}.'
      )
    if len(self.seeds) > 1 and self.num_networks % len(self.seeds):
      raise ValueError(
        f'Method {self.name!r} has {self.num_networks} networks, which are not equal '
        f'blocks for {len(self.seeds)} seeds.'
      )

  @property
  def num_networks(self) -> int:
    """Number N of networks."""
    return len(next(iter(self.params.values())))

  @property
  def groups(self) -> np.ndarray:
    """[N] which of the seeds made each network, as a position."""
    count = max(len(self.seeds), 1)
    return np.repeat(np.arange(count), self.num_networks // count)

  @property
  def usable(self) -> np.ndarray:
    """[N] whether all weights are finite and of a size one can measure."""
    return spec_lib.finite(self.params)


def merge(methods: Sequence[Method], name: str) -> Method:
  """Joins the networks of one method from several training seeds; adds up seconds and bytes.

  Raises:
    ValueError: if there is none, kinds or numbers of networks differ, or one has not exactly one
      seed.
  """
  shapes = {(method.kind, method.num_networks, len(method.seeds)) for method in methods}
  if len(shapes) != 1 or next(iter(shapes))[2] != 1:
    raise ValueError(
      'merge needs methods of one kind with equally many networks and one seed each; got '
      f'(kind, networks, seeds) {sorted(shapes)}.'
    )
  seconds = [method.seconds for method in methods]
  fits = [method.fit_seconds for method in methods]
  return Method(
    name=name,
    kind=methods[0].kind,
    params=networks.join([method.params for method in methods]),
    seconds=None if None in seconds else sum(seconds),
    num_bytes=sum(method.num_bytes for method in methods),
    seeds=tuple(method.seeds[0] for method in methods),
    fit_seconds=None if None in fits else sum(fits),
  )
