"""Edited networks: weights plus a small learned multiple of an update.

Source: Zhou et al. 2023, arXiv:2302.14040 (a learned scalar per parameter that starts near 0).
"""

import flax.linen as nn

from wsjax import typing

# Relative to the size of a parameter: large enough to learn from the first step, too small for the
# first step to spoil the function.
_FIRST_GAIN = 0.01


class Residual(nn.Module):
  """Map from the weights of one network to edited weights.

  It is equivariant to permutations where the editor is.

  Attributes:
    editor: plug-in of `editors`.
    scales: path -> size of a parameter. The editor reads parameters divided by it, and its updates
      are multiplied by it.
  """

  editor: nn.Module
  scales: tuple[tuple[str, float], ...]

  @nn.compact
  def __call__(self, params: typing.Params) -> typing.Params:
    """Edits the weights of one network."""
    scaled = {path: params[path] / scale for path, scale in self.scales}
    reads_both = getattr(self.editor, 'READS', 'scaled') == 'both'
    change = self.editor(scaled, **({'raw': params} if reads_both else {}))
    first = nn.initializers.constant(_FIRST_GAIN)
    return {
      path: params[path] + self.param(f'gain {path}', first, ()) * scale * change[path]
      for path, scale in self.scales
    }
