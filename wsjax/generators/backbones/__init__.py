"""Backbones: networks that predict a field over the tokens of one network."""

from typing import Annotated

import flax.linen as nn

from wsjax import config

# Called as `backbone(x, t, condition, train=...)` with tokens x [T, D], a scalar time t in [0, 1]
# and a condition [C] or None; gives [T, D], zero at initialisation.
Backbone = Annotated[nn.Module, config.Plugin('generators.backbones')]
