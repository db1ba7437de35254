"""Methods: the networks that a generator or baseline made, and their costs."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from wsjax import typing

KINDS = ('model', 'baseline', 'control', 'ceiling', 'reference')

# Beyond this no distance in float32 means anything.
MAX_WEIGHT = 1e6


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
    return usable(self.params)


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
    params=join([method.params for method in methods]),
    seconds=None if None in seconds else sum(seconds),
    num_bytes=sum(method.num_bytes for method in methods),
    seeds=tuple(method.seeds[0] for method in methods),
    fit_seconds=None if None in fits else sum(fits),
  )


def usable(params: typing.StackedParams) -> np.ndarray:
  """[N] whether all weights of each network are finite and below 1e6."""
  return np.all(
    [
      np.max(np.abs(_rows(value)), axis=1) <= MAX_WEIGHT  # False for NaN.
      for value in params.values()
    ],
    axis=0,
  )


def flatten(params: typing.StackedParams) -> np.ndarray:
  """[N, d] float32: every network as one vector, parameters in sorted order of their paths."""
  return np.concatenate([_rows(params[path]) for path in sorted(params)], axis=1)


def unflatten(vectors: np.ndarray, like: typing.StackedParams) -> typing.StackedParams:
  """The inverse of `flatten`: vectors [N, d] as float32, with paths and shapes of `like`."""
  shapes = {path: np.shape(like[path])[1:] for path in sorted(like)}
  ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
  parts = np.split(vectors, ends[:-1], axis=1)
  return {
    path: np.ascontiguousarray(part.reshape(len(vectors), *shape), np.float32)
    for (path, shape), part in zip(shapes.items(), parts, strict=True)
  }


def join(parts: Sequence[typing.StackedParams]) -> typing.StackedParams:
  """The networks of all parts, one part behind the other, on the host."""
  return {path: np.concatenate([np.asarray(part[path]) for part in parts]) for path in parts[0]}


def take(params: typing.StackedParams, indices: np.ndarray | slice) -> typing.StackedParams:
  """The networks at `indices`, host float32."""
  return {path: np.asarray(value)[indices] for path, value in params.items()}


def _rows(value: typing.Array) -> np.ndarray:
  """[N, ...] as [N, size] float32 on the host."""
  value = np.asarray(value, np.float32)
  return value.reshape(len(value), -1)
