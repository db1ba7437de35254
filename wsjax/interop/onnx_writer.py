"""ONNX graphs from jaxprs: one node, or a few, for each operation of JAX.

The batch axis has any length: JAX traces it as a symbol, and a shape in the graph says -1 for it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from wsjax.interop import quantized

_OPSET, _IR = 18, 9
# Precision -> type of its codes, bits, and the first operator set and file version that have it.
_CODES = {
  'int8': (onnx.TensorProto.INT8, 8, 21, 10),
  'int4': (onnx.TensorProto.INT4, 4, 21, 10),
  'ternary': (onnx.TensorProto.INT2, 2, 25, 13),
}
_NODES = {
  'add': 'Add', 'add_any': 'Add', 'sub': 'Sub', 'mul': 'Mul', 'div': 'Div', 'max': 'Max',
  'min': 'Min', 'pow': 'Pow', 'exp': 'Exp', 'log': 'Log', 'tanh': 'Tanh', 'logistic': 'Sigmoid',
  'sqrt': 'Sqrt', 'neg': 'Neg', 'abs': 'Abs', 'sin': 'Sin', 'cos': 'Cos', 'erf': 'Erf',
  'sign': 'Sign', 'floor': 'Floor', 'gt': 'Greater', 'lt': 'Less', 'ge': 'GreaterOrEqual',
  'le': 'LessOrEqual', 'eq': 'Equal', 'not': 'Not', 'and': 'And', 'or': 'Or',
  'stop_gradient': 'Identity', 'copy': 'Identity', 'copy_p': 'Identity',
}  # fmt: skip
_REDUCTIONS = {'reduce_sum': 'ReduceSum', 'reduce_max': 'ReduceMax', 'reduce_min': 'ReduceMin'}
_INNER = ('jaxpr', 'call_jaxpr', 'fun_jaxpr')
_CALLS = {
  'jit', 'pjit', 'closed_call', 'core_call', 'custom_jvp_call', 'custom_vjp_call', 'checkpoint',
}  # fmt: skip
_LETTERS = 'abcdefghijklmnopqrstuvwxyz'


def write(closed: Any, params: quantized.Params, *, exact: bool = False) -> bytes:
  """The graph of a function of (parameters, inputs).

  Args:
    closed: whose first arguments are the parameters in this order, and the last the inputs.
    params: name -> value.
    exact: see `onnx.to_bytes`.

  Raises:
    ValueError: if an operation has no counterpart in ONNX.
  """
  graph = _Graph()
  inputs = closed.jaxpr.invars[-1]
  names = [graph.parameter(value, name, exact) for name, value in params.items()]
  (output,) = graph.run(closed.jaxpr, closed.consts, [*names, 'inputs'])
  graph.nodes.append(helper.make_node('Identity', [graph.name(output)], ['outputs']))
  made = helper.make_model(
    helper.make_graph(
      graph.nodes,
      'wsjax',
      [_value('inputs', inputs.aval)],
      [_value('outputs', closed.jaxpr.outvars[0].aval)],
      graph.initializers,
    ),
    opset_imports=[helper.make_opsetid('', graph.opset)],
    ir_version=graph.ir,
    producer_name='wsjax',
  )
  onnx.checker.check_model(made)
  return made.SerializeToString(deterministic=True)


class _Graph:
  """Nodes and initializers; a value is the name of a tensor, or a constant as an array."""

  def __init__(self) -> None:
    self.nodes: list[Any] = []
    self.initializers: list[Any] = []
    self._count = 0
    self.opset, self.ir = _OPSET, _IR

  def parameter(self, value: Any, name: str, exact: bool) -> str:
    """A parameter as it is, or its codes and what makes it of them."""
    if not isinstance(value, quantized.Quantized):
      return self.constant(np.asarray(value), name)
    kind, bits, opset, ir = _CODES[value.precision]
    self.opset, self.ir = max(self.opset, opset), max(self.ir, ir)
    per = 8 // bits
    codes = value.codes.reshape(-1).view(np.uint8) & np.uint8(2**bits - 1)
    parts = np.pad(codes, (0, -codes.size % per)).reshape(-1, per)
    packed = (parts << np.arange(0, 8, bits, dtype=np.uint8)).sum(1).astype(np.uint8)
    tensor = helper.make_tensor(name, kind, value.shape, packed.tobytes(), raw=True)
    self.initializers.append(tensor)
    axes = [i for i, length in enumerate(value.scale.shape) if length > 1]
    if exact or len(axes) > 1:
      wide = self.node('Cast', name, to=onnx.TensorProto.FLOAT)
      return self.node('Mul', wide, self.constant(value.scale, f'{name}.scale'))
    if not axes:  # One output: one scale.
      scale = self.constant(value.scale.reshape(()), f'{name}.scale')
      return self.node('DequantizeLinear', name, scale)
    scale = self.constant(value.scale.reshape(-1), f'{name}.scale')
    return self.node('DequantizeLinear', name, scale, axis=axes[0])

  def constant(self, value: np.ndarray, name: str = '') -> str:
    self._count += not name
    name = name or f'constant{self._count}'
    self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
    return name

  def name(self, value: Any) -> str:
    return value if isinstance(value, str) else self.constant(np.asarray(value))

  def node(self, kind: str, *inputs: Any, **attributes: Any) -> str:
    self._count += 1
    name = f'{kind.lower()}{self._count}'
    inputs = [self.name(value) for value in inputs]
    self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
    return name

  def run(self, jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    """Adds the nodes of a jaxpr; returns the values of its outputs."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))

    def read(var: Any) -> Any:
      return np.asarray(var.val, var.aval.dtype) if hasattr(var, 'val') else values[var]

    for eqn in jaxpr.eqns:
      inputs = [read(var) for var in eqn.invars]
      name, inner = eqn.primitive.name, None
      if name in _CALLS:
        inner = next(eqn.params[part] for part in _INNER if part in eqn.params)
      elif name == 'cond' and not isinstance(inputs[0], str):  # Of the platform, for one.
        inner, inputs = eqn.params['branches'][int(inputs[0])], inputs[1:]
      if inner is not None:
        is_closed = hasattr(inner, 'consts')
        outputs = self.run(
          inner.jaxpr if is_closed else inner, inner.consts if is_closed else (), inputs
        )
      elif not any(isinstance(value, str) for value in inputs) and all(
        _is_static(var.aval) for var in eqn.outvars
      ):
        found = eqn.primitive.bind(*inputs, **eqn.params)
        outputs = list(found) if eqn.primitive.multiple_results else [found]
      else:
        outputs = [self._one(eqn, inputs)]
      values.update(zip(eqn.outvars, outputs, strict=False))
    return [read(var) for var in jaxpr.outvars]

  def _one(self, eqn: Any, inputs: list[Any]) -> str:
    name, params = eqn.primitive.name, eqn.params
    shapes = [var.aval.shape for var in eqn.invars]
    out = eqn.outvars[0].aval
    if name == 'and' and out.dtype != bool:
      return self.node('BitwiseAnd', *inputs)
    if name in _NODES:
      return self.node(_NODES[name], *inputs)
    if name in _REDUCTIONS:
      return self.node(_REDUCTIONS[name], inputs[0], np.array(params['axes']), keepdims=0)
    match name:
      case 'rsqrt':
        return self.node('Reciprocal', self.node('Sqrt', *inputs))
      case 'square':
        return self.node('Mul', inputs[0], inputs[0])
      case 'ne':
        return self.node('Not', self.node('Equal', *inputs))
      case 'round' if params['rounding_method'] == 1:  # To the even neighbour.
        return self.node('Round', *inputs)
      case 'integer_pow':
        return self.node('Pow', inputs[0], np.array(params['y'], out.dtype))
      case 'erfc':
        return self.node('Sub', np.array(1, out.dtype), self.node('Erf', *inputs))
      case 'exp2':
        return self.node('Pow', np.array(2, out.dtype), *inputs)
      case 'log1p':
        return self.node('Log', self.node('Add', inputs[0], np.array(1, out.dtype)))
      case 'expm1':
        return self.node('Sub', self.node('Exp', *inputs), np.array(1, out.dtype))
      case 'clamp':
        return self.node('Min', self.node('Max', inputs[1], inputs[0]), inputs[2])
      case 'select_n' if len(inputs) == 3 and eqn.invars[0].aval.dtype == bool:
        return self.node('Where', inputs[0], inputs[2], inputs[1])
      case 'convert_element_type':
        return self.node('Cast', inputs[0], to=helper.np_dtype_to_tensor_dtype(out.dtype))
      case 'reshape' | 'squeeze' | 'expand_dims':
        return self.node('Reshape', inputs[0], _shape(out.shape))
      case 'transpose':
        return self.node('Transpose', inputs[0], perm=list(params['permutation']))
      case 'broadcast_in_dim':
        aligned = [1] * len(out.shape)
        for size, dim in zip(shapes[0], params['broadcast_dimensions'], strict=True):
          aligned[dim] = size
        # 1 keeps the batch axis where there is one; operators spread it where there is none.
        wide = [size if isinstance(size, int) else 1 for size in out.shape]
        return self.node('Expand', self.node('Reshape', inputs[0], _shape(aligned)), np.array(wide))
      case 'concatenate':
        return self.node('Concat', *inputs, axis=params['dimension'])
      case 'slice':
        last = np.iinfo(np.int64).max
        stops = [n if isinstance(n, int) else last for n in params['limit_indices']]
        steps = params['strides'] or [1] * len(stops)
        starts = np.array(params['start_indices'])
        return self.node(
          'Slice', inputs[0], starts, np.array(stops), np.arange(len(stops)), np.array(steps)
        )
      case 'gather' if not isinstance(inputs[1], str):
        return self._gather(inputs[0], np.asarray(inputs[1]), params, out)
      case 'pad' if all(min(edge) >= 0 == edge[2] for edge in params['padding_config']):
        lows, highs, _ = zip(*params['padding_config'], strict=True)
        return self.node('Pad', inputs[0], np.array([*lows, *highs]), inputs[1])
      case 'dot_general':
        return self._product(inputs, shapes, params['dimension_numbers'])
      case 'conv_general_dilated':
        return self._convolution(inputs, params)
      case 'reduce_window_sum' | 'reduce_window_max':
        return self._window(name, inputs[0], params)
    raise ValueError(_refusal(name))

  def _gather(self, value: Any, places: np.ndarray, params: Mapping[str, Any], out: Any) -> str:
    """Indexing by constants: a slice, or a list of places along one axis."""
    numbers = params['dimension_numbers']
    dims, gone = numbers.start_index_map, numbers.collapsed_slice_dims
    if places.ndim == 1 and not numbers.operand_batching_dims:
      sizes = [params['slice_sizes'][dim] for dim in dims]
      stops = places + np.array(sizes)
      made = self.node(
        'Slice', value, places.astype(np.int64), stops.astype(np.int64), np.array(dims)
      )
      return self.node('Reshape', made, _shape(out.shape)) if gone else made
    if places.ndim == 2 and dims == gone and len(dims) == 1 and dims[0] not in numbers.offset_dims:
      return self.node('Gather', value, places[:, 0].astype(np.int64), axis=dims[0])
    raise ValueError(_refusal('indexing of this kind'))

  def _product(self, inputs: list[Any], shapes: Sequence[Any], numbers: Any) -> str:
    (contract, batch) = numbers
    letters = iter(_LETTERS)
    names = [[''] * len(shape) for shape in shapes]
    for pairs in (batch, contract):
      for a, b in zip(*pairs, strict=True):
        names[0][a] = names[1][b] = next(letters)
    names = [[letter or next(letters) for letter in side] for side in names]
    free = [
      [letter for dim, letter in enumerate(side) if dim not in (*batch[i], *contract[i])]
      for i, side in enumerate(names)
    ]
    out = [names[0][dim] for dim in batch[0]] + free[0] + free[1]
    if len(shapes[0]) == len(shapes[1]) == 2 and numbers == (((1,), (0,)), ((), ())):
      return self.node('MatMul', *inputs)
    equation = f'{"".join(names[0])},{"".join(names[1])}->{"".join(out)}'
    return self.node('Einsum', *inputs, equation=equation)

  def _convolution(self, inputs: list[Any], params: Mapping[str, Any]) -> str:
    numbers = params['dimension_numbers']
    if params['batch_group_count'] != 1 or set(params['lhs_dilation']) != {1}:
      raise ValueError(_refusal('a transposed convolution'))
    image = self.node('Transpose', inputs[0], perm=list(numbers.lhs_spec))
    kernel = self.node('Transpose', inputs[1], perm=list(numbers.rhs_spec))
    lows, highs = zip(*params['padding'], strict=True)
    made = self.node(
      'Conv', image, kernel, pads=[*lows, *highs], strides=list(params['window_strides']),
      dilations=list(params['rhs_dilation']), group=params['feature_group_count'],
    )  # fmt: skip
    return self.node('Transpose', made, perm=np.argsort(numbers.out_spec).tolist())

  def _window(self, name: str, value: Any, params: Mapping[str, Any]) -> str:
    window = params['window_dimensions']
    if len(window) != 4 or window[0] != 1 or window[3] != 1 or set(params['base_dilation']) != {1}:
      raise ValueError(_refusal(f'{name} with a window {window}'))
    lows, highs = zip(*params['padding'][1:3], strict=True)
    common = {
      'kernel_shape': list(window[1:3]),
      'strides': list(params['window_strides'][1:3]),
      'pads': [*lows, *highs],
    }
    image = self.node('Transpose', value, perm=[0, 3, 1, 2])
    if name == 'reduce_window_max':
      made = self.node('MaxPool', image, **common)
    else:
      means = self.node('AveragePool', image, count_include_pad=1, **common)
      made = self.node('Mul', means, np.array(math.prod(window), np.float32))
    return self.node('Transpose', made, perm=[0, 2, 3, 1])


def _refusal(what: str) -> str:
  return f'The model has {what}, which is not written to ONNX here; use StableHLO.'


def _is_static(aval: Any) -> bool:
  return all(isinstance(size, int) for size in aval.shape)


def _shape(shape: Sequence[Any]) -> np.ndarray:
  """A shape for Reshape: -1 for the batch axis."""
  return np.array([size if isinstance(size, int) else -1 for size in shape], np.int64)


def _value(name: str, aval: Any) -> Any:
  shape = [size if isinstance(size, int) else 'b' for size in aval.shape]
  return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(aval.dtype), shape)
