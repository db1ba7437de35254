"""Networks of a zoo as examples of encoders: stacked weights, or graphs of any architectures."""

import dataclasses
import functools
import json
import operator
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from wsjax import config as config_lib
from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.symmetry import canonicalize
from wsjax.tokens import graph as graph_lib
from wsjax.zoo.store import store


@dataclasses.dataclass(frozen=True, eq=False)
class Kinds:
  """Architectures of some networks of a zoo.

  Attributes:
    architectures: each once, in order of appearance.
    which: row of the zoo -> number of its architecture.
    capacity: sizes of their graphs; None if there is one architecture.
  """

  architectures: tuple[model_lib.Model, ...]
  which: dict[int, int]
  capacity: graph_lib.Capacity | None

  def of(self, row: int) -> model_lib.Model:
    """The architecture of a row."""
    return self.architectures[self.which[int(row)]]


def kinds(config: ml_collections.ConfigDict, zoo: store.Zoo, rows: Sequence[int]) -> Kinds:
  """The architectures of some networks.

  Raises:
    ValueError: if there are several, and the config has an encoder, a canonical form or an
      augmentation that is for one.
  """
  if len(zoo.architectures) == 1:
    return Kinds((zoo.model,), {int(row): 0 for row in rows}, None)
  found: dict[str, int] = {}
  which = {}
  for row in np.asarray(rows).tolist():
    record = zoo.records[row]
    name = json.dumps([record['arch_id'], record['arch_config']])
    which[row] = found.setdefault(name, len(found))
  architectures = tuple(model_lib.from_record(*json.loads(name)) for name in found)
  if len(architectures) == 1:
    return Kinds(architectures, which, None)
  _check_several(config, zoo, len(architectures))
  sizes = [graph_lib.wiring(architecture.spec).capacity for architecture in architectures]
  return Kinds(architectures, which, functools.reduce(operator.or_, sizes))


def weights(zoo: store.Zoo, row: int) -> typing.Params:
  """Weights of one network."""
  return {path: x[0] for path, x in zoo.params([int(row)]).items()}


def noise(params: typing.Params, *, seed: tuple[int, int]) -> typing.Params:
  """Standard normal noise in the place of weights."""
  rng = np.random.default_rng(seed)
  return {
    path: rng.normal(size=value.shape).astype(value.dtype) for path, value in sorted(params.items())
  }


def stack(networks: Sequence[typing.Params], rows: Sequence[int], kinds: Kinds) -> Any:
  """Weights of n networks, with the architectures of n rows, as examples of an encoder.

  Returns:
    path -> [n, ...], or a graph with leading axis [n].
  """
  if kinds.capacity is not None:
    graph = graph_lib.Graph(kinds.capacity)
    pairs = zip(rows, networks, strict=True)
    networks = [graph.tokenize(params, kinds.of(row).spec) for row, params in pairs]
  return jax.tree.map(lambda *x: np.stack(x), *networks)


def read(
  config: ml_collections.ConfigDict,
  zoo: store.Zoo,
  rows: Sequence[int],
  kinds: Kinds,
  reference: typing.Params,
) -> Any:
  """Networks of a zoo as examples of an encoder, in the canonical form of the config; see `stack`.

  Networks of one architecture are aligned to the `reference`.
  """
  if kinds.capacity is not None:
    return stack([weights(zoo, row) for row in rows], rows, kinds)
  return canonicalize.canonicalize(
    zoo.params(rows),
    kinds.architectures[0].spec,
    config.symmetry.canonicalize,
    reference=reference,
    restarts=config.symmetry.restarts,
    seed=config.seed,
  )


def _check_several(config: ml_collections.ConfigDict, zoo: store.Zoo, number: int) -> None:
  """Raises ValueError unless the config is for several architectures."""
  where = f'The networks of {zoo.path} have {number} architectures'
  if not _reads_several(config.encoder.name):
    several = filter(_reads_several, config_lib.plugins('encoders'))
    raise ValueError(
      f'{where}; the encoder {config.encoder.name!r} reads one. Allowed: {", ".join(several)}.'
    )
  if config.symmetry.canonicalize != 'none':
    raise ValueError(
      f'{where}, which have no common form: symmetry.canonicalize is '
      f'{config.symmetry.canonicalize!r}; allowed: none.'
    )
  if wanted := [key for key, value in config.augment.items() if value]:
    raise ValueError(
      f'{where}, so augment.{wanted[0]} must be off: augmentations are made for one.'
    )


def _reads_several(name: str) -> bool:
  """Whether an encoder takes the capacity of graphs of any kind."""
  return 'capacity' in config_lib.defaults(config_lib.find('encoders', name, 'encoder'))
