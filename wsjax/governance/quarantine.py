"""Quarantine: imported networks that fail the screens of intake are put aside, with the reason."""

import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from wsjax import background, files, interop, networks
from wsjax.governance import screen
from wsjax.interop import checkpoint
from wsjax.models import model as model_lib
from wsjax.zoo.store import store

REASONS, ASIDE = 'reasons.jsonl', 'zoo'


class Reason(NamedTuple):
  """Why a network was put aside: its id, the screen, and what it found."""

  id: str
  screen: str
  detail: str


def import_checkpoints(
  model: Any,
  paths: Any,
  records: Any = None,
  *,
  out: pathlib.Path | str,
  max_z: float = 6.0,
  **options: Any,
) -> tuple[store.Zoo, list[Reason]]:
  """Imports networks as `interop.import_checkpoints`, and puts aside what fails a screen.

  Files are read strictly; those that are broken, or hold another model, are listed with the reason
  and stay where they are. What is known has to make a record: that is an error of the whole import.
  Screens of what was read are: finite, and outliers: robust z-scores of statistics of every
  layer among networks of one model, where there are enough. What was put aside is in the folder
  `OUT.quarantine`: reasons.jsonl, and the networks as a zoo.

  Args:
    model: of the networks.
    paths: files, patterns or folders.
    records: table of what is known.
    out: folder of the zoo.
    max_z: largest z-score of any statistic.
    **options: other arguments of `interop.import_checkpoints`.

  Returns:
    The zoo, and why each other network was put aside.

  Raises:
    ValueError: if no network can be read or passes, what is known of one makes no record, or there
      is something in the way.
  """
  out = pathlib.Path(out)
  aside, draft = (out.with_name(f'{out.name}.{what}') for what in ('quarantine', 'incoming'))
  if not files.is_free(out):
    raise ValueError(f'{out} holds something already; nothing is overwritten. Give another folder.')
  if aside.exists():
    raise ValueError(f'{aside} is there already, of an earlier import; look into it and move it.')
  shutil.rmtree(draft, ignore_errors=True)  # Of a process that was killed.

  def read() -> tuple[store.Zoo, dict[int, tuple[str, str]]]:
    with background.Worker() as worker:
      screens = _Screens(worker)
      zoo = interop.import_checkpoints(
        model, paths, records, out=draft, visit=screens.visit, **options
      )
      return zoo, screens.failed(max_z)

  try:
    unreadable: list[Reason] = []
    try:
      zoo, found = read()
    except ValueError:
      paths, unreadable = _readable(model, paths, options)
      if not unreadable or not paths:  # It is not the fault of some files.
        raise
      shutil.rmtree(draft, ignore_errors=True)
      zoo, found = read()
    reasons = unreadable + [Reason(zoo.keys[row], *why) for row, why in sorted(found.items())]
    if len(found) == len(zoo):
      first = reasons[len(unreadable)]
      raise ValueError(f'No network passes: {first.id}: {first.detail}.')
    if found:
      rows = np.array(sorted(found))
      zoo.extract(rows, aside / ASIDE)
      kept = zoo.extract(np.setdiff1d(np.arange(len(zoo)), rows), out)
    else:
      kept = zoo.rename(out)
    if reasons:
      aside.mkdir(exist_ok=True)
      lines = ''.join(json.dumps(reason._asdict()) + '\n' for reason in reasons)
      files.replace(aside / REASONS, lines)
  finally:
    shutil.rmtree(draft, ignore_errors=True)
  return kept, reasons


def _readable(model: Any, paths: Any, options: Mapping[str, Any]) -> tuple[list[Any], list[Reason]]:
  """Sources that can be read one by one, and why the others cannot."""
  options = {name: value for name, value in options.items() if name not in ('split', 'check')}
  kept, reasons = [], []
  for source in checkpoint.sources(paths):
    try:
      interop.import_checkpoints(model, source, **options)
    except (ValueError, OSError) as error:
      reasons.append(Reason(source.id, 'unreadable', str(error)))
    else:
      kept.append(source)
  return kept, reasons


class _Screens:
  """Screens of networks while others are read; statistics are kept, weights are not."""

  def __init__(self, worker: background.Worker) -> None:
    self._worker = worker
    self._count = 0
    # Model -> rows of finite networks, names of their statistics, and values.
    self._found: dict[Any, tuple[list[np.ndarray], list[str], list[np.ndarray]]] = {}
    self._broken: list[int] = []

  def visit(self, block: store.Block, model: model_lib.Model) -> None:
    """Looks at networks that follow those before."""
    rows = self._count + np.arange(len(block.keys))
    self._count += len(rows)
    self._worker.submit(self._look, rows, block, model)

  def _look(self, rows: np.ndarray, block: store.Block, model: model_lib.Model) -> None:
    finite = networks.Networks(dict(block.params), model.spec).finite()
    self._broken += rows[~finite].tolist()
    if not finite.any():
      return
    params = block.params if finite.all() else networks.take(block.params, finite)
    names, values = screen.statistics(params, model.spec)
    # By what statistics depend on: a model made anew for each network has equal parameters.
    places, _, kept = self._found.setdefault((model.name, model.spec), ([], names, []))
    places.append(rows[finite])
    kept.append(values)

  def failed(self, max_z: float) -> dict[int, tuple[str, str]]:
    """Row of each network that fails a screen -> its name, and what it found."""
    self._worker.wait()
    found = {row: ('finite', 'weights are NaN, infinite or beyond 1e6') for row in self._broken}
    for places, names, kept in self._found.values():
      rows, values = np.concatenate(places), np.concatenate(kept)
      if len(rows) < screen.FEWEST:
        continue
      outliers = screen.compare(names, values, values)
      for place in np.flatnonzero(outliers.z > max_z):
        detail = f'{outliers.worst[place]} has |z| {outliers.z[place]:.1f}, more than {max_z:g}'
        found[int(rows[place])] = 'outlier', detail
    return found
