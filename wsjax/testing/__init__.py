"""Contracts of layers and plug-ins, for built-in ones and for those of users.

Every check runs one object, raises AssertionError that names the broken law, and needs no test
framework:

  from wsjax import testing
  testing.assert_equivariant(MyLayer(), model.spec)
  testing.check_encoder(MyEncoder(model), model)
"""

from wsjax.testing.encoders import check_editor, check_encoder, check_head
from wsjax.testing.generators import check_backbone, check_codec, check_condition, check_generator
from wsjax.testing.laws import (
  TOLERANCE,
  assert_equivariant,
  assert_invariant,
  assert_law,
  move,
  random_features,
)
from wsjax.testing.models import check_model
from wsjax.testing.tokens import check_tokens

__all__ = [
  'TOLERANCE',
  'assert_equivariant',
  'assert_invariant',
  'assert_law',
  'check_backbone',
  'check_codec',
  'check_condition',
  'check_editor',
  'check_encoder',
  'check_generator',
  'check_head',
  'check_model',
  'check_tokens',
  'move',
  'random_features',
]
