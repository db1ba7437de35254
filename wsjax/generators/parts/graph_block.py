"""Transformer block over neurons as nodes and weights as edges.

Every neuron attends to all neurons. Where a weight joins two of them, features of the weight are
added to the score and to the value.

Source: Diao & Loynd 2023, arXiv:2210.05062 (edges in attention); Peebles & Xie 2023,
arXiv:2212.09748 (adaptive norms).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp


class Joint(NamedTuple):
  """Position of a grid of edges among the nodes.

  Attributes:
    name: of its own parameters.
    rows: nodes along its first axis.
    columns: nodes along its second axis.
  """

  name: str
  rows: slice
  columns: slice


class GraphBlock(nn.Module):
  """Attention, an MLP per node and one per edge, residual.

  Attributes:
    joints: positions of the edges.
    width: of a node.
    edge_width: of an edge.
    num_heads: of the attention; divides `width`.
    dropout: rate in training.
  """

  joints: Sequence[Joint]
  width: int
  edge_width: int
  num_heads: int
  dropout: float

  @nn.compact
  def __call__(
    self, nodes: jax.Array, edges: Mapping[str, jax.Array], given: jax.Array, *, train: bool = False
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Nodes [N, width], grids [n, m, edge_width], [g] -> nodes and grids."""
    zeros = nn.initializers.zeros
    modulation = nn.Dense(6 * self.width, kernel_init=zeros, name='given')
    # [6, 1, width]: shift, scale and gate of either branch.
    modulation = modulation(given).reshape(6, 1, self.width)
    drop = nn.Dropout(self.dropout, deterministic=not train)

    def normed(x: jax.Array, shift: jax.Array, scale: jax.Array) -> jax.Array:
      norm = nn.LayerNorm(use_bias=False, use_scale=False)
      return norm(x) * (1 + scale) + shift

    shift, scale, gate = modulation[:3]
    h = normed(nodes, shift, scale)
    edges = self._update(h, edges)
    nodes += (1 + gate) * drop(self._attend(h, edges))
    shift, scale, gate = modulation[3:]
    h = nn.Dense(4 * self.width, name='wide')(normed(nodes, shift, scale))
    back = nn.Dense(self.width, name='back')
    return nodes + (1 + gate) * drop(back(nn.gelu(h))), edges

  def _attend(self, nodes: jax.Array, edges: Mapping[str, jax.Array]) -> jax.Array:
    """Computes the values [N, width] that every node attends to."""
    size = self.width // self.num_heads
    heads = (self.num_heads, size)
    query, key, value = (
      nn.DenseGeneral(heads, name=name)(nodes) for name in ('query', 'key', 'value')
    )
    scores = jnp.einsum('ihd,jhd->ijh', query, key) / jnp.sqrt(float(size))
    for joint in self.joints:
      both = nn.Dense(2 * self.num_heads, name=f'score {joint.name}')(edges[joint.name])
      down, up = jnp.split(both, 2, -1)
      scores = scores.at[joint.rows, joint.columns].add(down)
      scores = scores.at[joint.columns, joint.rows].add(up.swapaxes(0, 1))
    share = jax.nn.softmax(scores, 1)
    found = jnp.einsum('ijh,jhd->ihd', share, value)
    for joint in self.joints:
      both = nn.DenseGeneral((2, *heads), name=f'value {joint.name}')(edges[joint.name])
      found = found.at[joint.rows].add(
        jnp.einsum('ijh,ijhd->ihd', share[joint.rows, joint.columns], both[:, :, 0])
      )
      found = found.at[joint.columns].add(
        jnp.einsum('jih,ijhd->jhd', share[joint.columns, joint.rows], both[:, :, 1])
      )
    return nn.DenseGeneral(self.width, (-2, -1), name='heads')(found)

  def _update(self, nodes: jax.Array, edges: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Updates edges from both their nodes."""
    new = {}
    for joint in self.joints:
      edge, name = edges[joint.name], joint.name
      dense = [
        nn.Dense(2 * self.edge_width, use_bias=i == 0, name=f'{what} {name}')
        for i, what in enumerate(('edge', 'row', 'column'))
      ]
      h = dense[0](nn.LayerNorm(name=f'norm {name}')(edge))
      h += dense[1](nodes[joint.rows])[:, None]
      h += dense[2](nodes[joint.columns])[None]
      back = nn.Dense(self.edge_width, name=f'back {name}')
      new[name] = edge + back(nn.gelu(h))
    return new
