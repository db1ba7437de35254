"""Zoos of the ModelZoo project: a folder per run, with params.json, results and checkpoints.

  index_dict.json                      the layers; also in the folder of a run
  RUN/params.json                      configuration of the run
  RUN/result.json or RUN/progress.csv  one entry for each epoch
  RUN/checkpoint_000010/checkpoints    PyTorch state dict

Source: Schürholt et al. 2022, arXiv:2209.14764; github.com/ModelZoos/ModelZooDataset.
"""

import math
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from wsjax import files
from wsjax.interop import checkpoint, records, torch_archive

_EPOCH = re.compile(r'checkpoint_([0-9]{1,9})')


def read(path: pathlib.Path, id: str) -> Iterator[checkpoint.Checkpoint]:
  """Reads every checkpoint of every run.

  Raises:
    ValueError: naming the file, if one of them is not as it has to be, or there is no checkpoint.
  """
  del id
  runs = [path / name for name in checkpoint.natural(p.name for p in path.iterdir() if p.is_dir())]
  count = 0
  for run in [each for each in runs if (each / 'params.json').exists()]:
    config = files.read_json(run / 'params.json')
    if not isinstance(config, dict):
      raise ValueError(f'{run / "params.json"} is not a JSON object.')
    results = _results(run)
    saved = {
      int(found[1]): place / 'checkpoints'
      for place in run.iterdir()
      if (found := _EPOCH.fullmatch(place.name)) and (place / 'checkpoints').exists()
    }
    for epoch, file in sorted(saved.items()):
      (found,) = torch_archive.read(file, f'{run.name}/{epoch:06d}')
      record = _record(config, results.get(epoch, {}), run.name, epoch, max(saved))
      yield checkpoint.Checkpoint(found.id, found.tensors, 'torch', str(file), record)
      count += 1
  if not count:
    raise ValueError(f'{path} has no run with params.json and checkpoint_NNNNNN/checkpoints.')


def _results(run: pathlib.Path) -> dict[int, dict[str, Any]]:
  """Epoch -> its entry in the results."""
  if (run / 'result.json').exists():
    rows = [line.value for line in files.read_json_lines(run / 'result.json')[0]]
  elif (run / 'progress.csv').exists():
    rows = records.read_csv(run / 'progress.csv')
  else:
    return {}
  found = {}
  for row in rows:
    if isinstance(row, dict) and isinstance(row.get('training_iteration'), int):
      found[row['training_iteration']] = {
        name: value
        for name, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
      }
  return found


def _record(
  config: Mapping[str, Any], result: Mapping[str, float], run: str, epoch: int, last: int
) -> dict[str, Any]:
  hparams = {
    name.partition('::')[2]: value
    for name, value in config.items()
    if name.startswith('optim::') and isinstance(value, str | int | float)
  }
  named = {'lr': 'learning_rate', 'wd': 'weight_decay'}
  optimizer = hparams.pop('optimizer', None)
  final = [
    {'dataset': None, 'split': split, 'metric': metric, 'value': result[name]}
    for name, split, metric in (
      ('validation_acc', 'val', 'accuracy'),
      ('validation_loss', 'val', 'loss'),
      ('train_acc', 'train', 'accuracy'),
      ('train_loss', 'train', 'loss'),
    )
    if name in result
  ]
  seed = config.get('seed')
  return {
    'run_id': run,
    'split_group': run,
    # Epochs; the project does not count steps.
    'step': epoch,
    'steps': last,
    'epoch': epoch,
    'final': final,
    'optimizer': optimizer
    and {
      'name': str(optimizer).lower(),
      'hparams': {named.get(name, name): value for name, value in hparams.items()},
    },
    'seed': {'init': seed, 'data': None} if type(seed) is int and seed >= 0 else None,
    'config': {k: v for k, v in config.items() if isinstance(v, str | int | float | bool)},
    **{name: result[name] for name in ('test_acc', 'test_loss', 'ggap') if name in result},
  }
