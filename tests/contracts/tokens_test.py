"""Every tokenizer obeys its contract on every kind of network."""

import pytest

from tests import marks, strategies
from wsjax import config, testing

CASES = {case.name: case for case in strategies.CASES}
FAST = ('mlp(5, 4, 2)-relu', 'cnn(3, 4)-5-relu', 'rnn4-tanh')


@pytest.mark.parametrize('case', marks.slow(CASES, *(name for name in CASES if name not in FAST)))
@pytest.mark.parametrize('name', config.plugins('tokens'))
def test_a_tokenizer_obeys_its_contract(name, case):
  testing.check_tokens(config.build('tokens', {'name': name}), CASES[case].spec)
