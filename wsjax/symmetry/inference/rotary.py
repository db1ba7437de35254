"""Writes rotations of pairs, as of rotary position embeddings, as one operation on pairs.

Whoever writes (x0 cos - x1 sin, x1 cos + x0 sin) takes x apart into x0 and x1 and puts pairs
together again, so that no law sees pairs. Every value that is a sum a x0 + b x1 is followed, with a
and b as polynomials in other values. Where two such sums become pairs that are a x + b i x, with i
the turn (x0, x1) -> (-x1, x0), they are written like that, with the operation `rotary` for i.
Matrices that scale and rotate pairs commute with it.

Source: Su et al. 2021, arXiv:2104.09864 (rotary position embeddings).
"""

import dataclasses
import fractions
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jax import numpy as jnp

from wsjax.symmetry.inference import laws, lower
from wsjax.symmetry.inference import numbers as numbers_lib
from wsjax.symmetry.inference import program as program_lib

Op = program_lib.Op
Value = program_lib.Value
# '' or the part, 'real' or 'imag', the number of a value, and the shape that it is broadcast to.
Factor = tuple[str, int, tuple[int, ...]]
Polynomial = Mapping[tuple[Factor, ...], fractions.Fraction]
# Number of a value that is viewed as [outer, 2, inner], outer, inner, and the order of the axes of
# its halves, () if they are in order.
Base = tuple[int, int, int, tuple[int, ...]]
Row = tuple[Polynomial, Polynomial]  # Factors of the two elements of each pair.
_ONE: Polynomial = {(): fractions.Fraction(1)}
_VIEWS = frozenset(('squeeze', 'reshape', 'broadcast_in_dim', 'copy'))
_MAX_TERMS, _MAX_BASES = 4, 4


def rotate(program: program_lib.Program) -> program_lib.Program:
  """The same function with rotations of pairs as operations on pairs."""
  if not any(_glues(op) for op in program.ops):
    return program
  writer = _Writer(numbers_lib.value_numbers(program))
  if not writer.rewrite(program):
    return program
  ops = _Uniform(program, writer.ops).ops
  return dataclasses.replace(program, ops=lower.alive(ops, program.outputs))


def _glues(op: Op) -> bool:
  """Whether an operation puts two values of one shape together."""
  return op.name in ('concatenate', 'stack') and len(op.ins) == 2 and (
    op.ins[0].shape == op.ins[1].shape
  )  # fmt: skip


class _Writer(lower.Rewriter):
  """Copies operations, and replaces those that put rotated pairs together."""

  def __init__(self, numbers: Mapping[int, int]):
    super().__init__(numbers)
    self._values: dict[int, Value] = {}  # One value of each number.
    # Id of a value -> its rows; two, of the real and the imaginary part, if it is complex.
    self._rows: dict[int, dict[Base, tuple[Row, ...]]] = {}

  def write(self, op: Op) -> None:
    """Copies one operation."""
    if _glues(op) and self._rotated(op):
      self.changed = True
      return
    self.ops.append(op)
    if op.name in ('slice', 'split'):
      self._take(op)
    elif len(op.outs) == 1 and (rows := self._combine(op)):
      kept = {base: row for base, row in rows.items() if _is_small(row)}
      self._rows[id(op.outs[0])] = dict(list(kept.items())[:_MAX_BASES])

  def _number(self, value: Value) -> int:
    number = self._numbers[id(value)]
    self._values.setdefault(number, value)
    return number

  def _of(self, value: Value) -> dict[Base, tuple[Row, ...]]:
    return self._rows.get(id(value), {})

  def _take(self, op: Op) -> None:
    """Rows of the halves of an axis, or of every second element."""
    shape, number = op.ins[0].shape, self._number(op.ins[0])
    if not jnp.issubdtype(op.ins[0].dtype, np.floating):
      return
    for out, axis, start, stride in _parts(op):
      n = out.shape[axis]
      if shape[axis] != 2 * n or (start, stride) not in ((0, 1), (n, 1), (0, 2), (1, 2)):
        continue
      outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
      halves = (outer * n, inner) if stride == 2 else (outer, n * inner)
      self._rows[id(out)] = {(number, *halves, ()): ((({}, _ONE) if start else (_ONE, {})),)}

  def _combine(self, op: Op) -> Mapping[Base, tuple[Row, ...]]:
    """Rows of any other result."""
    out, rows = op.outs[0], self._of(op.ins[0]) if op.ins else {}
    if op.name in _VIEWS and out.shape and math.prod(out.shape) == math.prod(op.ins[0].shape):
      return rows
    if op.name == 'transpose':
      return dict(self._transposed(op, rows))
    if op.name == 'convert_element_type':
      if not laws.is_fine(op):
        return {}
      if jnp.issubdtype(out.dtype, np.complexfloating):
        return {base: (some + (({}, {}),))[:2] for base, some in rows.items()}
      return rows
    if op.name == 'neg':
      return {base: tuple(_scaled(row, {(): -1}) for row in some) for base, some in rows.items()}
    if op.name in ('real', 'imag'):
      place = int(op.name == 'imag')
      return {base: (some[place],) for base, some in rows.items() if len(some) == 2}
    if op.name not in (*laws.SUMS, 'mul', 'complex'):
      return {}
    other = self._of(op.ins[1])
    if op.name == 'mul':
      two, one = op.ins[1].shape == out.shape, op.ins[0].shape == out.shape
      return {
        **self._times(other if two else {}, op.ins[0], out),
        **self._times(rows if one else {}, op.ins[1], out),
      }
    if any(value.shape != out.shape for value in op.ins):
      return {}
    both = {base: (rows[base], other[base]) for base in rows if base in other}
    if op.name == 'complex':
      return {base: one + two for base, (one, two) in both.items()}
    sign = -1 if op.name == 'sub' else 1
    return {
      base: tuple(_sum(a, _scaled(b, {(): sign})) for a, b in zip(one, two, strict=True))
      for base, (one, two) in both.items()
    }

  def _transposed(
    self, op: Op, rows: Mapping[Base, tuple[Row, ...]]
  ) -> Iterator[tuple[Base, tuple[Row, ...]]]:
    """Rows without factors, whose axes would have another order."""
    for base, some in rows.items():
      plain = all(not any(part) for row in some for part in row)
      if plain and op.ins[0].shape == self._view(base)[2]:
        order = base[3] or range(len(op.outs[0].shape))
        yield (*base[:3], tuple(order[i] for i in op.params['permutation'])), some

  def _times(
    self, rows: Mapping[Base, tuple[Row, ...]], factor: Value, out: Value
  ) -> dict[Base, tuple[Row, ...]]:
    """Rows of a product with any value."""
    scalar = factor.number is not None or (factor.constant is not None and not factor.shape)
    if not rows or not (scalar or len(factor.shape) == len(out.shape)):
      return {}
    if factor.number is not None and not math.isfinite(factor.number):
      return {}
    if factor.number is not None or not jnp.issubdtype(out.dtype, np.complexfloating):
      by = self._factor('', factor, out)
      return {base: tuple(_scaled(row, by) for row in some) for base, some in rows.items()}
    real, imag = (self._factor(part, factor, out) for part in ('real', 'imag'))
    return {
      base: (
        _sum(_scaled(one, real), _scaled(_scaled(two, imag), {(): -1})),
        _sum(_scaled(one, imag), _scaled(two, real)),
      )
      for base, (one, two) in rows.items()
    }

  def _factor(self, part: str, value: Value, out: Value) -> Polynomial:
    if value.number is not None:
      return {(): fractions.Fraction(value.number)}
    if part and value.constant is not None and not value.shape and np.isfinite(value.constant):
      return {(): fractions.Fraction(float(getattr(value.constant, part)))}
    return {((part, self._number(value), out.shape),): fractions.Fraction(1)}

  def _view(self, base: Base) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
    """The value with an axis of pairs, the place of that, and the shape of its halves."""
    shape, at = _viewed(self._values[base[0]].shape, *base[1:3])
    rest = (*shape[:at], *shape[at + 1 :])
    return shape, at, tuple(rest[i] for i in base[3]) or rest

  def _rotated(self, op: Op) -> bool:
    """Writes pairs as a x + b i x; False if they are not."""
    one, two = (self._of(value) for value in op.ins)
    for base in one:
      if len(one[base]) == 1 and len(two.get(base, ())) == 1:
        (a, c), (b, d) = one[base][0], two[base][0]
        if b and a == d and c == {m: -x for m, x in b.items()} and self._emit(op, base, a, b):
          return True
    return False

  def _emit(self, op: Op, base: Base, a: Polynomial, b: Polynomial) -> bool:
    """Writes a x + b i x; False if the axes of the result are not those of the pairs."""
    out, root = op.outs[0], self._values[base[0]]
    axis = op.params['dimension' if op.name == 'concatenate' else 'axis']
    part = op.ins[0].shape
    before, at, rest = self._view(base)
    after = math.prod(part[:axis]), math.prod(part[axis:])
    to = next((i for i in range(len(rest) + 1) if math.prod(rest[:i]) == after[0]), None)
    if to is None:
      return False

    def made(name: str, *ins: Value, shape: Sequence[int] | None = None, **params: Any) -> Value:
      result = Value(tuple(ins[0].shape if shape is None else shape), out.dtype, scans=out.scans)
      self.ops.append(Op(name, params, list(ins), [result]))
      return result

    def reshaped(value: Value, shape: Sequence[int]) -> Value:
      if value.shape == tuple(shape):
        return value
      return _reshaped(self.ops, value, shape)

    def factor(part: str, number: int, shape: tuple[int, ...]) -> Value:
      value = self._values[number]
      if part:
        value = made(part, value)
      if shape != rest:
        if value.shape != shape:
          dims = tuple(range(len(shape)))
          value = made('broadcast_in_dim', value, shape=shape, broadcast_dimensions=dims)
        value = reshaped(value, rest)
      dims = tuple(i for i in range(len(before)) if i != at)
      return made('broadcast_in_dim', value, shape=before, broadcast_dimensions=dims)

    def times(polynomial: Polynomial, vector: Value) -> list[Value]:
      terms = []
      for monomial, c in polynomial.items():
        factors = [factor(*f) for f in monomial]
        if c != 1:
          factors.append(Value(before, out.dtype, number=float(c), source='constant'))
        terms.append(functools.reduce(functools.partial(made, 'mul'), factors, vector))
      return terms

    x = reshaped(root, before)
    if x.dtype != out.dtype:
      x = made('convert_element_type', x, new_dtype=out.dtype)
    if base[3]:
      order = [i + (i >= at) for i in base[3]] + [at]
      before, at = (*rest, 2), len(rest)
      x = made('transpose', x, shape=before, permutation=tuple(order))
    terms = times(a, x) + times(b, made('rotary', x, axis=at))
    result = functools.reduce(functools.partial(made, 'add'), terms)
    order = [i for i in range(len(before)) if i != at]
    order.insert(to, at)
    if order != sorted(order):
      shape = [before[i] for i in order]
      result = made('transpose', result, shape=shape, permutation=tuple(order))
    self.ops.append(_reshape(result, out))
    return True


class _Uniform:
  """Writes what is the same for both elements of a pair as a broadcast: angles, not weights."""

  def __init__(self, program: program_lib.Program, ops: Sequence[Op]):
    self.ops: list[Op] = []
    self._known: dict[int, Value] = {}
    numbers = numbers_lib.value_numbers(dataclasses.replace(program, ops=list(ops)))
    depends = {id(leaf) for leaf in program.leaves}
    for op in ops:
      if op.name == 'loop' or any(id(value) in depends for value in op.ins):
        depends.update(id(out) for out in op.outs)
        self.ops.append(dataclasses.replace(op, ins=list(map(self._constant, op.ins))))
      elif _glues(op) and len({numbers[id(value)] for value in op.ins}) == 1:
        axis = op.params['dimension' if op.name == 'concatenate' else 'axis']
        self._repeat(self._constant(op.ins[0]), op.outs[0], axis)
      else:
        self.ops.append(dataclasses.replace(op, ins=list(map(self._constant, op.ins))))

  def _repeat(self, value: Value, out: Value, axis: int) -> None:
    shape = (*value.shape[:axis], 2, *value.shape[axis:])
    dims = tuple(i for i in range(len(shape)) if i != axis)
    pairs = Value(shape, value.dtype, scans=out.scans)
    params = {'shape': shape, 'broadcast_dimensions': dims}
    self.ops += [Op('broadcast_in_dim', params, [value], [pairs]), _reshape(pairs, out)]

  def _constant(self, value: Value) -> Value:
    """A constant as pairs of equal elements, if it is."""
    array = value.constant
    if array is None or value.number is not None or value.source != 'constant':
      return value
    if id(value) not in self._known:
      self._known[id(value)] = value
      for axis, n in enumerate(value.shape):
        for outer, inner in ((1, n // 2), (n // 2, 1), (2, n // 4)):
          before, behind = value.shape[:axis], value.shape[axis + 1 :]
          if n < 2 or outer * inner * 2 != n:
            continue
          half = array.reshape(*before, outer, 2, inner, *behind)
          one, two = (half.take(i, axis + 1) for i in (0, 1))
          if self._known[id(value)] is value and np.array_equal(one, two):
            small = Value(one.shape, value.dtype, constant=one, source='constant')
            out = Value(value.shape, value.dtype)
            self._known[id(value)] = out
            self._repeat(small, out, axis + 1)
    return self._known[id(value)]


def _parts(op: Op) -> list[tuple[Value, int, int, int]]:
  """(result, the axis that is cut, start, stride) of a slice or split of one axis."""
  if op.name == 'split':
    axis, sizes = op.params['axis'], op.params['sizes']
    return [(out, axis, sum(sizes[:o]), 1) for o, out in enumerate(op.outs)]
  shape, out = op.ins[0].shape, op.outs[0]
  changed = [axis for axis, n in enumerate(shape) if out.shape[axis] != n]
  if len(changed) != 1:
    return []
  strides = op.params['strides'] or (1,) * len(shape)
  return [(out, changed[0], op.params['start_indices'][changed[0]], strides[changed[0]])]


def _viewed(shape: Sequence[int], outer: int, inner: int) -> tuple[tuple[int, ...], int]:
  """A shape with the axis of pairs as one of its own, and the place of that."""
  before = 1
  for axis, n in enumerate(shape):
    if before * n > outer:
      parts = [outer // before, 2, n // (outer // before) // 2]
      kept = [m for i, m in enumerate(parts) if i == 1 or m > 1]
      at = axis + (parts[0] > 1)
      assert math.prod(shape[axis + 1 :]) * parts[2] == inner
      return (*shape[:axis], *kept, *shape[axis + 1 :]), at
    before *= n
  raise AssertionError(shape)


def _reshape(value: Value, out: Value) -> Op:
  return Op('reshape', {'new_sizes': out.shape, 'dimensions': None}, [value], [out])


def _reshaped(ops: list[Op], value: Value, shape: Sequence[int]) -> Value:
  result = Value(tuple(shape), value.dtype, scans=value.scans)
  ops.append(_reshape(value, result))
  return result


def _sum(one: Row, two: Row) -> Row:
  first, second = (
    {m: c for m in (*p, *q) if (c := p.get(m, 0) + q.get(m, 0))}
    for p, q in zip(one, two, strict=True)
  )
  return first, second


def _scaled(row: Row, by: Mapping[tuple[Factor, ...], Any]) -> Row:
  """A row times a monomial."""
  ((factors, c),) = by.items()
  first, second = (
    {tuple(sorted(m + factors)): x * c for m, x in part.items() if x * c} for part in row
  )
  return first, second


def _is_small(rows: Sequence[Row]) -> bool:
  return all(len(part) <= _MAX_TERMS for row in rows for part in row)
