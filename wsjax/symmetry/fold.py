"""Short text for many parameters: equal blocks are merged and common prefixes factored out."""

import re
from collections.abc import Iterable, Sequence

_LETTERS = 'ijklmn'
_START = r'(?<![^ ,])'  # Of a path in a text.


def merge(rows: Sequence[Sequence[str]]) -> list[tuple[tuple[str, ...], list[int]]]:
  """Merges rows of texts, the first of each a path, that differ only in the number of a block.

  Returns:
    (texts, numbers of the rows) in order of first appearance. Of merged rows the path has a range,
    'block_{0..11}/mlp', and the other texts a letter, 'block_{i}/mlp, block_{i+1}/norm'.
  """
  merged = [(tuple(row), [place]) for place, row in enumerate(rows)]
  depth = max((row[0].count('/') for row, _ in merged), default=-1) + 1
  letters = list(_LETTERS)
  for level in range(depth):
    fewer = _merge_level(merged, level, letters[0])
    if len(fewer) < len(merged) and len(letters) > 1:
      del letters[0]
    merged = fewer
  return merged


def _merge_level(
  rows: list[tuple[tuple[str, ...], list[int]]], level: int, letter: str
) -> list[tuple[tuple[str, ...], list[int]]]:
  buckets: dict[object, list[tuple[int, tuple[str, ...], list[int]]]] = {}
  for row, places in rows:
    parts = row[0].split('/')
    number = re.fullmatch(r'([^\d{}]*)(\d+)([^{}]*)', parts[level]) if level < len(parts) else None
    key, value = tuple(places), 0
    if number:
      before, value, after = number[1], int(number[2]), number[3]
      path = '/'.join([*parts[:level], f'{before}{{}}{after}', *parts[level + 1 :]])
      parent = ''.join(f'{part}/' for part in parts[:level])
      pattern = f'{_START}({re.escape(parent)}[^\\d/:{{}}, ]*)(\\d+)(?=[^ ,]*[/:.]|$)'

      def relative(match, value=value):
        gap = int(match[2]) - value
        return f'{match[1]}{{{letter}{gap:+d}}}' if gap else f'{match[1]}{{{letter}}}'

      texts = tuple(re.sub(pattern, relative, text) for text in row[1:])
      key = (path, texts, len(places))
    buckets.setdefault(key, []).append((value, row, places))
  merged = []
  for key, members in buckets.items():
    row, places = members[0][1], [place for _, _, some in members for place in some]
    if len(members) > 1:
      path, texts, _ = key
      row = (path.replace('{}', f'{{{_range([value for value, _, _ in members])}}}'), *texts)
    merged.append((row, places))
  return merged


def _range(values: Sequence[int]) -> str:
  """'0..11', or all numbers where one is missing."""
  values = sorted(values)
  whole = values == list(range(values[0], values[-1] + 1)) and len(values) > 2
  return f'{values[0]}..{values[-1]}' if whole else ','.join(map(str, values))


def fold(names: Iterable[str]) -> str:
  """Paths as one text: 'block_{0..11}/{norm/scale:0, mlp/{kernel:1, bias:0}}, head/kernel:0'."""
  tree: dict[str, dict] = {}
  for (name,), _ in merge([(name,) for name in names]):
    node = tree
    for part in name.split('/'):
      node = node.setdefault(part, {})
  return _text(tree)


def _text(tree: dict[str, dict]) -> str:
  parts = []
  for name, below in tree.items():
    inside = _text(below)
    if len(below) > 1:
      inside = f'{{{inside}}}'
    parts.append(f'{name}/{inside}' if below else name)
  return ', '.join(parts)
