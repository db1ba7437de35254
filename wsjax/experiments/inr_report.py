"""Report of an experiment that generates networks that draw."""

from collections.abc import Mapping
from typing import Any

from wsjax.evaluation.report import columns, figures, formatting, report
from wsjax.experiments import editing_figures

# Metric -> (heading, factor, format, what it means).
COLUMNS = {
  'nna': (
    '1-NNA %', 100, '.1f',
    'Share of pictures whose nearest other one is of the same set, samples or '
    'held out: 50 where they cannot be told apart, 100 where they lie apart, '
    'below 50 where samples lie on held-out pictures.',
  ),
  'nna_worse': (
    '1-NNA % (worse half)', 100, '.1f',
    'The same of samples or of held-out pictures alone, whichever is further '
    'from 50, as its distance from 50 above it: noise around held-out pictures '
    'has a 1-NNA near 50, since one half makes up for the other. A maximum: '
    'two equal sets of 100 have about 55, so read it beside further runs.',
  ),
  'mmd': (
    'MMD²', 1, '.4f',
    'Squared maximum mean discrepancy to held-out pictures, unbiased.',
  ),
  'coverage': (
    'coverage %', 100, '.1f',
    'Share of held-out pictures with a sample among their 5 nearest.',
  ),
  'density': (
    'density', 1, '.2f',
    'How many of the balls of 5 neighbours around held-out pictures a sample '
    'lies in, over 5: 1 where both are alike.',
  ),
  'legible': (
    'legible %', 100, '.1f',
    'Share of pictures as near to an image of the data set, which no network '
    'was fitted to, as 95 % of those images are to each other.',
  ),
  'to_image': (
    'RMSE to image', 1, '.3f',
    'Median distance to the nearest such image, per pixel.',
  ),
  'novelty': (
    'distance τ', 1, '.2f',
    'Median distance of weights to the nearest training network, up to '
    'symmetry, over that of training networks from each other.',
  ),
  'half_rate': (
    '≥ τ/2 %', 100, '.1f', 'Share of networks at half of that or more.',
  ),
  'copy_rate': ('copies %', 100, '.1f', 'Share nearer than 0.1 τ.'),
  'picture_novelty': (
    'picture distance', 1, '.2f',
    'Median distance to the nearest training picture, over that of training '
    'pictures from each other.',
  ),
}  # fmt: skip
CEILING = 'fresh runs'
_TERMINAL = ('nna', 'nna_worse', 'coverage', 'legible', 'novelty', 'copy_rate')
_REQUIRED = (
  'name', 'config', 'versions', 'drawing', 'arms', 'pictures',
)  # fmt: skip


def check(result: Mapping[str, Any]) -> None:
  """Raises ValueError unless a report has what the page needs."""
  if missing := [key for key in _REQUIRED if key not in result]:
    raise ValueError(f'fields are missing: {", ".join(missing)}.')
  for arm in result['arms']:
    if absent := sorted(set(COLUMNS) - set(arm['metrics'])):
      raise ValueError(f'the arm {arm["name"]!r} lacks {absent[0]!r}.')


def page(result: Mapping[str, Any]) -> str:
  """HTML that needs nothing else: figures and style are inside."""
  # Networks from elsewhere, and generators without steps, have no curve.
  steps = result.get('training', {})
  return report.render(
    'inr.html.j2',
    report=result,
    headline=headline(result),
    columns=COLUMNS,
    rows=rows(result),
    pictures=editing_figures.pictures(
      result, 'Pictures of samples, of training and of held-out networks'
    ),
    training=figures.training(result) if 'step' in steps else None,
    clock=report.clock(result),
  )


def headline(result: Mapping[str, Any]) -> str:
  """The finding in one sentence."""
  found = {arm['name']: arm['metrics'] for arm in result['arms']}
  made = result['arms'][0]
  ceiling = found[CEILING]
  return (
    f'{made["name"]} draws what 1-NN tells from held-out pictures at '
    f'{_text(made["metrics"], "nna")} %, in the worse half at '
    f'{_text(made["metrics"], "nna_worse")} % (further runs: '
    f'{_text(ceiling, "nna")} and {_text(ceiling, "nna_worse")} %), '
    f'{_text(made["metrics"], "novelty")} τ from '
    f'the nearest training network (further runs: '
    f'{_text(ceiling, "novelty")} τ); legible: '
    f'{_text(made["metrics"], "legible")} %.'
  )


def rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Arms in the order of their kinds, with a cell per metric."""
  return [
    {
      'name': arm['name'],
      'kind': arm['kind'],
      'n': arm['n'],
      'p': arm['metrics']['mmd']['p'],
      'cells': arm_cells(arm['metrics']),
    }
    for kind in columns.KINDS
    for arm in result['arms']
    if arm['kind'] == kind
  ]


def arm_cells(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
  """Value, interval and seeds of every metric; a dash for what has none."""
  made = []
  for key, (_, factor, form, _) in COLUMNS.items():
    if metrics[key].get('value') is None:
      made.append({'value': '-', 'interval': '', 'per_seed': ''})
    else:
      made.append(formatting.cell(metrics[key], form, factor))
  return made


def table(result: Mapping[str, Any]) -> Any:
  """The result for a terminal, as a rich.table.Table."""
  from rich import box, text
  from rich import table as rich_table

  made = rich_table.Table(title=headline(result), box=box.SIMPLE_HEAD)
  made.add_column('arm', no_wrap=True, max_width=26)
  made.add_column('n', justify='right')
  for key in _TERMINAL:
    made.add_column(COLUMNS[key][0], justify='right', no_wrap=True)
  for row in rows(result):
    shown = dict(zip(COLUMNS, row['cells'], strict=True))
    made.add_row(
      text.Text(row['name']),
      str(row['n']),
      *(text.Text(shown[key]['value']) for key in _TERMINAL),
      style='bold' if row['kind'] == 'generator' else None,
    )
  return made


def _text(metrics: Mapping[str, Any], key: str) -> str:
  """A value and its interval."""
  _, factor, form, _ = COLUMNS[key]
  stat = metrics[key]
  if stat.get('value') is None:
    return '-'
  return format(factor * stat['value'], form) + formatting.sides(stat, form, factor)
