"""Model card of a release, in Markdown with the front matter of the Hugging Face Hub."""

import collections
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from wsjax.interop import hub

if TYPE_CHECKING:
  from wsjax.governance import release

# SPDX expression -> name at the Hub, where it has one.
_AT_THE_HUB = {
  name.upper(): name
  for name in (
    'apache-2.0 mit cc0-1.0 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-4.0 '
    'cc-by-nc-sa-4.0 mpl-2.0 isc odbl unlicense'
  ).split()
} | {'BSD-3-CLAUSE': 'bsd-3-clause', 'GPL-3.0-ONLY': 'gpl-3.0', 'AGPL-3.0-ONLY': 'agpl-3.0'}
_USE = """\
Research on the weights of networks: representations, generation, evaluation and provenance of
weights. The networks are small and were made to be studied, not to be deployed: nobody tested them
for decisions about people. Do not present generated networks as trained ones, and do not remove
their records or this card. A signature says who released the files and that they are unchanged; it
does not say that the networks are good, fair or safe, and no screen can show that a network has no
backdoor."""


def card(contents: 'release.Contents') -> str:
  """The card; every line comes from the records, the report or the lineage."""
  return '\n'.join([*_head(contents), *_body(contents)]) + '\n'


def _head(contents: 'release.Contents') -> Iterator[str]:
  """Front matter, in JSON, which YAML contains, so that a text of a stranger stays a text."""
  expression = contents.licence.expression or ''
  known = _AT_THE_HUB.get(expression.upper())
  tags = ['weight-space-learning', 'generated-weights' if contents.generators else 'model-zoo']
  head: dict[str, Any] = {'library_name': 'wsjax', 'license': known or 'other', 'tags': tags}
  if not known:
    head['license_name'] = expression or 'unknown'
    head['license_link'] = 'README.md'
  names = sorted({data['name'] for record in contents.records for data in record['datasets']})
  if names:
    head['datasets'] = names
  yield '---'
  yield from (f'{name}: {json.dumps(value)}' for name, value in head.items())
  yield '---'


def _body(contents: 'release.Contents') -> Iterator[str]:
  records = contents.records
  yield from ('', f'# {hub.text(contents.name)}', '')
  if contents.generators:
    yield (
      f'A generator of neural-network weights, `{next(iter(contents.generators.values()))}`, and '
      f'{len(records)} networks drawn from it, none selected.'
    )
  else:
    yield f'A zoo of {len(records)} neural networks with a record each.'
  if contents.report:
    yield from ('', f'> {hub.text(contents.report["headline"])}')
  yield from ('', '| field | value |', '| --- | --- |')
  kinds = collections.Counter(
    (record['arch_id'], json.dumps(record['arch_config'], sort_keys=True), record['n_params'])
    for record in records
  )
  for (name, config, size), count in kinds.items():
    yield f'| {count} networks | {hub.text(name)} {hub.text(config)}, {size} parameters |'
  if contents.training is not None:
    zoo = contents.training
    yield f'| learned from | zoo `{zoo.digest}` of {len(zoo)} networks |'
  for told in privacy(records):
    yield f'| differential privacy | {told} |'
  for split, count in sorted(collections.Counter(r['split'] for r in records).items()):
    yield f'| split {split} | {count} networks |'
  diverged = sum(record['diverged'] for record in records)
  yield f'| diverged | {diverged} networks, kept and marked |'
  if contents.run is not None:
    yield f'| made on | {hub.text(contents.run["device"])}, {contents.run["created_at"]} |'
  yield from _results(contents)
  yield from _licence(contents)
  yield from _gates(contents)
  yield from ('', '## Intended use and misuse', '', _USE)
  where = hub.text(contents.contact) if contents.contact else 'not given by the publisher'
  yield from ('', f'Contact for misuse, mistakes and takedown: {where}.')
  yield from ('', '## Verify', '', '```sh', 'wsjax verify . --key PUBLISHER.pub', '```', '')
  yield (
    'The key of the publisher must come from elsewhere. Where every network comes from is in '
    '`lineage.json`, its record in `records.jsonl`. Written by wsjax from the records; nothing was '
    'added by hand.'
  )


def privacy(records: Iterable[Mapping[str, Any]]) -> list[str]:
  """What the records of samples say of the privacy of the networks behind them; empty for none."""
  details = [parent.get('detail') or {} for record in records for parent in record['parents'] or ()]
  told = {(x['privacy']['epsilon'], x['privacy']['delta']) for x in details if 'privacy' in x}
  return [
    f'epsilon {epsilon:g} at delta {delta:g} for each training network, of each generator'
    for epsilon, delta in sorted(told)
  ]


def _results(contents: 'release.Contents') -> Iterator[str]:
  """Measurements of the report: the generators, and fresh runs beside them."""
  if not contents.report:
    return
  table = next(iter(contents.report['tables'].values()))
  wanted = table['summary'] or [metric['name'] for metric in table['metrics']][:7]
  metrics = [metric for metric in table['metrics'] if metric['name'] in wanted]
  rows = {name: row for name, row in table['rows'].items() if row['kind'] in ('model', 'ceiling')}
  yield from ('', '## Results', '', f'{hub.text(table["doc"])}', '')
  yield '| method | n | ' + ' | '.join(hub.text(metric['label']) for metric in metrics) + ' |'
  yield '| --- | --- | ' + ' | '.join('---' for _ in metrics) + ' |'
  for name, row in rows.items():
    cells = [_cell(row['stats'].get(metric['name'])) for metric in metrics]
    yield f'| {hub.text(name)} | {row["n"]} | ' + ' | '.join(cells) + ' |'
  for name, row in rows.items():
    for flag in row['flags'] or []:
      yield from ('', f'Flag of {hub.text(name)}: {hub.text(flag["name"])}, '
                  f'{hub.text(flag["evidence"])}.')  # fmt: skip


def _cell(stat: Mapping[str, Any] | None) -> str:
  if stat is None or stat['value'] is None:
    return 'not run'
  if stat.get('low') is None:
    return f'{stat["value"]:.4g}'
  return f'{stat["value"]:.4g} [{stat["low"]:.4g}, {stat["high"]:.4g}]'


def _licence(contents: 'release.Contents') -> Iterator[str]:
  found = contents.licence
  yield from ('', '## Licence and sources', '')
  said = 'redistribution is allowed' if found.redistributable else 'not redistributable'
  yield f'`{found.expression or "unknown"}`: {said}. {found.reason}'.rstrip()
  yield 'It is the meet of the licences of everything that the networks were made from:'
  yield ''
  sources = collections.Counter()
  for node in contents.lineage['nodes']:
    name = node['label'] if node['kind'] == 'data' else node['kind']
    if node['kind'] in ('data', 'record', 'external'):
      sources[node['kind'], name, node['licence'] or 'licence unknown'] += 1
  for (kind, name, licence), count in sorted(sources.items()):
    what = {'record': 'networks', 'data': hub.text(name), 'external': 'sources elsewhere'}[kind]
    yield f'- {what}{"" if kind == "data" else f" ({count})"}: {hub.text(licence)}'
  lists = [record['attribution'] or [] for record in contents.records]
  if contents.training is not None:
    lists += [record['attribution'] or [] for record in contents.training.records]
  for line in sorted({line for lines in lists for line in lines}):
    yield f'- attribution: {hub.text(line)}'


def _gates(contents: 'release.Contents') -> Iterator[str]:
  yield from ('', '## Gates', '')
  for decision in contents.decisions:
    yield f'- {decision.gate}: {hub.text(decision)}'
  yield '- The decisions, with overrides, are in `decisions.jsonl`, signed.'
