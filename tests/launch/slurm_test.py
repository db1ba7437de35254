"""A SLURM job goes on in the next one; a workdir has one job at a time."""

import pathlib
import shlex
import signal
import sys

from launch import local

FOLDER = pathlib.Path(local.__file__).parent / 'slurm'
TRAIN = FOLDER / 'train.sbatch'
COMMAND = ('wsjax', 'run', '--config', 'a b.py', '--workdir', '/runs/x')
SUBMIT = [
  *('sbatch', '--job-name=wsjax-runs-x', '--dependency=singleton'),
  *('--nodes=2', '--time=1:00:00', str(TRAIN), *COMMAND),
]
LOOK = ['squeue', '--noheader', '--me', '--name=wsjax-runs-x', '--format=%i']
SRUN = ['srun', '--kill-on-bad-exit=1', *COMMAND]
REQUEUE = ['scontrol', 'requeue', '7']


def submit(programs, *options):
  words = ('--nodes=2', '--time=1:00:00', *options, '--', *COMMAND)
  return programs.run(FOLDER / 'submit.sh', *words)


def train(programs, **variables):
  return programs.run('bash', TRAIN, *COMMAND, SLURM_JOB_ID='7', **variables)


def test_a_dry_run_prints_the_exact_words_and_calls_nothing(programs):
  done = submit(programs, '--dry-run')
  assert done.returncode == 0, done.stderr
  assert shlex.split(done.stdout) == SUBMIT
  assert not programs.calls


def test_a_job_is_queued_once(programs):
  programs.answer('squeue')
  programs.answer('sbatch', says='Submitted batch job 7')
  programs.answer('squeue', says='7')
  assert 'Submitted batch job 7' in submit(programs).stdout
  again = submit(programs)
  assert again.returncode == 0
  assert 'queued already, as job 7' in again.stdout
  assert programs.calls == [LOOK, SUBMIT, LOOK]


def test_a_command_without_a_workdir_is_refused(programs):
  for words in (['--'], [], ['--', 'wsjax', 'run']):
    done = programs.run(FOLDER / 'submit.sh', *words)
    assert done.returncode == 2, words
  assert 'no --workdir' in done.stderr
  assert not programs.calls


def test_a_relative_workdir_counts_from_here(programs, tmp_path):
  words = ('--dry-run', '--', 'wsjax', 'run', '--workdir=runs/x')
  done = programs.run('env', '-C', tmp_path, FOLDER / 'submit.sh', *words)
  name = str(tmp_path / 'runs/x').replace('/', '-')
  assert f'--job-name=wsjax{name} ' in done.stdout


def test_options_that_the_script_relies_on_stand_before_the_first_command():
  head = TRAIN.read_text().split('set -euo')[0]
  for option in ('requeue', 'signal=B:USR1@180', 'open-mode=append'):
    assert f'#SBATCH --{option}\n' in head


def test_a_job_that_is_done_is_not_queued_again(programs):
  done = train(programs)
  assert done.returncode == 0, done.stderr
  assert programs.calls == [SRUN]


def test_saved_and_stopped_is_queued_again(programs):
  programs.answer('srun', status=75)
  assert train(programs).returncode == 75
  assert programs.calls == [SRUN, REQUEUE]


def test_wrong_input_is_not_tried_again(programs):
  programs.answer('srun', status=2)
  assert train(programs).returncode == 2
  assert programs.calls == [SRUN]


def test_a_failure_starts_all_again_within_the_budget(programs):
  for _ in range(3):
    programs.answer('srun', status=134)
  done = train(programs, WSJAX_RESTARTS='2')
  assert done.returncode == 134
  assert '(2 of 2)' in done.stderr
  assert programs.calls == [SRUN] * 3


def test_a_job_that_never_gets_further_ends(programs):
  programs.answer('srun', status=75)
  assert train(programs, SLURM_RESTART_COUNT='1000').returncode == 75
  assert programs.calls == [SRUN]


def test_the_time_limit_saves_and_queues_again(programs, monkeypatch):
  monkeypatch.setitem(programs.environment, 'SLURM_JOB_ID', '7')
  programs.answer('srun', runs=True)
  # It saves when it is asked, and ends with what a crash would give: that we asked is what counts.
  task = (
    'import signal, sys\n'
    'def save(*_):\n'
    '  print("saved", flush=True)\n'
    '  sys.exit(137)\n'
    'signal.signal(signal.SIGTERM, save)\n'
    'print("ready", flush=True)\n'
    'signal.pause()\n'
  )
  words = ('bash', TRAIN, sys.executable, '-c', task)
  with programs.start(*words) as job:
    while job.stdout.readline() != 'ready\n':
      pass
    job.send_signal(signal.SIGUSR1)
    said = job.stdout.read()
    assert job.wait(20) == 75
  assert 'saved\n' in said
  assert programs.calls[-1] == REQUEUE
