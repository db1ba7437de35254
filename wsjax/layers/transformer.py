"""Transformer block over tokens.

Source: Vaswani et al. 2017, arXiv:1706.03762; Xiong et al. 2020, arXiv:2002.04745 (pre-norm);
Peebles & Xie 2023, arXiv:2212.09748, section 3.2 (adaLN-Zero).
"""

import flax.linen as nn
import jax
from jaxtyping import Array, Float


class Block(nn.Module):
  """Pre-norm self-attention and MLP, each with a residual connection.

  With `given` features both branches are shifted, scaled and gated by linear maps of them, which
  start at zero. Dropout is on the output of both branches in training.
  """

  width: int
  num_heads: int
  dropout: float = 0.0

  @nn.compact
  def __call__(
    self,
    tokens: Float[Array, 't width'],
    given: Float[Array, ' features'] | None = None,
    train: bool = False,
  ) -> Float[Array, 't width']:
    """Updates the tokens; `train` is positional so that `nn.remat` can hold it static."""
    if given is not None:
      modulation = nn.Dense(6 * self.width, kernel_init=nn.initializers.zeros, name='given')
      # [2, 3, 1, width]: shift, scale and gate of both branches.
      modulation = modulation(given).reshape(2, 3, 1, self.width)
    attention = nn.MultiHeadDotProductAttention(num_heads=self.num_heads, name='attention')
    for number, branch in enumerate((attention, self._mlp)):
      x = nn.LayerNorm(use_bias=given is None, use_scale=given is None)(tokens)
      if given is not None:
        shift, scale, gate = modulation[number]
        x = x * (1 + scale) + shift
      x = nn.Dropout(self.dropout, deterministic=not train)(branch(x))
      tokens += x if given is None else gate * x
    return tokens

  def _mlp(self, x: jax.Array) -> jax.Array:
    wide = nn.Dense(4 * self.width, name='wide')(x)
    return nn.Dense(self.width, name='back')(nn.gelu(wide))


def check_heads(width: int, num_heads: int) -> None:
  """Raises ValueError unless the number of heads divides the width."""
  if num_heads < 1 or width % num_heads:
    raise ValueError(f'A width of {width} does not divide into {num_heads} heads.')
