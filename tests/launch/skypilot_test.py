"""The SkyPilot task has only keys that SkyPilot knows, and a sound script."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest
import yaml

from launch import local

PATH = pathlib.Path(local.__file__).parent / 'skypilot' / 'train.yaml'
BASH = shutil.which('bash')
CHECKER = pathlib.Path(sys.executable).with_name('shellcheck')
# Of the SkyPilot documentation; other keys are refused by it.
KNOWN = {
  '': {
    *('name', 'workdir', 'num_nodes', 'resources', 'envs', 'secrets'),
    *('file_mounts', 'setup', 'run', 'config'),
  },
  'resources': {
    *('infra', 'accelerators', 'accelerator_args', 'cpus', 'memory'),
    *('instance_type', 'use_spot', 'disk_size', 'disk_tier', 'network_tier'),
    *('image_id', 'ports', 'labels', 'autostop', 'any_of', 'ordered'),
    'job_recovery',
  },
  'job_recovery': {*('strategy', 'max_restarts_on_errors', 'recover_on_exit_codes')},
}


def load():
  return yaml.safe_load(PATH.read_text())


def unknown(task):
  """Keys that SkyPilot does not know."""
  resources = task.get('resources', {})
  return (
    (set(task) - KNOWN[''])
    | (set(resources) - KNOWN['resources'])
    | (set(resources.get('job_recovery', {})) - KNOWN['job_recovery'])
  )


def test_it_has_only_known_keys():
  task = load()
  assert not unknown(task)
  task['resources']['use_spots'] = True
  assert unknown(task) == {'use_spots'}


def test_wrong_input_is_not_tried_again_and_saved_is():
  task = load()
  assert task['resources']['use_spot'] is True
  recovery = task['resources']['job_recovery']
  assert recovery['max_restarts_on_errors'] == 0
  assert local.SAVED in recovery['recover_on_exit_codes']
  assert local.USER_ERROR not in recovery['recover_on_exit_codes']


@pytest.mark.parametrize('part', ['setup', 'run'])
def test_scripts_are_clean(part):
  done = subprocess.run(
    [CHECKER, '--shell=bash', '-'], input=load()[part], capture_output=True, text=True
  )
  assert done.returncode == 0, done.stdout


def test_what_has_to_be_given_is_asked_for_before_anything_is_installed():
  task = load()
  for name in ('WSJAX_CONFIG', 'WSJAX_WORKDIR', 'WSJAX_NFS'):
    given = {'WSJAX_CONFIG': 'a', 'WSJAX_WORKDIR': 'b', 'WSJAX_NFS': 'c'}
    done = subprocess.run(
      [BASH, '-c', task['setup']],
      env=task['envs'] | given | {name: '', 'PATH': ''},
      capture_output=True,
      text=True,
    )
    assert done.returncode and f'{name}: give --env' in done.stderr


def run(folder, **variables):
  """What the script starts, with stand-ins that print their words."""
  names = ('WSJAX_COORDINATOR', 'WSJAX_NUM_PROCESSES', 'WSJAX_PROCESS_ID')
  for name in ('python', 'wsjax'):
    path = folder / '.venv' / 'bin' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = ' '.join(f'${{{name}:-}}' for name in names)
    path.write_text(f'#!/bin/sh\necho "{name} $*|{shown}"\n')
    path.chmod(0o755)
  task = load()
  envs = task['envs'] | {'WSJAX_CONFIG': 'a b.py', 'WSJAX_WORKDIR': '/w'}
  done = subprocess.run(
    ['bash', '-c', task['run']],
    env=os.environ | envs | variables,
    cwd=folder,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout.strip()


def test_one_node_restarts_by_itself(tmp_path):
  overrides = '--config.a=1 --config.b=2'
  said = run(tmp_path, SKYPILOT_NUM_NODES='1', WSJAX_OVERRIDES=overrides)
  words = f'wsjax run --config a b.py --workdir /w {overrides}'
  assert said.rstrip(' ') == f'python launch/local.py --restarts 3 -- {words}|'


def test_several_nodes_find_the_first(tmp_path):
  said = run(
    tmp_path, SKYPILOT_NUM_NODES='2', SKYPILOT_NODE_RANK='1', SKYPILOT_NODE_IPS='10.0.0.1\n10.0.0.2'
  )
  assert said == 'wsjax run --config a b.py --workdir /w|10.0.0.1:8476 2 1'
