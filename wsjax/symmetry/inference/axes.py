"""Labels of array axes: operations unify, propagate or pin them.

Every value gets a label per axis, such that the operation is equivariant: if permutations act on
its operands, they act on its results. Uniform values (broadcast, or one number) have free labels,
since any permutation leaves them as they are. `rules` has a rule per primitive; a primitive without
a rule pins all that it touches.
"""

import collections
import dataclasses
from collections.abc import Callable

import numpy as np

from wsjax.symmetry.inference import atoms as atoms_lib
from wsjax.symmetry.inference import program as program_lib


@dataclasses.dataclass(eq=False, slots=True)
class Trace:
  """Relations between the axes of the operands and results of an operation.

  Attributes:
    links: (operand, its axis, result, its axis): passed on.
    contracts: (operand, its axis, operand, its axis): summed over in pairs.
    reduced: (operand, its axis): gone from the result.
    flat: whether the atoms of all axes pass on in row-major order.
  """

  links: list[tuple[int, int, int, int]]
  contracts: list[tuple[int, int, int, int]]
  reduced: list[tuple[int, int]]
  flat: bool = False


class Axes:
  """Labels of all values of a program.

  Attributes:
    atoms: what labels are made of.
    labels: id of a value -> label per axis.
    traces: id of an operation -> what it did.
    pins: name of a primitive -> ids of the operations that pinned an axis.
    unsupported: names of the primitives that there is no rule for.
    scans: number of a scan -> label of the axis over its rounds, where a rule notes it.
  """

  def __init__(
    self, program: program_lib.Program, rules: dict[str, Callable[['Axes', program_lib.Op], None]]
  ):
    self.atoms = atoms_lib.Atoms()
    self.labels: dict[int, list[atoms_lib.Label]] = {}
    self.traces: dict[int, Trace] = {}
    self.pins: dict[str, set[int]] = collections.defaultdict(set)
    self.unsupported: set[str] = set()
    self.scans: dict[int, atoms_lib.Label] = {}
    for value in program.leaves:
      self.labels[id(value)] = [self.atoms.new(n) for n in value.shape]
    for value in program.inputs:
      self.labels[id(value)] = [self.atoms.new(n, 'input') for n in value.shape]
    for op in program.ops:
      self._visit(op, rules.get(op.name))
    for value in program.outputs:
      for label in self.of(value):
        self.atoms.pin(label, 'output')

  def _visit(
    self, op: program_lib.Op, rule: Callable[['Axes', program_lib.Op], None] | None
  ) -> None:
    """Labels the results of one operation."""
    self.traces[id(op)] = Trace([], [], [])
    for out in op.outs:
      self.labels[id(out)] = [None] * len(out.shape)
    values = (*op.ins, *op.outs)
    if rule is None and any(value.shape for value in values):
      self.unsupported.add(op.name)
    empty = any(0 in value.shape for value in values)
    # An empty sum is zero.
    if rule is None or (empty and op.name not in ('reduce_sum', 'dot_general')):
      self.pin_all(op)
    else:
      rule(self, op)
    for out in op.outs:
      labels = self.labels[id(out)]
      for axis, label in enumerate(labels):
        if label is None:
          labels[axis] = self.atoms.new(out.shape[axis], op.name)

  def pairs(self, atom: int) -> bool:
    """Whether only rotations of pairs, the elements of an atom, pin it."""
    return self.atoms.reasons(atom) == ('rotary',)

  def of(self, value: program_lib.Value) -> list[atoms_lib.Label]:
    """Labels of a value; free ones, each time anew, if it is one number."""
    if value.number is not None:
      return [self.atoms.new(n) for n in value.shape]
    if id(value) not in self.labels:  # A constant: free where it does not vary along an axis.
      array = value.constant
      uniform = [
        array is not None and bool(n and np.all(array == np.take(array, [0], axis)))
        for axis, n in enumerate(value.shape)
      ]
      self.labels[id(value)] = [
        self.atoms.new(n, '' if same else 'constant')
        for n, same in zip(value.shape, uniform, strict=True)
      ]
    return self.labels[id(value)]

  def pin(self, op: program_lib.Op, label: atoms_lib.Label) -> None:
    """Pins an axis for the sake of an operation."""
    if label:
      self.pins[op.name].add(id(op))
      self.atoms.pin(label, op.name)

  def pin_all(self, op: program_lib.Op) -> None:
    """Pins every axis of the operands; results are pinned by default."""
    for value in op.ins:
      for label in self.of(value):
        self.pin(op, label)

  def pin_axis(self, op: program_lib.Op, operand: int, axis: int) -> None:
    """Pins one axis of one operand."""
    self.pin(op, self.of(op.ins[operand])[axis])

  def link(
    self,
    op: program_lib.Op,
    i: int,
    axis: int,
    o: int,
    out_axis: int,
    label: atoms_lib.Label | None = None,
  ) -> None:
    """Passes an axis of operand i, or a label made of its own, on to an axis of result o."""
    self.give(op, self.of(op.ins[i])[axis] if label is None else label, o, out_axis)
    self.traces[id(op)].links.append((i, axis, o, out_axis))

  def link_if(self, op: program_lib.Op, whole: bool, *links: tuple[int, int, int, int]) -> None:
    """Passes axes on, each as in `link`, if they are taken whole; otherwise pins them."""
    for i, axis, o, out_axis in links:
      if whole:
        self.link(op, i, axis, o, out_axis)
      else:
        self.pin_axis(op, i, axis)

  def give(self, op: program_lib.Op, label: atoms_lib.Label, o: int, out_axis: int) -> None:
    """Labels an axis of a result, or ties it if it has a label already."""
    labels = self.labels[id(op.outs[o])]
    if labels[out_axis] is None:
      labels[out_axis] = label
    else:
      self.atoms.unify(labels[out_axis], label, op.name)

  def free(self, op: program_lib.Op, o: int, out_axis: int) -> None:
    """Says that a result does not vary along an axis."""
    n = op.outs[o].shape[out_axis]
    self.labels[id(op.outs[o])][out_axis] = self.atoms.new(n)

  def contract(self, op: program_lib.Op, i: int, axis: int, j: int, other: int) -> None:
    """Ties two axes that are summed over in pairs."""
    one, two = self.of(op.ins[i])[axis], self.of(op.ins[j])[other]
    self.atoms.unify(one, two, op.name)
    self.traces[id(op)].contracts.append((i, axis, j, other))

  def reduce(self, op: program_lib.Op, i: int, axis: int) -> None:
    """Notes that an operand's axis is gone from the result."""
    self.traces[id(op)].reduced.append((i, axis))

  def window(
    self, op: program_lib.Op, label: atoms_lib.Label, n: int, cuts: tuple[int, ...]
  ) -> tuple[atoms_lib.Label, int]:
    """Splits an axis of length n into blocks that cuts do not go through, and pins their order.

    `cuts` are places where it is cut, or lengths that are added. Returns the label of one block and
    its length; () and 1 if all had to be pinned.
    """
    block = int(np.gcd.reduce([n, *map(abs, cuts)]))
    taken = self.atoms.take(label, n // block)
    if taken is None:
      self.pin(op, label)
      return (), 1
    self.pin(op, taken[0])
    return taken[1], block

  def link_blocks(
    self,
    op: program_lib.Op,
    i: int,
    axis: int,
    o: int,
    out_axis: int,
    block: tuple[atoms_lib.Label, int],
  ) -> None:
    """Labels a result's axis as blocks (label, length) one after the other, in fixed order."""
    label, size = block
    blocks = self.atoms.new(op.outs[o].shape[out_axis] // size, op.name)
    self.link(op, i, axis, o, out_axis, blocks + label)
