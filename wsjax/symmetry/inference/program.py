"""Program: a jaxpr as one flat list of operations, with all calls inlined; `lower` makes programs.

Loops appear once: `loop` makes the carried value, `close` equates the result of the body with it.
A condition's branches stand one after the other and `join` in one value.
"""

import dataclasses
from typing import Any

# Results that are the operand again, in another form.
_MOVES = {
  'broadcast_in_dim', 'convert_element_type', 'reshape', 'copy', 'squeeze',
  'transpose', 'stop_gradient', 'pvary', 'scan_in', 'shard_in', 'name', 'optimization_barrier',
}  # fmt: skip


@dataclasses.dataclass(eq=False, slots=True)
class Value:
  """An array of the program.

  Attributes:
    shape: of the array.
    dtype: of its elements.
    number: what every element is equal to, where that is known.
    constant: the array itself, for a constant that is not one number.
    source: 'leaf', 'input', 'constant' or 'made' by an operation; `index` says which leaf or input.
    scans: numbers of the scans in whose body it is made, anew in each round.
  """

  shape: tuple[int, ...]
  dtype: Any
  number: float | None = None
  constant: Any = None
  source: str = 'made'
  index: int = -1
  scans: tuple[int, ...] = ()


@dataclasses.dataclass(eq=False, slots=True)
class Op:
  """One operation; `needs` are values that it depends on besides its operands."""

  name: str
  params: dict[str, Any]
  ins: list[Value]
  outs: list[Value]
  needs: list[Value] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(eq=False, slots=True)
class Program:
  """Operations in order, from leaves and inputs to outputs."""

  leaves: list[Value]
  inputs: list[Value]
  outputs: list[Value]
  ops: list[Op]

  def first_uses(self) -> list[int]:
    """Where each leaf is first computed with; unused ones come last."""
    first: dict[int, int] = {}
    for place, op in reversed(list(enumerate(self.ops))):  # Users come before what they use.
      use = first.get(id(op.outs[0]), len(self.ops)) if op.name in _MOVES else place
      for value in op.ins:
        first[id(value)] = min(use, first.get(id(value), len(self.ops)))
    return [first.get(id(leaf), len(self.ops)) for leaf in self.leaves]
