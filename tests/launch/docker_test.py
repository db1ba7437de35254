"""The image: locked packages, a user without rights, one entry point.

Read as text; nothing is built here.
"""

import fnmatch
import json
import pathlib
import re

import pytest

from launch import local

FOLDER = pathlib.Path(local.__file__).parent / 'docker'
ROOT = FOLDER.parents[1]
TEXT = (FOLDER / 'Dockerfile').read_text()


def instructions(text):
  """(name, rest) of each instruction, on one line."""
  joined = text.replace('\\\n', ' ')
  lines = [line for line in joined.splitlines() if re.match('[A-Z]+ ', line)]
  return [(name, ' '.join(rest.split())) for name, rest in
          (line.split(' ', 1) for line in lines)]  # fmt: skip


def rest_of(name, text=TEXT):
  return [rest for each, rest in instructions(text) if each == name]


def check(text):
  """Raises AssertionError unless an image is as it should be."""
  installs = [run for run in rest_of('RUN', text) if 'uv pip install' in run]
  assert '--require-hashes -r launch/requirements-cpu.txt' in installs[0], 'packages are locked'
  # What is not locked keeps to the versions of the lock, or brings no packages of its own.
  keeps = ('--no-deps', '-c launch/requirements-cpu.txt')
  assert all(any(word in run for word in keeps) for run in installs[1:])
  pips = [run for run in rest_of('RUN', text) if run.startswith('pip ')]
  assert all('==' in run for run in pips)
  last = text[text.rindex('\nFROM ') :]
  (user,) = rest_of('USER', last)
  assert user not in ('0', 'root'), 'no rights'
  (entry,) = rest_of('ENTRYPOINT', last)
  assert json.loads(entry) == ['wsjax'], 'signals reach wsjax, not a shell'
  base = [arg for arg in rest_of('ARG', text) if arg.startswith('BASE=')]
  assert [re.match(r'BASE=\S+:\d', arg) is not None for arg in base] == [True], 'a version'
  assert all(image.startswith('${BASE}') for image in rest_of('FROM', text))


def test_the_image_is_as_it_should_be():
  check(TEXT)


@pytest.mark.parametrize(
  'right, wrong',
  [
    ('--require-hashes ', ''),
    ('-c launch/requirements-cpu.txt ', ''),
    ('--no-deps ', ''),
    ('USER 1000', 'USER root'),
    ('ENTRYPOINT ["wsjax"]', 'ENTRYPOINT wsjax'),
    ('BASE=python:3.12-slim\n', 'BASE=python\n'),
    ('FROM ${BASE} AS', 'FROM python AS'),
  ],
)
def test_planted_faults_are_found(right, wrong):
  assert right in TEXT
  with pytest.raises((AssertionError, ValueError)):
    check(TEXT.replace(right, wrong))


def test_only_what_is_copied_is_sent_to_the_builder():
  lines = (FOLDER / 'Dockerfile.dockerignore').read_text().splitlines()
  lines = [line for line in lines if line and not line.startswith('#')]
  assert lines[0] == '*'
  sent = {line[1:] for line in lines if line.startswith('!')}
  copied = set()
  for rest in rest_of('COPY'):
    if not rest.startswith('--from='):
      copied |= set(rest.split()[:-1])
  assert sent == copied
  for path in sent:
    assert (ROOT / path).exists()
  assert not any(fnmatch.fnmatch('.git', path) for path in sent)
