"""Classification of networks: logits, trained by cross-entropy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from wsjax import config


class Classifier(config.Section, nn.Module):
  """Logits of one network.

  Attributes:
    num_outputs: number of classes.
    smoothing: share of every label that is spread over all classes.
  """

  num_outputs: config.PositiveInt
  smoothing: config.Share = 0.0

  @nn.compact
  def __call__(self, embedding: Float[Array, ' d']) -> Float[Array, ' classes']:
    """Logits of an embedding."""
    return nn.Dense(self.num_outputs)(embedding)

  def loss(
    self, logits: Float[Array, 'b classes'], target: Int[Array, ' b']
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Mean cross-entropy in nats, and accuracy."""
    labels = jax.nn.one_hot(target, self.num_outputs)
    labels = optax.smooth_labels(labels, self.smoothing)
    loss = optax.softmax_cross_entropy(logits, labels).mean()
    return loss, {'accuracy': jnp.mean(logits.argmax(-1) == target)}
