"""Normalization of weights by statistics of the training split."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from wsjax import typing
from wsjax.symmetry import spec as spec_lib

HOW = ('layer', 'coordinate', 'none')

# A weight that never varies, such as a bias kept at zero, has no scale.
_SMALLEST = 1e-8


@struct.dataclass
class Normalizer:
  """Mean and standard deviation > 0 of every parameter, which broadcast against it."""

  mean: typing.Params
  std: typing.Params

  def apply(self, params: typing.Params) -> typing.Params:
    """Normalizes the weights of one network, or of many."""
    return {
      path: (value - like(self.mean[path], value)) / like(self.std[path], value)
      for path, value in params.items()
    }

  def invert(self, params: typing.Params) -> typing.Params:
    """Inverse of `apply`."""
    return {
      path: value * like(self.std[path], value) + like(self.mean[path], value)
      for path, value in params.items()
    }


def fit(
  params: typing.StackedParams,
  spec: spec_lib.Spec,
  *,
  how: str = 'layer',
  weights: Sequence[tuple[str, float]] = (),
) -> Normalizer:
  """Statistics of many networks.

  Args:
    params: path -> [N, ...] weights of the training split.
    spec: of the architecture.
    how: 'layer': one mean and deviation per parameter; 'coordinate': one per weight; 'none': 0 and
      1.
    weights: (layer or path of a parameter, w) pairs: squared deviations there count w times where a
      squared error on tokens is minimized, since units there are sqrt(w) times as small. The last
      that names a parameter counts.

  Raises:
    ValueError: if `how` is unknown, the networks are not of the spec, or a weight names no
      parameter or is not > 0.
  """
  if how not in HOW:
    raise ValueError(f'Unknown normalization {how!r}; allowed: {HOW}.')
  spec.check(params, stacked=True)
  mean, std, scale = {}, {}, _scales(spec, weights)
  for leaf in spec.leaves:
    value = np.asarray(params[leaf.path], np.float64)
    axis = None if how == 'layer' else 0
    shape = (1,) * len(leaf.shape) if how == 'layer' else leaf.shape
    mean[leaf.path], spread = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    if how != 'none':
      mean[leaf.path] = np.mean(value, axis).reshape(shape).astype(np.float32)
      spread = np.std(value, axis).reshape(shape).astype(np.float32)
    spread = np.where(spread > _SMALLEST, spread, 1)
    std[leaf.path] = (scale[leaf.path] * spread).astype(np.float32)
  return Normalizer(mean, std)


def _scales(spec: spec_lib.Spec, weights: Sequence[tuple[str, float]]) -> dict[str, float]:
  """Path -> factor of the deviation."""
  scale = {leaf.path: 1.0 for leaf in spec.leaves}
  for name, weight in weights:
    paths = [path for path in scale if name in (path, path.split('/')[0])]
    if not paths or weight <= 0:
      raise ValueError(
        f'normalize.weights has {name!r}: {weight}; allowed are layers and '
        f'parameters of {sorted(scale)}, and weights > 0.'
      )
    scale |= dict.fromkeys(paths, 1 / weight**0.5)
  return scale


def like(statistic: typing.Array, value: typing.Array) -> jax.Array:
  """The statistic with the leading axes that a stack of networks has more."""
  lead = (1,) * (value.ndim - statistic.ndim)
  return jnp.reshape(statistic, lead + statistic.shape)
