"""A graph transformer over the weights of one network.

Hidden neurons are nodes, and weights between two of them edges. A pinned neuron, a pixel or a
class, never changes places, so its weights are features
of the hidden neuron at their other end, each at a place of its own; that is the same graph, and
needs far fewer edges. One more node has what belongs to no hidden neuron, the output biases.

The field moves with the hidden neurons: reorder them, and what comes out is reordered alike. Noise
whose law does not change under reordering is then carried to a law that does not either.

Source: Kofinas et al. 2024, arXiv:2403.12143 (networks as graphs); Köhler et al. 2020,
arXiv:2006.02425, theorem 1 (equivariant fields, invariant laws).
"""

from typing import Annotated, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import config
from wsjax.generators.parts import graph_block, slot_net, time_condition, unit_slots
from wsjax.layers import transformer
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import flat, layout


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
  def __call__(
    self,
    x: Float[Array, '1 d'],
    t: Float[Array, ''],
    condition: Float[Array, ' c'] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, '1 d']:
    """Predicts the field at flat tokens x, time t in [0, 1] and a condition.

    Raises:
      ValueError: if `x` are not the flat tokens of a network of the architecture.
    """
    spec = self.architecture.spec
    given = time_condition.features(t, condition, self.width)
    params = flat.Flat().detokenize(x, spec)
    slots = unit_slots.read(params, spec)
    places = _places(spec)
    pairs = {unit_slots.name(labels): labels for labels in slots if len(labels) == 2}
    joints = [
      graph_block.Joint(name, places[labels[:1]], places[labels[1:]])
      for name, labels in pairs.items()
    ]
    nodes = jnp.concatenate([self._nodes(slots, labels, place) for labels, place in places.items()])
    edges = {
      name: nn.Dense(self.edge_width, name=f'read {name}')(slots[labels])
      for name, labels in pairs.items()
    }
    for number in range(self.depth):
      nodes, edges = graph_block.GraphBlock(
        joints, self.width, self.edge_width, self.num_heads, self.dropout, name=f'block{number}'
      )(nodes, edges, given, train=train)
    nodes = nn.LayerNorm(name='norm')(nodes)
    out = slot_net.Gains(name='skip')(slots, given)
    for labels, value in out.items():
      name = unit_slots.name(labels)
      if name in pairs:
        h = nn.LayerNorm(name=f'norm {name}')(edges[name])
      else:
        h = nodes[places[labels]]
      zeros = nn.initializers.zeros
      h = nn.Dense(value.shape[-1], kernel_init=zeros, name=f'write {name}')(h)
      out[labels] += h.reshape(value.shape)
    return layout.flatten(unit_slots.write(out, spec), spec)[None]

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
