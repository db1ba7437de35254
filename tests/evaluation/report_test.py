import copy
import html as html_lib
import json
import re

import numpy as np
import pytest
from rich import console

from tests.reference import fake_report
from wsjax import files
from wsjax.evaluation.metrics import copying, diversity
from wsjax.evaluation.report import columns, report, verdict
from wsjax.experiments import reports


@pytest.fixture(scope='module')
def written(tmp_path_factory):
  folder = tmp_path_factory.mktemp('report')
  reports.write(fake_report.make(), folder)
  return folder


@pytest.fixture(scope='module')
def html(written):
  return (written / 'report.html').read_text()


def test_page_refers_to_nothing_outside(html):
  assert 'http' not in html
  assert not re.search(r'\bsrc\s*=|@import|<link|<base', html)
  references = re.findall(r'href="([^"]*)"', html)
  assert references and all(r.startswith('#') for r in references)
  assert all(target.startswith('#') for target in re.findall(r'url\(([^)]*)\)', html))


def test_ids_are_unique_and_references_resolve(html):
  ids = re.findall(r'\bid="([^"]*)"', html)
  assert len(ids) == len(set(ids))
  assert set(re.findall(r'(?:href="|url\()#([^")]*)', html)) <= set(ids)


def test_every_arm_and_metric_is_in_the_page(html):
  made = fake_report.make()
  for arm in made['arms']:
    # In both planes and in the table.
    assert html.count(f'>{arm["name"]}<') >= 3, arm['name']
  for metric in made['metrics'].values():
    assert f'<dt>{html_lib.escape(metric["label"])}</dt>' in html
    assert html_lib.escape(metric['doc']) in html


def test_every_figure_and_fact_is_in_the_page(html):
  assert html.count('<svg ') == 6
  for text in ('0123456789abcdef' * 4, '2 cores x86_64', '61.0 s', '0.10.2',
               '--config.train.steps=20000', 'Noise is absolute'):  # fmt: skip
    assert text in html


def test_missing_metrics_say_why(html):
  assert 'not run: needs two or more nets' in html


def test_missing_sections_say_why(tmp_path):
  made = fake_report.make(fake_report.ARMS[:1])
  del made['training']
  made['barrier'] = {'not_run': 'needs two nets'}
  made['arms'][0]['metrics'] = {}
  html = reports.write(made, tmp_path).read_text()
  assert 'Loss barrier: not run: needs two nets' in html
  assert 'Training curve: not run: not part of this evaluation' in html
  assert 'Not in the plane, since not measured on both axes: diffusion.' in html


def test_same_report_gives_the_same_bytes(written, tmp_path):
  reports.write(fake_report.make(), tmp_path)
  again = report.load(written)
  for name in ('report.json', 'report.html'):
    assert (written / name).read_bytes() == (tmp_path / name).read_bytes()
  assert report.page(again) == (written / 'report.html').read_text()


def test_values_are_escaped(tmp_path):
  made = fake_report.make(fake_report.ARMS[:2])
  made['name'] = made['arms'][0]['name'] = '<script>alert("1")</script>'
  made['notes'] = ['a < b & c']
  html = reports.write(made, tmp_path).read_text()
  assert html.count('<script') == 1  # The one that sorts the table.
  assert 'a &lt; b &amp; c' in html


def test_numpy_numbers_are_taken(tmp_path):
  made = fake_report.make(fake_report.ARMS[:1])
  made['zoo']['tau'] = np.float32(7)
  made['alignment']['before'] = np.array([1.0, 2.0])
  reports.write(made, tmp_path)
  assert report.load(tmp_path)['alignment']['before'] == [1, 2]


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), np.float32('nan')])
def test_nan_is_refused_and_nothing_is_lost(bad, tmp_path):
  made = fake_report.make(fake_report.ARMS[:1])
  reports.write(made, tmp_path)
  before = (tmp_path / 'report.json').read_bytes()
  made['arms'][0]['metrics']['accuracy']['value'] = bad
  where = r'report\.arms\[0\]\.metrics\.accuracy\.value is (nan|inf)'
  with pytest.raises(ValueError, match=where):
    reports.write(made, tmp_path)
  assert (tmp_path / 'report.json').read_bytes() == before


def test_value_without_reason_is_refused(tmp_path):
  made = fake_report.make(fake_report.ARMS[:1])
  made['arms'][0]['metrics']['accuracy'] = {'value': None}
  with pytest.raises(ValueError, match='neither a value nor a reason'):
    reports.write(made, tmp_path)


@pytest.mark.parametrize(
  'text, message',
  [
    ('{"schema_version": "1.0.0", "na', 'not JSON'),
    ('{"squirrels": 3}', 'sha256'),
    ('[1, 2]', 'sha256'),
    (files.seal({'squirrels': 3}), 'no schema_version'),
    (files.seal({'schema_version': '9.0.0'}), "'9.0.0', not '1.0.0'"),
    (files.seal({'schema_version': '1.0.0'}), 'fields are missing: name'),
  ],
)
def test_foreign_json_is_one_clear_error(text, message, tmp_path):
  (tmp_path / 'report.json').write_text(text)
  with pytest.raises(ValueError, match=message) as error:
    report.load(tmp_path)
  assert str(tmp_path) in str(error.value)
  assert '\n' not in str(error.value)


def test_absent_report_is_one_clear_error(tmp_path):
  with pytest.raises(ValueError, match='There is no report at'):
    report.load(tmp_path)


def test_terminal_table_fits_100_columns():
  made = fake_report.make()
  made['arms'][1]['name'] = 'a generator with quite a long name [raw]'
  terminal = console.Console(width=100, color_system=None)
  with terminal.capture() as capture:
    terminal.print(report.table(made))
  lines = capture.get().splitlines()
  assert max(map(len, lines)) <= 100
  for arm in made['arms']:
    if len(arm['name']) < 26:
      assert any(line.split('  ')[0].strip() == arm['name'] for line in lines)
  assert 'G½ %' in capture.get()


def test_unknown_metrics_get_a_column_too():
  made = fake_report.make(fake_report.ARMS[:1])
  made['arms'][0]['metrics']['surprise'] = fake_report.stat(0.5)
  groups = columns.groups_of(made)
  assert [metric.name for metric in groups['Other']] == ['surprise']


def test_json_is_strict(written):
  text = (written / 'report.json').read_text()
  json.loads(text, parse_constant=pytest.fail)
  assert text.index('"arms"') < text.index('"zoo"')


def _rates(made, name, **values):
  arm = next(arm for arm in made['arms'] if arm['name'] == name)
  for metric, value in values.items():
    arm['metrics'][metric] = fake_report.stat(value, 0.02)


def test_verdict_says_what_the_numbers_say():
  made = fake_report.make()
  _rates(made, 'diffusion', gate_strict=0.0, gate_half=0.35)
  assert verdict.headline(made) == (
    '35 % of diffusion samples pass the half gate; no baseline does.'
  )
  _rates(made, 'soup-2 aligned', gate_half=0.6)
  assert 'passes more (soup-2 aligned, 60 %)' in verdict.headline(made)
  _rates(made, 'soup-2 aligned', gate_half=0.36)
  assert 'cannot be told apart' in verdict.headline(made)
  _rates(made, 'diffusion', gate_strict=0.12)
  assert verdict.headline(made).startswith('12 % of diffusion samples pass the strict gate')


def test_verdict_calls_a_copy_a_copy():
  made = fake_report.make(fake_report.ARMS[:1] + fake_report.ARMS[2:])
  zero = {gate: 0.0 for gate in verdict.GATES}
  _rates(made, 'diffusion', **zero, copy_rate=0.97, novelty=0.024)
  _rates(made, 'diffusion', max_iou_at_bar=0.9)
  assert 'copies: 97 % of its samples' in verdict.headline(made)
  found = dict(verdict.findings(made))
  assert found['Copies'].startswith('It mostly copies: 97 %')
  assert 'are those of a training network: largest' in found['Behaviour']


def test_flags_are_in_the_verdict_and_beside_the_name(tmp_path):
  made = fake_report.make(fake_report.ARMS[:1] + fake_report.ARMS[2:4])
  assert 'Flags' not in dict(verdict.findings(made))
  for arm in made['arms']:
    arm['flags'] = []
  assert 'without enough held-out' in dict(verdict.findings(made))['Flags']
  for metric in (copying.copying_z, copying.replica_rate):
    made['metrics'][metric.name] = metric.declaration()
  made['arms'][0]['metrics']['copying_z'] = fake_report.stat(-1.0) | {'p': 0.2}
  assert 'None of 1 tests' in dict(verdict.findings(made))['Flags']
  assert 'data-copying z' in dict(verdict.findings(made))['Flags']
  made['arms'][0]['flags'] = [{'name': 'one mode', 'evidence': '0.1 τ'}]
  made['arms'][0]['metrics'] |= {
    'mmd_weights': fake_report.stat(0.1, method='none') | {'p': 0.002},
    'replica_rate': fake_report.stat(0.1) | {'note': 'few', 'heldout': 0.01},
  }
  html = reports.write(made, tmp_path).read_text()
  assert 'one mode: 0.1 τ.' in html
  assert '>diffusion<small>one mode</small>' in html
  assert 'p = 0.002' in html and 'held-out networks: 0.01; few' in html


def test_no_sentence_says_less_than_the_worst_number():
  """A report of replicas without exact copies: they are named wherever copies are spoken of."""
  made = fake_report.make(fake_report.ARMS[:1])
  evidence = 'replicas 99 % (fresh runs: 5 %); p < 0.001 after correction for 10 tests'
  made['arms'][0]['flags'] = [
    {'name': metric.flag, 'evidence': evidence}
    for metric in (copying.replica_rate, copying.iou_excess, diversity.centre_distance)
  ]
  found = dict(verdict.findings(made))
  for topic in ('Copies', 'Behaviour', 'Spread', 'Flags'):
    assert 'replicas 99 %' in found[topic], topic
  assert 'does not copy' not in found['Copies']


def test_verdict_reports_a_bent_ruler():
  made = fake_report.make()
  _rates(made, 'permuted copy', copy_rate=0.4)
  assert 'the ruler is bent' in dict(verdict.findings(made))['Ruler']


def test_verdict_without_generator_or_gates():
  made = fake_report.make(fake_report.ARMS[2:])
  assert verdict.headline(made).startswith('No generator')
  made = copy.deepcopy(fake_report.make(fake_report.ARMS[:1]))
  for gate in verdict.GATES:
    made['arms'][0]['metrics'][gate] = {'value': None, 'not_run': 'off'}
  assert verdict.headline(made) == 'diffusion was not put to any gate.'
  assert len(verdict.tiles(made)) == 4


@pytest.mark.parametrize(
  'share, text',
  [(0, '0 %'), (0.0004, '< 0.1 %'), (0.034, '3.4 %'), (0.03, '3 %'),
   (0.347, '35 %'), (1, '100 %')],
)  # fmt: skip
def test_percent(share, text):
  assert verdict.percent(share) == text


def test_what_the_evaluation_measures_can_be_shown(request, tmp_path):
  made = fake_report.make() | request.getfixturevalue('report')
  html = reports.write(made, tmp_path).read_text()
  for arm in made['arms']:
    assert f'>{arm["name"]}<' in html
  assert 'Not in the plane' not in html
  assert 'bent' not in html  # Permuted copies are read as copies.
  assert 'Is it above the baselines?' in html
  assert html.count('<svg ') == 6


def test_only_what_is_above_a_baseline_after_holm_is_counted():
  made = fake_report.make()
  name = verdict.lead(made)['name']
  stat = {'n': 8, 'method': 'fisher'}
  good = stat | {'value': 0.2, 'p': 0.001, 'p_holm': 0.002}
  worse = stat | {'value': -0.2, 'p': 0.001, 'p_holm': 0.002}
  chance = stat | {'value': 0.2, 'p': 0.04, 'p_holm': 0.08}
  made['contrasts'] = [
    {'generator': name, 'baseline': baseline, 'accuracy': good}
    | dict.fromkeys(verdict.GATES, gates)
    for baseline, gates in (('a', good), ('b', worse), ('c', chance))
  ]
  said = dict(verdict.findings(made))['Baselines']
  assert 'Of 3 baselines' in said
  assert 'above 3 in accuracy, 1 in G, 1 in G½, 1 in G_b,' in said
