"""Phase shifts of periodic units, sin(w0 (z + pi / w0)) = -sin(w0 z), and the roles that they need.

The outgoing weights of units are contracted with data; a bias is a parameter with one axis that is
added, as it is, to data. A state of the phase law is (shift, parity): a shift of the bias by one
half period adds `shift` half periods to the value, after which it is multiplied by (-1)^parity. A
sine, or a cosine, of a value with shift m fixes the half period at pi / |m|.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from wsjax.symmetry.inference import laws
from wsjax.symmetry.inference import program as program_lib
from wsjax.symmetry.inference import states as states_lib

Op = program_lib.Op
Broken = states_lib.Broken
ZERO = laws.ZERO
_ADDED = ('add', 'add_any')
_ODD: laws.Form = (((-1, -1), 1),)  # The parity of a value that is negated.


class OriginLaw(states_lib.Law):
  """States are (axes of parameters that a value comes from, unchanged?).

  Attributes:
    reads: (leaf, axis) of all outgoing weights.
    biases: (leaf, axis) of all biases.
  """

  FREE: Any = (frozenset(), True)
  ZERO: Any = (frozenset(), True)

  def __init__(self, program: program_lib.Program):
    super().__init__()
    self._ranks = [len(leaf.shape) for leaf in program.leaves]
    self._data = {id(value) for value in program.inputs}
    for op in program.ops:
      if op.name == 'loop' or any(id(v) in self._data for v in op.ins):
        self._data.update(id(out) for out in op.outs)
    self._feeds: set[tuple[int, int]] = set()  # Units are made with these before any are read.
    self.reads: set[tuple[int, int]] = set()
    self.biases: set[tuple[int, int]] = set()

  def leaf(self, leaf: program_lib.Value, place: states_lib.Place, atom: int) -> Any:
    """A parameter comes from itself."""
    return frozenset([place]), True

  def contract(self, op: Op, atom: int, pair: tuple[int, int], states: Sequence[Any]) -> None:
    """Notes outgoing weights; of two parameters, those of the second."""
    is_data = [id(op.ins[i]) in self._data for i in pair]
    if not all(is_data):
      self.reads |= states[int(not is_data[1])][0] - self._feeds

  def combine(self, op: Op, atom: int, states: Sequence[Any], linked: Sequence[bool]) -> Any:
    """Where a result comes from; notes biases where they are added."""
    if any(id(out) in self._data for out in op.outs):
      if op.name in _ADDED:
        for value, (origins, as_is) in zip(op.ins, states, strict=True):
          if id(value) not in self._data and as_is and len(origins) == 1:
            self.biases |= {o for o in origins if self._ranks[o[0]] == 1}
      if op.name in laws.PRODUCTS:
        self._feeds |= frozenset().union(*(state[0] for state in states)) - self.reads
      return self.FREE
    origins = frozenset().union(*(state[0] for state in states))
    as_is = op.name in laws.MOVES and all(state[1] for state in states)
    return origins, as_is or op.name == 'convert_element_type'


class PhaseLaw(laws.SignLaw):
  """A half period is added to the biases `biases`; the outgoing weights `reads` are negated.

  Attributes:
    half_turns: atom -> the half period.
  """

  FREE: Any = (0.0, laws.FREE)

  def __init__(self, reads: Collection[laws.Place], biases: Collection[laws.Place]):
    super().__init__()
    self._reads, self._biases = frozenset(reads), frozenset(biases)
    self.half_turns: dict[int, float] = {}

  def leaf(self, leaf: program_lib.Value, place: states_lib.Place, atom: int) -> Any:
    """A bias is shifted, an outgoing weight negated, all else stays."""
    if place in self._biases | self._reads and not self.allows(leaf.dtype):
      self.broken(atom, str(leaf.dtype))
    if place in self._biases:
      return 1.0, laws.FREE
    return 0.0, _ODD if place in self._reads else laws.FREE

  def vanish(self, op: Op, atom: int, state: Any) -> None:
    """Raises Broken if a parity is odd."""
    if state not in (laws.FREE, ZERO):
      raise Broken

  def contract(self, op: Op, atom: int, pair: tuple[int, int], states: Sequence[Any]) -> None:
    """No shift, and the signs cancel."""
    if ZERO not in states:
      super().contract(op, atom, pair, [self._parity(s) for s in states])

  def reduce(self, op: Op, atom: int, state: Any) -> None:
    """Neither shift nor sign."""
    self.vanish(op, atom, self._parity(state))

  def combine(self, op: Op, atom: int, states: Sequence[Any], linked: Sequence[bool]) -> Any:
    """Shift and parity of a result."""
    shifts = [0.0 if state == ZERO else state[0] for state in states]
    if any(shifts):
      return self._shifted(op, atom, states, shifts, linked)
    parity = super().combine(op, atom, [self._parity(s) for s in states], linked)
    return parity if parity == ZERO else (0.0, parity)

  def _shifted(
    self, op: Op, atom: int, states: Sequence[Any], shifts: Sequence[float], linked: Sequence[bool]
  ) -> Any:
    """Shift and parity where an operand is shifted; unlike a sign, a shift moves a zero."""
    if op.name in laws.MOVES or (op.name == 'convert_element_type' and _is_real(op)):
      return self._equal(laws.moved(states, linked))
    if op.name == 'gather':
      if laws.fills(op) or op.params['fill_value'] == 0:
        raise Broken
      self.vanish(op, atom, self._parity(states[1]))
      return self._equal(states[:1])
    if any(state != ZERO and state[1] for state in states):
      raise Broken
    if op.name in laws.SUMS:
      sign = -1 if op.name == 'sub' else 1
      return shifts[0] + sign * shifts[1], laws.FREE
    if op.name == 'neg':
      return -shifts[0], laws.FREE
    if op.name == 'mul' and None in (op.ins[0].number, op.ins[1].number):
      place = int(op.ins[0].number is None)  # Of the known factor.
      if op.ins[place].number is not None:
        return shifts[1 - place] * op.ins[place].number, laws.FREE
    if op.name == 'div' and op.ins[1].number:
      return shifts[0] / op.ins[1].number, laws.FREE
    if op.name in ('sin', 'cos') and _is_real(op):
      half_turn = math.pi / abs(shifts[0])
      if not math.isfinite(half_turn) or self.half_turns.setdefault(atom, half_turn) != half_turn:
        self.broken(atom, op.name)
      return 0.0, _ODD
    raise Broken

  def _equal(self, states: Iterable[Any]) -> Any:
    different = {self.FREE if state == ZERO else state for state in states}
    if len(different) > 1:
      raise Broken
    return different.pop()

  def _parity(self, state: Any) -> Any:
    """Parity of a value; Broken if it is shifted."""
    if state != ZERO and state[0]:
      raise Broken
    return state if state == ZERO else state[1]


def _is_real(op: Op) -> bool:
  """Whether a result is a float that is fine enough for a shift."""
  return laws.is_fine(op) and 'complex' not in str(op.outs[0].dtype)
