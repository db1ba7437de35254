"""What Kubernetes is given: the same as before, and nothing it does not know.

Rewrite the golden files after a change that is meant:

  WSJAX_GOLDEN=write python -m pytest tests/launch/k8s_test.py -k golden
"""

import copy
import os
import pathlib
import subprocess
import sys

import jsonschema
import kubernetes_validate
import pytest
import yaml

from launch import local
from launch.k8s import spec

RENDER = pathlib.Path(local.__file__).parent / 'k8s' / 'render.py'
GOLDEN = pathlib.Path(__file__).parent / 'golden'
COMMAND = ('--', 'wsjax', 'run', '--config', 'a.py', '--workdir', '/runs/x')
CASES = {
  'job': ('--name=demo', '--image=wsjax:1'),
  'job_of_hosts': (
    *('--name=demo', '--image=registry.example/wsjax:1', '--hosts=4'),
    *('--devices=8', '--cpu=16', '--memory=64Gi', '--claim=runs'),
    *('--select=cloud.google.com/gke-accelerator=nvidia-h100-80gb',),
    *('--env=WSJAX_DATASETS=/runs/data', '--max-hours=12', '--namespace=lab'),
  ),
  'jobset': (
    *('--name=demo', '--image=wsjax:1', '--kind=jobset', '--hosts=4'),
    *('--devices=4', '--resource=google.com/tpu', '--restarts=10'),
    *('--select=cloud.google.com/gke-tpu-accelerator=tpu-v5-lite-podslice',),
    *('--select=cloud.google.com/gke-tpu-topology=4x4', '--claim=runs'),
    *('--exclusive=cloud.google.com/gke-nodepool', '--grace=300'),
  ),
}
VERSIONS = ('1.31', '1.37')


def closed(required, **properties):
  """A schema of an object that has these fields and no others."""
  return {
    'type': 'object',
    'properties': properties,
    'required': required,
    'additionalProperties': False,
  }


NAMES = {'type': 'object', 'additionalProperties': {'type': 'string'}}
TEXT = {'type': 'string'}
# Of jobset.x-k8s.io/v1alpha2, what we use. The template is checked as a Job.
JOBSET = closed(
  ['apiVersion', 'kind', 'metadata', 'spec'],
  apiVersion={'const': 'jobset.x-k8s.io/v1alpha2'},
  kind={'const': 'JobSet'},
  metadata=closed(['name'], name=TEXT, namespace=TEXT, labels=NAMES, annotations=NAMES),
  spec=closed(
    ['replicatedJobs'],
    failurePolicy=closed(
      [],
      maxRestarts={'type': 'integer', 'minimum': 0},
      restartStrategy={'enum': ['Recreate', 'BlockingRecreate']},
      rules={
        'type': 'array',
        'items': closed(
          ['name', 'action'],
          name={'pattern': '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$'},
          action={'enum': ['FailJobSet', 'RestartJobSet', 'RestartJobSetAndIgnoreMaxRestarts']},
          onJobFailureReasons={
            'type': 'array',
            'items': {
              'enum': [
                *('BackoffLimitExceeded', 'DeadlineExceeded', 'FailedIndexes'),
                *('MaxFailedIndexesExceeded', 'PodFailurePolicy'),
              ]
            },
          },
        ),
      },
    ),
    replicatedJobs={
      'type': 'array',
      'items': closed(
        ['name', 'template'],
        name=TEXT,
        replicas={'type': 'integer', 'minimum': 1},
        template=closed(['spec'], spec={'type': 'object'}),
      ),
    },
  ),
)


def render(*options, command=COMMAND):
  return subprocess.run(
    [sys.executable, str(RENDER), *options, *command], capture_output=True, text=True
  )


def manifests(*options, command=COMMAND):
  done = render(*options, command=command)
  assert done.returncode == 0, done.stderr
  return list(yaml.safe_load_all(done.stdout))


def check(manifest):
  """Raises jsonschema.ValidationError for what Kubernetes does not know."""
  if manifest['kind'] == 'JobSet':
    jsonschema.validate(manifest, JOBSET)
    for replicated in manifest['spec']['replicatedJobs']:
      job = {'apiVersion': 'batch/v1', 'kind': 'Job', 'metadata': {'name': 'x'}}
      check(job | {'spec': replicated['template']['spec']})
    return
  for version in VERSIONS:
    kubernetes_validate.validate(manifest, version, strict=True)


def job_spec(manifest):
  spec = manifest['spec']
  if manifest['kind'] == 'JobSet':
    return spec['replicatedJobs'][0]['template']['spec']
  return spec


def paths(value, path=()):
  """Paths of all objects inside a value."""
  if isinstance(value, dict):
    yield path
    for key, inner in value.items():
      yield from paths(inner, (*path, key))
  elif isinstance(value, list):
    for index, inner in enumerate(value):
      yield from paths(inner, (*path, index))


@pytest.mark.parametrize('name', CASES)
def test_manifests_are_the_golden_ones(name):
  path = GOLDEN / f'{name}.yaml'
  done = render(*CASES[name])
  assert done.returncode == 0, done.stderr
  if os.environ.get('WSJAX_GOLDEN') == 'write':
    path.write_text(done.stdout)
  assert done.stdout == path.read_text(), 'see the docstring of this file'


@pytest.mark.parametrize('name', CASES)
def test_manifests_have_no_field_that_kubernetes_does_not_know(name):
  made = manifests(*CASES[name])
  for manifest in made:
    check(manifest)


@pytest.mark.parametrize('name', CASES)
def test_a_misspelt_field_is_found_wherever_it_is(name):
  free = ('labels', 'annotations', 'nodeSelector', 'limits', 'requests')
  free += ('selector',)  # Maps of names that are the user's.
  for manifest in manifests(*CASES[name]):
    for path in paths(manifest):
      if {*path} & {*free}:
        continue
      wrong = copy.deepcopy(manifest)
      inner = wrong
      for key in path:
        inner = inner[key]
      inner['misspelt'] = 1
      with pytest.raises(jsonschema.ValidationError):
        check(wrong)


@pytest.mark.parametrize('name', CASES)
def test_wrong_input_fails_at_once_and_saved_is_free(name):
  body = job_spec(manifests(*CASES[name])[-1])
  rules = body['podFailurePolicy']['rules']
  codes = {
    rule['onExitCodes']['values'][0]: rule['action'] for rule in rules if 'onExitCodes' in rule
  }
  assert codes == {local.USER_ERROR: 'FailJob', local.SAVED: 'Ignore'}
  assert rules[-1]['onPodConditions'][0]['type'] == 'DisruptionTarget'
  # Kubernetes takes such a policy only with these two.
  assert body['template']['spec']['restartPolicy'] == 'Never'
  assert body['podReplacementPolicy'] == 'Failed'


def environment(manifest):
  container = job_spec(manifest)['template']['spec']['containers'][0]
  return {each['name']: each for each in container.get('env', ())}


def test_processes_find_the_first_by_its_name_in_dns():
  service, job = manifests(*CASES['job_of_hosts'])
  body = job_spec(job)['template']['spec']
  port = service['spec']['ports'][0]['port']
  made = environment(job)
  # Pods of an indexed job are called NAME-INDEX, under the service.
  assert made['WSJAX_COORDINATOR']['value'] == f'demo-0.demo:{port}'
  assert body['subdomain'] == service['metadata']['name'] == 'demo'
  assert service['spec']['selector'] == {'batch.kubernetes.io/job-name': 'demo'}
  (jobset,) = manifests(*CASES['jobset'])
  made = environment(jobset)
  # And those of a jobset NAME-GROUP-JOB-INDEX; it makes the service itself.
  assert made['WSJAX_COORDINATOR']['value'] == f'demo-workers-0-0.demo:{port}'
  assert made['WSJAX_NUM_PROCESSES']['value'] == '4'
  (single,) = manifests(*CASES['job'])
  assert not environment(single)


def test_a_jobset_starts_all_again_and_a_job_counts_every_pod():
  (jobset,) = manifests(*CASES['jobset'])
  assert jobset['spec']['failurePolicy']['maxRestarts'] == 10
  assert job_spec(jobset)['backoffLimit'] == 0
  job = manifests(*CASES['job_of_hosts'])[-1]
  assert job_spec(job)['backoffLimit'] == 3 * 4
  assert job_spec(job)['activeDeadlineSeconds'] == 12 * 3600


def test_words_reach_the_container_as_they_are():
  command = ('--', 'sh', '-c', 'echo $(HOME) "$x" \'y\'\n', '1')
  (job,) = manifests(*CASES['job'], command=command)
  words = job_spec(job)['template']['spec']['containers'][0]['command']
  # Kubernetes makes $( of $$(, and would put a variable for $(HOME).
  assert words == ['sh', '-c', 'echo $$(HOME) "$x" \'y\'\n', '1']


def test_a_run_is_named_after_its_workdir():
  one = spec.name_of(['wsjax', 'run', '--workdir', '/runs/Base_1/seed0'])
  two = spec.name_of(['wsjax', 'run', '--workdir=/runs/Base_2/seed0'])
  assert one.startswith('wsjax-runs-base-1-seed0-') and one != two
  long = spec.name_of(['--workdir', '/' + 'x_' * 200])
  spec.Spec(name=long, image='a', command=('b',), hosts=1000)
  done = render('--image=a', command=('--', 'wsjax'))
  assert done.returncode == 2 and 'has no --workdir' in done.stderr


@pytest.mark.parametrize(
  'options, message',
  [
    ({'name': 'Demo'}, r"--name 'Demo' must be a DNS-1123 label"),
    ({'name': '1st'}, 'starts with a letter'),
    ({'name': 'a' * 60}, 'at most 51 characters'),
    ({'kind': 'pod'}, "--kind 'pod' must be job or jobset"),
    ({'image': ''}, "--image '' must be an image"),
    ({'command': ()}, 'no command'),
    ({'hosts': 0}, '--hosts 0 must be at least 1'),
    ({'max_hours': -1}, '--max-hours -1 must be at least 0'),
    ({'resource': 'gpu'}, "--resource 'gpu' must be a resource such as"),
    ({'memory': '16GB'}, "--memory '16GB' must be a quantity"),
    ({'cpu': 'all'}, "--cpu 'all' must be a quantity"),
    ({'claim': 'A/b'}, "--claim 'A/b' must be the name of a claim"),
    ({'mount': 'runs'}, "--mount 'runs' must be an absolute path"),
    ({'exclusive': 'zone'}, '--exclusive needs --kind jobset'),
  ],
)
def test_wrong_values_are_clear_errors(options, message):
  right = {'name': 'demo', 'image': 'a', 'command': ('b',)}
  spec.Spec(**right)
  with pytest.raises(ValueError, match=message):
    spec.Spec(**right | options)


def test_wrong_values_are_exit_status_two():
  done = render('--name=Demo', '--image=a')
  assert done.returncode == 2 and 'DNS-1123' in done.stderr
  done = render(*CASES['job'], '--env=WSJAX_DATASETS')
  assert done.returncode == 2 and 'must be NAME=VALUE' in done.stderr


def test_apply_gives_the_manifests_to_kubectl(programs):
  words = (sys.executable, RENDER, *CASES['jobset'], '--apply')
  shown = programs.run(*words, '--dry-run', *COMMAND)
  assert not programs.calls
  assert shown.stdout == (GOLDEN / 'jobset.yaml').read_text()
  assert programs.run(*words, *COMMAND).returncode == 0
  assert programs.calls == [['kubectl', 'apply', '--filename=-']]
  assert programs.stdin == shown.stdout
