"""Writes products out where terms cancel, as those of (1 + y)(1 - y) in the derivative of tanh.

Laws look at one operation at a time: 1 + y has no sign, though 1 - y^2 is even in y.
"""

import dataclasses
import fractions
import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jax import numpy as jnp

from wsjax.symmetry.inference import laws, lower
from wsjax.symmetry.inference import numbers as numbers_lib
from wsjax.symmetry.inference import program as program_lib

Op = program_lib.Op
Value = program_lib.Value
Factor = tuple[int, tuple[int, ...], int]  # Number of a value, where its axes are, of how many.
Monomial = tuple[Factor, ...]  # Sorted.
Polynomial = Mapping[Monomial, fractions.Fraction]  # Exact, so that nothing cancels by rounding.
_VIEWS = frozenset(('broadcast_in_dim', 'transpose'))
_MAX_TERMS, _MAX_DEGREE = 8, 8


def expand(program: program_lib.Program) -> program_lib.Program:
  """The same function with sums and products in which terms cancel as sums of monomials."""
  if not any(op.name == 'sub' and op.ins[0].number for op in program.ops):
    return program
  writer = _Writer(numbers_lib.value_numbers(program))
  if not writer.rewrite(program):
    return program
  return dataclasses.replace(program, ops=lower.alive(writer.ops, program.outputs))


class _Writer(lower.Rewriter):
  """Copies operations, and replaces those in which terms cancel."""

  def __init__(self, numbers: Mapping[int, int]):
    super().__init__(numbers)
    self._roots: dict[int, Value] = {}  # One value of each number.
    self._factors: dict[Factor, Value] = {}
    self._polynomials: dict[int, Polynomial] = {}

  def write(self, op: Op) -> None:
    """Copies one operation."""
    out = op.outs[0] if len(op.outs) == 1 else None
    polynomial = None
    if out is not None and jnp.issubdtype(out.dtype, np.inexact):
      polynomial = self._view(op) if op.name in _VIEWS else self._combine(op)
    result = {m: c for m, c in (polynomial or {}).items() if c}
    if not result or len(result) > _MAX_TERMS or max(map(len, result)) > _MAX_DEGREE:
      self.ops.append(op)
      return
    self._polynomials[id(out)] = result
    if len(result) == len(polynomial):
      self.ops.append(op)
    else:
      self.changed = True
      self._emit(result, out)

  def _of(self, value: Value) -> Polynomial:
    if value.number is not None and math.isfinite(value.number):
      return {(): fractions.Fraction(value.number)}
    if id(value) in self._polynomials:
      return self._polynomials[id(value)]
    number = self._numbers[id(value)]
    self._roots.setdefault(number, value)
    return {((number, tuple(range(len(value.shape))), len(value.shape)),): fractions.Fraction(1)}

  def _combine(self, op: Op) -> Polynomial | None:
    """A sum or product, terms that cancel with their zeros."""
    if op.name in laws.SUMS or op.name == 'mul':
      one, two = (self._of(value) for value in op.ins)
      if op.name == 'mul':
        return _times(one, two)
      sign = -1 if op.name == 'sub' else 1
      return {m: one.get(m, 0) + sign * two.get(m, 0) for m in (*one, *two)}
    if op.name == 'neg':
      return {m: -c for m, c in self._of(op.ins[0]).items()}
    if op.name == 'square':
      return _times(self._of(op.ins[0]), self._of(op.ins[0]))
    return None

  def _view(self, op: Op) -> Polynomial | None:
    """Every factor with its axes moved."""
    rank = len(op.outs[0].shape)
    if op.name == 'broadcast_in_dim':
      moves = dict(enumerate(op.params['broadcast_dimensions']))
    else:
      moves = {axis: place for place, axis in enumerate(op.params['permutation'])}
    moved = {}
    for monomial, c in self._of(op.ins[0]).items():
      factors = [(root, tuple(int(moves[at]) for at in axes), rank) for root, axes, _ in monomial]
      moved[tuple(sorted(factors))] = c
    return moved

  def _emit(self, polynomial: Polynomial, out: Value) -> None:
    """Writes a polynomial out."""

    def made(name: str, *ins: Value, **params: Any) -> Value:
      shape = params.get('shape', np.broadcast_shapes(*(value.shape for value in ins)))
      result = Value(shape, out.dtype, scans=out.scans)
      self.ops.append(Op(name, params, list(ins), [result]))
      return result

    def valued(factor: Factor) -> Value:
      root, axes, rank = factor
      value = self._roots[root]
      if axes == tuple(range(rank)):
        return value
      shape = [1] * rank
      for n, axis in zip(value.shape, axes, strict=True):
        shape[axis] = n
      return made('broadcast_in_dim', value, shape=tuple(shape), broadcast_dimensions=axes)

    total = None
    for monomial, c in polynomial.items():
      factors = [valued(factor) for factor in monomial]
      if c != 1 or not factors:
        factors.insert(0, Value((), out.dtype, number=float(c), source='constant'))
      term = functools.reduce(functools.partial(made, 'mul'), factors)
      total = term if total is None else made('add', total, term)
    dims = tuple(range(len(out.shape) - len(total.shape), len(out.shape)))
    params = {'shape': out.shape, 'broadcast_dimensions': dims}
    self.ops.append(Op('broadcast_in_dim', params, [total], [out]))


def _times(one: Polynomial, two: Polynomial) -> Polynomial:
  product: dict[Monomial, fractions.Fraction] = {}
  for m, c in one.items():
    for n, d in two.items():
      both = tuple(sorted(m + n))
      product[both] = product.get(both, fractions.Fraction(0)) + c * d
  return product
