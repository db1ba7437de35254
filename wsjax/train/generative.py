"""Training objective of generators, and the sections `strategy` and `sample` of a config.

The distribution loss is that of the family, on latents. The functional loss is the mean loss of
generated networks on examples of their task, with gradients through the sampler and the decoder.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Shaped

from wsjax import config, typing
from wsjax.generators import generator as generator_lib
from wsjax.models import model as model_lib
from wsjax.train import objective
from wsjax.zoo import losses

# Streams of randomness of one step; the family splits the key of the step.
_MOVE, _FUNCTIONAL = 1, 2


@dataclasses.dataclass(frozen=True)
class Strategy(config.Section):
  """The section `strategy` of a config: the objective of a generator, and its training data.

  Attributes:
    distribution: weight of the loss of the generator family.
    functional: weight of the loss of generated networks on their task.
    functional_networks: generated networks per step and microbatch for the functional loss.
    functional_examples: examples per generated network.
    functional_relative: whether a loss of the data's own counts in units in which the average of
      the training networks is ln 10 above them, as an untrained classifier of ten classes is: such
      losses have any scale.
    augment: whether every training network is replaced, at every step, by a random element of its
      orbit. A model can learn the symmetry so, without a canonical form.
    trajectory: whether the snapshots of the training runs are training data, too, besides the final
      networks.
    num_train: number of training networks, the first ones, that are learned from and that samples
      are compared with; 0 is all.
    min_diversity: smallest spread of samples, relative to that of the training latents; below it
      training fails. 0 disables the check.
  """

  distribution: config.NonNegativeFloat = 1.0
  functional: config.NonNegativeFloat = 0.0
  functional_networks: config.PositiveInt = 16
  functional_examples: config.PositiveInt = 64
  functional_relative: bool = False
  augment: bool = False
  trajectory: bool = False
  num_train: config.NonNegativeInt = 0
  min_diversity: config.NonNegativeFloat = 0.0

  def __post_init__(self):
    super().__post_init__()
    if not self.distribution and not self.functional:
      raise ValueError('strategy.distribution and strategy.functional are both 0.')


# Field -> value, of those that a section may leave out.
DEFAULTS = config.defaults(Strategy)
# The strategy that a section describes.
read = functools.partial(config.read, Strategy, 'strategy')


@dataclasses.dataclass(frozen=True)
class Sampling(config.Section):
  """The section `sample` of a config; without it networks are what the generator draws.

  Attributes:
    task_scale: of the gradient of the loss on training images, taken off the field at every step of
      the solver; 0 is no guidance.
    task_items: training images of that loss, the same for all networks.
    refine_steps: updates by the recipe of the zoo after drawing.
    watermark: file with the key that the noise of samples is made from, so that its owner can tell
      them; '' is noise from the seed. For generators with `recover`.
  """

  task_scale: config.NonNegativeFloat = 0.0
  task_items: config.PositiveInt = 256
  refine_steps: config.NonNegativeInt = 0
  watermark: str = ''

  def __str__(self):
    parts = ['watermarked'] if self.watermark else []
    if self.task_scale:
      parts.append(
        f'led by the loss on {self.task_items} training images at scale {self.task_scale:g}'
      )
    if self.refine_steps:
      parts.append(f'trained on for {self.refine_steps} steps')
    return ', '.join(parts)


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
  """Task of generated networks, for the functional loss.

  Attributes:
    architecture: model of the networks.
    decode: differentiable function from latents [n, T, D] to stacked networks.
    inputs: training examples of the zoo, never of its test split.
    labels: classes of the examples, or other targets.
    val_inputs: examples for the validation loss, or None.
    val_labels: classes of those.
    task_loss: of one network, see `datasets.Dataset`; None is cross-entropy.
    scale: factor of that loss.
  """

  architecture: model_lib.Model
  decode: Callable[[jax.Array], typing.StackedParams]
  inputs: Shaped[typing.Array, 'm ...']
  labels: Shaped[typing.Array, 'm ...']
  val_inputs: Shaped[typing.Array, 'v ...'] | None = None
  val_labels: Shaped[typing.Array, 'v ...'] | None = None
  task_loss: Callable[..., Any] | None = None
  scale: float = 1.0

  def loss(
    self, latents: Float[Array, 'n t d'], key: jax.Array, num_examples: int, *, train: bool
  ) -> Float[Array, '']:
    """Mean loss of networks, cross-entropy in nats by default, each on examples of its own.

    They are drawn with replacement, from the training split if `train`.
    """
    inputs, labels = self.inputs, self.labels
    if not train and self.val_inputs is not None:
      inputs, labels = self.val_inputs, self.val_labels
    chosen = jax.random.randint(key, (len(latents), num_examples), 0, len(labels))
    networks, batches = self.decode(latents), jnp.asarray(inputs)[chosen]
    if self.task_loss is not None:
      one = functools.partial(losses.value, self.task_loss, self.architecture)
      return self.scale * jnp.mean(jax.vmap(one)(networks, (batches, jnp.asarray(labels)[chosen])))
    outputs = jax.vmap(self.architecture.apply)(networks, batches)
    labels = jnp.asarray(labels, jnp.int32)[chosen]
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, labels))


@dataclasses.dataclass(frozen=True, eq=False)
class GeneratorObjective(objective.Objective):
  """Objective of a generator, by a strategy.

  Examples are {'latents': [T, D]}, with 'condition' [C] if there is one.

  Attributes:
    generator: plug-in of `generators`.
    strategy: weights of the losses.
    task: task of generated networks; None without a functional loss.
    move: (key, latents [T, D]) -> latents of a random element of the orbit; None without
      augmentation.
    spread: root mean square deviation of the training latents from their mean.
  """

  val_draws: ClassVar[int] = 8

  generator: generator_lib.Generator
  strategy: Strategy
  task: Task | None
  move: Callable[[jax.Array, jax.Array], jax.Array] | None
  spread: float

  @property
  def min_diversity(self) -> float:
    """Smallest `diversity` that is allowed."""
    return self.strategy.min_diversity

  def init(self, key: jax.Array, example: typing.PyTree) -> typing.PyTree:
    """Parameters of the generator."""
    return self.generator.init(key, example['latents'])

  def loss(
    self, params: typing.PyTree, batch: typing.PyTree, key: jax.Array, *, train: bool = True
  ) -> tuple[jax.Array, objective.Metrics]:
    """Weighted sum of the distribution and the functional loss, each also a metric."""
    strategy, latents = self.strategy, batch['latents']
    condition = batch.get('condition')
    if self.move is not None:
      keys = jax.random.split(jax.random.fold_in(key, _MOVE), len(latents))
      latents = jax.vmap(self.move)(keys, latents)
    total, metrics = jnp.zeros(()), {}
    if strategy.distribution:
      value, parts = self.generator.loss(params, latents, key, condition, train=train)
      total += strategy.distribution * value
      metrics |= {**parts, 'distribution': value}
    if self.task is not None:
      sample_key, examples_key = jax.random.split(jax.random.fold_in(key, _FUNCTIONAL))
      num, shape = strategy.functional_networks, latents.shape[1:]
      if condition is not None:
        condition = condition[jnp.arange(num) % len(condition)]
      # Solvers put constants on the device while they are traced.
      with jax.transfer_guard('allow'):
        made = self.generator.sample(params, sample_key, num, shape=shape, condition=condition)
      value = self.task.loss(made, examples_key, strategy.functional_examples, train=train)
      total += strategy.functional * value
      metrics['functional'] = value
    return total, metrics

  def split(self) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
    """The loss of the family, on training networks, and that of the task, which sees none."""
    if self.task is None:
      return self.loss, None
    of_task = dataclasses.replace(self, strategy=dataclasses.replace(self.strategy, distribution=0))
    return dataclasses.replace(self, task=None).loss, of_task.loss

  def diversity(self, params: typing.PyTree, batch: typing.PyTree, key: jax.Array) -> jax.Array:
    """Spread of samples over that of the training latents; 0 is a collapse to one network."""
    latents = batch['latents']
    made = self.generator.sample(
      params, key, len(latents), shape=latents.shape[1:], condition=batch.get('condition')
    )
    centred = made - made.mean(0, keepdims=True)
    # Of few samples the mean is nearer than that of all networks.
    factor = len(made) / max(len(made) - 1, 1)
    return jnp.sqrt(factor * jnp.mean(centred**2)) / self.spread
