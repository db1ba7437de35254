"""LoRA adapters in the format of PEFT: adapter_config.json and adapter_model.safetensors.

An adapter is a network by itself: at each place it adds scale * B (A x) to what the base computes,
and layers that it replaces, such as the classifier of an image model (`modules_to_save`), compute
W x + b. As a model it takes the inputs of all places side by side, [b, sum of in], where those of a
convolution are a window, and gives what it computes at all of them, [b, sum of out]; its symmetries
are those of the rank dimensions.

Source: Hu et al. 2021, arXiv:2106.09685; peft/utils/save_and_load.py.
"""

import functools
import json
import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import files, typing
from wsjax.interop import checkpoint, safetensors
from wsjax.models import model as model_lib

_CONFIG, _WEIGHTS = 'adapter_config.json', 'adapter_model.safetensors'
# Fields of the config by which an adapter computes something else than B (A x).
_UNREAD = {
  'use_dora': 'the adapter of DoRA also has magnitudes of columns',
  'alpha_pattern': 'the scale differs from place to place',
  'rank_pattern': 'the rank differs from place to place',
}
_A, _B = 'lora_A/weight', 'lora_B/weight'


def read(path: pathlib.Path, id: str) -> Iterator[checkpoint.Checkpoint]:
  """Reads the folder of an adapter.

  Raises:
    ValueError: naming the file, if it is no LoRA adapter of dense layers and convolutions.
  """
  config = files.read_json(path / _CONFIG)
  if not isinstance(config, dict) or config.get('peft_type') != 'LORA':
    raise ValueError(f'{path / _CONFIG} is not that of a LoRA adapter.')
  alpha, rank = config.get('lora_alpha', 1), config.get('r')
  if type(rank) is not int or rank < 1 or type(alpha) not in (int, float):
    raise ValueError(f'{path / _CONFIG} has r {rank!r} and lora_alpha {alpha!r}, not numbers.')
  (found,) = safetensors.read(path / _WEIGHTS, id)
  # Names of tensors keep their dots; the last of them is the role.
  tensors = {}
  for name, array in found.tensors.items():
    place, is_lora, end = name.rpartition('.lora_')
    if is_lora:
      tensors[f'{place}/lora_{end.replace(".", "/")}'] = array
    else:  # Of a layer that was trained whole.
      tensors['/'.join(name.rsplit('.', 1))] = array
  for field, what in _UNREAD.items():
    if config.get(field):
      raise ValueError(f'{path / _CONFIG} has {field}: {what}, which is not read.')
  scale = alpha / (rank**0.5 if config.get('use_rslora') else rank)
  shapes = tuple((name, array.shape, array.dtype.name) for name, array in tensors.items())
  try:
    model = adapter(shapes, scale)
  except ValueError as error:
    raise ValueError(f'{path / _WEIGHTS}: {error}.') from error
  # A record holds canonical JSON, which has neither long integers nor NaN.
  kept = (
    'base_model_name_or_path', 'r', 'lora_alpha', 'target_modules', 'use_rslora', 'fan_in_fan_out',
    'modules_to_save',
  )  # fmt: skip
  record = {'peft': {name: config[name] for name in kept if config.get(name) is not None}}
  yield checkpoint.Checkpoint(id, tensors, 'same', str(path), record, model=model)


def write(
  path: pathlib.Path, params: Mapping[str, np.ndarray], record: Mapping[str, Any] | None
) -> None:
  """Writes the folder of an adapter; what its record says about the base is in the config."""
  if not any(name.endswith(_A) for name in params):
    raise ValueError(f'PEFT holds adapters, whose parameters end in {_A} and {_B}.')
  config = ((record or {}).get('extra') or {}).get('peft') or {}
  adapted = [name.partition('/lora_')[0] for name in params if name.endswith(_A)]
  saved = [name.rpartition('/')[0] for name in params if not name.endswith((_A, _B))]
  places, whole = (sorted({name.rpartition('.')[2] for name in x}) for x in (adapted, saved))
  rank = next(array.shape[0] for name, array in params.items() if name.endswith(_A))
  config = {
    'base_model_name_or_path': None,
    'lora_alpha': rank,
    'r': rank,
    'target_modules': places,
    'modules_to_save': whole or None,
    # Whether the base stores [in, out]; A and B are [r, in] and [out, r] in any case.
    'fan_in_fan_out': False,
    **config,
    'bias': 'none',
    'inference_mode': True,
    'lora_dropout': 0.0,
    'peft_type': 'LORA',
  }
  path.mkdir(parents=True, exist_ok=True)
  tensors = {name.replace('/', '.'): array for name, array in params.items()}
  safetensors.write(path / _WEIGHTS, tensors, {'format': 'pt'})
  files.replace(path / _CONFIG, json.dumps(config, indent=2, sort_keys=True))


@functools.lru_cache(maxsize=64)
def adapter(
  shapes: tuple[tuple[str, tuple[int, ...], str], ...], scale: float
) -> model_lib.Converted:
  """The model of an adapter.

  Args:
    shapes: (name, shape, dtype) of every parameter: '.../lora_A/weight' [r, in] and
      '.../lora_B/weight' [out, r], of convolutions [r, in, h, w] and [out, r, 1, 1]; and of layers
      that are replaced '.../weight' [out, in, ...], or [n] of a norm, and '.../bias'.
    scale: factor of what it adds.

  Raises:
    ValueError: if there are other parameters.
  """
  structs = {name: jax.ShapeDtypeStruct(shape, jnp.dtype(dtype)) for name, shape, dtype in shapes}
  places = sorted({name.removesuffix(_A) for name in structs if name.endswith(_A)})
  known = {f'{place}{end}' for place in places for end in (_A, _B)}
  whole = sorted({name.rpartition('/')[0] for name in structs if name not in known})
  known |= {f'{place}/{role}' for place in whole for role in ('weight', 'bias')}
  has_weights = all(f'{place}/weight' in structs for place in whole)
  if not places or not known >= set(structs) or not has_weights or 'lora_' in ''.join(whole):
    raise ValueError('it has other tensors than lora_A.weight, lora_B.weight and whole layers')
  widths = []
  for place in places:
    down, up = structs[place + _A].shape, structs[place + _B].shape
    if len(down) < 2 or up[1:] != (down[0],) + (1,) * (len(down) - 2):
      raise ValueError(f'{place} has A {down} and B {up}, not [r, in] and [out, r]')
    widths.append(math.prod(down[1:]))
  for place in whole:
    shape = structs[f'{place}/weight'].shape
    widths.append(math.prod(shape[1:]) if len(shape) > 1 else shape[0])

  def apply(params: typing.Params, inputs: jax.Array) -> jax.Array:
    parts = iter(jnp.split(inputs, np.cumsum(widths)[:-1], axis=1))
    made = []
    for place in places:
      down, up = _matrix(params[place + _A]), _matrix(params[place + _B])
      made.append(scale * ((next(parts) @ down.T) @ up.T))
    for place in whole:
      weight, x = params[f'{place}/weight'], next(parts)
      outputs = x @ _matrix(weight).T if weight.ndim > 1 else x * weight[None]
      bias = params.get(f'{place}/bias')
      made.append(outputs if bias is None else outputs + bias[None])
    return jnp.concatenate(made, axis=1)

  def init(key: jax.Array) -> typing.Params:
    keys = jax.random.split(key, len(structs))
    return {
      name: jax.random.normal(k, x.shape, x.dtype) / math.prod(x.shape[1:]) ** 0.5
      for k, (name, x) in zip(keys, structs.items(), strict=True)
    }

  example = jax.ShapeDtypeStruct((1, sum(widths)), jnp.float32)
  return model_lib.Model.from_function(
    apply, structs, example, init=init, name='peft:lora', task='adapter'
  )


def _matrix(weight: jax.Array) -> jax.Array:
  """A weight [out, in, ...] as [out, in]; those of dense layers are."""
  return weight if weight.ndim == 2 else weight.reshape(len(weight), -1)
