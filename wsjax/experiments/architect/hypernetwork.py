"""A graph hypernetwork: from the graph of any dense network to weights for it.

The graph comes from the spec of a model, which may be inferred from any JAX function: its layers
are nodes, and a layer is joined to those that read its units. What is behind a layer is known by
the symmetries of its units, not by a name. Each weight is made from codes of the two units that it
joins, so that any width comes out, and other orders of the codes give the same network with its
units in that order.

Source: Zhang et al. 2019, arXiv:1810.05749 (graph hypernetworks); Knyazev et al. 2023,
arXiv:2303.04143 (GHN-3, a transformer over the graph; tiled weights).
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from wsjax import config, typing
from wsjax.layers import transformer
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import graph as graph_lib

# Symmetries of units that tell non-linearities apart: relu, tanh, and others without one.
_KINDS = ('positive_scale', 'sign')
NUM_FEATURES = 12
_RELATIONS = 4  # No edge, the layer itself, before it, behind it.


@dataclasses.dataclass(frozen=True)
class Layer:
  """A dense layer of a graph.

  Attributes:
    kernel: path of its weights [n_in, n_out].
    bias: path of its biases; None without.
    source: set of units that it reads; None are the inputs.
    target: set of units that it makes; None are the outputs.
    shape: (n_in, n_out).
    kinds: names of the symmetries of both sets.
  """

  kernel: str
  bias: str | None
  source: int | None
  target: int | None
  shape: tuple[int, int]
  kinds: tuple[tuple[str, ...], tuple[str, ...]]


def layers_of(spec: spec_lib.Spec) -> tuple[Layer, ...]:
  """The layers of a dense network, in the order of the spec.

  Raises:
    ValueError: naming the parameter that is of no dense layer.
  """
  wiring = graph_lib.wiring(spec)
  groups = {group.id: group.kinds for group in spec.groups}
  biases: dict[int, str] = {}
  for block in wiring.node_blocks:
    if block.features != 1 or block.target in biases or len(block.leaf.shape) != 1:
      raise ValueError(
        f'{block.leaf.path} is no bias of a dense layer; no weights are known for it.'
      )
    biases[block.target] = block.leaf.path
  found = []
  for block in wiring.edge_blocks:
    source, target = wiring.sets[block.source], wiring.sets[block.target]
    if block.features != 1 or len(block.leaf.shape) != 2:
      raise ValueError(
        f'{block.leaf.path} has shape {block.leaf.shape}; weights are known for dense layers.'
      )
    found.append(
      Layer(
        block.leaf.path, biases.pop(block.target, None),
        block.source if source.group else None, block.target if target.group else None,
        (source.size, target.size),
        (groups.get(source.group, ()), groups.get(target.group, ())),
      )
    )  # fmt: skip
  if biases:
    raise ValueError(f'{next(iter(biases.values()))} belongs to no dense layer.')
  return tuple(found)


def read(layers: tuple[Layer, ...]) -> tuple[Float[np.ndarray, 'l f'], Int[np.ndarray, 'l l']]:
  """Features of every layer, and how layers are joined: a number below 4 for every pair."""
  count = len(layers)
  relation = np.zeros((count, count), int)
  for i, a in enumerate(layers):
    relation[i, i] = 1
    for j, b in enumerate(layers):
      if a.target is not None and a.target == b.source:
        relation[j, i], relation[i, j] = 2, 3
  ahead, behind = _distances(relation == 2), _distances(relation == 3)
  rows = []
  for i, layer in enumerate(layers):
    sides = [
      [float(kind in kinds) for kind in _KINDS] + [float(len(kinds) == 1)] for kinds in layer.kinds
    ]
    rows.append([
      np.log2(layer.shape[0]) / 4 - 1, np.log2(layer.shape[1]) / 4 - 1,
      float(layer.source is None), float(layer.target is None),
      ahead[i] / 4, behind[i] / 4, *sides[0], *sides[1],
    ])  # fmt: skip
  return np.array(rows, np.float32), relation


def _distances(edges: Bool[np.ndarray, 'l l']) -> np.ndarray:
  """[l] longest way to a layer along edges [to, from]."""
  length = np.zeros(len(edges))
  for _ in range(len(edges)):
    longer = np.where(edges, length[None] + 1, 0).max(1, initial=0)
    length = np.maximum(length, longer)
  return length


class GraphHypernetwork(config.Section, nn.Module):
  """Attention between layers, and weights from codes of units; see the module.

  Attributes:
    inputs: number of inputs of the networks.
    outputs: number of their outputs.
    units: units of a layer that have a code of their own; unit i has that of i mod units, and
      units with equal codes share what one would send.
    width: of a layer's vector.
    depth: blocks of attention.
    num_heads: of the attention; divides `width`.
    rank: of a kernel before the widths cut it.
    code: numbers of a code.
  """

  inputs: config.PositiveInt
  outputs: config.PositiveInt
  units: config.PositiveInt = 64
  width: config.PositiveInt = 64
  depth: config.PositiveInt = 2
  num_heads: config.PositiveInt = 4
  rank: config.PositiveInt = 48
  code: config.PositiveInt = 32

  def __post_init__(self):
    super().__post_init__()
    transformer.check_heads(self.width, self.num_heads)

  def setup(self) -> None:
    """Tables of codes, blocks of attention, and the maps from codes to weights."""
    normal = nn.initializers.normal(1.0)
    sizes = {'input': self.inputs, 'unit': self.units, 'output': self.outputs}
    self.tables = {
      name: self.param(f'{name} codes', normal, (size, self.code)) for name, size in sizes.items()
    }
    self.reader = nn.Dense(self.width)
    self.bias = self.param(
      'relations', nn.initializers.zeros, (self.depth, _RELATIONS, self.num_heads)
    )
    self.heads = [nn.DenseGeneral((3, self.num_heads, self.width // self.num_heads))
                  for _ in range(self.depth)]  # fmt: skip
    self.joins = [nn.DenseGeneral(self.width, (-2, -1)) for _ in range(self.depth)]
    self.wide = [nn.Dense(4 * self.width) for _ in range(self.depth)]
    self.narrow = [nn.Dense(self.width) for _ in range(self.depth)]
    self.norms = [nn.LayerNorm() for _ in range(2 * self.depth + 1)]
    self.of_code = {
      name: nn.Dense(2 * self.width, use_bias=False, name=f'{name} to hidden')
      for name in ('source input', 'source unit', 'target unit', 'target output')
    }
    self.of_layer = {
      side: nn.Dense(2 * self.width, name=f'{side} of layer') for side in ('source', 'target')
    }
    self.to_rank = {side: nn.Dense(self.rank, name=side) for side in ('source', 'target')}
    self.to_bias = nn.Dense(1)

  def embed(
    self, features: Float[Array, 'l f'], relation: Int[Array, 'l l'], mask: Bool[Array, ' l']
  ) -> Float[Array, 'l width']:
    """A vector of every layer; padding is masked."""
    x = self.reader(features)
    for i in range(self.depth):
      query, key, value = jnp.moveaxis(self.heads[i](self.norms[2 * i](x)), 1, 0)
      scores = jnp.einsum('ihd,jhd->ijh', query, key) / np.sqrt(query.shape[-1])
      scores = jnp.where(mask[None, :, None], scores + self.bias[i][relation], -1e9)
      x = x + self.joins[i](jnp.einsum('ijh,jhd->ihd', jax.nn.softmax(scores, 1), value))
      x = x + self.narrow[i](nn.gelu(self.wide[i](self.norms[2 * i + 1](x))))
    return self.norms[-1](x)

  def weights(
    self, layer: Float[Array, ' width'], source: str, target: str, shape: tuple[int, int]
  ) -> tuple[Float[Array, 'n m'], Float[Array, ' m']]:
    """Kernel and bias of a layer between sets of this shape.

    The kernel is for units that all have codes of their own and a variance of 2 over the inputs;
    the caller divides by the number of units that share a code.

    Args:
      layer: its vector.
      source: 'input' or 'unit'.
      target: 'unit' or 'output'.
      shape: (n, m).
    """
    sides = []
    for side, name, size in (('source', source, shape[0]), ('target', target, shape[1])):
      codes = self.tables[name][np.arange(size) % self.tables[name].shape[0]]
      hidden = nn.gelu(self.of_code[f'{side} {name}'](codes) + self.of_layer[side](layer)[None])
      sides.append(hidden)
    left, right = self.to_rank['source'](sides[0]), self.to_rank['target'](sides[1])
    return left @ right.T / np.sqrt(self.rank), self.to_bias(sides[1])[:, 0]

  def __call__(
    self,
    features: Float[Array, 'l f'],
    relation: Int[Array, 'l l'],
    mask: Bool[Array, ' l'],
    widest: int,
  ) -> dict[str, Array]:
    """Weights of a chain of layers that is padded to l layers and `widest` units.

    The first layer is the first, the last one the last; those between are padded. Kernels are not
    yet scaled or masked; see `space.fill`.
    """
    layer = self.embed(features, relation, mask)
    first = self.weights(layer[0], 'input', 'unit', (self.inputs, widest))
    last = self.weights(layer[-1], 'unit', 'output', (widest, self.outputs))
    inner = [self.weights(x, 'unit', 'unit', (widest, widest)) for x in layer[1:-1]]
    empty = jnp.zeros((0, widest, widest)), jnp.zeros((0, widest))
    kernels, biases = (jnp.stack(x) for x in zip(*inner, strict=True)) if inner else empty
    return {
      'first': first[0], 'first_bias': first[1], 'inner': kernels, 'inner_bias': biases,
      'last': last[0], 'last_bias': last[1],
    }  # fmt: skip

  def predict(
    self, features: Any, relation: Any, layers: tuple[Layer, ...]
  ) -> dict[str, Float[Array, '...']]:
    """Weights of the network of these layers, path -> array."""
    vectors = self.embed(features, relation, np.ones(len(layers), bool))
    made = {}
    for layer, vector in zip(layers, vectors, strict=True):
      source = 'input' if layer.source is None else 'unit'
      target = 'output' if layer.target is None else 'unit'
      kernel, bias = self.weights(vector, source, target, layer.shape)
      fan_in, share = layer.shape[0], np.ones(layer.shape[0], np.float32)
      if layer.source is not None:
        share, fan_in = shares(layer.shape[0], self.units), min(fan_in, self.units)
      made[layer.kernel] = kernel * np.sqrt(2 / fan_in) * share[:, None]
      if layer.bias is not None:
        made[layer.bias] = 0.1 * bias
    return made


def shares(width: int, units: int) -> Float[np.ndarray, ' width']:
  """What each unit sends, as a share of what one with its code alone would send."""
  numbers = np.arange(width) % units
  return (1 / np.bincount(numbers)[numbers]).astype(np.float32)


def predict(
  network: GraphHypernetwork, variables: typing.PyTree, spec: spec_lib.Spec
) -> dict[str, np.ndarray]:
  """Weights for a network of this spec.

  Raises:
    ValueError: if it is no dense network, or has other numbers of inputs or outputs than those that
      the hypernetwork has learned from.
  """
  layers = layers_of(spec)
  for layer in layers:
    for side, end, size in ((0, layer.source, network.inputs), (1, layer.target, network.outputs)):
      if end is None and layer.shape[side] != size:
        what = 'outputs' if side else 'inputs'
        raise ValueError(f'{layer.kernel} has {layer.shape[side]} {what}; weights are for {size}.')
  features, relation = read(layers)
  made = network.apply(variables, features, relation, layers, method='predict')
  return {path: np.asarray(x) for path, x in made.items()}
