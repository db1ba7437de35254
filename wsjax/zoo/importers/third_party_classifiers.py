"""Classifiers of MNIST and Fashion-MNIST that others trained and published.

Sources: locuslab/convex_adversarial and Verified-Intelligence/alpha-beta-CROWN. Pixels are in
[0, 1].
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from wsjax import typing
from wsjax.models import cnn, mlp
from wsjax.models import model as model_lib
from wsjax.zoo.importers import foreign

IMAGE = (28, 28, 1)
# Repository -> (commit, licence of the weights, attribution).
_SOURCES = {
  'locuslab/convex_adversarial':
    ('2cd8149249b9', 'MIT', 'convex_adversarial, Copyright (c) 2018 Eric Wong (MIT)'),
  'Verified-Intelligence/alpha-beta-CROWN':
    ('8250d5fbd530', 'BSD-3-Clause', 'alpha-beta-CROWN (BSD-3-Clause)'),
}  # fmt: skip
# Task -> licence of the data.
_DATA = {'mnist': 'CC-BY-SA-3.0', 'fashion_mnist': 'MIT'}
_PIXELS = {'type': ['integer', 'null'], 'minimum': 0, 'maximum': 28}


def _convert(entry: Mapping[str, Any], arrays: foreign.Arrays) -> foreign.Network:
  commit, license, attribution = _SOURCES[entry['source']]
  data_license = _DATA[entry['task']]
  architecture, params = _architecture(entry, arrays)
  dataset = {'name': entry['task'], 'license': data_license, 'contains_personal_data': 'unknown'}
  return foreign.Network(
    id=entry['id'],
    architecture=architecture,
    params=params,
    source=f'https://github.com/{entry["source"]}/blob/{commit}/{entry["path"]}',
    detail={
      'task': entry['task'],
      'algorithm': None,
      'score': entry['measured_test_accuracy'],
      'score_is': 'accuracy on the official test set',
      'note': entry['note'] or None,
    },
    fields={
      'task': 'classification',
      'license': license,
      'license_effective': f'{license} AND {data_license}',
      'attribution': [attribution, f'{entry["task"]} ({data_license})'],
      'datasets': [dataset | {'version': None, 'sha256': None}],
    },
  )


def _architecture(
  entry: Mapping[str, Any], arrays: foreign.Arrays
) -> tuple[model_lib.Model, typing.Params]:
  """Architecture and weights; layers follow in the order of the index."""
  names = list(dict.fromkeys(name.rpartition('.')[0] for name in entry['layers']))
  layers = [(arrays[f'{name}.weight'], arrays[f'{name}.bias']) for name in names]
  convs = [layer for layer in layers if layer[0].ndim == 4]
  dense = [(kernel.T, bias) for kernel, bias in layers[len(convs) :]]
  if not dense or any(kernel.ndim != 2 for kernel, _ in dense):
    raise ValueError('it is not a chain of convolutions and then dense layers')
  widths = tuple(kernel.shape[1] for kernel, _ in dense)
  if not convs:
    return mlp.MLP((math.prod(IMAGE), *widths), entry['activation']), foreign.dense(dense)
  channels = tuple(kernel.shape[0] for kernel, _ in convs)
  if None in (entry['conv_stride'], entry['conv_padding']) or len(dense[0][0]) % channels[-1]:
    raise ValueError('its convolutions need conv_stride, conv_padding and the channels after them')
  window, stride, padding = convs[0][0].shape[-1], entry['conv_stride'], entry['conv_padding']
  fields = {'pool': 1, 'window': window, 'stride': stride, 'padding': padding}
  model = cnn.CNN(IMAGE, channels, widths[:-1], widths[-1], entry['activation'], **fields)
  dense[0] = (_channels_last(dense[0][0], channels[-1]), dense[0][1])
  params = foreign.dense(dense, path='dense')
  for i, (kernel, bias) in enumerate(convs):
    params[f'conv{i}/kernel'] = kernel.transpose(2, 3, 1, 0).copy()
    params[f'conv{i}/bias'] = bias
  return model, params


def _channels_last(kernel: np.ndarray, channels: int) -> np.ndarray:
  """Rows of a kernel after a flatten, from (c, h, w) order to (h, w, c)."""
  rows = kernel.reshape(channels, -1, kernel.shape[1])
  return rows.transpose(1, 0, 2).reshape(kernel.shape)


FAMILY = foreign.Family(
  file='weights.npz',
  fields={
    'source': {'enum': list(_SOURCES)},
    'path': foreign.TEXT,
    'task': {'enum': list(_DATA)},
    'layers': {'type': 'object', 'additionalProperties': foreign.SIZES, 'minProperties': 1},
    'activation': foreign.TEXT,
    'conv_stride': {**_PIXELS, 'minimum': 1},
    'conv_padding': _PIXELS,
    'input_normalization': {'const': None},
    'measured_test_accuracy': foreign.NUMBER,
    'note': {'type': ['string', 'null']},
  },
  convert=_convert,
  license='MIT',
  attribution='see each record',
)
