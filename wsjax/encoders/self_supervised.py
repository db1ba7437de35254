"""Objectives without labels: contrast of views, or reconstruction of masked tokens.

Each is a pure function (variables, batch {path: [B, ...]}, key) -> (loss, metrics).

Source: Schurholt et al. 2021, arXiv:2110.15288 (contrast and reconstruction on weights).
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import typing
from wsjax.encoders import token_transformer
from wsjax.symmetry import spec as spec_lib

Loss = Callable[
  [typing.PyTree, typing.StackedParams, jax.Array], tuple[jax.Array, dict[str, jax.Array]]
]


def nt_xent(
  one: Float[Array, 'b d'], two: Float[Array, 'b d'], *, temperature: float = 0.1
) -> tuple[jax.Array, jax.Array]:
  """Cross-entropy of the cosine similarities of two views of B networks, over a temperature.

  Returns:
    Loss in nats per view, and the share of views whose nearest view is of their own network.

  Raises:
    ValueError: if B < 2 or the temperature is not positive.

  Source: Chen et al. 2020, arXiv:2002.05709, equation 1.
  """
  if len(one) < 2 or temperature <= 0:
    raise ValueError(
      f'Contrast needs >= 2 networks and a temperature > 0; got {len(one)} and {temperature}.'
    )
  views = jnp.concatenate([one, two])
  square = jnp.sum(views**2, -1, keepdims=True)
  views = views * jax.lax.rsqrt(jnp.maximum(square, 1e-12))
  scores = jnp.where(jnp.eye(len(views), dtype=bool), -jnp.inf, views @ views.T / temperature)
  same = jnp.roll(jnp.arange(len(views)), len(one))
  log_p = jnp.take_along_axis(jax.nn.log_softmax(scores, -1), same[:, None], -1)
  return -log_p.mean(), jnp.mean(scores.argmax(-1) == same)


def view(
  key: jax.Array, params: typing.Params, spec: spec_lib.Spec, *, noise: float = 0.05
) -> typing.Params:
  """Random symmetry of one network, with noise relative to the deviation of each parameter."""
  move_key, noise_key = jax.random.split(key)
  moved = spec.act(spec.random(move_key), params)
  for place, leaf in enumerate(spec.leaves):
    value = moved[leaf.path]
    draw = jax.random.normal(jax.random.fold_in(noise_key, place), value.shape)
    moved[leaf.path] = value + noise * jnp.std(value) * draw
  return moved


class Projector(nn.Module):
  """Encoder, whose parameters are at 'encoder', with the projection head of contrast."""

  encoder: nn.Module
  size: int = 64

  @nn.compact
  def __call__(self, params: typing.Params, *, train: bool = False) -> Float[Array, ' size']:
    """Projects the embedding of one network."""
    h = self.encoder(params, train=train)
    return nn.Dense(self.size, name='out')(nn.relu(nn.Dense(self.size, name='hidden')(h)))


def contrastive(
  projector: Projector, spec: spec_lib.Spec, *, noise: float = 0.05, temperature: float = 0.1
) -> Loss:
  """Makes the loss of two views per network; see `view` and `nt_xent`."""

  def loss(
    variables: typing.PyTree, batch: typing.StackedParams, key: jax.Array
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    size = len(next(iter(batch.values())))
    keys = jax.random.split(key, (3, size))

    def embed(key: jax.Array, drop_key: jax.Array, params: typing.Params) -> jax.Array:
      return projector.apply(
        variables, view(key, params, spec, noise=noise), train=True, rngs={'dropout': drop_key}
      )

    one = jax.vmap(embed)(keys[0], keys[2], batch)
    again = jax.vmap(lambda k: jax.random.fold_in(k, 1))(keys[2])
    two = jax.vmap(embed)(keys[1], again, batch)
    value, accuracy = nt_xent(one, two, temperature=temperature)
    return value, {'matched': accuracy}

  return loss


def masked(reconstructor: token_transformer.TokenReconstructor, *, ratio: float = 0.5) -> Loss:
  """Makes the squared error per hidden weight; `ratio` of the tokens are hidden, at least one.

  Raises:
    ValueError: if the ratio is not in (0, 1).

  Source: He et al. 2022, arXiv:2111.06377 (masked autoencoders).
  """
  if not 0 < ratio < 1:
    raise ValueError(f'A share of hidden tokens is in (0, 1); got {ratio}.')
  stack = reconstructor.stack

  def one(
    variables: typing.PyTree, params: typing.Params, key: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    tokens = stack.tokenizer.tokenize(params, stack.spec)
    num = max(1, round(ratio * len(tokens.values)))
    hide_key, drop_key = jax.random.split(key)
    hidden = jax.random.permutation(hide_key, len(tokens.values)) < num
    values = reconstructor.apply(variables, params, hidden, train=True, rngs={'dropout': drop_key})
    counts = hidden[:, None] & tokens.mask
    return jnp.sum((values - tokens.values) ** 2 * counts), jnp.sum(counts)

  def loss(
    variables: typing.PyTree, batch: typing.StackedParams, key: jax.Array
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    keys = jax.random.split(key, len(next(iter(batch.values()))))
    errors, counts = jax.vmap(one, (None, 0, 0))(variables, batch, keys)
    value = errors.sum() / counts.sum()
    return value, {'hidden_error': value}

  return loss
