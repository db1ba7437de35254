"""Classifiers of MNIST and Fashion-MNIST that others trained and published.

Sources: locuslab/convex_adversarial and Verified-Intelligence/alpha-beta-CROWN. Pixels are in
[0, 1].
"""

import math
from collections.abc import Mapping
from typing import Any

from wsjax.interop.families import family
from wsjax.models import cnn, mlp
from wsjax.models import model as model_lib

IMAGE = (28, 28, 1)
# Repository -> (commit, licence of the weights, attribution).
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
_PIXELS = {'type': ['integer', 'null'], 'minimum': 0, 'maximum': 28}


def _convert(entry: Mapping[str, Any], arrays: family.Arrays) -> family.Network:
  commit, license, attribution = _SOURCES[entry['source']]
  data_license = _DATA[entry['task']]
  model, tensors = _model(entry, arrays)
  dataset = {
    'name': entry['task'],
    'version': None,
    'sha256': None,
    'license': data_license,
    'contains_personal_data': 'unknown',
  }
  return family.Network(
    model=model,
    tensors=tensors,
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
      'datasets': [dataset],
    },
  )


def _model(
  entry: Mapping[str, Any], arrays: family.Arrays
) -> tuple[model_lib.Model, family.Arrays]:
  """Model and weights; layers follow in the order of the index."""
  names = list(dict.fromkeys(name.rpartition('.')[0] for name in entry['layers']))
  convs = [name for name in names if arrays[f'{name}.weight'].ndim == 4]
  dense = names[len(convs) :]
  if not dense or any(arrays[f'{name}.weight'].ndim != 2 for name in dense):
    raise ValueError('it is not a chain of convolutions and then dense layers')
  channels = tuple(len(arrays[f'{name}.weight']) for name in convs)
  widths = tuple(len(arrays[f'{name}.weight']) for name in dense)
  renamed = {name: f'conv{i}' for i, name in enumerate(convs)}
  renamed |= {name: f'{"dense" if convs else "layer"}{i}' for i, name in enumerate(dense)}
  tensors = {
    f'{renamed[name]}.{part}': arrays[f'{name}.{part}']
    for name in names
    for part in ('weight', 'bias')
  }
  if not convs:
    return mlp.MLP((math.prod(IMAGE), *widths), entry['activation']), tensors
  if None in (entry['conv_stride'], entry['conv_padding']):
    raise ValueError('its convolutions need conv_stride and conv_padding')
  model = cnn.CNN(
    IMAGE,
    channels,
    widths[:-1],
    widths[-1],
    entry['activation'],
    pool=1,
    window=arrays[f'{convs[0]}.weight'].shape[-1],
    stride=entry['conv_stride'],
    padding=entry['conv_padding'],
  )
  return model, tensors


FAMILY = family.Family(
  file='weights.npz',
  layout='torch',
  fields={
    'source': {'enum': list(_SOURCES)},
    'path': family.TEXT,
    'task': {'enum': list(_DATA)},
    'layers': {'type': 'object', 'additionalProperties': family.SIZES, 'minProperties': 1},
    'activation': family.TEXT,
    'conv_stride': {**_PIXELS, 'minimum': 1},
    'conv_padding': _PIXELS,
    'input_normalization': {'const': None},
    'measured_test_accuracy': family.NUMBER,
    'note': {'type': ['string', 'null']},
  },
  convert=_convert,
  license='MIT',
  attribution='see each record',
)
