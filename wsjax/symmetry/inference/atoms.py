"""Atoms: factors of array axes on which permutations act, with unification.

The label of an array axis is a tuple of atoms, outermost factor first: the axis of a [height,
width, channel] image after a flatten is (height, width, channel). Only ever do atoms grow together,
split or get pinned. Each of the three makes the group that acts on them smaller, so whatever was
equivariant before still is, and no order of the calls can make a wrong group.

An atom may also be a sum: pieces one after the other, as behind a concatenation, each with a label
of its own. What acts on it acts on every piece by itself.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

Label = tuple[int, ...]
Piece = tuple[Label, int]  # With its length.


class Span(NamedTuple):
  """Elements of an axis, start to stop.

  Attributes:
    start: of the axis.
    stop: after the last one.
    atoms: their factors.
    behind: length of what follows the factors and has spans of its own.
    before: factors of the blocks, if only some elements of each block are meant.
    within: (start, stop, length) in a block, then.
  """

  start: int
  stop: int
  atoms: Label
  behind: int = 1
  before: Label = ()
  within: tuple[int, int, int] | None = None


class Atoms:
  """A union-find of atoms that can split; an axis of length 0 or 1 has none."""

  def __init__(self):
    self._sums: dict[int, list[Piece]] = {}
    self._parent: list[int] = []
    self._size: list[int] = []
    self._parts: dict[int, Label] = {}
    self._why: dict[int, dict[str, None]] = {}

  def new(self, size: int, why: str = '') -> Label:
    """A label of one new atom, pinned if a reason is given."""
    if size <= 1:
      return ()
    self._parent.append(len(self._parent))
    self._size.append(size)
    if why:
      self._why[len(self._parent) - 1] = {why: None}
    return (len(self._parent) - 1,)

  def expand(self, label: Iterable[int]) -> list[int]:
    """The present atoms of a label, each by its representative."""
    atoms = []
    for atom in label:
      root = self._find(atom)
      if root in self._parts:
        atoms += self.expand(self._parts[root])
      else:
        atoms.append(root)
    return atoms

  def size(self, atom: int) -> int:
    """Length of an atom that `expand` returned."""
    return self._size[atom]

  def pieces(self, atom: int) -> list[Piece] | None:
    """The pieces of an atom that `expand` returned, if it is a sum."""
    return self._sums.get(atom)

  def length(self, label: Label) -> int:
    """Length of an axis with that label."""
    return math.prod(self._size[atom] for atom in self.expand(label))

  def spread(self, label: Label, start: int = 0) -> list[Span]:
    """The pieces of an axis that begins at `start`, perhaps in each of several blocks."""
    atoms = self.expand(label)
    pieces = self._sums.get(atoms[0]) if atoms else None
    if pieces is None:
      return self._blocks(tuple(atoms), start)
    spans: list[Span] = []
    inner = math.prod(self._size[atom] for atom in atoms[1:])
    for piece, length in pieces:
      spans += self.spread((*piece, *atoms[1:]), start)
      start += length * inner
    return spans

  def _blocks(self, label: Label, start: int) -> list[Span]:
    """The spans of an axis whose outermost factor is no sum."""
    stop = start + self.length(label)
    at = next((i for i, atom in enumerate(label) if atom in self._sums), 0)
    length = self.length(label[at:])
    inside = self.spread(label[at:]) if at else []
    if not at or any(span.within or span.behind > 1 for span in inside):
      return [Span(start, stop, label)]
    return [Span(start, stop, label[:at], length)] + [
      Span(start + one, stop - length + two, atoms, 1, label[:at], (one, two, length))
      for one, two, atoms, *_ in inside
    ]

  def glue(self, pieces: Sequence[Piece]) -> Label:
    """The label of an axis that consists of pieces one after the other."""
    pieces = [piece for piece in pieces if piece[1]]
    if len(pieces) == 1:
      return pieces[0][0]
    label = self.new(sum(length for _, length in pieces))
    self._sums[label[0]] = pieces
    return label

  def cut(self, label: Label, length: int, why: str) -> tuple[Label, Label]:
    """Cuts the label of an axis into that of its first `length` elements and that of the others.

    Where a cut goes through a block of units, the block is pinned for reason `why`.
    """
    whole = self.length(label)
    if length in (0, whole):
      return ((), label) if not length else (label, ())
    atoms = self.expand(label)
    first, rest = atoms[0], tuple(atoms[1:])
    if not rest:
      return self._cut_atom(first, length, why)
    inner = self.length(rest)
    if length % inner == 0:
      one, two = self._cut_atom(first, length // inner, why)
      return one + rest, two + rest
    self.pin(label, why)
    return self.new(length, why), self.new(whole - length, why)

  def _cut_atom(self, atom: int, length: int, why: str) -> tuple[Label, Label]:
    if atom not in self._sums:
      pieces = [(self.new(n), n) for n in (length, self._size[atom] - length)]
      self._sums[atom] = pieces
      for reason in self._why.get(atom, ()):
        self.pin((atom,), reason)
      return pieces[0][0], pieces[1][0]
    before: list[Piece] = []
    rest = list(self._sums[atom])
    while length >= rest[0][1]:
      length -= rest[0][1]
      before.append(rest.pop(0))
      if not length:
        break
    if length:
      label, n = rest.pop(0)
      one, two = self.cut(label, length, why)
      self._sums[atom] = [*before, (one, length), (two, n - length), *rest]
      before.append((one, length))
      rest.insert(0, (two, n - length))
    return self.glue(before), self.glue(rest)

  def reasons(self, atom: int) -> tuple[str, ...]:
    """Why an atom that `expand` returned is pinned; empty if it is not."""
    return tuple(self._why.get(atom, ()))

  def pin(self, label: Label, why: str) -> None:
    """Lets nothing act on an axis any more."""
    for atom in self.expand(label):
      self._why.setdefault(atom, {})[why] = None
      for piece, _ in self._sums.get(atom, ()):
        self.pin(piece, why)

  def unify(self, one: Label, two: Label, why: str) -> None:
    """Lets the same act on two axes of the same length.

    Where their factors do not line up, as 6 x 4 and 8 x 3 do not, both are pinned for reason `why`.
    """
    left, right = list(reversed(one)), list(reversed(two))
    while left and right:
      a, b = self._pop(left), self._pop(right)
      if a is None or b is None:
        left += [] if a is None else [a]
        right += [] if b is None else [b]
      elif self._size[a] == self._size[b]:
        self._join(a, b)
      elif max(sizes := (self._size[a], self._size[b])) % min(sizes) == 0:
        self._split(a if sizes[0] > sizes[1] else b, min(sizes))
        left.append(a)
        right.append(b)
      else:
        self._pin_to_boundary(a, b, left, right, why)
    if left or right:
      raise ValueError(f'{why} was to unify axes of different lengths.')

  def take(self, label: Label, size: int) -> tuple[Label, Label] | None:
    """Cuts the label of an axis, or of several in a row, into (before, behind).

    `size` is the length before the cut; an atom across it is split if its length divides. None if
    there is no such cut.
    """
    head, rest = [], list(reversed(label))
    length = 1
    while length < size:
      atom = self._pop(rest)
      if atom is None:
        if not rest:
          return None
        continue
      if size % (length * self._size[atom]) == 0:
        head.append(atom)
        length *= self._size[atom]
        continue
      wanted = size // length
      if size % length or self._size[atom] % wanted:
        return None
      self._split(atom, wanted)
      rest.append(atom)
    return tuple(head), tuple(self.expand(reversed(rest)))

  def _pop(self, stack: list[int]) -> int | None:
    """Takes the next atom; None if it had to be replaced by its parts."""
    if not stack:
      return None
    root = self._find(stack.pop())
    if root not in self._parts:
      return root
    stack.extend(reversed(self._parts[root]))
    return None

  def _find(self, atom: int) -> int:
    root = atom
    while self._parent[root] != root:
      root = self._parent[root]
    while self._parent[atom] != root:
      self._parent[atom], atom = root, self._parent[atom]
    return root

  def _join(self, a: int, b: int) -> None:
    if a == b:
      return
    if b in self._sums and a not in self._sums:
      a, b = b, a
    pieces = self._sums.pop(b, None)
    self._parent[b] = a
    if b in self._why:
      self._why.setdefault(a, {}).update(self._why.pop(b))
    if pieces:
      self._join_sums(a, pieces)
    if a in self._sums:
      for why in self._why.get(a, ()):
        self.pin((a,), why)

  def _join_sums(self, atom: int, pieces: Sequence[Piece]) -> None:
    """Ties every piece of a sum to the elements of an atom at the same places."""
    rest: Label = (atom,)
    for label, length in pieces:
      head, rest = self.cut(rest, length, 'concatenate')
      self.unify(head, label, 'concatenate')

  def _split(self, atom: int, outer: int) -> None:
    inner = self._size[atom] // outer
    if atom in self._sums:  # All blocks alike, in fixed order.
      rest: Label = (atom,)
      blocks = []
      for _ in range(outer):
        block, rest = self.cut(rest, inner, 'concatenate')
        blocks.append(block)
      for block in blocks[1:]:
        self.unify(blocks[0], block, 'concatenate')
      del self._sums[atom]
      self._parts[atom] = self.new(outer, 'concatenate') + blocks[0]
      return
    parts = self.new(outer) + self.new(inner)
    self._parts[atom] = parts
    if atom in self._why:
      for why in self._why.pop(atom):
        self.pin(parts, why)

  def _pin_to_boundary(self, a: int, b: int, left: list[int], right: list[int], why: str) -> None:
    """Pins what stands before the next cut that both axes have."""
    ends = [self._size[a], self._size[b]]
    self.pin((a, b), why)
    while ends[0] != ends[1]:
      side = 0 if ends[0] < ends[1] else 1
      stack = (left, right)[side]
      atom = self._pop(stack)
      if atom is not None:
        self.pin((atom,), why)
        ends[side] *= self._size[atom]
