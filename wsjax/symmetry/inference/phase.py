"""Half turns of periodic units: sin(w0 (z + pi / w0)) = -sin(w0 z).

A state is (shift, parity): per half turn, `shift` times the half turn is added to the value, which
is then multiplied by (-1)^parity. A sine, or a cosine, of
a value with shift m fixes the half turn at pi / |m|.

A called function of one array that is made of elementwise operations, such as a sine with a
derivative of its own, is tried out: f(x + pi) = -f(x) is checked numerically at random points, for
all branches of a condition, instead of proved.
"""

import math
from collections.abc import Collection, Sequence
from typing import Any

import jax
import numpy as np

from wsjax.symmetry.inference import laws, rules
from wsjax.symmetry.inference import program as program_lib
from wsjax.symmetry.inference import states as states_lib

Op = program_lib.Op
Broken = states_lib.Broken
ZERO = laws.ZERO
_MOVES = laws.SAME - {
  'cumsum', 'neg', 'reduce_sum', 'reduce_window_sum', 'scatter', 'scatter-add',
  'scatter-sub',
}  # fmt: skip
_NUM_POINTS = 4096
_MAX_POINT = 40.0
_TOLERANCE = 1e-4


class TurnLaw(laws.SignLaw):
  """A half turn is added to the bias; weights that read are negated.

  Args:
    reads: (leaf, axis) that reads from its units.
    biases: (leaf, axis) that the half turn is added to.

  Attributes:
    half_turns: atom -> the half turn.
  """

  FREE: Any = (0.0, 0)

  def __init__(self, reads: Collection[tuple[int, int]], biases: Collection[tuple[int, int]]):
    super().__init__(reads)
    self._biases = frozenset(biases)
    self.half_turns: dict[int, float] = {}

  def leaf(self, index: int, axis: int, atom: int) -> Any:
    """A bias is shifted, a reader negated, all else stays."""
    if (index, axis) in self._biases:
      return 1.0, 0
    return 0.0, int((index, axis) in self._reads)

  def region(
    self, region: program_lib.Region, atoms: Sequence[tuple[int, ...]], states: states_lib.States
  ) -> states_lib.States | None:
    """A called function that a shift goes into, if it has a half turn of pi."""
    all_states = [s for along in states for s in along if s != ZERO]
    if not any(shift for shift, _ in all_states):
      return None
    if any(parity for _, parity in all_states):
      return None
    if not _is_half_periodic(region):
      return None
    results = []
    for along, row in zip(atoms, states, strict=True):
      shifts = [0.0 if s == ZERO else s[0] for s in row]
      for atom, shift in zip(along, shifts, strict=True):
        if shift:
          self.fix(atom, shift)
      results.append(tuple((0.0, int(shift != 0)) for shift in shifts))
    return results

  def fix(self, atom: int, shift: float) -> None:
    """Fixes the half turn of an atom's units; breaks if it has another."""
    half_turn = math.pi / abs(shift)
    if self.half_turns.setdefault(atom, half_turn) != half_turn:
      self.breaks.setdefault(atom, set()).add('sin')

  def contract(self, op: Op, atom: int, pair: tuple[int, int], states: Sequence[Any]) -> None:
    """No shift, and the signs cancel."""
    if ZERO not in states and self._parity(*states) % 2:
      raise Broken

  def reduce(self, op: Op, atom: int, state: Any) -> None:
    """Neither shift nor sign."""
    if self._parity(state) % 2:
      raise Broken

  def combine(self, op: Op, atom: int, states: Sequence[Any], linked: Sequence[bool]) -> Any:
    """Shift and parity of a result."""
    shifts = [0.0 if state == ZERO else state[0] for state in states]
    if not any(shifts):
      parities = [s if s == ZERO else s[1] for s in states]
      parity = super().combine(op, atom, parities, linked)
      if parity == ZERO or isinstance(parity, tuple):
        return parity
      return 0.0, int(parity)
    return self._shifted(op, atom, states, shifts, linked)

  def _shifted(
    self, op: Op, atom: int, states: Sequence[Any], shifts: Sequence[float], linked: Sequence[bool]
  ) -> Any:
    """The same where at least one operand is shifted."""
    if op.name in _MOVES or (op.name == 'convert_element_type' and laws.is_float(op.outs[0])):
      pads = op.name == 'pad'
      pairs = zip(states, linked, strict=True)
      return laws.agree(s for s, is_linked in pairs if is_linked or pads)
    if any(state != ZERO and state[1] for state in states):
      raise Broken
    if op.name in laws.SUMS:
      sign = -1 if op.name == 'sub' else 1
      return shifts[0] + sign * shifts[1], 0
    if op.name == 'neg':
      return -shifts[0], 0
    if op.name == 'mul' and None in (op.ins[0].number, op.ins[1].number):
      place = int(op.ins[0].number is None)  # Of the known factor.
      if op.ins[place].number is not None:
        return shifts[1 - place] * op.ins[place].number, 0
    if op.name == 'div' and op.ins[1].number:
      return shifts[0] / op.ins[1].number, 0
    if op.name in ('sin', 'cos'):
      self.fix(atom, shifts[0])
      return 0.0, 1
    raise Broken

  def _parity(self, *states: Any) -> int:
    """Sum of the parities; Broken if a value is shifted."""
    known = [state for state in states if state != ZERO]
    if any(shift for shift, _ in known):
      raise Broken
    return sum(parity for _, parity in known)


def _is_half_periodic(region: program_lib.Region) -> bool:
  """Whether f(x + pi) = -f(x) at random points.

  Args:
    region: a called function.

  Returns:
    False too if it is not a scalar function of its operand.
  """
  points = np.random.default_rng(0).uniform(-_MAX_POINT, _MAX_POINT, _NUM_POINTS)
  values = [_evaluate(region, x.astype(region.operand.dtype)) for x in (points, points + math.pi)]
  if any(value is None for value in values):
    return False
  size = np.abs(values[0]).max()
  return bool(0 < size < np.inf and np.abs(values[0] + values[1]).max() < _TOLERANCE * max(size, 1))


def _evaluate(region: program_lib.Region, points: np.ndarray) -> np.ndarray | None:
  """Values of a function at points; None if it is not scalar, or undecided."""
  known = {id(region.operand): points}

  def read(value):
    if value.number is not None:
      return np.full(points.shape, value.number, value.dtype)
    return known.get(id(value))

  for op in region.ops:
    operands = [read(value) for value in op.ins]
    if op.name == 'platform_index':
      continue
    if any(operand is None for operand in operands):
      return None
    if op.name == 'join':
      if any(np.abs(o - operands[0]).max() > _TOLERANCE for o in operands):
        return None
      result = operands[0]
    elif op.name in rules.ELEMENTWISE and op.name in PRIMITIVES:
      result = np.asarray(PRIMITIVES[op.name].bind(*operands, **op.params))
    else:
      return None
    known[id(op.outs[0])] = result
  result = known.get(id(region.result))
  return result if result is None else np.asarray(result)


PRIMITIVES = {
  primitive.name: primitive
  for primitive in (getattr(jax.lax, f'{name}_p', None) for name in rules.ELEMENTWISE)
  if primitive is not None
}
