"""Laws of scales, signs and matrices: how an action on hidden units passes through a program.

A scale law gives each parameter axis an unknown power of the scale of its unit. Every operation
adds a linear equation between powers: factors that are contracted cancel, summands agree, the
argument of a nonlinear function is invariant. Solutions over the rationals are positive scales;
solutions modulo 2 are signs. The matrix law decides whether any invertible matrix may mix the
units: it acts on each parameter axis as A or as its inverse transpose.

Source: Godfrey et al. 2022, arXiv:2205.14258, table 1 (groups by activation).
"""

import fractions
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from wsjax.symmetry.inference import program as program_lib
from wsjax.symmetry.inference import states as states_lib

Op = program_lib.Op
Broken = states_lib.Broken
Place = states_lib.Place
Form = tuple[tuple[Place, Any], ...]  # Linear form in the unknown powers, without zeros.
FREE: Form = states_lib.Law.FREE
ZERO = states_lib.Law.ZERO

# Linear, with sums or numbers of zero, so that no shift passes.
_LINEAR = frozenset(
  'cumsum fft neg ppermute psum psum2 psum_invariant reduce_sum reduce_window_sum rotary '
  'scatter-add scatter-sub'.split()
)
# Only move what they are given, or copies of it.
MOVES = frozenset(
  'all_gather all_gather_invariant broadcast_in_dim close concatenate copy device_put '
  'dynamic_slice dynamic_update_slice join loop name optimization_barrier pad pbroadcast pvary '
  'real rev scan_in scan_out scatter shard_in shard_out sharding_constraint slice split squeeze '
  'stack stop_gradient transpose unstack'.split()
)
SAME = MOVES | _LINEAR
SUMS = frozenset(('add', 'add_any', 'sub'))
PRODUCTS = frozenset(
  'mul dot_general ragged_dot_general conv_general_dilated convolution_in_groups'.split()
)
EXTREMES = frozenset(
  'max min clamp pmax pmin reduce_max reduce_min reduce_window_max reduce_window_min '
  'cummax cummin scatter-min scatter-max'.split()
)
COMPARISONS = frozenset('eq ne lt le gt ge'.split())
ODD = frozenset('sin tan sinh tanh asin atan asinh atanh erf erf_inv cbrt round sign'.split())
EVEN = frozenset('abs cos cosh is_finite sinc square'.split())
# Functions that tell -0 from 0.
_SIGNED_ZERO = frozenset('atan2 bitcast_convert_type nextafter'.split())
_POWERS = {
  'square': 2, 'sqrt': 0.5, 'rsqrt': -0.5, 'cbrt': 1 / 3, 'abs': 1, 'sign': 0, 'is_finite': 0,
}  # fmt: skip
_MIN_MANTISSA = 7  # Bits of bfloat16; coarser rounding is not a function of the scale alone.


class AlgebraLaw(states_lib.Law):
  """Linear operations, sums and products; laws say what states do in them."""

  def vanish(self, op: Op, atom: int, state: Any) -> None:
    """Demands that a value is invariant."""
    raise NotImplementedError

  def agree(self, op: Op, atom: int, states: Iterable[Any]) -> Any:
    """Demands that all values that are not zero transform alike; returns how."""
    raise NotImplementedError

  def times(self, *states: Any) -> Any:
    """State of a product."""
    raise NotImplementedError

  def over(self, op: Op, atom: int, one: Any, two: Any) -> Any:
    """State of a quotient."""
    raise NotImplementedError

  def masked(self, op: Op, atom: int, state: Any) -> None:
    """Called where a choice between values of that state differs from unit to unit."""

  def function(self, op: Op, atom: int, states: Sequence[Any], linked: Sequence[bool]) -> Any:
    """State of any other primitive; where nothing else is known, it needs invariant operands."""
    del linked
    for state in states:
      self.vanish(op, atom, state)
    return FREE

  def contract(self, op: Op, atom: int, pair: tuple[int, int], states: Sequence[Any]) -> None:
    """A sum of products is invariant if the factors cancel."""
    del pair
    if ZERO not in states:
      self.vanish(op, atom, self.times(*states))

  def reduce(self, op: Op, atom: int, state: Any) -> None:
    """A sum, a maximum, ... over units needs invariant ones."""
    self.vanish(op, atom, state)

  def combine(self, op: Op, atom: int, states: Sequence[Any], linked: Sequence[bool]) -> Any:
    """State of a result."""
    if op.name == 'gather':
      self.vanish(op, atom, states[1])
      return self.agree(op, atom, [states[0], *([FREE] if fills(op) else [])])
    if op.name in SAME:
      return self.agree(op, atom, moved(states, linked))
    if op.name in SUMS:
      return self.agree(op, atom, states)
    if op.name in PRODUCTS:
      return self.times(*states)
    if op.name in ('convert_element_type', 'reduce_precision') and is_fine(op):
      return states[0]
    if op.name == 'div':
      return self.over(op, atom, *states)
    if op.name == 'select_n':
      self.vanish(op, atom, states[0])
      state = self.agree(op, atom, states[1:])
      if linked[0]:
        self.masked(op, atom, state)
      return state
    return self.function(op, atom, states, linked)


class ScaleLaw(AlgebraLaw):
  """A value is multiplied by a power of the unit's positive scale; states are forms.

  Attributes:
    equations: atom -> (primitive, form that must be zero).
    met: atoms whose units reach a nonlinear function that the law passes through.
  """

  KIND = 'positive_scale'
  MODULUS = 0

  def __init__(self):
    super().__init__()
    self.equations: dict[int, dict[tuple[str, Form], None]] = {}
    self._fixed: dict[int, dict[tuple[str, Form], None]] = {}
    self.met: set[int] = set()
    self._nonlinear: dict[int, set[Form]] = {}

  def start(self) -> None:
    """Only the last walk counts, when the states of loops are known."""
    self.equations = {atom: dict(fixed) for atom, fixed in self._fixed.items()}

  def leaf(self, leaf: program_lib.Value, place: Place, atom: int) -> Any:
    """One unknown per axis; 0 where the type cannot hold a scaled value."""
    form = ((place, 1),)
    if self.allows(leaf.dtype):
      return form
    self._fixed.setdefault(atom, {})[str(leaf.dtype), form] = None
    return FREE

  def allows(self, dtype: Any) -> bool:
    """Whether parameters of a type can be scaled."""
    return mantissa(dtype) >= _MIN_MANTISSA

  def vanish(self, op: Op, atom: int, state: Any) -> None:
    """Adds the equation state = 0."""
    if state not in (FREE, ZERO):
      self.equations.setdefault(atom, {})[op.name, state] = None

  def agree(self, op: Op, atom: int, states: Iterable[Any]) -> Any:
    """Adds equations between all states; returns the shortest form."""
    different = sorted({s for s in states if s != ZERO}, key=lambda s: (len(s), s))
    for other in different[1:]:
      self.vanish(op, atom, self.sum((other, 1), (different[0], -1)))
    return different[0] if different else ZERO

  def sum(self, *terms: tuple[Form, Any]) -> Form:
    """Sum of forms times numbers."""
    total: dict[Place, Any] = {}
    for form, factor in terms:
      for place, c in form:
        total[place] = total.get(place, 0) + c * factor
    if self.MODULUS:
      total = {place: c % self.MODULUS for place, c in total.items()}
    return tuple(sorted((place, c) for place, c in total.items() if c))

  def times(self, *states: Any) -> Any:
    """Powers add."""
    return ZERO if ZERO in states else self.sum(*((s, 1) for s in states))

  def over(self, op: Op, atom: int, one: Any, two: Any) -> Any:
    """Powers subtract."""
    return one if ZERO in (one, two) else self.sum((one, 1), (two, -1))

  def masked(self, op: Op, atom: int, state: Any) -> None:
    """A choice by unit is a nonlinear function, as in a leaky rectifier."""
    self.nonlinear(atom, state)

  def function(self, op: Op, atom: int, states: Sequence[Any], linked: Sequence[bool]) -> Any:
    """Functions that are homogeneous for positive factors."""
    if op.name in EXTREMES:
      state = self.agree(op, atom, (
        s for s, is_linked, value in zip(states, linked, op.ins, strict=True)
        if (is_linked or op.name in ('max', 'min', 'clamp'))
        and not (value.number is not None and np.isinf(value.number))
      ))  # fmt: skip
      self.nonlinear(atom, state)
      return state
    if op.name in COMPARISONS:
      self.nonlinear(atom, self.agree(op, atom, states), rises=False)
      return FREE
    if op.name == 'sort' and len(op.ins) == 1:
      self.nonlinear(atom, states[0], rises=False)
      return states[0]
    power = op.params['y'] if op.name == 'integer_pow' else _POWERS.get(op.name)
    if power is None or states[0] == ZERO:
      return AlgebraLaw.function(self, op, atom, states, linked)
    self.nonlinear(atom, states[0], rises=False)
    return self.sum((states[0], fractions.Fraction(power).limit_denominator(1000)))

  def nonlinear(self, atom: int, state: Any, *, rises: bool = True) -> None:
    """Notes a state that passes a nonlinear function, perhaps one that gives rise to the law."""
    if rises:
      self.met.add(atom)
    self._nonlinear.setdefault(atom, set()).add(state)

  def bends(self, atom: int, powers: Mapping[Place, int]) -> bool:
    """Whether units that are scaled by given powers pass a nonlinear function."""
    forms = self._nonlinear.get(atom, set()) - {ZERO}
    return any(self._total(form, powers) for form in forms)

  def violated(self, atom: int, powers: Mapping[Place, int]) -> set[str]:
    """Names of the primitives that break the law for given powers of the parameter axes."""
    equations = self.equations.get(atom, ())
    names = {name for name, form in equations if self._total(form, powers)}
    return names | self.breaks.get(atom, set())

  def _total(self, form: Form, powers: Mapping[Place, int]) -> Any:
    total = sum(powers[place] * c for place, c in form)
    return total % self.MODULUS if self.MODULUS else total

  def solutions(self, atom: int, places: Collection[Place]) -> list[dict[Place, int]]:
    """Basis of all powers that obey the law, as whole numbers without zeros."""
    if atom in self.breaks:
      return []
    pivots: dict[Place, Form] = {}  # A power as a form in those without a pivot.
    for form in dict.fromkeys(form for _, form in self.equations.get(atom, ())):
      form = self._substitute(form, pivots)
      if form:
        place, c = form[-1]
        inverse = 1 if self.MODULUS else fractions.Fraction(-1) / c
        pivots[place] = self.sum((form[:-1], inverse))
    basis = {place: {place: fractions.Fraction(1)} for place in places if place not in pivots}
    for pivot, form in pivots.items():
      for place, c in self._substitute(form, pivots):
        basis[place][pivot] = fractions.Fraction(c)
    whole = []
    for vector in basis.values():
      common = math.lcm(*(c.denominator for c in vector.values()))
      whole.append({place: int(vector[place] * common) for place in places if place in vector})
    return whole

  def _substitute(self, form: Form, pivots: Mapping[Place, Form]) -> Form:
    while any(place in pivots for place, _ in form):
      form = self.sum(*((pivots.get(p, ((p, 1),)), c) for p, c in form))
    return form


class SignLaw(ScaleLaw):
  """A value is multiplied by a power of -1; forms are modulo 2."""

  KIND = 'sign'
  MODULUS = 2

  def allows(self, dtype: Any) -> bool:
    """Floats of any width; the least integer has no negative."""
    return mantissa(dtype) > 0

  def masked(self, op: Op, atom: int, state: Any) -> None:
    """A choice by unit is a nonlinear function, but few are odd."""
    self._nonlinear.setdefault(atom, set()).add(state)

  def function(self, op: Op, atom: int, states: Sequence[Any], linked: Sequence[bool]) -> Any:
    """Odd and even functions."""
    if op.name in _SIGNED_ZERO and any(linked):
      self.broken(atom, op.name)  # Though signs cancel, a zero may have become -0.
    if op.name in ODD or op.name in EVEN:
      self.nonlinear(atom, states[0])
      return states[0] if op.name in ODD else FREE
    if op.name == 'integer_pow':
      self.nonlinear(atom, states[0], rises=False)
      return FREE if states[0] == ZERO else self.sum((states[0], op.params['y']))
    if op.name == 'convert_element_type' and mantissa(op.outs[0].dtype) > 0:
      return states[0]
    if op.name == 'convert_element_type' and np.dtype(op.outs[0].dtype) == np.bool_:
      self.nonlinear(atom, states[0], rises=False)  # x != 0.
      return FREE
    if op.name in ('eq', 'ne'):
      self.nonlinear(atom, self.agree(op, atom, states), rises=False)
      return FREE
    return AlgebraLaw.function(self, op, atom, states, linked)


class MatrixLaw(AlgebraLaw):
  """Values are vectors over the units; states are the parameter axes that they transform like.

  The state () is a value that is the same for all units; of two axes, a product whose sum over the
  units is an inner product. An axis transforms with A or with its inverse transpose, chosen so that
  each contraction pairs the two. Where no choice does, only orthogonal matrices are left.

  Attributes:
    orthogonal: atoms whose units only an orthogonal matrix may mix.
  """

  def __init__(self, pairs: Collection[int]):
    """`pairs`: atoms that are rotated pairs; only matrices that commute with that mix them."""
    super().__init__()
    self._pairs = pairs
    self.orthogonal: set[int] = set()
    self._parents: dict[tuple[int, Place], tuple[Place, int]] = {}

  def inverse(self, atom: int, place: Place) -> bool:
    """Whether a parameter axis transforms with the inverse transpose."""
    return self._root(atom, place)[1] < 0

  def combine(self, op: Op, atom: int, states: Sequence[Any], linked: Sequence[bool]) -> Any:
    """A rotation of pairs passes only vectors: of equal elements it makes different ones."""
    if op.name == 'rotary' and atom in self._pairs and states[0] != ZERO and len(states[0]) != 1:
      raise Broken
    return super().combine(op, atom, states, linked)

  def leaf(self, leaf: program_lib.Value, place: Place, atom: int) -> Any:
    """Every parameter of floats is a vector over its units."""
    if mantissa(leaf.dtype) < _MIN_MANTISSA:
      self.broken(atom, str(leaf.dtype))
      return FREE
    return (place,)

  def vanish(self, op: Op, atom: int, state: Any) -> None:
    """Vectors are not invariant."""
    if state not in (FREE, ZERO):
      raise Broken

  def agree(self, op: Op, atom: int, states: Iterable[Any]) -> Any:
    """Sums are of vectors of one kind."""
    known = list(dict.fromkeys(s for s in states if s != ZERO))
    for other in known[1:]:
      if len(other) != len(known[0]):
        raise Broken
      for one, two in zip(known[0], other, strict=True):
        self._join(atom, one, two, 1)
    return known[0] if known else ZERO

  def times(self, *states: Any) -> Any:
    """A vector times a number, or a product of two vectors."""
    if ZERO in states:
      return ZERO
    if len(product := sum(states, ())) > 2:
      raise Broken
    return product

  def over(self, op: Op, atom: int, one: Any, two: Any) -> Any:
    """A vector over a number."""
    self.vanish(op, atom, two)
    return one

  def masked(self, op: Op, atom: int, state: Any) -> None:
    """A choice by unit mixes with no matrix."""
    self.vanish(op, atom, state)

  def function(self, op: Op, atom: int, states: Sequence[Any], linked: Sequence[bool]) -> Any:
    """Only the square of a vector means something, if it is summed later."""
    square = op.name == 'square' or (op.name == 'integer_pow' and op.params['y'] == 2)
    if square and states[0] != ZERO:
      return self.times(states[0], states[0])
    return AlgebraLaw.function(self, op, atom, states, linked)

  def contract(self, op: Op, atom: int, pair: tuple[int, int], states: Sequence[Any]) -> None:
    """An inner product pairs A with its inverse transpose; uniform values sum to their number."""
    del pair
    lengths = [len(s) for s in states if s != ZERO]
    if len(lengths) < 2 or lengths == [0, 0]:
      return
    if lengths != [1, 1]:
      raise Broken
    self._join(atom, states[0][0], states[1][0], -1)

  def reduce(self, op: Op, atom: int, state: Any) -> None:
    """The sum of a product of two vectors is their inner product."""
    if op.name == 'reduce_sum' and state != ZERO and len(state) == 2:
      return self._join(atom, *state, -1)
    self.vanish(op, atom, state)

  def _root(self, atom: int, place: Place) -> tuple[Place, int]:
    sign = 1
    while (atom, place) in self._parents:
      place, relation = self._parents[atom, place]
      sign *= relation
    return place, sign

  def _join(self, atom: int, one: Place, two: Place, relation: int) -> None:
    (a, sign_a), (b, sign_b) = self._root(atom, one), self._root(atom, two)
    if a != b:
      self._parents[atom, b] = a, relation * sign_a * sign_b
    elif sign_a * sign_b != relation:
      self.orthogonal.add(atom)


def moved(states: Sequence[Any], linked: Sequence[bool]) -> list[Any]:
  """States of the operands that a linear operation puts into its result.

  An operation that makes an axis, such as a broadcast, fills it with its operand.
  """
  return [s for s, is_linked in zip(states, linked, strict=True) if is_linked] or list(states)


def fills(op: Op) -> bool:
  """Whether a gather puts a number of its own, not zero or NaN, where an index is out of range."""
  if 'FILL' not in str(op.params['mode']).upper():
    return False
  value = op.params['fill_value']
  if value is None:  # NaN, or the least or largest integer.
    return mantissa(op.outs[0].dtype) == 0
  return not (value == 0 or value != value)


def mantissa(dtype: Any) -> int:
  """Bits of the mantissa of a real or complex float; 0 for other types."""
  return jnp.finfo(dtype).nmant if jnp.issubdtype(dtype, np.inexact) else 0


def is_fine(op: Op) -> bool:
  """Whether a change of precision stays fine enough to count as none."""
  if op.name == 'reduce_precision':
    return op.params['mantissa_bits'] >= _MIN_MANTISSA
  real = not jnp.issubdtype(op.ins[0].dtype, np.complexfloating)
  return mantissa(op.outs[0].dtype) >= _MIN_MANTISSA and (
    real or jnp.issubdtype(op.outs[0].dtype, np.complexfloating)
  )
