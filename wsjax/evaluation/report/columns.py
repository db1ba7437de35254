"""Columns of the full table, rendered from the metrics that a report declares."""

from collections.abc import Mapping
from typing import Any

from wsjax.evaluation import metric as metric_lib

KINDS = {
  'generator': 'Generators',
  'baseline': 'Baselines',
  'control': 'Controls',
  'ceiling': 'Ceilings',
  'reference': 'References',
}


def groups_of(report: Mapping[str, Any]) -> dict[str, list[metric_lib.Metric]]:
  """Metrics of a report by the heading of their group; undeclared ones come last."""
  declared = [
    metric_lib.Metric.declared(name, fields) for name, fields in report['metrics'].items()
  ]
  known = {metric.name for metric in declared}
  used = {key for arm in report['arms'] for key in arm['metrics']}
  declared += [metric_lib.Metric(name, name, group='Other') for name in sorted(used - known)]
  groups: dict[str, list[metric_lib.Metric]] = {}
  for metric in declared:
    groups.setdefault(metric.group, []).append(metric)
  return groups


def row(
  arm: Mapping[str, Any], groups: Mapping[str, list[metric_lib.Metric]], reasons: list[str]
) -> dict[str, Any]:
  """Cells of one method; reasons for numbers that were not measured are gathered as notes."""
  cells = []
  for index, group in enumerate(groups.values()):
    for metric in group:
      cell = {'first': metric is group[0], 'group': index, 'note': 0}
      stat = arm['metrics'].get(metric.name)
      stat = stat or {'value': None, 'not_run': 'not part of this evaluation'}
      if stat['value'] is None:
        reason = stat['not_run']
        if reason not in reasons:
          reasons.append(reason)
        cell.update(sort='', text='not run', note=reasons.index(reason) + 1)
        cell.update(title=f'not run: {reason}', interval='')
      else:
        interval = '' if stat.get('method') == 'none' else metric.interval(stat)
        title = f'{metric.label}: {stat["value"]:.6g}'
        title += f', n = {stat.get("n")}, interval: {stat.get("method")}'
        if 'heldout' in stat:
          title += f', held-out networks: {stat["heldout"]:.6g}'
        if 'note' in stat:
          title += f'; {stat["note"]}'
        if 'p' in stat:
          title += f', p = {stat["p"]:.2g}'
          interval = interval or f'p = {stat["p"]:.2g}'
        cell.update(sort=stat['value'], text=metric.text(stat['value']), interval=interval)
        cell.update(title=title)
      cells.append(cell)
  return {'name': arm['name'], 'n': arm['n'], 'kind': arm['kind'],
          'seeds': arm.get('seeds', []), 'cells': cells,
          'flags': arm.get('flags', [])}  # fmt: skip
