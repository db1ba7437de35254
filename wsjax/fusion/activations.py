"""What the layers of a network read, for any JAX model: its trace is run with the kernels watched.

A layer is a product or a convolution of one parameter, as it is or transposed, with what depends on
the inputs. Its features are the numbers that are multiplied with the parameter, one row for each
position at which it is used; a bias belongs to it where it is added to the product. Layers inside
loops and branches, grouped convolutions and products of more than these two are not seen.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from wsjax import typing
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.inference import lower

# Operations that keep the numbers of their operand.
_SAME = {'convert_element_type', 'copy', 'stop_gradient', 'pvary', 'name', 'optimization_barrier'}


@dataclasses.dataclass(frozen=True)
class Layer:
  """A layer, as it stands in the program.

  Attributes:
    kernel: path of its parameter.
    inputs: axes of the kernel that are summed over, in the order of the features; of length 1
      perhaps not all.
    bias: path of the parameter that is added to the product; None without one.
  """

  kernel: str
  inputs: tuple[int, ...]
  bias: str | None = None

  def matrix(self, kernel: Any) -> Any:
    """The kernel as [features, outputs]."""
    rest = [i for i in range(kernel.ndim) if i not in self.inputs]
    moved = kernel.transpose(*self.inputs, *rest)
    return moved.reshape(math.prod(kernel.shape[i] for i in self.inputs), -1)

  def kernel_of(self, matrix: Any, shape: tuple[int, ...]) -> Any:
    """Inverts `matrix`."""
    rest = [i for i in range(len(shape)) if i not in self.inputs]
    order = [*self.inputs, *rest]
    moved = matrix.reshape([shape[i] for i in order])
    return moved.transpose([order.index(i) for i in range(len(shape))])


@dataclasses.dataclass(eq=False)
class _Watched:
  """Where a value comes from: a parameter with its axes reordered, or the product of a layer.

  Each axis is some axes of the parameter, joined in that order; none for an axis of length 1.
  """

  path: str
  axes: tuple[tuple[int, ...], ...] = ()
  is_product: bool = False


class _Run:
  """Runs a trace; collects layers and their features."""

  def __init__(self):
    self.layers: dict[str, Layer] = {}
    self.features: dict[str, list[Any]] = {}

  def call(
    self, jaxpr: Any, values: list[Any], sources: list[_Watched | None]
  ) -> tuple[list[Any], list[_Watched | None]]:
    """Runs a jaxpr on values, of which some are watched."""
    inner = getattr(jaxpr, 'jaxpr', jaxpr)
    env: dict[Any, Any] = dict(zip(inner.constvars, getattr(jaxpr, 'consts', ()), strict=False))
    env.update(zip(inner.invars, values, strict=True))
    watched = {v: s for v, s in zip(inner.invars, sources, strict=True) if s is not None}

    def read(atom: Any) -> Any:
      return atom.val if isinstance(atom, core.Literal) else env[atom]

    def source(atom: Any) -> _Watched | None:
      return None if isinstance(atom, core.Literal) else watched.get(atom)

    for eqn in inner.eqns:
      ins, marks = [read(a) for a in eqn.invars], [source(a) for a in eqn.invars]
      name = eqn.primitive.name
      if name in lower.CALLS and lower.CALLS[name] in eqn.params:
        outs, found = self.call(eqn.params[lower.CALLS[name]], ins, marks)
      else:
        bound = eqn.primitive.get_bind_params(eqn.params)
        functions, options = bound if isinstance(bound, tuple) else ((), bound)  # Until jax 0.9.
        outs = eqn.primitive.bind(*functions, *ins, **options)
        outs = outs if eqn.primitive.multiple_results else [outs]
        found = [None] * len(outs)
        if len(outs) == 1:
          found = [self._mark(name, eqn.params, ins, marks, outs[0])]
      env.update(zip(eqn.outvars, outs, strict=True))
      watched.update({v: s for v, s in zip(eqn.outvars, found, strict=True) if s is not None})
    return [read(a) for a in inner.outvars], [source(a) for a in inner.outvars]

  def _mark(
    self, name: str, params: Mapping[str, Any], ins: list[Any], marks: list, out: Any
  ) -> _Watched | None:
    """What is watched of a result."""
    if name in ('dot_general', 'conv_general_dilated'):
      return self._layer(name, params, ins, marks)
    if name in ('add', 'add_any') and None not in marks:
      return self._bias(marks, out)
    mark = marks[0] if marks else None
    if mark is None or (name in ('add', 'add_any')):
      return None
    if name in _SAME or (mark.is_product and name in ('transpose', 'reshape', 'broadcast_in_dim')):
      return mark
    if name == 'transpose':
      axes = tuple(mark.axes[i] for i in params['permutation'])
    elif name == 'broadcast_in_dim':
      spread: list[tuple[int, ...]] = [()] * out.ndim
      for dim, axis in zip(params['broadcast_dimensions'], mark.axes, strict=True):
        spread[dim] = axis
      axes = tuple(spread)
    elif name in ('reshape', 'squeeze', 'expand_dims'):
      axes = _joined(mark.axes, ins[0].shape, out.shape)
      if axes is None:
        return None
    else:
      return None
    return _Watched(mark.path, axes)

  def _bias(self, marks: list, out: Any) -> _Watched | None:
    """A parameter that is added to the product of a layer."""
    products = [m for m in marks if m.is_product]
    biases = [m for m in marks if not m.is_product]
    if len(products) != 1 or products[0].path not in self.layers:
      return None
    layer = self.layers[products[0].path]
    if layer.bias is None:
      self.layers[layer.kernel] = dataclasses.replace(layer, bias=biases[0].path)
    return products[0]

  def _layer(
    self, name: str, params: Mapping[str, Any], ins: list[Any], marks: list
  ) -> _Watched | None:
    """Collects what a kernel is multiplied with."""
    at = [i for i, m in enumerate(marks) if m is not None and not m.is_product]
    if len(at) != 1:
      return None
    side = at[0]
    mark, other = marks[side], ins[1 - side]
    if name == 'dot_general':
      contract, batch = params['dimension_numbers']
      if batch[side]:
        return None
      axes = [mark.axes[i] for i in contract[side]]
      if () in axes:
        return None
      order = sorted(range(len(axes)), key=lambda i: axes[i])
      dims = [contract[1 - side][i] for i in order]
      rest = [i for i in range(other.ndim) if i not in dims]
      moved = jnp.transpose(other, [*rest, *dims])
      rows = moved.reshape(math.prod(other.shape[i] for i in rest), -1)
      layer = Layer(mark.path, tuple(dim for i in order for dim in axes[i]))
    else:
      if side != 1 or params['feature_group_count'] != 1 or params['batch_group_count'] != 1:
        return None
      spec = params['dimension_numbers']
      _, channel, *window = spec.rhs_spec
      axes = [mark.axes[i] for i in (channel, *window)]
      if any(len(axis) != 1 for axis in axes):
        return None
      patches = jax.lax.conv_general_dilated_patches(
        other,
        tuple(ins[1].shape[i] for i in window),
        params['window_strides'],
        params['padding'],
        lhs_dilation=params['lhs_dilation'],
        rhs_dilation=params['rhs_dilation'],
        dimension_numbers=spec,
      )
      rows = jnp.moveaxis(patches, spec.out_spec[1], -1)
      rows = rows.reshape(-1, rows.shape[-1])
      layer = Layer(mark.path, tuple(dim for (dim,) in axes))
    self.layers.setdefault(mark.path, layer)
    self.features.setdefault(mark.path, []).append(rows)
    return _Watched(mark.path, is_product=True)


def _joined(
  axes: tuple[tuple[int, ...], ...], old: tuple[int, ...], new: tuple[int, ...]
) -> tuple[tuple[int, ...], ...] | None:
  """The axes of a reshaped value; None if one of them is split."""
  rest = [(axis, size) for axis, size in zip(axes, old, strict=True) if size != 1]
  made = []
  for length in new:
    found, size = (), 1
    while size < length and rest:
      axis, part = rest.pop(0)
      found, size = found + axis, size * part
    if size != length:
      return None
    made.append(found)
  return None if rest else tuple(made)


def layers(apply: Callable[..., Any], params: Mapping[str, Any], inputs: Any) -> list[Layer]:
  """The layers of a function of parameters and inputs, in the order in which they are computed.

  Arguments are those of `features`; shapes and dtypes are enough.
  """
  run = _Run()
  jax.eval_shape(lambda p, x: _run(run, apply, p, x), params, inputs)
  return list(run.layers.values())


def features(apply: Callable[..., Any], params: typing.Params, inputs: Any) -> dict[str, jax.Array]:
  """What every layer reads, path of its kernel -> [rows, features]; traceable.

  Args:
    apply: (params, inputs [b, ...]) -> outputs.
    params: of one network.
    inputs: a batch.
  """
  run = _Run()
  _run(run, apply, params, inputs)
  return {path: jnp.concatenate(found) for path, found in run.features.items()}


def _run(run: _Run, apply: Callable[..., Any], params: Mapping[str, Any], inputs: Any) -> Any:
  paths = sorted(params)
  closed = jax.make_jaxpr(lambda values, x: apply(dict(zip(paths, values, strict=True)), x))(
    [params[path] for path in paths], inputs
  )
  values = [*(jnp.asarray(params[path]) for path in paths), *jax.tree.leaves(inputs)]
  sources: list[_Watched | None] = [
    _Watched(path, tuple((i,) for i in range(np.ndim(params[path])))) for path in paths
  ]
  sources += [None] * (len(values) - len(paths))
  return run.call(closed, values, sources)[0]


@functools.partial(jax.jit, static_argnums=0)
def stacked_features(
  apply: Callable[..., Any], params: typing.StackedParams, inputs: Any
) -> dict[str, jax.Array]:
  """`features` of n networks on the same inputs: path -> [n, rows, features]."""
  return jax.vmap(lambda net: features(apply, net, inputs))(params)


def of_units(
  found: list[Layer], features: Mapping[str, Any], params: typing.StackedParams, spec: spec_lib.Spec
) -> dict[str, np.ndarray]:
  """Activations of the units of every group of a spec, group id -> [n, units, samples].

  They are read where a later layer reads them, and where none does, before the non-linearity. Of a
  convolution the middle of the window is taken.

  Args:
    found: layers of the model.
    features: of `stacked_features`.
    params: of the n networks.
    spec: of the model.

  Raises:
    ValueError: naming a group whose activations are not seen.
  """
  leaves = {leaf.path: leaf for leaf in spec.leaves}
  made: dict[str, list[np.ndarray]] = {group.id: [] for group in spec.groups}
  before: dict[str, list[np.ndarray]] = {group.id: [] for group in spec.groups}
  for layer in found:
    leaf, rows = leaves[layer.kernel], np.asarray(features[layer.kernel])
    lengths = [leaf.shape[i] for i in layer.inputs]
    shaped = rows.reshape(*rows.shape[:2], *lengths)
    for place, dim in enumerate(layer.inputs):
      axis = leaf.axes[dim]
      if axis.group is not None and axis.power < 0:
        middle = tuple(slice(None) if i == place else lengths[i] // 2 for i in range(len(lengths)))
        made[axis.group].append(_by_unit(shaped[(slice(None), slice(None), *middle)], axis, spec))
    outputs = [i for i, n in enumerate(leaf.shape) if i not in layer.inputs and n > 1]
    if len(outputs) == 1 and leaf.axes[outputs[0]].group is not None:
      axis = leaf.axes[outputs[0]]
      kernels = np.asarray(params[layer.kernel])
      product = np.stack([x @ layer.matrix(k) for x, k in zip(rows, kernels, strict=True)])
      if layer.bias is not None:
        product += np.asarray(params[layer.bias]).reshape(len(product), 1, -1)
      before[axis.group].append(_by_unit(product, axis, spec))
  for group in spec.groups:
    made[group.id] = made[group.id] or before[group.id]
    if not made[group.id]:
      raise ValueError(
        f'The activations of the units {group.id!r} are not seen in this model; align by weights.'
      )
  return {id: np.concatenate(parts, axis=2) for id, parts in made.items()}


def _by_unit(values: np.ndarray, axis: spec_lib.Axis, spec: spec_lib.Spec) -> np.ndarray:
  """[n, units, samples] of [n, rows, outer * units * inner]."""
  size = spec.group(axis.group).size
  split = values.reshape(*values.shape[:2], axis.outer, size, axis.inner)
  return np.moveaxis(split, 3, 1).reshape(len(values), size, -1)
