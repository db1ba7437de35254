"""Weights of 8, 4 or less than 2 bits: integer codes with a scale for each output of a layer.

A packed file is safetensors: the codes of a parameter as bytes under its path, its scales under
'PATH.scale', and what is needed to read them in the metadata. Everything else is float32.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from wsjax import files, typing
from wsjax.interop import safetensors

# Precision -> the largest code; codes are symmetric around 0.
LEVELS = {'int8': 127, 'int4': 7, 'ternary': 1}
_PER_BYTE = {'int8': 1, 'int4': 2, 'ternary': 5}
_BASE = {'int8': 256, 'int4': 16, 'ternary': 3}  # 3 ** 5 = 243 values fit a byte.
_KEY = 'wsjax.quantized'


@dataclasses.dataclass(frozen=True, eq=False)
class Quantized:
  """One parameter as codes * scale.

  Attributes:
    codes: int8, of the shape of the parameter.
    scale: float32, of that shape or 1 along an axis.
    precision: key of `LEVELS`.
  """

  codes: np.ndarray
  scale: np.ndarray
  precision: str

  @property
  def shape(self) -> tuple[int, ...]:
    """Of the parameter."""
    return self.codes.shape

  @property
  def dtype(self) -> np.dtype:
    """Of the parameter."""
    return np.dtype(np.float32)

  @property
  def nbytes(self) -> int:
    """Bytes of the packed codes and the scales."""
    return -(-self.codes.size // _PER_BYTE[self.precision]) + self.scale.nbytes

  def value(self) -> np.ndarray:
    """The parameter in float32."""
    return self.codes.astype(np.float32) * self.scale


# Parameters of a network, of which some are quantized.
Params: TypeAlias = Mapping[str, Any]


def values(params: Params) -> dict[str, np.ndarray]:
  """All parameters as arrays."""
  return {k: v.value() if isinstance(v, Quantized) else np.asarray(v) for k, v in params.items()}


def num_bytes(params: Params) -> int:
  """Bytes of all parameters, packed, without names."""
  return sum(v.nbytes for v in params.values())


def pack(codes: np.ndarray, precision: str) -> np.ndarray:
  """Codes as bytes, [n] uint8; the first code of a byte is the lowest."""
  per, levels = _PER_BYTE[precision], LEVELS[precision]
  if per == 1:
    return codes.reshape(-1).view(np.uint8)
  shifted = (codes.reshape(-1).astype(np.int16) + levels).astype(np.uint8)
  digits = np.pad(shifted, (0, -shifted.size % per)).reshape(-1, per)
  return (digits * _weights(precision)).sum(1).astype(np.uint8)


def unpack(packed: Any, precision: str, shape: tuple[int, ...], xp: Any = np) -> Any:
  """Inverts `pack`; `xp` is NumPy or jax.numpy, in which it can be traced."""
  if precision == 'int8':
    return packed.view(np.int8).reshape(shape)
  base, weights = _BASE[precision], _weights(precision)
  if xp is np:
    digits = packed[:, None] // weights % np.uint8(base)
  else:  # Those of jax.numpy are functions of their own, and every file would hold all of them.
    from jax import lax

    divide, remain, last = lax.div, lax.rem, base
    if precision == 'int4':  # A shift takes half the time of a division.
      divide, remain, last = lax.shift_right_logical, lax.bitwise_and, base - 1
      weights = np.array([0, 4], np.uint8)
    digits = divide(*xp.broadcast_arrays(packed[:, None], weights))
    digits = remain(digits, xp.full_like(digits, last))
  flat = digits.reshape(-1)[: math.prod(shape)]
  return flat.astype(np.int8).reshape(shape) - np.int8(LEVELS[precision])


def _weights(precision: str) -> np.ndarray:
  """Weight of each code of a byte."""
  return (_BASE[precision] ** np.arange(_PER_BYTE[precision])).astype(np.uint8)


def write(path: pathlib.Path, params: Params) -> None:
  """Writes a packed file; equal parameters give equal bytes."""
  tensors: dict[str, np.ndarray] = {}
  facts: dict[str, Any] = {}
  for name, value in params.items():
    if isinstance(value, Quantized):
      tensors[name] = pack(value.codes, value.precision)
      tensors[f'{name}.scale'] = value.scale
      facts[name] = {'precision': value.precision, 'shape': list(value.shape)}
    else:
      tensors[name] = np.asarray(value)
  safetensors.write(path, tensors, {_KEY: json.dumps(facts, separators=(',', ':'))})


def read(path: pathlib.Path | str) -> typing.Params:
  """Reads a packed file; path of a parameter -> its value in float32.

  Raises:
    ValueError: if it is not one, or its parts do not fit each other.
  """
  path = pathlib.Path(path)
  (found,) = safetensors.read(path, path.stem)
  tensors = {name: np.asarray(x) for name, x in found.tensors.items()}
  if (text := safetensors.metadata(path).get(_KEY)) is None:
    raise ValueError(f'{path} is no packed file of wsjax.')
  facts = files.parse_json(text, f'{_KEY} of {path}', schema={'type': 'object'})
  made = {}
  for name, fact in facts.items():
    try:
      precision, shape = fact['precision'], tuple(int(n) for n in fact['shape'])
      codes = unpack(tensors.pop(name), precision, shape)
      made[name] = Quantized(codes, tensors.pop(f'{name}.scale'), precision).value()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
      raise ValueError(f'{path}: {str(name)[:80]!r} cannot be unpacked: {error}.') from error
    if made[name].shape != shape:
      raise ValueError(f'{path}: the scales of {str(name)[:80]!r} do not fit its shape {shape}.')
  return made | tensors
