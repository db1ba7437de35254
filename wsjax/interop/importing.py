"""Networks of others as a zoo: read, laid out as a model has them, described, published."""

import dataclasses
import functools
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
_FORBIDDEN = re.compile(r'[^A-Za-z0-9_./=-]')  # In keys.


@store.no_collections()
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
  visit: Callable[[store.Block, model_lib.Model], None] | None = None,
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
    visit: called with networks of one model, [n] each time, while they are in memory.

  Raises:
    ValueError: naming the file: it cannot be read, its tensors are not those of the model, nothing
      tells which layout they have, or its function computes something else than the model.
  """
  table = None if records is None else records_lib.read(records)
  share = _shares(split)
  options = {'names': names, 'ignore': ignore, 'flatten': flatten}
  reader = _Reader(model, layout, options, check)
  models: dict[model_lib.Model, None] = {}

  def blocks() -> Iterator[store.Block]:
    for keys, stack, made, params in reader.networks(paths):
      models.setdefault(made)
      given = [{'run_id': id, **known} for id, known in zip(stack.ids, stack.records, strict=True)]
      if table is not None:
        for row, id in zip(given, stack.ids, strict=True):
          row.update(_nested(table.row(id)))
      if share is not None:
        for row in given:
          row.setdefault('split', _draw(share, str(row['run_id'])))
      described = reader.describe(made, params)
      records, texts = record_lib.of_given(
        described, params, given, task=made.task, run_ids=stack.ids
      )
      block = store.Block(keys, params, records, texts)
      if visit is not None:
        visit(block, made)
      yield block

  if out is None:
    kept = list(blocks())
    if not kept:
      raise ValueError(f'{paths} holds no network.')
    records = [record for block in kept for record in block.records]
    record_lib.check_splits([r['split_group'] for r in records], [r['split'] for r in records])
    places = [(block.params, row) for block in kept for row in range(len(block.keys))]

    def read(rows: np.ndarray) -> typing.StackedParams:
      chosen = [places[row] for row in rows]
      return {path: np.stack([net[path][row] for net, row in chosen]) for path in chosen[0][0]}

    model = next(iter(models)) if len(models) == 1 else None
    return store.Zoo([key for block in kept for key in block.keys], records, read, model=model)
  out = pathlib.Path(out)
  is_new = not out.exists()
  out.mkdir(parents=True, exist_ok=True)
  try:
    zoo = store.Zoo.publish(blocks(), out)
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
  ) -> Iterator[tuple[list[str], checkpoint_lib.Stack, model_lib.Model, typing.StackedParams]]:
    """Yields keys, networks as they were found, their model, and parameters, path -> [n, ...]."""
    seen: set[str] = set()
    for found in checkpoint_lib.stacks(paths):
      for stack, model, plan in self._laid_out(found):
        keys = [_FORBIDDEN.sub('_', id)[-200:] for id in stack.ids]
        for key, where in zip(keys, stack.where, strict=True):
          if key in seen:
            raise ValueError(f'{where}: two networks have the id {key!r}.')
          seen.add(key)
        yield keys, stack, model, plan.apply(stack.tensors)

  def describe(self, model: model_lib.Model, params: typing.StackedParams) -> record_lib.Prepared:
    """The fields of a record that all networks of a model share."""
    identity = model, tuple(params[path].dtype for path in params)
    if identity not in self._described:
      fields = record_lib.UNKNOWN | record_lib.describe_model(model, params)
      self._described[identity] = record_lib.prepare(fields)
    return self._described[identity]

  def _laid_out(
    self, found: checkpoint_lib.Stack
  ) -> Iterator[tuple[checkpoint_lib.Stack, model_lib.Model, layout_lib.Plan]]:
    """Networks with their model and the way to read them; more where files hold them stacked."""
    # A function of the user makes a model of the values of every network.
    parts = (
      [found]
      if isinstance(self._model, model_lib.Model)
      else [_row(found, row) for row in range(len(found.ids))]
    )
    for part in parts:
      shapes = {name: array.shape[1:] for name, array in part.tensors.items()}
      # The shapes decide about everything else.
      identity = tuple(shapes.items()), str(part.layout)
      try:
        model = self._model_of(part)
        try:
          plan = self._plans.get((identity, model)) or self._plan(shapes, model, part)
        except ValueError as error:
          count = _stacked(shapes)
          if not count:
            raise
          inner = [_unstacked(part, row, count) for row in range(len(part.ids))]
          shapes = {name: array.shape[1:] for name, array in inner[0].tensors.items()}
          try:
            plan = self._plan(shapes, model, inner[0])
          except ValueError:
            raise error from None
          for each in inner:
            yield each, model, plan
          continue
      except ValueError as error:
        raise ValueError(f'{part.where[0]}: {str(error).rstrip(".")}.') from error
      self._plans[identity, model] = plan
      yield part, model, plan

  def _model_of(self, found: checkpoint_lib.Stack) -> model_lib.Model:
    if isinstance(self._model, model_lib.Model):
      return self._model
    if self._model is None:
      if found.model is None:
        raise ValueError('it does not say what it computes; give a model')
      return found.model
    made = self._model({name: array[0] for name, array in found.tensors.items()})
    if not isinstance(made, model_lib.Model):
      raise ValueError(f'the function of the model returned {type(made).__name__}, not a Model')
    try:
      return self._made.setdefault(made, made)
    except TypeError:  # Not hashable.
      return made

  def _plan(
    self, shapes: Mapping[str, tuple[int, ...]], model: model_lib.Model, found: checkpoint_lib.Stack
  ) -> layout_lib.Plan:
    """The way to read a file, compared with what its network computes where that is known."""
    layout = self._layout or found.layout
    check = None
    if found.run is not None:
      inputs = np.random.default_rng(0).normal(size=(3, *model.input_shape)).astype(np.float32)
      check = inputs, found.run(inputs)
    elif self._check is not None and not self._plans:
      check = self._check
    # Outputs decide where names and shapes do not.
    ways = functools.partial(
      layout_lib.plans, shapes, model.spec, layout=layout, by_order=check is not None
    )
    flatten = self._options['flatten']
    orders = ('channels_first', 'channels_last') if check and flatten is None else (flatten,)
    plans: list[layout_lib.Plan] = []
    for order in dict.fromkeys([flatten, *orders]):
      try:
        plans += ways(**{**self._options, 'flatten': order})
      except ValueError:
        if not check or order == orders[-1] and not plans:
          raise
    if check is None:
      return layout_lib.choose(plans)
    errors = []
    for plan in plans:
      first = {name: array[0] for name, array in found.tensors.items()}
      outputs = np.asarray(model.apply(plan.apply(first), check[0]), np.float32)
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


def _row(found: checkpoint_lib.Stack, row: int) -> checkpoint_lib.Stack:
  """One network of a stack, as a stack."""
  return dataclasses.replace(
    found,
    ids=found.ids[row : row + 1],
    tensors={name: array[row : row + 1] for name, array in found.tensors.items()},
    where=found.where[row : row + 1],
    records=found.records[row : row + 1],
  )


def _unstacked(found: checkpoint_lib.Stack, row: int, count: int) -> checkpoint_lib.Stack:
  """The networks that one file of a stack holds stacked."""
  return dataclasses.replace(
    found,
    ids=[f'{found.ids[row]}/{place:05d}' for place in range(count)],
    tensors={name: array[row] for name, array in found.tensors.items()},
    where=[found.where[row]] * count,
    records=[found.records[row]] * count,
  )


def _stacked(shapes: Mapping[str, tuple[int, ...]]) -> int:
  """The length of the first axis that all tensors share, or 0."""
  lengths = {shape[0] if shape else 0 for shape in shapes.values()}
  return lengths.pop() if len(lengths) == 1 else 0


def _nested(row: Mapping[str, Any]) -> dict[str, Any]:
  """A row with 'optimizer/hparams/learning_rate' as a value inside values."""
  if not any('/' in name for name in row) and not isinstance(row.get('optimizer'), dict):
    return dict(row)
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
