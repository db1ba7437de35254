"""An edited network: its weights plus a small learned multiple of an edit.

Source: Zhou et al. 2023, arXiv:2302.14040 (weights plus what the network says, times a learned
scalar per leaf that starts near 0).
"""

import flax.linen as nn

from wsjax import typing

# Of a leaf's own size: large enough to learn from the first step, too small for the first step to
# spoil the picture.
_FIRST_GAIN = 0.01


class Residual(nn.Module):
  """Weights of one network -> edited weights.

  Equivariant to whatever the editor is and that one factor per leaf commutes with, such as
  reordering units.

  Attributes:
    editor: plug-in of `editors`.
    scales: path -> size of a leaf. The editor reads every leaf divided by it, and its answer is
      multiplied by it.
  """

  editor: nn.Module
  scales: tuple[tuple[str, float], ...]

  @nn.compact
  def __call__(self, params: typing.Params) -> typing.Params:
    """Weights of one network -> weights of the edited one."""
    scaled = {path: params[path] / scale for path, scale in self.scales}
    # Before it is divided: probes run it.
    both = getattr(self.editor, 'READS', 'scaled') == 'both'
    change = self.editor(scaled, **({'function': params} if both else {}))
    first = nn.initializers.constant(_FIRST_GAIN)
    return {
      path: params[path] + self.param(f'gain {path}', first, ()) * scale * change[path]
      for path, scale in self.scales
    }
