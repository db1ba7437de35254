"""What `wsjax zoo inspect` shows: counts, accuracy, lineage, digests."""

import collections
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich import table as rich_table
from rich import text as rich_text

if TYPE_CHECKING:
  from wsjax.zoo.store import store

# Columns that all of a table of accuracies takes, and one with bars.
_WIDE, _NARROW = 92, 60
_BARS = ' ▁▂▃▄▅▆▇█'


def describe(zoo: 'store.Zoo', width: int = 100) -> Iterator[Any]:
  """Yields what a rich console of some width prints about a zoo, in reading order.

  Every tensor is read once; raises ValueError if a digest does not match.
  """
  records = zoo.records
  yield rich_text.Text(f'{zoo.path}: {len(records)} networks\ndigest {zoo.digest}')
  groups = collections.defaultdict(list)
  for index, record in enumerate(records):
    config = json.dumps(record['arch_config'], sort_keys=True)
    groups[f'{record["arch_id"]} {config}'].append(index)
  for name, indices in groups.items():
    yield from _accuracy_tables(name, [records[index] for index in indices], width)
  yield _lineage(records)
  zoo.check()
  yield rich_text.Text(f'digests of {len(records)} networks checked: all match')


def accuracy(record: Mapping[str, Any]) -> float | None:
  """Final validation accuracy of a record, None where there is none."""
  for entry in record.get('final') or []:
    if entry['split'] == 'val' and entry['metric'] == 'accuracy':
      return entry['value']
  return None


def _accuracy_tables(
  name: str, records: Sequence[Mapping[str, Any]], width: int
) -> Iterator[rich_table.Table]:
  """Counts and validation accuracy per split, of one architecture, in tables that fit a width."""
  every = [v for v in map(accuracy, records) if v is not None] or [0, 1]
  span = min(every), max(every)
  bars = f'{100 * span[0]:.0f} to {100 * span[1]:.0f} %'
  by_split = collections.defaultdict(list)
  for record in records:
    by_split[record['split']].append(record)
  order = ('train', 'val', 'test', 'holdout_audit')
  rows = []
  for split in (split for split in order if split in by_split):
    finals = [r for r in by_split[split] if r.get('step') == r.get('steps')]
    values = [v for v in map(accuracy, finals) if v is not None]
    quantiles = ('-', '-', '-')
    if values:
      quantiles = (f'{100 * q:.1f}' for q in np.quantile(values, (0.05, 0.5, 0.95)))
    counts = len(finals), len(by_split[split]) - len(finals)
    diverged = sum(bool(r['diverged']) for r in by_split[split])
    rows.append([split, *map(str, (*counts, diverged)), *quantiles, _histogram(values, span)])
  headings = ('split', 'final', 'earlier', 'diverged', 'accuracy %: p5', 'p50', 'p95', bars)
  parts = [range(8)]
  if width < _WIDE:  # Counts first, then accuracies; without bars where these are too long.
    headings = (*headings[:4], 'p5', 'p50', 'p95', bars)
    parts = [range(4), (0, 4, 5, 6, *(() if width < _NARROW else (7,)))]
  for title, part in zip((name, 'accuracy %'), parts, strict=False):
    made = rich_table.Table(
      title=rich_text.Text(title), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0),
      show_edge=width >= _NARROW,
    )  # fmt: skip
    for place in part:
      side = 'left' if place in (0, 7) else 'right'
      made.add_column(headings[place], justify=side, no_wrap=True)
    for row in rows:
      made.add_row(*(row[place] for place in part))
    yield made


def _histogram(values: Sequence[float], span: tuple[float, float]) -> str:
  """Twenty bars over a span; a bar that is not empty is seen."""
  counts = np.histogram(values, bins=20, range=span)[0]
  top = max(counts.max(), 1)
  return ''.join(_BARS[-(-8 * count // top)] for count in counts)


def _lineage(records: Sequence[Mapping[str, Any]]) -> rich_table.Table:
  """Where the networks come from: data, parents, generators, licences."""
  made = rich_table.Table(title='lineage', box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
  made.add_column('from')
  made.add_column('what', overflow='fold')
  made.add_column('networks', justify='right')
  counts = collections.Counter()
  for record in records:
    for dataset in record.get('datasets') or []:
      licence = dataset.get('license') or 'licence unknown'
      counts['data', f'{dataset["name"]} ({licence})'] += 1
    for relation in {p['relation'] for p in record.get('parents') or []}:
      counts['parents', relation] += 1
    if record.get('generated'):
      counts['generated', record['generated']['sampler']] += 1
    counts['licence', record.get('license') or 'unknown'] += 1
  runs = len({record['run_id'] for record in records})
  made.add_row('runs', 'distinct training runs', str(runs))
  for (source, what), count in sorted(counts.items()):
    made.add_row(source, rich_text.Text(what), str(count))
  return made
