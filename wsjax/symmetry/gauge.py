"""Symmetries that a spec does not hold: matrices that mix units, and further rescalings.

A gauge acts on one set of units by a matrix A, or one for each unit of other groups, as for each
head of an attention; or by a vector of scales or signs.
"""

import dataclasses

import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.symmetry import slot as slot_lib

MATRICES = ('general_linear', 'orthogonal', 'complex', 'rotation')
KINDS = (*MATRICES, 'positive_scale', 'sign')


def matrices(*, orthogonal: bool, pairs: bool) -> str:
  """The kind of matrices, or of those that commute with rotations of pairs."""
  return MATRICES[orthogonal + 2 * pairs]


@dataclasses.dataclass(frozen=True)
class GaugeAxis:
  """Where a gauge acts on a parameter.

  Attributes:
    path: of the parameter.
    dim: the axis on which the units lie.
    factors: shape of the parameter with every axis split into its sets of units.
    at: position of the units in `factors`.
    power: +1 for A and -1 for its inverse transpose; the power of the scale or sign.
    per: positions in `factors` of the sets for each unit of which there is a matrix.
    piece: (start, stop) along the axis, if the gauge acts on that part of the parameter, of which
      `factors` is the shape.
    within: (start, stop, length) if it acts on a part of each block of that length.
    slots: if it acts on a part of the parameter that is taken at places of other axes; all else is
      about that part.
  """

  path: str
  dim: int
  factors: tuple[int, ...]
  at: int
  power: int = 1
  per: tuple[int, ...] = ()
  piece: tuple[int, int] | None = None
  within: tuple[int, int, int] | None = None
  slots: tuple[slot_lib.Slot, ...] = ()

  @property
  def name(self) -> str:
    """'path:dim', with the part of the parameter and the piece of the axis."""
    piece = '[{}:{}]'.format(*self.piece) if self.piece else ''
    piece += '[{}:{} of every {}]'.format(*self.within) if self.within else ''
    return f'{self.path}{"".join(map(str, self.slots))}:{self.dim}{piece}'


@dataclasses.dataclass(frozen=True)
class Gauge:
  """A symmetry beyond the spec.

  Attributes:
    kind: from `KINDS`; 'complex' are rotations of pairs times a scale, which multiply a pair by a
      complex number.
    group: id of the group of the spec whose units it acts on; None if the spec has none.
    size: number of units n.
    axes: parameter axes that it acts on.
    per: (name, size) of the sets for each unit of which there is a matrix, or scales.
  """

  kind: str
  group: str | None
  size: int
  axes: tuple[GaugeAxis, ...]
  per: tuple[tuple[str, int], ...] = ()

  @property
  def names(self) -> tuple[str, ...]:
    """Parameter axes as 'path:dim'; '^power' where it is not 1, '^-T' the inverse transpose."""
    inverse = '^-T' if self.kind in MATRICES else None
    return tuple(a.name + ('' if a.power == 1 else inverse or f'^{a.power}') for a in self.axes)

  def __str__(self) -> str:
    texts = (
      'GL({n})', 'O({n})', 'rotations and scales of pairs', 'rotations of pairs',
      'scales of {n} units', 'signs of {n} units',
    )  # fmt: skip
    text = texts[KINDS.index(self.kind)].format(n=self.size)
    if self.per:
      text += ' for each unit of ' + ' and '.join(name for name, _ in self.per)
    return text

  def random(self, key: jax.Array) -> jax.Array:
    """A random element: matrices [*per, n, n] with condition number at most e, or numbers
    [*per, n]."""
    shape = tuple(n for _, n in self.per)
    if self.kind == 'sign':
      return jax.random.rademacher(key, (*shape, self.size), jnp.float32)
    if self.kind == 'positive_scale':
      return jnp.exp(jax.random.uniform(key, (*shape, self.size), minval=-0.5, maxval=0.5))
    one, two, three = jax.random.split(key, 3)
    if self.kind in ('complex', 'rotation'):
      angle = jax.random.uniform(one, shape, minval=0, maxval=2 * jnp.pi)
      scale = jnp.exp(jax.random.uniform(two, shape, minval=-0.5, maxval=0.5))
      x, y = jnp.cos(angle), jnp.sin(angle)
      turn = jnp.stack([jnp.stack([x, -y], -1), jnp.stack([y, x], -1)], -2)
      return turn if self.kind == 'rotation' else turn * scale[..., None, None]
    turn = jax.random.orthogonal(one, self.size, shape)
    if self.kind == 'orthogonal':
      return turn
    scale = jnp.exp(jax.random.uniform(two, (*shape, 1, self.size), minval=-0.5, maxval=0.5))
    return turn * scale @ jax.random.orthogonal(three, self.size, shape)

  def act(self, element: jax.Array, params: typing.Params) -> dict[str, jax.Array]:
    """Weights of the same function: `params`, path -> weights of one network, moved by an element,
    matrices [*per, n, n], or [*per, n] scales or signs.
    """
    moved = dict(params)
    for axis in self.axes:
      whole = moved[axis.path]
      xp = whole.__array_namespace__()  # NumPy compiles nothing.
      value = slot_lib.take(axis.slots, whole)
      before, piece, after = _cut(value, axis.dim, axis.piece)
      blocks = piece
      if axis.within:
        shape = (*value.shape[: axis.dim], -1, axis.within[2], *value.shape[axis.dim + 1 :])
        blocks = piece.reshape(shape)
      first, part, last = _cut(blocks, axis.dim + 1, axis.within and axis.within[:2])
      split = part.reshape(axis.factors)
      dims, new = list(range(split.ndim)), split.ndim
      if self.kind not in MATRICES:
        split = xp.einsum(split, dims, element**axis.power, [*axis.per, axis.at], dims)
      else:
        a = xp.linalg.inv(element) if axis.power < 0 else xp.swapaxes(element, -1, -2)
        mixed = [new if dim == axis.at else dim for dim in dims]
        split = xp.einsum(split, dims, a, [*axis.per, axis.at, new], mixed)
      part = split.reshape(part.shape).astype(value.dtype)
      if axis.within:
        part = xp.concatenate([first, part, last], axis.dim + 1)
      part = part.reshape(piece.shape)
      if axis.piece:
        part = xp.concatenate([before, part, after], axis.dim)
      moved[axis.path] = slot_lib.put(axis.slots, whole, part)
    return moved


def _cut(
  value: jax.Array, dim: int, ends: tuple[int, int] | None
) -> tuple[jax.Array | None, jax.Array, jax.Array | None]:
  """What stands before, between and behind two places of an axis; all of it if there are none."""
  if ends is None:
    return None, value, None
  before, part, behind = (
    value[(slice(None),) * dim + (slice(*cut),)] for cut in ((0, ends[0]), ends, (ends[1], None))
  )
  return before, part, behind
