"""Networks of others as a zoo: read, laid out as a model has them, described, published."""

import hashlib
import itertools
import math
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from wsjax import typing
from wsjax.interop import checkpoint as checkpoint_lib
from wsjax.interop import layout as layout_lib
from wsjax.interop import records as records_lib
from wsjax.models import model as model_lib
from wsjax.zoo.store import record as record_lib
from wsjax.zoo.store import store

# A model, or a function that makes it from the tensors of one network.
ModelOrMaker: TypeAlias = model_lib.Model | Callable[[Mapping[str, np.ndarray]], model_lib.Model]
_TOLERANCE = 1e-4


def import_checkpoints(
  model: ModelOrMaker | None,
  paths: Any,
  records: Any = None,
  *,
  out: pathlib.Path | str | None = None,
  layout: layout_lib.Layout = None,
  names: Mapping[str, str] | None = None,
  ignore: Sequence[str] = (),
  flatten: str | None = None,
  split: Mapping[str, float] | None = None,
  check: tuple[Any, Any] | None = None,
) -> store.Zoo:
  """Makes a zoo of networks that were trained elsewhere.

  Tensors become parameters by their names and shapes (`layout`); dtypes stay as they are. Files are
  read one after another.

  Args:
    model: of the networks; or a function that makes it from the tensors, name -> array, of one
      network, where they differ; None for adapters, which are models by themselves.
    paths: as `checkpoint.checkpoints` takes them: files, patterns, folders, 'hub:OWNER/NAME', or
      tensors by id.
    records: path of a table (.csv, .json, .jsonl), rows, or rows by id. A column such as 'file' or
      'id' names the network of a row; other columns are those of `Zoo.of`.
    out: folder of the zoo; None keeps it in memory.
    layout: 'torch' ([out, in]), 'jax' ([in, out]) or 'same' (as the model has it) where neither the
      format nor names tell.
    names: tensor -> parameter, where names and shapes do not tell.
    ignore: patterns of names of tensors that are left out, such as '*value_net*'.
    flatten: 'channels_first' or 'channels_last', where the network flattens an image in another
      order than its layout suggests.
    split: split -> share of the runs; drawn from a hash of the run, so that it is stable when
      networks are added. Without it and without a column, all are in split 'train'.
    check: (inputs [b, ...], outputs [b, d]) of the first network; the way to read the file that
      reproduces them is taken. A file that holds its function is compared with it in any case.

  Raises:
    ValueError: naming the file: it cannot be read, its tensors are not those of the model, nothing
      tells which layout they have, or its function computes something else than the model.
  """
  table = None if records is None else records_lib.read(records)
  share = _shares(split)
  options = {'names': names, 'ignore': ignore, 'flatten': flatten}
  reader = _Reader(model, layout, options, check)
  models: dict[model_lib.Model, None] = {}

  def entries() -> Iterator[tuple[store.Entry, bytes]]:
    for key, id, made, params, given in reader.networks(paths):
      models.setdefault(made)
      if table is not None:
        given = {**given, **_nested(table.row(id))}
      if share is not None:
        given.setdefault('split', _draw(share, str(given['run_id'])))
      described = reader.describe(made, params)
      try:
        record, text = record_lib.of_given(described, params, given, task=made.task, run_id=id)
      except ValueError as error:
        raise ValueError(f'What is known about network {id!r} is no record: {error}') from error
      yield store.Entry(key, params, record), text

  if out is None:
    kept = [entry for entry, _ in entries()]
    if not kept:
      raise ValueError(f'{paths} holds no network.')
    made = [entry.record for entry in kept]
    record_lib.check_splits([r['split_group'] for r in made], [r['split'] for r in made])

    def read(rows: np.ndarray) -> typing.StackedParams:
      nets = [kept[row].params for row in rows]
      return {path: np.stack([net[path] for net in nets]) for path in nets[0]}

    model = next(iter(models)) if len(models) == 1 else None
    return store.Zoo(
      [entry.key for entry in kept], [dict(entry.record) for entry in kept], read, model=model
    )
  out = pathlib.Path(out)
  is_new = not out.exists()
  out.mkdir(parents=True, exist_ok=True)
  try:
    zoo = store.Zoo.publish(entries(), out)
  except ValueError:
    if is_new:
      out.rmdir()
    raise
  return zoo.with_model(next(iter(models))) if len(models) == 1 else zoo


class _Reader:
  """Reads networks; what they have in common is found out once."""

  def __init__(
    self,
    model: ModelOrMaker | None,
    layout: layout_lib.Layout,
    options: Mapping[str, Any],
    check: tuple[Any, Any] | None,
  ):
    self._model = model
    self._layout = layout
    self._options = options
    self._check = check
    self._plans: dict[Any, layout_lib.Plan] = {}
    self._described: dict[Any, record_lib.Prepared] = {}
    self._made: dict[Any, model_lib.Model] = {}

  def networks(
    self, paths: Any
  ) -> Iterator[tuple[str, str, model_lib.Model, typing.Params, dict[str, Any]]]:
    """Yields key, id, model, parameters and known fields of the record of every network."""
    keys = set()
    for found in checkpoint_lib.checkpoints(paths):
      for id, model, tensors, plan in self._laid_out(found):
        key = re.sub(r'[^A-Za-z0-9_./=-]', '_', id)[-200:]
        if key in keys:
          raise ValueError(f'{found.where}: two networks have the id {key!r}.')
        keys.add(key)
        yield key, id, model, plan.apply(tensors), {'run_id': id, **found.record}

  def describe(self, model: model_lib.Model, params: typing.Params) -> record_lib.Prepared:
    """The fields of a record that all networks of a model share."""
    identity = model, tuple(params[path].dtype for path in params)
    if identity not in self._described:
      fields = record_lib.UNKNOWN | record_lib.describe_model(model, params)
      self._described[identity] = record_lib.prepare(fields)
    return self._described[identity]

  def _laid_out(
    self, found: checkpoint_lib.Checkpoint
  ) -> Iterator[tuple[str, model_lib.Model, Mapping[str, np.ndarray], layout_lib.Plan]]:
    """The networks of a checkpoint, several where it holds them stacked."""
    tensors = found.tensors
    shapes = {name: array.shape for name, array in tensors.items()}
    # The shapes decide about everything but what a function of the user makes of the values.
    identity = tuple(shapes.items()), str(found.layout)
    try:
      model = self._model_of(found)
      try:
        plan = self._plans.get((identity, model)) or self._plan(shapes, model, found)
      except ValueError as error:
        count = _stacked(shapes)
        if not count:
          raise
        one = {name: array[0] for name, array in tensors.items()}
        try:
          plan = self._plan({name: x.shape for name, x in one.items()}, model, found, one)
        except ValueError:
          raise error from None
        for row in range(count):
          part = {name: array[row] for name, array in tensors.items()}
          yield f'{found.id}/{row:05d}', model, part, plan
        return
    except ValueError as error:
      raise ValueError(f'{found.where}: {str(error).rstrip(".")}.') from error
    self._plans[identity, model] = plan
    yield found.id, model, tensors, plan

  def _model_of(self, found: checkpoint_lib.Checkpoint) -> model_lib.Model:
    if isinstance(self._model, model_lib.Model):
      return self._model
    if self._model is None:
      if found.model is None:
        raise ValueError('it does not say what it computes; give a model')
      return found.model
    made = self._model(found.tensors)
    if not isinstance(made, model_lib.Model):
      raise ValueError(f'the function of the model returned {type(made).__name__}, not a Model')
    try:
      return self._made.setdefault(made, made)
    except TypeError:  # Not hashable.
      return made

  def _plan(
    self,
    shapes: Mapping[str, tuple[int, ...]],
    model: model_lib.Model,
    found: checkpoint_lib.Checkpoint,
    tensors: Mapping[str, np.ndarray] | None = None,
  ) -> layout_lib.Plan:
    """The way to read a file, compared with what its network computes where that is known."""
    layout = self._layout or found.layout
    plans = layout_lib.plans(shapes, model.spec, layout=layout, **self._options)
    check = None
    if found.run is not None:
      inputs = np.random.default_rng(0).normal(size=(3, *model.input_shape)).astype(np.float32)
      check = inputs, found.run(inputs)
    elif self._check is not None and not self._plans:
      check = self._check
    if check is None:
      return layout_lib.choose(plans)
    if self._options['flatten'] is None:
      for order in ('channels_first', 'channels_last'):
        options = {**self._options, 'flatten': order}
        plans += layout_lib.plans(shapes, model.spec, layout=layout, **options)
    errors = []
    for plan in plans:
      outputs = np.asarray(model.apply(plan.apply(tensors or found.tensors), check[0]), np.float32)
      expected = np.asarray(check[1], np.float32)
      if outputs.shape != expected.shape:
        raise ValueError(f'the model gives outputs {outputs.shape}, the file {expected.shape}')
      errors.append(float(np.max(np.abs(outputs - expected) / (1 + np.abs(expected)), initial=0)))
      if errors[-1] < _TOLERANCE:
        return plan
    raise ValueError(
      f'the model does not compute what the file does: outputs differ by {min(errors):.1e} in the '
      f'best of {len(plans)} ways to read it'
    )


def _stacked(shapes: Mapping[str, tuple[int, ...]]) -> int:
  """The length of the first axis that all tensors share, or 0."""
  lengths = {shape[0] if shape else 0 for shape in shapes.values()}
  return lengths.pop() if len(lengths) == 1 else 0


def _nested(row: Mapping[str, Any]) -> dict[str, Any]:
  """A row with 'optimizer/hparams/learning_rate' as a value inside values."""
  made: dict[str, Any] = {}
  for name, value in row.items():
    *outer, last = name.split('/')
    place = made
    for part in outer:
      place = place.setdefault(part, {})
      if not isinstance(place, dict):
        raise ValueError(f'Column {name!r} is inside {part!r}, which is a column itself.')
    place[last] = value
  if isinstance(made.get('optimizer'), dict):
    made['optimizer'].setdefault('hparams', {})
  return made


def _shares(split: Mapping[str, float] | None) -> dict[str, float] | None:
  """Split -> end of its part of [0, 1)."""
  if split is None:
    return None
  known = record_lib.SPLITS
  if unknown := set(split) - set(known):
    raise ValueError(f'Unknown split {sorted(unknown)[0]!r}; allowed: {", ".join(known)}.')
  total = math.fsum(split.values())
  if not all(share >= 0 for share in split.values()) or not 0 < total < math.inf:
    raise ValueError(f'Shares of splits must not be negative, nor all 0; got {dict(split)}.')
  return dict(zip(split, itertools.accumulate(x / total for x in split.values()), strict=True))


def _draw(shares: Mapping[str, float], run_id: str) -> str:
  place = int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:8]) / 2**64
  return next((split for split, end in shares.items() if place < end), list(shares)[-1])
