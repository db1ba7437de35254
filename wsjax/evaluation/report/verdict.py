"""What the numbers of a report say, in words computed from them."""

from collections.abc import Mapping, Sequence
from typing import Any

from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation.metrics import copying, diversity, flags

# Gate -> (name, when a sample passes it), in falling order of strength.
GATES = {
  'gate_strict': ('Strict gate G', 'accuracy ≥ zoo p5 and ≥ τ away from every training net'),
  'gate_half': ('Half gate G½', 'the same with 0.5 τ'),
  'gate_behaviour': (
    'Behaviour gate G_b',
    'accuracy ≥ zoo p5 and errors no more shared than between zoo nets',
  ),
}
# The last word of each name: G, G½, G_b.
SHORT = {gate: name.split()[-1] for gate, (name, _) in GATES.items()}
_COPIES = 'copy_rate'
_ORDER = (*GATES, 'accuracy')


def percent(share: float) -> str:
  """A share as '12 %', '0.4 %' or '< 0.1 %'."""
  value = 100 * share
  if 0 < abs(value) < 0.1:
    return '< 0.1 %'
  digits = 0 if abs(value) >= 9.95 or value == round(value) else 1
  return f'{value:.{digits}f} %'


def value(arm: Mapping[str, Any] | None, metric: str) -> float | None:
  """Value of a metric of an arm, None if either is missing."""
  return ((arm or {}).get('metrics', {}).get(metric) or {}).get('value')


def best(arms: Sequence[Mapping[str, Any]], kind: str, metric: str) -> Mapping[str, Any] | None:
  """The arm of a kind with the highest value of a metric.

  Args:
    arms: of a report.
    kind: 'generator', 'baseline', 'control', 'ceiling' or 'reference'.
    metric: key of a metric; ties go to the higher accuracy, then to the first.

  Returns:
    The arm, None where no arm of the kind has the metric.
  """
  measured = [arm for arm in arms if arm['kind'] == kind and value(arm, metric) is not None]
  return max(
    measured, key=lambda arm: (value(arm, metric), value(arm, 'accuracy') or 0), default=None
  )


def lead(report: Mapping[str, Any]) -> Mapping[str, Any] | None:
  """The generator the verdict is about: the one that passes most gates."""
  return max(
    (arm for arm in report['arms'] if arm['kind'] == 'generator'),
    key=lambda arm: tuple(value(arm, metric) or 0 for metric in _ORDER),
    default=None,
  )


def headline(report: Mapping[str, Any]) -> str:
  """One sentence: the strongest gate passed, and whether a baseline does too.

  Args:
    report: as `report.load` returns it.

  Returns:
    The sentence, plain text.
  """
  arm = lead(report)
  if arm is None:
    return 'No generator in this report: only the zoo and its baselines.'
  name = arm['name']
  passed = next((gate for gate in GATES if value(arm, gate)), None)
  copies = value(arm, _COPIES)
  if passed is None:
    if all(value(arm, gate) is None for gate in GATES):
      return f'{name} was not put to any gate.'
    if copies is not None and copies >= 0.5:
      return (
        f'{name} copies: {percent(copies)} of its samples lie within 0.1 τ of '
        'a training net, and none passes a gate.'
      )
    return f'{name} passes no gate: not one of {arm["n"]} samples.'
  share = percent(value(arm, passed))
  gate = GATES[passed][0].split(' G')[0].lower()
  return f'{share} of {name} samples pass the {gate}; ' + _against(
    arm, best(report['arms'], 'baseline', passed), passed
  )


def _against(arm: Mapping[str, Any], other: Mapping[str, Any] | None, metric: str) -> str:
  """How an arm stands to the best baseline, intervals considered."""
  if other is None:
    return 'no baseline was run.'
  if not value(other, metric):
    return 'no baseline does.'
  mine, theirs = arm['metrics'][metric], other['metrics'][metric]
  low = _end(mine, 'low') > _end(theirs, 'high')
  high = _end(mine, 'high') < _end(theirs, 'low')
  relation = (
    'the best baseline passes less'
    if low
    else 'the best baseline passes more'
    if high
    else 'the best baseline cannot be told apart'
  )
  return f'{relation} ({other["name"]}, {percent(theirs["value"])}).'


def _end(stat: Mapping[str, Any], side: str) -> float:
  """End of an interval; the value itself where there is none."""
  return stat['value'] if stat.get(side) is None else stat[side]


def findings(report: Mapping[str, Any]) -> list[tuple[str, str]]:
  """The verdict in detail: does it work, copy, collapse; is the ruler straight.

  Args:
    report: as `report.load` returns it.

  Returns:
    (topic, sentence) in reading order, plain text. What was not measured is left out here; the
    table says why.
  """
  arm = lead(report)
  found = []
  if arm is not None:
    found += [
      ('Function', _function(report, arm)),
      ('Copies', _copying(arm)),
      ('Behaviour', _behaviour(report, arm)),
      ('Spread', _spread(arm)),
      ('Flags', _flags(report, arm)),
      ('Baselines', _baselines(report, arm)),
    ]
    generators = sum(a['kind'] == 'generator' for a in report['arms'])
    if generators > 1:
      text = f'{arm["name"]} is the best of {generators} generator arms by gates.'
      found.append(('Selection', text))
  found.append(('Ruler', _ruler(report)))
  return [(topic, sentence) for topic, sentence in found if sentence]


def _function(report: Mapping[str, Any], arm: Mapping[str, Any]) -> str:
  accuracy = value(arm, 'accuracy')
  if accuracy is None:
    return ''
  zoo, p5 = report['zoo']['accuracy'].get('value'), report['zoo']['accuracy_p5']
  text = f'Samples reach {100 * accuracy:.1f} % test accuracy'
  if zoo is not None:
    text += f', the zoo {100 * zoo:.1f} %'
  side = 'above' if accuracy >= p5 else 'below'
  return f'{text}; {side} its 5th percentile of {100 * p5:.1f} %.'


def _copying(arm: Mapping[str, Any]) -> str:
  copies, novelty = value(arm, _COPIES), value(arm, 'novelty')
  if copies is None:
    return ''
  near = _flagged(arm, copying.replica_rate.flag, 'copies', 'copies with noise')
  verb = (
    'It mostly copies'
    if copies >= 0.5
    else 'It copies in part'
    if copies >= 0.05
    else f'Few exact copies, but {near}'
    if near
    else 'It does not copy weights'
  )
  text = f'{verb}: {percent(copies)} of samples lie within 0.1 τ'
  if novelty is None:
    return f'{text}.'
  return f'{text}; the median distance to a training network is {novelty:.2f} τ.'


def _flagged(arm: Mapping[str, Any], *names: str) -> str:
  """Name and evidence of the first flag that the method has of `names`; '' for none."""
  found = {flag['name']: flag['evidence'] for flag in arm.get('flags', ())}
  return next((f'{name} ({found[name]})' for name in names if name in found), '')


def _behaviour(report: Mapping[str, Any], arm: Mapping[str, Any]) -> str:
  # Many mistakes overlap little with few: compared where accuracy is alike.
  overlap = value(arm, 'max_iou_at_bar')
  zoo = report['zoo']['loo_max_iou'].get('value')
  if overlap is None or zoo is None:
    return ''
  shared = _flagged(arm, copying.iou_excess.flag)
  text = (
    f'The method {shared}'
    if shared
    else 'The mistakes of working samples are those of a training network'
    if overlap > zoo + 0.02
    else 'The mistakes of working samples are as much their own as those of independent runs'
  )
  return f'{text}: largest error-IoU {overlap:.2f}, between networks of the zoo {zoo:.2f}.'


def _spread(arm: Mapping[str, Any]) -> str:
  ratio = value(arm, 'rms_ratio')
  if ratio is None:
    return ''
  centre = _flagged(arm, diversity.centre_distance.flag, 'one mode')
  if ratio < 0.9:
    text = 'Samples shrink toward the mean'
  elif ratio > 1.1:
    text = 'Samples are scattered'
  else:
    text = f'Samples are {centre}' if centre else 'No collapse to the mean'
  return f"{text}: the weights have {ratio:.2f} of the zoo's spread."


def _flags(report: Mapping[str, Any], arm: Mapping[str, Any]) -> str:
  """Every flag with its evidence, or how near the tests came to one."""
  found = arm.get('flags')
  if found is None:
    return ''
  if found:
    return '; '.join(f'{flag["name"]}: {flag["evidence"]}' for flag in found) + '.'
  declared = [metric_lib.Metric.declared(*item) for item in report['metrics'].items()]
  tests = flags.tests(arm['metrics'], declared)
  if not tests:
    return (
      'None, but without enough held-out runs only exact copies, collapse to the mean and failure '
      'were looked for.'
    )
  least = tests[0]
  return (
    f'None of {len(tests)} tests tells the samples from fresh runs; the nearest to it is '
    f'{least.evidence}, p = {least.p:.2g} after correction for their number.'
  )


def _baselines(report: Mapping[str, Any], arm: Mapping[str, Any]) -> str:
  """How many it is above, each comparison paid for."""
  contrasts = report.get('contrasts', ())
  rows = [row for row in contrasts if row['generator'] == arm['name']]
  if not rows:
    return ''
  counts = []
  for metric in ('accuracy', *GATES):
    stats = [row[metric] for row in rows if metric in row]
    above = sum(s['value'] > 0 and s['p_holm'] <= 0.05 for s in stats)
    counts.append(f'{above} in {SHORT.get(metric, metric)}')
  return (
    f'Of {len(rows)} baselines the samples are above {", ".join(counts)}, with '
    'p of at most 0.05 after the correction of Holm.'
  )


def _ruler(report: Mapping[str, Any]) -> str:
  """Whether the controls read what they must."""
  arms = {arm['name']: arm for arm in report['arms']}
  copies = value(arms.get('permuted copy'), _COPIES)
  if copies is None:
    return 'Not checked: the permuted copy was not run.'
  text = f'{percent(copies)} of permuted exact copies are read as copies'
  text += '' if copies == 1 else ': the ruler is bent, novelty is overstated'
  fresh = arms.get('fresh runs')
  if value(fresh, 'gate_strict') is not None:
    text += (
      f'; fresh runs pass the strict gate at {percent(value(fresh, "gate_strict"))}, the ceiling'
    )
  return f'{text}.'


def tiles(report: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Gates and copies of the generators, the best baseline and the ceiling.

  Args:
    report: as `report.load` returns it.

  Returns:
    One dict per metric: title, rule, rows of (label, kind, Stat).
  """
  rules = {**GATES, _COPIES: ('Copies', 'less than 0.1 τ from a training net')}
  made = []
  for metric, (title, rule) in rules.items():
    rows = [
      (arm['name'], arm['kind'], arm['metrics'].get(metric) or {})
      for arm in report['arms']
      if arm['kind'] == 'generator'
    ]
    for kind, label in (('baseline', 'best baseline'), ('ceiling', None)):
      if metric == _COPIES and kind == 'baseline':
        continue
      arm = best(report['arms'], kind, metric)
      if kind == 'ceiling':
        fresh = [a for a in report['arms'] if a['name'] == 'fresh runs']
        arm = fresh[0] if fresh else arm
      if arm is not None:
        text = f'{label}: {arm["name"]}' if label else arm['name']
        if kind == 'baseline' and not value(arm, metric):
          text = 'every baseline'
        rows.append((text, kind, arm['metrics'].get(metric) or {}))
    made.append({'title': title, 'rule': rule, 'rows': rows})
  return made
