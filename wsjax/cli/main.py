"""wsjax: generate neural networks from a zoo of networks, judged honestly."""

import argparse
import importlib
import importlib.metadata
import os
import pathlib
import shlex
import signal
import sys
from collections.abc import Sequence
from types import FrameType, ModuleType

from wsjax.cli import parsing
from wsjax.cli import status as status_lib

COMMANDS = ('run', 'zoo', 'sample', 'evaluate', 'sweep', 'report', 'data', 'inspect')
# Where the file of a sub-command has another name.
MODULES = {'inspect': 'inspect_model'}
# Those that every process of a run of several starts with the same words.
DISTRIBUTED = ('run', 'zoo', 'sample')


class Terminated(KeyboardInterrupt):
  """SIGTERM arrived."""


def main(argv: Sequence[str] | None = None) -> int:
  """Runs one sub-command.

  Args:
    argv: words after the program name; None takes those of the process.

  Returns:
    Exit status: 0 done, 2 wrong input in one sentence on stderr, 75 stopped by SIGTERM and 130 by
    Ctrl-C, both of which the same command continues.
  """
  words = list(sys.argv[1:] if argv is None else argv)
  debug = '--debug' in words or bool(os.environ.get('WSJAX_DEBUG'))
  before = signal.signal(signal.SIGTERM, _terminate)
  try:
    return _run([word for word in words if word != '--debug'])
  except BrokenPipeError:  # The reader of our output has seen enough.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
  except (ValueError, OSError) as error:
    if debug:
      raise
    _say(_sentence(error))
    _leave(status_lib.USER_ERROR)
    return status_lib.USER_ERROR
  except BaseException as error:
    status = _stopped(error)
    if status is None:
      _leave(status_lib.FAILED, error)
      raise
    by = 'SIGTERM' if status == status_lib.TERMINATED else 'Ctrl-C'
    again = shlex.join(['wsjax', *words])
    _say(f'stopped by {by}; the same command goes on from here: {again}')
    if isinstance(error, KeyboardInterrupt):  # Where the others are not.
      _leave(status)
    return status
  finally:
    signal.signal(signal.SIGTERM, before)


def _leave(status: int, error: BaseException | None = None) -> None:
  """Ends a process that failed alone, so that the others notice."""
  distributed = sys.modules.get('wsjax.distributed')
  if distributed is not None:
    distributed.leave(status, error)


def _run(words: Sequence[str]) -> int:
  """Parses the command line and calls its sub-command."""
  # Config overrides are not known to argparse: their names are in the config.
  overrides = [word for word in words if word.startswith('--config.')]
  parser = _parser()
  args, rest = parser.parse_known_args([word for word in words if word not in overrides])
  if rest:
    raise ValueError(f'unrecognized arguments: {" ".join(rest)}; see wsjax {args.command} --help.')
  if overrides and not hasattr(args, 'config'):
    raise ValueError(f'wsjax {args.command} takes no config, but was given {overrides[0]}.')
  args.overrides = overrides
  _set_environment()
  if args.command in DISTRIBUTED and getattr(args, 'action', 'build') == 'build':
    from wsjax import distributed

    distributed.initialize()
  return _module(args.command).run(args)


def _parser() -> parsing.Parser:
  """The parser of all sub-commands."""
  parser = parsing.Parser(
    prog='wsjax',
    description=__doc__,
    allow_abbrev=False,
    epilog='Wrong input is one sentence and exit status 2; --debug (or '
    'WSJAX_DEBUG=1) shows the traceback instead.',
  )
  subparsers = parser.add_subparsers(
    dest='command', required=True, metavar='command', parser_class=parsing.Parser
  )
  for name in COMMANDS:
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
  return importlib.import_module(f'wsjax.cli.{MODULES.get(name, name)}')


def _set_environment() -> None:
  """What JAX reads when it starts; what the user has set stands."""
  python = f'{sys.version_info.major}.{sys.version_info.minor}'
  jax = importlib.metadata.version('jax')
  cache = pathlib.Path.home() / '.cache' / 'wsjax' / f'jax-{python}-{jax}'
  if 'host_platform_device_count' in os.environ.get('XLA_FLAGS', ''):
    # XLA sizes its CPU thread pool by core count; simulated devices need more threads than a small
    # machine has cores, or a collective waits forever.
    # One device is three times slower with so many.
    os.environ.setdefault('NPROC', '16')
  os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(cache))
  os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.5')


def _terminate(signum: int, frame: FrameType | None) -> None:
  del signum, frame
  raise Terminated


def _stopped(error: BaseException) -> int | None:
  """Exit status if the error means that the user stopped us, else None."""
  if isinstance(error, KeyboardInterrupt):
    return status_lib.TERMINATED if isinstance(error, Terminated) else status_lib.INTERRUPTED
  # Not imported for this: where it was never loaded, it did not raise.
  loop = sys.modules.get('wsjax.train.loop')
  if loop is None or not isinstance(error, loop.Interrupted):
    return None
  return status_lib.INTERRUPTED if error.signal == signal.SIGINT else status_lib.TERMINATED


def _sentence(error: BaseException) -> str:
  """The message of an error on one line."""
  if isinstance(error, OSError) and error.strerror:
    text = error.strerror
    if error.filename is not None:
      text += f': {error.filename}'
  else:
    text = str(error) or type(error).__name__
  return ' '.join(text.split())


def _say(sentence: str) -> None:
  sys.stderr.write(f'wsjax: {sentence}\n')


if __name__ == '__main__':
  sys.exit(main())
