"""Gates G0 to G5 in front of a release: what was decided, why, and by whom it was overridden.

What was not run does not pass. A decision is data; `wsjax release` signs it.
"""

import dataclasses
import datetime
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from wsjax import files, typing
from wsjax.experiments import sections
from wsjax.governance import lineage, membership, screen
from wsjax.zoo.store import store

GATES = {
  'G0': 'intake of networks', 'G1': 'training', 'G2': 'samples', 'G3': 'generator',
  'G4': 'publication', 'G5': 'takedown',
}  # fmt: skip
STATUSES = ('pass', 'fail', 'not_run')
_MOST = 1000  # Networks that others are compared with.
_OVERRIDES = {
  'type': 'array',
  'items': {
    'type': 'object',
    'required': ['gate', 'name', 'reason', 'expires'],
    'additionalProperties': False,
    'properties': {
      'gate': {'enum': list(GATES)},
      'name': {'type': 'string', 'pattern': r'\S'},
      'reason': {'type': 'string', 'pattern': r'\S'},
      'expires': {'type': 'string', 'pattern': r'^\d{4}-\d{2}-\d{2}$'},
    },
  },
}


@dataclasses.dataclass(frozen=True)
class Check:
  """One criterion of a gate.

  Attributes:
    name: of the criterion.
    status: one of `STATUSES`.
    detail: the number behind it, or why it was not run.
  """

  name: str
  status: str
  detail: str


@dataclasses.dataclass(frozen=True)
class Override:
  """A person lets something pass that failed a gate.

  Attributes:
    gate: key of `GATES`.
    name: of the person.
    reason: why.
    expires: last day on which it holds, ISO 8601.
  """

  gate: str
  name: str
  reason: str
  expires: str

  def holds(self, today: datetime.date) -> bool:
    """Whether it has not expired; raises ValueError if there is no such day."""
    try:
      return today <= datetime.date.fromisoformat(self.expires)
    except ValueError as error:
      raise ValueError(
        f'The override of {self.gate} expires on {self.expires!r}: {error}.'
      ) from None


@dataclasses.dataclass(frozen=True)
class Decision:
  """What a gate decided.

  Attributes:
    gate: key of `GATES`.
    checks: every criterion.
    override: of a person, if the gate did not pass and one holds.
  """

  gate: str
  checks: tuple[Check, ...]
  override: Override | None = None

  @property
  def passed(self) -> bool:
    """Whether every criterion passes; none at all do not."""
    return bool(self.checks) and all(check.status == 'pass' for check in self.checks)

  @property
  def status(self) -> str:
    """'pass', 'override' or 'fail'."""
    return 'pass' if self.passed else 'fail' if self.override is None else 'override'

  def __str__(self) -> str:
    """The status, and the criteria that do not pass."""
    wrong = [
      f'{check.name} {"not run" if check.status == "not_run" else "failed"} ({check.detail})'
      for check in self.checks
      if check.status != 'pass'
    ]
    if self.override is not None:
      by = f'{self.override.name} until {self.override.expires}: {self.override.reason}'
      return f'overridden by {by}; {"; ".join(wrong)}'
    return 'pass' if self.passed else f'fail: {"; ".join(wrong) or "nothing was checked"}'

  def plain(self) -> dict[str, Any]:
    """The decision as JSON."""
    return {
      'gate': self.gate,
      'title': GATES[self.gate],
      'status': self.status,
      'checks': [dataclasses.asdict(check) for check in self.checks],
      'override': None if self.override is None else dataclasses.asdict(self.override),
    }


def read_overrides(path: pathlib.Path | str) -> list[Override]:
  """Reads a JSON list of objects with gate, name, reason and expires; else ValueError."""
  return [Override(**value) for value in files.read_json(path, schema=_OVERRIDES)]


def apply(
  decisions: Iterable[Decision],
  overrides: Sequence[Override],
  *,
  today: datetime.date | None = None,
) -> list[Decision]:
  """Gives gates that did not pass the overrides that hold today; others change nothing."""
  today = today or datetime.datetime.now(datetime.UTC).date()
  valid = {override.gate: override for override in overrides if override.holds(today)}
  return [
    decision
    if decision.passed
    else dataclasses.replace(decision, override=valid.get(decision.gate))
    for decision in decisions
  ]


def of_zoo(
  zoo: store.Zoo, origins: Sequence[store.Zoo] = (), section: sections.Gates | None = None
) -> list[Decision]:
  """G0 of a zoo whose digests were checked when it was read, and G2 if a generator drew it.

  Args:
    zoo: the networks.
    origins: zoos that they were made from, the one that the generator learned from first.
    section: thresholds.
  """
  section = section or sections.Gates()
  decisions = [Decision('G0', tuple(_intake(zoo, section)))]
  if any(record['generated'] for record in zoo.records):
    graph = lineage.graph([*origins, zoo])
    checks = _samples(origins[0] if origins else None, [zoo], None, graph, section, None)
    decisions.append(Decision('G2', tuple(checks)))
  return decisions


def of_run(
  training: store.Zoo,
  samples: Sequence[store.Zoo],
  report: Mapping[str, Any],
  section: sections.Gates | None = None,
  audit: Mapping[str, Any] | None = None,
) -> list[Decision]:
  """G0 to G3 and G5 of a run with a generator; G4 is decided when it is released.

  Args:
    training: zoo that the generator learned from.
    samples: networks that it drew, a zoo for each training seed.
    report: of the run, as JSON.
    section: thresholds.
    audit: what `audit.audit` found; None is not run.
  """
  section = section or sections.Gates()
  audit = _of_these(audit, samples)
  graph = lineage.graph([training, *samples])
  rows = next(iter(report['tables'].values()))['rows'] if report['tables'] else {}
  model = next((row for row in rows.values() if row['kind'] == 'model'), None)
  return [
    Decision('G0', tuple(_intake(training, section))),
    Decision('G1', tuple(_training(training, rows, graph, section))),
    Decision('G2', tuple(_samples(training, samples, model, graph, section, audit))),
    Decision('G3', tuple(_generator(model, section, audit))),
    Decision('G5', tuple(_takedown(samples, graph))),
  ]


def of_publication(
  files_there: Iterable[str], contact: str, *, is_signed: bool, has_list: bool
) -> Decision:
  """G4: what has to lie beside published networks."""
  there = set(files_there)
  checks = [
    _check(name in there, title, name)
    for title, name in (
      ('model card', 'README.md'), ('bill of materials', 'bom.cdx.json'),
      ('Croissant', 'croissant.json'), ('lineage', 'lineage.json'),
    )
  ]  # fmt: skip
  checks += [
    _check(bool(contact), 'contact', contact or 'no address for reports of misuse'),
    _check(is_signed, 'signature', 'of bytes and of provenance'),
    _check(has_list, 'revocation list', 'signed' if has_list else 'none was given'),
  ]
  return Decision('G4', tuple(checks))


def sentence(decisions: Iterable[Decision]) -> str:
  """Which gates a release would pass, in a line."""
  found = list(decisions)
  passed = [decision.gate for decision in found if decision.passed]
  failed = [decision.gate for decision in found if not decision.passed]
  said = f'A release would pass {", ".join(passed) or "no gate"}'
  return f'{said}; {", ".join(failed)} would need an override.' if failed else f'{said}.'


def _check(passed: bool, name: str, detail: object) -> Check:
  return Check(name, 'pass' if passed else 'fail', str(detail))


def _not_run(name: str, why: str) -> Check:
  return Check(name, 'not_run', why)


def _intake(zoo: store.Zoo, section: sections.Gates) -> list[Check]:
  """G0."""
  records = zoo.records
  checks = [Check('format and schema', 'pass', f'{len(records)} records and digests were read')]
  unlicensed = [r for r in records if r['license'] is None or not r['redistributable']]
  checks.append(_check(not unlicensed, 'licence', f'{len(unlicensed)} not redistributable'))
  digests = [record['tensor_digest'] for record in records]
  copies = len(digests) - len(set(digests))
  checks.append(_check(not copies, 'exact copies', copies))
  rows = _population(zoo)
  if rows is None:  # Nothing to compare with.
    return checks
  try:
    found = screen.outliers(zoo.params(rows), None, zoo.spec)
  except ValueError as error:
    return [*checks, _not_run('outliers', str(error))]
  worst = int(np.argmax(found.z))
  detail = f'largest |z| {found.z[worst]:.1f} ({found.worst[worst]}), at most {section.max_z:g}'
  checks.append(_check(bool(found.z[worst] <= section.max_z), 'outliers', detail))
  return checks


def _population(zoo: store.Zoo | None) -> np.ndarray | None:
  """Rows of the networks that others are compared with; None if there are too few."""
  if zoo is None or len(zoo.architectures) != 1:
    return None
  rows = zoo.select(split='train')[:_MOST]
  return rows if len(rows) >= screen.FEWEST else None


def _training(
  training: store.Zoo, rows: Mapping[str, Any], graph: lineage.Graph, section: sections.Gates
) -> list[Check]:
  """G1."""
  groups = {(record['split_group'], record['split']) for record in training.records}
  shared = len(groups) - len({group for group, _ in groups})
  checks = [_check(not shared, 'split by run', f'{shared} groups in several splits')]
  fresh = _stat(rows.get('fresh runs'), 'copy_rate')
  if fresh is None:
    checks.append(_not_run('no held-out copies', 'the zoo has no held-out runs in the report'))
  else:
    detail = f'{fresh["value"]:.1%} of held-out runs are copies of training networks'
    checks.append(_check(fresh['value'] == 0, 'no held-out copies', detail))
  checks.append(_licence(graph, training))
  personal = {
    data.get('contains_personal_data') or 'unknown'
    for record in training.records
    for data in record['datasets']
  } or {'unknown'}
  told = ', '.join(sorted(personal))
  detail = f'the data have {told}; waived: {section.personal_data_waiver}'
  if not section.personal_data_waiver:
    detail = f'the records say: {told}; gates.personal_data_waiver waives it'
  passed = personal == {'no'} or bool(section.personal_data_waiver)
  checks.append(_check(passed, 'personal data', detail))
  return checks


def _licence(graph: lineage.Graph, zoo: store.Zoo) -> Check:
  try:
    found = graph.licence(*(record['record_id'] for record in zoo.records))
  except ValueError as error:
    return _not_run('effective licence', str(error))
  detail = found.reason or found.expression
  return _check(found.redistributable, 'effective licence', detail)


def _samples(
  training: store.Zoo | None,
  samples: Sequence[store.Zoo],
  model: Mapping[str, Any] | None,
  graph: lineage.Graph,
  section: sections.Gates,
  audit: Mapping[str, Any] | None,
) -> list[Check]:
  """G2."""
  count = sum(len(zoo) for zoo in samples)
  if not count:
    return [_not_run('samples', 'no networks were drawn')]
  diverged = sum(record['diverged'] for zoo in samples for record in zoo.records)
  checks = [_check(not diverged, 'finite', f'{diverged} of {count} are not')]
  declared = sum(bool(record['generated']) for zoo in samples for record in zoo.records)
  checks.append(_check(declared == count, 'declared as generated', f'{declared} of {count}'))
  rows, drawn = _population(training), [zoo.params(np.arange(len(zoo))) for zoo in samples]
  if training is None or rows is None:
    checks.append(_not_run('outliers', f'needs {screen.FEWEST} training networks of one model'))
  else:
    checks.append(_outliers(drawn, training, rows, section))
  sizes = [np.abs(np.asarray(x, float)) for params in drawn for x in params.values()]
  largest = float(np.max([np.max(size, initial=0) for size in sizes]))
  passed = bool(np.isfinite(largest) and largest <= section.max_weight)
  checks.append(_check(passed, 'largest weight', f'{largest:.3g}'))
  payloads = sum(
    int((screen.low_bits(params) < section.payload_p / count).sum()) for params in drawn
  )
  checks.append(_check(not payloads, 'payload in low bits', f'{payloads} of {count}'))
  copies = _stat(model, 'copy_rate')
  if copies is None:
    checks.append(_not_run('no copies', 'copies were not measured'))
  else:
    detail = f'{copies["value"]:.1%} within 0.1 tau of a training network'
    checks.append(_check(copies['value'] == 0, 'no copies', detail))
  if audit is not None and audit['collapse'] is not None:
    share = audit['collapse']['value']
    checks.append(_check(share == 0, 'class-prior collapse', f'{share:.1%} of samples'))
  else:
    checks.append(_not_run('class-prior collapse', '`wsjax audit` was not run'))
  checks.append(_licence(graph, samples[0]))
  marks = None if audit is None else audit.get('watermark')
  if marks is None or marks['samples'] != sorted(zoo.digest for zoo in samples):
    checks.append(_not_run('watermark', 'marks of these samples were not audited'))
  else:
    share = marks['emitted']['value']
    passed = share >= section.min_marked
    checks.append(_check(passed, 'watermark', f'{share:.1%} of samples have p < 1e-6'))
  return checks


def _outliers(
  drawn: Sequence[typing.StackedParams],
  training: store.Zoo,
  rows: np.ndarray,
  section: sections.Gates,
) -> Check:
  population, outside, count = training.params(rows), 0, 0
  try:
    for params in drawn:
      found = screen.outliers(params, population, training.spec)
      outside, count = outside + int((found.z > section.max_z).sum()), count + len(found.z)
  except ValueError as error:
    return _not_run('outliers', str(error))
  detail = f'{outside} of {count} have a statistic with |z| above {section.max_z:g}'
  return _check(not outside, 'outliers', detail)


def _generator(
  model: Mapping[str, Any] | None, section: sections.Gates, audit: Mapping[str, Any] | None
) -> list[Check]:
  """G3."""
  checks = []
  replicas = _stat(model, 'replica_rate')
  if replicas is None or replicas.get('high') is None:
    why = (model or {'stats': {}})['stats'].get('replica_rate', {}).get('not_run', 'not measured')
    checks.append(_not_run('replica rate', why))
  else:
    detail = f'upper end {replicas["high"]:.1%}, at most {section.max_replica_rate:.1%}'
    passed = replicas['high'] <= section.max_replica_rate
    checks.append(_check(passed, 'replica rate', detail))
  flags = None if model is None else model.get('flags')
  if flags is None:
    checks.append(_not_run('memorization and failure flags', 'no flags were looked for'))
  else:
    detail = ', '.join(flag['name'] for flag in flags) or 'none'
    checks.append(_check(not flags, 'memorization and failure flags', detail))
  if audit is None:
    checks.append(_not_run('membership audit', '`wsjax audit` was not run'))
  else:
    name = membership.strongest(audit['membership'])
    found = audit['membership'][name]
    tpr, level = found['tpr'], found['level']
    if tpr['value'] is None:
      checks.append(_not_run('membership audit', tpr.get('not_run', 'too few held-out networks')))
    else:
      detail = (
        f'{name}: TPR at {level:.1%} FPR {tpr["value"]:.1%} [{tpr["low"]:.1%}, {tpr["high"]:.1%}], '
        f'upper end at most {section.max_membership_tpr:.1%}; AUROC {found["auroc"]["value"]:.3f}'
      )
      passed = tpr['high'] <= section.max_membership_tpr and level <= 0.01
      checks.append(_check(passed, 'membership audit', detail))
  checks.append(_images(audit))
  checks += _marks(None if audit is None else audit.get('watermark'), section)
  return checks + _backdoors(None if audit is None else audit.get('backdoors'), section)


def _images(audit: Mapping[str, Any] | None) -> Check:
  """Whether samples tell more of the images behind a zoo than its networks do."""
  name = 'membership of images'
  if audit is None or 'data' not in audit:
    return _not_run(name, '`wsjax audit` was not run')
  if audit['data'] is None:
    return _not_run(name, 'the networks are no classifiers with images that none has seen')
  attack = membership.strongest({k: leak['samples'] for k, leak in audit['data'].items()})
  samples, direct = (audit['data'][attack][by]['tpr'] for by in ('samples', 'direct'))
  if samples['value'] is None:
    return _not_run(name, samples.get('not_run', 'too few held-out images'))
  detail = (
    f'{attack}: {samples["value"]:.1%} [{samples["low"]:.1%}, {samples["high"]:.1%}] are found by '
    f'samples, lower end at most {direct["high"]:.1%}, the upper one by networks of the zoo'
  )
  return _check(samples['low'] <= direct['high'], name, detail)


def _backdoors(found: Mapping[str, Any] | None, section: sections.Gates) -> list[Check]:
  """Whether more networks than chance lets expect look poisoned."""
  names = 'backdoors in training networks', 'backdoor inheritance'
  if found is None:
    return [_not_run(name, '`wsjax audit --backdoors 400` was not run') for name in names]
  auroc, chance, rates = found['auroc'], found['false_positives'], found['rates']
  if auroc['low'] < section.min_backdoor_auroc:
    why = f'the detector tells unseen triggers with an AUROC of {auroc["value"]:.3f} only'
    return [_not_run(name, why) for name in names]
  checks = []
  for name, group, limit in (
    (names[0], 'training networks', chance['high']),
    (names[1], 'samples', max(chance['high'], rates['held-out runs']['value'])),
  ):
    rate = rates[group]
    detail = (
      f'{rate["value"]:.1%} [{rate["low"]:.1%}, {rate["high"]:.1%}] of {group} look poisoned; '
      f'lower end at most {limit:.1%}'
    )
    checks.append(_check(rate['low'] <= limit, name, detail))
  return checks


def _marks(marks: Mapping[str, Any] | None, section: sections.Gates) -> list[Check]:
  """Whether marks survive, are found where there are none, or cost accuracy."""
  names = (
    'watermark after attacks',
    'watermark in unmarked networks',
    'accuracy of marked samples',
  )
  if marks is None:
    return [_not_run(name, 'marks were not audited') for name in names]
  shares = {k: v['found']['value'] for k, v in marks['attacks'].items() if v['required']}
  checks = [_not_run(names[0], 'no attack was run')]
  if shares:
    worst = min(shares, key=shares.get)
    detail = f'{shares[worst]:.1%} found after {worst}, the worst of {len(shares)} that have to be'
    checks = [_check(shares[worst] >= section.min_survived, names[0], detail)]
  rates = marks['false_positives']
  if not rates:
    checks.append(_not_run(names[1], 'the zoo has no held-out networks'))
  else:
    wrong = [level for level, rate in rates.items() if rate['low'] > float(level)]
    said = ', '.join(f'{rate["value"]:.2%} at p < {level}' for level, rate in rates.items())
    checks.append(_check(not wrong, names[1], said))
  cost = marks['accuracy_cost']
  if cost is None:
    checks.append(_not_run(names[2], 'the networks are no classifiers'))
  else:
    detail = f'{cost["value"]:.2f} points less [{cost["low"]:.2f}, {cost["high"]:.2f}]'
    checks.append(_check(cost['value'] <= section.max_mark_cost, names[2], detail))
  return checks


def _takedown(samples: Sequence[store.Zoo], graph: lineage.Graph) -> list[Check]:
  """G5: every sample is found from its generator, and can be listed as its descendant."""
  ids = [record['record_id'] for zoo in samples for record in zoo.records]
  generators = lineage.generators(samples)
  found = set(graph.descendants(*generators)) if generators else set()
  lost = len(set(ids) - found)
  return [_check(bool(ids) and not lost, 'descendants are listed', f'{lost} of {len(ids)} lost')]


def _of_these(
  audit: Mapping[str, Any] | None, samples: Sequence[store.Zoo]
) -> Mapping[str, Any] | None:
  """The audit, if it is of the generators of these samples."""
  drawn_by = lineage.generators(samples)
  return audit if audit is not None and set(audit['generators']) == drawn_by else None


def _stat(row: Mapping[str, Any] | None, name: str) -> Mapping[str, Any] | None:
  stat = (row or {'stats': {}})['stats'].get(name)
  return None if stat is None or stat['value'] is None else stat
