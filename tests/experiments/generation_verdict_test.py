"""The report of generated networks says what its numbers say."""

import html as html_lib
import re

import numpy as np
import pytest

from tests.reference import fake_report
from wsjax.evaluation.metrics import copying, diversity
from wsjax.evaluation.report import html, terminal
from wsjax.experiments.generation import verdict

METHODS = fake_report.METHODS


@pytest.fixture(scope='module')
def page():
  return html.page(fake_report.make())


def table_with(methods=METHODS, **changes):
  """The table of made-up numbers; `name__metric=value` changes one of them."""
  evaluation = fake_report.evaluation(methods)
  for key, value in changes.items():
    method, _, metric = key.partition('__')
    row = evaluation.rows[{'soup': 'soup-2 aligned', 'copy': 'permuted copy'}.get(method, method)]
    row.stats[metric] = fake_report.stat(value, 0.02)
  return evaluation, verdict.report(evaluation).tables['methods']


def findings(*args, **changes):
  return verdict.findings(*table_with(*args, **changes))


def test_the_page_refers_to_nothing_outside(page):
  assert 'http' not in page and not re.search(r'\bsrc\s*=|@import|<link|<base', page)
  references = re.findall(r'href="([^"]*)"', page)
  assert references and all(reference.startswith('#') for reference in references)
  ids = re.findall(r'\bid="([^"]*)"', page)
  assert len(ids) == len(set(ids))
  assert set(re.findall(r'(?:href="|url\()#([^")]*)', page)) <= set(ids)


def test_every_method_metric_figure_and_fact_is_in_the_page(page):
  report = fake_report.make()
  for name in report.tables['methods'].rows:
    assert page.count(f'>{name}<') >= 3, name  # In both planes and in the table.
  for metric in report.tables['methods'].metrics:
    assert f'<dt>{html_lib.escape(metric.label)}</dt>' in page
  assert page.count('<svg ') == len(report.figures) == 6
  for text in ('0123456789abcdef' * 4, '61.0 s', '--config.train.steps=20000', 'zoo p5 95.8 %',
               'not run: needs two or more networks', 'Noise is absolute'):  # fmt: skip
    assert text in page


def test_a_tooltip_names_every_method_and_perfect_networks_have_a_place():
  evaluation = fake_report.evaluation(METHODS[:2])
  for row, value in zip(evaluation.rows.values(), (0.0, 1.0), strict=True):
    row.stats['accuracy'] = fake_report.stat(value)
    row.per_network['accuracy'] = [value] * row.n
  page = html.page(verdict.report(evaluation))
  assert 'nan' not in page and 'diffusion (model, n = 100): accuracy 0.0 %' in page


def test_names_with_mathematics_and_markup_are_drawn_as_they_are():
  methods = [('$\\frac{$ <b>', *METHODS[0][1:]), *METHODS[1:]]
  page = html.page(verdict.report(fake_report.evaluation(methods)))
  assert '&lt;b&gt;' in page and '<b>' not in page.replace('<b>●', '')


def test_optional_curves_have_a_figure_with_named_models():
  evaluation = fake_report.evaluation()
  names = list(evaluation.rows)
  evaluation.curves = {
    'corruptions': {name: {'noise': np.linspace(0, 1, 6).tolist()} for name in names},
    'adversarial': {
      name: {'linf': {'epsilon': [0, 0.1], 'robust': [0.9, 0.1], 'noise': [0.9, 0.9]}}
      for name in names[:-1]
    },
    'finetuning': {name: {'steps': [0, 5, 10], 'accuracy': [0.1, 0.5, 0.9]} for name in names},
  }
  report = verdict.report(evaluation)
  assert {'corruptions', 'adversarial', 'finetuning'} <= set(report.figures)
  page = html.page(report)
  assert page.count('<svg ') == 9
  lines = report.figures['adversarial'].data['panels'][0]['lines']
  assert {line.get('label') for line in lines} == {'diffusion', 'diffusion raw', None}
  assert sum(line.get('style') == 'dotted' for line in lines) == 2


def test_the_headline_is_the_strongest_gate_and_the_best_baseline():
  def headline(**changes):
    return verdict.headline(table_with(**changes)[1])

  gates = {'diffusion__gate_strict': 0.0, 'diffusion__gate_half': 0.35}
  assert headline(**gates) == '35 % of diffusion samples pass the gate G½; no baseline does.'
  assert 'passes more often (soup-2 aligned, 60 %)' in headline(**gates, soup__gate_half=0.6)
  assert 'as often, as far as their intervals tell' in headline(**gates, soup__gate_half=0.36)
  assert headline(diffusion__gate_strict=0.12).startswith(
    '12 % of diffusion samples pass the gate G;'
  )


def test_a_copy_is_called_a_copy():
  changes = {f'diffusion__{gate}': 0.0 for gate in verdict.GATES}
  changes |= {'diffusion__copy_rate': 0.97, 'diffusion__novelty': 0.024}
  changes |= {'diffusion__max_iou_at_threshold': 0.9}
  methods = METHODS[:1] + METHODS[2:]
  assert 'copies: 97 % of its samples' in verdict.headline(table_with(methods, **changes)[1])
  found = findings(methods, **changes)
  assert found['Copies'].startswith('It mostly copies: 97 %')
  assert 'are those of a training network: largest' in found['Errors']


def test_flags_are_among_the_findings_and_beside_the_name():
  evaluation, _ = table_with(METHODS[:1] + METHODS[2:4])
  row = evaluation.rows['diffusion']
  row.flags = []
  table = verdict.report(evaluation).tables['methods']
  assert 'without enough held-out' in verdict.findings(evaluation, table)['Flags']
  row.flags = [{'name': 'one mode', 'evidence': '0.1 τ'}]
  report = verdict.report(evaluation)
  assert report.findings['Flags'] == 'one mode: 0.1 τ.'
  assert '>diffusion<small>one mode</small>' in html.page(report)


def test_no_sentence_says_less_than_the_worst_number():
  """Samples without exact copies that tests tell from fresh runs: each topic says so."""
  evaluation, table = table_with(METHODS[:1], diffusion__copy_rate=0.0, diffusion__rms_ratio=1.0)
  evidence = 'replicas 99 % (fresh runs: 5 %); p < 0.001 after correction for 10 tests'
  table.rows['diffusion'].flags = [
    {'name': metric.flag, 'evidence': evidence}
    for metric in (copying.replica_rate, copying.iou_excess, diversity.centre_distance)
  ]
  found = verdict.findings(evaluation, table)
  for topic in ('Copies', 'Errors', 'Spread', 'Flags'):
    assert 'replicas 99 %' in found[topic], topic
  assert 'does not copy' not in found['Copies']


def test_controls_that_do_not_read_as_copies_are_reported():
  assert 'novelty is overstated' in findings(copy__copy_rate=0.4)['Controls']
  assert 'fresh runs, the ceiling' in findings()['Controls']


def test_the_first_sentences_say_who_passed_copied_and_failed():
  found = findings(diffusion__gate_strict=0.25)
  assert list(found)[:3] == ['Passed', 'Copied', 'Failed']
  assert found['Passed'] == 'The gate G: diffusion (25 % of its samples).'
  assert found['Copied'].endswith(': noise(0.01), retrieval.')
  assert 'diffusion raw, ' in found['Failed'] and 'gaussian' in found['Failed']
  assert 'fresh runs' not in ' '.join(list(found.values())[:3])


def test_other_models_have_a_sentence_each():
  assert findings()['Beside it, diffusion raw'].startswith('71.3 % accuracy; passes G 0 %')


def test_without_generator_or_gates():
  assert verdict.headline(table_with(METHODS[2:])[1]).startswith('No generator')
  evaluation, table = table_with(METHODS[:1])
  for gate in verdict.GATES:
    evaluation.rows['diffusion'].stats[gate] = {'value': None, 'not_run': 'off'}
  assert verdict.headline(table) == 'diffusion was not put to any gate.'


@pytest.mark.parametrize(
  ('share', 'text'),
  [(0, '0 %'), (0.0004, '< 0.1 %'), (0.034, '3.4 %'), (0.03, '3 %'), (0.347, '35 %'), (1, '100 %')],
)
def test_percent(share, text):
  assert verdict.percent(share) == text


def test_only_baselines_that_are_below_after_holm_are_counted():
  evaluation, _ = table_with()
  stat = {'n': 8, 'method': 'fisher'}
  good, worse = stat | {'value': 0.2, 'p': 0.002}, stat | {'value': -0.2, 'p': 0.002}
  chance = stat | {'value': 0.2, 'p': 0.08}
  lead = verdict.lead(verdict.report(evaluation).tables['methods'])
  for baseline, gates in (('a', good), ('b', worse), ('c', chance)):
    stats = {'accuracy': good} | dict.fromkeys(verdict.GATES, gates)
    evaluation.differences[f'{lead} − {baseline}'] = fake_report.model.Row(8, stats)
  text = verdict.report(evaluation).findings['Baselines']
  assert 'Of 3 baselines' in text and 'above 3 in accuracy, 1 in G, 1 in G½, 1 in G_b,' in text


def test_the_terminal_shows_gates_first():
  names = [metric.name for metric in fake_report.make().tables['methods'].short]
  assert names[0] == 'accuracy' and 'gate_strict' in names and 'nll' not in names
  assert len(list(terminal.tables(fake_report.make()))) == 1
