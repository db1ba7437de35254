"""Training objective of loss-conditioned updates.

Reconstruction: the new weights should be those that the training run had where its loss was the
requested one. Functional: the loss of the new network on training images should be the requested
one, whatever its weights; this needs no run, so that fresh starts can be drawn without end.
Dispersion: different starts should give different networks.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wsjax import config, typing
from wsjax.generators.parts import prompted
from wsjax.models import model as model_lib
from wsjax.symmetry import group as group_lib
from wsjax.train import objective

# Streams of randomness of one step.
_PAIRS, _ITEMS, _FRESH, _WANTED = range(4)


@dataclasses.dataclass(frozen=True)
class Section(config.Section):
  """The section `prompt` of a config; the fields are those of `Prompting`.

  Attributes:
    model: fields of `prompted.Prompted`.
  """

  model: Mapping
  reconstruction: config.NonNegativeFloat = 1.0
  functional: config.NonNegativeFloat = 1.0
  fresh: config.NonNegativeInt = 16
  items: config.PositiveInt = 256
  lowest: config.PositiveFloat = 0.15
  highest: config.PositiveFloat = 2.3
  dispersion: config.NonNegativeFloat = 0.0
  apart: config.PositiveFloat = 1.0

  def __post_init__(self):
    super().__post_init__()
    config.check_fields(prompted.Prompted, self.model, 'prompt.model', given=('spec', 'scales'))
    prompted.check_heads(**self.model)
    if not self.reconstruction and not self.functional:
      raise ValueError(
        'prompt.reconstruction and prompt.functional are both 0.0; one must be above 0, or nothing '
        'is left to learn.'
      )
    if self.fresh % 2:
      raise ValueError(f'prompt.fresh is {self.fresh}; allowed: even numbers, for pairs.')
    if self.dispersion and not (self.functional and self.fresh):
      raise ValueError(
        f'prompt.dispersion is {self.dispersion}, of fresh starts and the losses that they reach; '
        f'with it prompt.fresh and prompt.functional must be above 0; they are {self.fresh} and '
        f'{self.functional}.'
      )
    if self.lowest > self.highest:
      raise ValueError(
        f'prompt.lowest is {self.lowest}; allowed: at most prompt.highest, {self.highest}.'
      )


@dataclasses.dataclass(frozen=True, eq=False)
class Prompting(objective.Objective):
  """Objective of a `prompted.Prompted`.

  Examples are training runs: {'params': path -> [K, ...], 'loss': [K]}, the start and the
  checkpoints of one run, and the loss of each in nats.

  Attributes:
    module: the update.
    architecture: of the networks.
    inputs: [m, ...] training images, never of the test split.
    labels: [m] int classes.
    reconstruction: weight of the squared difference of weights.
    functional: weight of the squared log-ratio of losses.
    fresh: starts drawn anew per step, for the functional loss and dispersion; each loss is
      requested of two of them.
    items: images per step, the same for all networks of it.
    lowest: least loss that is asked of fresh starts, nats; it may be below that of every run, and
      is then a wish for less.
    highest: largest loss that is asked of them.
    dispersion: weight of how near two fresh starts of one prompt end.
    apart: L2 distance of weights from which on they are far enough.
  """

  val_draws: ClassVar[int] = 4

  module: prompted.Prompted
  architecture: model_lib.Model
  inputs: typing.Array
  labels: typing.Array
  reconstruction: float = 1.0
  functional: float = 1.0
  fresh: int = 16
  items: int = 256
  lowest: float = 0.15
  highest: float = 2.3
  dispersion: float = 0.0
  apart: float = 1.0

  def __post_init__(self):
    names = [field.name for field in dataclasses.fields(Section) if field.name != 'model']
    config.read(Section, 'prompt', {'model': {}} | {name: getattr(self, name) for name in names})

  def init(self, key: jax.Array, example: typing.PyTree) -> typing.PyTree:
    """Variables of the module, for one training run."""
    start = {path: x[0] for path, x in example['params'].items()}
    return self.module.init(key, start, example['loss'][0], example['loss'][0])

  def loss(
    self, params: typing.PyTree, batch: typing.PyTree, key: jax.Array, *, train: bool = True
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Weighted sum of its parts, each a metric as well.

    Of each run of the batch two checkpoints are drawn, one to start from and one to reach, in
    either order. There are fresh starts in training.
    """
    start, loss, target, wanted = _pairs(jax.random.fold_in(key, _PAIRS), batch)
    made, _ = self._make(params, start, loss, wanted)
    total, metrics = jnp.zeros(()), {}
    if self.reconstruction:
      value = self._unlike(made, target)
      total += self.reconstruction * value
      metrics['reconstruction'] = value
    if self.functional:
      rows = jax.random.randint(jax.random.fold_in(key, _ITEMS), (self.items,), 0, len(self.labels))
      images = (jnp.asarray(self.inputs)[rows], jnp.asarray(self.labels, jnp.int32)[rows])
      if train and self.fresh:
        more, ranks, asked = self._fresh(params, key, images)
        made = jax.tree.map(lambda *x: jnp.concatenate(x), made, more)
        wanted = jnp.concatenate([wanted, asked])
      found = self._losses(made, images)
      value = jnp.mean(jnp.log(found / wanted) ** 2)
      total += self.functional * value
      metrics['functional'] = value
      if train and self.dispersion:
        value = self._near(more, ranks, found[-self.fresh :], asked)
        total += self.dispersion * value
        metrics['dispersion'] = value
    return total, metrics

  def _make(
    self, params: typing.PyTree, start: typing.StackedParams, loss: jax.Array, wanted: jax.Array
  ) -> tuple[typing.StackedParams, jax.Array]:
    """Updates of [n] networks, and [n, units] ranks of their units."""
    apply = functools.partial(self.module.apply, mutable='intermediates')
    made, state = jax.vmap(apply, (None, 0, 0, 0))(params, start, loss, wanted)
    return made, state['intermediates']['ranks'][0]

  def _fresh(
    self, params: typing.PyTree, key: jax.Array, images: tuple[jax.Array, jax.Array]
  ) -> tuple[typing.StackedParams, jax.Array, jax.Array]:
    """Updates of untrained networks, ranks of units, and losses asked for."""
    keys = jax.random.split(jax.random.fold_in(key, _FRESH), self.fresh)
    start = jax.vmap(self.architecture.init)(keys)
    low, high = jnp.log(self.lowest), jnp.log(self.highest)
    u = jax.random.uniform(jax.random.fold_in(key, _WANTED), (self.fresh // 2,))
    wanted = jnp.exp(low + jnp.tile(u, 2) * (high - low))
    loss = self._losses(start, images)
    made, ranks = self._make(params, start, loss, wanted)
    return made, ranks, wanted

  def _near(
    self, made: typing.StackedParams, ranks: jax.Array, found: jax.Array, wanted: jax.Array
  ) -> jax.Array:
    """How short of `apart` pairs of fresh starts fall, a mean of squares.

    Units are compared by their roles. A pair counts as far as both networks know something and
    reach the requested loss: to be far from each other and bad is easy.
    """
    chance = np.log(1 + np.max(self.labels))
    able = jnp.exp(-(jnp.log(found / wanted) ** 2)) * jnp.clip(1 - found / chance, 0, 1)
    one, other = jnp.split(jax.lax.stop_gradient(able), 2)
    (group,) = (group.id for group in self.module.spec.groups)
    spec = self.module.spec
    ordered = jax.vmap(
      lambda params, ranks: group_lib.permute({group: jnp.argsort(ranks)}, params, spec)
    )(made, ranks)
    squares = jnp.zeros(self.fresh // 2)
    for x in ordered.values():
      first, second = jnp.split(x, 2)
      squares += ((first - second) ** 2).reshape(len(squares), -1).sum(1)
    # The root has no slope at 0.
    distance = jnp.sqrt(squares + 1e-12)
    return jnp.mean(one * other * jax.nn.relu(1 - distance / self.apart) ** 2)

  def _unlike(self, made: typing.StackedParams, target: typing.StackedParams) -> jax.Array:
    """Mean over weights of the squared difference, in units of each leaf."""
    parts = [((made[path] - target[path]) / scale) ** 2 for path, scale in self.module.scales]
    return sum(x.sum() for x in parts) / sum(x.size for x in parts)

  def _losses(self, params: typing.StackedParams, images: tuple[jax.Array, jax.Array]) -> jax.Array:
    """[n] mean cross-entropy of every network on the same images, nats."""
    x, y = images

    def one(params: typing.Params) -> jax.Array:
      logits = self.architecture.apply(params, x)
      return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    return jax.vmap(one)(params)


def _pairs(
  key: jax.Array, batch: typing.PyTree
) -> tuple[typing.StackedParams, jax.Array, typing.StackedParams, jax.Array]:
  """Two different checkpoints of every run: weights and loss of both."""
  num, count = batch['loss'].shape
  first, shift = jax.random.randint(key, (2, num), jnp.array([[0], [1]]), jnp.full((2, 1), count))
  second, rows = (first + shift) % count, jnp.arange(num)

  def at(places: jax.Array) -> tuple[typing.StackedParams, jax.Array]:
    weights = {path: x[rows, places] for path, x in batch['params'].items()}
    return weights, batch['loss'][rows, places]

  return *at(first), *at(second)
