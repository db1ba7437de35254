"""What can be asked of Kubernetes: one spec, checked before it is rendered."""

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence

KINDS = ('job', 'jobset')
WORKERS = 'workers'  # The only replicated job of a jobset.

_LABEL = re.compile(r'[a-z]([-a-z0-9]*[a-z0-9])?')
# What must be true of text; the second is said where it is not.
_PATTERNS = {
  'namespace': (_LABEL, 'a DNS-1123 label that starts with a letter'),
  'image': (re.compile(r'\S+'), 'an image without spaces'),
  'resource': (
    re.compile(r'[a-z0-9.-]+/[A-Za-z0-9._-]+'),
    'a resource such as nvidia.com/gpu or google.com/tpu',
  ),
  'cpu': (re.compile(r'\d+(\.\d+)?m?'), 'a quantity such as 8 or 500m'),
  'memory': (re.compile(r'\d+([KMGT]i?)?'), 'a quantity such as 16Gi'),
  'claim': (
    re.compile(r'[a-z0-9]([-.a-z0-9]*[a-z0-9])?'),
    'the name of a claim, which is a DNS-1123 subdomain',
  ),
  'mount': (re.compile(r'/\S+'), 'an absolute path'),
}
_LEAST = {'hosts': 1, 'devices': 0, 'restarts': 0, 'grace': 1, 'max_hours': 0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
  """A run on a cluster.

  Attributes:
    name: of everything that is made.
    image: of the container.
    command: words.
    kind: 'job' or 'jobset'.
    hosts: pods, one process each.
    devices: of each pod.
    resource: what a device is called.
    cpu: of each pod; '' asks for none.
    memory: of each pod; '' asks for none.
    select: labels that a node must have.
    env: more variables.
    restarts: of the set, after a failure.
    grace: seconds between SIGTERM and SIGKILL.
    max_hours: after which a job is ended, and each start of a jobset; 0 is never.
    claim: of the volume with the workdir; '' mounts none.
    mount: where.
    exclusive: a node label; a jobset has each of its values for itself.
    namespace: '' is that of kubectl.
  """

  name: str
  image: str
  command: tuple[str, ...]
  kind: str = 'job'
  hosts: int = 1
  devices: int = 0
  resource: str = 'nvidia.com/gpu'
  cpu: str = ''
  memory: str = ''
  select: Mapping[str, str] = dataclasses.field(default_factory=dict)
  env: Mapping[str, str] = dataclasses.field(default_factory=dict)
  restarts: int = 3
  grace: int = 120
  max_hours: int = 0
  claim: str = ''
  mount: str = '/runs'
  exclusive: str = ''
  namespace: str = ''

  def __post_init__(self):
    # The name of a pod, with its number, is a label too.
    longest = 63 - len(f'-{WORKERS}-0-{self.hosts}')
    if not _LABEL.fullmatch(self.name) or len(self.name) > longest:
      raise ValueError(
        f'--name {self.name!r} must be a DNS-1123 label that starts with a '
        f'letter: a-z, 0-9 and -, at most {longest} characters.'
      )
    if self.kind not in KINDS:
      raise ValueError(f'--kind {self.kind!r} must be {" or ".join(KINDS)}.')
    if not self.command:
      raise ValueError('There is no command; give it after --.')
    for field, (pattern, what) in _PATTERNS.items():
      value = getattr(self, field)
      needed = field in ('image', 'resource', 'mount')
      if (value or needed) and not pattern.fullmatch(value):
        raise ValueError(f'--{field} {value!r} must be {what}.')
    for field, least in _LEAST.items():
      if getattr(self, field) < least:
        raise ValueError(
          f'--{field.replace("_", "-")} {getattr(self, field)} must be at least {least}.'
        )
    if self.exclusive and self.kind != 'jobset':
      raise ValueError('--exclusive needs --kind jobset.')


def name_of(command: Sequence[str]) -> str:
  """A name for the run of a command, after its --workdir.

  Raises:
    ValueError: if it has none.
  """
  words = ' '.join(command).replace('--workdir=', '--workdir ').split()
  if '--workdir' not in words[:-1]:
    raise ValueError('--name is needed: the command has no --workdir.')
  workdir = words[words.index('--workdir') + 1]
  digest = hashlib.sha256(workdir.encode()).hexdigest()[:8]
  slug = re.sub('[^a-z0-9]+', '-', workdir.lower()).strip('-')
  return f'wsjax-{slug[-24:].strip("-")}-{digest}'
