"""Slots: the weights of a network, sorted by the neurons that they join.

A parameter axis is a product of factors: pinned blocks, the neurons of a group, pinned elements of
a block. A slot has one axis per group and channels last; pinned factors are folded into the
channels. A pinned factor too long for that, such as the 784 pixels of a first layer, is an axis of
its own. Layers are then also equivariant to its permutations, which positional features undo.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax.symmetry import spec as spec_lib

# Path -> c features per weight.
Features = Mapping[str, Float[Array, '*shape c']]


@dataclasses.dataclass(frozen=True)
class View:
  """One parameter as a slot.

  Attributes:
    path: of the parameter.
    factors: lengths that its axes split into, in order.
    kept: positions in `factors` that become axes of the slot.
    labels: id of the group along each kept axis, or a name that begins with '=' for a long pinned
      factor.
  """

  path: str
  factors: tuple[int, ...]
  kept: tuple[int, ...]
  labels: tuple[str, ...]

  @property
  def sizes(self) -> tuple[int, ...]:
    """Lengths of the slot's axes."""
    return tuple(self.factors[place] for place in self.kept)

  @property
  def folded(self) -> int:
    """Weights that share the channels of one place of the slot."""
    return math.prod(self.factors) // math.prod(self.sizes)


@functools.lru_cache(maxsize=256)
def views(spec: spec_lib.Spec, max_folded: int) -> tuple[View, ...]:
  """One view per parameter, in the order of the spec.

  Where more than `max_folded` pinned weights would share channels, pinned factors become axes, the
  longest first. A kernel and a bias that end in the same pinned outputs share the label of that
  axis.
  """
  return tuple(_view(leaf, spec, max_folded) for leaf in spec.leaves)


def split(features: Float[Array, '*shape c'], view: View) -> Float[Array, '*sizes folded*c']:
  """The slot of c features per weight of a parameter."""
  channels = features.shape[-1]
  x = features.reshape(*view.factors, channels)
  order = (*view.kept, *_dropped(view), len(view.factors))
  return x.transpose(order).reshape(*view.sizes, view.folded * channels)


def join(
  slot: Float[Array, '*sizes folded*c'], view: View, shape: tuple[int, ...]
) -> Float[Array, '*shape c']:
  """Inverse of `split` for a parameter of that shape."""
  dropped = _dropped(view)
  order = (*view.kept, *dropped)
  x = slot.reshape(*view.sizes, *(view.factors[place] for place in dropped), -1)
  inverse = [order.index(place) for place in range(len(order))]
  return x.transpose(*inverse, len(order)).reshape(*shape, x.shape[-1])


def positions(view: View, num: int) -> jax.Array:
  """Sines and cosines of the position along every long pinned axis, at `num` frequencies.

  Returns:
    [*view.sizes, 2 * num * number of such axes].
  """
  parts = [jnp.zeros((*view.sizes, 0))]
  for axis, (label, size) in enumerate(zip(view.labels, view.sizes, strict=True)):
    if not label.startswith('='):
      continue
    place = (jnp.arange(size) + 0.5) / size
    angles = jnp.outer(place, math.pi * 2.0 ** jnp.arange(num))
    waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)
    shape = [1] * len(view.sizes) + [2 * num]
    shape[axis] = size
    parts.append(jnp.broadcast_to(waves.reshape(shape), (*view.sizes, 2 * num)))
  return jnp.concatenate(parts, -1)


def _dropped(view: View) -> tuple[int, ...]:
  return tuple(place for place in range(len(view.factors)) if place not in view.kept)


def _view(leaf: spec_lib.Leaf, spec: spec_lib.Spec, max_folded: int) -> View:
  layer = leaf.path.rpartition('/')[0]
  factors: list[int] = []
  names: list[str] = []
  kept: list[int] = []
  for place, (length, axis) in enumerate(zip(leaf.shape, leaf.axes, strict=True)):
    # The last axis of every parameter of a layer is its output.
    end = place == len(leaf.shape) - 1
    pinned = f'={layer} out' if end else f'={leaf.path} axis {place}'
    if axis.group is None:
      factors.append(length)
      names.append(pinned)
      continue
    kept.append(len(factors) + 1)
    factors += [axis.outer, spec.group(axis.group).size, axis.inner]
    names += [f'{pinned} outer', axis.group, f'{pinned} inner']
  loose = [place for place in range(len(factors)) if place not in kept]
  loose.sort(key=lambda place: factors[place])
  while math.prod(factors[place] for place in loose) > max_folded:
    kept.append(loose.pop())
  kept.sort()
  return View(leaf.path, tuple(factors), tuple(kept), tuple(names[place] for place in kept))
