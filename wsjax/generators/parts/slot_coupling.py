"""Invertible layers on the weights of a network that are equivariant to its hidden units.

These are the layers of `coupling` on slots. Masks depend only on pinned positions, pixels and
classes, which are common to all hidden units. So one layer changes half of the incoming weights of
every unit given the other half, and is equivariant to reordering. A kernel between hidden layers
has no pinned position and is kept or changed whole.

Source: Köhler et al. 2020, arXiv:2006.02425, theorem 1 (equivariant maps give invariant densities);
Kingma & Dhariwal 2018, arXiv:1807.03039, section 3.2 (invertible linear maps of channels by
triangular factors).
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.generators.parts import coupling, slot_net, unit_slots
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import layout

Moved = tuple[dict[unit_slots.Labels, jax.Array], jax.Array]


def masks(channels: unit_slots.Channels, layer: int) -> dict[unit_slots.Labels, np.ndarray]:
  """Masks of the channels that a coupling keeps: {labels: [c]}, 1 = kept.

  The channels of all slots are numbered through, and halved by binary digits of the number: see
  `coupling.bit_mask`.
  """
  flat = coupling.bit_mask(sum(width for _, width in channels), layer)
  ends = np.cumsum([width for _, width in channels])[:-1]
  return {labels: part for (labels, _), part in zip(channels, np.split(flat, ends), strict=True)}


class SlotMix(nn.Module):
  """y = L U (x - shift), one product per slot that all its units share.

  Attributes:
    channels: of every slot.
  """

  channels: unit_slots.Channels

  def setup(self):
    """Starts as the identity."""
    zeros = nn.initializers.zeros
    self.triangles = {
      labels: (
        self.param(f'shift {unit_slots.name(labels)}', zeros, (width,)),
        self.param(f'scale {unit_slots.name(labels)}', zeros, (width,)),
        self.param(f'mix {unit_slots.name(labels)}', zeros, (width, width)),
      )
      for labels, width in self.channels
    }

  def forward(self, slots: unit_slots.Slots, condition: jax.Array | None = None) -> Moved:
    """(slots, log |det| in nats) of slots."""
    del condition
    moved, total = {}, jnp.zeros(())
    for labels, x in slots.items():
      shift, lower, upper, log_scale = self._factors(labels)
      moved[labels] = (x - unit_slots.along(shift, x)) @ upper.T @ lower.T
      total += math.prod(x.shape[:-1]) * jnp.sum(log_scale)
    return moved, total

  def inverse(self, slots: unit_slots.Slots, condition: jax.Array | None = None) -> Moved:
    """The inverse of `forward`, and the log-determinant of the inverse."""
    del condition
    moved, total = {}, jnp.zeros(())
    for labels, y in slots.items():
      shift, lower, upper, log_scale = self._factors(labels)
      flat = y.reshape(-1, y.shape[-1]).T
      solve = jax.scipy.linalg.solve_triangular
      flat = solve(lower, flat, lower=True, unit_diagonal=True)
      moved[labels] = solve(upper, flat).T.reshape(y.shape)
      moved[labels] += unit_slots.along(shift, y)
      total -= math.prod(y.shape[:-1]) * jnp.sum(log_scale)
    return moved, total

  def _factors(
    self, labels: unit_slots.Labels
  ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    shift, log_scale, mix = self.triangles[labels]
    lower = jnp.tril(mix, -1) + jnp.eye(len(mix))
    upper = jnp.triu(mix, 1) + jnp.diag(jnp.exp(log_scale))
    return shift, lower, upper, log_scale


class SlotCoupling(nn.Module):
  """Some channels scale and shift the others, by an equivariant network.

  Attributes:
    layer: number of the layer, which decides what is kept.
    channels: of every slot.
    width: of the network in it.
    depth: blocks of it.
    max_log_scale: bound of the logarithm of the scale.

  Source: Dinh et al. 2017, arXiv:1605.08803, section 3.2.
  """

  layer: int
  channels: unit_slots.Channels
  width: int
  depth: int
  max_log_scale: float = 2.0

  def setup(self):
    """Starts as the identity."""
    self.kept = masks(self.channels, self.layer)
    outputs = tuple((labels, 2 * width) for labels, width in self.channels)
    self.net = slot_net.SlotNet(outputs, self.width, self.depth)

  def forward(self, slots: unit_slots.Slots, condition: jax.Array | None = None) -> Moved:
    """(slots, log |det| in nats) of slots and a condition [C]."""
    affine, total = self._affine(slots, condition)
    return {
      labels: x * jnp.exp(affine[labels][0]) + affine[labels][1] for labels, x in slots.items()
    }, total

  def inverse(self, slots: unit_slots.Slots, condition: jax.Array | None = None) -> Moved:
    """The inverse of `forward`, and the log-determinant of the inverse."""
    affine, total = self._affine(slots, condition)
    return {
      labels: (y - affine[labels][1]) * jnp.exp(-affine[labels][0]) for labels, y in slots.items()
    }, -total

  def _affine(
    self, slots: unit_slots.Slots, condition: jax.Array | None
  ) -> tuple[dict[unit_slots.Labels, tuple[jax.Array, jax.Array]], jax.Array]:
    """Log-scales and shifts, 0 where kept, and the sum of all log-scales."""
    kept = {k: unit_slots.along(self.kept[k], x) for k, x in slots.items()}
    outs = self.net({k: x * kept[k] for k, x in slots.items()}, condition)
    affine, total, bound = {}, jnp.zeros(()), self.max_log_scale
    for labels, out in outs.items():
      log_scale, shift = jnp.split(out, 2, -1)
      changed = 1 - kept[labels]
      log_scale = bound * jnp.tanh(log_scale / bound) * changed
      affine[labels] = log_scale, shift * changed
      total += jnp.sum(log_scale)
    return affine, total


class SlotStack(nn.Module):
  """Couplings with a mix before each and after the last, on flat weights.

  `forward` goes from data to noise, `inverse` from noise to data.

  Attributes:
    spec: of the networks.
    num_layers: number of couplings.
    width: of the networks in them.
    depth: blocks of those.
  """

  spec: spec_lib.Spec
  num_layers: int
  width: int
  depth: int

  def setup(self):
    """Lists the layers from data to noise."""
    channels = unit_slots.channels(self.spec)
    layers = []
    for number in range(self.num_layers):
      layers.append(SlotMix(channels))
      layers.append(SlotCoupling(number, channels, self.width, self.depth))
    self.layers = [*layers, SlotMix(channels)]

  def forward(
    self, x: jax.Array, condition: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array]:
    """([D] noise, log |det| in nats) of [D] weights and a condition [C]."""
    slots, total = coupling.forward(self.layers, self._slots(x), condition)
    return self._flat(slots), total

  def inverse(
    self, y: jax.Array, condition: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array]:
    """([D] weights, log |det| in nats) of [D] noise and a condition [C]."""
    slots, total = coupling.inverse(self.layers, self._slots(y), condition)
    return self._flat(slots), total

  def _slots(self, x: jax.Array) -> unit_slots.Slots:
    return unit_slots.read(layout.unflatten(x, self.spec), self.spec)

  def _flat(self, slots: unit_slots.Slots) -> jax.Array:
    return layout.flatten(unit_slots.write(slots, self.spec), self.spec)
