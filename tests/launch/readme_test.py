"""The README of the launchers names what there is."""

import pathlib
import re

from launch import local

FOLDER = pathlib.Path(local.__file__).parent
TEXT = (FOLDER / 'README.md').read_text()
SOURCES = [
  path
  for path in FOLDER.rglob('*')
  if path.suffix in ('.py', '.sh', '.sbatch', '.yaml', '')
  and path.is_file()
  and path.name != 'README.md'
]


def test_every_file_it_names_is_there():
  named = set(re.findall(r'launch/([\w./-]+\w)', TEXT))
  named |= set(re.findall(r'`((?:tpu_vm|slurm|k8s|skypilot)/[\w.-]+\w)', TEXT))
  assert len(named) > 6
  for name in named:
    assert (FOLDER / name).exists(), name


def test_every_variable_of_the_launchers_is_in_its_table():
  known = set(re.findall(r'`((?:WSJAX|JAX|XLA)_\w+)`', TEXT))
  assert {'WSJAX_DATASETS', 'WSJAX_DEBUG', 'WSJAX_PROFILE'} <= known
  for path in SOURCES:
    used = set(re.findall(r'\bWSJAX_[A-Z_]+[A-Z]\b', path.read_text()))
    assert used <= known, path
