"""The report of generated networks: tables, figures, and findings computed from the numbers."""

from collections.abc import Sequence
from typing import Any

from wsjax.evaluation import evaluator
from wsjax.evaluation.metrics import accuracy, copying, diversity, flags, novelty
from wsjax.evaluation.reference import COPY
from wsjax.evaluation.report import model

# Gate -> its short name, in falling order of strength.
GATES = {'gate_strict': 'G', 'gate_half': 'G½', 'gate_functional': 'G_b'}
_SUMMARY = (
  'accuracy', 'novelty', 'copy_rate', 'gate_strict', 'gate_half', 'gate_functional', 'max_iou',
)  # fmt: skip
_FRESH, _COPY_CONTROL = 'fresh runs', 'permuted copy'
_NORMS = {'linf': 'L∞', 'l2': 'L2'}
_PAIRS = 40  # Pairs of networks whose loss is drawn.


def report(evaluation: evaluator.Evaluation) -> model.Report:
  """Makes the report of an evaluation; the first model is the one that the headline is about."""
  table = model.Table(
    'Methods',
    evaluation.metrics,
    evaluation.rows,
    'Values over all samples of a method, none selected, with their 95 % intervals. τ is the '
    'median distance between independent training runs; fresh runs are the ceiling. No metric is '
    'averaged with another.',
    tuple(name for name in _SUMMARY if any(name == m.name for m in evaluation.metrics)),
  )
  tables = {'methods': table}
  if evaluation.differences:
    tables['differences'] = model.Table(
      'Generators less baselines',
      (accuracy.accuracy, novelty.gate_strict, novelty.gate_half, novelty.gate_functional),
      evaluation.differences,
      'Differences in points: accuracy on common test items, and shares of samples that pass the '
      'gates. p is corrected for the number of baselines (Holm); for gates it takes networks as '
      'independent (Fisher).',
    )
  return model.Report(
    headline(table),
    tables,
    figures(evaluation, table),
    findings(evaluation, table),
    facts={'Zoo': evaluation.zoo},
  )


def lead(table: model.Table) -> str | None:
  """Name of the model that passes most gates; None if the table has no model."""
  models = [name for name, row in table.rows.items() if row.kind == 'model']
  order = (*GATES, 'accuracy')
  return max(models, key=lambda name: [table.rows[name].value(m) or 0 for m in order], default=None)


def best(table: model.Table, kind: str, metric: str) -> str | None:
  """Name of the method of a kind with the highest value; ties go to the higher accuracy."""
  values = {
    name: (row.value(metric), row.value('accuracy') or 0)
    for name, row in table.rows.items()
    if row.kind == kind and row.value(metric) is not None
  }
  return max(values, key=values.get, default=None)


def percent(share: float) -> str:
  """A share as '12 %', '0.4 %' or '< 0.1 %'."""
  value = 100 * share
  if 0 < abs(value) < 0.1:
    return '< 0.1 %'
  digits = 0 if abs(value) >= 9.95 or value == round(value) else 1
  return f'{value:.{digits}f} %'


def headline(table: model.Table) -> str:
  """One sentence: the strongest gate that a model passes, and whether a baseline does."""
  name = lead(table)
  if name is None:
    return 'No generator in this report: only the zoo and its baselines.'
  row = table.rows[name]
  passed = next((gate for gate in GATES if row.value(gate)), None)
  copies = row.value('copy_rate')
  if passed is None:
    if all(row.value(gate) is None for gate in GATES):
      return f'{name} was not put to any gate.'
    if copies is not None and copies >= 0.5:
      return (
        f'{name} copies: {percent(copies)} of its samples lie within {COPY:g} τ of a training '
        'network, and none passes a gate.'
      )
    return f'{name} passes no gate: not one of {row.n} samples.'
  share = percent(row.value(passed))
  return f'{share} of {name} samples pass the gate {GATES[passed]}; ' + _against(
    table, row, best(table, 'baseline', passed), passed
  )


def _against(table: model.Table, row: model.Row, other: str | None, metric: str) -> str:
  """How a method compares with the best baseline, intervals considered."""
  if other is None:
    return 'no baseline was run.'
  if not table.rows[other].value(metric):
    return 'no baseline does.'
  mine, theirs = row.stats[metric], table.rows[other].stats[metric]

  def end(stat: Any, side: str) -> float:
    return stat['value'] if stat.get(side) is None else stat[side]

  relation = 'as often, as far as their intervals tell'
  if end(mine, 'low') > end(theirs, 'high'):
    relation = 'less often'
  elif end(mine, 'high') < end(theirs, 'low'):
    relation = 'more often'
  return f'the best baseline passes {relation} ({other}, {percent(theirs["value"])}).'


def findings(evaluation: evaluator.Evaluation, table: model.Table) -> dict[str, str]:
  """Sentences about the leading model and about the controls, topic -> sentence.

  What was not measured is left out; the table says why.
  """
  found = {}
  if (name := lead(table)) is not None:
    row = table.rows[name]
    found = _outcomes(table) | {
      'Function': _function(evaluation, row),
      'Copies': _copies(row),
      'Errors': _errors(evaluation, row),
      'Spread': _spread(row),
      'Distribution': _distribution(table, row),
      'Flags': _flags(evaluation, row),
      'Baselines': _baselines(evaluation, name),
    }
    for other, rival in table.rows.items():
      if rival.kind == 'model' and other != name:
        found[f'Beside it, {other}'] = _rival(rival)
  found['Controls'] = _controls(table)
  return {topic: sentence for topic, sentence in found.items() if sentence}


def _outcomes(table: model.Table) -> dict[str, str]:
  """Who passed the strict gate, who copied and who did neither, a sentence each."""
  passed, copied, failed = [], [], []
  for name, row in table.rows.items():
    share = row.value('gate_strict')
    if row.kind not in ('model', 'baseline') or share is None:
      continue
    if share > 0:
      passed.append(f'{name} ({percent(share)} of its samples)')
    elif (row.value('copy_rate') or 0) >= 0.5:
      copied.append(name)
    else:
      failed.append(name)
  if not passed + copied + failed:
    return {}
  return {
    'Passed': f'The gate G: {", ".join(passed) or "no model and no baseline"}.',
    'Copied': f'Half of the samples or more are copies: {", ".join(copied) or "of no method"}.',
    'Failed': f'No sample passes G, and most are no copies: {", ".join(failed) or "no method"}.',
  }


def _rival(row: model.Row) -> str:
  """Accuracy, gates and copies of another model in one sentence."""
  if row.value('accuracy') is None:
    return ''
  passed = [f'{short} {percent(row.value(gate) or 0)}' for gate, short in GATES.items()]
  text = f'{100 * row.value("accuracy"):.1f} % accuracy; passes {", ".join(passed)}'
  if row.value('copy_rate') is not None:
    text += f'; copies {percent(row.value("copy_rate"))}'
  return f'{text}.' + (f' Flags: {", ".join(f["name"] for f in row.flags)}.' if row.flags else '')


def _function(evaluation: evaluator.Evaluation, row: model.Row) -> str:
  value = row.value('accuracy')
  if value is None:
    return ''
  zoo, p5 = evaluation.zoo['accuracy'], evaluation.zoo['accuracy_p5']
  beside = '' if zoo is None else f', the zoo {100 * zoo:.1f} %'
  return (
    f'Samples reach {100 * value:.1f} % test accuracy{beside}; '
    f'{"above" if value >= p5 else "below"} its 5th percentile of {100 * p5:.1f} %.'
  )


def _copies(row: model.Row) -> str:
  copies, distance = row.value('copy_rate'), row.value('novelty')
  if copies is None:
    return ''
  near = _flagged(row, copying.replica_rate.flag, 'copies', 'copies with noise')
  verb = f'Few exact copies, but {near}' if near else 'It does not copy weights'
  if copies >= 0.05:
    verb = 'It mostly copies' if copies >= 0.5 else 'It copies in part'
  text = f'{verb}: {percent(copies)} of samples lie within {COPY:g} τ'
  if distance is None:
    return f'{text}.'
  return f'{text}; the median distance to a training network is {distance:.2f} τ.'


def _flagged(row: model.Row, *names: str) -> str:
  """Name and evidence of the first flag that the method has of `names`; '' for none."""
  found = {flag['name']: flag['evidence'] for flag in row.flags or ()}
  return next((f'{name} ({found[name]})' for name in names if name in found), '')


def _errors(evaluation: evaluator.Evaluation, row: model.Row) -> str:
  # Many mistakes overlap little with few: compared where accuracy is alike.
  overlap, zoo = row.value('max_iou_at_threshold'), evaluation.zoo['loo_max_iou']
  if overlap is None or zoo is None:
    return ''
  text = 'The mistakes of working samples are as much their own as those of independent runs'
  if overlap > zoo + 0.02:
    text = 'The mistakes of working samples are those of a training network'
  if shared := _flagged(row, copying.iou_excess.flag):
    text = f'The method {shared}'
  return f'{text}: largest error-IoU {overlap:.2f}, between networks of the zoo {zoo:.2f}.'


def _spread(row: model.Row) -> str:
  ratio = row.value('rms_ratio')
  if ratio is None:
    return ''
  centre = _flagged(row, diversity.centre_distance.flag, 'one mode')
  if ratio < 0.9:
    text = 'Samples shrink toward the mean'
  elif ratio > 1.1:
    text = 'Samples are scattered'
  else:
    text = f'Samples are {centre}' if centre else 'No collapse to the mean'
  return f'{text}: the weights have {ratio:.2f} of the spread of the zoo.'


def _distribution(table: model.Table, row: model.Row) -> str:
  """Whether two-sample tests tell the samples from fresh runs, gate D, beside fresh runs."""
  gate = row.stats.get('gate_distribution', {})
  if gate.get('value') is None:
    return ''
  fresh = table.rows.get(_FRESH)
  told = []
  for metric, features in (('told_by_weights', 'norms of units'), ('told_by_function', 'outputs')):
    text = f'{percent(row.value(metric))} by {features}'
    if fresh is not None and (other := fresh.value(metric)) is not None:
      text += f' (fresh runs: {percent(other)})'
    told.append(text)
  passes = 'passes' if gate['value'] == 1 else 'does not pass'
  return (
    f'The generator {passes} the gate D: a random forest tells samples from fresh runs at '
    f'{", ".join(told)}, where 50 % is chance; it {gate["note"]}.'
  )


def _flags(evaluation: evaluator.Evaluation, row: model.Row) -> str:
  """Every flag with its evidence, or how near the tests came to one."""
  if row.flags is None:
    return ''
  if row.flags:
    return '; '.join(f'{flag["name"]}: {flag["evidence"]}' for flag in row.flags) + '.'
  tests = flags.tests(row.stats, evaluation.metrics)
  if not tests:
    return (
      'None, but without enough held-out runs only exact copies, collapse to the mean and failure '
      'were looked for.'
    )
  return (
    f'None of {len(tests)} tests tells the samples from fresh runs; the nearest to it is '
    f'{tests[0].evidence}, p = {tests[0].p:.2g} after correction for their number.'
  )


def _baselines(evaluation: evaluator.Evaluation, name: str) -> str:
  """Number of baselines that the method is above, corrected for their number."""
  rows = [r for pair, r in evaluation.differences.items() if pair.startswith(f'{name} − ')]
  if not rows:
    return ''
  counts = []
  for metric in ('accuracy', *GATES):
    stats = [row.stats[metric] for row in rows if metric in row.stats]
    above = sum(stat['value'] > 0 and stat['p'] <= 0.05 for stat in stats)
    counts.append(f'{above} in {GATES.get(metric, metric)}')
  return (
    f'Of {len(rows)} baselines the samples are above {", ".join(counts)}, with p of at most 0.05 '
    'after the correction of Holm.'
  )


def _controls(table: model.Table) -> str:
  """Whether copies read as copies, and what the ceiling is."""
  control = table.rows.get(_COPY_CONTROL)
  copies = None if control is None else control.value('copy_rate')
  if copies is None:
    return 'The permuted copy was not run, so that copies may be missed.'
  text = f'{percent(copies)} of permuted exact copies are read as copies'
  text += '' if copies == 1 else ': distances are too large, and novelty is overstated'
  fresh = table.rows.get(_FRESH)
  if fresh is not None and (share := fresh.value('gate_strict')) is not None:
    text += f'; fresh runs, the ceiling, pass the gate G at {percent(share)}'
  return f'{text}.'


def figures(evaluation: evaluator.Evaluation, table: model.Table) -> dict[str, model.Figure]:
  """Every figure of the report; one that lacks its data says why."""
  zoo = evaluation.zoo
  overlap = [] if zoo['loo_max_iou'] is None else [zoo['loo_max_iou']]
  models = [name for name, row in table.rows.items() if row.kind == 'model']
  shown = [*models, *filter(None, {best(table, 'baseline', gate) for gate in GATES}), _FRESH]
  made = {
    'gates': model.Figure(
      'intervals',
      {
        'table': 'methods',
        'metrics': [*GATES, 'copy_rate'],
        'rows': [name for name in dict.fromkeys(shown) if name in table.rows],
      },
      'Gates and copies',
      'Shares of samples that pass each gate, and of copies: the generators, the best baseline of '
      'each gate, and fresh runs.',
    ),
    'novelty': model.Figure(
      'plane',
      {
        'table': 'methods', 'x': 'novelty', 'accuracy': zoo['accuracy_p5'], 'copies': COPY,
        'xlabel': 'distance to the nearest training network, τ  (square-root axis)',
        'marks': [
          {'at': COPY, 'label': 'copies', 'left': True}, {'at': 0.5, 'label': '0.5 τ'},
          {'at': 1.0, 'label': 'τ'},
        ],
        'regions': [{'at': 0.5, 'label': 'G½'}, {'at': 1.0, 'label': 'G'}],
      },
      'Accuracy against novelty',
      'Each mark is a method with its intervals, each faint point one of its networks. A generator '
      'should be up and to the right, in the shaded region; a copy is up and to the left, an '
      'average of networks down and to the right.',
    ),
    'errors': model.Figure(
      'plane',
      {
        'table': 'methods', 'x': 'max_iou', 'accuracy': zoo['accuracy_p5'], 'reverse': True,
        'xlabel': 'largest error-IoU with a training network  (reversed axis)',
        'marks': [{'at': at, 'label': 'zoo leave-one-out', 'left': True} for at in overlap],
        'regions': [{'at': at, 'label': 'G_b'} for at in overlap],
      },
      'Accuracy against the overlap of errors',
      'Weights may differ while the function is a copy. A method moves right as it shares fewer of '
      'its errors with any single training network.',
    ),
    'histograms': model.Figure(
      'densities',
      {'panels': evaluation.histograms, 'models': models},
      'Weights of zoo and generators',
      'Density of the entries of each parameter: filled, the training networks of the zoo; lines, '
      'the generators. A narrower curve is a blend of networks.',
    ),
    'alignment': model.Figure(
      'histogram',
      {
        'values': {key: evaluation.alignment[key] for key in ('before', 'after')},
        'xlabel': 'distance between two networks of the zoo / τ',
      },
      'Distance between two networks before and after alignment',
      evaluation.alignment['description'],
    ),
    'barrier': _barrier(evaluation.barrier),
  }  # fmt: skip
  return made | _curves(evaluation, table)


def _barrier(barrier: dict[str, Any]) -> model.Figure:
  """Loss on the line between two networks, raw and aligned; single pairs are faint."""
  lines = []
  for key, kind in (('raw', 'reference'), ('aligned', 'model')):
    line = {'x': barrier['t'], 'kind': kind}
    lines += [line | {'y': list(pair), 'style': 'faint'} for pair in barrier[key][:_PAIRS]]
    mean = [sum(values) / len(values) for values in zip(*barrier[key], strict=True)]
    lines.append(line | {'y': mean, 'label': key})
  return model.Figure(
    'lines',
    {
      'panels': [{'lines': lines, 'xlabel': 'position on the line between two networks'}],
      'ylabel': f'test loss, {barrier.get("unit", "nats")}',
      'height': 2.4,
    },
    'Loss on the straight line between two networks',
    f'Bold: mean over {len(barrier["raw"])} pairs. Faint: single pairs.',
  )


def _curves(evaluation: evaluator.Evaluation, table: model.Table) -> dict[str, model.Figure]:
  """Curves of the optional groups of metrics: by severity, by radius, by further steps."""
  made = {}
  curves = evaluation.curves
  if found := curves.get('corruptions'):
    panels = [
      {
        'title': family,
        'xlabel': 'severity',
        'ticks': ['clean', *map(str, range(1, len(errors)))],
        'lines': _lines(table, {n: (range(len(errors)), c[family]) for n, c in found.items()}),
      }
      for family, errors in next(iter(found.values())).items()
    ]
    made['corruptions'] = model.Figure(
      'lines', {'panels': panels, 'ylabel': 'test error', 'share': True}, 'Corrupted images',
      'Test error by severity. Faint: baselines, controls and ceilings.',
    )  # fmt: skip
  if found := curves.get('adversarial'):
    panels = []
    for norm in next(iter(found.values())):
      robust = {n: (c[norm]['epsilon'], c[norm]['robust']) for n, c in found.items()}
      noise = {n: (c[norm]['epsilon'], c[norm]['noise']) for n, c in found.items()}
      dotted = [
        {**line, 'style': 'dotted', 'label': None}
        for line in _lines(table, noise)
        if line.get('style') != 'faint'
      ]
      panels.append(
        {'xlabel': f'{_NORMS.get(norm, norm)} radius', 'lines': _lines(table, robust) + dotted}
      )
    made['adversarial'] = model.Figure(
      'lines', {'panels': panels, 'ylabel': 'test accuracy', 'share': True}, 'Adversarial images',
      'Accuracy under the worst of FGSM, PGD and attacks made on other networks: an upper bound. '
      'Dotted: random noise of the radius.',
    )  # fmt: skip
  if found := curves.get('finetuning'):
    lines = _lines(table, {name: (c['steps'], c['accuracy']) for name, c in found.items()})
    made['finetuning'] = model.Figure(
      'lines',
      {
        'panels': [{'lines': lines, 'xlabel': 'further training steps'}],
        'ylabel': 'test accuracy', 'xscale': 'doubling', 'height': 3.1,
      },
      'Fine-tuning',
      'Mean test accuracy after further steps of the training that made the zoo, with the batches '
      'of each network alike for all methods. Faint: baselines, controls and ceilings.',
    )  # fmt: skip
  return made


def _lines(
  table: model.Table, curves: dict[str, tuple[Sequence[float], Sequence[float]]]
) -> list[dict[str, Any]]:
  """Curves of the methods, those named in the legend last and so on top."""
  faint, named = [], []
  for name, (x, y) in curves.items():
    line = {'x': list(x), 'y': list(y), 'kind': table.rows[name].kind}
    if line['kind'] in ('model', 'reference'):
      named.append(line | {'label': name})
    else:
      faint.append(line | {'style': 'faint'})
  return faint + named
