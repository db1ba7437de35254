"""A graph transformer over the weights of one network.

Hidden neurons are nodes, and weights between two of them edges. The weights of a pinned neuron, a
pixel or a class, are features of the hidden neuron at their other end, which needs far fewer edges.
One more node has what belongs to no hidden neuron, the output biases. The field moves with the
hidden neurons, so it carries noise whose law ignores their order to a law that ignores it, too.

Source: Kofinas et al. 2024, arXiv:2403.12143 (networks as graphs); Köhler et al. 2020,
arXiv:2006.02425, theorem 1 (equivariant fields, invariant laws).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import config
from wsjax.generators import backbones
from wsjax.generators.backbones import Condition, Time, Tokens
from wsjax.generators.parts import unit_slots
from wsjax.layers import transformer
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib


class Joint(NamedTuple):
  """Nodes along both axes of a grid of edges, and the name of its parameters."""

  name: str
  rows: slice
  columns: slice


class GraphBlock(nn.Module):
  """Attention of every neuron to all neurons, an MLP per node and one per edge, residual.

  Features of the weight that joins two neurons are added to their score and to the value.

  Attributes:
    joints: positions of the edges.
    width: of a node.
    edge_width: of an edge.
    num_heads: of the attention; divides `width`.
    dropout: rate in training.

  Source: Diao & Loynd 2023, arXiv:2210.05062 (edges in attention); Peebles & Xie 2023,
    arXiv:2212.09748 (adaptive norms).
  """

  joints: Sequence[Joint]
  width: int
  edge_width: int
  num_heads: int
  dropout: float

  @nn.compact
  def __call__(
    self, nodes: jax.Array, edges: Mapping[str, jax.Array], given: jax.Array, *, train=False
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


class GraphTransformer(config.Section, nn.Module):
  """Neurons attend to neurons; time and condition modulate every block.

  For flat tokens that no codec has changed. The input is added to the output, each channel with a
  factor that depends on the time.

  Attributes:
    architecture: of the generated networks.
    width: of the nodes.
    edge_width: of the edges.
    depth: number of blocks.
    num_heads: of the attention; divides `width`.
    dropout: rate in every block in training.
  """

  EQUIVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)

  architecture: Annotated[model_lib.Model, config.Plugin('models')]
  width: config.PositiveInt = 128
  edge_width: config.PositiveInt = 32
  depth: config.NonNegativeInt = 4
  num_heads: config.PositiveInt = 4
  dropout: config.Rate = 0.0

  def __post_init__(self):
    super().__post_init__()
    transformer.check_heads(self.width, self.num_heads)

  @nn.compact
  def __call__(self, x: Tokens, t: Time, condition: Condition = None, *, train=False) -> Tokens:
    """Predicts the field at flat tokens x, time t in [0, 1] and a condition.

    Raises:
      ValueError: if `x` are not the flat tokens of a network of the architecture.
    """
    spec = self.architecture.spec
    given = backbones.features(t, condition, self.width)
    slots = unit_slots.of_tokens(x, spec)
    places = _places(spec)
    pairs = {unit_slots.name(labels): labels for labels in slots if len(labels) == 2}
    joints = [Joint(name, places[labels[:1]], places[labels[1:]]) for name, labels in pairs.items()]
    nodes = jnp.concatenate([self._nodes(slots, labels, place) for labels, place in places.items()])
    edges = {
      name: nn.Dense(self.edge_width, name=f'read {name}')(slots[labels])
      for name, labels in pairs.items()
    }
    for number in range(self.depth):
      sizes = (self.width, self.edge_width, self.num_heads, self.dropout)
      block = GraphBlock(joints, *sizes, name=f'block{number}')
      nodes, edges = block(nodes, edges, given, train=train)
    nodes = nn.LayerNorm(name='norm')(nodes)
    out = unit_slots.Gains(name='skip')(slots, given)
    for labels, value in out.items():
      name = unit_slots.name(labels)
      if name in pairs:
        h = nn.LayerNorm(name=f'norm {name}')(edges[name])
      else:
        h = nodes[places[labels]]
      zeros = nn.initializers.zeros
      h = nn.Dense(value.shape[-1], kernel_init=zeros, name=f'write {name}')(h)
      out[labels] += h.reshape(value.shape)
    return unit_slots.to_tokens(out, spec)

  def _nodes(
    self, slots: unit_slots.Slots, labels: unit_slots.Labels, place: slice
  ) -> Float[Array, 'n width']:
    """Features of a set of nodes: a learned vector, and its weights if any."""
    name = unit_slots.name(labels)
    normal = nn.initializers.normal(1.0)
    own = self.param(f'kind {name}', normal, (1, self.width))
    if labels not in slots:
      return jnp.repeat(own, place.stop - place.start, 0)
    dense = nn.Dense(self.width, use_bias=False, name=f'read {name}')
    return own + dense(slots[labels].reshape(-1, slots[labels].shape[-1]))


def _places(spec: spec_lib.Spec) -> dict[unit_slots.Labels, slice]:
  """Nodes of every group, and the one of the network as a whole."""
  sizes = {(group.id,): group.size for group in spec.groups} | {(): 1}
  places, start = {}, 0
  for labels, size in sizes.items():
    places[labels] = slice(start, start + size)
    start += size
  return places
