"""Normalizing flow whose density does not see the order of hidden units.

Every layer moves with the units, so all orders of a network have the same exact likelihood, and are
drawn equally often.

Source: Köhler et al. 2020, arXiv:2006.02425, theorem 1.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from wsjax import config as config_lib
from wsjax.generators import flow
from wsjax.generators.parts import slot_coupling
from wsjax.symmetry import spec as spec_lib


@dataclasses.dataclass(frozen=True)
class GraphFlow:
  """Generator by equivariant couplings between weights and Gaussian noise.

  For flat tokens, [1, D], that no codec has changed.

  Attributes:
    spec: of the networks that are made.
    num_layers: number of couplings.
    width: of the networks inside a coupling.
    depth: blocks of those.
    noise_std: of noise added to the tokens while training, in their units.
    condition_size: features of the condition; 0 = unconditional.
  """

  spec: spec_lib.Spec
  num_layers: int
  width: int
  depth: int
  noise_std: float
  condition_size: int

  # A density and its samples do not depend on what the layers are.
  init = flow.Flow.init
  loss = flow.Flow.loss
  log_prob = flow.Flow.log_prob
  sample = flow.Flow.sample

  def _stack(self, shape: tuple[int, ...]) -> slot_coupling.SlotStack:
    if tuple(shape) != (1, self.spec.num_params):
      raise ValueError(
        f'Tokens have shape {tuple(shape)}; a graph flow takes the flat tokens '
        f'of its architecture, {(1, self.spec.num_params)}, as they are.'
      )
    return slot_coupling.SlotStack(self.spec, self.num_layers, self.width, self.depth)


def make(
  architecture: Mapping[str, Any],
  num_layers: int = 8,
  width: int = 64,
  depth: int = 1,
  noise_std: float = 0.0,
  condition_size: int = 0,
) -> GraphFlow:
  """The equivariant normalizing flow.

  Args:
    architecture: config section of a plug-in of `zoo.architectures`.
    num_layers: number of couplings; twice log2 of the number of channels lets every one see every
      other one.
    width: of the networks inside a coupling.
    depth: blocks of those.
    noise_std: of noise added to the tokens while training, in their units. Without it the
      likelihood of a few networks grows without bound.
    condition_size: features of the condition; 0 = unconditional.

  Raises:
    ValueError: if `num_layers` < 1 or `noise_std` < 0, or the architecture is unknown.
  """
  if num_layers < 1 or noise_std < 0:
    raise ValueError(
      f'A flow needs num_layers >= 1 and noise_std >= 0; got {num_layers} and {noise_std}.'
    )
  spec = config_lib.build('models', architecture).spec
  return GraphFlow(spec, num_layers, width, depth, noise_std, condition_size)
