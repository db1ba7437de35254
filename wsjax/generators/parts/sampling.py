"""How networks are drawn: the section `sample` of a config.

Without it they are what the generator draws.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from wsjax import config


@dataclasses.dataclass(frozen=True)
class Sampling:
  """The sample section of a config.

  Attributes:
    task_scale: of the gradient of the loss on training images, taken off the field at every step of
      the solver; 0 is no guidance.
    task_items: training images of that loss, the same for all networks.
    refine_steps: updates by the recipe of the zoo after drawing.
  """

  task_scale: float = 0.0
  task_items: int = 256
  refine_steps: int = 0

  def __post_init__(self):
    for name, least in (('task_scale', 0), ('task_items', 1), ('refine_steps', 0)):
      if getattr(self, name) < least:
        raise ValueError(f'sample.{name} is {getattr(self, name)}, not >= {least}.')

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


def read(section: Mapping[str, Any]) -> Sampling:
  """The sampling of a config section; what it does not say is as by default.

  Raises:
    ValueError: for an unknown key or a value that is not allowed.
  """
  return config.read(Sampling, 'sample', section)
