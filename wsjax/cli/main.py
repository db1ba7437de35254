"""wsjax: datasets, encoders and generative models of neural-network weights."""

import argparse
import contextlib
import glob
import importlib
import importlib.metadata
import os
import pathlib
import re
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import wsjax
from wsjax import signals, terminal

COMMANDS = (
  'run', 'zoo', 'sample', 'evaluate', 'sweep', 'report', 'data', 'inspect', 'configs', 'export',
  'align', 'distance', 'merge', 'edit', 'personalize', 'predict-weights', 'deploy', 'audit',
  'detect', 'kin', 'lineage', 'release', 'verify', 'revoke', 'key', 'geometry',
)  # fmt: skip
# Those that every process of a run of several starts with the same words.
DISTRIBUTED = ('run', 'zoo', 'sample')
FAILED, USER_ERROR = 1, 2  # Exit statuses; those of signals are in `signals.Guard.status`.


class Parser(argparse.ArgumentParser):
  """An argument parser that raises instead of printing its usage."""

  def error(self, message: str) -> None:
    """Raises ValueError with what is wrong and where to read more."""
    raise ValueError(f'{message}; see {self.prog} --help.')


def main(argv: Sequence[str] | None = None) -> int:
  """Runs one sub-command.

  Args:
    argv: words after the program name; None takes those of the process.

  Returns:
    Exit status: 0 done, 2 wrong input in one sentence on stderr, 75 stopped by SIGTERM and 130 by
    Ctrl-C, both of which the same command continues.
  """
  words = list(sys.argv[1:] if argv is None else argv)
  debug = '--debug' in words or os.environ.get('WSJAX_DEBUG', '0') not in ('', '0')
  _open_streams()
  with signals.watch() as guard:
    guard.command = shlex.join(['wsjax', *words])
    try:
      return _run_guarded([word for word in words if word != '--debug'], debug, guard)
    except KeyboardInterrupt:  # While an error of another kind was on its way.
      guard.seen = True
      guard.say()
      return guard.status


def _run_guarded(words: Sequence[str], debug: bool, guard: signals.Guard) -> int:
  """Runs one sub-command and turns its errors into an exit status."""
  try:
    return _run(words)
  except BrokenPipeError:  # The reader of our output has seen enough.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
  except BaseException as error:
    guard.received = guard.received or _signal(error)
    if guard.received:  # Whatever the error became on its way here.
      guard.seen = True
      guard.say()
      if not _is_saved(error):  # Where the other processes are not.
        _leave(guard.status)
      return guard.status
    if isinstance(error, ValueError | OSError) and not debug:
      sys.stderr.write(f'wsjax: {terminal.plain(_sentence(error))}\n')
      _leave(USER_ERROR)
      return USER_ERROR
    if not isinstance(error, ValueError | OSError | SystemExit):
      _leave(FAILED, error)
    raise


def _leave(status: int, error: BaseException | None = None) -> None:
  """Ends a process that failed alone, so that the others notice."""
  distributed = sys.modules.get('wsjax.distributed')
  if distributed is not None:
    distributed.leave(status, error)


def _run(words: Sequence[str]) -> int:
  """Parses the command line and calls its sub-command."""
  # Config overrides are not known to argparse: their names are in the config.
  overrides = [word for word in words if word.startswith('--config.')]
  if sys.flags.optimize > 1:
    raise ValueError('PYTHONOPTIMIZE=2 removes the texts of help and reports; unset it or use 1.')
  words = [word for word in words if word not in overrides]
  args, rest = _parser(words[0] if words else '').parse_known_args(words)
  if rest:
    raise ValueError(f'unrecognized arguments: {" ".join(rest)}; see wsjax {args.command} --help.')
  if overrides and not hasattr(args, 'config'):
    raise ValueError(f'wsjax {args.command} takes no config, but was given {overrides[0]}.')
  args.overrides = overrides
  _set_environment()
  terminal.guard_logs()
  if args.command in DISTRIBUTED and getattr(args, 'action', 'build') == 'build':
    from wsjax import distributed

    distributed.initialize()
    distributed.devices()  # An error now, not after the first stage.
  with damaged_programs_replaced():
    return _module(args.command).run(args)


def _parser(command: str = '') -> Parser:
  """The parser of one sub-command; of all, unless it is one of them."""
  parser = Parser(
    prog='wsjax',
    description=__doc__,
    allow_abbrev=False,
    epilog='Wrong input is one sentence and exit status 2; --debug (or '
    'WSJAX_DEBUG=1) shows the traceback instead.',
  )
  parser.add_argument('--version', action='version', version=f'wsjax {wsjax.__version__}')
  subparsers = parser.add_subparsers(
    dest='command', required=True, metavar='command', parser_class=Parser
  )
  for name in [command] if command in COMMANDS else COMMANDS:
    module = _module(name)
    summary = module.__doc__.splitlines()[0]
    subparser = subparsers.add_parser(
      name,
      help=summary,
      description=module.__doc__,
      allow_abbrev=False,
      formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(subparser)
  return parser


def _module(name: str) -> ModuleType:
  return importlib.import_module(f'wsjax.cli.{name.replace("-", "_")}')


def _open_streams() -> None:
  """Makes standard output and error usable: closed ones lead nowhere, others take every letter."""
  for name in ('stdout', 'stderr'):
    stream = getattr(sys, name)
    if stream is None:
      setattr(sys, name, open(os.devnull, 'w'))
    elif 'utf' not in (stream.encoding or '').lower() and hasattr(stream, 'reconfigure'):
      stream.reconfigure(errors='replace')


def _set_environment() -> None:
  """What JAX reads when it starts; what the user has set stands."""
  python = f'{sys.version_info.major}.{sys.version_info.minor}'
  jax = importlib.metadata.version('jax')
  if 'host_platform_device_count' in os.environ.get('XLA_FLAGS', ''):
    # XLA sizes its CPU thread pool by core count; simulated devices need more threads than a small
    # machine has cores, or a collective waits forever.
    # One device is three times slower with so many.
    os.environ.setdefault('NPROC', '16')
  home = os.path.expanduser('~')
  if home != '~':  # There may be none, as in a container of an unknown user.
    cache = pathlib.Path(home, '.cache', 'wsjax', f'jax-{python}-{jax}')
    os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(cache))
  os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.5')


@contextlib.contextmanager
def damaged_programs_replaced() -> Iterator[None]:
  """Removes entries of the compilation cache that JAX cannot read, of which all runs would warn."""
  show = warnings.showwarning

  def remove(message: Warning | str, *args: Any, **kwargs: Any) -> None:
    found = re.match("Error reading persistent compilation cache entry for '([^']+)'", str(message))
    folder = os.environ.get('JAX_COMPILATION_CACHE_DIR')
    if found and folder:  # JAX names the program, not the file; others of that name are made anew.
      for file in pathlib.Path(folder).glob(f'{glob.escape(found[1])}-*'):
        with contextlib.suppress(OSError):
          file.unlink()
    show(message, *args, **kwargs)

  warnings.showwarning = remove
  try:
    yield
  finally:
    warnings.showwarning = show


def _signal(error: BaseException) -> int:
  """Number of the signal that an error means; 0 is none."""
  if isinstance(error, KeyboardInterrupt):
    return signal.SIGTERM if isinstance(error, signals.Terminated) else signal.SIGINT
  return error.signal if _is_saved(error) else 0


def _is_saved(error: BaseException) -> bool:
  """Whether training stopped for a signal, in all processes together."""
  # Not imported for this: where it was never loaded, it did not raise.
  loop = sys.modules.get('wsjax.train.loop')
  return loop is not None and isinstance(error, loop.Interrupted)


def _sentence(error: BaseException) -> str:
  """The message of an error on one line."""
  text = str(error) or type(error).__name__
  if isinstance(error, OSError) and error.strerror:
    text = error.strerror + ('' if error.filename is None else f': {error.filename}')
  return ' '.join(text.split())
