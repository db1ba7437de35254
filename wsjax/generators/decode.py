"""Between networks and latents: normalize, tokenize, encode, and back."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from wsjax import config as config_lib
from wsjax import networks as networks_lib
from wsjax import typing
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import layout
from wsjax.tokens import normalize as normalize_lib


@dataclasses.dataclass(frozen=True, eq=False)
class Decoder:
  """Fitted on the training split; turns latents into networks.

  Attributes:
    spec: of the architecture.
    tokenizer: plug-in of `tokens`.
    normalizer: statistics of the training split.
    codec: plug-in of `codecs`.
    state: of the codec.
    chunk_size: networks decoded at a time, so that memory stays bounded.
  """

  spec: spec_lib.Spec
  tokenizer: layout.Tokenizer
  normalizer: normalize_lib.Normalizer
  codec: Any
  state: typing.PyTree
  chunk_size: int = 256

  def encode(self, params: typing.StackedParams) -> np.ndarray:
    """[n, T, D] latents of canonical networks, on the host."""
    latents = _encode(self.codec, self.state, self._tokens(params))
    return np.asarray(latents)

  def latents(self, params: typing.StackedParams) -> jax.Array:
    """As `encode`, inside a program that is being traced."""
    return self.codec.encode(self.state, self._tokens(params))

  def networks(self, latents: jax.Array) -> typing.StackedParams:
    """As `decode`, inside a program that is being traced; differentiable."""
    detokenize = functools.partial(self.tokenizer.detokenize, spec=self.spec)
    values = self.codec.decode(self.state, latents)
    return self.normalizer.invert(jax.vmap(detokenize)(values))

  def decode(self, latents: typing.Array) -> typing.StackedParams:
    """path -> [n, ...] networks of latents [n, T, D], on the host."""
    run = functools.partial(self._decode, self.normalizer, self.state)
    chunk = min(self.chunk_size, len(latents))
    return networks_lib.in_chunks(run, np.asarray(latents), chunk)

  def _tokens(self, params: typing.StackedParams) -> jax.Array:
    tokenize = functools.partial(self.tokenizer.tokenize, spec=self.spec)
    return jax.vmap(tokenize)(self.normalizer.apply(params)).values

  @functools.cached_property
  def _decode(self) -> Any:
    def decode(normalizer, state, latents):
      given = dataclasses.replace(self, normalizer=normalizer, state=state)
      return given.networks(latents)

    return jax.jit(decode)


def _encode(codec: Any, state: typing.PyTree, tokens: jax.Array) -> jax.Array:
  return jax.jit(codec.encode)(state, tokens)


def fit(
  params: typing.StackedParams,
  spec: spec_lib.Spec,
  *,
  tokens: Mapping[str, Any],
  normalize: Mapping[str, Any],
  codec: Mapping[str, Any],
) -> tuple[Decoder, np.ndarray]:
  """Fits everything between networks and latents on the training split.

  Args:
    params: path -> [N, ...] canonical networks of the training split.
    spec: of the architecture.
    tokens: config section of a plug-in of `tokens`.
    normalize: arguments of `normalize.fit`.
    codec: config section of a plug-in of `codecs`.

  Returns:
    The decoder, and the latents [N, T, D] of `params`.

  Raises:
    ValueError: as the plug-ins say.
  """
  decoder = Decoder(
    spec=spec,
    tokenizer=config_lib.build('tokens', tokens),
    normalizer=normalize_lib.fit(params, spec, **normalize),
    codec=config_lib.build('codecs', codec),
    state=(),
  )
  values = decoder._tokens(params)
  decoder = dataclasses.replace(decoder, state=decoder.codec.fit(np.asarray(values)))
  return decoder, decoder.encode(params)
