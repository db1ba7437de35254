"""Rounding of the weights of any model to few bits, aware of what the network computes.

The layers of a network are found in its jaxpr. Each is rounded so that its products change least at
some inputs: the error of a weight that is rounded is fed to those that are not yet.

Source: Frantar et al. 2023, arXiv:2210.17323 (GPTQ, whose order and error feedback these are);
Frantar and Alistarh 2022, arXiv:2208.11580 (targets from the unrounded network).
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import scipy.linalg

from wsjax import typing
from wsjax.fusion import activations
from wsjax.interop import quantized
from wsjax.models import model as model_lib

PRECISIONS = ('float32', *quantized.LEVELS)
_DAMPING = 1e-2  # Of the mean square of the features, as in GPTQ.
_MAX_ROWS = 16_384  # Of features; a convolution has one for each pixel.
_FACTORS = np.linspace(0.15, 1, 35)  # Of the scale that reaches the largest weight.


def quantize(
  model: model_lib.Model,
  params: typing.Params,
  precision: str,
  data: Any = None,
  *,
  keep: Sequence[str] | None = None,
) -> dict[str, Any]:
  """Rounds the kernels of one network, with a scale for each output of a layer.

  Args:
    model: of the network.
    params: of the network.
    precision: one of `PRECISIONS`.
    data: inputs [b, ...] without labels. Without them each weight is rounded to its nearest code.
    keep: paths that stay float32; None is `keep_of`. Vectors always stay.

  Returns:
    path -> array or `Quantized`. With data, biases take up the mean error of their layer.

  Raises:
    ValueError: for an unknown precision, or a path of `keep` that the model does not have.
  """
  if precision not in PRECISIONS:
    raise ValueError(f'precision is {precision!r}; allowed: {", ".join(PRECISIONS)}.')
  made: dict[str, Any] = {path: np.asarray(x) for path, x in params.items()}
  if precision == 'float32':
    return made
  if unknown := sorted(set(keep or ()) - set(made)):
    raise ValueError(f'keep names {unknown[0]!r}; the model has {", ".join(sorted(made))}.')
  layers = activations.layers(model.apply, model.shapes, example(model))
  kept = set(keep_of(model) if keep is None else keep)
  own = None if data is None else _features(model.apply, params, data)
  for layer in layers:
    if layer.kernel in kept:
      continue
    matrix = layer.matrix(np.asarray(params[layer.kernel], np.float64))
    shape = tuple(
      1 if i in layer.inputs else length for i, length in enumerate(params[layer.kernel].shape)
    )
    if own is None:
      codes, scale = nearest(matrix, quantized.LEVELS[precision])
    else:
      theirs = _features(model.apply, quantized.values(made), data)[layer.kernel]
      target, features = own[layer.kernel], theirs
      middle = np.zeros((2, matrix.shape[0]))
      if layer.bias is not None:  # It takes the means, so that only what varies counts.
        middle = np.stack([target.mean(0), features.mean(0)])
      codes, scale = feedback(
        matrix, target - middle[0], features - middle[1], quantized.LEVELS[precision]
      )
      if layer.bias is not None:
        bias = made[layer.bias]
        error = middle[0] @ matrix - middle[1] @ (codes * scale)
        made[layer.bias] = (bias + error.reshape(bias.shape)).astype(bias.dtype)
    made[layer.kernel] = quantized.Quantized(
      np.ascontiguousarray(layer.kernel_of(codes, params[layer.kernel].shape), np.int8),
      scale.reshape(shape).astype(np.float32),
      precision,
    )
  for path, x in made.items():  # Tables, and kernels of layers that were not seen.
    if isinstance(x, np.ndarray) and x.ndim > 1 and path not in kept:
      codes, scale = nearest(x.reshape(-1, x.shape[-1]), quantized.LEVELS[precision])
      wide = (1,) * (x.ndim - 1) + (x.shape[-1],)
      made[path] = quantized.Quantized(
        codes.reshape(x.shape).astype(np.int8), scale.reshape(wide).astype(np.float32), precision
      )
  return made


def example(model: model_lib.Model) -> jax.ShapeDtypeStruct:
  """Shape and type of a batch of inputs."""
  from wsjax.interop import onnx

  return jax.ShapeDtypeStruct((2, *model.input_shape), onnx.input_dtype(model))


def keep_of(model: model_lib.Model) -> tuple[str, ...]:
  """Kernels that stay float32 unless one says otherwise: the first layer of a network of sines.

  Its weights are frequencies: an error of 1 % moves a wave by its length within a hundred periods.
  """
  if not any('phase' in group.kinds for group in model.spec.groups):
    return ()
  layers = activations.layers(model.apply, model.shapes, example(model))
  return (layers[0].kernel,) if layers else ()


def nearest(matrix: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray]:
  """Rounds every weight by itself.

  Args:
    matrix: [features, outputs].
    levels: the largest code.

  Returns:
    Codes [features, outputs] and scales [outputs], of the least squared error.
  """
  scale = _scales(matrix, np.ones(len(matrix)), levels)
  return np.clip(np.round(matrix / scale), -levels, levels), scale


def feedback(
  matrix: np.ndarray, target: np.ndarray, features: np.ndarray, levels: int
) -> tuple[np.ndarray, np.ndarray]:
  """Rounds a layer so that features @ (codes * scale) is near target @ matrix.

  Args:
    matrix: [features, outputs].
    target: [rows, features] that the unrounded network has.
    features: [rows, features] that the layer gets where all before it are rounded.
    levels: the largest code.

  Returns:
    Codes [features, outputs] and scales [outputs].
  """
  count = len(features)
  gram = features.T @ features / count
  damping = _DAMPING * max(float(np.trace(gram)) / len(gram), 1e-12)
  gram[np.diag_indices_from(gram)] += damping
  cross = features.T @ (target @ matrix) / count + damping * matrix
  wanted = np.linalg.solve(gram, cross)
  scale = _scales(wanted, np.diag(gram), levels)
  # Features with the most weight first; U'U is the inverse of the matrix of their products.
  order = np.argsort(-np.diag(gram), kind='stable')
  inverse = scipy.linalg.inv(gram[np.ix_(order, order)])
  upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
  rest, codes = wanted[order], np.zeros_like(wanted)
  for i, place in enumerate(order):
    codes[place] = np.clip(np.round(rest[i] / scale), -levels, levels)
    error = (rest[i] - codes[place] * scale) / upper[i, i]
    rest[i + 1 :] -= np.outer(upper[i, i + 1 :], error)
  # The scale that fits these codes best.
  products = gram @ codes
  size = np.maximum((codes * products).sum(0), 1e-30)
  fitted = (wanted * products).sum(0) / size
  return codes, np.where(fitted > 0, fitted, scale).astype(np.float32).astype(np.float64)


def _scales(matrix: np.ndarray, weight: np.ndarray, levels: int) -> np.ndarray:
  """[outputs] the scale of each column with the least error, weighted by feature."""
  full = np.maximum(np.abs(matrix).max(0), 1e-12) / levels
  best, scale = np.full(len(full), np.inf), full
  for factor in _FACTORS:
    codes = np.clip(np.round(matrix / (factor * full)), -levels, levels)
    error = (weight[:, None] * (matrix - codes * factor * full) ** 2).sum(0)
    scale = np.where(error < best, factor * full, scale)
    best = np.minimum(error, best)
  return scale.astype(np.float32).astype(np.float64)


def _features(apply: Callable[..., Any], params: typing.Params, data: Any) -> dict[str, np.ndarray]:
  """What every layer reads, path of its kernel -> [rows, features]."""
  stacked = {path: np.asarray(x)[None] for path, x in params.items()}
  found = activations.stacked_features(apply, stacked, np.asarray(data))
  made = {}
  for path, x in found.items():
    rows = x.shape[1]
    taken = np.linspace(0, rows - 1, min(rows, _MAX_ROWS)).round().astype(int)
    made[path] = np.asarray(x[0, taken], np.float64)
  return made
