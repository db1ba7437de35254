"""Scale-equivariant graph network: invariant to permutations, positive scales and signs.

Scaling a neuron by s multiplies its incoming weights by s and divides its outgoing weights by s. So
every node carries two vectors besides its invariant features: a forward one that scales with s and
travels as in a forward pass, and a backward one that scales with 1 / s and travels like gradients.
Features read from them are invariant: products of the two, vectors divided by their norm where
neurons may be scaled, that norm where they may not, absolute values where they may be negated.

Source: Kalogeropoulos et al. 2024, arXiv:2406.10685 (ScaleGMN, messages both ways); Godfrey et al.
2022, arXiv:2205.14258 (which activation allows what).
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from wsjax import config, typing
from wsjax.encoders import encoder
from wsjax.layers import graph_layers
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import graph as graph_lib

# Power of the neuron's scale that a vector has -> [n, d].
Vectors = dict[int, jax.Array]
POWERS = (1, -1)
_TINY = 1e-12  # Keeps the logarithm of a vector of zeros finite.


class Carry(nn.Module):
  """Vectors of nodes of one width, carried along the weights both ways."""

  width: int

  @nn.compact
  def __call__(self, graph: graph_layers.Dense, vectors: Vectors) -> Vectors:
    """Sums of the vectors that arrive at every node."""
    sent = {p: nn.Dense(self.width, use_bias=False, name=f'sent{p}')(vectors[p]) for p in POWERS}
    arrived: dict[int, list[tuple[int, jax.Array]]] = {p: [] for p in POWERS}
    blocks = zip(graph.wiring.edge_blocks, graph.edges, strict=True)
    for number, (block, weights) in enumerate(blocks):
      source, target = (axis.power for axis in (block.leaf.axes[i] for i in block.axes))
      for way, (start, start_power), (end, end_power), grid in (
        ('on', (block.source, source), (block.target, target), weights),
        ('back', (block.target, target), (block.source, source), weights.swapaxes(0, 1)),
      ):
        # A weight undoes the scale of the vector that it carries.
        vector = sent[-start_power][graph.wiring.sets[start].nodes]
        n, m, k = grid.shape
        mix = self.param(f'{way}{number}', nn.initializers.normal(k**-0.5), (k, self.width))
        products = grid.transpose(1, 2, 0).reshape(m * k, n) @ vector
        products = products.reshape(m, k, -1) * mix[None] / n**0.5
        arrived[end_power].append((end, products.sum(1)))
    return {p: graph_layers.by_set(graph.wiring, arrived[p], self.width) for p in POWERS}


class ScaleLayer(nn.Module):
  """Reads the vectors, updates the invariant features, gates the vectors."""

  spec: spec_lib.Spec
  width: int
  edge_width: int

  @nn.compact
  def __call__(
    self, graph: graph_layers.Dense, h: Float[Array, 'n width'], vectors: Vectors
  ) -> tuple[Float[Array, 'n width'], Vectors]:
    """Updates invariant features and vectors."""
    arrived = Carry(self.width, name='carry')(graph, vectors)
    vectors = {p: vectors[p] + arrived[p] for p in POWERS}
    alone = [invariant(self._linear(f'alone{p}')(vectors[p]), self.spec) for p in POWERS]
    forward, backward = (self._linear(f'pair{p}')(vectors[p]) for p in POWERS)
    read = [h, *alone, forward * backward]
    if self.edge_width:
      read += self._messages(graph, h, vectors)
    read = [nn.LayerNorm(name=f'norm{i}')(x) for i, x in enumerate(read)]
    read += [log_size(vectors[p], self.spec) for p in POWERS]
    wide = nn.Dense(2 * self.width, name='wide')(jnp.concatenate(read, -1))
    h += nn.Dense(self.width, name='back')(nn.gelu(wide))
    gates = jnp.split(1 + nn.Dense(2 * self.width, name='gates')(h), 2, -1)
    gates = dict(zip(POWERS, gates, strict=True))
    return h, {p: self._linear(f'mix{p}')(vectors[p]) * gates[p] for p in POWERS}

  def _linear(self, name: str) -> nn.Dense:
    """A map that commutes with scales: no bias."""
    return nn.Dense(self.width, use_bias=False, name=name)

  def _messages(self, graph: graph_layers.Dense, h: jax.Array, vectors: Vectors) -> list[jax.Array]:
    """Means over edges of invariant messages, [n, edge_width] each.

    A weight times a vector of either end, each of the kind that undoes the weight's own scale, is
    invariant, and keeps its sign.
    """
    sets, width = graph.wiring.sets, self.edge_width
    ends = [
      {p: nn.Dense(width, use_bias=False, name=f'{end}{p}')(vectors[p]) for p in POWERS}
      for end in ('source', 'target')
    ]
    mixed = nn.Dense(width, use_bias=False, name='edge')
    own = []
    blocks = zip(graph.wiring.edge_blocks, graph.edges, strict=True)
    for number, (block, weights) in enumerate(blocks):
      source, target = (axis.power for axis in (block.leaf.axes[i] for i in block.axes))
      first = ends[0][-source][sets[block.source].nodes]
      second = ends[1][-target][sets[block.target].nodes]
      kernel = nn.Dense(width, use_bias=False, name=f'weight{number}')
      own.append(mixed(jnp.tanh(kernel(weights) * first[:, None] * second[None])))
    pairs = graph.pairs(
      nn.Dense(width, name='sender')(h), nn.Dense(width, use_bias=False, name='receiver')(h)
    )
    sent = [nn.relu(a + b) for a, b in zip(own, pairs, strict=True)]
    num_in, num_out = graph_layers.degrees(graph)
    return [graph.incoming(sent) / num_in, graph.outgoing(sent) / num_out]


class ScaleEquivariant(encoder.Encoder):
  """Embedding that no permutation, positive scale or sign of neurons changes.

  Attributes:
    width: of a node.
    edge_width: of invariant edge features; 0 for none.
    depth: number of layers; a vector crosses one weight in each.
  """

  INVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation', 'positive_scale', 'sign')

  width: config.PositiveInt = 64
  edge_width: config.NonNegativeInt = 16
  depth: config.NonNegativeInt = 4

  def features(self, params: typing.Params, *, train: bool = False) -> Float[Array, ' features']:
    """Pooled invariant features of the weights of one network."""
    del train
    spec = self.architecture.spec
    graph = graph_layers.Dense(params, spec)

    def place(name: str) -> jax.Array:
      reader = graph_layers.ReadNodes(graph.wiring.capacity, self.width, name=name)
      none = jnp.zeros((len(graph.nodes), 0))
      return reader(none, graph.node_kinds, graph.node_places)

    # Only pinned neurons may start with a learned vector.
    pinned = (graph.node_places >= 0)[:, None]
    h = place('invariant')
    own = {p: jnp.where(pinned, place(f'vector{p}'), 0) for p in POWERS}
    vectors = {p: self._biases(params, p) + own[p] for p in POWERS}
    for number in range(self.depth):
      layer = ScaleLayer(spec, self.width, self.edge_width, name=f'layer{number}')
      h, vectors = layer(graph, h, vectors)
    return graph.pool(nn.LayerNorm(name='norm')(h), len(graph.wiring.sets))

  def _biases(self, params: typing.Params, power: int) -> jax.Array:
    """Linear maps of the node features of one power, [n, width]."""
    wiring = graph_lib.wiring(self.architecture.spec)
    pieces = []
    for block in wiring.node_blocks:
      if block.leaf.axes[block.axes[-1]].power == power:
        path = block.leaf.path
        dense = nn.Dense(self.width, use_bias=False, name=path.replace('/', '.'))
        pieces.append((block.target, dense(block.grid(params[path]))))
    return graph_layers.by_set(wiring, pieces, self.width)


def invariant(vectors: Float[Array, 'n d'], spec: spec_lib.Spec) -> Float[Array, 'n d']:
  """Vectors over their norm where neurons may be scaled, absolute where they may be negated."""
  square = jnp.mean(vectors**2, -1, keepdims=True)
  # A vector of zeros has no direction; the root of 0 would have no gradient.
  norm = jnp.sqrt(jnp.where(square > 0, square, 1))
  vectors = jnp.where(_allows(spec, 'positive_scale'), vectors / norm, vectors)
  return jnp.where(_allows(spec, 'sign'), jnp.abs(vectors), vectors)


def log_size(vectors: Float[Array, 'n d'], spec: spec_lib.Spec) -> Float[Array, 'n 1']:
  """Log of the root mean square, which norms remove; 0 where a neuron may be scaled."""
  square = jnp.mean(vectors**2, -1, keepdims=True) + _TINY
  return jnp.where(_allows(spec, 'positive_scale'), 0, 0.5 * jnp.log(square))


def _allows(spec: spec_lib.Spec, kind: str) -> Bool[np.ndarray, 'n 1']:
  """Whether the group of a node has that kind of symmetry."""
  kinds = {group.id: group.kinds for group in spec.groups}
  sets = graph_lib.wiring(spec).sets
  return np.concatenate([np.full((s.size, 1), kind in kinds.get(s.group, ())) for s in sets])
