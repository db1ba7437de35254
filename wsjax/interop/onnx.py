"""ONNX: initializers in, and any model whose operations ONNX has out.

A graph says how each initializer is used, and so its layout: a weight of Gemm with transB is [out,
in], one of MatMul is [in, out]. Where onnxruntime is installed the graph is run, and an import is
compared with it. A model is written from its jaxpr, one node for each operation.

Source: https://onnx.ai/onnx/operators, operator set 18; with quantized weights 21, and 25 for 2
bits.
"""

import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import files
from wsjax.interop import checkpoint, quantized
from wsjax.interop import layout as layout_lib
from wsjax.models import model as model_lib

_ROLES = {
  'Gemm': {1: 'weight', 2: 'bias'},
  'Conv': {1: 'weight', 2: 'bias'},
  'ConvTranspose': {1: 'weight', 2: 'bias'},
  'BatchNormalization': {1: 'weight', 2: 'bias', 3: 'running_mean', 4: 'running_var'},
  'LayerNormalization': {1: 'weight', 2: 'bias'},
  'MatMul': {0: 'weight', 1: 'weight'},
  'Gather': {0: 'embedding'},
}


def read(path: pathlib.Path, id: str) -> Iterator[checkpoint.Checkpoint]:
  """Reads the initializers of a graph, named by the layers that use them.

  Raises:
    ValueError: naming the file, if it is not ONNX, keeps its weights elsewhere, or ONNX is not
      installed.
  """
  try:
    import onnx
    from onnx import numpy_helper
  except ImportError:
    raise checkpoint.missing('onnx', f'{path}') from None
  content = files.read_bytes(path)
  try:
    made = onnx.load_model_from_string(content)
    graph = made.graph
    arrays = {}
    for tensor in graph.initializer:
      if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise ValueError('its weights are in another file; save it with them inside')
      arrays[tensor.name] = np.array(numpy_helper.to_array(tensor))
    if made.producer_name == 'wsjax':  # By the names of the model.
      tensors = {k: v for k, v in arrays.items() if not k.startswith('constant')}
      layouts: layout_lib.Layout = None
    else:
      tensors, layouts = _layers(graph.node, arrays)
  except Exception as error:  # Whatever protobuf raises.
    raise ValueError(f'{path} is not ONNX that can be read: {error}.') from error
  if not tensors:
    raise ValueError(f'{path} holds no weights of layers.')
  yield checkpoint.Checkpoint(id, tensors, layouts, str(path), run=_runner(content))


def _layers(
  nodes: Sequence[Any], arrays: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  """Weights by layers in the order of the graph, and the layout of each."""
  tensors: dict[str, np.ndarray] = {}
  layouts: dict[str, str] = {}
  used: dict[str, str] = {}  # Initializer -> its name here.
  transposed: dict[str, str] = {}  # Output of a Transpose -> the initializer behind it.
  made_by: dict[str, int] = {}  # Output of a product -> its layer.
  count = 0
  is_named = all(layout_lib.has_role(name) for name, x in arrays.items() if x.ndim > 1)

  def take(source: str, name: str, layout: str) -> None:
    own = source if is_named else name
    if source not in used and own not in tensors:
      used[source] = own
      tensors[own], layouts[own] = arrays[source], layout

  for node in nodes:
    inputs = list(node.input)
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type == 'Transpose' and inputs[0] in arrays and arrays[inputs[0]].ndim == 2:
      transposed[node.output[0]] = inputs[0]
    elif node.op_type in ('Identity', 'Cast') and inputs[0] in made_by:
      made_by[node.output[0]] = made_by[inputs[0]]
    elif node.op_type in ('Add', 'Einsum') or node.op_type in _ROLES:
      weights = [transposed.get(name, name) for name in inputs]
      found = [i for i, name in enumerate(weights) if name in arrays and arrays[name].ndim]
      if node.op_type == 'Add':  # The bias of a product before it.
        layer = next((made_by[name] for name in inputs if name in made_by), None)
        if found and layer is not None:
          take(weights[found[0]], f'layer{layer}.bias', 'same')
        continue
      if not found:
        continue
      made_by[node.output[0]] = count
      for i in found:
        role = _ROLES.get(node.op_type, {}).get(i, 'weight' if node.op_type == 'Einsum' else None)
        if role is None:
          continue
        # Axis 1 is summed over in [out, in], axis 0 in [in, out].
        summed = int(i == 0)
        if node.op_type == 'Einsum':
          sides = attributes['equation'].s.decode().replace('->', ',').split(',')
          summed = int(len(sides) == 3 and sides[i][:1] in sides[2])
        turned = node.op_type == 'Gemm' and 'transB' in attributes and attributes['transB'].i == 1
        is_torch = 'Conv' in node.op_type or bool(summed) != ((inputs[i] in transposed) or turned)
        layout = 'torch' if is_torch else 'jax'
        kind = 'convtranspose' if node.op_type == 'ConvTranspose' else 'layer'
        take(weights[i], f'{kind}{count}.{role}', layout)
      count += 1
  return tensors, layouts


def _runner(content: bytes) -> Callable[[np.ndarray], np.ndarray] | None:
  """A function that runs a graph with one input and output; None without onnxruntime."""
  try:
    import onnxruntime
  except ImportError:
    return None

  def run(inputs: np.ndarray) -> np.ndarray:
    try:
      session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
      (wanted,) = session.get_inputs()
      shape = wanted.shape[1:]
      if len(shape) == 3 and tuple(shape) != inputs.shape[1:]:
        inputs = inputs.transpose(0, 3, 1, 2)  # Channels first, as PyTorch has them.
      size = wanted.shape[0] if isinstance(wanted.shape[0], int) else len(inputs)
      rows = [
        session.run(None, {wanted.name: np.resize(inputs[i : i + size], (size, *inputs.shape[1:]))})
        for i in range(0, len(inputs), size)
      ]
    except Exception as error:  # Of the runtime.
      raise ValueError(f'its graph cannot be run: {str(error).splitlines()[0]}') from error
    return np.concatenate([np.asarray(row[0]) for row in rows])[: len(inputs)]

  return run


def input_dtype(model: model_lib.Model) -> Any:
  """The dtype of the model's inputs."""
  return jnp.dtype(getattr(getattr(model, 'example', None), 'dtype', np.float32))


def to_bytes(model: model_lib.Model, params: quantized.Params, *, exact: bool = False) -> bytes:
  """The graph of one network: 'inputs' [b, ...] of any b -> 'outputs'.

  Args:
    model: of the network.
    params: of the network; quantized ones stay integers in the graph.
    exact: whether quantized weights are written as Cast and Mul, which are computed once, when the
      file is loaded. Behind DequantizeLinear, as they are written else, weights stay integers, and
      where a MatMul follows, onnxruntime may round what they are multiplied with to 8 bits, unless
      its session option session.disable_quant_qdq is 1.

  Raises:
    ValueError: if an operation of the model has no counterpart, or ONNX is not installed.
  """
  try:
    import onnx  # noqa: F401
  except ImportError:
    raise checkpoint.missing('onnx', 'Export to ONNX') from None
  from jax import export

  (batch,) = export.symbolic_shape('b')
  inputs = jax.ShapeDtypeStruct((batch, *model.input_shape), input_dtype(model))
  structs = {path: jax.ShapeDtypeStruct(x.shape, x.dtype) for path, x in params.items()}
  closed = jax.make_jaxpr(model.apply)(structs, inputs)
  names = sorted(structs)  # The order in which JAX flattens a dict.
  from wsjax.interop import onnx_writer  # Imports ONNX.

  return onnx_writer.write(closed, {name: params[name] for name in names}, exact=exact)
