"""Normalizing flow whose density does not depend on the order of hidden units.

Source: Köhler et al. 2020, arXiv:2006.02425, theorem 1.
"""

import dataclasses
from typing import Annotated

from wsjax import config
from wsjax.generators import flow
from wsjax.generators.parts import slot_coupling
from wsjax.models import model as model_lib


@dataclasses.dataclass(frozen=True)
class GraphFlow(config.Section):
  """Generator by equivariant couplings between weights and Gaussian noise.

  All orders of a network have equal exact likelihood and are drawn equally often. For flat tokens
  [1, D] that no codec has changed.

  Attributes:
    architecture: of the generated networks.
    num_layers: number of couplings; twice log2 of the number of channels lets every channel see
      every other one.
    width: of the networks inside a coupling.
    depth: number of their blocks.
    noise_std: standard deviation of the noise on the tokens in training, in their units. Without it
      the likelihood of a few networks grows without bound.
    condition_size: features of the condition; 0 is unconditional.
  """

  architecture: Annotated[model_lib.Model, config.Plugin('models')]
  num_layers: config.PositiveInt = 8
  width: config.PositiveInt = 64
  depth: config.NonNegativeInt = 1
  noise_std: config.NonNegativeFloat = 0.0
  condition_size: config.NonNegativeInt = 0

  # A density and its samples do not depend on what the layers are.
  init = flow.Flow.init
  loss = flow.Flow.loss
  log_prob = flow.Flow.log_prob
  sample = flow.Flow.sample

  def _stack(self, shape: tuple[int, ...]) -> slot_coupling.SlotStack:
    spec = self.architecture.spec
    if tuple(shape) != (1, spec.num_params):
      raise ValueError(
        f'Tokens have shape {tuple(shape)}; a graph flow takes flat tokens of its architecture, '
        f'{(1, spec.num_params)}, without a codec.'
      )
    return slot_coupling.SlotStack(spec, self.num_layers, self.width, self.depth)
