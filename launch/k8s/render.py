"""Renders one spec as a Kubernetes Job or JobSet.

  python launch/k8s/render.py --image IMAGE --hosts 4 --kind jobset \
    --devices 4 --resource google.com/tpu --claim runs \
    --select cloud.google.com/gke-tpu-topology=4x4 --apply -- \
    wsjax run --config configs/digits_flow.py --workdir /runs/x

Prints the manifests; --apply gives them to kubectl. Without --name they are
named after the workdir, so that a run is there once: to apply a run that is
there changes nothing, and one that ended is deleted before it is run again.

Exit status 2 of the command fails the run at once. 75 and a node that was
drained start it again for free, anything else within --restarts. A job starts
single pods again, which fits one host; a jobset starts all of them, after all
are gone.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import spec as spec_lib  # Beside this script.
import yaml

USER_ERROR = 2
SAVED = 75
PORT = 8476
CONTAINER = 'wsjax'
USER = 1000  # Of the image; see launch/docker/Dockerfile.


def manifests(spec: spec_lib.Spec) -> list[dict[str, Any]]:
  """The Kubernetes objects of a spec, in the order they are made."""
  made = [_jobset(spec)] if spec.kind == 'jobset' else [_job(spec)]
  if spec.kind == 'job' and spec.hosts > 1:
    made.insert(0, _service(spec))
  return made


def render(spec: spec_lib.Spec) -> str:
  """The manifests of a spec as YAML."""
  return yaml.safe_dump_all(manifests(spec), sort_keys=False)


def _metadata(spec: spec_lib.Spec) -> dict[str, Any]:
  metadata = {'name': spec.name, 'labels': {'app.kubernetes.io/name': 'wsjax'}}
  return metadata | ({'namespace': spec.namespace} if spec.namespace else {})


def _service(spec: spec_lib.Spec) -> dict[str, Any]:
  """Gives each pod a name in DNS, before it is ready."""
  return {
    'apiVersion': 'v1',
    'kind': 'Service',
    'metadata': _metadata(spec),
    'spec': {
      'clusterIP': 'None',
      'publishNotReadyAddresses': True,
      'selector': {'batch.kubernetes.io/job-name': spec.name},
      'ports': [{'name': 'coordinator', 'port': PORT}],
    },
  }


def _job(spec: spec_lib.Spec) -> dict[str, Any]:
  # One failure takes all pods down, and each of them counts.
  body = _job_spec(spec, f'{spec.name}-0', spec.restarts * spec.hosts)
  if spec.hosts > 1:
    body['template']['spec']['subdomain'] = spec.name
  return {'apiVersion': 'batch/v1', 'kind': 'Job', 'metadata': _metadata(spec), 'spec': body}


def _jobset(spec: spec_lib.Spec) -> dict[str, Any]:
  metadata = _metadata(spec)
  if spec.exclusive:
    key = 'alpha.jobset.sigs.k8s.io/exclusive-topology'
    metadata['annotations'] = {key: spec.exclusive}
  reasons = ['PodFailurePolicy', 'DeadlineExceeded']
  # The first pod that fails fails the job, and the set is what starts again.
  body = _job_spec(spec, f'{spec.name}-{spec_lib.WORKERS}-0-0', 0)
  return {
    'apiVersion': 'jobset.x-k8s.io/v1alpha2',
    'kind': 'JobSet',
    'metadata': metadata,
    'spec': {
      'failurePolicy': {
        'maxRestarts': spec.restarts,
        # No pod of the new set starts while one of the old set can write.
        'restartStrategy': 'BlockingRecreate',
        'rules': [{'name': 'givesUp', 'action': 'FailJobSet', 'onJobFailureReasons': reasons}],
      },
      'replicatedJobs': [{'name': spec_lib.WORKERS, 'replicas': 1, 'template': {'spec': body}}],
    },
  }


def _job_spec(spec: spec_lib.Spec, first_pod: str, backoff: int) -> dict[str, Any]:
  def on_exit(code: int, action: str) -> dict[str, Any]:
    codes = {'containerName': CONTAINER, 'operator': 'In', 'values': [code]}
    return {'action': action, 'onExitCodes': codes}

  disrupted = {'type': 'DisruptionTarget', 'status': 'True'}
  body = {
    'completionMode': 'Indexed',
    'completions': spec.hosts,
    'parallelism': spec.hosts,
    'backoffLimit': backoff,
    # A pod that is being ended still writes.
    'podReplacementPolicy': 'Failed',
    'podFailurePolicy': {
      'rules': [
        on_exit(USER_ERROR, 'FailJob'),
        on_exit(SAVED, 'Ignore'),
        {'action': 'Ignore', 'onPodConditions': [disrupted]},
      ]
    },
    'template': {'spec': _pod(spec, first_pod)},
  }
  if spec.max_hours:
    body['activeDeadlineSeconds'] = 3600 * spec.max_hours
  return body


def _pod(spec: spec_lib.Spec, first_pod: str) -> dict[str, Any]:
  env = [{'name': name, 'value': value} for name, value in spec.env.items()]
  if spec.hosts > 1:
    # What Kubernetes sets JOB_COMPLETION_INDEX from.
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    env += [
      {'name': 'WSJAX_COORDINATOR', 'value': f'{first_pod}.{spec.name}:{PORT}'},
      {'name': 'WSJAX_NUM_PROCESSES', 'value': str(spec.hosts)},
      {'name': 'WSJAX_PROCESS_ID', 'valueFrom': {'fieldRef': {'fieldPath': index}}},
    ]
  limits = {'cpu': spec.cpu, 'memory': spec.memory}
  limits[spec.resource] = str(spec.devices) if spec.devices else ''
  limits = {name: value for name, value in limits.items() if value}
  container = {
    'name': CONTAINER,
    'image': spec.image,
    'securityContext': {'allowPrivilegeEscalation': False, 'capabilities': {'drop': ['ALL']}},
    # Kubernetes would put variables for $(NAME).
    'command': [word.replace('$(', '$$(') for word in spec.command],
  }
  pod: dict[str, Any] = {
    'restartPolicy': 'Never',
    'automountServiceAccountToken': False,
    'securityContext': {
      'runAsNonRoot': True,
      'runAsUser': USER,
      'runAsGroup': USER,
      'fsGroup': USER,  # So that the claim can be written to.
      'seccompProfile': {'type': 'RuntimeDefault'},
    },
    'terminationGracePeriodSeconds': spec.grace,
    'containers': [container],
  }
  if env:
    container['env'] = env
  if limits:
    container['resources'] = {'requests': limits, 'limits': dict(limits)}
  if spec.claim:
    container['volumeMounts'] = [{'name': 'runs', 'mountPath': spec.mount}]
    claim = {'claimName': spec.claim}
    pod['volumes'] = [{'name': 'runs', 'persistentVolumeClaim': claim}]
  if spec.select:
    pod['nodeSelector'] = dict(spec.select)
  return pod


def _pairs(words: Sequence[str], option: str) -> dict[str, str]:
  for word in words:
    if '=' not in word.lstrip('='):
      raise ValueError(f'{option} {word!r} must be NAME=VALUE.')
  return dict(word.split('=', 1) for word in words)


def main(argv: Sequence[str] | None = None) -> int:
  """Parses the command line; prints the manifests or applies them."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add('--name', help='a DNS-1123 label; after the workdir if not given')
  add('--image', required=True, help='such as NAME@sha256:DIGEST, which stays as it is')
  add('--kind', default='job', help=' or '.join(spec_lib.KINDS))
  add('--hosts', type=int, default=1, help='pods, one process each')
  add('--devices', type=int, default=0, help='of each pod')
  add('--resource', default='nvidia.com/gpu', help='what a device is called')
  add('--cpu', default='', help='of each pod')
  add('--memory', default='', help='of each pod')
  add('--select', action='append', default=[], metavar='LABEL=VALUE')
  add('--env', action='append', default=[], metavar='NAME=VALUE')
  add('--restarts', type=int, default=3)
  add('--grace', type=int, default=120, help='seconds to save in')
  add('--max-hours', type=int, default=0, help='cost guard; 0 is none')
  add('--claim', default='', help='volume claim that holds the workdir')
  add('--mount', default='/runs', help='where the claim is mounted')
  add('--exclusive', default='', metavar='LABEL', help='of nodes, for a jobset')
  add('--namespace', default='')
  add('--apply', action='store_true', help='kubectl apply')
  add('--dry-run', action='store_true', help='print even with --apply')
  add('command', nargs='+', help='after --')
  args = vars(parser.parse_args(argv))
  apply = args.pop('apply') and not args['dry_run']
  del args['dry_run']
  try:
    args['command'] = tuple(args['command'])
    args['name'] = args['name'] or spec_lib.name_of(args['command'])
    for option in ('select', 'env'):
      args[option] = _pairs(args[option], f'--{option}')
    text = render(spec_lib.Spec(**args))
  except ValueError as error:
    sys.stderr.write(f'render.py: {error}\n')
    return USER_ERROR
  if apply:
    words = ['kubectl', 'apply', '--filename=-']
    return subprocess.run(words, input=text, text=True, check=False).returncode
  sys.stdout.write(text)
  return 0


if __name__ == '__main__':
  sys.exit(main())
