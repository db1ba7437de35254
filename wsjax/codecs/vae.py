"""A variational autoencoder of whole networks, for latent generators.

It starts as the best linear one, which is known in closed form, and learns what principal
components miss.

Sources: Kingma and Welling 2014, arXiv:1312.6114, equation 10; Tipping and Bishop 1999, Journal of
the Royal Statistical Society B 61(3), equations 5 and 7 (the linear optimum, after a rotation);
Lucas et al. 2019, arXiv:1911.02469, section 4 (of a linear variational autoencoder).
"""

import dataclasses
import functools

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from wsjax import config, typing
from wsjax.codecs import pca
from wsjax.tokens import normalize


class Networks(nn.Module):
  """Nonlinear parts of encoder and decoder, added to the linear maps; zero at initialisation.

  `width` is that of the hidden layers, `rank` the size of a latent, `size` the number of weights.
  """

  width: int
  rank: int
  size: int

  def setup(self):
    """Creates two hidden layers each way."""
    self.down, self.up = ([nn.Dense(self.width) for _ in range(2)] for _ in range(2))
    self.code = nn.Dense(2 * self.rank, kernel_init=nn.initializers.zeros)
    self.out = nn.Dense(self.size, kernel_init=nn.initializers.zeros)

  def encode(self, x: jax.Array) -> jax.Array:
    """Computes what is added to means and log-variances [..., 2 rank], from [..., T D]."""
    for dense in self.down:
      x = nn.gelu(dense(x))
    return self.code(x)

  def decode(self, z: jax.Array) -> jax.Array:
    """Computes what is added to the tokens [..., T D], from [..., rank]."""
    for dense in self.up:
      z = nn.gelu(dense(z))
    return self.out(z)

  def __call__(self, x: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Runs both, to create all parameters."""
    return self.encode(x), self.decode(z)


@flax.struct.dataclass
class State:
  """Linear maps and parameters of the nonlinear parts.

  Attributes:
    components: principal components, whitened.
    gain: of the linear maps, either way; 0 where a direction has less variance than the decoder has
      noise.
    log_variance: of the linear posterior.
    params: of `Networks`.
  """

  components: pca.State
  gain: Float[Array, ' rank']
  log_variance: Float[Array, ' rank']
  params: typing.PyTree


@dataclasses.dataclass(frozen=True)
class VAE(config.Section):
  """Codec by a variational autoencoder; latents are [*b, 1, rank].

  Attributes:
    rank: size of a latent, at most the number of networks - 1.
    kl_weight: weight of the divergence beside the squared error of a network: twice the variance of
      the decoder's noise, in squared units of tokens. Less makes reconstructions better and latents
      less Gaussian.
    width: of the hidden layers.
    steps: of training; 0 leaves the best linear autoencoder.
    batch_size: networks per step.
    learning_rate: of Adam, at the start of a cosine.
    seed: of everything random in the fit.
  """

  rank: config.PositiveInt
  kl_weight: config.PositiveFloat = 0.1
  width: config.PositiveInt = 256
  steps: config.NonNegativeInt = 1_000
  batch_size: config.PositiveInt = 64
  learning_rate: config.PositiveFloat = 3e-4
  seed: config.NonNegativeInt = 0

  def fit(self, x: np.ndarray) -> State:
    """Trains in one program; the state is a function of `x` and `seed` on one machine."""
    x = np.asarray(x, np.float32)
    components = self._pca.fit(x)
    noise = self.kl_weight / 2  # Variance of the decoder.
    share = np.minimum(noise / components.variance, 1).astype(np.float32)
    state = State(components, np.sqrt(1 - share), np.log(share), None)
    return jax.tree.map(np.asarray, self._train(state, x))

  def encode(self, state: State, x: Float[Array, '*b t d']) -> Float[Array, '*b 1 rank']:
    """Computes the means of the posterior of tokens."""
    return self._posterior(state, x)[0]

  def decode(self, state: State, z: Float[Array, '*b 1 rank']) -> Float[Array, '*b t d']:
    """Computes the tokens at latents."""
    shape = state.components.mean.shape
    base = self._pca.decode(state.components, z * normalize.like(state.gain, z))
    more = self._networks(shape).apply({'params': state.params}, z[..., 0, :], method='decode')
    return base + more.reshape(*more.shape[:-1], *shape)

  @property
  def _pca(self) -> pca.PCA:
    return pca.PCA(self.rank, whiten=True)

  def _networks(self, shape: tuple[int, int]) -> Networks:
    return Networks(self.width, self.rank, shape[0] * shape[1])

  def _posterior(
    self, state: State, x: Float[Array, '*b t d']
  ) -> tuple[Float[Array, '*b 1 rank'], Float[Array, '*b 1 rank']]:
    """Computes means and log-variances of the latents of tokens."""
    shape = state.components.mean.shape
    base = self._pca.encode(state.components, x)
    more = self._networks(shape).apply(
      {'params': state.params}, jnp.reshape(x, (*x.shape[:-2], -1)), method='encode'
    )
    mean, log_variance = jnp.split(more[..., None, :], 2, axis=-1)
    mean += base * normalize.like(state.gain, base)
    return mean, log_variance + normalize.like(state.log_variance, log_variance)

  def _loss(self, state: State, x: jax.Array, key: jax.Array) -> jax.Array:
    """Computes the scaled negative evidence bound per weight of tokens [b, T, D]."""
    mean, log_variance = self._posterior(state, x)
    noise = jax.random.normal(key, mean.shape)
    decoded = self.decode(state, mean + jnp.exp(log_variance / 2) * noise)
    error = jnp.sum((x - decoded) ** 2, (1, 2))
    divergence = 0.5 * jnp.sum(jnp.exp(log_variance) + mean**2 - 1 - log_variance, (1, 2))
    return jnp.mean(error + self.kl_weight * divergence) / x[0].size

  @functools.partial(jax.jit, static_argnames='self')
  def _train(self, state: State, x: jax.Array) -> State:
    """Returns `state` with trained networks."""
    key = jax.random.key(self.seed)
    example = jnp.zeros(x[0].size), jnp.zeros(self.rank)
    params = self._networks(x.shape[1:]).init(key, *example)['params']
    # Optax wants a cosine of at least 1 step, even where none is taken.
    tx = optax.adam(optax.cosine_decay_schedule(self.learning_rate, max(self.steps, 1)))

    def train_step(carry, step):
      params, opt_state = carry
      order_key, noise_key = jax.random.split(jax.random.fold_in(key, step))
      batch = x[jax.random.randint(order_key, (self.batch_size,), 0, len(x))]

      def loss(params):
        return self._loss(state.replace(params=params), batch, noise_key)

      updates, opt_state = tx.update(jax.grad(loss)(params), opt_state)
      return (optax.apply_updates(params, updates), opt_state), None

    (params, _), _ = jax.lax.scan(train_step, (params, tx.init(params)), jnp.arange(self.steps))
    return state.replace(params=params)
