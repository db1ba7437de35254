"""Methods, the networks that a generator or baseline made, and samples of them for metrics."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from wsjax import networks, typing
from wsjax.evaluation import metric, predictions, statistics
from wsjax.evaluation import reference as reference_lib
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


# Name of the training networks as a method, each compared with the others.
ZOO = 'zoo, leave one out'
# Most networks and most test items of a method that are taken; None for all.
Limit = tuple[int, int] | None

_T = TypeVar('_T')


def once(function: Callable[..., _T]) -> Callable[..., _T]:
  """Decorator: a function (sample, *hashable) is computed once for each sample.

  Its values are kept in the dict `cache` of the sample; what raises is computed again.
  """

  @functools.wraps(function)
  def cached(sample: Any, *args: Any) -> _T:
    key = (function, *args)
    if key not in sample.cache:
      sample.cache[key] = function(sample, *args)
    return sample.cache[key]

  return cached


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
  """Networks of a method and test items: what a metric computes from.

  Attributes:
    method: the method.
    reference: the zoo and the test set.
    limit: most networks and most test items that are taken, evenly spaced; None for all.
    rows: [N] which networks of the method, if not those of the limit.
  """

  method: Method
  reference: reference_lib.Reference
  limit: Limit = None
  rows: np.ndarray | None = None

  @functools.cached_property
  def cache(self) -> dict[Any, Any]:
    """Values that `once` keeps."""
    return {}

  @functools.cached_property
  def networks(self) -> np.ndarray:
    """[N] places of the networks in the method."""
    if self.rows is not None:
      return self.rows
    count = self.method.num_networks
    return networks.evenly(count, self.limit[0] if self.limit else count)

  @functools.cached_property
  def params(self) -> typing.StackedParams:
    """Path -> [N, ...] weights."""
    if len(self.networks) == self.method.num_networks:
      return self.method.params
    return networks.take(self.method.params, self.networks)

  @property
  def groups(self) -> np.ndarray:
    """[N] which training seed made each network."""
    return self.method.groups[self.networks]

  @functools.cached_property
  def items(self) -> np.ndarray:
    """[n] places of the test items in the test set."""
    count = len(self.reference.test_y)
    return networks.evenly(count, self.limit[1] if self.limit else count)

  @property
  def whole_test_set(self) -> bool:
    """Whether all test items are taken."""
    return len(self.items) == len(self.reference.test_y)

  @functools.cached_property
  def x(self) -> np.ndarray:
    """[n, ...] test inputs."""
    return np.asarray(self.reference.test_x)[self.items]

  @functools.cached_property
  def y(self) -> np.ndarray:
    """[n] int classes."""
    return np.asarray(self.reference.test_y)[self.items]

  @property
  def device_items(self) -> predictions.Items:
    """Test items on the device."""
    return self.reference.items if self.whole_test_set else _items(self.zoo)

  @property
  def is_zoo(self) -> bool:
    """Whether these are the training networks, each to be compared with the others."""
    return self.method.params is self.reference.train

  @property
  def zoo(self) -> 'Sample':
    """Training networks under the limit of this sample."""
    return zoo(self.reference, self.limit)

  def keep(self, chosen: np.ndarray, reason: str = 'no network is left') -> 'Sample':
    """Networks where `chosen` [N] is True; raises NotRun with the reason if there are none."""
    if not chosen.any():
      raise metric.NotRun(reason)
    return dataclasses.replace(self, rows=self.networks[chosen])

  @functools.cached_property
  def usable(self) -> np.ndarray:
    """[N] whether all weights are finite and small enough to measure."""
    return spec_lib.finite(self.params)

  @functools.cached_property
  def finite(self) -> 'Sample':
    """Networks with finite weights; raises NotRun if there are none."""
    if self.usable.all():
      return self
    return self.keep(self.usable, 'no network has finite weights')

  @functools.cached_property
  def canonical(self) -> typing.StackedParams:
    """Path -> [N, ...] canonical forms; weights must be finite."""
    if self.is_zoo and len(self.networks) == self.method.num_networks:
      return self.reference.aligned_train
    return self.reference.align(self.params)

  @functools.cached_property
  def predicted(self) -> predictions.Predictions:
    """Predictions on the test items."""
    if self.whole_test_set:
      if self.is_zoo and len(self.networks) == self.method.num_networks:
        return self.reference.train_predictions
      return self.reference.predict(self.params)
    return predictions.predict(self.reference.architecture, self.params, self.device_items)

  @functools.cached_property
  def correct(self) -> np.ndarray:
    """[N, n] bool."""
    return self.predicted.labels == self.y[None]

  @functools.cached_property
  def accuracy(self) -> np.ndarray:
    """[N] shares of the test items."""
    return np.mean(self.correct, axis=1)

  @property
  def resampler(self) -> statistics.Resampler:
    """Bootstrap of networks and test items."""
    return self.reference.resampler(len(self.items))

  def mean(self, table: np.ndarray) -> metric.Stat:
    """Mean of a table [N, n], networks and test items resampled."""
    return statistics.two_way(table, self.groups, self.resampler)

  def over_networks(
    self, values: np.ndarray, window: statistics.Window = (0.0, 1.0)
  ) -> metric.Stat:
    """Mean of values [N] between two quantiles, or median for None, networks resampled."""
    return statistics.over_networks(values, self.groups, self.resampler, window=window)


@once
def zoo(reference: reference_lib.Reference, limit: Limit) -> Sample:
  """The training networks as a sample."""
  train = Method(
    ZOO,
    'reference',
    reference.train,
    reference.fresh_seconds and reference.fresh_seconds * reference.num_runs,
    sum(np.asarray(value).nbytes for value in reference.train.values()),
  )
  return Sample(train, reference, limit)


@once
def heldout(reference: reference_lib.Reference) -> Sample:
  """The held-out networks with finite weights; raises NotRun if there are none."""
  if reference.heldout is None or not len(next(iter(reference.heldout.values()))):
    raise metric.NotRun('there are no held-out networks')
  return Sample(Method('held-out runs', 'ceiling', reference.heldout), reference).finite


@once
def _items(sample: Sample) -> predictions.Items:
  return predictions.make_items(sample.x, sample.y)
