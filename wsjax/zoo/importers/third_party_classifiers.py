"""Classifiers of MNIST and Fashion-MNIST that others trained and published.

Sources: locuslab/convex_adversarial and Verified-Intelligence/alpha-beta-CROWN.
"""

import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from wsjax import typing
from wsjax.models import cnn, mlp
from wsjax.models import model as model_lib
from wsjax.zoo.importers import foreign
from wsjax.zoo.store import store

ARRAYS = 'weights.npz'
IMAGE = (28, 28, 1)
# Repository -> (commit, licence of the weights, whom to name).
_SOURCES = {
  'locuslab/convex_adversarial': (
    '2cd8149249b9',
    'MIT',
    'convex_adversarial, Copyright (c) 2018 Eric Wong (MIT)',
  ),
  'Verified-Intelligence/alpha-beta-CROWN': (
    '8250d5fbd530',
    'BSD-3-Clause',
    'alpha-beta-CROWN (BSD-3-Clause)',
  ),
}
# Task -> licence of the data.
_DATA = {'mnist': 'CC-BY-SA-3.0', 'fashion_mnist': 'MIT'}
_KEYS = (
  'source',
  'path',
  'task',
  'layers',
  'activation',
  'conv_stride',
  'conv_padding',
  'input_normalization',
  'measured_test_accuracy',
)


def import_zoo(folder: pathlib.Path | str, out: pathlib.Path | str) -> store.Zoo:
  """Publishes every classifier as a zoo.

  Args:
    folder: with `weights.npz` and `index.json`.
    out: folder of the zoo.

  Returns:
    The zoo; two architectures. Pixels are in [0, 1].

  Raises:
    ValueError: as `foreign.read` and `foreign.publish`, or for a classifier of another form.
  """
  return foreign.publish(networks(folder), out, license='MIT', attribution='see each record')


def networks(folder: pathlib.Path | str) -> Iterator[foreign.Network]:
  """The classifiers of a folder; see `import_zoo`."""
  for entry, arrays in foreign.read(folder, ARRAYS, required=_KEYS):
    yield _network(entry, arrays)


def _network(entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> foreign.Network:
  if (
    entry['source'] not in _SOURCES
    or entry['task'] not in _DATA
    or entry['input_normalization'] is not None
  ):
    raise ValueError(
      f'Classifier {entry["id"]!r} must come from '
      f'{" or ".join(_SOURCES)}, classify {" or ".join(_DATA)} and take '
      'pixels in [0, 1].'
    )
  commit, license, attribution = _SOURCES[entry['source']]
  data_license = _DATA[entry['task']]
  architecture, params = _convert(entry, arrays)
  return foreign.Network(
    id=entry['id'],
    architecture=architecture,
    params=params,
    source=(f'https://github.com/{entry["source"]}/blob/{commit}/{entry["path"]}'),
    detail={
      'task': entry['task'],
      'algorithm': None,
      'score': entry['measured_test_accuracy'],
      'score_is': 'accuracy on the official test set',
      'note': entry.get('note') or None,
    },
    fields={
      'task': 'classification',
      'license': license,
      'license_effective': f'{license} AND {data_license}',
      'attribution': [attribution, f'{entry["task"]} ({data_license})'],
      'datasets': [
        {
          'name': entry['task'],
          'version': None,
          'sha256': None,
          'license': data_license,
          'contains_personal_data': 'unknown',
        }
      ],
    },
  )


def _convert(
  entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> tuple[model_lib.Model, typing.Params]:
  """Architecture and weights; layers follow in the order of the index."""
  names = list(dict.fromkeys(key.rpartition('.')[0] for key in entry['layers']))
  layers = [(arrays[f'{n}.weight'], arrays[f'{n}.bias']) for n in names]
  convs = [layer for layer in layers if layer[0].ndim == 4]
  dense = [(kernel.T, bias) for kernel, bias in layers[len(convs) :]]
  widths = tuple(kernel.shape[1] for kernel, _ in dense)
  if not convs:
    sizes = (math.prod(IMAGE), *widths)
    return mlp.MLP(sizes, entry['activation']), foreign.dense(dense)
  architecture = cnn.CNN(
    IMAGE,
    tuple(kernel.shape[0] for kernel, _ in convs),
    widths[:-1],
    widths[-1],
    entry['activation'],
    pool=1,
    window=convs[0][0].shape[-1],
    stride=entry['conv_stride'],
    padding=entry['conv_padding'],
  )
  dense[0] = (_channels_last(dense[0][0], convs[-1][0].shape[0]), dense[0][1])
  params = foreign.dense(dense, path='dense')
  for i, (kernel, bias) in enumerate(convs):
    params[f'conv{i}/kernel'] = kernel.transpose(2, 3, 1, 0).copy()
    params[f'conv{i}/bias'] = bias
  return architecture, params


def _channels_last(kernel: np.ndarray, channels: int) -> np.ndarray:
  """Rows of a kernel behind a flatten, from (c, h, w) order to (h, w, c)."""
  rows = kernel.reshape(channels, -1, kernel.shape[1])
  return rows.transpose(1, 0, 2).reshape(kernel.shape)
