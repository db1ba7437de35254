"""Editing of networks by differences of others: task vectors, added, negated or by analogy."""

import math
import pathlib
from collections.abc import Sequence
from typing import Any

from wsjax.fusion import merging, stream
from wsjax.fusion import recipe as recipe_lib
from wsjax.models import model as model_lib
from wsjax.zoo.store import store


def edit(
  network: Any,
  plus: Any,
  minus: Any,
  *,
  factor: float = 1.0,
  model: model_lib.Model | None = None,
  **options: Any,
) -> store.Zoo:
  """The network + factor * (mean of plus - mean of minus).

  With the base in `minus` it learns the tasks of `plus`; with the base in `plus` it forgets those
  of `minus`; and with a and b in them it becomes to itself what a is to b.

  Args:
    network: one network, in any form that `merge` takes.
    plus: networks, likewise.
    minus: networks, likewise.
    factor: of the difference.
    model: of the networks, where they do not say it.
    **options: `align`, `reference`, `data` and so on, as in `merge`; units are aligned to the
      network.

  Returns:
    A zoo with the one edited network, whose record names its parents.

  Raises:
    ValueError: as `merge`.

  Source: Ilharco et al. 2023, arXiv:2212.04089.
  """
  parts = [merging.read(networks, model) for networks in (network, plus, minus)]
  if len(parts[0]) != 1:
    raise ValueError(f'One network is edited; got {len(parts[0])}.')
  model = parts[0].model if model is None else model
  nets = [net for zoo in parts for net in zoo.networks(final=None, diverged=None)]
  records = [record for zoo in parts for record in zoo.records]
  weights = _weights(factor, len(parts[1]), len(parts[2]))
  return merging.merge(
    nets, 'linear', model=model, weight=weights, normalize=False, records=records, **options
  )


def edit_files(
  network: pathlib.Path | str,
  plus: Sequence[pathlib.Path | str],
  minus: Sequence[pathlib.Path | str],
  out: pathlib.Path | str,
  *,
  factor: float = 1.0,
) -> pathlib.Path:
  """`edit` of files of safetensors, tensor by tensor; see `merge_files`."""
  paths = [str(path) for path in (network, *plus, *minus)]
  weights = _weights(factor, len(plus), len(minus))
  options = {'weight': weights, 'normalize': False}
  recipe = recipe_lib.of_options('linear', paths, options)
  return stream.merge_files(recipe, out)


def _weights(factor: float, plus: int, minus: int) -> list[float]:
  """Weight of every network; raises ValueError for a factor that is not finite."""
  if not math.isfinite(factor):
    raise ValueError(f'factor is {factor}; it has to be a finite number.')
  return [1.0, *[factor / plus] * plus, *[-factor / minus] * minus]
