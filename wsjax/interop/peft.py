"""LoRA adapters in the format of PEFT: adapter_config.json and adapter_model.safetensors.

An adapter is a network by itself: at each place it adds scale * B (A x) to what the base computes.
As a model it takes the inputs of all places side by side, [b, sum of in], and gives what it adds at
all of them, [b, sum of out]; its symmetries are those of the rank dimensions.

Source: Hu et al. 2021, arXiv:2106.09685; peft/utils/save_and_load.py.
"""

import functools
import json
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
    ValueError: naming the file, if it is no LoRA adapter of dense layers.
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
    place, _, end = name.rpartition('.lora_')
    tensors[f'{place}/lora_{end.replace(".", "/")}'] = array
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
    'base_model_name_or_path', 'r', 'lora_alpha', 'target_modules', 'use_rslora', 'fan_in_fan_out'
  )  # fmt: skip
  record = {'peft': {name: config[name] for name in kept if config.get(name) is not None}}
  yield checkpoint.Checkpoint(id, tensors, 'same', str(path), record, model=model)


def write(
  path: pathlib.Path, params: Mapping[str, np.ndarray], record: Mapping[str, Any] | None
) -> None:
  """Writes the folder of an adapter; what its record says about the base is in the config."""
  if not all(name.endswith((_A, _B)) for name in params):
    raise ValueError(f'PEFT holds adapters, whose parameters end in {_A} and {_B}.')
  config = ((record or {}).get('extra') or {}).get('peft') or {}
  places = sorted({name.partition('/lora_')[0].rpartition('.')[2] for name in params})
  rank = next(array.shape[0] for name, array in params.items() if name.endswith(_A))
  config = {
    'base_model_name_or_path': None,
    'lora_alpha': rank,
    'r': rank,
    'target_modules': places,
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
      '.../lora_B/weight' [out, r].
    scale: factor of what it adds.

  Raises:
    ValueError: if there are other parameters.
  """
  structs = {name: jax.ShapeDtypeStruct(shape, jnp.dtype(dtype)) for name, shape, dtype in shapes}
  places = sorted({name.removesuffix(_A) for name in structs if name.endswith(_A)})
  if not places or {f'{p}{end}' for p in places for end in (_A, _B)} != set(structs):
    raise ValueError('it has other tensors than lora_A.weight and lora_B.weight of dense layers')
  widths = []
  for place in places:
    down, up = structs[place + _A].shape, structs[place + _B].shape
    if len(down) != 2 or len(up) != 2 or down[0] != up[1]:
      raise ValueError(f'{place} has A {down} and B {up}, not [r, in] and [out, r]')
    widths.append(down[1])

  def apply(params: typing.Params, inputs: jax.Array) -> jax.Array:
    parts = jnp.split(inputs, np.cumsum(widths)[:-1], axis=1)
    return scale * jnp.concatenate(
      [
        (x @ params[place + _A].T) @ params[place + _B].T
        for place, x in zip(places, parts, strict=True)
      ],
      axis=1,
    )

  def init(key: jax.Array) -> typing.Params:
    keys = jax.random.split(key, len(structs))
    return {
      name: jax.random.normal(k, x.shape, x.dtype) / x.shape[1] ** 0.5
      for k, (name, x) in zip(keys, structs.items(), strict=True)
    }

  example = jax.ShapeDtypeStruct((1, sum(widths)), jnp.float32)
  return model_lib.Model.from_function(
    apply, structs, example, init=init, name='peft:lora', task='adapter'
  )
