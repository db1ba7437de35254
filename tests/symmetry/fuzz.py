"""Random functions of composed primitives, and a check of all that is inferred about them.

  python -m tests.symmetry.fuzz 0 1000

checks seeds 0 to 999, each with variants of other primitives, and prints those that fail.
"""

import math
import sys
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from tests.symmetry import numeric
from wsjax.symmetry import blocks, group
from wsjax.symmetry.inference import infer, lower

BATCH, TIME = 2, 3
WIDTHS = (4, 6)
TOLERANCE = 1e-6
_MAX_SIZE = 600
VARIANTS = 8


class Net:
  """A random function; called with weights, or with None to collect their shapes."""

  def __init__(self, seed):
    self.seed = seed
    self.shapes = {}
    self.inputs = (
      jax.ShapeDtypeStruct((BATCH, TIME, 3), np.float64),
      jax.ShapeDtypeStruct((BATCH, TIME), np.int32),
      jax.ShapeDtypeStruct((BATCH, TIME, 1), np.float64),
    )
    jax.eval_shape(lambda *args: self(None, *args), *self.inputs)

  def __call__(self, params, x, index, scalar):
    self.rng = np.random.default_rng(self.seed)
    self.params, self.index, self.scalar = params, index, scalar
    self.names = []
    x = self.dense(x)
    values = [x, x]
    for _ in range(self.rng.integers(1, 8)):
      x = self.pick(values[-3:])
      try:
        x = self.step(x, values)
      except (TypeError, ValueError):  # Shapes that do not fit: a step less.
        pass
      if x.size > _MAX_SIZE or x.ndim < 2:
        x = values[-1]
      values.append(x)
    x = values[-1]
    if self.chance(0.85):
      x = self.dense(x)
    if self.chance(0.3):
      x = jnp.tanh(x)
    return x if self.chance(0.5) else x.sum(tuple(range(1, x.ndim)))

  def pick(self, options):
    return options[self.rng.integers(len(options))]

  def chance(self, p):
    return self.rng.random() < p

  def weight(self, *shape, integer=False):
    """A new weight, or one of that shape that is used again."""
    same = [n for n in self.names if self.shapes[n].shape == shape]
    if same and self.chance(0.15) and not integer:
      name = self.pick(same)
    else:
      name = f'{len(self.names):02d}'
      self.names.append(name)
    if self.params is not None:
      return self.params[name]
    dtype = self.shapes[name].dtype if name in self.shapes else np.float64
    dtype = np.int8 if integer else dtype
    self.shapes[name] = jax.ShapeDtypeStruct(shape, dtype)
    return jnp.ones(shape, dtype)

  def dense(self, x, width=None):
    width = width or self.pick(WIDTHS)
    if self.chance(0.03):
      return x @ self.weight(x.shape[-1], width, integer=True).astype(x.dtype)
    x = x @ self.weight(x.shape[-1], width)
    return x + self.weight(width) if self.chance(0.5) else x

  def vector(self, x):
    """Something of the shape of `x`, or that is broadcast to it."""
    kind = self.rng.integers(10)
    if kind == 0:
      return jnp.full(x.shape, self.pick((0.0, 1.0, 0.5)))
    if kind == 1:
      return self.weight(x.shape[-1])
    if kind == 2:
      return self.weight(*x.shape[1:])
    if kind == 3:
      return jnp.broadcast_to(self.scalar.reshape(-1)[:1], x.shape)
    if kind == 4:
      return jnp.repeat(x[..., :1] * 0 + self.scalar.reshape(-1)[0], x.shape[-1], -1)
    if kind == 5:
      return jnp.arange(x.shape[-1], dtype=x.dtype)
    if kind == 6:
      return x.mean(-1, keepdims=True)
    if kind == 7:
      return x.sum(1, keepdims=True)
    if kind == 8:
      return jnp.tile(self.scalar.reshape(-1)[:1], x.shape[-1])
    return self.weight() if self.chance(0.5) else jnp.full_like(x, self.scalar.reshape(-1)[0])

  def step(self, x, values):
    kinds = [self._dense, self._unary, self._binary, self._moved, self._reduced, self._control,
             self._blocks, self._chosen]  # fmt: skip
    kind = self.rng.choice(len(kinds), p=[0.22, 0.2, 0.14, 0.13, 0.08, 0.08, 0.1, 0.05])
    return kinds[kind](x, values)

  def _dense(self, x, values):
    kind = self.rng.integers(6)
    if kind == 0 and x.ndim == 3:
      return jnp.einsum('btd,dhk->bthk', x, self.weight(x.shape[-1], 2, 3))
    if kind == 1 and x.ndim == 4:
      return jnp.einsum('bthk,hkd->btd', x, self.weight(*x.shape[2:], self.pick(WIDTHS)))
    if kind == 2 and x.ndim == 3:
      q, k = self.dense(x, 4), self.dense(x, 4)
      weights = jax.nn.softmax(jnp.einsum('btd,bsd->bts', q, k), -1)
      return jnp.einsum('bts,bsd->btd', weights, self.dense(x))
    if kind == 3 and x.ndim == 3:
      return jnp.swapaxes(self.dense(jnp.swapaxes(x, 1, 2)), 1, 2)
    return self.dense(x)

  def _unary(self, x, values):
    c = self.pick((0.0, 1.0, 0.5, -1.0))
    return self.pick((
      lambda x: jnp.maximum(x, c), jax.nn.relu, jax.nn.relu, jnp.tanh, jnp.tanh, jnp.abs,
      lambda x: jnp.where(x > 0, x, 0.1 * x), lambda x: jnp.where(x > c, x, c),
      lambda x: jnp.sin(3 * x), jnp.cos, jnp.sign, jnp.square, lambda x: x**3, lambda x: -x,
      lambda x: 2 * x, lambda x: x * self.weight(x.shape[-1]), lambda x: x + c,
      lambda x: jnp.clip(x, c - 1, 2.0), lambda x: jnp.sqrt(jnp.abs(x)), jax.nn.sigmoid,
      lambda x: jnp.exp(jnp.minimum(x, 1.0)), jnp.floor, jax.lax.stop_gradient,
      lambda x: jnp.round(x).astype(np.int32).astype(np.float64),
      lambda x: 1 / (1 + jnp.square(x)), lambda x: jnp.real(x * (1 + 2j)),
      lambda x: jnp.real((jnp.exp(1j * x) - jnp.ones(x.shape[-1])) * x), jax.nn.relu6,
      lambda x: (x != 0) * 1.0, lambda x: x / (c or 2.0), lambda x: jax.nn.silu(x) * x,
      lambda x: jnp.where(jnp.abs(x) < 5, jnp.sin(x), x), jax.jit(jnp.tanh), jnp.sinc,
      lambda x: (1 + jnp.tanh(x)) * (1 - jnp.tanh(x)), lambda x: (c + x) * (x - c) - x * x,
    ))(x)  # fmt: skip

  def _binary(self, x, values):
    same = [v for v in values if v.shape == x.shape]
    y = self.pick(same) if self.chance(0.5) else self.vector(x)
    if self.chance(0.3):
      x, y = y, x
    return self.pick((
      jnp.add, jnp.add, jnp.subtract, jnp.multiply, jnp.multiply, jnp.maximum, jnp.minimum,
      lambda x, y: jnp.where(x > y, x, y), lambda x, y: jnp.where(x > 0, x, y),
      lambda x, y: jnp.where(x > 0.5, y, x), lambda x, y: x / (1 + y * y), jnp.arctan2,
      lambda x, y: jnp.where(self.index.reshape(-1)[0] > 0, x, y), jnp.hypot,
      lambda x, y: jax.lax.select(jnp.broadcast_to(x, np.broadcast_shapes(x.shape, y.shape)) > 0,
                                  jnp.broadcast_to(x, np.broadcast_shapes(x.shape, y.shape)),
                                  jnp.broadcast_to(y, np.broadcast_shapes(x.shape, y.shape))),
    ))(x, y)  # fmt: skip

  def _moved(self, x, values):
    n, c = x.shape[-1], self.pick((0.0, 1.0))
    axis = int(self.rng.integers(1, x.ndim))
    i = self.index.reshape(-1)[0]
    ones = jnp.full(x.shape, c)
    pads = [(0, 0)] * x.ndim
    pads[axis] = (0, x.shape[axis])
    y = self.pick([v for v in values if v.shape == x.shape])
    half = max(n // 2, 1)
    return self.pick((
      lambda: jnp.concatenate([x, y], axis), lambda: jnp.concatenate([x, ones], axis),
      lambda: jnp.concatenate([x[..., half:], x[..., :half]], -1),
      lambda: jnp.pad(x, pads, constant_values=c), lambda: jnp.roll(x, 1, axis),
      lambda: x[..., :half], lambda: jnp.stack([x, y], axis)[:, 0],
      lambda: jnp.stack([x, ones], 1).reshape(x.shape[0], -1, n),
      lambda: jnp.flip(x, axis), lambda: jnp.cumsum(x, axis), lambda: jnp.sort(x, axis),
      lambda: x.reshape(*x.shape[:-1], 2, -1), lambda: x.reshape(*x.shape[:-2], -1),
      lambda: jnp.swapaxes(x, axis, -1), lambda: jnp.repeat(x, 2, axis),
      lambda: jnp.tile(x, (1,) * (x.ndim - 1) + (2,)),
      lambda: jax.lax.dynamic_update_slice(ones, x[:, :1], (0, i) + (0,) * (x.ndim - 2)),
      lambda: jax.lax.dynamic_index_in_dim(x, i, 1),
      lambda: jnp.take(x, self.index[0], 1, mode='fill', fill_value=c),
      lambda: jnp.take(x, self.index[0], 1, mode='clip'),
      lambda: jax.vmap(lambda x, i: x[i])(x, self.index[:, 0])[:, None],
      lambda: x.at[:, 0].set(c), lambda: x.at[:, self.index[0]].add(y[:, :TIME] if
        x.shape[1] >= TIME else c), lambda: x.at[:, self.index[0]].max(c),
      lambda: jax.vmap(lambda v: jnp.where(v > 0.2, v, self.scalar[0, 0, 0]))(x),
      lambda: jax.vmap(lambda v: jnp.concatenate([v, self.scalar[0, 0]]), -1, -1)(x[:, 0])[:, None],
      lambda: jax.lax.associative_scan(jnp.add, x, axis=1),
      lambda: jnp.split(x, 2, -1)[0] * jnp.split(x, 2, -1)[1] if n % 2 == 0 else x,
      lambda: jax.lax.cummax(x, axis=axis), lambda: jnp.moveaxis(x, 1, -1),
      lambda: jax.lax.reduce_window(x, c, jax.lax.add, (1, 2) + (1,) * (x.ndim - 2),
                                    (1,) * x.ndim, 'SAME'),
      lambda: jnp.where(jnp.arange(x.shape[1])[:, None] > 0, x, c) if x.ndim == 3 else x,
      lambda: jnp.eye(n)[self.index] if x.ndim == 3 else x,
      lambda: self.weight(5, n)[self.index],
    ))()  # fmt: skip

  def _reduced(self, x, values):
    mean = x.mean(-1, keepdims=True)
    y = self.pick([v for v in values if v.shape == x.shape])
    return self.pick((
      lambda: (x - mean) / jnp.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 0.1),
      lambda: x / jnp.sqrt((x * x).mean(-1, keepdims=True) + 0.1),
      lambda: x / jnp.sqrt(jnp.square(x).sum(1, keepdims=True) + 0.1),
      lambda: jax.nn.softmax(x, -1), lambda: x - x.max(-1, keepdims=True),
      lambda: x + x.sum(1, keepdims=True), lambda: x.max(1, keepdims=True),
      lambda: jnp.einsum('b...i,b...j->b...ij', x, y).reshape(*x.shape[:-1], -1),
      lambda: jnp.einsum('bti,btj->bij', x, y) if x.ndim == 3 else x,
      lambda: jnp.einsum('bti,bsi->bts', x, y) if x.ndim == 3 else x,
      lambda: (x * y).sum(-1, keepdims=True), lambda: jnp.linalg.norm(x + 1e-3, axis=-1)[..., None],
      lambda: jnp.einsum('bthk,bshk->bhts', x, y) if x.ndim == 4 else x,
      lambda: jnp.einsum('bthk,hm->btmk', x, self.weight(x.shape[2], x.shape[2]))
      if x.ndim == 4 else x,
      lambda: x * jnp.argmax(x, -1)[..., None], lambda: x.prod(1, keepdims=True),
      lambda: x - jnp.median(x, -1, keepdims=True),
    ))()  # fmt: skip

  def _control(self, x, values):
    n, c = x.shape[-1], self.pick((0.0, 1.0, self.scalar[0, 0, 0]))
    act = self.pick((jnp.tanh, jax.nn.relu, lambda x: 0.5 * x, jnp.sin))
    w = self.weight(n, n) * 0.5
    start = self.pick((x[:, 0], jnp.full_like(x[:, 0], c), jnp.zeros_like(x[:, 0])))
    gain = self.weight(n)

    def round(h, y):
      h = self.pick_fixed((act(y + h @ w), act(h * gain + y), 0.5 * (h + y)), choice)
      return h, h

    choice = int(self.rng.integers(3))
    first = x[0, 0].reshape(-1)[0]
    return self.pick((
      lambda: jnp.swapaxes(jax.lax.scan(round, start, jnp.swapaxes(x, 0, 1))[1], 0, 1),
      lambda: jax.lax.fori_loop(0, 3, lambda i, h: act(h @ w), x),
      lambda: jax.lax.fori_loop(0, 2, lambda i, h: h + c, x),
      lambda: jax.lax.while_loop(lambda s: s[0] < 2, lambda s: (s[0] + 1, act(s[1])), (0, x))[1],
      lambda: jax.lax.cond(self.index[0, 0] > 0, lambda x: act(x), lambda x: x + c, x),
      lambda: jax.lax.cond((x**2).sum() > 1, lambda x: act(x), lambda x: 2 * x, x),
      lambda: jax.lax.cond(first > 0, lambda x: act(x), lambda x: 2 * x, x),
      lambda: jax.checkpoint(act)(x), lambda: jax.jvp(act, (x,), (jnp.ones_like(x),))[1],
      lambda: jax.grad(lambda x: act(x @ w).sum())(x),
      lambda: jax.lax.map(lambda x: act(x @ w), x),
      lambda: jax.lax.switch(jnp.abs(self.index[0, 0]) % 3, [act, jnp.tanh, lambda x: x + c], x),
      lambda: jax.jvp(lambda x: jax.jvp(act, (x,), (gain + x,))[1], (x,), (jnp.ones_like(x),))[1],
      lambda: jax.vmap(jax.hessian(lambda x: act(x @ w).sum()))(x.reshape(-1, n)[:2]),
    ))()  # fmt: skip

  def _blocks(self, x, values):
    """Layers, experts and pieces with units of their own."""
    n, m, num = x.shape[-1], self.pick(WIDTHS), 3
    act = self.pick((jnp.tanh, jax.nn.relu, jax.nn.silu, lambda x: 0.5 * x))
    choice = int(self.rng.integers(3))
    last = self.pick(WIDTHS)
    i = self.index.reshape(-1)[0] % num

    def many(*shape):
      return self.weight(num, *shape)

    def halves(x):
      one, two = x[..., : n // 2], x[..., n // 2 :]
      one, two = act(one), jax.nn.relu(two)
      return jnp.concatenate(self.pick_fixed(([one, two], [two, one], [one, two, one]), choice), -1)

    def normed(x):
      x = x.reshape(*x.shape[:-1], 2, -1)
      return (x / (1 + jnp.abs(x).sum(-1, keepdims=True))).reshape(*x.shape[:-2], -1)

    def layer(h, w):
      h = self.pick_fixed((h + act(h @ w[0]) @ w[1], act(h @ w[0] @ w[1]), act(h @ w[0]) @ w[1]),
                          choice)  # fmt: skip
      return h, h

    def experts(x):
      h = act(jnp.einsum('...i,eio->...eo', x, many(n, m)))
      if choice == 1:
        h = h * self.weight(num, 1)
      if choice == 2:
        h = h + h.sum(-2, keepdims=True)
      return jnp.einsum('...eo,eod->...d', h, many(m, last))

    def gated(x):
      gate = jax.nn.softmax(x @ self.weight(n, num), -1)
      if choice == 1:
        gate = gate * (gate >= gate.max(-1, keepdims=True))
      h = act(jnp.einsum('...i,eio->...eo', x, many(n, m)))
      return jnp.einsum('...e,...eo,eod->...d', gate, h, many(m, last))

    def kernels():
      w = self.weight(n, m)
      return self.pick((
        lambda: jnp.concatenate([w, self.weight(n, m)], -1), lambda: w / jnp.linalg.norm(w, axis=0),
        lambda: w / jnp.linalg.norm(w), lambda: w * self.weight(m), lambda: w @ self.weight(m, m),
        lambda: self.weight(m, n).T, lambda: w + self.weight(m, n).T, lambda: w[:, ::-1],
        lambda: self.weight(n * m).reshape(n, m), lambda: self.weight(m, 2, n)[:, 1].T,
        lambda: self.weight(2 * n, m)[n:], lambda: jnp.pad(w, ((0, 0), (0, 2))),
        lambda: jnp.repeat(w, 2, 1), lambda: many(n, m)[i], lambda: many(n, m)[1],
        lambda: many(n, m).sum(0), lambda: jnp.where(w > 0, w, 0.0), lambda: jax.nn.softmax(w, 0),
        lambda: jnp.swapaxes(many(n, m), 0, 1).reshape(n, -1),
      ))()  # fmt: skip

    def places():
      """Parts of one kernel that lie apart from each other."""
      heads = self.pick((1, 2))
      shape = self.pick_fixed(((3, heads, m), (heads, 3, m), (heads, m, 3)), choice)
      axis = self.pick_fixed((0, 1, 2), choice) - 3
      w = self.weight(n, 3 * heads * m)
      if self.chance(0.5):
        z = jnp.moveaxis(
          (x @ w + self.weight(3 * heads * m)).reshape(*x.shape[:-1], *shape), axis, 0
        )
      else:
        z = jnp.moveaxis(jnp.einsum('...i,iabc->...abc', x, self.weight(n, *shape)), axis, 0)
      one, two, three = (z[i] for i in range(3)) if self.chance(0.8) else (z[0], z[1], z[0])
      return self.pick((
        lambda: act(one) * two + three, lambda: act(one) + jax.nn.relu(two) * three,
        lambda: (one * two).sum(-1, keepdims=True) * three, lambda: act(one) @ self.weight(m, m),
        lambda: act(one) @ self.weight(m, last)
        + jax.nn.relu(two) @ self.weight(m, last) * three.sum(-1)[..., None],
      ))().reshape(*x.shape[:-1], -1)  # fmt: skip

    def kernels_of_rows(x):
      images = x.reshape(-1, n)[:2].reshape(2, 1, n, 1)
      w = self.weight(1, 2, 1, m) * (1 + images[:, :, :1, :, None])
      return jax.vmap(
        lambda x, w: lax.conv_general_dilated(
          x[None], w, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
        )[0]
      )(images, w)

    def unrolled(x):
      a, b = many(n, m), many(m, n)
      for i in self.pick((range(num), (0, 1), (0, 1, 2, 1))):
        x = layer(x, (a[i], b[i]))[0] if choice != 2 else x + act(x @ a[i]) @ b[i]
      return x

    def halves_of_heads():
      z = (x @ self.weight(n, 2 * 2 * m)).reshape(*x.shape[:-1], 2, 2 * m)
      one, two = jnp.split(z, 2, -1)
      return (act(one) * two).reshape(*x.shape[:-1], -1)

    def rotary():
      """Queries and keys whose pairs are rotated, or nearly so."""
      heads, width, cut = self.pick((1, 2)), self.pick((4, 6)), self.pick((4, 4, None))
      layouts = self.pick(('halves', 'pairs', 'complex')), self.pick(('halves', 'pairs', 'table'))
      kind = self.rng.integers(18)
      x0 = x if x.ndim == 3 else x.reshape(BATCH, -1, n)
      angles = np.arange(x0.shape[1])[:, None] * 0.3 ** np.arange((cut or width) // 2)
      q, k = (self.dense(x0, heads * width) for _ in range(2))
      q, k = (z.reshape(*x0.shape[:2], heads, width) for z in (q, k))
      if kind == 0:
        k = q
      if kind == 1:
        q = q / (1 + jnp.abs(q).sum(-1, keepdims=True))
      if kind == 2:
        q, k = (z / jnp.sqrt(1 + (z * z).sum(-1, keepdims=True)) for z in (q, k))
      if kind == 3:
        q = q * self.weight(width)
      if kind == 4:
        k = k[:, :, :1]
      if kind == 5:
        q = act(q)
      sign = -1 if kind == 6 else 1
      other = angles * (0.9 if kind == 7 else 1)
      layouts = layouts if self.chance(0.4) else layouts[:1] * 2
      turn = lambda z, layout: _rotated(z, angles, other, sign, layout, cut)  # noqa: E731
      q, k = map(turn, (q, k), layouts)
      if kind == 8:
        q = q * turn(jnp.ones_like(q), layouts[0])
      if kind == 9:
        q = q + self.vector(q)
      a = jax.nn.softmax(jnp.einsum('bthk,bshk->bhts', q, jnp.broadcast_to(k, q.shape)), -1)
      v = self.dense(x0, heads * 2).reshape(*x0.shape[:2], heads, 2)
      return jnp.einsum('bhts,bshk->bthk', a, v).reshape(*x0.shape[:2], -1)

    def both_signs():
      h = self.dense(x, m)
      one, two = (act(h), act(-h)) if choice else (act(h), act(1 - h))
      h = jnp.concatenate([one, two] if choice < 2 else [one, two, h], -1)
      return h @ self.weight(h.shape[-1], last)

    def shuffled():
      h, g = self.dense(x, 12), self.pick((2, 3))
      w = self.weight(g, 12 // g, 12 // g)

      def grouped(h):
        return jnp.einsum('...gi,gio->...go', h.reshape(*h.shape[:-1], g, -1), w)

      h = act(grouped(h))
      h = jnp.swapaxes(h, -1, -2) if choice else h
      return act(grouped(h.reshape(*h.shape[:-2], 12))).reshape(*h.shape[:-2], 12)

    first = lambda x: x.reshape(-1, n)[:2]  # noqa: E731
    if self.chance(0.15):
      return self.pick((rotary, rotary, both_signs, shuffled))()
    return self.pick((
      places, places, lambda: unrolled(x), halves_of_heads,
      lambda: jax.lax.scan(layer, x, (many(n, m), many(m, n)))[0],
      lambda: jax.lax.scan(layer, first(x), (many(n, m), many(m, n)), reverse=True)[1],
      lambda: jnp.einsum('lbi,lio->bo', jax.lax.scan(layer, first(x), (many(n, m), many(m, n)))[1],
                         many(n, last)),
      lambda: jax.lax.fori_loop(0, num, lambda i, h: layer(h, (a[i], b[i]))[0], x)
        if (a := many(n, m)) is not None and (b := many(m, n)) is not None else x,
      lambda: jax.vmap(lambda w, v: act(x @ w) @ v)(many(n, m), many(m, last)).mean(0),
      lambda: jax.vmap(lambda w, v: act(first(x) @ w) @ v)(many(n, m), many(m, last)),
      lambda: jax.vmap(lambda w, v: act(first(x) @ w) @ v, axis_name='e')(
        many(n, m), many(m, last)),
      lambda: jax.vmap(lambda w: jax.lax.psum(act(first(x) @ w), 'e'), axis_name='e')(many(n, m)),
      lambda: jax.vmap(lambda w, b: act(first(x) @ w + b))(many(n, m), self.weight(num, 1)),
      lambda: experts(x), lambda: gated(x), lambda: halves(x), lambda: halves(self.dense(x)),
      lambda: normed(x), lambda: halves(x) @ self.weight(halves(x).shape[-1], last),
      lambda: act(x @ kernels()), lambda: x @ kernels(), lambda: act(x @ kernels()) + x[..., :1],
      lambda: jnp.einsum('...i,...io->...o', act(jnp.einsum('bti,btio->bto', x, many(n, m)[
        jnp.clip(self.index, 0, num - 1)])), many(m, last)[jnp.clip(self.index, 0, num - 1)])
        if x.ndim == 3 and x.shape[1] == TIME else x,
      lambda: jnp.concatenate([act(x @ self.weight(n, m)), x, x[..., :2]], -1),
      lambda: jax.lax.ragged_dot(first(x), many(n, m), jnp.array([1, 0, 1])),
      lambda: jnp.concatenate([x, self.vector(x)], -1) @ self.weight(2 * n, m),
      lambda: jax.nn.softmax(jnp.stack([x @ self.weight(n, m), x @ self.weight(n, m)]), 0).sum(0),
      lambda: jnp.stack([act(x), x @ self.weight(n, n), x], 1).max(1),
      lambda: kernels_of_rows(x),
    ))()  # fmt: skip

  def _chosen(self, x, values):
    """Experts that an index chooses, for each row or for all."""
    n, m, num, last = x.shape[-1], self.pick(WIDTHS), 3, self.pick(WIDTHS)
    act = self.pick((jnp.tanh, jax.nn.relu, jax.nn.silu, lambda x: 0.5 * x))
    choice = int(self.rng.integers(3))
    x = x.reshape(-1, n)[:2]

    def many(*shape):
      return self.weight(num, *shape)

    rows = jnp.argmax(x[:, :num], -1) if self.chance(0.3) else jnp.abs(self.index[:, 0]) % num
    others = self.pick((rows, rows, rows, self.index[:, 1] % num, rows[::-1]))
    w, b, v = many(n, m), many(m), many(m, last)
    if self.chance(0.15):
      v = v[::-1]

    def one(x, i, j):
      h = act(
        x @ lax.dynamic_index_in_dim(w, i, 0, False) + b[i] * self.pick_fixed((1, 0, 0), choice)
      )
      return h @ lax.dynamic_index_in_dim(v, j, 0, False)

    def taken(x):
      h = act(jnp.einsum('bi,bio->bo', x, w[rows]))
      h = self.pick((
        lambda: h, lambda: h, lambda: h, lambda: jnp.flip(h, 0), lambda: h + h.sum(0),
        lambda: h + b[rows], lambda: h * b[others], lambda: jnp.concatenate([h[:1], h[:1]]),
        lambda: jnp.cumsum(h, 0), lambda: h.reshape(2, 1, m)[:, 0], lambda: h * rows[:, None],
        lambda: jnp.roll(h, 1, 0), lambda: h[rows % 2], lambda: h @ self.weight(m, m),
      ))()  # fmt: skip
      return jnp.einsum('bi,bio->bo', h, jnp.take(v, others, 0, mode='fill'))

    def ragged(x):
      sizes = jnp.bincount(rows, length=num).astype(np.int32)
      end = self.pick((sizes, sizes, sizes[::-1], jnp.bincount(others, length=num)))
      h = act(lax.ragged_dot(x, w, sizes))
      h = self.pick((lambda: h, lambda: h, lambda: h * b[rows], lambda: h + h.sum(0)))()
      return lax.ragged_dot(h, v, end.astype(np.int32))

    def rounds(x):
      step = lambda h, i: (act(h @ w[i]) @ many(m, n)[i], h @ w[i])  # noqa: E731
      return self.pick((
        lambda: lax.fori_loop(0, num, lambda i, h: act(h @ w[i]) @ many(m, n)[i], x),
        lambda: lax.fori_loop(0, num, lambda i, h: act(h @ many(m, m)[i]), x @ w[1]) @ v[rows[0]],
        lambda: lax.scan(step, x, rows)[0], lambda: lax.scan(step, x, rows)[1][0] @ v[rows[0]],
        lambda: lax.scan(step, x, rows)[1][1] @ v[rows[1]],
      ))()  # fmt: skip

    return self.pick((
      lambda: taken(x), lambda: taken(x), lambda: ragged(x), lambda: rounds(x),
      lambda: jax.vmap(one)(x, rows, others), lambda: one(x, rows[0], others[0]),
    ))()  # fmt: skip

  @staticmethod
  def pick_fixed(options, index):
    return options[index]


def changes(seed, draws=1, variant=0, traced=None):
  """(what, change) of every inferred element, where it changes the function.

  Args:
    seed: of the function.
    draws: how many weights are tried.
    variant: 0 for the function itself, others for some with other elementwise primitives.
    traced: what `trace` returned for this seed.

  Returns:
    One entry per element and draw, and how many elements were tried.
  """
  net, closed = traced or trace(seed)
  if variant:
    closed = _mutated(closed, np.random.default_rng((seed, variant)))
  with jax.enable_x64(True):
    inferred = infer.of_jaxpr(closed, list(net.shapes))
    found, tried = [], 0
    for draw in range(draws):
      for what, change in _each(net, inferred, closed, 1000 * seed + draw):
        tried += 1
        if change > TOLERANCE:
          found.append((what, change))
  return found, tried


def trace(seed):
  """(random function, its jaxpr)."""
  with jax.enable_x64(True), jax.numpy_rank_promotion('allow'):
    net = Net(seed)
    return net, jax.make_jaxpr(net)(dict(net.shapes), *net.inputs)


def _rotated(z, angles, other, sign, layout, cut):
  """[b, t, h, d] with the first `cut` features rotated by angles, the second of pairs by others."""
  z, rest = (z, None) if cut is None else (z[..., :cut], z[..., cut:])
  (cos, sin), (cos_2, sin_2) = (
    (jnp.cos(a)[:, None], jnp.sin(a)[:, None]) for a in map(jnp.asarray, (angles, other))
  )
  if layout == 'complex':
    z = z.reshape(*z.shape[:-1], -1, 2)
    pairs = lax.complex(z[..., 0], z[..., 1]) * lax.complex(*jnp.broadcast_arrays(cos, sin))
    z = jnp.stack([pairs.real, sign * pairs.imag], -1).reshape(*z.shape[:-2], -1)
  elif layout == 'table':
    both = np.concatenate([angles, other], -1)
    cos, sin = jnp.split(jnp.asarray(np.concatenate([np.cos(both), np.sin(both)], -1)), 2, -1)
    one, two = jnp.split(z, 2, -1)
    z = z * cos[:, None] + jnp.concatenate([-sign * two, one], -1) * sin[:, None]
  else:
    halves = layout == 'halves'
    one, two = jnp.split(z, 2, -1) if halves else (z[..., ::2], z[..., 1::2])
    one, two = one * cos - sign * two * sin, two * cos_2 + one * sin_2
    z = jnp.concatenate([one, two], -1) if halves else jnp.stack([one, two], -1).reshape(z.shape)
  return z if rest is None else jnp.concatenate([z, rest], -1)


_CALLS = {*lower.CALLS, 'scan', 'while'}
_UNARY = (
  lax.tanh_p, lax.sin_p, lax.cos_p, lax.abs_p, lax.sign_p, lax.neg_p, lax.square_p, lax.floor_p,
  lax.logistic_p, lax.cbrt_p, lax.atan_p, lax.copy_p,
)  # fmt: skip
_BINARY = lax.add_p, lax.sub_p, lax.mul_p, lax.max_p, lax.min_p, lax.atan2_p


def _mutated(jaxpr, rng):
  """A jaxpr with other elementwise primitives here and there."""
  if isinstance(jaxpr, core.ClosedJaxpr):
    return core.ClosedJaxpr(_mutated(jaxpr.jaxpr, rng), jaxpr.consts)
  eqns = []
  for eqn in jaxpr.eqns:
    params = {}
    for key, value in eqn.params.items():
      if isinstance(value, core.Jaxpr | core.ClosedJaxpr) and eqn.primitive.name in _CALLS:
        value = _mutated(value, rng)
      elif key == 'branches':
        value = tuple(_mutated(branch, rng) for branch in value)
      params[key] = value
    primitive = eqn.primitive
    if rng.random() < 0.25 and eqn.outvars[0].aval.dtype == np.float64:
      for group_of in (_UNARY, _BINARY):
        if primitive in group_of:
          primitive = group_of[rng.integers(len(group_of))]
          params = {'out_dtype': None}  # To be printed.
    eqns.append(eqn.replace(primitive=primitive, params=params))
  return jaxpr.replace(eqns=eqns)


def _each(net, inferred, closed, seed):
  rng = np.random.default_rng(seed)
  params = {name: _weights(leaf, rng) for name, leaf in net.shapes.items()}
  args = (
    rng.normal(size=net.inputs[0].shape),
    rng.integers(-1, 6, net.inputs[1].shape).astype(np.int32),
    rng.normal(size=net.inputs[2].shape),
  )
  yield from changes_of(inferred, closed, params, args, seed)


def _weights(leaf, rng):
  if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended):
    return jax.random.key(0) if isinstance(leaf, jax.ShapeDtypeStruct) else leaf
  if not np.issubdtype(leaf.dtype, np.inexact):
    return rng.integers(-3, 4, leaf.shape).astype(leaf.dtype)
  return np.asarray(rng.normal(size=leaf.shape) / max(math.prod(leaf.shape[:-1]), 1) ** 0.5)


def drawn(shapes, seed):
  """Random arrays for a tree of shapes: vectors in [0.5, 1.5], as for variances."""
  rng = np.random.default_rng(seed)
  is_vector = lambda leaf: len(leaf.shape) < 2 and leaf.dtype == np.float64  # noqa: E731
  return jax.tree.map(
    lambda x: np.asarray(rng.uniform(0.5, 1.5, x.shape)) if is_vector(x) else _weights(x, rng),
    shapes,
  )


def changes_of(inferred, closed, params, args, seed):
  """Yields (what, change) for one random element of the spec and of all else that was inferred.

  Args:
    inferred: the symmetry of `closed`.
    closed: a jaxpr of (params, *args), which is evaluated with numpy.
    params: tree of arrays.
    args: inputs.
    seed: of the elements.
  """
  rng = np.random.default_rng(seed)
  spec, report = inferred.spec, inferred.report
  paths, leaves, _ = infer.flatten(params)
  flat = dict(zip(paths, leaves, strict=True))
  moved = []
  with mock.patch.object(group, 'jnp', numeric.NUMPY):  # Which compiles nothing.
    if spec.groups:
      kinds = sorted({kind for g in spec.groups for kind in g.kinds})
      moved.append((' '.join(kinds), group.act(_element(spec, rng), flat, spec)))
    for beyond in report.beyond:
      text = f'{beyond}: {", ".join(beyond.names)}'
      moved.append((text, beyond.act(_beyond(beyond, rng), flat)))
  if not moved:
    return
  rest = jax.tree.leaves(args)
  before = numeric.evaluate(closed, [*leaves, *rest])
  size = max(np.abs(x).max(initial=0) for x in before)
  if not np.isfinite(size) or size > 1e8:
    return
  for what, weights in moved:
    after = numeric.evaluate(closed, [*(weights[path] for path in paths), *rest])
    gap = max(_gap(x, y) for x, y in zip(before, after, strict=True)) / (size + 1e-4)
    if gap > TOLERANCE and _jumps(closed, leaves, rest, before, size, rng):
      continue
    yield what, math.inf if np.isnan(gap) else float(gap)


def _jumps(closed, leaves, rest, before, size, rng):
  """Whether rounding alone changes a function, as it does floor(sum(softmax(x)))."""
  for _ in range(30):
    near = [x * (1 + 1e-14 * rng.normal(size=x.shape)) if x.dtype == float else x for x in leaves]
    after = numeric.evaluate(closed, [*near, *rest])
    if max(_gap(x, y) for x, y in zip(before, after, strict=True)) > TOLERANCE * (size + 1e-4):
      return True
  return False


def _gap(one, two):
  if one.dtype == bool:
    return float((one != two).any())
  return np.abs(one - two).max(initial=0)


def _element(spec, rng):
  """A random element of the group of a spec."""
  perms, scales, turns = {}, {}, {}
  for g in spec.groups:
    perms[g.id] = rng.permutation(g.size)
    factor = np.ones(g.size)
    if 'positive_scale' in g.kinds:
      factor = np.exp(rng.uniform(-0.7, 0.7, g.size))
    if 'sign' in g.kinds:
      factor = factor * rng.choice((-1, 1), g.size)
    if {'positive_scale', 'sign'} & set(g.kinds):
      scales[g.id] = factor
    if 'phase' in g.kinds:
      turns[g.id] = rng.integers(-2, 3, g.size)
  return group.GroupElement(perms, scales, turns)


def _beyond(beyond, rng):
  """A random element of a symmetry that no spec holds."""
  n = beyond.size
  shape = tuple(m for _, m in beyond.per)
  if isinstance(beyond, blocks.Blocks):
    return np.argsort(rng.random((*shape, n)), -1)
  if beyond.kind == 'sign':
    return rng.choice((-1.0, 1.0), (*shape, n))
  scale = np.exp(rng.uniform(-0.5, 0.5, (*shape, n)))
  if beyond.kind == 'positive_scale':
    return scale
  if beyond.kind in ('complex', 'rotation'):
    angle, unit = rng.uniform(0, 2 * np.pi, shape), beyond.kind == 'rotation'
    x, y = (f(angle) * (1 if unit else scale[..., 0]) for f in (np.cos, np.sin))
    return np.stack([np.stack([x, -y], -1), np.stack([y, x], -1)], -2)
  one, two = np.linalg.qr(rng.normal(size=(2, *shape, n, n)))[0]
  return one if beyond.kind == 'orthogonal' else one * scale[..., None, :] @ two


def failures(seed, variants=1):
  """(variant, [(what, change)]) of a seed that fail on two of three draws of the weights."""
  traced = trace(seed)
  for variant in range(variants):
    found, tried = changes(seed, 1, variant, traced)
    found = found and changes(seed, 3, variant, traced)[0]
    yield variant, found if len(found) > 1 else [], tried


def main(start, stop, variants=VARIANTS):
  """Checks seeds with their variants; returns how many fail."""
  failed, tried = 0, 0
  for seed in range(start, stop):
    for variant, found, n in failures(seed, variants):
      tried += n
      if found:
        failed += 1
        sys.stdout.write(f'{seed} {variant} {found}\n')
        sys.stdout.flush()
  count = variants * (stop - start)
  sys.stdout.write(f'{count} functions, {tried} elements, {failed} failed\n')
  return failed


if __name__ == '__main__':
  from tests import conftest  # noqa: F401  The compiler flags of tests.

  sys.exit(bool(main(*map(int, sys.argv[1:]))))
