"""Which of k classes: logits, trained by cross-entropy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax


class Classifier(nn.Module):
  """Logits of one network.

  Attributes:
    num_classes: k.
    smoothing: share of every label that is spread over all classes.
  """

  num_classes: int
  smoothing: float = 0.0

  @nn.compact
  def __call__(self, embedding: jax.Array) -> jax.Array:
    """[d] -> logits [k]."""
    return nn.Dense(self.num_classes)(embedding)

  def loss(self, logits: jax.Array, target: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross-entropy of logits [b, k] and labels [b] in nats, and accuracy."""
    labels = jax.nn.one_hot(target, self.num_classes)
    labels = optax.smooth_labels(labels, self.smoothing)
    loss = optax.softmax_cross_entropy(logits, labels).mean()
    return loss, {'accuracy': jnp.mean(logits.argmax(-1) == target)}


def make(num_outputs: int, *, smoothing: float = 0.0) -> Classifier:
  """The head for `num_outputs` classes."""
  return Classifier(num_outputs, smoothing)
