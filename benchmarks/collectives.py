"""Collectives of a compiled step, read from the text of its HLO module.

Bytes that one device sends are those of the ring algorithms, which are optimal in bandwidth:
(n-1)/n of an array for gathering or scattering it over n devices, twice that for an all-reduce,
which is one after the other (Patarasuk & Yuan 2009, doi:10.1016/j.jpdc.2008.09.002; the same
factors as in the document PERFORMANCE.md of NVIDIA's nccl-tests). An all-to-all keeps 1/n at home;
what a ring would pass on for others is not counted.
"""

import collections
import dataclasses
import re
from collections.abc import Iterator

# Share of the payload that one of n devices sends.
_SENT = {
  'all-reduce': lambda n: 2 * (n - 1) / n,
  'all-gather': lambda n: (n - 1) / n,
  'reduce-scatter': lambda n: (n - 1) / n,
  'all-to-all': lambda n: (n - 1) / n,
}
KINDS = (*_SENT, 'collective-permute')
# What talks to other devices but is none of KINDS must not be missed.
_OPCODES_THAT_TALK = re.compile(
  r'(all-|collective-|reduce-scatter|ragged-|cross-replica|send|recv)'
)
_ATTRIBUTES_THAT_TALK = re.compile(r'\b(replica_groups|channel_id|source_target_pairs)=')
_CALLS = re.compile(
  r'\b(calls|to_apply|called_computations|branch_computations'
  r'|true_computation|false_computation|body|condition)='
  r'(\{[^}]*\}|%?[\w.-]+)'
)
_BRANCHES = ('branch_computations', 'true_computation', 'false_computation')


@dataclasses.dataclass(frozen=True)
class Collective:
  """All collectives of one kind and group size in one step.

  Attributes:
    kind: of KINDS.
    devices: that take part in one of them.
    count: how many a step has; a fraction where a block has fewer than steps.
    payload: bytes of the whole arrays: what is reduced, what is there once it is gathered, or
      before it is scattered.
    sent: bytes that one device sends; the busiest, if they differ.
  """

  kind: str
  devices: int
  count: float
  payload: float
  sent: float


def of_step(text: str, *, steps: int = 1) -> list[Collective]:
  """Collectives of one training step.

  A collective inside loops counts as often as they turn, so the microbatches of a step are all
  there; what a block has beside its steps is spread over them.

  Args:
    text: `compiled.as_text()` of a block.
    steps: that the block takes.

  Returns:
    One entry per kind and group size, in the order of KINDS.

  Raises:
    ValueError: for an opcode that communicates and is none of KINDS, a loop with collectives that
      does not say how often it turns, branches that communicate differently, or text that is not a
      module.
  """
  totals = _Module(text).total()
  return [
    Collective(kind, devices, *(value / steps for value in values))
    for (kind, devices), values in sorted(
      totals.items(), key=lambda item: (KINDS.index(item[0][0]), item[0][1])
    )
  ]


def sent(found: list[Collective]) -> float:
  """Bytes that one device sends in a step."""
  return sum(collective.sent for collective in found)


# (kind, devices) -> count, payload, sent.
_Totals = dict[tuple[str, int], tuple[float, float, float]]


class _Module:
  """Computations of a module, by name, as (shape, opcode, rest) lines."""

  def __init__(self, text: str):
    self.computations: dict[str, list[str]] = {}
    self.entry = ''
    self.devices = 1
    self._totals: dict[str, _Totals] = {}
    lines: list[str] = []
    for line in text.splitlines():
      if line.startswith('HloModule'):
        for count in re.findall(r'\b(?:num_partitions|replica_count)=(\d+)', line):
          self.devices *= int(count)
      elif line.endswith('{') and not line.startswith(' '):
        name = re.match(r'(?:ENTRY )?%?([\w.-]+)', line)[1]
        lines = self.computations[name] = []
        if line.startswith('ENTRY'):
          self.entry = name
      elif ' = ' in line:
        lines.append(line)
    if not self.entry:
      raise ValueError(f'The text has no ENTRY computation; it starts with {text[:60]!r}.')

  def total(self) -> _Totals:
    """Of one call of the module."""
    return self._of(self.entry)

  def _of(self, name: str) -> _Totals:
    """Of one call of a computation."""
    if name not in self._totals:
      total: _Totals = {}
      for line in self.computations[name]:
        _add(total, self._of_line(line))
      self._totals[name] = total
    return self._totals[name]

  def _of_line(self, line: str) -> _Totals:
    """Of one instruction, with all that it calls."""
    trips = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
    target = re.search(r'custom_call_target="([^"]*)"', line)
    # Names of operations in quotes may say anything.
    line = re.sub(r'"(?:[^"\\]|\\.)*"|/\*.*?\*/', '', line)
    shape, opcode, rest = _parts(line.split(' = ', 1)[1])
    if opcode.endswith(('-done', '-update')):
      opened = opcode.rsplit('-', 1)[0]
      if opened in (*KINDS, 'async', 'copy'):
        return {}  # Counted where it starts.
    kind = opcode.removesuffix('-start')
    if kind in KINDS:
      return self._of_collective(kind, opcode != kind, shape, rest)
    named = target[1].replace('_', '-').lower() if target else ''
    if _ATTRIBUTES_THAT_TALK.search(rest) or any(
      _OPCODES_THAT_TALK.match(name) for name in (opcode, named)
    ):
      raise ValueError(
        f'{named or opcode} communicates, and is none of {", ".join(KINDS)}: {line.strip()[:200]}'
      )
    calls = collections.defaultdict(list)
    for attribute, names in _CALLS.findall(rest):
      calls[attribute] += re.findall(r'[\w.-]+', names)
    if opcode == 'while':
      return self._of_loop(calls, trips and int(trips[1]), line)
    names = [name for key in _BRANCHES for name in calls.pop(key, ())]
    branches = [self._of(name) for name in names]
    if any(branch != branches[0] for branch in branches):
      raise ValueError(
        'Branches of a conditional communicate differently, so bytes depend on '
        f'data: {line.strip()[:200]}'
      )
    total = dict(branches[0]) if branches else {}
    for name in (name for names in calls.values() for name in names):
      _add(total, self._of(name))
    return total

  def _of_loop(self, calls: dict[str, list[str]], trips: int | None, line: str) -> _Totals:
    body, condition = (self._of(calls[key][0]) for key in ('body', 'condition'))
    if trips is None:
      if body or condition:
        raise ValueError(f'A loop has collectives and no known_trip_count: {line.strip()[:200]}')
      return {}
    total: _Totals = {}
    _add(total, body, trips)
    _add(total, condition, trips + 1)
    return total

  def _of_collective(self, kind: str, starts: bool, shape: str, rest: str) -> _Totals:
    if starts and kind != 'all-reduce':
      shape = list(_split(shape))[1]  # (operands, results, ...).
    size = _num_bytes(shape)
    if kind == 'collective-permute':
      pairs = re.search(r'source_target_pairs=\{(.*?\})\}', rest)
      pairs = re.findall(r'(\d+),(\d+)', pairs[1] if pairs else '')
      devices = len({device for pair in pairs for device in pair})
      # The busiest device sends all, unless nobody sends to another.
      moves = any(a != b for a, b in pairs)
      return {(kind, devices): (1, size, size * moves)}
    devices = self._group(rest)
    if kind == 'reduce-scatter':
      size *= devices
    return {(kind, devices): (1, size, size * _SENT[kind](devices))}

  def _group(self, rest: str) -> int:
    """Devices of one group."""
    if not (found := re.search(r'replica_groups=(.*)', rest)):
      return self.devices
    groups = found[1]
    if groups.startswith('{}'):
      return self.devices
    if groups.startswith('{{'):
      listed = re.findall(r'\{([\d,]+)\}', groups[1 : groups.index('}}') + 1])
      return max(len(group.split(',')) for group in listed)
    if iota := re.match(r'\[\d+,(\d+)\]<=', groups):
      return int(iota[1])
    # A mesh with names and sizes of axes, then the axes of the group.
    if mesh := re.match(r'mesh\[(.*?)\](?:.*?) \{(.*?)\}', groups):
      sizes = dict(re.findall(r"'([^']+)'=(\d+)", mesh[1]))
      devices = 1
      for axis, part in re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", mesh[2]):
        devices *= int(part or sizes[axis])
      return devices
    raise ValueError(f'Cannot read replica_groups={groups[:80]}')


def _add(total: _Totals, more: _Totals, times: int = 1) -> None:
  """Adds `times` times `more` to `total`, which changes."""
  for key, values in more.items():
    old = total.get(key, (0, 0, 0))
    total[key] = tuple(a + times * b for a, b in zip(old, values, strict=True))


def _parts(instruction: str) -> tuple[str, str, str]:
  """Shape, opcode and the rest of what stands behind ' = '."""
  depth = 0
  stop = 0
  for stop, letter in enumerate(instruction):  # noqa: B007
    depth += (letter in '([{') - (letter in ')]}')
    if letter == ' ' and depth == 0:
      break
  opcode, _, rest = instruction[stop + 1 :].partition('(')
  return instruction[:stop], opcode, rest


def _split(shape: str) -> Iterator[str]:
  """Parts of the outermost tuple of a shape; of no tuple, the shape."""
  if not shape.startswith('('):
    yield shape
    return
  depth, start = 0, 1
  for place, letter in enumerate(shape):
    depth += (letter in '([{') - (letter in ')]}')
    if (letter == ',' and depth == 1) or depth == 0:
      yield shape[start:place].strip()
      start = place + 1


def _num_bytes(shape: str) -> int:
  """Of an array, or of all arrays of a tuple."""
  total = 0
  for dtype, sizes in re.findall(r'([a-z]\w*)\[([^\]]*)\]', shape):
    bits = 8 if dtype == 'pred' else 0
    if dtype not in ('pred', 'token', 'opaque'):
      # f32, s4, bf16, f8e4m3fn: the first number is that of bits.
      if not (number := re.match(r'(?:s|u|f|bf|c)(\d+)', dtype)):
        raise ValueError(f'Unknown type {dtype} in the shape {shape[:80]}.')
      bits = int(number[1])
    for size in re.findall(r'\d+', sizes):
      bits *= int(size)
    total += -(-bits // 8)
  return total
