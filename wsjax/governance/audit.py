"""Audits of a generator: membership of networks and images; marks and backdoors of samples."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from wsjax import files, manifest, typing
from wsjax import networks as networks_lib
from wsjax.evaluation import metric, predictions, statistics
from wsjax.experiments import base, generation
from wsjax.governance import backdoor, lineage, membership, screen, watermark
from wsjax.zoo.store import store

FILE = 'audit.json'
_GROUPS = ('training networks', 'held-out runs', 'samples')  # In which backdoors are looked for.
_MOST = 1000  # Networks of a group.
_STAT = {
  'type': 'object',
  'required': ['value'],
  'properties': {
    'value': {'type': ['number', 'null']},
    'low': {'type': ['number', 'null']},
    'high': {'type': ['number', 'null']},
  },
}
_MEMBERSHIP = {
  'type': 'object',
  'required': ['auroc', 'tpr', 'fpr', 'level'],
  'properties': {'auroc': _STAT, 'tpr': _STAT, 'fpr': _STAT, 'level': {'type': 'number'}},
}
_DATA = {
  'type': 'object',
  'minProperties': 1,
  'additionalProperties': {
    'type': 'object',
    'required': ['direct', 'samples', 'ratio'],
    'properties': {'direct': _MEMBERSHIP, 'samples': _MEMBERSHIP, 'ratio': _STAT},
  },
}
_CANARIES = {
  'type': 'object',
  'minProperties': 1,
  'additionalProperties': {
    'type': 'object',
    'required': ['auroc', 'right', 'epsilon', 'delta'],
    'properties': {
      'auroc': _STAT, 'right': _STAT, 'epsilon': {'type': 'number'}, 'delta': {'type': 'number'},
    },
  },
}  # fmt: skip
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
_BACKDOORS = {
  'type': 'object',
  'required': ['auroc', 'false_positives', 'accuracy', 'rates'],
  'properties': {
    'auroc': _STAT,
    'false_positives': _STAT,
    'accuracy': {'type': 'number'},
    'rates': {'type': 'object', 'required': list(_GROUPS), 'additionalProperties': _STAT},
  },
}
_SCHEMA = {
  'type': 'object',
  'required': ['generators', 'membership', 'collapse'],
  'properties': {
    'generators': {'type': 'array', 'items': {'type': 'string'}},
    'membership': {'type': 'object', 'minProperties': 1, 'additionalProperties': _MEMBERSHIP},
    'data': {'anyOf': [_DATA, {'type': 'null'}]},
    'canaries': {'anyOf': [_CANARIES, {'type': 'null'}]},
    'collapse': {'anyOf': [_STAT, {'type': 'null'}]},
    'watermark': {'anyOf': [_WATERMARK, {'type': 'null'}]},
    'backdoors': {'anyOf': [_BACKDOORS, {'type': 'null'}]},
  },
}


def audit(
  workdir: pathlib.Path | str,
  *,
  level: float = 0.01,
  shadows: int = 0,
  canaries: int = 0,
  key: pathlib.Path | str | None = None,
  backdoors: int = 0,
) -> dict[str, Any]:
  """Audits the generator of a finished run and writes audit.json, which releases look into.

  Args:
    workdir: of the run; its zoo has to be there.
    level: false positive rate of the membership audit.
    shadows: generators that are trained on other networks for its stronger attacks, and sets of
      networks on other images; checkpoints of the generators are in the folder `audit` of the run,
      where an interrupted audit continues.
    canaries: networks, half of which are planted in the training set of one more generator; 0 are
      none.
    key: file with the key that the samples are marked with; None is none, and marks are not looked
      for.
    backdoors: networks that are trained, half of them poisoned, for a detector of backdoors; 0 does
      not look for any.

  Returns:
    'generators' that were audited; 'membership' of the first of them: see `membership.audit`;
    'data': see `membership.audit_data`; 'canaries': see `membership.audit_canaries`, None without
    them; 'collapse': the share of samples that give one class to
    twice as many inputs as 99 % of trained networks do, None if they are no classifiers;
    'watermark': see `watermark.of_run`, None without a key; 'backdoors': see `backdoor.suspect`,
    None where they are not looked for.

  Raises:
    ValueError: if there is no such run, the zoo has no held-out networks, the samples are not
      marked with the key, or backdoors cannot be looked for.
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
  first = config.train.seeds[0]
  # Marks are looked for in the samples of all.
  seeds = [first] if key is None else by_seed
  fitted = {seed: experiment.fit(seed, trains=False)[0] for seed in seeds}
  found = membership.audit(
    experiment, fitted[first], zoo.params(held_out), workdir / 'audit', shadows=shadows, level=level
  )
  leaks = membership.audit_data(experiment, fitted[first], shadows=shadows, level=level)
  told = None
  if canaries:
    told = membership.audit_canaries(
      experiment, zoo.params(held_out), workdir / 'audit', count=canaries
    )
  collapse = None
  if experiment.data.architecture.task == 'classification':
    collapse = _collapse(experiment, samples, experiment.data.train)
  marks = None
  if key is not None:
    marks = watermark.of_run(experiment, fitted, by_seed, key)
  suspicion = None
  if backdoors:
    data, held = experiment.data, held_out[:_MOST]
    groups = (networks_lib.take(data.train, slice(_MOST)), zoo.params(held), samples)
    suspicion = dataclasses.asdict(
      backdoor.suspect(
        data.architecture,
        data.dataset,
        dict(zip(_GROUPS, groups, strict=True)),
        count=backdoors,
        level=level,
      )
    )
  names = sorted(lineage.generators(drawn))
  value = {
    'generators': names,
    'membership': {name: dataclasses.asdict(attack) for name, attack in found.items()},
    'data': leaks and {name: dataclasses.asdict(leak) for name, leak in leaks.items()},
    'canaries': told and {name: dataclasses.asdict(found) for name, found in told.items()},
    'collapse': collapse,
    'watermark': marks,
    'backdoors': suspicion,
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
