"""A set of processes lives and dies together, within a budget of restarts."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import pytest

from launch import local

LAUNCHER = pathlib.Path(local.__file__)
# Each life of each process leaves a line, so that lives can be counted.
PREAMBLE = """
import os, pathlib, signal, sys, time
rank = int(os.environ.get('WSJAX_PROCESS_ID', 0))
log = pathlib.Path('log')
with log.open('a') as file:
  file.write(f'{rank}\\n')
life = log.read_text().split().count(str(rank))
"""
WAIT = 'print("ready", flush=True); signal.pause()'


def words(body, *options):
  code = PREAMBLE + textwrap.dedent(body)
  launcher = [sys.executable, str(LAUNCHER), *options, '--']
  return [*launcher, sys.executable, '-c', code]


def run(folder, body, *options):
  return subprocess.run(
    words(body, *options), cwd=folder, capture_output=True, text=True, timeout=20
  )


def start(folder, body, *options):
  return subprocess.Popen(words(body, *options), cwd=folder, stdout=subprocess.PIPE, text=True)


def lives(folder):
  ranks = (folder / 'log').read_text().split()
  return {int(rank): ranks.count(rank) for rank in set(ranks)}


def test_every_process_knows_its_place(tmp_path, monkeypatch):
  monkeypatch.delenv('XLA_FLAGS', raising=False)
  body = """
  names = 'WSJAX_NUM_PROCESSES', 'NPROC', 'JAX_PLATFORMS', 'XLA_FLAGS'
  print(rank, *(os.environ[name] for name in names))
  print(os.environ['WSJAX_COORDINATOR'], end='')
  """
  done = run(tmp_path, body, '--processes', '2', '--devices', '3')
  assert done.returncode == 0, done.stderr
  lines = sorted(done.stdout.splitlines())
  flags = '--xla_force_host_platform_device_count=3'
  assert f'[p0] 0 2 16 cpu {flags}' in lines
  assert f'[p1] 1 2 16 cpu {flags}' in lines
  # Both have the same coordinator, and a last line without an end is shown.
  coordinators = {line.split()[1] for line in lines if '127.0.0.1:' in line}
  assert len(coordinators) == 1 and len(lines) == 4


def test_one_process_gets_no_coordinator():
  plan = local.Plan(('x',))
  assert local.variables(plan, 0, port=1, base={}) == {}


def test_flags_of_the_user_are_kept():
  plan = local.Plan(('x',), devices=2)
  base = {'XLA_FLAGS': f'--xla_dump_to=d {local.DEVICE_COUNT}=8 --xla_a', 'NPROC': '4'}
  made = local.variables(plan, 0, port=1, base=base)
  assert made['XLA_FLAGS'] == f'--xla_dump_to=d --xla_a {local.DEVICE_COUNT}=2'
  assert made['NPROC'] == '4'


def test_dry_run_prints_lines_that_a_shell_runs(tmp_path):
  body = 'print(rank, os.environ["WSJAX_NUM_PROCESSES"])'
  done = run(tmp_path, body, '--processes', '2', '--dry-run')
  assert done.returncode == 0
  assert not (tmp_path / 'log').exists()
  said = subprocess.run(['sh'], input=done.stdout, cwd=tmp_path, capture_output=True, text=True)
  assert said.stdout == '0 2\n1 2\n'


def test_one_failure_restarts_all(tmp_path):
  os.mkfifo(tmp_path / 'ready')
  body = """
  if rank == 0:  # Fails when the others are there, in its first two lives.
    # Open for writing too, so that it does not end before the others write.
    with open(os.open('ready', os.O_RDWR)) as ready:
      for _ in range(2):
        ready.readline()
    sys.exit(7 if life < 3 else 0)
  with open('ready', 'w') as ready:
    ready.write(f'{rank}\\n')
  while life < 3:
    signal.pause()
  """
  done = run(tmp_path, body, '--processes', '3', '--restarts', '2')
  assert done.returncode == 0, done.stderr
  assert '(2 of 2)' in done.stderr
  # Processes 1 and 2 wait forever: they were stopped each time.
  assert lives(tmp_path) == {0: 3, 1: 3, 2: 3}


def test_a_spent_budget_ends_with_the_first_failure(tmp_path):
  body = f"""
  if rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
  {WAIT}
  """
  done = run(tmp_path, body, '--processes', '2', '--restarts', '1')
  assert done.returncode == 128 + signal.SIGKILL
  assert lives(tmp_path)[1] == 2


def test_wrong_input_is_not_tried_again(tmp_path):
  body = f"""
  if rank == 0:
    sys.exit({local.USER_ERROR})
  {WAIT}
  """
  done = run(tmp_path, body, '--processes', '2', '--restarts', '9')
  assert done.returncode == local.USER_ERROR
  assert lives(tmp_path)[0] == 1


def test_saved_and_stopped_restarts_for_free(tmp_path):
  body = f'sys.exit({local.SAVED} if life < 4 else 0)'
  done = run(tmp_path, body, '--restarts', '0')
  assert done.returncode == 0, done.stderr
  assert lives(tmp_path) == {0: 4}


def test_a_process_that_never_gets_further_ends(monkeypatch):
  monkeypatch.setattr(local, 'MAX_RESUMES', 2)
  sets = []

  def run_set(launcher):
    sets.append(launcher)
    return local.SAVED

  monkeypatch.setattr(local.Launcher, '_run_set', run_set)
  with local.Launcher(local.Plan(('x',), restarts=1)) as launcher:
    status = launcher.run()
  assert status == local.SAVED
  assert len(sets) == 1 + 2 + 1  # The first, two for free, one restart.


@pytest.mark.parametrize(
  'number, status', [(signal.SIGTERM, local.SAVED), (signal.SIGINT, local.INTERRUPTED)]
)
def test_a_signal_is_passed_on_and_waited_for(tmp_path, number, status):
  body = f"""
  def save(number, frame):
    pathlib.Path(f'saved{{rank}}').write_text(str(number))
    sys.exit({local.SAVED})

  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, save)
  {WAIT}
  """
  with start(tmp_path, body, '--processes', '2') as launcher:
    for _ in range(2):  # Both are ready.
      assert launcher.stdout.readline().endswith('ready\n')
    launcher.send_signal(number)
    assert launcher.wait(60) == status
  for rank in range(2):
    assert (tmp_path / f'saved{rank}').read_text() == str(int(number))
  assert lives(tmp_path) == {0: 1, 1: 1}


def test_a_process_that_does_not_listen_is_killed(tmp_path):
  body = f'signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAIT}'
  with start(tmp_path, body, '--grace', '0.1') as launcher:
    launcher.stdout.readline()
    launcher.terminate()
    assert launcher.wait(60) == local.SAVED


def test_a_process_that_lost_its_peer_is_not_waited_for_long(tmp_path):
  os.mkfifo(tmp_path / 'ready')
  body = f"""
  signal.signal(signal.SIGTERM, signal.SIG_IGN)  # It hangs in a collective.
  if rank == 0:
    open('ready').close()
    sys.exit(7)
  open('ready', 'w').close()
  {WAIT}
  """
  # With a grace of an hour, a launcher that waited would never end here.
  code = 'import sys; from launch import local; local.PEER_GRACE = 0.1; sys.exit(local.main())'
  options = ('--processes', '2', '--restarts', '0', '--grace', '3600')
  _, _, *rest = words(body, *options)
  done = subprocess.run(
    [sys.executable, '-c', code, *rest],
    cwd=tmp_path,
    env=os.environ | {'PYTHONPATH': str(LAUNCHER.parents[1])},
    timeout=20,
  )
  assert done.returncode == 7


@pytest.mark.skipif(sys.platform != 'linux', reason='asks the Linux kernel')
def test_no_process_outlives_a_launcher_that_was_killed(tmp_path):
  os.mkfifo(tmp_path / 'alive')
  body = f'held = open("alive", "w"); {WAIT}'
  with start(tmp_path, body) as launcher:
    with (tmp_path / 'alive').open() as alive:
      launcher.stdout.readline()
      launcher.kill()
      assert alive.read() == ''  # Ends when the process has ended.


@pytest.mark.parametrize(
  'options, message',
  [
    ({'command': ()}, 'no command'),
    ({'processes': 0}, '--processes is 0; at least 1'),
    ({'restarts': -1}, '--restarts is -1; at least 0'),
    ({'devices': 0}, '--devices is 0; at least 1'),
  ],
)
def test_wrong_plans_are_errors(options, message):
  with pytest.raises(ValueError, match=message):
    local.Plan(**{'command': ('x',)} | options)


def test_a_command_that_is_not_there_is_wrong_input(tmp_path):
  done = subprocess.run(
    [sys.executable, str(LAUNCHER), '--', './no_such_program'],
    capture_output=True,
    text=True,
    cwd=tmp_path,
  )
  assert done.returncode == local.USER_ERROR
  assert './no_such_program: No such file' in done.stderr


PSUM = """
import os
import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

jax.distributed.initialize(
  os.environ['WSJAX_COORDINATOR'],
  num_processes=int(os.environ['WSJAX_NUM_PROCESSES']),
  process_id=int(os.environ['WSJAX_PROCESS_ID']),
)
mesh = jax.make_mesh((4,), ('data',), axis_types=(AxisType.Auto,))
own = np.arange(2) + 2 * jax.process_index()
whole = jax.make_array_from_process_local_data(
  NamedSharding(mesh, P('data')), own
)
total = jax.jit(
  jax.shard_map(
    lambda x: jax.lax.psum(x, 'data'),
    mesh=mesh,
    in_specs=P('data'),
    out_specs=P(),
  )
)(whole)
print('total', int(total[0]), 'over', jax.device_count())
"""


@pytest.mark.slow
def test_two_processes_of_two_devices_add_over_all_four():
  done = subprocess.run(
    [
      *(sys.executable, str(LAUNCHER), '--processes', '2', '--devices', '2'),
      *('--restarts', '0', '--', sys.executable, '-c', PSUM),
    ],
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  for rank in range(2):
    assert f'[p{rank}] total 6 over 4' in done.stdout
