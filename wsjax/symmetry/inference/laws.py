"""Laws by which units may be rescaled, negated, turned or mixed.

A state is the power of a unit's scale that a value is multiplied by: a weight that feeds the unit
+1, one that reads from it -1. A primitive that does not carry a power on breaks the law. A kind is
granted only if nothing broke it and the units pass something that bends: linear units have more
freedom than a
spec can say, which is reported as a gauge.

Source: Godfrey et al. 2022, arXiv:2205.14258, table 1 (groups by activation).
"""

import fractions
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from wsjax.symmetry.inference import program as program_lib
from wsjax.symmetry.inference import states as states_lib

Op = program_lib.Op
Broken = states_lib.Broken
ZERO = 'zero'  # State of a value that is zero: any power fits it.

# Linear, and without a number of their own.
SAME = frozenset(
  'broadcast_in_dim close concatenate copy cumsum device_put dynamic_slice '
  'dynamic_update_slice join loop name neg optimization_barrier pad '
  'real reduce_precision reduce_sum reduce_window_sum rev scan_in scan_out '
  'scatter scatter-add scatter-sub sharding_constraint slice split squeeze '
  'stack stop_gradient tile transpose unstack'.split()
)
SUMS = frozenset(('add', 'add_any', 'sub'))
PRODUCTS = frozenset(('mul', 'dot_general', 'conv_general_dilated', 'convolution_in_groups'))
EXTREMES = frozenset(
  'max min clamp reduce_max reduce_min reduce_window_max reduce_window_min '
  'cummax cummin scatter-min scatter-max'.split()
)
COMPARISONS = frozenset('eq ne lt le gt ge'.split())
ODD = frozenset('sin tan sinh tanh asin atan asinh atanh erf erf_inv cbrt round sign'.split())
EVEN = frozenset('abs cos cosh is_finite square'.split())
_POWERS = {'square': 2, 'sqrt': 0.5, 'rsqrt': -0.5, 'cbrt': 1 / 3, 'abs': 1}


class Law:
  """Values are multiplied by a power of a positive scale.

  Args:
    reads: (leaf, axis) that reads from its units; all others feed them.

  Attributes:
    bent: atoms whose units pass something that is not linear.
    met: atoms whose units reach something that gives rise to the law, even if it is broken before.
    breaks: atom -> names of the primitives that broke the law.
  """

  FREE: Any = fractions.Fraction(0)
  ZERO: Any = ZERO

  def __init__(self, reads: Collection[tuple[int, int]]):
    self._reads = frozenset(reads)
    self.bent: set[int] = set()
    self.met: set[int] = set()
    self.breaks: dict[int, set[str]] = {}

  def leaf(self, index: int, axis: int, atom: int) -> Any:
    """+1 where the parameter feeds the unit, -1 where it reads from it."""
    return fractions.Fraction(-1 if (index, axis) in self._reads else 1)

  def broken(self, atom: int, op: Op) -> None:
    """Notes that an operation broke the law."""
    self.breaks.setdefault(atom, set()).add(op.name)

  def contracted(self, atom: int, beside: Collection[int]) -> None:
    """Nothing to note."""

  def region(
    self, region: program_lib.Region, atoms: Sequence[tuple[int, ...]], states: states_lib.States
  ) -> states_lib.States | None:
    """Always looks inside a called function."""
    del region, atoms, states
    return None

  def contract(self, op: Op, atom: int, pair: tuple[int, int], states: Sequence[Any]) -> None:
    """A sum of products stays if the scales cancel."""
    del op, atom, pair
    if ZERO not in states and self._times(*states):
      raise Broken

  def reduce(self, op: Op, atom: int, state: Any) -> None:
    """A sum, a maximum, ... over units stays if they are not scaled."""
    del op, atom
    _unscaled(state)

  def combine(self, op: Op, atom: int, states: Sequence[Any], linked: Sequence[bool]) -> Any:
    """The power of a result."""
    if op.name == 'gather':
      _unscaled(states[1])
      return states[0]
    if op.name in SAME:
      pads = op.name == 'pad'
      return agree(
        s for s, is_linked in zip(states, linked, strict=True)
        if is_linked or pads
      )  # fmt: skip
    if op.name in SUMS:
      return agree(states)
    if op.name in PRODUCTS:
      return self._times(*states)
    if op.name == 'convert_element_type' and is_float(op.outs[0]):
      return states[0]
    if op.name == 'div':
      return self._over(*states)
    if op.name == 'select_n':
      _unscaled(states[0])
      state = agree(states[1:])
      if linked[0]:
        self.met.add(atom)
        self._bend(atom, state)
      return state
    return self._bend_through(op, atom, states, linked)

  def _times(self, *states: Any) -> Any:
    if ZERO in states:
      return ZERO
    return self._number(sum(states))

  def _number(self, power: Any) -> Any:
    return power

  def _over(self, one: Any, two: Any) -> Any:
    return one if one == ZERO else one - _number(two)

  def _bend(self, atom: int, *states: Any) -> None:
    if any(_number(state) for state in states):
      self.bent.add(atom)

  def _bend_through(self, op: Op, atom: int, states: Sequence[Any], linked: Sequence[bool]) -> Any:
    """Functions that are homogeneous for positive factors."""
    if op.name in EXTREMES:
      state = agree(
        s for s, is_linked, value in zip(states, linked, op.ins, strict=True)
        if (is_linked or op.name in ('max', 'min', 'clamp'))
        and not (value.number is not None and np.isinf(value.number))
      )  # fmt: skip
      self.met.add(atom)
      self._bend(atom, state)
      return state
    if op.name in COMPARISONS:
      self._bend(atom, agree(states))
      return self.FREE
    if op.name in ('sign', 'is_finite'):
      self._bend(atom, states[0])
      return self.FREE
    power = op.params['y'] if op.name == 'integer_pow' else _POWERS.get(op.name)
    if power is None:
      return opaque(states)
    self._bend(atom, states[0])
    power = fractions.Fraction(power).limit_denominator(1000)
    return _number(states[0]) * power


class SignLaw(Law):
  """Values are multiplied by a power of -1; states are 0 or 1."""

  def leaf(self, index: int, axis: int, atom: int) -> Any:
    """Every weight of a unit changes its sign."""
    return fractions.Fraction(1)

  def _number(self, power: Any) -> Any:
    return power % 2

  def _over(self, one: Any, two: Any) -> Any:
    return self._times(one, two)

  def _bend_through(self, op: Op, atom: int, states: Sequence[Any], linked: Sequence[bool]) -> Any:
    """Odd and even functions."""
    if op.name in ODD or op.name in EVEN:
      self.met.add(atom)
      self._bend(atom, states[0])
      return self._times(states[0]) if op.name in ODD else self.FREE
    if op.name == 'integer_pow':
      self._bend(atom, states[0])
      return self._times(_number(states[0]) * op.params['y'])
    if op.name == 'convert_element_type':  # To integers: odd. To bool: x != 0.
      dtype = np.dtype(op.outs[0].dtype)
      self._bend(atom, states[0])
      if np.issubdtype(dtype, np.signedinteger):
        return states[0]
      return self.FREE if dtype == np.bool_ else opaque(states)
    if op.name in ('eq', 'ne'):
      self._bend(atom, agree(states))
      return self.FREE
    if op.name == 'and' and 1 in [value.number for value in op.ins]:
      self._bend(atom, *states)  # The last bit of -k is that of k.
      return self.FREE
    return opaque(states)


class LinearLaw(Law):
  """Values are vectors over the units (1), or do not depend on them (0).

  Units that only ever pass linear operations can be mixed by any invertible matrix.

  Attributes:
    beside: atom -> the atoms along which there may be a matrix for each unit: those that no sum
      over the atom's units mixes.
  """

  def __init__(self, reads: Collection[tuple[int, int]]):
    super().__init__(reads)
    self.beside: dict[int, set[int]] = {}

  def contracted(self, atom: int, beside: Collection[int]) -> None:
    """Notes the atoms that stand beside one in a sum of products."""
    self.beside.setdefault(atom, set(beside)).intersection_update(beside)

  def leaf(self, index: int, axis: int, atom: int) -> Any:
    """Every parameter is a vector over its units."""
    return fractions.Fraction(1)

  def contract(self, op: Op, atom: int, pair: tuple[int, int], states: Sequence[Any]) -> None:
    """A vector meets a vector."""
    if ZERO not in states and states[0] != states[1]:
      raise Broken

  def _times(self, *states: Any) -> Any:
    total = super()._times(*states)
    if total != ZERO and total > 1:
      raise Broken
    return total

  def _over(self, one: Any, two: Any) -> Any:
    _unscaled(two)
    return _number(one)

  def _bend(self, atom: int, *states: Any) -> None:
    opaque(states)

  def _bend_through(self, op: Op, atom: int, states: Sequence[Any], linked: Sequence[bool]) -> Any:
    return opaque(states)


def agree(states: Any) -> Any:
  """The one state of all that are not zero.

  Raises:
    Broken: if they differ.
  """
  different = {state for state in states if state != ZERO}
  if len(different) > 1:
    raise Broken
  return different.pop() if different else ZERO


def opaque(states: Sequence[Any]) -> Any:
  """State behind a function that lets no change pass; may raise Broken."""
  for state in states:
    _unscaled(state)
  return fractions.Fraction(0)


def _unscaled(state: Any) -> None:
  if _number(state):
    raise Broken


def _number(state: Any) -> Any:
  return fractions.Fraction(0) if state == ZERO else state


def is_float(value: program_lib.Value) -> bool:
  """Whether a value has floating-point elements, of any width."""
  return np.issubdtype(value.dtype, np.floating) or 'float' in str(value.dtype)
