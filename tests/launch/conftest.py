"""Programs of clusters that are not here: they record how they are called."""

import json
import os
import subprocess
import sys

import pytest

PROGRAMS = ('gcloud', 'git', 'kubectl', 'sbatch', 'squeue', 'srun', 'scontrol')
STUB = """#!{python}
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(__file__).parent
words = [pathlib.Path(__file__).name, *sys.argv[1:]]
with (folder / 'calls').open('a') as calls:
  calls.write(json.dumps(words) + '\\n')
if words[0] == 'kubectl':
  (folder / 'stdin').write_text(sys.stdin.read())
answers = json.loads((folder / 'answers').read_text())
for answer in answers:
  if all(any(of in word for word in words) for of in answer['of']):
    answers.remove(answer)
    (folder / 'answers').write_text(json.dumps(answers))
    time.sleep(answer['takes'])
    print(answer['says'], flush=True)
    if answer['waits']:
      signal.pause()
    if answer['runs']:
      command = [word for word in words[1:] if not word.startswith('--')]
      os.execvp(command[0], command)
    sys.exit(answer['status'])
"""


class Programs:
  """Stand-ins on PATH; each call is recorded and answered in order."""

  def __init__(self, folder):
    self._folder = folder
    self._answers = []
    folder.mkdir()
    for name in PROGRAMS:
      path = folder / name
      path.write_text(STUB.format(python=sys.executable))
      path.chmod(0o755)
    self.environment = os.environ | {
      'PATH': f'{folder}:{os.environ["PATH"]}',
      'TMPDIR': '/tmp',
      'WSJAX_POLL_SECONDS': '0',
    }
    self._write()

  def _write(self):
    (self._folder / 'answers').write_text(json.dumps(self._answers))

  def answer(self, *of, says='', status=0, waits=False, runs=False, takes=0):
    """The next call that has these pieces in its words gets this answer."""
    made = {'of': of, 'says': says, 'status': status, 'takes': takes}
    self._answers.append(made | {'waits': waits, 'runs': runs})
    self._write()

  @property
  def calls(self):
    path = self._folder / 'calls'
    if not path.exists():
      return []
    return [json.loads(line) for line in path.read_text().splitlines()]

  @property
  def stdin(self):
    return (self._folder / 'stdin').read_text()

  def run(self, *words, **variables):
    return subprocess.run(
      [str(word) for word in words],
      env=self.environment | variables,
      capture_output=True,
      text=True,
      timeout=120,  # A loaded machine is slow; a hang has no end.
    )

  def start(self, *words):
    return subprocess.Popen(
      [str(word) for word in words],
      env=self.environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )


@pytest.fixture
def programs(tmp_path):
  return Programs(tmp_path / 'bin')
