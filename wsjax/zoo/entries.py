"""Entries of a zoo, weights and records: checkpoints of trained networks, generated networks."""

import functools
import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

import wsjax
from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.zoo import train as train_lib
from wsjax.zoo.data import datasets, subsets
from wsjax.zoo.store import log, published, store
from wsjax.zoo.store import record as record_lib

# Licence of the weights that wsjax trains, to which that of the data is added.
LICENSE = 'Apache-2.0'
OBJECTIVES = {'classification': 'cross_entropy', 'image_fitting': 'mean_squared_error'}
_TRACED = ('split', 'metric', 'value')
# Metric of a trace -> (split, name) in a record.
_METRICS = {
  'train_loss': ('train', 'loss'),
  'psnr': ('train', 'psnr'),
  'val_loss': ('val', 'loss'),
  'val_accuracy': ('val', 'accuracy'),
  'train_accuracy': ('train', 'accuracy'),
}


def key(index: int, step: int) -> str:
  """Key in the log of network `index` after `step` steps; sorts by run."""
  return f'{index:08d}/{step:08d}'


def of_trained(
  trained: train_lib.TrainedNetworks,
  architecture: model_lib.Model,
  dataset: datasets.Dataset,
  recipe: train_lib.Recipe,
  *,
  seed: int,
  config_sha256: str,
  splits: Sequence[str],
) -> list[log.Entry]:
  """Log entries of every checkpoint of trained networks, run by run, in the order of steps.

  The parent of a checkpoint is the one before it. The seed, the digest of the config section and
  the splits, by index, are those of the whole zoo.
  """
  common = _common(architecture, dataset, recipe, seed) | {'config_sha256': config_sha256}
  steps = (*trained.snapshots, recipe.steps)
  stages = [*trained.snapshots.values(), trained.params]
  result = []
  for row, index in enumerate(trained.indices.tolist()):
    run_id = f'{config_sha256[:16]}/{index:08d}'
    lineage = _lineage(trained, architecture, dataset, row)
    hparams = {name: _number(v[row]) for name, v in trained.hparams.items()}
    hparams['momentum'] = recipe.momentum
    group = run_id
    if 'labels' in lineage:  # The pair of a subset of classes and its complement.
      group = f'{config_sha256[:16]}/{subsets.pair(lineage["labels"])}'
    parents = []
    trace = []
    for place, (step, stacked) in enumerate(zip(steps, stages, strict=True)):
      params = {path: array[row] for path, array in stacked.items()}
      final = _metrics(trained, architecture, dataset, row, place)
      trace = trace + [{'step': step} | {k: m[k] for k in _TRACED} for m in final]
      record = record_lib.make(
        **common,
        **record_lib.describe_params(params),
        optimizer={'name': str(trained.optimizer[row]), 'hparams': hparams},
        datasets=[lineage],
        step=step,
        epoch=step * common['batch_size'] / _examples(architecture, dataset),
        trace=trace,
        final=final,
        diverged=bool(trained.diverged[row]),
        run_id=run_id,
        split_group=group,
        split=splits[index],
        parents=parents,
      )
      result.append(log.Entry(key(index, step), params, record))
      parents = [
        {'record_id': record['record_id'], 'relation': 'checkpoint_of', 'detail': {'step': step}}
      ]
  return result


def publish_generated(
  path: pathlib.Path,
  params: typing.StackedParams,
  architecture: model_lib.Model,
  *,
  generated: Mapping[str, Any],
  parents: typing.PyTree,
  source: Mapping[str, Any],
  nonces: Sequence[str] | None = None,
) -> store.Zoo:
  """Publishes generated networks as a zoo, each with a record of its making.

  A network that is not finite is marked diverged. All are in the split 'test': nothing generated
  may slip into a training split unnoticed.

  Args:
    path: folder of the new zoo.
    params: path -> [N, ...] weights, unselected.
    architecture: of all networks.
    generated: record field of that name, without what differs by network.
    parents: record field of that name: generator and training zoo.
    source: record of a training network; data, licence and task carry over.
    nonces: of the keyed noise of each network, for `generated.noise_key_id`.

  Raises:
    ValueError: if there is a zoo at `path` already, or the networks of another draw are published
      there.
  """
  shared = {
    **record_lib.describe_model(architecture),
    **record_lib.environment(),
    **{key: source[key] for key in ('task', 'datasets', 'license', 'redistributable')},
    **{'trace': [], 'final': [], 'screens': []},
    'parents': parents,
    'split': 'test',
  }
  # Nobody trained these networks: the recipe is known not to exist.
  unknown = ('objective', 'optimizer', 'batch_size', 'steps', 'step')
  shared |= dict.fromkeys((*unknown, 'seed', 'precision', 'config_sha256'))
  run = hashlib.sha256(repr(sorted(generated.items())).encode()).hexdigest()
  count = len(next(iter(params.values())))
  entries = []
  for i in range(count):
    net = {key: np.asarray(value[i]) for key, value in params.items()}
    name = f'generated-{run[:8]}-{i:08d}'
    made = record_lib.make(
      **shared,
      **record_lib.describe_params(net),
      run_id=name,
      split_group=name,
      generated={**generated, 'condition': None, **({'noise_key_id': nonces[i]} if nonces else {})},
      diverged=not all(record_lib.is_finite(value) for value in net.values()),
    )
    entries.append(store.Entry(key=f'{i:08d}', params=net, record=made))
  draw = {'generated': dict(generated), 'parents': parents, 'networks': count}
  log.check_plan(path, draw, parts=(published.MANIFEST, 'log.lmdb'))
  if (path / published.MANIFEST).exists():
    raise ValueError(f'{path} holds a zoo already; give another folder.')
  log.write_plan(path, draw)
  with log.Log(path / 'log.lmdb') as made_log:
    made_log.append([entry for entry in entries if entry.key not in set(made_log.keys())])
    return store.publish(made_log, path)


def _common(
  architecture: model_lib.Model, dataset: datasets.Dataset, recipe: train_lib.Recipe, seed: int
) -> dict[str, Any]:
  """Fields that the records of all these networks share."""
  fits_images = architecture.task == 'image_fitting'
  is_licensed = dataset.license != datasets.UNLICENSED
  return {
    **_environment(),
    **record_lib.describe_model(architecture),
    'task': architecture.task,
    'objective': _objective(architecture, dataset),
    'schedule': {'name': 'constant'},
    'batch_size': (_examples(architecture, dataset) if fits_images else recipe.batch_size),
    'steps': recipe.steps,
    # With the index in run_id these give every random draw of the network.
    'seed': {'init': seed, 'data': seed},
    'augmentation': [name for name in ('input_noise', 'shift') if recipe.uses(name)],
    'precision': 'float32',
    'license': LICENSE,
    'license_effective': f'{LICENSE} AND {dataset.license}' if is_licensed else None,
    'attribution': [
      ' '.join(filter(None, (dataset.name, dataset.version, f'({dataset.license})')))
    ],
    'redistributable': is_licensed,
    'screens': [],
  }


def _objective(architecture: model_lib.Model, dataset: datasets.Dataset) -> str | None:
  """What the networks minimize; a loss of the user's own by its name."""
  if dataset.loss is None:
    return OBJECTIVES.get(architecture.task)
  name = getattr(dataset.loss, '__qualname__', type(dataset.loss).__qualname__)
  return f'{getattr(dataset.loss, "__module__", "function")}:{name}'


_environment = functools.cache(record_lib.environment)


def _examples(architecture: model_lib.Model, dataset: datasets.Dataset) -> int:
  """Number of examples of an epoch: images, or pixels of one image."""
  if architecture.task == 'image_fitting':
    return int(np.prod(dataset.train_x.shape[1:3]))
  return len(dataset.train_y)


def _lineage(
  trained: train_lib.TrainedNetworks,
  architecture: model_lib.Model,
  dataset: datasets.Dataset,
  row: int,
) -> dict[str, Any]:
  """Data lineage of one network."""
  index, places = trained.indices[row], dataset.train_index
  if architecture.task == 'image_fitting':
    places = places[index : index + 1]
  elif trained.seen is not None:
    places = places[trained.seen[row]]
  labels = {} if dataset.codes is None else {'labels': subsets.text(dataset.codes[index])}
  return {
    **labels,
    **{name: getattr(dataset, name) or None for name in ('name', 'version', 'sha256')},
    'license': None if dataset.license == datasets.UNLICENSED else dataset.license,
    'subset_indices_sha256': datasets.index_digest(places),
    'contains_personal_data': 'unknown',
  }


def _metrics(
  trained: train_lib.TrainedNetworks,
  architecture: model_lib.Model,
  dataset: datasets.Dataset,
  row: int,
  place: int,
) -> list[dict[str, Any]]:
  """Metrics of one checkpoint, without those of an absent val split."""
  result = []
  for name, (split, metric) in _METRICS.items():
    n = len(dataset.val_y) if split == 'val' else _examples(architecture, dataset)
    if name not in trained.trace or not n:
      continue
    value = float(trained.trace[name][row, place])
    # The training accuracy is a mean over an epoch, in which weights change: its examples are not
    # independent.
    low, high = _binomial_interval(value, n) if name == 'val_accuracy' else (None, None)
    result.append(
      {
        'dataset': dataset.name,
        'split': split,
        'metric': metric,
        'value': value if np.isfinite(value) else None,
        'n': n,
        'ci_low': low,
        'ci_high': high,
        'evaluator_version': f'wsjax {wsjax.__version__}',
      }
    )
  return result


@functools.lru_cache(maxsize=4096)
def _binomial_interval(share: float, n: int) -> tuple[float, float]:
  """Exact 95 % interval of a share of n (Clopper and Pearson 1934)."""
  k = round(share * n)
  low = scipy.stats.beta.ppf(0.025, k, n - k + 1) if k else 0.0
  high = scipy.stats.beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
  return float(low), float(high)


def _number(value: np.floating) -> float | None:
  """A float32 as the shortest decimal that reads back to it."""
  return float(str(value)) if np.isfinite(value) else None
