"""Evaluates a jaxpr with numpy, which compiles nothing: a small function takes milliseconds.

All floats are computed in double precision, so that a network in float32 is checked as sharply.
"""

import jax
import numpy as np
from jax.extend import core
from scipy import special

from wsjax.symmetry.inference import lower, rules


def evaluate(jaxpr, args):
  """Results of a closed jaxpr, as numpy arrays."""
  return _run(jaxpr.jaxpr, [_array(x) for x in jaxpr.consts], [_array(x) for x in args])


def _array(x):
  if _is_key(x):
    return x
  x = np.asarray(x)
  return x.astype(_wide(x.dtype), copy=False)


class _Numpy:
  """numpy, but keys of random numbers stay as they are."""

  asarray = staticmethod(_array)

  def __getattr__(self, name):
    return getattr(np, name)


NUMPY = _Numpy()


def _wide(dtype):
  if np.issubdtype(dtype, np.complexfloating):
    return np.dtype(np.complex128)
  return np.dtype(np.float64) if jax.dtypes.issubdtype(dtype, np.floating) else np.dtype(dtype)


def _is_key(x):
  return hasattr(x, 'dtype') and jax.dtypes.issubdtype(x.dtype, jax.dtypes.extended)


def _run(jaxpr, consts, args):
  env = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))
  read = lambda atom: _array(atom.val) if isinstance(atom, core.Literal) else env[atom]  # noqa: E731
  for eqn in jaxpr.eqns:
    outs = _apply(eqn, [read(atom) for atom in eqn.invars])
    for var, out in zip(eqn.outvars, outs, strict=True):
      env[var] = out
  return [read(atom) for atom in jaxpr.outvars]


def _closed(jaxpr, args):
  inner = getattr(jaxpr, 'jaxpr', jaxpr)
  return _run(inner, [_array(x) for x in getattr(jaxpr, 'consts', ())], args)


def _apply(eqn, args):
  name, params = eqn.primitive.name, eqn.params
  if name in ('scan', 'while', 'cond'):
    return _CONTROL[name](params, args)
  if name in lower.CALLS:
    return _closed(params[lower.CALLS[name]], args)
  if name == 'shard_map' and params['mesh'].size == 1:
    return _closed(params['jaxpr'], args)
  if name in rules.COLLECTIVES and not any(isinstance(a, int) for a in params.get('axes', ())):
    return args  # Of one device.
  if any(map(_is_key, (*args, *(v.aval for v in eqn.outvars)))):
    return _bind(eqn.primitive, args, params)
  if name in _ELEMENTWISE:
    with np.errstate(all='ignore'):
      outs = [_ELEMENTWISE[name](*args)]
  elif name == 'sort' and len(args) == 1:
    outs = [np.sort(args[0], params['dimension'])]
  elif name in _OTHERS:
    with np.errstate(all='ignore'):
      outs = [_OTHERS[name](params, *args)]
  elif name in ('split', 'optimization_barrier'):
    outs = args
    if name == 'split':
      outs = np.split(args[0], np.cumsum(params['sizes'])[:-1], params['axis'])
  else:
    return _bind(eqn.primitive, args, params)
  dtypes = [_wide(v.aval.dtype) for v in eqn.outvars]
  with np.errstate(invalid='ignore'):  # XLA casts NaN to an integer without a word.
    return [np.asarray(x, dtype) for x, dtype in zip(outs, dtypes, strict=True)]


def _bind(primitive, args, params):
  """A primitive without a line here, compiled."""
  if params.get('preferred_element_type') is not None:
    params = {**params, 'preferred_element_type': _wide(params['preferred_element_type'])}
  outs = primitive.bind(*args, **params)
  return [_array(x) for x in (outs if primitive.multiple_results else [outs])]


def _scan(params, args):
  if 'ft_in' in params:
    consts, carried, _ = (len(list(x)) for x in params['ft_in'].unpack())
  else:
    consts, carried = params['num_consts'], params['num_carry']
  fixed, carry, xs = args[:consts], args[consts : consts + carried], args[consts + carried :]
  rounds = range(params['length'])
  ys = {}
  for t in reversed(rounds) if params['reverse'] else rounds:
    outs = _closed(params['jaxpr'], [*fixed, *carry, *(np.asarray(x[t]) for x in xs)])
    carry, ys[t] = outs[:carried], outs[carried:]
  if not rounds:
    avals = [v.aval for v in params['jaxpr'].jaxpr.outvars[carried:]]
    return [*carry, *(np.zeros((0, *a.shape), _wide(a.dtype)) for a in avals)]
  return [*carry, *(np.stack(columns) for columns in zip(*(ys[t] for t in rounds), strict=True))]


def _while(params, args):
  split = params['cond_nconsts']
  start = split + params['body_nconsts']
  carry = args[start:]
  while _closed(params['cond_jaxpr'], [*args[:split], *carry])[0]:
    carry = _closed(params['body_jaxpr'], [*args[split:start], *carry])
  return carry


def _cond(params, args):
  index = int(np.clip(int(args[0]), 0, len(params['branches']) - 1))
  return _closed(params['branches'][index], args[1:])


_CONTROL = {'scan': _scan, 'while': _while, 'cond': _cond}


def _div(a, b):
  if np.issubdtype(a.dtype, np.inexact):
    return a / b
  quotient = np.trunc(a / np.where(b == 0, 1, b)).astype(a.dtype)
  return np.where(b == 0, -1, quotient)


def _power(x, y):
  return x**y if y >= 0 else 1 / x**-y


def _same(x, *_):
  return x


_ELEMENTWISE = {
  'abs': np.abs, 'acos': np.arccos, 'acosh': np.arccosh, 'add': np.add, 'add_any': np.add,
  'and': np.bitwise_and, 'asin': np.arcsin, 'asinh': np.arcsinh, 'atan': np.arctan,
  'atan2': np.arctan2, 'atanh': np.arctanh, 'cbrt': np.cbrt, 'ceil': np.ceil,
  'clamp': lambda low, x, high: np.minimum(np.maximum(x, low), high),
  'complex': lambda x, y: x + 1j * y, 'conj': np.conj, 'copy': _same, 'copy_p': _same,
  'cos': np.cos, 'cosh': np.cosh, 'digamma': special.digamma, 'div': _div, 'eq': np.equal,
  'erf': special.erf, 'erf_inv': special.erfinv, 'erfc': special.erfc, 'exp': np.exp,
  'exp2': np.exp2, 'expm1': np.expm1, 'floor': np.floor, 'ge': np.greater_equal,
  'gt': np.greater, 'imag': np.imag, 'is_finite': np.isfinite, 'le': np.less_equal,
  'lgamma': special.gammaln, 'log': np.log, 'log1p': np.log1p, 'logistic': special.expit,
  'lt': np.less, 'max': np.maximum, 'min': np.minimum, 'mul': np.multiply, 'name': _same,
  'ne': np.not_equal, 'neg': np.negative, 'nextafter': np.nextafter,
  'not': lambda x: np.logical_not(x) if x.dtype == bool else np.invert(x),
  'or': np.bitwise_or, 'pow': np.power, 'pvary': _same, 'real': np.real, 'rem': np.fmod,
  'rsqrt': lambda x: 1 / np.sqrt(x), 'sin': np.sin,
  'select_n': lambda which, *cases: np.choose(np.asarray(which, np.int64), cases),
  'sign': np.sign, 'sinh': np.sinh, 'sqrt': np.sqrt, 'square': np.square, 'stop_gradient': _same,
  'sub': np.subtract, 'tan': np.tan, 'tanh': np.tanh, 'xor': np.bitwise_xor,
}  # fmt: skip


def _round(p, x):
  if int(p['rounding_method']) == 1:
    return np.round(x)
  return np.where(np.isfinite(x), np.copysign(np.floor(np.abs(x) + 0.5), x), x)


def _broadcast(p, x, *_):
  shape = [1] * len(p['shape'])
  for axis, n in zip(p['broadcast_dimensions'], x.shape, strict=True):
    shape[axis] = n
  return np.broadcast_to(x.reshape(shape), p['shape'])


def _dot(p, a, b):
  (one, two), (batch_a, batch_b) = p['dimension_numbers']
  letters = iter(range(a.ndim + b.ndim))
  left = [next(letters) for _ in range(a.ndim)]
  right = [None] * b.ndim
  for i, j in (*zip(one, two, strict=True), *zip(batch_a, batch_b, strict=True)):
    right[j] = left[i]
  right = [next(letters) if x is None else x for x in right]
  out = [left[i] for i in batch_a]
  out += [x for i, x in enumerate(left) if i not in (*one, *batch_a)]
  out += [x for j, x in enumerate(right) if j not in (*two, *batch_b)]
  return np.einsum(a, left, b, right, out)


def _pad(p, x, value):
  config = p['padding_config']
  full = [
    (n - 1) * (inside + 1) + 1 if n else 0
    for n, (_, _, inside) in zip(x.shape, config, strict=True)
  ]
  out = np.full(
    [n + max(low, 0) + max(high, 0) for n, (low, high, _) in zip(full, config, strict=True)], value
  )
  at = tuple(
    slice(max(low, 0), max(low, 0) + n, inside + 1)
    for n, (low, _, inside) in zip(full, config, strict=True)
  )
  out[at] = x
  cut = tuple(
    slice(max(-low, 0), out.shape[axis] - max(-high, 0))
    for axis, (low, high, _) in enumerate(config)
  )
  return out[cut]


def _starts(x, sizes, starts):
  return [int(np.clip(int(s), 0, n - m)) for n, m, s in zip(x.shape, sizes, starts, strict=True)]


def _dynamic_slice(p, x, *starts):
  starts = _starts(x, p['slice_sizes'], starts)
  return x[tuple(slice(s, s + n) for s, n in zip(starts, p['slice_sizes'], strict=True))]


def _dynamic_update_slice(p, x, update, *starts):
  starts = _starts(x, update.shape, starts)
  x = x.copy()
  x[tuple(slice(s, s + n) for s, n in zip(starts, update.shape, strict=True))] = update
  return x


def _places(shape, indices, sizes, index_map, batching, mode):
  """(index arrays [*batch, *sizes] per axis, whether each [*batch] is within the operand)."""
  batch = indices.shape[:-1]
  starts = np.zeros((*batch, len(shape)), np.int64)
  for k, axis in enumerate(index_map):
    starts[..., axis] = indices[..., k]
  for axis, place in batching:
    along = [1] * len(batch)
    along[place] = batch[place]
    starts[..., axis] = np.arange(batch[place]).reshape(along)
  last = np.asarray(shape, np.int64) - np.asarray(sizes, np.int64)
  inside = ((starts >= 0) & (starts <= last)).all(-1)
  if 'FILL' not in str(mode).upper():
    inside = np.ones_like(inside)
  starts = np.clip(starts, 0, last)
  index = []
  for axis, n in enumerate(sizes):
    window = [1] * len(sizes)
    window[axis] = n
    start = starts[..., axis].reshape(*batch, *[1] * len(sizes))
    index.append(start + np.arange(n).reshape(window))
  return tuple(index), inside


def _gather(p, x, indices):
  numbers, sizes = p['dimension_numbers'], p['slice_sizes']
  batching = zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)
  index, inside = _places(
    x.shape, indices, sizes, numbers.start_index_map, list(batching), p['mode']
  )
  out = x[index]
  fill = p['fill_value']
  if fill is None:
    fill = np.nan
    if not np.issubdtype(x.dtype, np.inexact):
      fill = x.dtype.type(1) if x.dtype == bool else np.iinfo(x.dtype).max
      if np.issubdtype(x.dtype, np.signedinteger):
        fill = np.iinfo(x.dtype).min
  out = np.where(inside.reshape(*inside.shape, *[1] * x.ndim), out, np.asarray(fill, x.dtype))
  gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
  out = out.reshape(*inside.shape, *(n for axis, n in enumerate(sizes) if axis not in gone))
  return np.moveaxis(out, range(inside.ndim, out.ndim), numbers.offset_dims)


def _scatter(at):
  def rule(p, x, indices, updates):
    numbers = p['dimension_numbers']
    window = numbers.update_window_dims
    updates = np.moveaxis(updates, window, range(updates.ndim - len(window), updates.ndim))
    gone = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    rest = iter(updates.shape[updates.ndim - len(window) :])
    sizes = [1 if axis in gone else next(rest) for axis in range(x.ndim)]
    pairs = zip(numbers.operand_batching_dims, numbers.scatter_indices_batching_dims, strict=True)
    index, inside = _places(
      x.shape, indices, sizes, numbers.scatter_dims_to_operand_dims, list(pairs), p['mode']
    )
    updates = updates.reshape(*inside.shape, *sizes)
    full = np.broadcast_shapes(*(i.shape for i in index))
    index = [np.broadcast_to(i, full)[inside] for i in index]
    x = x.copy()
    at(x, tuple(index), updates[inside])
    return x

  return rule


def _put(x, index, updates):
  x[index] = updates


def _cumulative(ufunc):
  def rule(p, x):
    axis = p['axis']
    x = np.flip(x, axis) if p['reverse'] else x
    x = ufunc.accumulate(x, axis)
    return np.flip(x, axis) if p['reverse'] else x

  return rule


def _reduce(ufunc):
  return lambda p, x: ufunc.reduce(x, axis=tuple(p['axes']))


def _iota(p):
  shape, axis = p['shape'], p['dimension']
  along = [1] * len(shape)
  along[axis] = shape[axis]
  return np.broadcast_to(np.arange(shape[axis]).reshape(along), shape)


def _argmax(p, x):
  return np.argmax(x, p['axes'][0])


_OTHERS = {
  'argmax': _argmax,
  'argmin': lambda p, x: np.argmin(x, p['axes'][0]),
  'broadcast_in_dim': _broadcast,
  'concatenate': lambda p, *xs: np.concatenate(xs, p['dimension']),
  'convert_element_type': lambda p, x: x.real if np.iscomplexobj(x) and not np.issubdtype(
    p['new_dtype'], np.complexfloating) else x,
  'cumsum': _cumulative(np.add), 'cumprod': _cumulative(np.multiply),
  'cummax': _cumulative(np.maximum), 'cummin': _cumulative(np.minimum),
  'cumlogsumexp': _cumulative(np.logaddexp),
  'dot_general': _dot, 'dynamic_slice': _dynamic_slice,
  'dynamic_update_slice': _dynamic_update_slice, 'gather': _gather,
  'integer_pow': lambda p, x: _power(x, p['y']), 'iota': lambda p: _iota(p), 'pad': _pad,
  'reduce_and': _reduce(np.bitwise_and), 'reduce_max': _reduce(np.maximum),
  'reduce_min': _reduce(np.minimum), 'reduce_or': _reduce(np.bitwise_or),
  'reduce_prod': _reduce(np.multiply), 'reduce_sum': _reduce(np.add),
  'reshape': lambda p, x: np.transpose(x, p['dimensions'] or range(x.ndim)).reshape(p['new_sizes']),
  'rev': lambda p, x: np.flip(x, p['dimensions']), 'round': _round,
  'scatter': _scatter(_put), 'scatter-add': _scatter(np.add.at),
  'scatter-max': _scatter(np.maximum.at), 'scatter-min': _scatter(np.minimum.at),
  'scatter-mul': _scatter(np.multiply.at), 'scatter-sub': _scatter(np.subtract.at),
  'slice': lambda p, x: x[tuple(map(slice, p['start_indices'], p['limit_indices'],
                                    p['strides'] or (1,) * x.ndim))],
  'squeeze': lambda p, x: x.reshape([n for axis, n in enumerate(x.shape)
                                     if axis not in {a % x.ndim for a in p['dimensions']}]),
  'stack': lambda p, *xs: np.stack(xs, p['axis']),
  'tile': lambda p, x: np.tile(x, p['reps']),
  'transpose': lambda p, x: np.transpose(x, p['permutation']),
}  # fmt: skip
