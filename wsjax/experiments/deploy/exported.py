"""Files of one network for a device: written, run as they are, and measured."""

import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

from wsjax import files
from wsjax.experiments.deploy import measure as measure_lib
from wsjax.interop import checkpoint, exporting, onnx, quantized
from wsjax.models import model as model_lib

# Format -> suffix. Those of safetensors are packed weights, which wsjax reads.
FORMATS = {'onnx': '.onnx', 'stablehlo': '.stablehlo', 'safetensors': '.safetensors'}
TIMED = ('onnx', 'stablehlo')
_ROWS = 4_096  # Inputs per call.


def write(
  path: pathlib.Path,
  format: str,
  model: model_lib.Model,
  params: quantized.Params,
  *,
  exact: bool = False,
) -> int:
  """Writes a network in which parameters may be quantized; returns the bytes of the file.

  `exact` is of ONNX, where it makes weights float32 once, when the file is loaded; see
  `onnx.to_bytes`.

  Raises:
    ValueError: for an unknown format, or a model that it cannot hold.
  """
  match format:
    case 'onnx':
      files.replace(path, onnx.to_bytes(model, params, exact=exact))
    case 'stablehlo':
      files.replace(path, exporting.stablehlo(model, params))
    case 'safetensors':
      quantized.write(path, params)
    case _:
      raise ValueError(f'format is {format!r}; allowed: {", ".join(FORMATS)}.')
  return path.stat().st_size


def shaped(model: model_lib.Model, inputs: Any) -> np.ndarray:
  """Inputs [n, ...] as a file of the model takes them: images are flattened for a dense network.

  Raises:
    ValueError: if they have another number of values.
  """
  inputs = np.asarray(inputs)
  if math.prod(inputs.shape[1:]) != math.prod(model.input_shape):
    raise ValueError(f'Inputs have shape {inputs.shape}; the model takes {model.input_shape}.')
  return inputs.reshape(len(inputs), *model.input_shape)


def run(
  path: pathlib.Path, format: str, model: model_lib.Model, inputs: Any, *, exact: bool = False
) -> np.ndarray:
  """What a file computes of inputs [n, ...].

  `exact` keeps onnxruntime from rounding activations; see `onnx.to_bytes`.
  """
  inputs = shaped(model, inputs)
  if format == 'onnx':
    try:
      import onnxruntime
    except ImportError:
      raise checkpoint.missing('onnxruntime', 'Running ONNX') from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry('session.disable_quant_qdq', str(int(exact)))
    session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    call = lambda x: session.run(None, {'inputs': x})[0]  # noqa: E731
  elif format == 'stablehlo':
    import jax
    from jax import export

    call = jax.jit(export.deserialize(bytearray(path.read_bytes())).call)
  else:
    params = quantized.read(path)
    call = lambda x: model.apply(params, x)  # noqa: E731
  parts = [inputs[i : i + _ROWS] for i in range(0, len(inputs), _ROWS)]
  return np.concatenate([np.asarray(call(part)) for part in parts])


def verify(
  path: pathlib.Path,
  format: str,
  model: model_lib.Model,
  params: quantized.Params,
  inputs: Any,
  outputs: np.ndarray | None = None,
) -> float:
  """Runs a file and compares it with the model; returns the largest difference of an output.

  `outputs` are those of `run` at the inputs, which are computed again only where the runtime rounds
  activations.

  Raises:
    ValueError: if an output differs by more than float32 explains.
  """
  expected = np.asarray(model.apply(quantized.values(params), shaped(model, inputs)))
  found = outputs
  if found is None or format == 'onnx':
    found = run(path, format, model, inputs, exact=True)
  difference = float(np.abs(found - expected).max(initial=0))
  if not difference <= 1e-4 * max(1.0, float(np.abs(expected).max(initial=0))):
    raise ValueError(
      f'{path} computes something else than the model: an output differs by {difference:.3g}.'
    )
  return difference


def measure(
  path: pathlib.Path, format: str, model: model_lib.Model, inputs: Any, *, seconds: float = 1.0
) -> dict[str, Any]:
  """Median latency of one input on one thread, and peak memory above the runtime; see `measure`.

  Returns:
    'microseconds', the median in the quietest of 5 blocks, and 'peak_bytes'.

  Raises:
    ValueError: for a format that does not run by itself, or a file that does not run.
  """
  if format not in TIMED:
    raise ValueError(f'{format} holds weights; latency is measured of {", ".join(TIMED)}.')
  with tempfile.TemporaryDirectory() as folder:
    data = pathlib.Path(folder) / 'inputs.npy'
    np.save(data, shaped(model, inputs[:1]))
    done = subprocess.run(
      [sys.executable, measure_lib.__file__, str(path), format, str(data), str(seconds)],
      capture_output=True, text=True, check=False,
      env={
        **os.environ, 'JAX_PLATFORMS': 'cpu', 'OMP_NUM_THREADS': '1',
        'XLA_FLAGS': '--xla_cpu_multi_thread_eigen=false',
      },
    )  # fmt: skip
  try:
    return json.loads(done.stdout)
  except json.JSONDecodeError:
    last = (done.stderr.strip().splitlines() or ['no output'])[-1]
    raise ValueError(f'{path} does not run: {last[:200]}') from None
