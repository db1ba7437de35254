"""Writes a jaxpr out as one flat program, without dead code.

What does not reach an output is left out, so that it pins nothing.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from wsjax import sine
from wsjax.symmetry.inference import program as program_lib

Op = program_lib.Op
Program = program_lib.Program
Value = program_lib.Value

# Name of the parameter with the jaxpr that a primitive calls.
CALLS = {
  **dict.fromkeys(('jit', 'pjit', 'remat', 'remat2', 'checkpoint', 'composite'), 'jaxpr'),
  **dict.fromkeys(('closed_call', 'core_call', 'custom_jvp_call', 'custom_vjp_call'), 'call_jaxpr'),
  'custom_vjp_call_jaxpr': 'fun_jaxpr',
}
# A known number stays known through these.
_KEEPS_NUMBER = {
  'broadcast_in_dim', 'convert_element_type', 'reshape', 'copy', 'squeeze',
  'transpose', 'stop_gradient', 'pvary', 'tile',
}  # fmt: skip


def lower(closed: core.ClosedJaxpr, num_leaves: int) -> Program:
  """The program of a jaxpr, whose first `num_leaves` arguments are the parameters."""
  variables = closed.jaxpr.invars
  ins = [
    Value(
      tuple(v.aval.shape),
      v.aval.dtype,
      source='leaf' if i < num_leaves else 'input',
      index=i if i < num_leaves else i - num_leaves,
    )
    for i, v in enumerate(variables)
  ]
  writer = _Writer()
  outs = writer.call(closed, ins)
  return Program(ins[:num_leaves], ins[num_leaves:], outs, alive(writer.ops, outs))


def alive(ops: Sequence[Op], outputs: Sequence[Value]) -> list[Op]:
  """The operations that outputs depend on, in the same order."""
  makers = {id(out): op for op in ops for out in op.outs}
  alive, todo = set(), list(outputs)
  while todo:
    op = makers.get(id(todo.pop()))
    if op is not None and id(op) not in alive:
      alive.add(id(op))
      todo += op.ins + op.needs
  return [
    op
    for op in ops
    if id(op) in alive or (op.name == 'close' and id(makers[id(op.ins[0])]) in alive)
  ]


class Rewriter:
  """Copies the operations of a program; subclasses write some of them in another way.

  Attributes:
    ops: that were written.
    changed: whether any is not a copy.
  """

  def __init__(self, numbers: Mapping[int, int]):
    self.ops: list[Op] = []
    self.changed = False
    self._numbers = numbers  # Id of a value -> its number.

  def write(self, op: Op) -> None:
    """Copies one operation."""
    self.ops.append(op)

  def rewrite(self, program: program_lib.Program) -> bool:
    """Writes all operations; returns whether any was changed."""
    for op in program.ops:
      self.write(op)
    return self.changed


class _Writer:
  """Collects the operations of a jaxpr and of all that it calls."""

  def __init__(self):
    self.ops: list[Op] = []
    self._scans: tuple[int, ...] = ()  # Those around the present operation.
    self._num_scans = 0

  def call(self, jaxpr: core.ClosedJaxpr | core.Jaxpr, ins: Sequence[Value]) -> list[Value]:
    """Writes out a jaxpr called with `ins`; returns its results."""
    open_jaxpr = getattr(jaxpr, 'jaxpr', jaxpr)
    env = dict(zip(open_jaxpr.invars, ins, strict=True))
    constants = map(_constant, getattr(jaxpr, 'consts', ()))
    env.update(zip(open_jaxpr.constvars, constants, strict=True))

    def read(atom):
      if isinstance(atom, core.Literal):
        return _constant(atom.val, atom.aval)
      return env[atom]

    for eqn in open_jaxpr.eqns:
      outs = self._equation(eqn, [read(atom) for atom in eqn.invars])
      env.update(zip(eqn.outvars, outs, strict=True))
    return [read(atom) for atom in open_jaxpr.outvars]

  def _equation(self, eqn: core.JaxprEqn, ins: list[Value]) -> list[Value]:
    name, params = eqn.primitive.name, eqn.params
    if name in CALLS and CALLS[name] in params:
      return self._call(params[CALLS[name]], ins, params.get('name'))
    if name in ('scan', 'while', 'cond'):
      return getattr(self, f'_{name}')(params, ins)
    if name == 'shard_map':
      return self._shard_map(eqn, ins)
    if params.get('feature_group_count', 1) != 1:
      return [self._grouped(eqn, ins)]
    if params.get('dimensions') is not None and name == 'reshape':
      order, params = params['dimensions'], {**params, 'dimensions': None}
      turned = self._value([ins[0].shape[axis] for axis in order], ins[0].dtype)
      self._add('transpose', {'permutation': order}, ins, [turned])
      ins = [turned]
    if name == 'tile' and ins[0].number is None:
      ins = [self._repeated(ins[0], params['reps'])]
      name, params = 'reshape', {'new_sizes': eqn.outvars[0].aval.shape, 'dimensions': None}
    outs = [self._value(v.aval.shape, v.aval.dtype) for v in eqn.outvars]
    if all(0 in out.shape for out in outs):  # As good as any constant.
      return [Value(out.shape, out.dtype, number=0.0, source='constant') for out in outs]
    if name == 'concatenate':
      ins = [value for value in ins if 0 not in value.shape]
      if len(ins) == 1:
        return ins
    if name in _KEEPS_NUMBER and ins[0].number is not None:
      number = _converted(ins[0].number, outs[0].dtype)
      if number is not None:
        outs[0].number, outs[0].source = number, 'constant'
        return outs
    self._add(name, params, ins, outs)
    return outs

  def _add(self, name: str, params: Any, ins: list[Value], outs: list[Value]) -> None:
    self.ops.append(Op(name, dict(params), list(ins), list(outs)))

  def _value(self, shape: Sequence[int], dtype: Any) -> Value:
    return Value(tuple(shape), dtype, scans=self._scans)

  def _made(self, name: str, ins: list[Value], shape: Sequence[int]) -> Value:
    """The one result of an operation, of the type of its first operand."""
    out = self._value(shape, ins[0].dtype)
    self._add(name, {}, ins, [out])
    return out

  def _repeated(self, value: Value, reps: Sequence[int]) -> Value:
    """An array with an axis of repetitions before each axis that has some."""
    shape: list[int] = []
    dims: list[int] = []
    for n, times in zip(value.shape, reps, strict=True):
      shape += [times] * (times != 1)
      dims.append(len(shape))
      shape.append(n)
    out = self._value(shape, value.dtype)
    params = {'shape': out.shape, 'broadcast_dimensions': tuple(dims)}
    self._add('broadcast_in_dim', params, [value], [out])
    return out

  def _grouped(self, eqn: core.JaxprEqn, ins: list[Value]) -> Value:
    """A grouped convolution, its groups as an axis of their own."""
    lhs, rhs, out = eqn.params['dimension_numbers']
    groups, aval = eqn.params['feature_group_count'], eqn.outvars[0].aval
    apart = self._value(_apart(aval.shape, out[1], groups), aval.dtype)
    operands = [
      self._resized('reshape', value, _apart(value.shape, axis, groups))
      for value, axis in zip(ins, (lhs[1], rhs[0]), strict=True)
    ]
    self._add('convolution_in_groups', eqn.params, operands, [apart])
    return self._made('reshape', [apart], aval.shape)

  def _call(self, jaxpr: Any, ins: list[Value], name: str | None) -> list[Value]:
    """Writes out a called function; a sine or sinc is a primitive."""
    if len(ins) == 1 and (known := _known(jaxpr, name)):
      return [self._made(known, ins, ins[0].shape)]
    return self.call(jaxpr, ins)

  def _scan(self, params: Any, ins: list[Value]) -> list[Value]:
    if 'ft_in' in params:  # Since jax 0.12: as trees, in this order.
      consts, carried, _ = (len(list(x)) for x in params['ft_in'].unpack())
    else:
      consts, carried = params['num_consts'], params['num_carry']
    loops = [self._loop(value) for value in ins[consts : consts + carried]]
    carry = [op.outs[0] for op in loops]
    around = self._scans
    self._scans, self._num_scans = (*around, self._num_scans), self._num_scans + 1
    slices = [self._made('scan_in', [v], v.shape[1:]) for v in ins[consts + carried :]]
    results = self.call(params['jaxpr'], [*ins[:consts], *carry, *slices])
    self._scans = around
    for op, result in zip(loops, results, strict=False):
      self._close(op, result)
    length = params['length']
    return carry + [self._made('scan_out', [v], (length, *v.shape)) for v in results[carried:]]

  def _while(self, params: Any, ins: list[Value]) -> list[Value]:
    split = params['cond_nconsts']
    start = split + params['body_nconsts']
    loops = [self._loop(value) for value in ins[start:]]
    carry = [op.outs[0] for op in loops]
    goes_on = self.call(params['cond_jaxpr'], [*ins[:split], *carry])
    results = self.call(params['body_jaxpr'], [*ins[split:start], *carry])
    for op, result in zip(loops, results, strict=True):
      self._close(op, result, *goes_on)
    return carry

  def _loop(self, value: Value) -> Op:
    self._made('loop', [value], value.shape)
    return self.ops[-1]

  def _close(self, loop: Op, result: Value, *needs: Value) -> None:
    loop.needs += [result, *needs]
    self._add('close', {}, [loop.outs[0], result], [])

  def _shard_map(self, eqn: core.JaxprEqn, ins: list[Value]) -> list[Value]:
    """The function on one shard; a sharded axis is that of the shards times the rest."""

    def resized(name: str, values: list[Value], variables: Sequence[Any]) -> list[Value]:
      pairs = zip(values, variables, strict=True)
      return [self._resized(name, value, tuple(v.aval.shape)) for value, v in pairs]

    body = eqn.params['jaxpr']
    return resized('shard_out', self.call(body, resized('shard_in', ins, body.invars)), eqn.outvars)

  def _resized(self, name: str, value: Value, shape: tuple[int, ...]) -> Value:
    if value.shape == shape:
      return value
    if value.number is None:
      return self._made(name, [value], shape)
    return Value(shape, value.dtype, number=value.number, source='constant')

  def _cond(self, params: Any, ins: list[Value]) -> list[Value]:
    results = [self.call(branch, ins[1:]) for branch in params['branches']]
    joined = []
    for values in zip(*results, strict=True):
      joined.append(self._made('join', list(values), values[0].shape))
      self.ops[-1].needs.append(ins[0])
    return joined


def _known(jaxpr: Any, name: str | None) -> str | None:
  """The primitive that a function is, operation by operation: the sine of this package, or sinc."""
  jaxpr = getattr(jaxpr, 'jaxpr', jaxpr)
  if name != 'sinc':
    name = 'sin' if any(eqn.primitive.name == 'platform_index' for eqn in jaxpr.eqns) else None
  if name is None or len(jaxpr.invars) != 1 or len(jaxpr.outvars) != 1:
    return None
  aval = jaxpr.invars[0].aval
  return name if str(jaxpr) == _text(name, tuple(aval.shape), np.dtype(aval.dtype)) else None


@functools.cache
def _text(name: str, shape: tuple[int, ...], dtype: np.dtype) -> str:
  function = {'sin': sine.sine, 'sinc': jnp.sinc}[name]
  (eqn,) = jax.make_jaxpr(function)(jax.ShapeDtypeStruct(shape, dtype)).jaxpr.eqns
  jaxpr = eqn.params[CALLS[eqn.primitive.name]]
  return str(getattr(jaxpr, 'jaxpr', jaxpr))


def _apart(shape: tuple[int, ...], axis: int, groups: int) -> tuple[int, ...]:
  """A shape with one axis split into (groups, rest)."""
  return (*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])


def _constant(array: Any, aval: Any = None) -> Value:
  """A constant of the program; one number if all elements are equal."""
  dtype = getattr(array, 'dtype', None) or aval.dtype
  value = Value(tuple(np.shape(array)), dtype, source='constant')
  if jax.dtypes.issubdtype(dtype, jax.dtypes.extended):
    return value
  value.constant = np.asarray(array)
  if value.constant.size and (value.constant == value.constant.flat[0]).all():
    value.number = _number(value.constant.flat[0])
  return value


def _converted(number: float, dtype: Any) -> float | None:
  """A known number in another type; None where it has no real value there."""
  if jax.dtypes.issubdtype(dtype, jax.dtypes.extended):
    return None
  return _number(np.asarray(number).astype(dtype)[()])


def _number(scalar: Any) -> float | None:
  """A scalar by the shortest decimal that gives it: 0.1, not 0.1000000015."""
  if np.iscomplexobj(scalar):
    return _number(scalar.real) if scalar.imag == 0 else None
  if np.asarray(scalar).dtype == np.float32:
    return float(str(scalar))
  return float(scalar)
