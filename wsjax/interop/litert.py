"""Networks as LiteRT models (.tflite), for phones and embedded devices, without TensorFlow.

JAX lowers a network to StableHLO, which the converter of Google AI Edge compiles.

Source: `litert_converter` as litert-torch uses it, https://github.com/google-ai-edge/litert-torch.
"""

import os
import re
from typing import Any

import jax

from wsjax import typing
from wsjax.interop import checkpoint as checkpoint_lib
from wsjax.interop import onnx
from wsjax.models import model as model_lib

SIGNATURE, INPUTS, OUTPUTS = 'serving_default', 'inputs', 'outputs'


def to_bytes(model: model_lib.Model, params: typing.Params) -> bytes:
  """The network as a model of signature `serving_default`: inputs [b, ...] -> outputs.

  The batch is of any size; of one input where the converter needs to know it, as for pooling.

  Raises:
    ValueError: if the converter is not installed, or LiteRT lacks an operation of the network.
  """
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')  # It counts operations in the log.
  try:
    return _convert(_stablehlo(model, params, None))
  except _CannotConvert:
    try:
      return _convert(_stablehlo(model, params, 1))
    except _CannotConvert as error:
      raise ValueError(f'{model.name} cannot be a LiteRT model: {error}.') from error


class _CannotConvert(Exception):
  """The converter has no way for an operation."""


def _convert(text: str) -> bytes:
  """Compiles StableHLO."""
  try:
    from litert_converter import converter_api_ext as converter
    from litert_converter.mlir import ir, passmanager
  except ImportError:
    raise checkpoint_lib.missing('litert-converter', 'LiteRT', extra='litert') from None
  with ir.Context() as context:
    converter.prepare_mlir_context(context)
    try:
      module = ir.Module.parse(text)
      converter.set_signature(module.operation, SIGNATURE, [INPUTS], [OUTPUTS])
      passes = passmanager.PassManager()
      converter.run_convert_to_tfl_passes(module, passes, converter.ConvertToTFLConfig())
      passes.run(module.operation)
      return converter.export_flatbuffer_to_bytes(module.operation)
    except (ValueError, RuntimeError, ir.MLIRError) as error:
      raise _CannotConvert(_reason(error)) from error


def _stablehlo(model: model_lib.Model, params: typing.Params, batch: int | None) -> str:
  """The network in the text form of StableHLO, for a batch of any size or of a given one."""
  from jax import export

  size = batch or export.symbolic_shape('b')[0]
  inputs = jax.ShapeDtypeStruct((size, *model.input_shape), onnx.input_dtype(model))
  # Lowered as for a device that is no CPU: our sine for CPUs works on bits, which LiteRT cannot.
  run = jax.jit(lambda x: model.apply(params, x))
  limit = jax.config.jax_traceback_in_locations_limit
  try:
    # Else the file would name the folders of this machine.
    jax.config.update('jax_traceback_in_locations_limit', 0)
    return export.export(run, platforms=('tpu',))(inputs).mlir_module()
  finally:
    jax.config.update('jax_traceback_in_locations_limit', limit)


def _reason(error: Any) -> str:
  """One sentence of the errors of the converter, which are pages."""
  text = str(error)
  if missing := re.search(r'ops: (.*)', text):
    return f'LiteRT has no {missing[1]}'
  return ' '.join(text.split())[:200].rstrip('.:') or type(error).__name__
