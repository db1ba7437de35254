"""A network for a device: precision and architecture that fit budgets of bytes and latency."""

import dataclasses
import hashlib
import json
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsjax import files, typing
from wsjax.experiments.deploy import exported, rounding
from wsjax.fusion import merging
from wsjax.interop import quantized
from wsjax.models import model as model_lib
from wsjax.zoo import derived
from wsjax.zoo.store import store

# Fields of a record that rounding does not change.
_CARRIED = ('datasets', 'task', 'license_effective', 'attribution')


def quantize(
  networks: Any,
  precision: str,
  *,
  data: Any = None,
  keep: Sequence[str] | None = None,
  model: model_lib.Model | None = None,
) -> store.Zoo:
  """Rounds the weights of networks of one model to few bits.

  Args:
    networks: in any form that `wsjax.merge` takes.
    precision: 'int8', 'int4' or 'ternary'.
    data: inputs [b, ...] without labels, at which their layers are to change least. Without them
      each weight is rounded to its nearest code.
    keep: paths of parameters that stay float32; None is the first layer of a network of sines.
    model: of the networks, where they do not say it.

  Returns:
    A zoo of the networks with rounded weights, whose records name their parents.

  Raises:
    ValueError: if networks, model and precision do not fit each other.
  """
  zoo = merging.read(networks, model)
  model = zoo.model if model is None else model
  made = []
  for i in range(len(zoo)):
    params = {path: x[0] for path, x in zoo.params([i]).items()}
    made.append(rounding.quantize(model, params, precision, data, keep=keep))
  how = {'precision': precision, 'rounding': 'nearest' if data is None else 'error feedback'}
  return _published(model, made, zoo.records, how)


@dataclasses.dataclass(frozen=True, eq=False)
class Deployment:
  """A network in a file that fits its budgets.

  Attributes:
    path: of the file.
    format: key of `exported.FORMATS`.
    precision: of its weights.
    bytes: of the file.
    score: of the file as it is run: accuracy with labels as targets, minus the mean squared error
      with values; without targets the share of inputs that get the class they had, or minus the
      mean squared change of the outputs.
    float_score: of the network before it was rounded.
    exact: of ONNX, whether weights become float32 when the file is loaded; else they stay integers,
      and onnxruntime may round activations too.
    difference: largest difference of an output from the model with rounded weights.
    microseconds: median of one input on one thread; None where it was not measured.
    peak_bytes: memory at its peak above the runtime; likewise.
    zoo: the network with rounded weights, and its record.
  """

  path: pathlib.Path
  format: str
  precision: str
  bytes: int
  score: float
  float_score: float
  exact: bool
  difference: float
  microseconds: float | None
  peak_bytes: int | None
  zoo: store.Zoo


@dataclasses.dataclass(frozen=True, eq=False)
class _Candidate:
  """A file in a temporary folder, and what it is of."""

  path: pathlib.Path
  model: model_lib.Model
  params: Mapping[str, Any]
  record: Mapping[str, Any]
  precision: str
  exact: bool
  size: int
  score: float
  float_score: float


def deploy(
  networks: Any,
  out: pathlib.Path | str,
  *,
  data: Any,
  targets: Any = None,
  format: str = 'onnx',
  precision: str | None = None,
  max_bytes: float | None = None,
  max_us: float | None = None,
  keep: Sequence[str] | None = None,
  model: model_lib.Model | None = None,
) -> Deployment:
  """Writes the network that is best among those that fit the budgets.

  Of each architecture the network with the best score is rounded to every precision; those files
  that fit are scored by running them. Beside the file its record is written, as OUT.json.

  Args:
    networks: in any form that `wsjax.merge` takes, or a list of zoos, also of other architectures.
    out: path of the new file.
    data: inputs [b, ...].
    targets: classes [b], or values [b, ...]. Several networks need them.
    format: 'onnx', 'stablehlo', or 'safetensors', packed weights that `quantized.read` reads.
    precision: of the weights; None tries all.
    max_bytes: of the file.
    max_us: median microseconds of one input on one thread of this machine.
    keep: see `quantize`.
    model: of the networks, where they do not say it.

  Raises:
    ValueError: if no file fits, saying what the smallest or fastest needs; if the written file does
      not compute what the model does; or for arguments that do not fit each other.
  """
  out = files.folder(out, 'out')
  if format not in exported.FORMATS:
    raise ValueError(f'format is {format!r}; allowed: {", ".join(exported.FORMATS)}.')
  if max_us is not None and format not in exported.TIMED:
    raise ValueError(f'{format} holds weights; max_us is for {", ".join(exported.TIMED)}.')
  for name, budget in (('max_bytes', max_bytes), ('max_us', max_us)):
    if budget is not None and not budget > 0:
      raise ValueError(f'{name} is {budget}; allowed: above 0.')
  for path in (out, _beside(out)):
    if not files.is_free(path):
      raise ValueError(f'{path} is there already; nothing is overwritten.')
  data = np.asarray(data)
  targets = None if targets is None else np.asarray(targets)
  if not len(data) or (targets is not None and len(targets) != len(data)):
    found = 'none' if targets is None else len(targets)
    raise ValueError(f'There are {len(data)} inputs and {found} targets; as many are needed.')
  chosen = [_best(zoo, data, targets, model) for zoo in _architectures(networks, model)]
  if len(chosen) > 1 and targets is None:
    raise ValueError('Several architectures are compared by their targets; give targets.')
  precisions = rounding.PRECISIONS if precision is None else (precision,)
  with tempfile.TemporaryDirectory() as folder:
    found: list[_Candidate] = []
    for own, params, record in chosen:
      inputs = exported.shaped(own, data)
      outputs = np.asarray(own.apply(params, inputs))
      for kind in precisions:
        made = rounding.quantize(own, params, kind, inputs, keep=keep)
        before = _score(own, outputs, outputs, targets)
        for exact in (False, True) if format == 'onnx' and kind != 'float32' else (False,):
          path = pathlib.Path(folder) / f'{len(found)}{exported.FORMATS[format]}'
          size = exported.write(path, format, own, made, exact=exact)
          score = -np.inf
          if max_bytes is None or size <= max_bytes:
            score = _score(own, exported.run(path, format, own, data), outputs, targets)
          found.append(_Candidate(path, own, made, record, kind, exact, size, score, before))
    return _choose(found, out, format, data, max_bytes, max_us)


def _choose(
  found: list[_Candidate],
  out: pathlib.Path,
  format: str,
  data: np.ndarray,
  max_bytes: float | None,
  max_us: float | None,
) -> Deployment:
  fits = [x for x in found if max_bytes is None or x.size <= max_bytes]
  if not fits:
    least = min(found, key=lambda x: x.size)
    raise ValueError(
      f'No network fits {max_bytes:,.0f} bytes; the smallest, {_name(least)}, has {least.size:,}.'
    )
  fastest: tuple[float, _Candidate] | None = None
  for one in sorted(fits, key=lambda x: (-x.score, x.size)):
    measured: dict[str, Any] = {'microseconds': None, 'peak_bytes': None}
    if format in exported.TIMED:
      measured = exported.measure(one.path, format, one.model, data)
    if max_us is not None and measured['microseconds'] > max_us:
      if fastest is None or measured['microseconds'] < fastest[0]:
        fastest = measured['microseconds'], one
      continue
    difference = exported.verify(one.path, format, one.model, one.params, data)
    zoo = _published(one.model, [one.params], [one.record], {
      'precision': one.precision, 'rounding': 'error feedback', 'format': format,
    })  # fmt: skip
    made = Deployment(
      out, format, one.precision, one.size, one.score, one.float_score, one.exact,
      difference, measured['microseconds'], measured['peak_bytes'], zoo,
    )  # fmt: skip
    content = one.path.read_bytes()
    out.parent.mkdir(parents=True, exist_ok=True)
    files.replace(out, content)
    facts = {
      key: value for key, value in dataclasses.asdict(dataclasses.replace(made, zoo=None)).items()
      if key not in ('path', 'zoo')
    }  # fmt: skip
    facts |= {'sha256': hashlib.sha256(content).hexdigest(), 'record': zoo.records[0]}
    files.replace(_beside(out), json.dumps(facts, indent=1, sort_keys=True))
    return made
  assert fastest is not None
  raise ValueError(
    f'No network that fits takes at most {max_us:g} us; the fastest, {_name(fastest[1])}, takes '
    f'{fastest[0]:.1f}.'
  )


def _beside(out: pathlib.Path) -> pathlib.Path:
  """The record of a file."""
  return out.with_name(f'{out.name}.json')


def _name(one: _Candidate) -> str:
  return f'{one.record["arch_id"]} in {one.precision}'


def _architectures(networks: Any, model: model_lib.Model | None) -> list[store.Zoo]:
  """The networks as zoos of one architecture each."""
  given = isinstance(networks, list | tuple) and networks
  parts = networks if given and all(isinstance(x, store.Zoo) for x in networks) else [networks]
  zoos = []
  for part in parts:
    zoo = merging.read(part, model)
    if len(zoo.architectures) == 1:
      zoos.append(zoo)
    else:
      zoos += [
        zoo.subset(zoo.select(final=None, diverged=None, architecture=one))
        for one in zoo.architectures
      ]
  return zoos


def _best(
  zoo: store.Zoo, data: np.ndarray, targets: np.ndarray | None, model: model_lib.Model | None
) -> tuple[model_lib.Model, typing.Params, Mapping[str, Any]]:
  """The network of a zoo with the best score."""
  rows = zoo.select(final=True, diverged=False)
  if len(rows) > 1 and targets is None:
    raise ValueError(f'{len(rows)} networks are compared by their targets; give targets, or one.')
  if not len(rows):
    raise ValueError('A zoo has no final network that did not diverge.')
  own, best = zoo.model if model is None else model, None
  inputs = exported.shaped(own, data)
  for row in rows:
    params = {path: x[0] for path, x in zoo.params([row]).items()}
    outputs = np.asarray(own.apply(params, inputs))
    score = _score(own, outputs, outputs, targets)
    if best is None or score > best[0]:
      best = score, params, zoo.records[row]
  return own, best[1], best[2]


def _score(
  model: model_lib.Model, outputs: np.ndarray, before: np.ndarray, targets: np.ndarray | None
) -> float:
  """See `Deployment.score`; `before` are outputs of the float network."""
  if targets is not None and targets.dtype.kind not in 'iu':
    if targets.shape != outputs.shape:
      raise ValueError(f'targets have shape {targets.shape}; outputs have {outputs.shape}.')
    return -float(np.mean((outputs - targets) ** 2))
  if targets is None and model.task != 'classification':
    return -float(np.mean((outputs - before) ** 2))
  classes = before.argmax(-1) if targets is None else targets
  return float((outputs.argmax(-1) == classes).mean())


def _published(
  model: model_lib.Model,
  networks: Sequence[Mapping[str, Any]],
  records: Sequence[Mapping[str, Any]],
  how: Mapping[str, Any],
) -> store.Zoo:
  """Rounded networks with records that name their parents."""
  made = [quantized.values(params) for params in networks]
  facts = [
    {
      **derived.facts('quantized', [derived.edge(record, 'quantized', how)], [record]),
      **{key: record[key] for key in _CARRIED},
    }
    for record in records
  ]
  return store.Zoo.of(model, made, facts)
