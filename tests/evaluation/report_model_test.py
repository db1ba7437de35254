"""Reports as data: they are read as they were written, and nothing else is read."""

import json

import numpy as np
import pytest
from rich import console

from wsjax import files
from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation.report import html, model, sweep, terminal

METRICS = (
  metric_lib.Metric('accuracy', 'accuracy', better='higher', format='.1%', doc='Share of hits.'),
  metric_lib.Metric('nll', 'NLL', unit='nats', better='lower', format='.3f', group='Loss'),
)


def stat(value, half=0.01):
  return {'value': value, 'low': value - half, 'high': value + half, 'n': 8, 'method': 'bootstrap'}


def make(**changes):
  rows = {
    'flow <b>': model.Row(8, {'accuracy': stat(0.9), 'nll': stat(0.3)}, seeds=[0]),
    'noise': model.Row(8, {'accuracy': stat(0.5)}, 'baseline'),
  }
  lines = [{'x': [1, 2], 'y': [2.0, None]}]
  fields = {
    'headline': 'It works.',
    'tables': {'methods': model.Table('Methods', METRICS, rows)},
    'figures': {
      'curve': model.Figure('lines', {'panels': [{'lines': lines}]}, 'Curve'),
      'other': model.missing('Other', 'nothing to show'),
    },
    'findings': {'Copies': 'None.'},
    'notes': ['a < b'],
    'facts': {'Model': {'width': 1234567, 'names': ['a', 'b'], 'none': None}},
    'experiment': 'generation',
    'run': model.Run('x', {'seed': 0}, versions={'jax': '0.10'}, wall_seconds={'train': 2.0}),
  }
  return model.Report(**fields | changes)


def test_a_report_is_read_as_it_was_written(tmp_path):
  report = make()
  path = report.write(tmp_path, html.page)
  again = model.load(tmp_path)
  assert again == report
  assert html.page(again) == path.read_text()
  text = (tmp_path / 'report.json').read_text()
  again.write(tmp_path, html.page)
  assert (tmp_path / 'report.json').read_text() == text


def test_the_page_has_everything_and_is_escaped():
  text = html.page(make())
  for words in ('It works.', 'a &lt; b', 'flow &lt;b&gt;', '1,234,567', 'a, b', 'nothing to show',
                'Share of hits.', '90.0', 'not part of this evaluation'):  # fmt: skip
    assert words in text
  assert 'http' not in text and '<b>' not in text and 'none' not in text.split('<h3>Model')[1][:200]


def test_numpy_is_taken_and_what_is_not_finite_is_refused(tmp_path):
  report = make(facts={'Zoo': {'tau': np.float32(2), 'sizes': np.arange(2)}})
  report.write(tmp_path, html.page)
  assert model.load(tmp_path).facts == {'Zoo': {'tau': 2.0, 'sizes': [0, 1]}}
  before = (tmp_path / 'report.json').read_bytes()
  report.tables['methods'].rows['noise'].stats['accuracy']['value'] = float('nan')
  with pytest.raises(ValueError, match=r'report\.tables\.methods\.rows\.noise\.stats\.accuracy'):
    report.write(tmp_path, html.page)
  assert (tmp_path / 'report.json').read_bytes() == before


def changed(*path, to):
  value = make().plain()
  inner = value
  for key in path[:-1]:
    inner = inner[key]
  if to is None:
    del inner[path[-1]]
  else:
    inner[path[-1]] = to
  return files.seal(value) if path[-1] != 'digest' else json.dumps(value)


ROW = ('tables', 'methods', 'rows', 'noise')


@pytest.mark.parametrize(
  ('text', 'field'),
  [
    ('{"schema_version": "2.0.0", "na', 'JSON'),
    ('[1, 2]', 'sha256'),
    (changed('digest', to='x'), 'sha256'),
    (files.seal({'schema_version': '9'}), 'schema_version'),
    (files.seal({'schema_version': '2.0.0'}), 'headline'),
    (changed('headline', to=3), r'report\.headline'),
    (changed('surprise', to=3), 'surprise'),
    (changed('notes', to=[1]), r'notes\[0\]'),
    (changed(*ROW, 'kind', to='best'), 'kind'),
    (changed(*ROW, 'n', to=True), r'noise\.n'),
    (changed(*ROW, 'stats', 'accuracy', to={'value': None}), 'not_run'),
    (changed(*ROW, 'stats', 'accuracy', to={'value': 1, 'low': 2, 'high': 1}), 'interval'),
    (changed(*ROW, 'stats', 'accuracy', to={'value': 1e301}), 'out of range'),
    (changed(*ROW, 'stats', 'accuracy', to={'value': 1, 'x': 1}), "'x'"),
    (changed(*ROW, 'stats', 'brier', to={'value': 1}), 'brier'),
    (changed('tables', 'methods', 'metrics', 0, 'better', to='most'), 'better'),
    (changed('tables', 'methods', 'metrics', 0, 'compute', to='f'), 'compute'),
    (changed('run', 'wall_seconds', to={'train': 'long'}), 'wall_seconds'),
  ],
)
def test_what_is_no_report_is_one_clear_error(text, field, tmp_path):
  (tmp_path / 'report.json').write_text(text)
  with pytest.raises(ValueError, match=field) as error:
    model.load(tmp_path)
  assert str(tmp_path) in str(error.value) and '\n' not in str(error.value)


def test_a_report_that_is_absent_is_one_clear_error(tmp_path):
  with pytest.raises(ValueError, match='no report at'):
    model.load(tmp_path)


@pytest.mark.parametrize(
  ('plot', 'data'),
  [
    ('lines', {'panels': [{}]}),
    ('lines', {}),
    ('drawing', {}),
    ('__import__', {'name': 'os'}),
    ('intervals', {'table': 'none', 'metrics': []}),
  ],
)
def test_a_figure_that_cannot_be_drawn_is_named(plot, data):
  report = make(figures={'odd': model.Figure(plot, data)})
  with pytest.raises(ValueError, match="'odd'"):
    html.page(report)


@pytest.mark.parametrize('link', ['javascript:alert(1)', '//evil.example', '\\\\evil'])
def test_a_link_leads_nowhere_else(link):
  report = make()
  report.tables['methods'].rows['noise'].link = link
  assert '<a href' not in html.page(report)


def test_a_table_fits_the_terminal_and_controls_nothing():
  names = [f'metric{i}' for i in range(12)]
  metrics = tuple(metric_lib.Metric(name, name) for name in names)
  row = model.Row(100, {name: stat(0.123456) for name in names})
  long = 'a method with a name that is far too long to be shown [raw] \x1b[31m'
  report = make(
    headline='\x1b]0;title\x07', tables={'t': model.Table('T', metrics, {long: row, 'b': row})}
  )
  out = console.Console(width=100, color_system=None)
  with out.capture() as capture:
    for table in terminal.tables(report):
      out.print(table)
  shown = capture.get()
  assert max(map(len, shown.splitlines())) <= 100
  assert 'columns are in the page' in shown and '0.123' in shown and '...' not in shown
  assert 'metric5' in shown and 'metric6' not in shown
  assert '\x1b' not in shown + ''.join(terminal.lines(report))


def test_intervals_are_shown_where_there_is_room():
  out = console.Console(width=100, color_system=None)
  with out.capture() as capture:
    out.print(next(terminal.tables(make())))
  assert '90.0 ±1.0' in capture.get()


def test_runs_of_several_kinds_have_no_common_table():
  with pytest.raises(ValueError, match='editing and generation'):
    sweep.side_by_side('x', {'a': make(), 'b': make(experiment='editing')})
  report = make()
  del report.tables['methods'].rows['flow <b>']
  with pytest.raises(ValueError, match="'x'"):
    sweep.side_by_side('x', {'a': report})


def test_a_sweep_shows_paired_differences_and_is_rendered_again(tmp_path):
  from wsjax.cli import main

  def run(values):
    entry = stat(sum(values) / len(values)) | {'per_seed': values}
    rows = {'m': model.Row(8, {'accuracy': entry, 'nll': stat(0.1)}, seeds=[0, 1, 2])}
    return make(tables={'methods': model.Table('Methods', METRICS, rows)}, figures={})

  made = sweep.side_by_side('x', {'a': run([0.5, 0.6, 0.7]), 'b': run([0.6, 0.7, 0.81])})
  table = made.tables['differences']
  found = table.rows['b'].stats['accuracy']
  assert list(table.rows) == ['b'] and table.metrics[0].text(found['value']).startswith('+')
  # The runs differ by 0.1 for every seed, although seeds differ by as much.
  assert 0.08 < found['low'] < found['value'] < found['high'] < 0.13
  assert 'low' not in table.rows['b'].stats['nll'] or table.rows['b'].stats['nll']['low'] is None
  page = made.write(tmp_path, html.page, stem='sweep')
  text = page.read_text()
  page.unlink()
  assert main.main(['report', '--workdir', str(tmp_path)]) == 0
  assert page.read_text() == text and 'Differences from a' in text
