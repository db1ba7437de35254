"""Networks of ours as files of others."""

import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import files, networks
from wsjax.interop import checkpoint as checkpoint_lib
from wsjax.interop import hub, litert, npz, onnx, orbax, peft, quantized, safetensors
from wsjax.interop import layout as layout_lib
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.zoo.store import record as record_lib
from wsjax.zoo.store import store

# Format -> suffix of its file; '' is a folder.
FORMATS = {
  'safetensors': '.safetensors',
  'npz': '.npz',
  'torch': '.safetensors',
  'peft': '',
  'onnx': '.onnx',
  'stablehlo': '.stablehlo',
  'litert': '.tflite',
  'orbax': '',
  'hub': '',
}
_FUNCTIONS = ('onnx', 'stablehlo', 'litert')  # Formats that hold what a network computes.


def export(
  source: Any,
  format: str,
  path: pathlib.Path | str,
  *,
  model: model_lib.Model | None = None,
  like: Any = None,
  layout: layout_lib.Layout = None,
) -> list[pathlib.Path]:
  """Writes networks for another stack; weights are the stored ones bit by bit.

  Args:
    source: a `Zoo`, `Networks`, or the parameters of one network, path -> array.
    format: 'safetensors' and 'npz': arrays by the names of the model; 'torch': safetensors that
      `load_state_dict` takes; 'peft': an adapter; 'onnx', 'stablehlo' and 'litert': the network as
      a function of its inputs; 'orbax'; 'hub': a folder for the Hugging Face Hub, with a card.
    path: of the file of one network; of several it is a folder with one file, or one folder, each.
    model: of the networks, where neither a zoo nor its records tell; formats of functions need it.
    like: for 'torch': a checkpoint, as `checkpoint.checkpoints` takes it, whose names and layout
      the files will have. What the model has no parameter for is copied from it.
    layout: of `like`.

  Returns:
    The files or folders that were written.

  Raises:
    ValueError: for an unknown format, a network that the format cannot hold, or a path that is
      there already.
  """
  if format not in FORMATS:
    raise ValueError(f'Unknown format {format!r}; allowed: {", ".join(FORMATS)}.')
  if like is not None and format != 'torch':
    raise ValueError(f"A checkpoint to be like is for format 'torch'; got it with {format!r}.")
  path, count = pathlib.Path(path), _count(source)
  if not files.is_free(path):
    raise ValueError(f'{path} is there already; nothing is overwritten.')
  if model is None and isinstance(source, store.Zoo) and format in _FUNCTIONS:
    model = _model_of(source)
  if model is None and format in _FUNCTIONS:
    raise ValueError(f'{format} holds what a network computes; give the model.')
  plans: dict[spec_lib.Spec, layout_lib.Plan] = {}
  extra: Mapping[str, np.ndarray] = {}
  if like is not None:
    template = next(checkpoint_lib.checkpoints(like))
    extra = template.tensors
  written = []
  for key, params, spec, record in _networks(source, model):
    target = path
    if count > 1:
      parts = [re.sub('[^A-Za-z0-9_=.-]', '_', part) for part in key.split('/') if part.strip('.')]
      target = path / f'{"/".join(parts)}{FORMATS[format]}'
    if target.exists() and not target.is_dir():
      raise ValueError(f'{target} is there already; two networks have this name.')
    target.parent.mkdir(parents=True, exist_ok=True)
    match format:
      case 'safetensors':
        safetensors.write(target, params)
      case 'npz':
        npz.write(target, params)
      case 'torch' | 'hub':
        if spec is None:
          raise ValueError('The layout of PyTorch depends on the network; give the model.')
        if spec not in plans and like is not None:
          shapes = {name: array.shape for name, array in extra.items()}
          kind = layout or template.layout
          plans[spec] = layout_lib.choose(layout_lib.plans(shapes, spec, layout=kind))
        elif spec not in plans:
          plans[spec] = layout_lib.to_torch(spec)
        plan = plans[spec]
        tensors = {**{name: extra[name] for name in plan.unused}, **plan.invert(params)}
        if format == 'torch':
          safetensors.write(target, tensors, {'format': 'pt'})
        else:
          hub.write(target, tensors, record)
      case 'peft':
        peft.write(target, params, record)
      case 'orbax':
        orbax.write(target, params)
      case 'onnx':
        files.replace(target, onnx.to_bytes(model, params))
      case 'stablehlo':
        files.replace(target, stablehlo(model, params))
      case 'litert':
        files.replace(target, litert.to_bytes(model, params))
    written.append(target)
  return written


def _count(source: Any) -> int:
  return len(source) if isinstance(source, store.Zoo | networks.Networks) else 1


def _model_of(zoo: store.Zoo) -> model_lib.Model:
  try:
    return zoo.model
  except ValueError as error:
    raise ValueError(f'{error} Give the model of the networks.') from error


def _networks(
  source: Any, model: model_lib.Model | None
) -> Iterator[tuple[str, dict[str, np.ndarray], spec_lib.Spec | None, Mapping[str, Any] | None]]:
  """Yields key, parameters, spec and record of every network, one in memory at a time."""
  if isinstance(source, store.Zoo):
    for row, (key, record) in enumerate(zip(source.keys, source.records, strict=True)):
      params = {path: value[0] for path, value in source.params([row]).items()}
      yield key, params, record_lib.spec(record), record
  elif isinstance(source, networks.Networks):
    for row, params in enumerate(source.host()):
      yield f'{row:08d}', {k: np.asarray(v) for k, v in params.items()}, source.spec, None
  else:
    spec = model.spec if model else None
    yield 'network', {k: np.asarray(v) for k, v in jax.device_get(source).items()}, spec, None


def stablehlo(model: model_lib.Model, params: quantized.Params) -> bytes:
  """The network as `jax.export.deserialize` reads it: inputs [b, ...] of any b -> outputs.

  Quantized parameters are packed integers in the file, and made float32 by the function.
  """
  from jax import export as jax_export

  def value(x: Any) -> Any:
    if not isinstance(x, quantized.Quantized):
      return jnp.asarray(x)
    packed = jnp.asarray(quantized.pack(x.codes, x.precision))
    codes = quantized.unpack(packed, x.precision, x.shape, jnp)
    return codes.astype(jnp.float32) * x.scale

  def run(inputs: jax.Array) -> jax.Array:
    return model.apply({path: value(x) for path, x in params.items()}, inputs)

  (batch,) = jax_export.symbolic_shape('b')
  inputs = jax.ShapeDtypeStruct((batch, *model.input_shape), onnx.input_dtype(model))
  limit = jax.config.jax_traceback_in_locations_limit
  try:
    # Else the file would name the folders of this machine, and its size depend on them.
    jax.config.update('jax_traceback_in_locations_limit', 0)
    exported = jax_export.export(jax.jit(run), platforms=('cpu', 'cuda', 'tpu'))(inputs)
    return bytes(exported.serialize())
  except ImportError:
    raise checkpoint_lib.missing('flatbuffers', 'StableHLO') from None
  finally:
    jax.config.update('jax_traceback_in_locations_limit', limit)
