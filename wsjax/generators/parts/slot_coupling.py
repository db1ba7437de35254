"""Layers of `coupling` on slots, equivariant to the order of hidden units.

Masks depend only on pinned positions, pixels and classes, which are common to all hidden units. So
one layer changes half of the incoming weights of every unit given the other half. A kernel between
hidden layers has no pinned position and is kept or changed whole.

Source: Köhler et al. 2020, arXiv:2006.02425, theorem 1 (equivariant maps give invariant densities);
Kingma & Dhariwal 2018, arXiv:1807.03039, section 3.2 (invertible linear maps of channels by
triangular factors).
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.generators.parts import coupling, unit_slots
from wsjax.symmetry import spec as spec_lib

Moved = tuple[unit_slots.Slots, jax.Array]  # Slots, and the log-determinant in nats.


def masks(channels: unit_slots.Channels, layer: int) -> dict[unit_slots.Labels, np.ndarray]:
  """{labels: [c]}, 1 = kept, of the channels of all slots, numbered through: see `bit_mask`."""
  flat = coupling.bit_mask(sum(width for _, width in channels), layer)
  ends = np.cumsum([width for _, width in channels])[:-1]
  return {labels: part for (labels, _), part in zip(channels, np.split(flat, ends), strict=True)}


class SlotMix(nn.Module):
  """y = L U (x - shift), one product per slot that all its units share."""

  channels: unit_slots.Channels

  def setup(self):
    """Starts as the identity."""
    self.triangles = {
      labels: tuple(
        self.param(f'{part} {unit_slots.name(labels)}', nn.initializers.zeros, shape)
        for part, shape in (('shift', (width,)), ('scale', (width,)), ('mix', (width, width)))
      )
      for labels, width in self.channels
    }

  def forward(self, slots: unit_slots.Slots, condition: coupling.Given = None) -> Moved:
    """Data to noise."""
    del condition
    moved, total = {}, jnp.zeros(())
    for labels, x in slots.items():
      shift, lower, upper, log_scale = self._factors(labels)
      moved[labels] = (x - unit_slots.along(shift, x)) @ upper.T @ lower.T
      total += math.prod(x.shape[:-1]) * jnp.sum(log_scale)
    return moved, total

  def inverse(self, slots: unit_slots.Slots, condition: coupling.Given = None) -> Moved:
    """Noise to data."""
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

  def _factors(self, labels: unit_slots.Labels) -> tuple[jax.Array, ...]:
    shift, log_scale, mix = self.triangles[labels]
    lower = jnp.tril(mix, -1) + jnp.eye(len(mix))
    upper = jnp.triu(mix, 1) + jnp.diag(jnp.exp(log_scale))
    return shift, lower, upper, log_scale


class SlotCoupling(nn.Module):
  """Some channels scale and shift the others, by an equivariant network: see `AffineCoupling`."""

  layer: int
  channels: unit_slots.Channels
  width: int
  depth: int
  max_log_scale: float = 2.0

  def setup(self):
    """Starts as the identity."""
    self.kept = masks(self.channels, self.layer)
    outputs = tuple((labels, 2 * width) for labels, width in self.channels)
    self.net = unit_slots.SlotNet(outputs, self.width, self.depth)

  def forward(self, slots: unit_slots.Slots, condition: coupling.Given = None) -> Moved:
    """Data to noise, given a condition [C]."""
    affine, total = self._affine(slots, condition)
    return {k: x * jnp.exp(affine[k][0]) + affine[k][1] for k, x in slots.items()}, total

  def inverse(self, slots: unit_slots.Slots, condition: coupling.Given = None) -> Moved:
    """Noise to data, given a condition [C]."""
    affine, total = self._affine(slots, condition)
    return {k: (y - affine[k][1]) * jnp.exp(-affine[k][0]) for k, y in slots.items()}, -total

  def _affine(
    self, slots: unit_slots.Slots, condition: coupling.Given
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
  """Couplings with a mix before each and after the last, on flat weights, from data to noise.

  `width` and `depth` are those of the network in each coupling.
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
      layers += [SlotMix(channels), SlotCoupling(number, channels, self.width, self.depth)]
    self.layers = [*layers, SlotMix(channels)]

  def forward(self, x: jax.Array, condition: coupling.Given = None) -> coupling.Moved:
    """Weights [D] to noise [D], given a condition [C]."""
    slots = unit_slots.of_tokens(x[None], self.spec)
    slots, total = coupling.through(self.layers, slots, condition)
    return unit_slots.to_tokens(slots, self.spec)[0], total

  def inverse(self, y: jax.Array, condition: coupling.Given = None) -> coupling.Moved:
    """Noise [D] to weights [D], given a condition [C]."""
    slots = unit_slots.of_tokens(y[None], self.spec)
    slots, total = coupling.through(self.layers, slots, condition, inverse=True)
    return unit_slots.to_tokens(slots, self.spec)[0], total
