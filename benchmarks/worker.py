"""A contender in a process of its own, perhaps on a Python of its own."""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

PEERS = pathlib.Path(__file__).parent / 'peers'
ROOT = pathlib.Path(__file__).parents[1]
# What the opponents run on; none of it is ever imported here.
PACKAGES = ('torch==2.13.0', 'nfn==0.1.2', 'numpy')


class Worker:
  """A process that answers one JSON line with another."""

  def __init__(self, command: Sequence[str], *, environment: Mapping[str, str] | None = None):
    """Starts it.

    Args:
      command: program and arguments.
      environment: variables that are set besides those of this process.
    """
    self.command = list(command)
    self._process = subprocess.Popen(
      self.command,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      env={**os.environ, 'PYTHONPATH': str(ROOT), **(environment or {})},
    )

  def ask(self, **request: Any) -> dict[str, Any]:
    """Sends a request and waits for the answer.

    Raises:
      ValueError: if the process dies of it.
    """
    line = ''
    with contextlib.suppress(BrokenPipeError):
      self._process.stdin.write(json.dumps(request) + '\n')
      self._process.stdin.flush()
      line = self._process.stdout.readline()
    if not line:
      raise ValueError(f'{self.command[-1]} died on {request}.')
    return json.loads(line)

  def close(self) -> None:
    """Ends the process."""
    with contextlib.suppress(BrokenPipeError):
      self._process.stdin.close()
    self._process.wait()
    self._process.stdout.close()


def simulated_devices(count: int) -> dict[str, str]:
  """Environment of a process with simulated devices, a thread or more each."""
  flag = f'--xla_force_host_platform_device_count={count}'
  return {'XLA_FLAGS': flag, 'NPROC': '16'}


def add_torch_arguments(parser: argparse.ArgumentParser) -> None:
  """Options of a bench with an opponent in PyTorch; see `torch_python`."""
  parser.add_argument('--no-torch', action='store_true', help='without the opponent')
  parser.add_argument(
    '--torch-env',
    type=pathlib.Path,
    default=pathlib.Path('~/.cache/benchmarks-torch'),
    help="virtual environment of the opponent; made if it is not there; pip's "
    'own settings, such as PIP_FIND_LINKS, say where torch comes from',
  )


def torch_python(environment: pathlib.Path) -> str:
  """The Python of an environment with `PACKAGES`; makes it if necessary.

  Raises:
    ValueError: if they cannot be installed.
  """
  python = environment / 'bin' / 'python'
  ready = environment / 'ready'
  if not ready.exists() or ready.read_text() != ' '.join(PACKAGES):
    try:
      subprocess.run([sys.executable, '-m', 'venv', str(environment)], check=True)
      subprocess.run([str(python), '-m', 'pip', 'install', '--quiet', *PACKAGES], check=True)
    except subprocess.CalledProcessError as error:
      raise ValueError(
        f'{", ".join(PACKAGES)} could not be installed in {environment}; set '
        'PIP_FIND_LINKS or PIP_INDEX_URL, or give --no-torch.'
      ) from error
    ready.write_text(' '.join(PACKAGES))
  return str(python)
