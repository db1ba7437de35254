"""Monotone splines on an interval, and couplings by them.

Source: Durkan et al. 2019, arXiv:1906.04032 (rational-quadratic splines of Gregory & Delbourgo
1982); equation numbers below.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from wsjax.generators.parts import coupling

# Flatter bins or slopes lose digits that the inverse would need.
MIN_BIN = 1e-2  # Of what an even bin has.
MIN_SLOPE = 1e-3


class Knots(NamedTuple):
  """Knots of a spline with K bins, both axes from -bound to bound, increasing: each [K + 1].

  The slopes are the positive derivatives at `x`, 1 at both ends.
  """

  x: jax.Array
  y: jax.Array
  slope: jax.Array


def knots(features: jax.Array, bound: float) -> Knots:
  """Computes the spline of any real features [3 K - 1]; zeros give the identity.

  Features are of the K widths, the K heights and the inner slopes; `bound` is half of the interval.

  Source: section 3.1, "implementation", steps 1 to 4.
  """
  num = (len(features) + 1) // 3
  widths, heights, slopes = jnp.split(features, [num, 2 * num])
  zero = math.log(math.expm1(1 - MIN_SLOPE))  # Where the slope is 1.
  slopes = MIN_SLOPE + jax.nn.softplus(slopes + zero)
  slopes = jnp.pad(slopes, 1, constant_values=1.0)
  return Knots(_places(widths, bound), _places(heights, bound), slopes)


def forward(x: jax.Array, spline: Knots) -> tuple[jax.Array, jax.Array]:
  """(y, log dy/dx in nats) of a scalar; outside the interval (x, 0)."""
  inside, x_in = _clipped(x, spline.x)
  x0, y0, width, height, slope0, slope1 = _bin(x_in, spline.x, spline)
  share = (x_in - x0) / width
  y, log_slope = _curve(share, height, height / width, slope0, slope1)
  return jnp.where(inside, y0 + y, x), jnp.where(inside, log_slope, 0.0)


def inverse(y: jax.Array, spline: Knots) -> tuple[jax.Array, jax.Array]:
  """(x, log dx/dy in nats) of a scalar; outside the interval (y, 0).

  Source: equations 6 to 8 and 29 (the root that does not cancel).
  """
  inside, y_in = _clipped(y, spline.y)
  x0, y0, width, height, slope0, slope1 = _bin(y_in, spline.y, spline)
  rise, mean = y_in - y0, height / width
  bend = rise * (slope0 + slope1 - 2 * mean)
  a = height * (mean - slope0) + bend
  b = height * slope0 - bend
  c = -mean * rise
  root = jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, 0.0))
  share = 2 * c / (-b - root)
  _, log_slope = _curve(share, height, mean, slope0, slope1)
  x = x0 + share * width
  return jnp.where(inside, x, y), jnp.where(inside, -log_slope, 0.0)


class SplineCoupling(coupling.Coupling):
  """Half of the coordinates transform the other half by splines.

  Attributes:
    num_bins: K of each spline.
    tail_bound: beyond it, in the units of the coordinates, a coordinate is left as it is.

  Source: section 3.2.
  """

  num_bins: int = 8
  tail_bound: float = 4.0

  @property
  def num_features(self) -> int:
    """Widths, heights and inner slopes."""
    return 3 * self.num_bins - 1

  def forward(self, x: jax.Array, condition: coupling.Given = None) -> coupling.Moved:
    """Data to noise, given a condition [C]."""
    y, log_slope = jax.vmap(forward)(x, self._knots(x, condition))
    return self._unless_kept(x, y, log_slope)

  def inverse(self, y: jax.Array, condition: coupling.Given = None) -> coupling.Moved:
    """Noise to data, given a condition [C]."""
    x, log_slope = jax.vmap(inverse)(y, self._knots(y, condition))
    return self._unless_kept(y, x, log_slope)

  def _knots(self, x: jax.Array, condition: coupling.Given) -> Knots:
    """One spline per coordinate, from the kept ones."""
    return jax.vmap(knots, (1, None))(self.features(x, condition), self.tail_bound)

  def _unless_kept(self, old: jax.Array, new: jax.Array, log_slope: jax.Array) -> coupling.Moved:
    kept = self.mask == 1
    return jnp.where(kept, old, new), jnp.sum(jnp.where(kept, 0.0, log_slope))


def _places(features: jax.Array, bound: float) -> jax.Array:
  """[K + 1] knots from -bound to bound; zeros space them evenly."""
  shares = jax.nn.softmax(features)
  shares = MIN_BIN / len(shares) + (1 - MIN_BIN) * shares
  inner = bound * (2 * jnp.cumsum(shares)[:-1] - 1)
  # The ends are exact, so that the tails join without a step.
  return jnp.pad(inner, 1, constant_values=(-bound, bound))


def _clipped(value: jax.Array, places: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Whether a value is in the interval, and the nearest value that is.

  Results outside are not used, but must have finite gradients.
  """
  low, high = places[0], places[-1]
  return (value > low) & (value < high), jnp.clip(value, low, high)


def _bin(value: jax.Array, places: jax.Array, spline: Knots) -> tuple[jax.Array, ...]:
  """Lower corner, width, height and both slopes of the bin of a value."""
  i = jnp.sum(value >= places[1:-1])
  x, y, slope = spline
  return x[i], y[i], x[i + 1] - x[i], y[i + 1] - y[i], slope[i], slope[i + 1]


def _curve(
  share: jax.Array, height: jax.Array, mean: jax.Array, slope0: jax.Array, slope1: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """(rise, log-slope) in a bin, at a share in [0, 1] of its width (eq. 4 and 5).

  `mean` is the slope over the whole bin, `slope0` and `slope1` are those at its ends.
  """
  rest = 1 - share
  below = mean + (slope0 + slope1 - 2 * mean) * share * rest
  rise = height * (mean * share**2 + slope0 * share * rest) / below
  above = slope1 * share**2 + 2 * mean * share * rest + slope0 * rest**2
  log_slope = 2 * jnp.log(mean) + jnp.log(above) - 2 * jnp.log(below)
  return rise, log_slope
