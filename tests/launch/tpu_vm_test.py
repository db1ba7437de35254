"""What is asked of gcloud, word by word; and a TPU is deleted at any end."""

import pathlib
import shlex
import signal

import pytest

from launch import local

FOLDER = pathlib.Path(local.__file__).parent / 'tpu_vm'
ROOT = FOLDER.parents[1]
WHERE = ('--name', 'pod', '--zone', 'us-west4-a')
KIND = ('--accelerator-type=v5litepod-16', '--runtime-version', 'v2-alpha')
RUN = (*WHERE, *KIND, '--max-hours', '6')
COMMAND = ('--', 'wsjax', 'run', '--config', 'a b.py', '--workdir', '/mnt/x')

QUEUE = ['gcloud', 'compute', 'tpus', 'queued-resources']
VM = ['gcloud', 'compute', 'tpus', 'tpu-vm']
ZONE = '--zone=us-west4-a'
CREATE = [
  *(*QUEUE, 'create', 'pod', '--node-id=pod'),
  *('--accelerator-type=v5litepod-16', '--runtime-version=v2-alpha'),
  *('--valid-until-duration=6h', '--spot', ZONE),
]
DELETE = [*QUEUE, 'delete', 'pod', '--force', '--quiet', ZONE]
DESCRIBE = [*QUEUE, 'describe', 'pod', '--format=value(state.state)', ZONE]
ARCHIVE = [
  *('git', '-C', str(ROOT), 'archive', '--format=tar.gz'),
  *('--output=/tmp/wsjax-pod.tar.gz', 'HEAD'),
]
COPY = [*(*VM, 'scp', '/tmp/wsjax-pod.tar.gz', 'pod:wsjax.tar.gz'), *('--worker=all', ZONE)]
SSH = [*VM, 'ssh', 'pod', '--worker=all', ZONE]
# A word that only the command line of a run has.
RUNS = 'exec wsjax run --config a\\ b.py'


def lines(text):
  return [shlex.split(line) for line in text.splitlines()]


def steps(calls):
  """The calls by one word each."""
  names = []
  for call in calls:
    run = any(RUNS in word for word in call)
    save = call[:5] == SSH[:5] and call[-1].startswith('--command=old=')
    setup = any('uv venv' in word for word in call)
    names.append(
      'run' if run else 'save' if save else 'setup' if setup else
      'look' if 'describe' in call else call[0] if call[0] == 'git' else call[4]
    )  # fmt: skip
  return [name for name in names if name not in ('git', 'scp')]


@pytest.mark.parametrize('path', sorted(FOLDER.glob('*.sh')), ids=lambda p: p.stem)
def test_scripts_explain_themselves_and_refuse_what_they_do_not_know(path, programs):
  if path.stem == 'common':
    return
  shown = programs.run(path, '--help')
  assert shown.returncode == 0 and f'  {path.name} --' in shown.stdout
  wrong = programs.run(path, '--nmae', 'x')
  assert wrong.returncode == 2 and '--nmae' in wrong.stderr
  missing = programs.run(path)
  assert missing.returncode == 2 and 'is missing' in missing.stderr
  assert not programs.calls


@pytest.mark.parametrize(
  'script, words, expected',
  [
    ('create', RUN, [CREATE, DELETE]),
    ('create', (*RUN, '--keep'), [CREATE]),
    ('delete', WHERE, [DELETE]),
    ('status', WHERE, [DESCRIBE, [*VM, 'describe', 'pod', '--format=value(state,health)', ZONE]]),
    ('status', ('--zone', 'z', '--project=p'), [[*QUEUE, 'list', '--zone=z', '--project=p']]),
  ],
)
def test_a_dry_run_prints_the_exact_words_and_calls_nothing(script, words, expected, programs):
  done = programs.run(FOLDER / f'{script}.sh', *words, '--dry-run')
  assert done.returncode == 0, done.stderr
  assert lines(done.stdout) == expected
  assert not programs.calls


def test_what_is_mounted_is_one_word_for_the_workers(programs):
  options = (*RUN, '--nfs', 'host:/a; reboot', '--mount', '/m $(id)', '--dry-run')
  done = programs.run(FOLDER / 'run.sh', *options, *COMMAND)
  setup = lines(done.stdout)[3][-1]
  assert r'mount -t nfs host:/a\;\ reboot /m\ \$\(id\)' in setup


def test_a_dry_run_of_a_run_shows_everything_from_queue_to_deletion(programs):
  options = (*RUN, '--nfs', '10.0.0.2:/share', '--on-demand', '--dry-run')
  done = programs.run(FOLDER / 'run.sh', *options, *COMMAND)
  assert done.returncode == 0, done.stderr
  create, archive, copy, setup, run, delete = lines(done.stdout)
  assert create == [word for word in CREATE if word != '--spot']
  assert [archive, copy, delete] == [ARCHIVE, COPY, DELETE]
  assert setup[:-1] == run[:-1] == SSH
  assert 'mount -t nfs 10.0.0.2:/share /mnt/wsjax' in setup[-1]
  assert '--require-hashes -r launch/requirements-cpu.txt' in setup[-1]
  assert "-c launch/requirements-cpu.txt 'jax[tpu]'" in setup[-1]
  assert run[-1].endswith(RUNS + ' --workdir /mnt/x')
  assert not programs.calls


@pytest.mark.parametrize('hours', ['0', '1.5', '-1', 'x', '08'])
def test_a_tpu_without_a_limit_of_hours_is_refused(hours, programs):
  for script in ('create.sh', 'run.sh'):
    words = [*WHERE, *KIND, f'--max-hours={hours}', *COMMAND]
    assert programs.run(FOLDER / script, *words).returncode == 2
    done = programs.run(FOLDER / script, *WHERE, *KIND, *COMMAND)
    assert done.returncode == 2 and '--max-hours is missing' in done.stderr
  assert not programs.calls


def test_a_tpu_that_is_kept_is_only_waited_for(programs):
  for state in ('WAITING_FOR_RESOURCES', 'PROVISIONING', 'ACTIVE'):
    programs.answer('describe', says=state)
  done = programs.run(FOLDER / 'create.sh', *RUN, '--keep')
  assert done.returncode == 0, done.stderr
  assert programs.calls == [CREATE, DESCRIBE, DESCRIBE, DESCRIBE]


@pytest.mark.parametrize('number, status', [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_tpu_that_is_held_is_deleted_by_a_signal(number, status, programs):
  programs.answer('describe', says='ACTIVE')
  with programs.start(FOLDER / 'create.sh', *RUN) as script:
    while 'is held for 6 h' not in script.stdout.readline():
      pass
    script.send_signal(number)
    assert script.wait(20) == status
  assert programs.calls == [CREATE, DESCRIBE, DELETE]


def test_a_request_that_fails_is_deleted(programs):
  programs.answer('describe', says='FAILED')
  done = programs.run(FOLDER / 'create.sh', *RUN)
  assert done.returncode == 1
  assert programs.calls == [CREATE, DESCRIBE, DELETE]


def test_setup_copies_and_installs_on_all_workers(programs):
  done = programs.run(FOLDER / 'setup.sh', *WHERE)
  assert done.returncode == 0, done.stderr
  assert programs.calls[:2] == [ARCHIVE, COPY]
  assert programs.calls[2][:-1] == SSH and len(programs.calls) == 3


def absent(programs):
  programs.answer('describe', says='NOT_FOUND: no such request', status=1)


def test_a_preempted_tpu_is_deleted_and_queued_again(programs):
  absent(programs)
  programs.answer('queued-resources', 'describe', says='ACTIVE')
  programs.answer(RUNS, status=255)
  programs.answer('queued-resources', 'describe', says='SUSPENDED')
  absent(programs)
  programs.answer('queued-resources', 'describe', says='ACTIVE')
  done = programs.run(FOLDER / 'run.sh', *RUN, *COMMAND)
  assert done.returncode == 0, done.stderr
  once = ['look', 'create', 'look', 'setup', 'run']
  assert steps(programs.calls) == [*once, 'look', 'delete', *once, 'delete']
  assert programs.calls[-1] == DELETE


def test_the_budget_of_preemptions_ends(programs):
  absent(programs)
  programs.answer('queued-resources', 'describe', says='ACTIVE')
  programs.answer(RUNS, status=255)
  # The request still says that the TPU is there; the TPU does not.
  programs.answer('queued-resources', 'describe', says='ACTIVE')
  programs.answer('tpu-vm', 'describe', says='PREEMPTED')
  done = programs.run(FOLDER / 'run.sh', *RUN, '--requeues=0', *COMMAND)
  assert done.returncode == 1
  assert 'was preempted' in done.stderr
  assert steps(programs.calls)[-2:] == ['look', 'delete']


def healthy(programs, times=1):
  for _ in range(times):
    programs.answer('queued-resources', 'describe', says='ACTIVE')
    programs.answer('tpu-vm', 'describe', says='READY')


def test_a_failure_starts_all_again_within_the_budget(programs):
  for _ in range(3):
    programs.answer(RUNS, status=134)
  for _ in range(6):
    healthy(programs)
  done = programs.run(FOLDER / 'run.sh', *RUN, '--restarts=2', *COMMAND)
  assert done.returncode == 134
  assert '(2 of 2)' in done.stderr
  # The TPU was there: it was neither made nor set up, but deleted at the end.
  looks_at_both = ['look', 'look']
  assert steps(programs.calls) == [
    *('look', 'run', *looks_at_both) * 3, 'delete',
  ]  # fmt: skip


def test_saved_and_stopped_goes_on_for_free_and_wrong_input_ends(programs):
  programs.answer(RUNS, status=75)
  programs.answer(RUNS, status=2)
  healthy(programs, 4)
  done = programs.run(FOLDER / 'run.sh', *RUN, '--restarts=0', *COMMAND)
  assert done.returncode == 2
  assert steps(programs.calls).count('run') == 2
  assert programs.calls[-1] == DELETE


def test_a_refused_request_is_not_repeated(programs):
  absent(programs)
  programs.answer('create', status=1)
  absent(programs)
  programs.answer('delete', status=1)
  done = programs.run(FOLDER / 'run.sh', *RUN, *COMMAND)
  assert done.returncode == 1
  assert 'COSTS MONEY' not in done.stderr  # There is nothing that could.
  assert steps(programs.calls) == ['look', 'create', 'delete', 'look']


def test_a_tpu_that_cannot_be_deleted_is_shouted_about(programs):
  healthy(programs, 2)
  programs.answer('delete', status=1)
  done = programs.run(FOLDER / 'run.sh', *RUN, *COMMAND)
  assert done.returncode == 0
  assert 'COULD NOT BE DELETED AND COSTS MONEY' in done.stderr


def test_a_signal_saves_and_deletes(programs):
  healthy(programs)
  programs.answer(RUNS, says='training', waits=True)
  with programs.start(FOLDER / 'run.sh', *RUN, *COMMAND) as script:
    while 'training' not in script.stdout.readline():
      pass
    script.terminate()
    assert script.wait(20) == 75
  assert steps(programs.calls) == ['look', 'run', 'save', 'delete']


@pytest.mark.slow
def test_the_hours_end_with_saving_and_deleting(programs):
  healthy(programs)
  programs.answer(RUNS, waits=True)
  # Five seconds are left of six hours.
  done = programs.run(FOLDER / 'run.sh', *RUN, *COMMAND, SECONDS=str(6 * 3600 - 5))
  assert done.returncode == 75
  assert '6 h are over' in done.stderr
  assert 'run' in steps(programs.calls)
  assert steps(programs.calls)[-2:] == ['save', 'delete']


def test_hours_that_end_before_the_command_starts_start_nothing(programs):
  programs.answer('queued-resources', 'describe', says='ACTIVE', takes=2)
  programs.answer('tpu-vm', 'describe', says='READY')
  # With 0 s left, `timeout` would let the command run for ever.
  programs.answer(RUNS, waits=True)
  done = programs.run(FOLDER / 'run.sh', *RUN, *COMMAND, SECONDS=str(6 * 3600 - 2))
  assert done.returncode == 75
  assert '6 h are over' in done.stderr
  assert 'run' not in steps(programs.calls)
