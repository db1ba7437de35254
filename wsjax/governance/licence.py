"""Licence of what is derived from several sources: the meet of their licences.

This is a table and a rule, no legal advice. Whether weights are a derived work of their training
data is not settled law; here they are treated as one, which errs on the side of caution.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterable

from wsjax.governance import signing

_FREE = (
  '0BSD Apache-2.0 BSD-2-Clause BSD-3-Clause BSL-1.0 CC-BY-3.0 CC-BY-4.0 CC0-1.0 '
  'CDLA-Permissive-2.0 ISC MIT MIT-0 ODC-By-1.0 PDDL-1.0 Unlicense Zlib'
).split()  # fmt: skip
_GPL3 = frozenset({'GPL-3.0', 'AGPL-3.0'})
_GPL = _GPL3 | {'GPL-2.0'}
# Licence -> licences of which a work derived from it and others may be; None is any, an empty set
# none. Two sources can be combined if one licence serves both.
# Sources: texts of the licences; https://www.gnu.org/licenses/license-list.html (Apache-2.0 and
# GPL-2.0, MPL-2.0); https://creativecommons.org/compatible-licenses (BY-SA 4.0 into GPL-3.0).
MAY_BECOME: dict[str, frozenset[str] | None] = {
  **dict.fromkeys(_FREE),
  'GPL-2.0-only': frozenset({'GPL-2.0'}),
  'GPL-2.0-or-later': _GPL,
  **dict.fromkeys(('GPL-3.0-only', 'GPL-3.0-or-later'), _GPL3),
  **dict.fromkeys(('AGPL-3.0-only', 'AGPL-3.0-or-later'), frozenset({'AGPL-3.0'})),
  'LGPL-2.1-only': frozenset({'LGPL-2.1', 'GPL-2.0', *_GPL3}),
  'LGPL-2.1-or-later': frozenset({'LGPL-2.1', 'LGPL-3.0', *_GPL}),
  **dict.fromkeys(('LGPL-3.0-only', 'LGPL-3.0-or-later'), frozenset({'LGPL-3.0', *_GPL3})),
  'MPL-2.0': frozenset({'MPL-2.0', 'LGPL-2.1', 'LGPL-3.0', *_GPL}),
  'CC-BY-SA-3.0': frozenset({'CC-BY-SA-3.0', 'CC-BY-SA-4.0'}),
  'CC-BY-SA-4.0': frozenset({'CC-BY-SA-4.0', 'GPL-3.0'}),
  'ODbL-1.0': frozenset({'ODbL-1.0'}),
  'CC-BY-NC-3.0': frozenset({'CC-BY-NC', 'CC-BY-NC-SA-3.0', 'CC-BY-NC-SA-4.0'}),
  'CC-BY-NC-4.0': frozenset({'CC-BY-NC', 'CC-BY-NC-SA-4.0'}),
  'CC-BY-NC-SA-3.0': frozenset({'CC-BY-NC-SA-3.0', 'CC-BY-NC-SA-4.0'}),
  'CC-BY-NC-SA-4.0': frozenset({'CC-BY-NC-SA-4.0'}),
  # Derived works may not be shared.
  **dict.fromkeys(
    ('CC-BY-ND-3.0', 'CC-BY-ND-4.0', 'CC-BY-NC-ND-3.0', 'CC-BY-NC-ND-4.0'), frozenset()
  ),
}  # fmt: skip
# Free licences with a term that a copyleft licence forbids to add.
_EXCEPT = {'Apache-2.0': frozenset({'GPL-2.0', 'LGPL-2.1'})}


@dataclasses.dataclass(frozen=True)
class Effective:
  """Licence of a derived work.

  Attributes:
    expression: SPDX expression; None if a source has no known licence.
    redistributable: whether the work may be passed on.
    reason: why not, in a sentence; '' if it may.
  """

  expression: str | None
  redistributable: bool
  reason: str = ''

  @property
  def commercial(self) -> bool:
    """Whether it may be passed on and used commercially."""
    return self.redistributable and '-NC-' not in f'{self.expression}-'


def meet(expressions: Iterable[str | None]) -> Effective:
  """Licence of a work that is derived from sources with some licences.

  An unknown licence, 'NOASSERTION', one that is not in `MAY_BECOME` or is not SPDX makes the work
  not redistributable. Of 'A OR B' the choice is taken with which the others can be combined.

  Raises:
    ValueError: if license-expression is not installed.
  """
  given = sorted({text or '' for text in expressions})
  if not given:
    return Effective(None, False, 'No licence is known of any source.')
  if {'', 'NOASSERTION', 'NONE'} & set(given):
    return Effective(None, False, 'The licence of a source is not known.')
  choices = []
  for text in given:
    found = _choices(text)
    if isinstance(found, str):
      return Effective(None, False, found)
    choices.append(found)
  problem = ''
  allowed = []
  for combination in itertools.islice(itertools.product(*choices), 1024):
    licences = frozenset().union(*combination)
    if not (why := _conflict(licences)):
      allowed.append(licences)
    problem = problem or why
  everything = ' AND '.join(f'({text})' if ' OR ' in text else text for text in given)
  if not allowed:
    return Effective(_simplify(everything), False, problem)
  texts = sorted({' AND '.join(sorted(licences)) for licences in allowed})
  joined = ' OR '.join(
    f'({text})' if ' AND ' in text and len(texts) > 1 else text for text in texts
  )
  return Effective(_simplify(joined), True)


def _conflict(licences: frozenset[str]) -> str:
  """Why works of these licences cannot be combined and passed on; '' if they can."""
  targets: frozenset[str] | None = None
  for name in sorted(licences):
    base = name.partition(' WITH ')[0]
    if base not in MAY_BECOME:
      return f'The terms of {name} are not in the table of licences.'
    terms = MAY_BECOME[base]
    if terms is not None and not terms:
      return f'{name} does not let derived works be shared.'
    if terms is not None:
      targets = terms if targets is None else targets & terms
  for name, excluded in _EXCEPT.items():
    if name in licences and targets is not None:
      targets -= excluded
  if targets is not None and not targets:
    return f'{" and ".join(sorted(licences))} cannot be combined in one work.'
  return ''


@functools.lru_cache(maxsize=1024)
def _choices(text: str) -> list[frozenset[str]] | str:
  """Sets of licences, one of which has to be kept; or what is wrong with an expression."""
  library = signing.require('license_expression', 'zoo')
  licensing = library.get_spdx_licensing()
  try:
    parsed = licensing.parse(text, strict=True)
  except library.ExpressionError as error:
    return f'{text!r:.100} is no SPDX expression: {" ".join(str(error).split())[:200]}.'

  def walk(node: object) -> list[frozenset[str]]:
    if isinstance(node, library.LicenseSymbol | library.LicenseWithExceptionSymbol):
      return [frozenset({node.render()})]
    parts = [walk(part) for part in node.args]
    if isinstance(node, licensing.OR):
      return [choice for part in parts for choice in part][:64]
    return [frozenset().union(*p) for p in itertools.islice(itertools.product(*parts), 64)]

  return walk(parsed)


def _simplify(text: str) -> str:
  library = signing.require('license_expression', 'zoo')
  return str(library.get_spdx_licensing().parse(text).simplify())
