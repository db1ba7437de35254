"""Every config runs to its report, every number of which is the one that was recorded.

`python -m tests.golden_test NAME ...` records the reports of configs again, after a change that is
meant to change numbers.
"""

import json
import math
import pathlib
import shutil
import sys

import jaxlib
import pytest

from tests import marks
from wsjax import pipeline
from wsjax.cli import main
from wsjax.experiments import configs

ROOT = pathlib.Path(__file__).parents[1]
GOLDEN = ROOT / 'tests/golden'
NAMES = sorted(path.stem for path in GOLDEN.glob('*.json'))
# One generator is run by default. Contracts of the others, and the parts of the other experiments,
# have tests of their own.
HEAVY = (
  'architect', 'cnn_property', 'demo', 'deploy', 'digits_diffusion', 'digits_equivariant',
  'digits_normalizing_flow', 'foreign_agents', 'fusion', 'geometry', 'hypernetwork',
  'inr_classification', 'inr_editing', 'inr_generation', 'memorization', 'mnist_dwf',
  'personalize', 'prompting', 'simple', 'unseen_tasks',
)  # fmt: skip
# What a report says of the run and not of its result: times, sizes of files, names of folders.
_OF_THE_RUN = {
  'config', 'config_text', 'versions', 'device', 'goodput', 'notes', 'wall_seconds', 'created_at',
  'overrides', 'processes', 'schema_version', 'name', 'seconds', 'train_seconds', 'path', 'digest',
  'zoo_digest', 'seconds_per_net', 'break_even', 'break_even_with_zoo', 'cost', 'Cost',
  'milliseconds', 'microseconds', 'peak_megabytes',
}  # fmt: skip
# A row whose number of steps is measured as time.
_TIMED = 'SGD for as long'


def numbers(report):
  """{'rows': row -> metric -> [value, low, high, n], 'rest': path -> other numbers}."""
  rows, rest = {}, {}
  if 'tables' in report:
    for table in report['tables'].values():
      for name, row in table['rows'].items():
        if name.startswith(_TIMED):
          continue
        rows[name] = rows.get(name, {}) | _metrics(row.pop('stats'))
        _flatten(row, f'rows/{name}', rest)
    _flatten(report['figures'], 'figures', rest)
    _flatten(report['facts'], 'facts', rest)
    return {'rows': rows, 'rest': rest}
  for row in [*report.get('arms', ()), *report.get('rows', ())]:
    if row['name'].startswith(_TIMED):
      continue
    rows[row['name']] = _metrics(row['metrics'])
    kept = {key: value for key, value in row.items() if key not in ('metrics', 'name')}
    _flatten(kept, f'rows/{row["name"]}', rest)
  if 'property' in report:
    rows['model'] = _metrics(report['metrics'])
  others = {k: v for k, v in report.items() if k not in ('arms', 'rows', 'metrics')}
  _flatten(others, '', rest)
  return {'rows': rows, 'rest': rest}


def _metrics(metrics):
  return {
    name: [_short(stat.get(key)) for key in ('value', 'low', 'high', 'n', 'p')[: 4 + ('p' in stat)]]
    for name, stat in metrics.items()
    if name not in _OF_THE_RUN
  }


def _short(number):
  return None if number is None else float(f'{number:.9g}')


def _flatten(value, path, out):
  """Adds the numbers in a JSON value to `out`; a long list is one entry with its moments."""
  if isinstance(value, dict):
    for key, child in value.items():
      if key not in _OF_THE_RUN:
        _flatten(child, f'{path}/{key}'.lstrip('/'), out)
  elif isinstance(value, list):
    items = list(_leaves(value))
    if items and all(isinstance(item, int | float | None) for item in items):
      out[path] = [_short(item) for item in items] if len(items) <= 4 else _moments(items)
    else:
      for index, child in enumerate(value):
        name = child['name'] if isinstance(child, dict) and 'name' in child else index
        _flatten(child, f'{path}/{name}', out)
  elif isinstance(value, int | float) and not isinstance(value, bool):
    out[path] = _short(value)


def _leaves(value):
  if isinstance(value, list):
    for child in value:
      yield from _leaves(child)
  else:
    yield value


def _moments(items):
  known = [(i + 1, item) for i, item in enumerate(items) if item is not None]
  return {
    'n': len(items),
    'none': len(items) - len(known),
    'sum': _short(math.fsum(x for _, x in known)),
    'weighted': _short(math.fsum(i * x for i, x in known)),
    'squares': _short(math.fsum(x * x for _, x in known)),
  }


def _platform():
  """Processor and compiler, which numbers depend on."""
  parts = [f'jaxlib {jaxlib.__version__}']
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().split('\n\n')[0].splitlines()
  except OSError:
    lines = []
  for line in lines:
    name, _, value = line.partition(':')
    if name.strip() in ('vendor_id', 'cpu family', 'model', 'stepping'):
      parts.append(value.strip())
  return ' '.join(parts)


def _differences(recorded, found, path=''):
  if isinstance(recorded, dict) and isinstance(found, dict):
    for key in recorded.keys() | found.keys():
      if key not in recorded or key not in found:
        yield f'{path}/{key}: {"new" if key not in recorded else "gone"}'
      else:
        yield from _differences(recorded[key], found[key], f'{path}/{key}')
  elif isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
    for i, (a, b) in enumerate(zip(recorded, found, strict=True)):
      yield from _differences(a, b, f'{path}[{i}]')
  elif recorded != found and not (
    isinstance(recorded, int | float)
    and isinstance(found, int | float)
    and math.isclose(recorded, found, rel_tol=1e-6, abs_tol=1e-6)
  ):
    yield f'{path}: {recorded} is now {found}'


def _run(name, workdir):
  config, overrides = configs.load(f'{ROOT}/configs/{name}.py:smoke')
  pipeline.run(config, workdir, overrides=overrides, progress=False)
  return numbers(json.loads((workdir / 'report.json').read_text()))


@pytest.mark.parametrize('name', marks.slow(NAMES, *HEAVY))
def test_a_smoke_config_runs_to_the_recorded_report(name, smoke_run):
  _, workdir, _ = smoke_run(name)
  page = (workdir / 'report.html').read_bytes()
  assert b'http' not in page and b'src=' not in page
  recorded = json.loads((GOLDEN / f'{name}.json').read_text())
  found = numbers(json.loads((workdir / 'report.json').read_text()))
  assert {row: sorted(metrics) for row, metrics in recorded['rows'].items()} == {
    row: sorted(metrics) for row, metrics in found['rows'].items()
  }
  if recorded.pop('platform') != _platform():
    pytest.skip('recorded with another processor or jaxlib: only names were compared')
  assert not list(_differences(recorded, found))


# One config of each experiment; the others differ in numbers.
@pytest.mark.parametrize('name', marks.slow(NAMES, *HEAVY))
def test_a_page_is_rendered_again_from_the_report(name, smoke_run, tmp_path, capsys):
  _, workdir, config = smoke_run(name)
  page = (workdir / 'report.html').read_bytes()
  # A finished run is only read; a page that is missing is rendered again.
  for file in workdir.glob('*.*'):
    shutil.copy2(file, tmp_path)
  (tmp_path / 'report.html').unlink()
  pipeline.run(config, tmp_path, progress=False)
  assert not [file for file in tmp_path.iterdir() if file.is_dir()]
  assert (tmp_path / 'report.html').read_bytes() == page
  assert main.main(['report', '--workdir', str(tmp_path)]) == 0
  assert (tmp_path / 'report.html').read_bytes() == page
  assert capsys.readouterr().out.rstrip().endswith('report.html')


def _record(names):
  import tempfile

  for name in names:
    with tempfile.TemporaryDirectory() as workdir:
      found = _run(name, pathlib.Path(workdir))
    blocks = [f' "platform": {json.dumps(_platform())}']
    for part, entries in found.items():
      lines = [f'  {json.dumps(key)}: {json.dumps(entries[key])}' for key in sorted(entries)]
      blocks.append(f' "{part}": {{\n' + ',\n'.join(lines) + '\n }')
    (GOLDEN / f'{name}.json').write_text('{\n' + ',\n'.join(blocks) + '\n}\n')


if __name__ == '__main__':
  from tests import conftest  # noqa: F401  The compiler flags of tests.

  _record(sys.argv[1:] or NAMES)
