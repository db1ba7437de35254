import json
import os
import signal
import subprocess
import sys
import time
import types

import pytest

from tests.reference import fake_report
from wsjax.cli import main, sweep
from wsjax.evaluation.report import html, model

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
      return model.load(workdir)
    ran.append(workdir.name)
    made = fake_report.make(fake_report.METHODS[:4])
    made.run.overrides = {key: str(value) for key, value in overrides.items()}
    made.write(workdir, html.page)
    return model.load(workdir)

  fake = types.SimpleNamespace(run=run)
  monkeypatch.setitem(sys.modules, 'wsjax.pipeline', fake)
  monkeypatch.setattr('wsjax.pipeline', fake, raising=False)
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


def test_a_zoo_that_the_command_line_changes_is_not_the_shared_one(tmp_path, capsys):
  config = tmp_path / 'config.py'
  zoo = "dict(path='runs/zoos/shared', architecture=dict(name='mlp'), splits=dict(train=9))"
  config.write_text(CONFIG.replace('  return c', f'  c.zoo = {zoo}\n  return c'))
  file = tmp_path / 'sweep.py'
  file.write_text(f'def sweep():\n  yield "a", {str(config)!r}, {{}}\n')
  own = f'--config.zoo.path={tmp_path / "out/zoos/shared"}'
  for more, moved in (
    ((), False),
    (('--config.train.steps=2',), False),
    (('--config.zoo.splits.train=2',), True),
    (('--config.zoo.splits.train=2', '--config.zoo.path=elsewhere'), False),
  ):
    assert main.main(words(str(file), tmp_path, '--dry-run', *more)) == 0
    assert (own in capsys.readouterr().out) == moved


def test_dry_run_refuses_an_override_that_no_config_has(file, tmp_path, capsys):
  more = ('--dry-run', '--config.train.step=1')
  assert main.main(words(file, tmp_path, *more)) == 2
  assert "Did you mean 'steps'" in capsys.readouterr().err


def test_runs_are_compared_and_finished_ones_skipped(file, tmp_path, capsys, experiment):
  assert main.main(words(file, tmp_path, '--method', 'base')) == 0
  assert experiment == ['seed0', 'seed1']
  assert main.main(words(file, tmp_path)) == 0
  assert experiment == ['seed0', 'seed1', 'long']
  out = capsys.readouterr().out
  assert 'base/seed1: diffusion' in out
  assert out.rstrip().endswith('sweep.html')
  gathered = json.loads((tmp_path / 'out' / 'sweep.json').read_text())
  assert len(gathered['tables']['runs']['rows']) == 6  # Three runs of two models.
  page = (tmp_path / 'out' / 'sweep.html').read_text()
  assert 'http' not in page
  assert 'href="long/report.html"' in page
  assert 'train.steps=99' in page


# Stands for a launcher: does to a method what the file `acts` says.
LAUNCHER = """
import json, os, pathlib, shutil, signal, sys
folder = pathlib.Path(__file__).parent
words = sys.argv[sys.argv.index('--') + 1:]
assert words[:2] == ['wsjax', 'run']
workdir = pathlib.Path(words[words.index('--workdir') + 1])
with (folder / 'log').open('a') as log:
  log.write(f'start {workdir.name}\\n')
act = json.loads((folder / 'acts').read_text()).get(workdir.name, 'finish')
print('this is', workdir.name, flush=True)
if act == 'meet':  # Opens only when somebody opens the other end.
  mode = 'w' if workdir.name == 'seed0' else 'r'
  (folder / 'meeting').open(mode).close()
  act = 'finish'
if act == 'wait':
  def stop(number, frame):
    (folder / 'stopped').write_text(str(number))
    sys.exit(75)
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, stop)
  (folder / 'meeting').open('w').close()
  signal.pause()
if act == 'finish':
  workdir.mkdir(parents=True)
  shutil.copy(folder / 'report.json', workdir)
  act = 0
with (folder / 'log').open('a') as log:
  log.write(f'end {workdir.name}\\n')
sys.exit(0 if act == 'queue' else act)
"""


@pytest.fixture
def launcher(tmp_path):
  """A function: methods -> acts gives the options that use the launcher."""
  folder = tmp_path / 'launcher'
  folder.mkdir()
  fake_report.make(fake_report.METHODS[:4]).write(folder, html.page)
  (folder / 'launch.py').write_text(LAUNCHER)
  os.mkfifo(folder / 'meeting')

  def acting(**acts):
    (folder / 'acts').write_text(json.dumps(acts))
    return '--via', f'{sys.executable} {folder / "launch.py"} --fast --'

  acting.folder = folder
  acting.log = lambda: (folder / 'log').read_text().splitlines()
  return acting


def test_a_launcher_stands_before_every_command(file, tmp_path, capsys, launcher):
  assert main.main(words(file, tmp_path, *launcher(), '--dry-run')) == 0
  lines = capsys.readouterr().out.splitlines()
  prefix = f'{sys.executable} {launcher.folder / "launch.py"} --fast -- '
  assert all(line.startswith(f'{prefix}wsjax run --') for line in lines)
  assert len(lines) == 3 and not (launcher.folder / 'log').exists()


def test_arms_of_a_launcher_are_compared(file, tmp_path, capsys, experiment, launcher):
  assert main.main(words(file, tmp_path, *launcher())) == 0
  assert not experiment  # None ran here.
  # One after the other, as --jobs is 1.
  names = ('seed0', 'seed1', 'long')
  assert launcher.log() == [f'{verb} {name}' for name in names for verb in ('start', 'end')]
  gathered = json.loads((tmp_path / 'out' / 'sweep.json').read_text())
  assert len(gathered['tables']['runs']['rows']) == 6
  assert (tmp_path / 'out/base/seed0.log').read_text() == 'this is seed0\n'
  out = capsys.readouterr().out
  assert 'long: ended with 0 (3 of 3)' in out
  assert out.rstrip().endswith('sweep.html')


@pytest.mark.slow
def test_arms_that_are_queued_elsewhere_are_gathered_later(
  file, tmp_path, capsys, experiment, launcher
):
  via = launcher(seed1='queue', long=75)
  assert main.main(words(file, tmp_path, *via)) == 75
  out = capsys.readouterr().out
  assert 'pending: base/seed1, long; the same command gathers them' in out
  assert 'base/seed0: diffusion' in out  # The finished one is shown.
  assert main.main(words(file, tmp_path, *launcher())) == 0
  assert launcher.log().count('start seed0') == 1
  gathered = json.loads((tmp_path / 'out/sweep.json').read_text())
  assert len(gathered['tables']['runs']['rows']) == 6


@pytest.mark.parametrize('code, status', [pytest.param(134, 1, marks=pytest.mark.slow), (2, 2)])
def test_an_arm_that_fails_does_not_stop_the_others(
  code, status, file, tmp_path, capsys, experiment, launcher
):
  via = launcher(seed0=code, seed1='queue')
  assert main.main(words(file, tmp_path, *via)) == status
  out = capsys.readouterr().out
  assert f'failed: base/seed0 (exit status {code})' in out
  assert 'pending: base/seed1;' in out
  assert (tmp_path / 'out/long/report.json').exists()


@pytest.mark.slow
def test_two_arms_run_at_once_and_no_third(file, tmp_path, experiment, launcher):
  via = launcher(seed0='meet', seed1='meet')  # Alone each would wait forever.
  assert main.main(words(file, tmp_path, *via, '--jobs', '2')) == 0
  at_once, most = 0, 0
  for line in launcher.log():
    at_once += 1 if line.startswith('start') else -1
    most = max(most, at_once)
  assert most == 2


def test_several_jobs_need_no_launcher(file, tmp_path, capsys, experiment, monkeypatch):
  python = tmp_path / 'python'
  python.write_text('#!/bin/sh\necho "$@"\nexit 3\n')
  python.chmod(0o755)
  monkeypatch.setattr(sys, 'executable', str(python))
  assert main.main(words(file, tmp_path, '--jobs=2', '--method=base')) == 1
  codes = 'base/seed0 (exit status 3), base/seed1 (exit status 3)'
  assert f'failed: {codes}' in capsys.readouterr().out
  said = (tmp_path / 'out/base/seed1.log').read_text()
  assert ' -P -m wsjax run --config ' in said
  assert said.endswith('/out/base/seed1 --config.seed=1\n')
  assert not experiment


def test_wrong_launchers_are_errors(file, tmp_path, capsys, experiment):
  assert main.main(words(file, tmp_path, '--via', 'no_such_program --')) == 2
  assert 'there is no program no_such_program' in capsys.readouterr().err
  assert main.main(words(file, tmp_path, '--jobs', '0')) == 2
  assert '--jobs is 0; at least 1' in capsys.readouterr().err


@pytest.mark.parametrize(
  'number, status', [(signal.SIGTERM, 75), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_signal_is_passed_on_to_the_arms(number, status, file, tmp_path, launcher):
  via = launcher(seed0='wait')
  with subprocess.Popen(
    [sys.executable, '-m', 'wsjax', *words(file, tmp_path, *via)],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  ) as process:
    (launcher.folder / 'meeting').open().close()  # The method is ready.
    process.send_signal(number)
    assert 'the same command goes on' in process.stderr.read()
    assert process.wait(20) == status
  assert (launcher.folder / 'stopped').read_text() == str(int(number))
  assert launcher.log() == ['start seed0']  # The others were not begun.


@pytest.mark.slow
def test_no_arm_outlives_a_sweep_that_is_killed(file, tmp_path, launcher):
  via = launcher(seed0='wait')
  command = [sys.executable, '-m', 'wsjax', *words(file, tmp_path, *via)]
  with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
    (launcher.folder / 'meeting').open().close()  # The method is ready.
    process.kill()
  deadline = time.monotonic() + 20
  while not (launcher.folder / 'stopped').exists() and time.monotonic() < deadline:
    time.sleep(0.01)
  assert (launcher.folder / 'stopped').read_text() == str(int(signal.SIGTERM))


@pytest.mark.slow
def test_jobs_run_no_code_of_the_current_folder(file, tmp_path):
  here = tmp_path / 'here'
  here.mkdir()
  for name in ('rich', 'json', 'wsjax'):
    (here / f'{name}.py').write_text('raise SystemExit(77)')
  command = [
    sys.executable,
    '-P',
    '-m',
    'wsjax',
    *words(file, tmp_path, '--jobs=2', '--method=long'),
  ]
  subprocess.run(command, cwd=here, capture_output=True, check=False)
  assert '77' not in (tmp_path / 'out/long.log').read_text()


def test_a_signal_finds_the_arm_that_is_just_being_started(file, tmp_path, launcher, monkeypatch):
  start = subprocess.Popen

  def popen(*args, **kwargs):
    process = start(*args, **kwargs)
    (launcher.folder / 'meeting').open().close()  # The method is ready.
    signal.raise_signal(signal.SIGINT)  # Who started it knows nothing of it.
    return process

  monkeypatch.setattr(subprocess, 'Popen', popen)
  assert main.main(words(file, tmp_path, *launcher(seed0='wait'))) == 130
  stopped = (launcher.folder / 'stopped').read_text()
  assert stopped == str(int(signal.SIGINT))


def test_unknown_arm_is_an_error(file, tmp_path, capsys):
  assert main.main(words(file, tmp_path, '--method', 'bass')) == 2
  assert 'base/seed0, base/seed1, long' in capsys.readouterr().err


@pytest.mark.parametrize(
  'text, message',
  [
    ('x = 1', r'does not define sweep\(\)'),
    ('def sweep():\n  yield "a", "b"', r"yielded \('a', 'b'\), not"),
    ('def sweep():\n  yield "../a", "b", {}', 'is not a folder name'),
    ('def sweep():\n  yield "a", "b.py", {}\n  yield "a", "b.py", {}', 'twice'),
    ('def sweep():\n  return []', 'yielded no run'),
  ],
)
def test_a_file_that_is_no_sweep_is_an_error(text, message, tmp_path):
  path = tmp_path / 'sweep.py'
  path.write_text(text)
  with pytest.raises(ValueError, match=message):
    sweep.plan(str(path), [])


def test_a_sweep_finds_its_configs_from_any_folder(tmp_path, monkeypatch):
  (tmp_path / 'configs/ablations').mkdir(parents=True)
  (tmp_path / 'configs/a.py').write_text(CONFIG)
  file = tmp_path / 'configs/ablations/s.py'
  file.write_text('def sweep():\n  yield "x", "configs/a.py:arg", {}\n  yield "y", "no.py", {}\n')
  monkeypatch.chdir('/')
  found = [config for _, config, _ in sweep.plan(str(file), [])]
  assert found == [f'{tmp_path}/configs/a.py:arg', 'no.py']
