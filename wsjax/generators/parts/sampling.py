"""How networks are drawn: the section `sample` of a config."""

import dataclasses
import functools

from wsjax import config


@dataclasses.dataclass(frozen=True)
class Sampling(config.Section):
  """The sample section of a config; without it networks are what the generator draws.

  Attributes:
    task_scale: of the gradient of the loss on training images, taken off the field at every step of
      the solver; 0 is no guidance.
    task_items: training images of that loss, the same for all networks.
    refine_steps: updates by the recipe of the zoo after drawing.
  """

  task_scale: config.NonNegativeFloat = 0.0
  task_items: config.PositiveInt = 256
  refine_steps: config.NonNegativeInt = 0

  def __str__(self):
    parts = []
    if self.task_scale:
      parts.append(
        f'led by the loss on {self.task_items} training images at scale {self.task_scale:g}'
      )
    if self.refine_steps:
      parts.append(f'trained on for {self.refine_steps} steps')
    return ', '.join(parts)


# Option -> value where a section does not say it.
DEFAULTS = config.defaults(Sampling)
# The sampling of a config section.
read = functools.partial(config.read, Sampling, 'sample')
