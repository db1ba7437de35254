"""Equivariant layers on the slots of one network.

For an MLP with one hidden layer it is a deep set over hidden units, beside one row for the output
biases.

Source: Zhou et al. 2024, arXiv:2402.05232 (the linear maps between slots).
"""

import functools

import flax.linen as nn
import jax

from wsjax.generators.parts import unit_slots
from wsjax.layers import spec_layers


class SlotNet(nn.Module):
  """Pre-norm residual blocks of equivariant linear maps.

  Written for one example; the output is zero at initialisation.

  Attributes:
    channels: labels -> channels of every slot that is written.
    width: of every slot between.
    depth: number of blocks.
    dropout: share of features dropped while training.
  """

  channels: unit_slots.Channels
  width: int
  depth: int
  dropout: float = 0.0

  @nn.compact
  def __call__(
    self, slots: unit_slots.Slots, given: jax.Array | None = None, *, train: bool = False
  ) -> dict[unit_slots.Labels, jax.Array]:
    """{labels: [*axes, c]}, features [g] or None -> {labels: [*axes, c']}."""
    names = {unit_slots.name(labels): labels for labels in slots}
    linear = functools.partial(
      spec_layers.SlotLinear,
      tuple(names.items()),
      tuple((name, labels, self.width) for name, labels in names.items()),
    )
    drop = nn.Dropout(self.dropout, deterministic=not train)
    state = linear(name='in')({n: slots[names[n]] for n in names})
    for number in range(self.depth):
      update = {
        name: nn.LayerNorm(name=f'norm{number} {name}')(value) for name, value in state.items()
      }
      update = linear(name=f'wide{number}')(update)
      for name, value in update.items():
        if given is not None:
          shift = nn.Dense(self.width, name=f'given{number} {name}')(given)
          value += unit_slots.along(shift, value)
        back = nn.Dense(self.width, name=f'back{number} {name}')
        state[name] += back(drop(nn.gelu(value)))
    out = {}
    for labels, width in self.channels:
      name = unit_slots.name(labels)
      value = nn.LayerNorm(name=f'norm {name}')(state[name])
      zeros = nn.initializers.zeros
      out[labels] = nn.Dense(width, kernel_init=zeros, name=f'out {name}')(value)
    return out


class Gains(nn.Module):
  """Slots scaled by numbers that depend on time and condition; zero at initialisation.

  A field over noisy weights is mostly such a multiple of them, which is hard to learn behind
  normalized layers.
  """

  @nn.compact
  def __call__(
    self, slots: unit_slots.Slots, given: jax.Array
  ) -> dict[unit_slots.Labels, jax.Array]:
    """{labels: [*axes, c]}, features [g] -> slots with every channel scaled."""
    scaled = {}
    for labels, value in slots.items():
      dense = nn.Dense(
        value.shape[-1], kernel_init=nn.initializers.zeros, name=unit_slots.name(labels)
      )
      scaled[labels] = value * unit_slots.along(dense(given), value)
    return scaled
