"""Run every arm of an ablation in turn, then compare them.

  wsjax sweep --config configs/ablations/canonicalize.py --workdir runs/c

The file defines `sweep()`, which yields (run name, 'configs/file.py:arg',
overrides). Finished runs are skipped, so it goes on where it stopped.
"""

import argparse
import pathlib
import shlex
from collections.abc import Iterator, Sequence

from wsjax.cli import configs, terminal

Run = tuple[str, str, list[str]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  configs.add_arguments(parser)
  parser.add_argument(
    '--arm',
    action='append',
    metavar='NAME',
    help='only this run, or all runs NAME/...; may be repeated',
  )
  parser.add_argument(
    '--dry-run',
    action='store_true',
    help='check every config and print one command per run',
  )


def run(args: argparse.Namespace) -> int:
  """Runs the arms one after the other and writes the comparison."""
  runs = list(select(plan(args.config, args.overrides), args.arm))
  # All of them first: an error in the last arm should not wait for the others.
  loaded = {name: configs.load(file, flags) for name, file, flags in runs}
  folder = pathlib.Path(args.workdir)
  if args.dry_run:
    for name, file, flags in runs:
      words = ['wsjax', 'run', '--config', file]
      words += ['--workdir', str(folder / name), *flags]
      terminal.show_line(shlex.join(words))
    return 0

  from wsjax import experiment
  from wsjax.evaluate import report
  from wsjax.evaluate import reports as reports_lib

  reports = {}
  for name, (config, overrides) in loaded.items():
    terminal.show_line(f'{name}: {folder / name}')
    # A finished run is only read; a folder of another config is refused.
    reports[name] = experiment.run(config, folder / name, overrides=overrides)
  comparison = reports_lib.comparison_of(reports)
  gathered = comparison.gather(pathlib.Path(args.config).stem, reports)
  path = report.publish(folder, 'sweep', gathered, comparison.page)
  terminal.console().print(comparison.table(gathered))
  terminal.show_line(path)
  return 0


def plan(path: str, overrides: Sequence[str]) -> list[Run]:
  """Reads a sweep file.

  Args:
    path: of the file.
    overrides: of the command line; they are applied to every run, last.

  Returns:
    (run name, config argument, overrides as '--config.a.b=value').

  Raises:
    ValueError: if the file is not a sweep or names a run twice or outside its
      folder.
  """
  runs: list[Run] = []
  for entry in configs.load_module(path, 'sweep')():
    try:
      name, file, values = entry
      flags = [f'--config.{key}={value}' for key, value in values.items()]
    except (TypeError, ValueError, AttributeError):
      raise ValueError(
        f'sweep() of {path} yielded {entry!r}, not (run name, config, '
        'overrides).'
      ) from None
    parts = pathlib.PurePosixPath(name).parts
    if not parts or '..' in parts or parts[0] == '/':
      raise ValueError(f'Run name {name!r} of {path} is not a folder name.')
    if name in (known for known, _, _ in runs):
      raise ValueError(f'sweep() of {path} yielded the run {name!r} twice.')
    runs.append((name, file, [*flags, *overrides]))
  if not runs:
    raise ValueError(f'sweep() of {path} yielded no run.')
  return runs


def select(runs: Sequence[Run], arms: Sequence[str] | None) -> Iterator[Run]:
  """The runs that --arm names; all of them where it is not given."""
  for arm in arms or ():
    if not any(_is_of(name, arm) for name, _, _ in runs):
      raise ValueError(
        f'--arm {arm} is no run of this sweep; it has '
        f'{", ".join(name for name, _, _ in runs)}.'
      )
  for entry in runs:
    if not arms or any(_is_of(entry[0], arm) for arm in arms):
      yield entry


def _is_of(name: str, arm: str) -> bool:
  return name == arm or name.startswith(f'{arm}/')
