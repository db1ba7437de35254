"""Roles of parameter axes: outgoing weights of units, and biases.

An axis has outgoing weights where it is contracted with data. A bias is a parameter with
one axis that is added, as it is, to data.
"""

from collections.abc import Sequence
from typing import Any

from wsjax.symmetry.inference import laws
from wsjax.symmetry.inference import program as program_lib
from wsjax.symmetry.inference import states as states_lib

Op = program_lib.Op
_ADDED = ('add', 'add_any')


class OriginLaw(states_lib.Law):
  """States are (axes of parameters that a value comes from, unchanged?).

  Args:
    program: to tell parameters from data.

  Attributes:
    reads: (leaf, axis) of all that read.
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
    self.reads: set[tuple[int, int]] = set()
    self.biases: set[tuple[int, int]] = set()

  def leaf(self, leaf: program_lib.Value, axis: int, atom: int) -> Any:
    """A parameter comes from itself."""
    return frozenset([(leaf.index, axis)]), True

  def contract(self, op: Op, atom: int, pair: tuple[int, int], states: Sequence[Any]) -> None:
    """Notes outgoing weights; of two parameters, those of the second."""
    is_data = [id(op.ins[i]) in self._data for i in pair]
    if not is_data[1]:
      self.reads |= states[1][0]
    elif not is_data[0]:
      self.reads |= states[0][0]

  def combine(self, op: Op, atom: int, states: Sequence[Any], linked: Sequence[bool]) -> Any:
    """Where a result comes from; notes biases where they are added."""
    if any(id(out) in self._data for out in op.outs):
      if op.name in _ADDED:
        for value, (origins, as_is) in zip(op.ins, states, strict=True):
          if id(value) not in self._data and as_is and len(origins) == 1:
            self.biases |= {o for o in origins if self._ranks[o[0]] == 1}
      return self.FREE
    origins = frozenset().union(*(state[0] for state in states))
    as_is = op.name in laws.MOVES and all(state[1] for state in states)
    return origins, as_is or op.name == 'convert_element_type'
