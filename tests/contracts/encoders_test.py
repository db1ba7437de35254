"""Every encoder obeys its contract on every kind of model."""

import pytest

from tests import marks
from wsjax import config, testing
from wsjax.models import cnn, mlp, siren

MODELS = {
  'relu mlp': mlp.MLP((6, 5, 4, 3), 'relu'),
  'tanh mlp': mlp.MLP((6, 5, 4, 3), 'tanh'),
  'siren': siren.SIREN((2, 6, 5, 1)),
  'cnn': cnn.CNN((8, 8, 1), (4, 3), (), 3),
}


CASES = [f'{name} of {model}' for name in config.plugins('encoders') for model in MODELS]
# The convolutions have the symmetries of relu, the SIREN those of tanh and phases. The longest to
# compile has its laws tested for relu networks in tests/encoders/scale_equivariant_test.py.
LATER = {
  case
  for case in CASES
  if case.endswith((' of relu mlp', ' of tanh mlp')) or case.startswith('scale_equivariant')
}
# Graphs and tokens carry no phases, and layers of a spec are tried on every group elsewhere: one
# encoder of each form is tried on them.
LATER |= {
  f'{name} of siren'
  for name in (
    'flat_mlp', 'graph_net', 'graph_transformer', 'graph_statistics', 'probes', 'statistics',
    'token_transformer',
  )
}  # fmt: skip


@pytest.mark.parametrize('case', marks.slow(CASES, *LATER))
def test_an_encoder_obeys_its_contract(case):
  name, _, model = case.partition(' of ')
  model = MODELS[model]
  section = {'name': name, 'architecture': model}
  if 'depth' in config.defaults(config.find('encoders', name, 'encoder')):
    section['depth'] = 2  # The laws hold layer by layer; compiling takes long.
  testing.check_encoder(config.build('encoders', section), model)
