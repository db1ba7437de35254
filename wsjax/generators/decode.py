"""Maps between networks and latents: normalizer, tokenizer and codec."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from wsjax import codecs, typing
from wsjax import config as config_lib
from wsjax import networks as networks_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import layout
from wsjax.tokens import normalize as normalize_lib


@dataclasses.dataclass(frozen=True, eq=False)
class Decoder:
  """Map between networks and latents, fitted on the training split.

  Attributes:
    spec: of the architecture.
    tokenizer: of weights.
    normalizer: statistics of the training split.
    codec: of tokens.
    state: of the codec.
    chunk_size: networks decoded at a time, which bounds memory.
  """

  spec: spec_lib.Spec
  tokenizer: layout.Tokenizer
  normalizer: normalize_lib.Normalizer
  codec: codecs.Codec
  state: typing.PyTree
  chunk_size: int = 256

  def encode(self, params: typing.StackedParams) -> np.ndarray:
    """Computes the latents [n, T, D] of canonical networks, on the host."""
    return np.asarray(jax.jit(self.codec.encode)(self.state, self._tokens(params)))

  def latents(self, params: typing.StackedParams) -> Float[Array, 'n t d']:
    """Computes the latents of canonical networks inside a traced program."""
    return self.codec.encode(self.state, self._tokens(params))

  def networks(self, latents: Float[Array, 'n t d']) -> typing.StackedParams:
    """Computes the networks of latents inside a traced program; differentiable."""
    detokenize = functools.partial(self.tokenizer.detokenize, spec=self.spec)
    values = self.codec.decode(self.state, latents)
    return self.normalizer.invert(jax.vmap(detokenize)(values))

  def decode(self, latents: typing.Array) -> typing.StackedParams:
    """Computes the networks of latents [n, T, D], on the host."""
    run = functools.partial(self._decode, self.normalizer, self.state)
    chunk = min(self.chunk_size, len(latents))
    return networks_lib.in_chunks(run, np.asarray(latents), chunk)

  def _tokens(self, params: typing.StackedParams) -> jax.Array:
    tokenize = functools.partial(self.tokenizer.tokenize, spec=self.spec)
    return jax.vmap(tokenize)(self.normalizer.apply(params)).values

  @functools.cached_property
  def _decode(self) -> Any:
    def decode(normalizer, state, latents):
      return dataclasses.replace(self, normalizer=normalizer, state=state).networks(latents)

    return jax.jit(decode)


def fit(
  params: typing.StackedParams,
  spec: spec_lib.Spec,
  *,
  tokens: Mapping[str, Any],
  normalize: Mapping[str, Any],
  codec: Mapping[str, Any],
) -> tuple[Decoder, np.ndarray]:
  """Fits normalizer and codec on the training split.

  Args:
    params: path -> [N, ...] canonical networks of the training split.
    spec: of the architecture.
    tokens: config section of a plug-in of `tokens`.
    normalize: arguments of `normalize.fit`.
    codec: config section of a plug-in of `codecs`.

  Returns:
    The decoder, and the latents [N, T, D] of `params`.
  """
  tokenizer, codec = config_lib.build('tokens', tokens), config_lib.build('codecs', codec)
  normalizer = normalize_lib.fit(params, spec, **normalize)
  decoder = Decoder(spec, tokenizer, normalizer, codec, state=())
  values = decoder._tokens(params)
  decoder = dataclasses.replace(decoder, state=codec.fit(np.asarray(values)))
  return decoder, decoder.encode(params)
