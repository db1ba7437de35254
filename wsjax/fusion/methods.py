"""Methods of merging: functions of one parameter of several networks.

Names and options are those of mergekit where it has the method, so that its recipes can be read;
the numbers are its own up to rounding. Everything is computed in float32, or in float64 where the
parameter is of that type. Methods that see a whole network are in `layerwise` and `learned`.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

REQUIRED: Any = object()  # Default of an option that must be given.
# Norms below this are no direction.
_EPS = 1e-8
# Angles whose cosine is above this are interpolated along the straight line.
_COLLINEAR = 0.9995


@dataclasses.dataclass(frozen=True)
class Method:
  """A way to merge one parameter of several networks.

  Attributes:
    run: (parameters [N] of one shape, base or None, per-network options, shared options, random
      generator) -> the merged parameter.
    base: 'required', 'optional' or 'none': whether there is a network that the others are
      compared with. With 'none' a base is one more network.
    each: option of every network -> default, or `REQUIRED`.
    shared: option -> default, or `REQUIRED`.
    counts: least and largest number of networks besides the base; None is any.
    elementwise: whether every weight is merged by itself, so that a parameter can be cut.
    random: whether weights are dropped at random.
  """

  run: Callable[..., np.ndarray]
  base: str = 'none'
  each: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  shared: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  counts: tuple[int, int | None] = (1, None)
  elementwise: bool = False
  random: bool = False


def merge(
  method: str,
  tensors: Sequence[np.ndarray],
  base: np.ndarray | None = None,
  each: Mapping[str, Sequence[Any]] | None = None,
  shared: Mapping[str, Any] | None = None,
  rng: np.random.Generator | None = None,
) -> np.ndarray:
  """Merges one parameter of N networks.

  Args:
    method: key of `METHODS`.
    tensors: the parameter of each network, of one shape.
    base: that of the base.
    each: option -> its value for every network.
    shared: option -> value.
    rng: of methods that drop weights at random; by default of seed 0.

  Returns:
    The merged parameter, of the type that was computed with.

  Raises:
    ValueError: for options that do not fit the method or each other.
  """
  rule = METHODS[method]
  kind = np.float64 if tensors[0].dtype == np.float64 else np.float32
  stack = [np.asarray(x, kind) for x in tensors]
  base = None if base is None else np.asarray(base, kind)
  each, shared = dict(each or {}), {**rule.shared, **(shared or {})}
  for name, default in rule.each.items():
    each.setdefault(name, [default] * len(stack))
  merged = rule.run(stack, base, each, shared, rng or np.random.default_rng(0))
  return merged.astype(kind, copy=False)


def _linear(stack, base, each, shared, rng):
  """Weighted mean, or sum. Source: Wortsman et al. 2022, arXiv:2203.05482."""
  del base, rng
  total = np.multiply(stack[0], stack[0].dtype.type(each['weight'][0]))
  part = np.empty_like(total)
  for x, weight in zip(stack[1:], each['weight'][1:], strict=True):
    total += np.multiply(x, x.dtype.type(weight), out=part)
  if shared['normalize']:
    whole = math.fsum(each['weight'])
    if abs(whole) < _EPS:
      raise ValueError('The weights of the networks sum to 0, by which nothing can be normalized.')
    if whole != 1:
      total /= total.dtype.type(whole)
  return total


def slerp(a: np.ndarray, b: np.ndarray, t: float, collinear: float = _COLLINEAR) -> np.ndarray:
  """The point at t on the arc from a to b, as vectors; the straight line where they are parallel.

  Source: Shoemake 1985, doi:10.1145/325165.325242.
  """
  x, y = a.ravel(), b.ravel()
  norms = [math.sqrt(_dot(v, v)) for v in (x, y)]
  # Zero has no direction: the line to it is straight.
  cosine = 1.0 if min(norms) < _EPS else min(max(_dot(x, y) / norms[0] / norms[1], -1.0), 1.0)
  if abs(cosine) > collinear:
    left, right = 1 - t, t
  else:
    angle = np.arccos(cosine)
    left, right = np.sin((1 - t) * angle) / np.sin(angle), np.sin(t * angle) / np.sin(angle)
  merged = x * x.dtype.type(left)
  merged += y * y.dtype.type(right)
  return merged.reshape(a.shape)


def _dot(x: np.ndarray, y: np.ndarray) -> float:
  """Inner product, summed in double precision piece by piece."""
  size = 1 << 15
  return math.fsum(
    float(np.dot(x[start : start + size], y[start : start + size]))
    for start in range(0, x.size, size)
  )


def _slerp(stack, base, each, shared, rng):
  del each, rng
  return slerp(base, stack[0], shared['t'])


def _nuslerp(stack, base, each, shared, rng):
  """SLERP of networks, or of their differences to a base, of whole parameters or along one axis."""
  del rng
  weights = each['weight']
  total = sum(weights)
  t = 0.5 if abs(total) < 1e-6 else weights[1] / total
  a, b = stack if base is None else (x - base for x in stack)
  if shared['nuslerp_flatten']:
    rows = [x.reshape(1, -1) for x in (a, b)]
  else:
    axis = 0 if shared['nuslerp_row_wise'] else -1
    rows = [np.moveaxis(x, axis, -1) for x in (a, b)]
  unit = [x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-7) for x in rows]
  cosine = np.clip((unit[0] * unit[1]).sum(-1, keepdims=True), -1, 1)
  is_line = 1 - cosine**2 <= _EPS**2
  angle = np.arccos(np.where(is_line, 0, cosine))
  merged = np.where(
    is_line,
    (1 - t) * rows[0] + t * rows[1],
    (np.sin((1 - t) * angle) * rows[0] + np.sin(t * angle) * rows[1]) / np.sin(angle),
  )
  if not shared['nuslerp_flatten']:
    merged = np.moveaxis(merged, -1, axis)
  merged = merged.reshape(a.shape)
  return merged if base is None else base + merged


def _multislerp(stack, base, each, shared, rng):
  """Weighted mean in the tangent space of the sphere at the normalized mean direction."""
  del rng
  if len(stack) == 1:
    return stack[0]
  vectors = np.stack([x.ravel() for x in stack])
  if base is not None:
    vectors = vectors - base.ravel()
  weights, eps = np.array(each['weight'], vectors.dtype), shared['eps']
  if shared['normalize_weights']:
    weights = weights / weights.sum()
  norms = np.linalg.norm(vectors, axis=1, keepdims=True)
  unit = vectors / (norms + eps)
  mean = weights @ unit
  length = np.linalg.norm(mean)
  if length < eps:
    if len(stack) > 2 and norms.max() > eps:
      raise ValueError(
        'multislerp: the weighted directions of a parameter cancel out; give other weights.'
      )
    merged = weights @ vectors
  else:
    mean = mean / length
    tangent = weights @ (unit - (unit @ mean)[:, None] * mean)
    angle = np.linalg.norm(tangent) + eps
    merged = mean * np.cos(angle) + tangent * (np.sin(angle) / angle)
    merged = merged * (norms[:, 0] @ weights)
  merged = merged.reshape(stack[0].shape)
  return merged if base is None else merged + base


def _karcher(stack, base, each, shared, rng):
  """Karcher mean of directions on the sphere, times the mean norm. Source: arXiv:2603.04972."""
  del base, each, rng
  if len(stack) == 1:
    return stack[0]
  vectors, tol = np.stack([x.ravel() for x in stack]), shared['tol']
  norms = np.linalg.norm(vectors, axis=1)
  valid = norms > tol
  if not valid.any():
    return np.zeros_like(stack[0])
  unit = vectors[valid] / norms[valid, None]
  mean = unit.mean(0)
  length = np.linalg.norm(mean)
  mean = unit[0] if length < tol else mean / length
  for _ in range(shared['max_iter']):
    cosines = np.clip(unit @ mean, -1, 1)
    angles = np.arccos(cosines)
    factor = np.where(angles < tol, 0, angles / np.maximum(np.sin(angles), 1e-30))
    tangent = (factor[:, None] * (unit - cosines[:, None] * mean)).mean(0)
    length = np.linalg.norm(tangent)
    if length < tol:
      break
    mean = np.cos(length) * mean + np.sin(length) * tangent / length
    mean = mean / np.linalg.norm(mean)
  return (norms.mean() * mean).reshape(stack[0].shape)


def _task_vectors(stack, base, each, shared, rng, *, sparsify=None, elects=False):
  """base + lambda * combination of the sparsified differences to the base.

  Source: Ilharco et al. 2023, arXiv:2212.04089 (task arithmetic); Yadav et al. 2023,
  arXiv:2306.01708 (TIES: the sign of the sum is elected, and other entries are left out).
  """
  options = [dict(zip(each, values, strict=True)) for values in zip(*each.values(), strict=True)]
  total = np.zeros_like(base)
  weighted = [] if elects else None
  for x, option in zip(stack, options, strict=True):
    delta = x - base
    if sparsify is not None:
      kept = sparsify(delta, option, rng)
      delta = _rescaled(delta, kept) if shared['rescale'] else kept
    delta = delta * delta.dtype.type(option['weight'])
    total += delta
    if elects:
      weighted.append(delta)
  divisor = sum(each['weight'])
  if elects:
    sign = np.where(total >= 0, 1, -1).astype(np.int8)
    total, divisor = np.zeros_like(base), np.zeros_like(base)
    for delta, option in zip(weighted, options, strict=True):
      agrees = np.sign(delta) == sign
      total += np.where(agrees, delta, 0)
      divisor += np.where(agrees, delta.dtype.type(option['weight']), 0)
    divisor[divisor == 0] = 1
  elif abs(divisor) < _EPS:
    divisor = 1
  if shared['normalize']:
    total = total / np.asarray(divisor, total.dtype)
  if shared['lambda'] != 1:
    total = total * total.dtype.type(shared['lambda'])
  return base + total


def _rescaled(whole: np.ndarray, kept: np.ndarray) -> np.ndarray:
  """What was kept, with the sum of absolute values of the whole."""
  before, after = (float(np.abs(x).sum()) for x in (whole, kept))
  return kept if before < 1e-7 or after < 1e-7 else kept * kept.dtype.type(before / after)


def largest(values: np.ndarray, count: int) -> np.ndarray:
  """Mask of the `count` largest values, of equal ones the first."""
  flat = values.ravel()
  if count >= flat.size:
    return np.ones(values.shape, bool)
  if count <= 0:
    return np.zeros(values.shape, bool)
  limit = np.partition(flat, flat.size - count)[flat.size - count]
  mask = flat > limit
  ties = np.flatnonzero(flat == limit)
  mask[ties[: count - int(mask.sum())]] = True
  return mask.reshape(values.shape)


def _trim(delta, option, rng):
  """Keeps the largest differences."""
  del rng
  density = option['density']
  if density >= 1:
    return delta
  if density <= 0 or not delta.size:
    return np.zeros_like(delta)
  return np.where(largest(np.abs(delta), max(1, int(density * delta.size))), delta, 0)


def _drop(delta, option, rng):
  """Keeps random differences. Source: Yu et al. 2024, arXiv:2311.03099."""
  density = option['density']
  return delta if density >= 1 else np.where(rng.random(delta.shape) < density, delta, 0)


def _drop_small(delta, option, rng):
  """Keeps random differences, large ones more often. Source: Deep et al. 2024, arXiv:2406.11617."""
  density, epsilon = option['density'], option['epsilon']
  if density >= 1:
    return delta
  if density <= 0:
    return np.zeros_like(delta)
  if not 0 < density - epsilon < density + epsilon < 1:
    raise ValueError(
      f'della: density {density} and epsilon {epsilon} do not fit; density - epsilon must be above '
      '0 and density + epsilon below 1.'
    )
  rows = delta[None] if delta.ndim < 2 else delta
  ranks = np.argsort(np.argsort(np.abs(rows), axis=1, kind='stable'), axis=1).astype(np.float32)
  probability = density - epsilon + ranks / max(rows.shape[1] - 1, 1) * 2 * epsilon
  if rows.shape[1] == 1:  # One entry has no rank.
    probability = np.full(rows.shape, density - epsilon, np.float32)
  kept = rng.random(rows.shape) < probability
  return np.where(kept, rows, 0).reshape(delta.shape)


def _trim_both(delta, option, rng):
  """Leaves out the largest and the smallest differences. Source: Davari, arXiv:2312.06795."""
  del rng
  if option['density'] >= 1:
    return delta
  size, count = delta.size, int(option['density'] * delta.size)
  bottom = max(0, size - count - int(option['gamma'] * size))
  values = np.abs(delta)
  kept = largest(values, size - bottom) & ~largest(values, size - bottom - count)
  return np.where(kept, delta, 0)


def _sce(stack, base, each, shared, rng):
  """Keeps entries that vary most, weighs networks by their squares, and elects signs.

  Source: Wan et al. 2024, arXiv:2408.07990.
  """
  del each, rng
  deltas = np.stack([x - base for x in stack])
  share = shared['select_topk']
  if share < 1:
    variance = deltas.var(0)
    count = int(np.count_nonzero(variance) * share) if share > 0 else 0
    deltas = np.where(largest(variance, count), deltas, 0)
  agrees = np.sign(deltas) == np.where(deltas.sum(0) >= 0, 1, -1)
  squares = np.square(deltas).reshape(len(stack), -1).mean(1)
  total = squares.sum()
  weights = np.full_like(squares, 1 / len(stack)) if total < 1e-6 else squares / total
  weights = np.where(agrees, weights.reshape(-1, *[1] * base.ndim), 0)
  return base + (deltas * weights).sum(0) / np.maximum(weights.sum(0), 1e-6)


def _model_stock(stack, base, each, shared, rng):
  """Between base and mean, by the angle of the differences. Source: Jang 2024, arXiv:2403.19522."""
  del each, rng
  shape = base.shape
  rows = (1, -1) if not shared['filter_wise'] or base.ndim == 1 else shape
  start = base.reshape(rows)
  offsets = [x.reshape(rows) - start for x in stack]
  norms = [np.linalg.norm(x, axis=-1) for x in offsets]
  cosines = [
    np.clip(
      (offsets[i] * offsets[j]).sum(-1) / np.maximum(norms[i] * norms[j], 1e-6), -1, 1
    )
    for i, j in itertools.combinations(range(len(stack)), 2)
  ]  # fmt: skip
  cosine, count = np.mean(cosines, axis=0)[..., None], len(stack)
  divisor = 1 + (count - 1) * cosine
  is_singular = np.abs(divisor) < 1e-6
  t = np.where(is_singular, 0, count * cosine / np.where(is_singular, 1, divisor))
  return (start + t * (sum(offsets) / count)).reshape(shape)


def _nearswap(stack, base, each, shared, rng):
  """Moves to the other network where both are near."""
  del each, rng
  t = np.clip(shared['t'] / np.maximum(np.abs(base - stack[0]), 1e-6), 0, 1)
  return t * stack[0] + (1 - t) * base


def _passthrough(stack, base, each, shared, rng):
  del base, shared, rng
  scale = each['scale'][0]
  return stack[0] if scale is None else stack[0] * stack[0].dtype.type(scale)


def as_matrix(value: np.ndarray) -> np.ndarray:
  """A parameter of two axes or more as a matrix: its outputs, or else its inputs, by all others.

  The axis of a kernel of a convolution that is kept is the longer of its first and last: PyTorch
  has [out, in, height, width], Flax [height, width, in, out].
  """
  if value.ndim == 2:
    return value
  rows = value.shape[0] >= value.shape[-1]
  return value.reshape(value.shape[0], -1) if rows else value.reshape(-1, value.shape[-1])


def _spectral(stack, base, each, shared, rng, *, combine):
  """base + lambda * a matrix made of the differences; vectors are averaged."""
  del rng
  weights = each['weight']
  deltas = [(x - base) * x.dtype.type(w) for x, w in zip(stack, weights, strict=True)]
  if base.ndim < 2:
    merged = sum(deltas) / len(deltas)
  else:
    matrices = [as_matrix(delta) for delta in deltas]
    merged = combine(matrices, shared).reshape(base.shape)
  return base + base.dtype.type(shared['lambda']) * merged


def _singular_vectors(matrices, shared):
  """Joins the leading singular vectors of all tasks, made orthogonal to each other.

  Source: Gargiulo et al. 2025, arXiv:2412.00081 (TSV-M).
  """
  share = shared['rank_share'] or 1 / len(matrices)
  rank = max(1, int(min(matrices[0].shape) * share))
  parts = [np.linalg.svd(matrix, full_matrices=False) for matrix in matrices]
  left = np.concatenate([u[:, :rank] for u, _, _ in parts], axis=1)
  right = np.concatenate([v[:rank] for _, _, v in parts], axis=0)
  values = np.concatenate([s[:rank] for _, s, _ in parts])
  return (_orthogonal(left) * values) @ _orthogonal(right)


def _orthogonal(matrix: np.ndarray) -> np.ndarray:
  """The nearest matrix with orthonormal columns, or rows."""
  u, _, v = np.linalg.svd(matrix, full_matrices=False)
  return u @ v


def _isotropic(matrices, shared):
  """The sum of the tasks with all singular values equal. Source: Marczak 2025, arXiv:2502.04959."""
  del shared
  u, s, v = np.linalg.svd(sum(matrices), full_matrices=False)
  return s.mean() * (u @ v)


def _task(sparsify=None, *, elects=False, normalize=False, rescale=False, **each):
  return Method(
    functools.partial(_task_vectors, sparsify=sparsify, elects=elects),
    'required',
    {'weight': REQUIRED, **({'density': 1.0} if sparsify else {}), **each},
    {'normalize': normalize, 'rescale': rescale, 'lambda': 1.0},
    elementwise=sparsify is None,
    random=sparsify in (_drop, _drop_small),
  )


_WEIGHT = {'weight': REQUIRED}
METHODS: Mapping[str, Method] = {
  'linear': Method(_linear, each=_WEIGHT, shared={'normalize': True}, elementwise=True),
  'slerp': Method(_slerp, 'required', shared={'t': REQUIRED}, counts=(1, 1)),
  'nuslerp': Method(
    _nuslerp,
    'optional',
    _WEIGHT,
    {'nuslerp_row_wise': False, 'nuslerp_flatten': True},
    (2, 2),
  ),
  'multislerp': Method(
    _multislerp, 'optional', _WEIGHT, {'normalize_weights': True, 'eps': _EPS}
  ),
  'karcher': Method(_karcher, shared={'max_iter': 10, 'tol': 1e-5}),
  'task_arithmetic': _task(),
  'ties': _task(_trim, elects=True, normalize=True),
  'dare_linear': _task(_drop, rescale=True),
  'dare_ties': _task(_drop, elects=True, rescale=True),
  'della': _task(_drop_small, elects=True, normalize=True, rescale=True, epsilon=0.15),
  'della_linear': _task(_drop_small, rescale=True, epsilon=0.15),
  'breadcrumbs': _task(_trim_both, gamma=0.01),
  'breadcrumbs_ties': _task(_trim_both, elects=True, gamma=0.01),
  'sce': Method(_sce, 'required', shared={'select_topk': 1.0}),
  'model_stock': Method(
    _model_stock, 'required', shared={'filter_wise': False}, counts=(2, None)
  ),
  'nearswap': Method(
    _nearswap, 'required', shared={'t': REQUIRED}, counts=(1, 1), elementwise=True
  ),
  'passthrough': Method(_passthrough, each={'scale': None}, counts=(1, 1), elementwise=True),
  'tsv_m': Method(
    functools.partial(_spectral, combine=_singular_vectors),
    'required',
    {'weight': 1.0},
    {'lambda': 1.0, 'rank_share': 0.0},
  ),
  'iso_c': Method(
    functools.partial(_spectral, combine=_isotropic), 'required', {'weight': 1.0}, {'lambda': 1.0}
  ),
}  # fmt: skip
