"""Lineage: what a network was made from and what was made from it, across zoos and generators.

Nodes are records, generators, zoos, data sets and what records name from elsewhere. An edge leads
from what was made to what it was made from. The licence of what is derived from several sources is
the meet of their licences.

The table of licences and its rule are no legal advice. Whether weights are a derived work of their
training data is not settled law; here they are treated as one, which errs on the side of caution.
"""

import collections
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from wsjax import config as config_lib

if TYPE_CHECKING:
  from rich import tree as rich_tree

  from wsjax.zoo.store import store

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
  library = config_lib.require('license_expression', 'zoo')
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
  library = config_lib.require('license_expression', 'zoo')
  return str(library.get_spdx_licensing().parse(text).simplify())


KINDS = ('record', 'generator', 'zoo', 'data', 'external')
# Relation of an edge, of records or between other nodes -> how it is read.
RELATIONS = {
  'trained_on': 'trained on', 'contains': 'contains', 'supersedes': 'supersedes',
  'init_from': 'initialized from', 'finetune': 'fine-tuned from', 'adapter': 'adapter of',
  'quantized': 'quantized from', 'merge': 'merged from', 'distill': 'distilled from',
  'checkpoint_of': 'checkpoint of', 'generated_by': 'generated by',
  'canonicalised_from': 'canonical form of',
}  # fmt: skip
_BACKWARDS = {
  'trained_on': 'used to train', 'contains': 'in', 'supersedes': 'superseded by',
  'init_from': 'initialized', 'finetune': 'fine-tuned into', 'adapter': 'adapted by',
  'quantized': 'quantized into', 'merge': 'merged into', 'distill': 'distilled into',
  'checkpoint_of': 'has the checkpoint', 'generated_by': 'generated',
  'canonicalised_from': 'has the canonical form',
}  # fmt: skip
_SHOWN = 5  # Siblings of one relation that a tree shows where there are many more.


@dataclasses.dataclass(frozen=True)
class Node:
  """A network, or what networks are made from.

  Attributes:
    id: of the record; 'zoo:DIGEST', 'NAME:DIGEST' of a generator, 'data:NAME:DIGEST'.
    kind: one of `KINDS`.
    label: for people.
    licence: SPDX expression; None if it is not known, or has none of its own.
    known: whether it was read, and not only named by others.
    digests: SHA-256 by which it may be found beside its id.
  """

  id: str
  kind: str
  label: str = ''
  licence: str | None = None
  known: bool = True
  digests: tuple[str, ...] = ()


class Graph:
  """Nodes and edges of the records of several zoos."""

  def __init__(self) -> None:
    self.nodes: dict[str, Node] = {}
    self._up: dict[str, dict[tuple[str, str], None]] = collections.defaultdict(dict)
    self._down: dict[str, dict[tuple[str, str], None]] = collections.defaultdict(dict)

  def add(self, node: Node) -> None:
    """Adds a node; one that is known takes the place of one that was only named."""
    if node.known or node.id not in self.nodes:
      self.nodes[node.id] = node

  def link(self, child: str, relation: str, parent: str) -> None:
    """Adds an edge between two nodes."""
    self._up[child][relation, parent] = None
    self._down[parent][relation, child] = None

  def edges(self) -> list[tuple[str, str, str]]:
    """Child, relation and parent of every edge."""
    return [(child, relation, parent) for child in self._up for relation, parent in self._up[child]]

  def parents(self, id: str) -> list[tuple[str, str]]:
    """Relation and id of everything that a node was made from."""
    return list(self._up.get(id, ()))

  def children(self, id: str) -> list[tuple[str, str]]:
    """Relation and id of everything that was made from a node."""
    return list(self._down.get(id, ()))

  def ancestors(self, *ids: str) -> list[str]:
    """Ids of everything that some nodes were made from, nearest first."""
    return self._reach(ids, self.parents)

  def descendants(self, *ids: str) -> list[str]:
    """Ids of everything that was made from some nodes, nearest first."""
    return self._reach(ids, self.children)

  def _reach(self, ids: Iterable[str], step: Any) -> list[str]:
    seen = dict.fromkeys(ids)
    queue = collections.deque(seen)
    while queue:
      for relation, other in step(queue.popleft()):
        # A correction is not derived from what it corrects.
        if relation != 'supersedes' and other not in seen:
          seen[other] = None
          queue.append(other)
    return [id for id in seen if id not in ids]

  def find(self, text: str) -> str:
    """The id of a node: it is given whole, by its beginning of 4 and more letters, or by a digest.

    Raises:
      ValueError: if there is none, or are several.
    """
    if text in self.nodes:
      return text
    found = [
      id
      for id, node in self.nodes.items()
      if len(text) >= 4
      and (
        id.startswith(text)
        or id.rpartition(':')[2].startswith(text)
        or any(digest.startswith(text) for digest in node.digests)
      )
    ]
    if len(found) != 1:
      problem = f'{len(found)} nodes are' if found else 'nothing is'
      raise ValueError(
        f'{problem} called {text[:100]!r} in these zoos; give the id of a record, as '
        '`wsjax zoo inspect DIR --record I` shows it, or of a generator or a zoo.'
      )
    return found[0]

  def licence(self, *ids: str) -> Effective:
    """Licence of what is derived from some nodes: the meet with those of all their ancestors.

    Raises:
      ValueError: if license-expression is not installed.
    """
    found = [self.nodes[id] for id in [*ids, *self.ancestors(*ids)]]
    for node in found:
      if not node.known and not self._is_original(node.id):
        reason = f'The licence of {node.id[:80]} is not known here.'
        return Effective(None, False, reason)
      if node.kind in ('record', 'data') and node.licence in (None, 'NOASSERTION', 'NONE'):
        named = node.label or node.id
        return Effective(None, False, f'The licence of {named[:80]} is not known.')
    return meet(n.licence for n in found if n.kind in ('record', 'data'))

  def _is_original(self, id: str) -> bool:
    """Whether records only say that they are the very networks of a place elsewhere."""
    children = self.children(id)
    return bool(children) and all(relation == 'checkpoint_of' for relation, _ in children)

  def subgraph(self, ids: Iterable[str]) -> dict[str, Any]:
    """Nodes and edges among some ids, as JSON."""
    wanted = dict.fromkeys(ids)
    return {
      'nodes': [
        {**dataclasses.asdict(self.nodes[id]), 'digests': list(self.nodes[id].digests)}
        for id in wanted
      ],
      'edges': [list(edge) for edge in self.edges() if edge[0] in wanted and edge[2] in wanted],
    }

  def tree(self, id: str, *, up: bool) -> 'rich_tree.Tree':
    """A tree for a terminal: ancestors, or descendants; many siblings are counted."""
    from rich import text
    from rich import tree as rich_tree

    step, words = (self.parents, RELATIONS) if up else (self.children, _BACKWARDS)
    made = rich_tree.Tree(text.Text(self.describe(id)))
    seen = {id}

    def grow(branch: 'rich_tree.Tree', of: str, depth: int) -> None:
      by_relation: dict[str, list[str]] = collections.defaultdict(list)
      for relation, other in step(of):
        by_relation[relation].append(other)
      for relation, others in by_relation.items():
        shown = others if len(others) <= _SHOWN + 1 else others[:_SHOWN]
        for other in shown:
          again = other in seen
          line = f'{words.get(relation, relation)} {self.describe(other)}'
          child = branch.add(text.Text(line + (' (above)' if again and step(other) else '')))
          if not again and depth < 64:
            seen.add(other)
            grow(child, other, depth + 1)
        if rest := others[len(shown) :]:
          branch.add(text.Text(f'{words.get(relation, relation)} {len(rest)} more'))

    grow(made, id, 0)
    return made

  def describe(self, id: str) -> str:
    """A node in a line."""
    node = self.nodes[id]
    name, _, digest = id.rpartition(':')
    short = f'{name}:{digest[:12]}' if name else id[:40]
    parts = [node.kind, short, node.label]
    if node.kind in ('record', 'data'):
      parts.append(node.licence or 'licence unknown')
    if not node.known:
      parts.append('(not in these zoos)')
    return ' '.join(filter(None, parts))


def graph(zoos: Iterable['store.Zoo']) -> Graph:
  """Reads the lineage of the networks of several zoos from their records."""
  made = Graph()
  for zoo in zoos:
    name = f'zoo:{zoo.digest}'
    made.add(Node(name, 'zoo', f'{zoo.path or "in memory"}, {len(zoo)} networks'))
    for key, record in zip(zoo.keys, zoo.records, strict=True):
      add_record(made, record, key)
      made.link(name, 'contains', record['record_id'])
  return made


def generators(zoos: Iterable['store.Zoo']) -> set[str]:
  """Ids of the generators that drew networks of some zoos."""
  return {
    record['generated']['generator_record_id']
    for zoo in zoos
    for record in zoo.records
    if record['generated']
  }


def add_record(graph: Graph, record: Mapping[str, Any], key: str = '') -> None:
  """Adds a record, with an edge to everything that it names."""
  id = record['record_id']
  run = f'run {record["run_id"]}' if record.get('run_id') != key else ''
  label = ' '.join(filter(None, (record['arch_id'], key, run)))
  graph.add(Node(id, 'record', label, record['license'], digests=(record['tensor_digest'],)))
  for data in record['datasets']:
    label = ' '.join(filter(None, (data['name'], data['version'])))
    node = f'data:{data["name"]}:{data["sha256"] or "unknown"}'
    graph.add(Node(node, 'data', label, data['license']))
    graph.link(id, 'trained_on', node)
  generator = (record.get('generated') or {}).get('generator_record_id')
  if generator:
    graph.add(Node(generator, 'generator'))
    graph.link(id, 'generated_by', generator)
  for parent in record['parents']:
    external = parent.get('external_ref')
    if generator and parent['relation'] == 'generated_by' and external:
      graph.add(Node(external, 'zoo' if external.startswith('zoo:') else 'external', known=False))
      graph.link(generator, 'trained_on', external)
      continue
    other = parent['record_id'] or external
    graph.add(Node(other, 'record' if parent['record_id'] else 'external', known=False))
    graph.link(id, parent['relation'], other)
  if record.get('supersedes'):
    graph.add(Node(record['supersedes'], 'record', known=False))
    graph.link(id, 'supersedes', record['supersedes'])
