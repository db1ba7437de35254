"""Probes: a network is known by its answers to learned questions.

A few inputs are learned; every network is run on them, and what it answers is the embedding's raw
material. Whatever leaves the function as it is leaves the answers as they are, so the encoder is
invariant to all symmetries at once. For networks of two coordinates the questions may start as a
grid, and the answers are then a small picture that convolutions can read.

Source: Kahana et al. 2025, arXiv:2410.10811 (ProbeGen: a deep linear generator of probes, no
non-linearity in between); Kofinas et al. 2024, arXiv:2403.12143, section 3.3 (probe features);
Herrmann et al. 2024, arXiv:2403.05232 (probing without looking at weights).
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.models import cnn
from wsjax.models import model as model_lib

SOURCES = ('free', 'linear', 'grid')
READERS = ('mlp', 'conv')


class Probes(nn.Module):
  """Embedding of one network from its answers.

  Attributes:
    architecture: its `apply` is what is asked.
    source: where questions come from: 'free' parameters; 'linear', a deep linear generator from
      learned codes; or 'grid', free parameters that
      start as a square grid in [-1, 1]^2.
    reader: what reads the answers: 'mlp', or 'conv' on the square.
    num_probes: number of questions; a square number for 'grid' and 'conv'.
    code: length of a code, for 'linear'.
    width: of the reader: hidden units, or channels of the first convolution.
    embedding: length of the embedding.
    dropout: share of the features before the embedding dropped in training.
    input_shape: of one input.
  """

  INVARIANT_TO: ClassVar[tuple[str, ...]] = (
    'permutation', 'positive_scale', 'sign', 'phase',
  )  # fmt: skip
  READS: ClassVar[str] = 'raw'

  architecture: model_lib.Model
  input_shape: tuple[int, ...]
  source: str = 'free'
  reader: str = 'mlp'
  num_probes: int = 128
  code: int = 32
  width: int = 128
  embedding: int = 128
  dropout: float = 0.0

  @nn.compact
  def __call__(self, params: typing.Params, *, train: bool = False) -> jax.Array:
    """Weights of one network -> [embedding]."""
    answers = self.architecture.apply(params, self._questions())
    if self.reader == 'conv':
      side = round(self.num_probes**0.5)
      x = _convolutions(answers.reshape(side, side, -1), self.width)
    else:
      x = nn.relu(nn.Dense(self.width)(answers.reshape(-1)))
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return nn.relu(nn.Dense(self.embedding)(x))

  def _questions(self) -> jax.Array:
    """[num_probes, *input_shape]."""
    if self.source == 'linear':
      codes = self.param('codes', nn.initializers.normal(1.0), (self.num_probes, self.code))
      # No non-linearity in between: depth biases towards simple probes.
      for width in (2 * self.code, 2 * self.code):
        codes = nn.Dense(width, use_bias=False)(codes)
      size = 1
      for length in self.input_shape:
        size *= length
      return nn.Dense(size)(codes).reshape(-1, *self.input_shape)
    init: Any = nn.initializers.normal(1.0)
    if self.source == 'grid':
      init = _grid_init
    return self.param('probes', init, (self.num_probes, *self.input_shape))


def make(
  architecture: model_lib.Model,
  *,
  input_shape: tuple[int, ...] = (),
  source: str = 'free',
  reader: str = 'mlp',
  num_probes: int = 128,
  code: int = 32,
  width: int = 128,
  embedding: int = 128,
  dropout: float = 0.0,
) -> Probes:
  """The encoder for one architecture; see `Probes`.

  Args:
    architecture: of the networks.
    input_shape: of one input; () for a network whose first leaf is a dense kernel, which says it.
    source: from `SOURCES`.
    reader: from `READERS`.
    num_probes: number of questions.
    code: length of a code.
    width: of the reader.
    embedding: length of the embedding.
    dropout: before the embedding.

  Raises:
    ValueError: for an unknown source or reader, or probes that make no square.
  """
  for what, value, allowed in (('source', source, SOURCES), ('reader', reader, READERS)):
    if value not in allowed:
      raise ValueError(f'Unknown {what} of probes {value!r}; allowed: {", ".join(allowed)}.')
  input_shape = input_shape or architecture.input_shape
  square = source == 'grid' or reader == 'conv'
  if square and round(num_probes**0.5) ** 2 != num_probes:
    raise ValueError(f'{num_probes} probes make no square.')
  if source == 'grid' and tuple(input_shape) != (2,):
    raise ValueError(f'A grid of probes is for two coordinates; inputs have {input_shape}.')
  return Probes(
    architecture, tuple(input_shape), source, reader, num_probes, code, width,
    embedding, dropout,
  )  # fmt: skip


def _grid_init(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
  """Centres of the pixels of a square picture in [-1, 1]^2."""
  del key
  side = round(shape[0] ** 0.5)
  axis = (2 * jnp.arange(side) + 1) / side - 1
  return jnp.stack(jnp.meshgrid(axis, axis, indexing='ij'), -1).reshape(shape)


class _Convolution(nn.Module):
  """A strided convolution as one product of gathered patches.

  In a loop of steps on CPU, XLA runs a convolution ten times slower than the same arithmetic as a
  matrix product.

  Attributes:
    features: channels of the output.
    window: side of the window, odd; zeros are padded around the picture.
    stride: pixels from one window to the next.
  """

  features: int
  window: int
  stride: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[h, w, c] -> [ceil(h / stride), ceil(w / stride), features]."""
    pad = self.window // 2
    gathered = cnn.patches(x, self.window, (pad, pad), self.stride)
    return nn.Dense(self.features)(gathered)


def _convolutions(x: jax.Array, width: int) -> jax.Array:
  """[h, w, c] -> flat features, by three convolutions of growing width."""
  x = nn.relu(_Convolution(width, 5, 2)(x))
  x = nn.relu(_Convolution(2 * width, 3, 2)(x))
  x = nn.relu(_Convolution(4 * width, 3, 1)(x))
  return x.reshape(-1)
