"""Symmetries that a spec does not hold: matrices that mix units, and further rescalings.

A gauge acts on one set of units by a matrix A, or one for each unit of other groups, as for each
head of an attention; or by a vector of scales or signs.
"""

import dataclasses

import jax
import jax.numpy as jnp

from wsjax import typing

KINDS = ('general_linear', 'orthogonal', 'positive_scale', 'sign')


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
  """

  path: str
  dim: int
  factors: tuple[int, ...]
  at: int
  power: int = 1
  per: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Gauge:
  """A symmetry beyond the spec.

  Attributes:
    kind: from `KINDS`.
    group: id of the group of the spec whose units it acts on; None if the spec has none.
    size: number of units n.
    axes: parameter axes that it acts on.
    per: (name, size) of the sets for each unit of which there is a matrix.
  """

  kind: str
  group: str | None
  size: int
  axes: tuple[GaugeAxis, ...]
  per: tuple[tuple[str, int], ...] = ()

  @property
  def names(self) -> tuple[str, ...]:
    """Parameter axes as 'path:dim'; '^power' where it is not 1, '^-T' the inverse transpose."""
    inverse = '^-T' if self.kind in KINDS[:2] else None
    return tuple(
      f'{a.path}:{a.dim}' + ('' if a.power == 1 else inverse or f'^{a.power}') for a in self.axes
    )

  def __str__(self) -> str:
    symbols = ('GL({n})', 'O({n})', 'scales of {n} units', 'signs of {n} units')
    text = symbols[KINDS.index(self.kind)].format(n=self.size)
    if self.per:
      text += ' for each unit of ' + ' and '.join(name for name, _ in self.per)
    return text

  def random(self, key: jax.Array) -> jax.Array:
    """A random element: matrices [*per, n, n] with condition number at most e, or [n] numbers."""
    if self.kind == 'sign':
      return jax.random.rademacher(key, (self.size,), jnp.float32)
    if self.kind == 'positive_scale':
      return jnp.exp(jax.random.uniform(key, (self.size,), minval=-0.5, maxval=0.5))
    one, two, three = jax.random.split(key, 3)
    shape = tuple(n for _, n in self.per)
    turn = jax.random.orthogonal(one, self.size, shape)
    if self.kind == 'orthogonal':
      return turn
    scale = jnp.exp(jax.random.uniform(two, (*shape, 1, self.size), minval=-0.5, maxval=0.5))
    return turn * scale @ jax.random.orthogonal(three, self.size, shape)

  def act(self, element: jax.Array, params: typing.Params) -> dict[str, jax.Array]:
    """Weights of the same function: `params`, path -> weights of one network, moved by an element,
    matrices [*per, n, n], or [n] scales or signs.
    """
    moved = dict(params)
    for axis in self.axes:
      value = jnp.asarray(moved[axis.path])
      split = value.reshape(axis.factors)
      if self.kind in KINDS[2:]:
        shape = [1] * split.ndim
        shape[axis.at] = self.size
        split = split * (element**axis.power).reshape(shape)
      else:
        a = jnp.linalg.inv(element) if axis.power < 0 else jnp.swapaxes(element, -1, -2)
        dims, new = list(range(split.ndim)), split.ndim
        mixed = [new if dim == axis.at else dim for dim in dims]
        split = jnp.einsum(split, dims, a, [*axis.per, axis.at, new], mixed)
      moved[axis.path] = split.reshape(value.shape).astype(value.dtype)
    return moved
