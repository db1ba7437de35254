"""Loss-conditioned update: weights, their loss and a requested loss to new weights.

A token is a hidden unit with its incoming weights, bias and outgoing weights, so that the update is
equivariant to the order of units. Units that start alike still have to become different: each has a
role, its rank in an order that moves with the units. The output is a change of the input weights,
which is zero at initialisation.

Source: Peebles et al. 2022, arXiv:2209.12892, sections 2 and 3; there tokens are pieces of layers,
the order of units is learned by augmentation, and the new weights are found by diffusion.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax import config, typing
from wsjax.generators.parts import unit_slots
from wsjax.layers import slots, transformer
from wsjax.symmetry import spec as spec_lib

# Standard deviation of the vectors of roles at initialisation. Units share most of their token, the
# prompt and the pinned weights; with small roles, most of the training goes into separating them.
_ROLE_STD = 3.0


def check_heads(width: int = 256, num_heads: int = 4, **_: object) -> None:
  """Raises ValueError unless the heads of a section `prompt.model` divide its width."""
  if width % num_heads:
    raise ValueError(
      f'prompt.model.num_heads is {num_heads}; allowed: divisors of prompt.model.width, {width}.'
    )


class Prompted(nn.Module):
  """Update of one network by its loss and the requested loss.

  Attributes:
    spec: of the networks; their hidden units are one group.
    scales: path -> size of a leaf. Leaves are read divided by it, and what is added to them is
      multiplied by it.
    width: of a token.
    depth: blocks of attention between units.
    num_heads: of the attention; divides `width`.
  """

  spec: spec_lib.Spec
  scales: tuple[tuple[str, float], ...]
  width: config.PositiveInt = 256
  depth: config.NonNegativeInt = 2
  num_heads: config.PositiveInt = 4

  @nn.compact
  def __call__(self, params: typing.Params, loss: jax.Array, wanted: jax.Array) -> typing.Params:
    """Computes new weights of one network from its loss and the requested loss, nats above 0.

    Raises:
      ValueError: see `views`.
    """
    per_unit, pinned = views(self.spec)
    scales = dict(self.scales)
    scaled = {path: params[path] / scales[path] for path in scales}
    units = jnp.concatenate([_read(scaled, view) for view in per_unit], -1)
    common = jnp.concatenate([jnp.zeros(0), *(_read(scaled, view) for view in pinned)])
    prompt = jnp.log(jnp.stack([loss, wanted]))
    given = nn.silu(nn.Dense(self.width, name='prompt')(prompt))
    given = nn.silu(nn.Dense(self.width, name='given')(given))
    h = nn.Dense(self.width, name='units')(units) + given[None]
    h += nn.Dense(self.width, name='common')(common)[None]
    h += self._roles(units)
    for number in range(self.depth):
      block = transformer.Block(self.width, self.num_heads, 0.0, name=f'block{number}')
      h = block(h, given)
    h = nn.LayerNorm(name='norm')(h)
    return {
      **self._changed(params, per_unit, h, 'unit'),
      **self._changed(params, pinned, h.mean(0), 'pinned'),
    }

  def _roles(self, units: jax.Array) -> jax.Array:
    """Learned embedding [n, width] of the rank of each hidden unit.

    Units are ordered along a learned direction of their weights. Sows 'ranks', [n] int.
    """
    place = nn.Dense(1, use_bias=False, name='order')(units)[:, 0]
    # Ranks have no gradient, so the direction keeps its initial value.
    ranks = jnp.argsort(jnp.argsort(jax.lax.stop_gradient(place)))
    self.sow('intermediates', 'ranks', ranks)
    normal = nn.initializers.normal(_ROLE_STD)
    return nn.Embed(len(units), self.width, embedding_init=normal, name='role')(ranks)

  def _changed(
    self, params: typing.Params, chosen: tuple[slots.View, ...], h: jax.Array, name: str
  ) -> typing.Params:
    """Scales the parameters of some views and adds a change.

    Weight decay shrinks every weight of a unit by one factor, which a narrow token cannot express
    weight by weight.
    """
    scales, zeros = dict(self.scales), nn.initializers.zeros
    changed = {}
    for view in chosen:
      out = nn.Dense(view.folded + 1, kernel_init=zeros, name=f'{name} {view.path}')(h)
      start = _read(params, view)
      slot = start * (1 + out[..., :1]) + scales[view.path] * out[..., 1:]
      shape = params[view.path].shape
      changed[view.path] = slots.join(slot, view, shape)[..., 0]
    return changed


def views(spec: spec_lib.Spec) -> tuple[tuple[slots.View, ...], tuple[slots.View, ...]]:
  """Views of the parameters with an axis of hidden units, and of those without.

  Raises:
    ValueError: if hidden units are not one group, or a parameter joins units with each other.
  """
  if len(spec.groups) != 1:
    raise ValueError(
      f'A prompted update reads networks with one group of hidden units; got {len(spec.groups)}.'
    )
  found = slots.views(spec, unit_slots.MAX_FOLDED)
  if joined := [view.path for view in found if len(view.kept) > 1]:
    raise ValueError(f'A prompted update reads no leaf that joins units; got {joined[0]!r}.')
  per_unit = tuple(view for view in found if view.kept)
  return per_unit, tuple(view for view in found if not view.kept)


def _read(params: Mapping[str, jax.Array], view: slots.View) -> jax.Array:
  """Weights [n, folded] of every unit, or [folded] of a pinned parameter."""
  return slots.split(params[view.path][..., None], view)
