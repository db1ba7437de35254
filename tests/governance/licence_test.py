"""The licence of what is derived from several sources."""

import pytest

pytest.importorskip('license_expression', reason="licences need: pip install 'wsjax[zoo]'")

from wsjax import config as config_lib
from wsjax.governance import lineage


@pytest.mark.parametrize(
  ('sources', 'expression'),
  [
    (['MIT', 'MIT'], 'MIT'),
    (['MIT', 'Apache-2.0'], 'Apache-2.0 AND MIT'),
    (['Apache-2.0 AND CC-BY-4.0', 'Apache-2.0'], 'Apache-2.0 AND CC-BY-4.0'),
    (['Apache-2.0', 'GPL-2.0-or-later'], 'Apache-2.0 AND GPL-2.0-or-later'),
    (['CC-BY-SA-4.0', 'GPL-3.0-only'], 'CC-BY-SA-4.0 AND GPL-3.0-only'),
    (['MIT OR GPL-2.0-only', 'Apache-2.0'], 'Apache-2.0 AND MIT'),
    (['MIT OR Apache-2.0', 'CC-BY-4.0'], '(Apache-2.0 AND CC-BY-4.0) OR (CC-BY-4.0 AND MIT)'),
    (['CC-BY-NC-4.0', 'CC-BY-NC-SA-4.0', 'MIT'], 'CC-BY-NC-4.0 AND CC-BY-NC-SA-4.0 AND MIT'),
    (['GPL-2.0-only WITH Classpath-exception-2.0', 'MIT'],
     'GPL-2.0-only WITH Classpath-exception-2.0 AND MIT'),
  ],
)  # fmt: skip
def test_what_can_be_combined_may_be_passed_on(sources, expression):
  found = lineage.meet(sources)
  assert (found.expression, found.redistributable, found.reason) == (expression, True, '')
  assert found == lineage.meet(reversed(sources))
  assert found.commercial == ('-NC-' not in expression)


@pytest.mark.parametrize(
  ('sources', 'reason'),
  [
    ([], 'No licence is known'),
    ([None, 'MIT'], 'licence of a source is not known'),
    (['NOASSERTION', 'MIT'], 'licence of a source is not known'),
    (['LicenseRef-Lab'], 'terms of LicenseRef-Lab are not in the table'),
    (['SSPL-1.0', 'MIT'], 'terms of SSPL-1.0 are not in the table'),
    (['MIT AND'], 'no SPDX expression'),
    (['Apache-2.0', 'GPL-2.0-only'], 'Apache-2.0 and GPL-2.0-only cannot be combined'),
    (['CC-BY-SA-4.0', 'CC-BY-NC-4.0'], 'cannot be combined'),
    (['CC-BY-SA-4.0', 'GPL-2.0-only'], 'cannot be combined'),
    (['CC-BY-NC-4.0', 'GPL-3.0-only'], 'cannot be combined'),
    (['ODbL-1.0', 'CC-BY-SA-4.0'], 'cannot be combined'),
    (['MIT', 'CC-BY-ND-4.0'], 'does not let derived works be shared'),
    (['GPL-2.0-only OR CC-BY-NC-4.0', 'Apache-2.0 AND GPL-3.0-only'], 'cannot be combined'),
  ],
)
def test_what_is_unknown_or_conflicts_may_not(sources, reason):
  found = lineage.meet(sources)
  assert not found.redistributable and not found.commercial and reason in found.reason


def test_the_table_knows_only_licences_of_spdx():
  library = config_lib.require('license_expression', 'zoo')
  known = library.get_spdx_licensing().known_symbols
  assert not [name for name in lineage.MAY_BECOME if name not in known]
