import json
import sys
import types

import pytest

from tests.reference import fake_report
from wsjax.cli import main, sweep
from wsjax.evaluate import comparison, report, reports

CONFIG = """
from ml_collections import config_dict

def get_config(arg=''):
  c = config_dict.ConfigDict()
  c.seed = 0
  c.train = dict(steps=10)
  return c
"""


@pytest.fixture
def file(tmp_path):
  config = tmp_path / 'config.py'
  config.write_text(CONFIG)
  path = tmp_path / 'seeds.py'
  path.write_text(
    'def sweep():\n'
    '  for seed in range(2):\n'
    f'    yield f"base/seed{{seed}}", {str(config)!r}, {{"seed": seed}}\n'
    f'  yield "long", {str(config)!r}, {{"train.steps": 99}}\n'
  )
  return str(path)


@pytest.fixture
def experiment(monkeypatch):
  """Stands for an experiment; remembers the folders that it was run in."""
  ran = []

  def run(config, workdir, *, overrides):
    if (workdir / 'report.json').exists():  # As the real one does.
      return report.load(workdir)
    ran.append(workdir.name)
    made = fake_report.make(fake_report.ARMS[:4])
    made['overrides'] = overrides
    reports.write(made, workdir)
    return report.load(workdir)

  fake = types.SimpleNamespace(run=run)
  monkeypatch.setitem(sys.modules, 'wsjax.experiment', fake)
  monkeypatch.setattr('wsjax.experiment', fake, raising=False)
  return ran


def words(file, tmp_path, *more):
  return ['sweep', '--config', file, '--workdir', str(tmp_path / 'out'), *more]


def test_dry_run_prints_one_command_per_run(file, tmp_path, capsys, experiment):
  assert main.main(words(file, tmp_path, '--dry-run')) == 0
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 3 and not experiment
  assert all(line.startswith('wsjax run --config ') for line in lines)
  assert lines[2].endswith('out/long --config.train.steps=99')
  assert not (tmp_path / 'out').exists()


def test_dry_run_refuses_an_override_that_no_config_has(file, tmp_path, capsys):
  more = ('--dry-run', '--config.train.step=1')
  assert main.main(words(file, tmp_path, *more)) == 2
  assert "Did you mean 'steps'" in capsys.readouterr().err


def test_runs_are_compared_and_finished_ones_skipped(
  file, tmp_path, capsys, experiment
):
  assert main.main(words(file, tmp_path, '--arm', 'base')) == 0
  assert experiment == ['seed0', 'seed1']
  assert main.main(words(file, tmp_path)) == 0
  assert experiment == ['seed0', 'seed1', 'long']
  out = capsys.readouterr().out
  assert 'base/seed1: diffusion' in out
  assert out.rstrip().endswith('sweep.html')
  gathered = json.loads((tmp_path / 'out' / 'sweep.json').read_text())
  assert len(gathered['runs']) == 6  # Three runs of two generator arms.
  page = (tmp_path / 'out' / 'sweep.html').read_text()
  assert 'http' not in page
  assert 'href="long/report.html"' in page
  assert '<code>train.steps=99</code>' in page


def test_unknown_arm_is_an_error(file, tmp_path, capsys):
  assert main.main(words(file, tmp_path, '--arm', 'bass')) == 2
  assert 'base/seed0, base/seed1, long' in capsys.readouterr().err


@pytest.mark.parametrize(
  'text, message',
  [
    ('x = 1', r'does not define sweep\(\)'),
    ('def sweep():\n  yield "a", "b"', r"yielded \('a', 'b'\), not"),
    ('def sweep():\n  yield "../a", "b", {}', 'is not a folder name'),
    ('def sweep():\n  yield "a", "b", {}\n  yield "a", "b", {}', 'twice'),
    ('def sweep():\n  return []', 'yielded no run'),
  ],
)
def test_a_file_that_is_no_sweep_is_an_error(text, message, tmp_path):
  path = tmp_path / 'sweep.py'
  path.write_text(text)
  with pytest.raises(ValueError, match=message):
    sweep.plan(str(path), [])


def test_reports_without_generator_cannot_be_compared():
  made = fake_report.make(fake_report.ARMS[2:4])
  with pytest.raises(ValueError, match='has a generator to compare'):
    comparison.gather('x', {'a': made})
