"""Record fields of the software and hardware of this process."""

import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
from typing import Any

import jax

import wsjax

PACKAGES = ('wsjax', 'jax', 'jaxlib', 'flax', 'optax', 'numpy')
ROOT = pathlib.Path(wsjax.__file__).parents[1]


def environment() -> dict[str, Any]:
  """Returns code (null outside a checkout), packages, xla_flags and accelerator."""
  devices = jax.devices()
  return {
    'code': code(ROOT),
    'packages': {name: _version(name) for name in PACKAGES},
    'xla_flags': os.environ.get('XLA_FLAGS', '').split(),
    'accelerator': {
      'kind': devices[0].device_kind,
      'count': len(devices),
      'processes': jax.process_count(),
    },
  }


def code(root: pathlib.Path) -> dict[str, Any] | None:
  """Reads repo, commit and dirty of the checkout at `root` from its files, without git.

  None if it is no checkout; dirty is None where no git program can say.
  """
  commit = _commit(root / '.git')
  return commit and {'repo': 'wsjax', 'commit': commit, 'dirty': _is_dirty(root)}


def _commit(git: pathlib.Path) -> str | None:
  try:
    if git.is_file():  # A worktree: one line, 'gitdir: PATH'.
      git = git.parent / git.read_text().strip().removeprefix('gitdir: ')
    common = git
    if (git / 'commondir').exists():
      common = git / (git / 'commondir').read_text().strip()
    commit = (git / 'HEAD').read_text().strip()
    if commit.startswith('ref: '):
      ref = commit.removeprefix('ref: ')
      if (common / ref).is_file():
        commit = (common / ref).read_text().strip()
      else:
        packed = (line.split(' ', 1) for line in (common / 'packed-refs').read_text().splitlines())
        commit = next((commit for commit, *name in packed if name == [ref]), '')
  except OSError:
    return None
  return commit if re.fullmatch('[0-9a-f]{40}', commit) else None


def _is_dirty(root: pathlib.Path) -> bool | None:
  if shutil.which('git') is None:
    return None
  words = ['git', '--no-optional-locks', 'status', '--porcelain', '-uno']
  status = subprocess.run(words, cwd=root, capture_output=True, check=False)
  return bool(status.stdout) if status.returncode == 0 else None


def _version(package: str) -> str | None:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None
