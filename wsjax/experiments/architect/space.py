"""A space of dense networks, all run by one padded program."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from wsjax import networks as networks_lib
from wsjax import typing
from wsjax.experiments.architect import hypernetwork
from wsjax.models import mlp

# Behind hidden layers; their symmetries differ, by which the hypernetwork tells them apart.
ACTIVATIONS = ('relu', 'tanh', 'gelu')
OPTIMIZERS = ('sgd', 'adam')
CHUNK = 25  # Networks of one call.
_DECAYS = 0.9, 0.999  # Of the averages of gradients and, for Adam, of their squares.


@dataclasses.dataclass(frozen=True)
class Padding:
  """Sizes that networks are padded to: hidden layers and units of a layer."""

  depth: int
  width: int


def architectures(
  depths: Sequence[int], widths: Sequence[int], activations: Sequence[str] = ACTIVATIONS
) -> list[tuple[tuple[int, ...], str]]:
  """All networks with so many hidden layers of such widths: hidden widths and activation."""
  return [
    (hidden, activation)
    for depth in depths
    for hidden in itertools.product(widths, repeat=depth)
    for activation in activations
  ]


def model_of(one: tuple[tuple[int, ...], str], inputs: int, outputs: int) -> mlp.MLP:
  """The model of an architecture."""
  return mlp.MLP((inputs, *one[0], outputs), one[1])


def tables(
  chosen: Sequence[tuple[tuple[int, ...], str]],
  padding: Padding,
  network: hypernetwork.GraphHypernetwork,
) -> dict[str, np.ndarray]:
  """What the padded program needs to know of n architectures, each [n, ...].

  'features', 'relation' and 'mask' of the l = depth + 1 layers; 'widths' [n, depth] of hidden
  layers, 0 where there is none; 'codes', how many units of a layer have a code of their own;
  'fan_in' [n, l]; 'activation', its number.
  """
  count, length = len(chosen), padding.depth + 1
  made = {
    'features': np.zeros((count, length, hypernetwork.NUM_FEATURES), np.float32),
    'relation': np.zeros((count, length, length), np.int32),
    'mask': np.zeros((count, length), bool),
    'widths': np.zeros((count, padding.depth), np.int32),
    'codes': np.full(count, network.units, np.int32),
    'fan_in': np.ones((count, length), np.float32),
    'activation': np.array([ACTIVATIONS.index(name) for _, name in chosen], np.int32),
  }
  for i, (hidden, activation) in enumerate(chosen):
    if len(hidden) > padding.depth or max(hidden) > padding.width:
      raise ValueError(f'Hidden layers of {hidden} units do not fit {padding}.')
    spec = mlp.MLP((network.inputs, *hidden, network.outputs), activation).spec
    places = [*range(len(hidden)), padding.depth]
    features, relation = hypernetwork.read(hypernetwork.layers_of(spec))
    made['features'][i, places] = features
    made['relation'][i][np.ix_(places, places)] = relation
    made['mask'][i, places] = True
    made['widths'][i, : len(hidden)] = hidden
    sizes = [min(size, network.units) for size in hidden]
    made['fan_in'][i, places] = [network.inputs, *sizes]
  return made


def units(table: typing.PyTree, width: int) -> tuple[Float[Array, 'd w'], Float[Array, 'd w']]:
  """1 where a unit of a hidden layer is, and its share of what one with its code alone sends."""
  number, sizes = jnp.arange(width)[None], table['widths'][:, None]
  there = (number < sizes).astype(jnp.float32)
  equal = -(-(sizes - number % table['codes']) // table['codes'])
  return there, there / jnp.maximum(equal, 1)


def fill(made: typing.PyTree, table: typing.PyTree) -> dict[str, Array]:
  """Scales what the hypernetwork made of one architecture, and sets padding to 0."""
  there, share = units(table, made['first'].shape[-1])
  scale = jnp.sqrt(2 / table['fan_in'])
  # The last hidden layer is the one with the highest number that is there.
  sent = share[jnp.sum(table['mask'][:-1]) - 1]
  pairs = share[:-1, :, None] * there[1:, None, :]
  return {
    'first': made['first'] * scale[0] * there[0][None],
    'first_bias': 0.1 * made['first_bias'] * there[0],
    'inner': made['inner'] * scale[1:-1, None, None] * pairs,
    'inner_bias': 0.1 * made['inner_bias'] * there[1:],
    'last': made['last'] * scale[-1] * sent[:, None],
    'last_bias': 0.1 * made['last_bias'],
  }


def forward(net: typing.Params, table: typing.PyTree, x: Float[Array, 'b d']) -> jax.Array:
  """Logits of one padded network."""
  return hidden_and_logits(net, table, x)[1]


def hidden_and_logits(
  net: typing.Params, table: typing.PyTree, x: Float[Array, 'b d']
) -> tuple[Float[Array, 'depth b w'], Float[Array, 'b c']]:
  """What hidden layers compute before their activation, and the logits, of one padded network."""

  def act(h: jax.Array) -> jax.Array:
    # Of a unit that is not there it is 0, for all of them.
    made = jnp.stack([mlp.ACTIVATIONS[name](h) for name in ACTIVATIONS])
    return made[table['activation']]

  before = [x @ net['first'] + net['first_bias'][None]]
  h = act(before[0])
  for i in range(net['inner'].shape[0]):
    before.append(h @ net['inner'][i] + net['inner_bias'][i][None])
    h = jnp.where(table['mask'][i + 1], act(before[-1]), h)
  return jnp.stack(before), h @ net['last'] + net['last_bias'][None]


def cut(net: typing.Params, hidden: tuple[int, ...]) -> dict[str, np.ndarray]:
  """The weights of one network without padding, by the paths of `MLP`."""
  kernels = [net['first'], *net['inner'][: len(hidden) - 1], net['last']]
  biases = [net['first_bias'], *net['inner_bias'][: len(hidden) - 1], net['last_bias']]
  sizes = [len(net['first']), *hidden, net['last'].shape[1]]
  made = {}
  for i, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
    made[f'layer{i}/kernel'] = np.asarray(kernel)[: sizes[i], : sizes[i + 1]]
    made[f'layer{i}/bias'] = np.asarray(bias)[: sizes[i + 1]]
  return made


def initial(
  chosen: Sequence[tuple[tuple[int, ...], str]],
  padding: Padding,
  inputs: int,
  outputs: int,
  initializer: str,
  seed: int,
) -> dict[str, np.ndarray]:
  """Random weights of n architectures, padded."""
  rng, n = np.random.default_rng(seed), len(chosen)
  variance, fan, law, draws = mlp.INITIALIZERS[initializer]
  width, depth = padding.width, padding.depth
  made = {
    'first': np.zeros((n, inputs, width)), 'first_bias': np.zeros((n, width)),
    'inner': np.zeros((n, depth - 1, width, width)), 'inner_bias': np.zeros((n, depth - 1, width)),
    'last': np.zeros((n, width, outputs)), 'last_bias': np.zeros((n, outputs)),
  }  # fmt: skip

  def draw(*shape: int, std: float) -> np.ndarray:
    return std * (
      rng.uniform(-(3**0.5), 3**0.5, shape) if law == 'uniform' else rng.normal(size=shape)
    )

  for i, (hidden, _) in enumerate(chosen):
    sizes = [inputs, *hidden, outputs]
    for place, (rows, columns) in enumerate(itertools.pairwise(sizes)):
      std = (variance / (rows if fan == 'fan_in' else (rows + columns) / 2)) ** 0.5
      kernel = draw(rows, columns, std=std)
      bias = draw(columns, std=std) if draws else 0
      if place == 0:
        made['first'][i, :, :columns], made['first_bias'][i, :columns] = kernel, bias
      elif place == len(hidden):
        made['last'][i, :rows], made['last_bias'][i] = kernel, bias
      else:
        made['inner'][i, place - 1, :rows, :columns] = kernel
        made['inner_bias'][i, place - 1, :columns] = bias
  return {name: value.astype(np.float32) for name, value in made.items()}


def make(
  network: hypernetwork.GraphHypernetwork,
  variables: typing.PyTree,
  found: dict[str, np.ndarray],
  width: int,
  chunk: int = CHUNK,
) -> dict[str, np.ndarray]:
  """Predicts the weights of n architectures, padded to `width`, from `tables` of them."""
  run = functools.partial(_make, network, width, variables)
  return networks_lib.in_chunks(run, found, min(chunk, len(found['mask'])))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _make(
  network: hypernetwork.GraphHypernetwork, width: int, variables: Any, found: typing.PyTree
) -> typing.PyTree:
  return jax.vmap(lambda table: one(network, variables, table, width))(found)


def one(
  network: hypernetwork.GraphHypernetwork,
  variables: typing.PyTree,
  table: typing.PyTree,
  widest: int,
) -> dict[str, Array]:
  """Predicts the weights of one architecture, padded; traceable."""
  made = network.apply(variables, table['features'], table['relation'], table['mask'], widest)
  return fill(made, table)


def train(
  nets: dict[str, np.ndarray],
  found: dict[str, np.ndarray],
  rates: Float[np.ndarray, ' n'],
  x: Float[np.ndarray, 'b d'],
  y: np.ndarray,
  order: np.ndarray,
  optimizer: str,
  chunk: int = CHUNK,
) -> dict[str, np.ndarray]:
  """Trains n padded networks, all on the same batches.

  Args:
    nets: padded weights.
    found: `tables` of their architectures.
    rates: learning rate of each.
    x: images.
    y: classes.
    order: [steps, batch] places of the images of every step.
    optimizer: one of `OPTIMIZERS`; 'sgd' has a momentum of 0.9.
  """
  run = functools.partial(_train, optimizer, jnp.asarray(x), jnp.asarray(y), jnp.asarray(order))
  given = {'net': nets, 'table': found, 'rate': np.asarray(rates, np.float32)}
  return networks_lib.in_chunks(run, given, min(chunk, len(rates)))


@functools.partial(jax.jit, static_argnums=0)
def _train(
  optimizer: str, x: jax.Array, y: jax.Array, order: jax.Array, given: typing.PyTree
) -> typing.PyTree:
  def one(given: typing.PyTree) -> typing.PyTree:
    table = given['table']
    mask = _mask(given['net'], table)

    def loss(net: typing.PyTree, rows: jax.Array) -> jax.Array:
      return cross_entropy(forward(net, table, x[rows]), y[rows])

    def step(carry: Any, rows: jax.Array) -> tuple[Any, None]:
      net, first, second, count = carry
      slope = jax.tree.map(jnp.multiply, jax.grad(loss)(net, rows), mask)
      if optimizer == 'sgd':
        first = jax.tree.map(lambda m, g: _DECAYS[0] * m + g, first, slope)
        net = jax.tree.map(lambda w, m: w - given['rate'] * m, net, first)
        return (net, first, second, count), None
      first = jax.tree.map(lambda m, g: _DECAYS[0] * m + (1 - _DECAYS[0]) * g, first, slope)
      second = jax.tree.map(lambda v, g: _DECAYS[1] * v + (1 - _DECAYS[1]) * g * g, second, slope)
      count = count + 1
      size = given['rate'] * jnp.sqrt(1 - _DECAYS[1] ** count) / (1 - _DECAYS[0] ** count)
      net = jax.tree.map(lambda w, m, v: w - size * m / (jnp.sqrt(v) + 1e-8), net, first, second)
      return (net, first, second, count), None

    zeros = jax.tree.map(jnp.zeros_like, given['net'])
    start = (given['net'], zeros, zeros if optimizer == 'adam' else {}, jnp.float32(0))
    return jax.lax.scan(step, start, order)[0][0]

  return jax.vmap(one)(given)


def _mask(net: typing.PyTree, table: typing.PyTree) -> dict[str, jax.Array]:
  """1 where a padded network has a weight."""
  there, _ = units(table, net['first'].shape[-1])
  last = there[jnp.sum(table['mask'][:-1]) - 1]
  return {
    'first': there[0][None] * jnp.ones_like(net['first']), 'first_bias': there[0],
    'inner': there[:-1, :, None] * there[1:, None, :], 'inner_bias': there[1:],
    'last': last[:, None] * jnp.ones_like(net['last']),
    'last_bias': jnp.ones_like(net['last_bias']),
  }  # fmt: skip


def cross_entropy(logits: Float[Array, 'b c'], y: Array) -> Float[Array, '']:
  """Mean over examples, in nats."""
  return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1))


def accuracy(
  nets: dict[str, np.ndarray],
  found: dict[str, np.ndarray],
  x: Float[np.ndarray, 'b d'],
  y: np.ndarray,
  chunk: int = CHUNK,
) -> Float[np.ndarray, ' n']:
  """Share of examples that each of n padded networks gets right."""
  run = functools.partial(_accuracy, jnp.asarray(x), jnp.asarray(y))
  return networks_lib.in_chunks(run, {'net': nets, 'table': found}, min(chunk, len(found['mask'])))


@jax.jit
def _accuracy(x: jax.Array, y: jax.Array, given: typing.PyTree) -> jax.Array:
  def one(given: typing.PyTree) -> jax.Array:
    return jnp.mean(forward(given['net'], given['table'], x).argmax(-1) == y)

  return jax.lax.map(one, given)


def pooled(images: np.ndarray, size: int) -> np.ndarray:
  """Means of squares of pixels, [n, d]."""
  if not len(images):
    return images.reshape(0, images.shape[1] * images.shape[2] // size**2)
  n, height, width, _ = images.shape
  if height % size or width % size:
    raise ValueError(f'architect.pool is {size}; images have {height} x {width} pixels.')
  parts = images.reshape(n, height // size, size, width // size, size, -1)
  return parts.mean((2, 4, 5)).reshape(n, -1).astype(np.float32)
