"""Audits of a generator: was a network in its training set, and do its samples answer anything?

Membership is attacked through the nearest sample: a network that a generator learned from may lie
closer to its samples than one that it never saw. An attack that fails is no evidence of privacy.
"""

import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from wsjax import files, manifest, typing
from wsjax import networks as networks_lib
from wsjax.evaluation import metric, predictions, statistics
from wsjax.evaluation.metrics import membership as membership_lib
from wsjax.experiments import base, generation
from wsjax.governance import lineage, screen, watermark
from wsjax.symmetry import distance
from wsjax.symmetry import spec as spec_lib
from wsjax.zoo.store import store

FILE = 'audit.json'
_STAT = {
  'type': 'object',
  'required': ['value'],
  'properties': {
    'value': {'type': ['number', 'null']},
    'low': {'type': ['number', 'null']},
    'high': {'type': ['number', 'null']},
  },
}
_WATERMARK = {
  'type': 'object',
  'required': ['key', 'samples', 'emitted', 'attacks', 'false_positives', 'accuracy_cost'],
  'properties': {
    'key': {'type': 'string'},
    'samples': {'type': 'array', 'items': {'type': 'string'}},
    'emitted': _STAT,
    'attacks': {
      'type': 'object',
      'additionalProperties': {
        'type': 'object',
        'required': ['found', 'required'],
        'properties': {'found': _STAT, 'required': {'type': 'boolean'}},
      },
    },
    'false_positives': {'type': 'object', 'additionalProperties': _STAT},
    'accuracy_cost': {'anyOf': [_STAT, {'type': 'null'}]},
  },
}
_SCHEMA = {
  'type': 'object',
  'required': ['generators', 'membership', 'collapse'],
  'properties': {
    'generators': {'type': 'array', 'items': {'type': 'string'}},
    'membership': {
      'type': 'object',
      'required': ['auroc', 'tpr', 'fpr', 'level'],
      'properties': {'auroc': _STAT, 'tpr': _STAT, 'fpr': _STAT, 'level': {'type': 'number'}},
    },
    'collapse': {'anyOf': [_STAT, {'type': 'null'}]},
    'watermark': {'anyOf': [_WATERMARK, {'type': 'null'}]},
  },
}


@dataclasses.dataclass(frozen=True)
class Membership:
  """How well an attack tells members of a training set from others.

  Attributes:
    auroc: chance that a member has the higher score, with its interval.
    tpr: share of members above the threshold, with its exact interval; not run where there are too
      few non-members for the level.
    fpr: share of the non-members above it that it was not set on.
    level: false positive rate for which the threshold was set.
  """

  auroc: metric.Stat
  tpr: metric.Stat
  fpr: metric.Stat
  level: float


def attack(
  members: Float[np.ndarray, ' m'],
  others: Float[np.ndarray, ' n'],
  *,
  level: float = 0.01,
  num_bootstrap: int = 1000,
  seed: int = 0,
) -> Membership:
  """Evaluates scores, higher for members, with a threshold from a half of the others.

  Args:
    members: scores of networks in the training set.
    others: scores of held-out networks.
    level: false positive rate.
    num_bootstrap: resamples behind the interval of the AUROC.
    seed: of them and of the halves.
  """
  auroc = membership_lib.auc(members, others, num_bootstrap=num_bootstrap, seed=seed)
  shuffled = np.random.default_rng(seed).permutation(others)
  calibration, rest = shuffled[: len(others) // 2], shuffled[len(others) // 2 :]
  place = math.floor(level * (len(calibration) + 1))
  if place < 1:
    needed = 2 * (math.ceil(1 / level) - 1)
    why = f'{len(others)} held-out networks; {needed} are needed for a rate of {level:g}'
    return Membership(auroc, statistics.not_run(why), statistics.not_run(why), level)
  threshold = np.sort(calibration)[-place]
  tpr, fpr = statistics.rate(members > threshold), statistics.rate(rest > threshold)
  return Membership(auroc, tpr, fpr, level)


def membership(
  samples: typing.StackedParams,
  members: typing.StackedParams,
  others: typing.StackedParams,
  spec: spec_lib.Spec,
  *,
  level: float = 0.01,
  restarts: int = 3,
  seed: int = 0,
) -> Membership:
  """Attacks by the quotient distance to the nearest sample.

  Args:
    samples: path -> [s, ...] networks that the generator drew.
    members: path -> [m, ...] networks that it learned from.
    others: path -> [n, ...] networks of other runs.
    spec: their symmetry.
    level: false positive rate.
    restarts: starts of every alignment.
    seed: of the starts and resamples.

  Raises:
    ValueError: if weights are not finite.
  """
  reference = {path: np.asarray(value)[0] for path, value in samples.items()}
  search = distance.Neighbours(samples, spec, reference, restarts=restarts, seed=seed)
  scores = [-search.nearest(networks)[0] for networks in (members, others)]
  return attack(*scores, level=level, seed=seed)


def audit(
  workdir: pathlib.Path | str, *, level: float = 0.01, key: pathlib.Path | str | None = None
) -> dict[str, Any]:
  """Audits the generator of a finished run and writes audit.json, which releases look into.

  Args:
    workdir: of the run; its zoo has to be there.
    level: false positive rate of the membership audit.
    key: file with the key that the samples are marked with; None is none, and marks are not looked
      for.

  Returns:
    'generators' that were audited; 'membership', see `Membership`; 'collapse': the share of samples
    that give one class to twice as many inputs as 99 % of trained networks do, None if they are no
    classifiers; 'watermark': see `watermark.of_run`, None without a key.

  Raises:
    ValueError: if there is no such run, the zoo has no held-out networks, or the samples are not
      marked with the key.
  """
  workdir = files.folder(workdir, 'workdir')
  config = manifest.load_config(workdir)
  zoo = base.open_zoo(config, workdir, progress=False, trains=False)
  experiment = generation.of_run(config, zoo, workdir)
  by_seed = {seed: store.Zoo.open(workdir / f'samples/seed{seed}') for seed in config.train.seeds}
  drawn = list(by_seed.values())
  held_out = np.concatenate([zoo.select(split=split) for split in ('test', 'holdout_audit')])
  if not len(held_out):
    raise ValueError(f'{zoo!r} has no networks of the splits test and holdout_audit.')
  samples = _finite(drawn)
  members = zoo.params(zoo.select(split='train'))
  found = membership(samples, members, zoo.params(held_out), zoo.spec, level=level)
  collapse = None
  if experiment.data.architecture.task == 'classification':
    collapse = _collapse(experiment, samples, members)
  marks = None
  if key is not None:
    fitted = {seed: experiment.fit(seed, trains=False)[0] for seed in by_seed}
    marks = watermark.of_run(experiment, fitted, by_seed, key)
  names = sorted(lineage.generators(drawn))
  value = {
    'generators': names,
    'membership': dataclasses.asdict(found),
    'collapse': collapse,
    'watermark': marks,
  }
  files.replace(workdir / FILE, files.seal(value))
  return value


def read(workdir: pathlib.Path) -> dict[str, Any] | None:
  """What `audit` wrote; None if there is none. Raises ValueError if it was changed."""
  if not (workdir / FILE).exists():
    return None
  return files.read_sealed(workdir / FILE, schema=_SCHEMA)


def _finite(zoos: Sequence[store.Zoo]) -> typing.StackedParams:
  """The networks of several zoos that did not diverge."""
  parts = [zoo.params(rows) for zoo in zoos if len(rows := zoo.select(final=None))]
  if not parts:
    raise ValueError('The generator drew no network with finite weights.')
  return networks_lib.join(parts)


def _collapse(
  experiment: generation.Generation, samples: typing.StackedParams, members: typing.StackedParams
) -> metric.Stat:
  """Share of samples that give one class to twice as many inputs as trained networks do."""
  data = experiment.data
  items = predictions.make_items(data.dataset.test_x, data.dataset.test_y)
  labels = [
    predictions.predict(data.architecture, networks, items).labels
    for networks in (members, samples)
  ]
  count = data.dataset.num_classes
  shares = np.stack([(labels[0] == c).mean(axis=1) for c in range(count)]).max(axis=0)
  limit = min(2 * float(np.quantile(shares, 0.99)), 0.99)
  return statistics.rate(screen.collapsed(labels[1], count, limit))
