"""Run every method of an ablation, then compare them.

  wsjax sweep --config configs/ablations/canonicalize.py --workdir runs/c

The file defines `sweep()`, which yields (run name, 'configs/file.py:arg', overrides). Finished runs
are skipped, so it goes on where it stopped. `wsjax configs` lists sweeps as wsjax/ablations/NAME.

--via starts each method through a launcher, such as
  --via 'python launch/local.py --processes 2 --devices 2 --'
  --via 'launch/slurm/submit.sh --'
Exit status 75 says that methods are still to come; the same command gathers them.
"""

import argparse
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wsjax import files, signals, terminal
from wsjax.cli import main
from wsjax.cli import run as run_command
from wsjax.experiments import configs

if TYPE_CHECKING:
  from ml_collections import config_dict

# Name, config argument, and overrides as '--config.a.b=value'.
Run = tuple[str, str, list[str]]
_PENDING = 75  # Exit status, also of a run that was stopped: the same command goes on.


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  run_command.add_config_arguments(parser)
  parser.add_argument(
    '--method',
    action='append',
    metavar='NAME',
    help='only this run, or all runs NAME/...; may be repeated',
  )
  parser.add_argument(
    '--dry-run', action='store_true', help='check every config and print one command per run'
  )
  parser.add_argument(
    '--via',
    default='',
    metavar='COMMAND',
    help='launcher that starts a method; its words stand before wsjax run',
  )
  parser.add_argument(
    '--jobs',
    type=int,
    default=1,
    metavar='N',
    help='methods at once; with more than 1, each is a process',
  )


def run(args: argparse.Namespace) -> int:
  """Runs the methods and writes the comparison of those that are finished."""
  if args.jobs < 1:
    raise ValueError(f'--jobs is {args.jobs}; at least 1 is allowed.')
  launcher = shlex.split(args.via)
  path, arg = configs.split(args.config)
  if arg:
    raise ValueError(f'--config is {args.config}; a sweep takes no argument, but got {arg!r}.')
  runs = select(plan(path, args.overrides), args.method)
  # All of them first: an error in the last method should not wait for the others.
  loaded = {name: configs.load(file, flags) for name, file, flags in runs}
  folder = files.folder(args.workdir, '--workdir')
  moved = _with_own_zoos(runs, loaded, folder, args.overrides)
  if moved != runs:
    runs, loaded = moved, {name: configs.load(file, flags) for name, file, flags in moved}
  commands = {}
  for name, file, flags in runs:
    words = ['wsjax', 'run', '--config', file, '--workdir', str(folder / name), *flags]
    commands[name] = [*launcher, *words]
  if args.dry_run:
    for words in commands.values():
      terminal.show_line(shlex.join(words))
    return 0
  if not launcher and args.jobs == 1:
    _gather(path, folder, loaded)
    return 0

  if launcher and shutil.which(launcher[0]) is None:
    raise ValueError(f'--via: there is no program {launcher[0]}.')
  if not launcher:  # This wsjax, wherever it is.
    module = [sys.executable, '-P', '-m', 'wsjax']  # -P: nothing of the current folder.
    commands = {name: module + words[1:] for name, words in commands.items()}
  statuses = _run_processes(
    {name: words for name, words in commands.items() if not _done(folder, name)}, folder, args.jobs
  )
  finished = {name: loaded[name] for name in loaded if _done(folder, name)}
  if finished:
    _gather(path, folder, finished)
  return _conclude(statuses, finished)


def _with_own_zoos(
  runs: Sequence[Run],
  loaded: Mapping[str, tuple['config_dict.ConfigDict', dict[str, Any]]],
  folder: pathlib.Path,
  overrides: Sequence[str],
) -> list[Run]:
  """Moves zoos that the command line changes out of the folder that other sweeps share.

  A zoo of fewer networks, say, would otherwise take the place of the whole one.
  """
  changed = {word.split('=')[0].removeprefix('--config.') for word in overrides}
  if 'zoo.path' in changed or not any(name.startswith('zoo.') for name in changed):
    return list(runs)
  made = []
  for name, file, flags in runs:
    zoo = loaded[name][0].get('zoo') or {}
    if zoo.get('path') and 'architecture' in zoo:
      own = folder / 'zoos' / pathlib.PurePath(zoo['path']).name
      flags = [*flags, f'--config.zoo.path={own}']
    made.append((name, file, flags))
  return made


def _gather(
  path: str,
  folder: pathlib.Path,
  loaded: Mapping[str, tuple['config_dict.ConfigDict', dict[str, Any]]],
) -> None:
  """Runs the methods here, one after the other, and compares them."""
  from wsjax import pipeline
  from wsjax.evaluation.report import html
  from wsjax.evaluation.report import sweep as side_by_side
  from wsjax.evaluation.report import terminal as report_terminal

  reports = {}
  for name, (config, overrides) in loaded.items():
    terminal.show_line(f'{name}: {folder / name}')
    # A finished run is only read; a directory of another config is refused.
    reports[name] = pipeline.run(config, folder / name, overrides=overrides)
  made = side_by_side.side_by_side(pathlib.Path(path).stem, reports)
  page = made.write(folder, html.page, stem='sweep')
  report_terminal.show(made)
  terminal.show_line(page)


def _done(folder: pathlib.Path, name: str) -> bool:
  return (folder / name / 'report.json').exists()


def _run_processes(
  commands: Mapping[str, Sequence[str]], folder: pathlib.Path, jobs: int
) -> dict[str, int]:
  """Runs a command per method, some at once; gives the exit status of each.

  SIGTERM and Ctrl-C are passed on to the methods that run, and waited for.
  """
  waiting, running, statuses = list(commands), {}, {}
  passed_on = False
  with signals.polled() as guard:
    try:
      while running or (waiting and not guard.received):
        if guard.received and not passed_on:
          passed_on = True
          for process in running.values():
            process.send_signal(guard.received)
        while waiting and len(running) < jobs and not guard.received:
          name = waiting.pop(0)
          running[name] = _start(name, commands[name], folder)
        time.sleep(0.1)
        for name in [name for name, process in running.items() if process.poll() is not None]:
          code = running.pop(name).returncode
          statuses[name] = code if code >= 0 else 128 - code  # As a shell says it.
          count = f'{len(statuses)} of {len(commands)}'
          terminal.show_line(f'{name}: ended with {statuses[name]} ({count})')
    finally:  # A second Ctrl-C does not wait, nor does an error here.
      for process in running.values():
        process.kill()
    if guard.received:
      raise KeyboardInterrupt if guard.received == signal.SIGINT else signals.Terminated
  return statuses


def _start(name: str, words: Sequence[str], folder: pathlib.Path) -> subprocess.Popen:
  """Starts the process of a method."""
  log = folder / f'{name}.log'  # Beside its folder, which is its own.
  log.parent.mkdir(parents=True, exist_ok=True)
  terminal.show_line(f'{name}: started; its output is in {log}')
  here = pathlib.Path(sys.executable).parent
  path = f'{os.environ.get("PATH", os.defpath)}{os.pathsep}{here}'
  with files.update(log) as output:
    return subprocess.Popen(
      signals.tethered(words),
      env={**os.environ, 'PATH': path},
      stdin=subprocess.DEVNULL,
      stdout=output,
      stderr=subprocess.STDOUT,
      # Ctrl-C of a terminal comes to us alone, and we pass it on once.
      start_new_session=True,
    )


def _conclude(statuses: Mapping[str, int], finished: Mapping[str, Any]) -> int:
  """Names the methods that are not finished, and gives the exit status."""
  # A method that saved and stopped goes on, like one that is queued elsewhere.
  going = (0, _PENDING)
  failed = {name: code for name, code in statuses.items() if code not in going}
  pending = [name for name in statuses if name not in {*failed, *finished}]
  if pending:
    terminal.show_line(f'pending: {", ".join(pending)}; the same command gathers them')
  if failed:
    # By name: which of several jobs ends first is chance.
    codes = [f'{name} (exit status {failed[name]})' for name in sorted(failed)]
    terminal.show_line(f'failed: {", ".join(codes)}')
    return main.USER_ERROR if main.USER_ERROR in failed.values() else main.FAILED
  return _PENDING if pending else 0


def plan(path: str, overrides: Sequence[str]) -> list[Run]:
  """Reads a sweep file; the overrides of the command line are applied to every run, last.

  Raises:
    ValueError: if the file is not a sweep or names a run twice or outside its folder.
  """
  runs: list[Run] = []
  for entry in configs.load_module(path, 'sweep')():
    try:
      name, file, values = entry
      flags = [f'--config.{key}={value}' for key, value in values.items()]
    except (TypeError, ValueError, AttributeError):
      raise ValueError(
        f'sweep() of {path} yielded {entry!r}, not (run name, config, overrides).'
      ) from None
    parts = pathlib.PurePosixPath(name).parts
    if not parts or '..' in parts or parts[0] == '/':
      raise ValueError(f'Run name {name!r} of {path} is not a folder name.')
    if name in (known for known, _, _ in runs):
      raise ValueError(f'sweep() of {path} yielded the run {name!r} twice.')
    runs.append((name, _beside(path, file), [*flags, *overrides]))
  if not runs:
    raise ValueError(f'sweep() of {path} yielded no run.')
  return runs


def _beside(sweep: str, config: str) -> str:
  """A config of a sweep, which is run in any folder.

  A relative path is of the nearest folder above the sweep file that has such a file or, if none
  has, of the current folder.
  """
  path, arg = configs.split(config)
  for folder in pathlib.Path(sweep).resolve().parents:
    if pathlib.Path(folder, path).is_file():
      found = str(pathlib.Path(folder, path))
      return f'{found}:{arg}' if arg else found
  return config


def select(runs: Sequence[Run], methods: Sequence[str] | None) -> list[Run]:
  """The runs that --method names; all of them where it is not given."""
  chosen = {
    method: [name for name, _, _ in runs if name == method or name.startswith(f'{method}/')]
    for method in methods or ()
  }
  for method, names in chosen.items():
    if not names:
      raise ValueError(
        f'--method {method} is no run of this sweep; it has '
        f'{", ".join(name for name, _, _ in runs)}.'
      )
  wanted = {name for names in chosen.values() for name in names}
  return [entry for entry in runs if not methods or entry[0] in wanted]
