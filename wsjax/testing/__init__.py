"""Contracts of layers and plug-ins, for built-in ones and for those of users.

Every check runs one object, raises AssertionError that names the broken law, and needs no test
framework:

  from wsjax import testing
  testing.assert_equivariant(MyLayer(), model.spec)
  testing.check_encoder(MyEncoder(model), model)
"""

from wsjax.testing.encoders import check_editor as check_editor
from wsjax.testing.encoders import check_encoder as check_encoder
from wsjax.testing.encoders import check_head as check_head
from wsjax.testing.generators import check_backbone as check_backbone
from wsjax.testing.generators import check_codec as check_codec
from wsjax.testing.generators import check_condition as check_condition
from wsjax.testing.generators import check_generator as check_generator
from wsjax.testing.laws import TOLERANCE as TOLERANCE
from wsjax.testing.laws import assert_equivariant as assert_equivariant
from wsjax.testing.laws import assert_invariant as assert_invariant
from wsjax.testing.laws import assert_law as assert_law
from wsjax.testing.models import check_model as check_model
from wsjax.testing.models import check_tokens as check_tokens
