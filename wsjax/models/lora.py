"""Low-rank adapters (LoRA) on any model: kernels W become W + scale * (B A)^T.

Source: Hu et al. 2021, arXiv:2106.09685. The factors of an adapter are no coordinates of it: for
every invertible r x r matrix R, (B R^-1, R A) is the same adapter. What compares or combines
adapters here reads the products B A only.
"""

import dataclasses
import fnmatch
import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import config as config_lib
from wsjax import typing
from wsjax.models import model as model_lib

A, B = '/lora_A/weight', '/lora_B/weight'
Adapter = typing.Params  # Path -> array: `module + A` is [r, in] and `module + B` [out, r].


@dataclasses.dataclass(frozen=True)
class LowRank(config_lib.Section):
  """What an adapter of a model is.

  Attributes:
    pattern: names of parameters, as a shell writes them ('block*/query/kernel'), several with '|'
      between them. Those with two axes [in, out] are adapted.
    rank: r of every product.
    alpha: the change is alpha / r times the product.
  """

  pattern: str = '*/kernel'
  rank: config_lib.PositiveInt = 4
  alpha: config_lib.PositiveFloat = 4.0

  @property
  def scale(self) -> float:
    """Factor of the products."""
    return self.alpha / self.rank

  def modules(self, model: model_lib.Model) -> dict[str, tuple[int, int]]:
    """Path of every adapted parameter -> (in, out), in forward order.

    Raises:
      ValueError: if the pattern names no parameter with two axes.
    """
    return _modules(self, tuple((leaf.path, leaf.shape) for leaf in model.spec.leaves))

  def shapes(self, model: model_lib.Model) -> dict[str, tuple[int, int]]:
    """Path -> shape of every factor."""
    found = {}
    for module, (fan_in, fan_out) in self.modules(model).items():
      found[module + A], found[module + B] = (self.rank, fan_in), (fan_out, self.rank)
    return found

  def init(self, key: jax.Array, model: model_lib.Model) -> Adapter:
    """An adapter that changes nothing: A is random, with products of unit size, and B is 0."""
    shapes = self.shapes(model)
    keys = jax.random.split(key, len(shapes))
    return {
      path: jax.random.normal(k, shape) * shape[1] ** -0.5 if path.endswith(A) else jnp.zeros(shape)
      for k, (path, shape) in zip(keys, shapes.items(), strict=True)
    }

  def merge(self, params: typing.Params, adapter: Adapter) -> typing.Params:
    """The weights of the adapted network; those that are not adapted are passed on."""
    changed = {
      module: params[module] + self.scale * (b @ a).T for module, (a, b) in factors(adapter).items()
    }
    return {**params, **changed}


@functools.cache
def _modules(
  lora: LowRank, leaves: tuple[tuple[str, tuple[int, ...]], ...]
) -> dict[str, tuple[int, int]]:
  patterns = lora.pattern.split('|')
  found = {
    path: (shape[0], shape[1])
    for path, shape in leaves
    if len(shape) == 2 and any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)
  }
  if not found:
    raise ValueError(
      f'pattern is {lora.pattern!r}, which names no parameter with two axes; there are '
      f'{", ".join(path for path, shape in leaves if len(shape) == 2)}.'
    )
  return found


def factors(adapter: Adapter) -> dict[str, tuple[jax.Array, jax.Array]]:
  """Module -> (A [r, in], B [out, r]).

  Raises:
    ValueError: if a factor has no partner of its rank.
  """
  found = {}
  for path in adapter:
    module = path.removesuffix(A) if path.endswith(A) else path.removesuffix(B)
    a, b = adapter.get(module + A), adapter.get(module + B)
    if module == path or a is None or b is None or a.shape[-2] != b.shape[-1]:
      raise ValueError(f'{path} is not one of two factors {A} [r, in] and {B} [out, r].')
    found[module] = a, b
  return found


def products(adapter: Adapter) -> dict[str, Float[Array, 'out in']]:
  """Module -> B A, which is all that an adapter does."""
  return {module: b @ a for module, (a, b) in factors(adapter).items()}


def canonicalize(adapter: Adapter) -> Adapter:
  """The factors that every adapter with these products has, whatever its own are.

  B A = U S V^T is split evenly, B = U sqrt(S) and A = sqrt(S) V^T, S falling; in each column of U
  the entry of largest size is positive. Unique where no two singular values are equal.
  """
  made = {}
  for module, (a, b) in factors(adapter).items():
    u, s, vt = _svd([a], [b])
    sign = jnp.sign(jnp.take_along_axis(u, jnp.abs(u).argmax(0)[None], 0))
    sign = jnp.where(sign == 0, 1.0, sign)
    root = jnp.sqrt(s)
    made[module + A] = sign.T * root[:, None] * vt
    made[module + B] = u * sign * root[None]
  return made


def distance(one: Adapter, other: Adapter) -> jax.Array:
  """Frobenius distance of the products of two adapters, over all modules; ranks may differ.

  Raises:
    ValueError: if they adapt other modules.
  """
  first, second = factors(one), factors(other)
  _check_modules([first, second])
  total = jnp.zeros(())
  for module, (a, b) in first.items():
    singular = _svd([a, second[module][0]], [b, -second[module][1]])[1]
    total += jnp.sum(singular**2)
  return jnp.sqrt(total)


def combine(
  adapters: Sequence[Adapter], weights: Sequence[float], rank: int
) -> tuple[Adapter, jax.Array]:
  """The adapter of rank r whose products are nearest to weighted sums of products.

  Sums of factors would be another thing: (A1 - A2)(B1 + B2) has cross terms that no adapter has.

  Args:
    adapters: of one model; ranks may differ.
    weights: one per adapter; -1 subtracts it.
    rank: r of the result; nothing is lost from the sum of all ranks on.

  Returns:
    The adapter in canonical form, and the share of the sums, in Frobenius norm, that it lacks.

  Raises:
    ValueError: if they adapt other modules, or are not as many as the weights.
  """
  found = [factors(adapter) for adapter in adapters]
  if not found or len(found) != len(weights):
    raise ValueError(
      f'There are {len(found)} adapters and {len(weights)} weights; needed: as many.'
    )
  _check_modules(found)
  made, lost, whole = {}, jnp.zeros(()), jnp.zeros(())
  for module in found[0]:
    pairs = [each[module] for each in found]
    u, s, vt = _svd(
      [a for a, _ in pairs], [w * b for w, (_, b) in zip(weights, pairs, strict=True)]
    )
    lost, whole = lost + jnp.sum(s[rank:] ** 2), whole + jnp.sum(s**2)
    root = jnp.sqrt(s[:rank])
    short = max(0, rank - len(s))
    made[module + A] = jnp.pad(root[:, None] * vt[:rank], ((0, short), (0, 0)))
    made[module + B] = jnp.pad(u[:, :rank] * root[None], ((0, 0), (0, short)))
  share = jnp.sqrt(lost / jnp.maximum(whole, jnp.finfo(jnp.float32).tiny))
  return canonicalize(made), share


def average(adapters: Adapter) -> Adapter:
  """The adapter whose products are the means of those of S adapters; its rank is the sum of theirs.

  Args:
    adapters: of one rank, stacked: each factor has a leading axis [S].
  """
  made = {}
  for path, x in adapters.items():
    x = x * len(x) ** -0.5
    x = x if path.endswith(A) else jnp.swapaxes(x, 0, 1)  # [S, r, in] or [out, S, r].
    made[path] = x.reshape(-1, x.shape[-1]) if path.endswith(A) else x.reshape(len(x), -1)
  return made


def _svd(
  downs: Sequence[jax.Array], ups: Sequence[jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """U, S, V^T of sum_i B_i A_i, by QR of the stacked factors: the sum is never formed."""
  q_up, r_up = jnp.linalg.qr(jnp.concatenate(ups, 1))
  q_down, r_down = jnp.linalg.qr(jnp.concatenate(downs, 0).T)
  u, s, vt = jnp.linalg.svd(r_up @ r_down.T, full_matrices=False)
  return q_up @ u, s, vt @ q_down.T


def _check_modules(found: Sequence[Mapping[str, object]]) -> None:
  for other in found[1:]:
    if difference := sorted(set(found[0]) ^ set(other)):
      raise ValueError(f'Only some of the adapters change {difference[0]!r}.')


def to_peft(adapter: Adapter) -> dict[str, jax.Array]:
  """The factors by the names that PEFT gives them: dots for slashes, and no 'kernel'."""
  return {
    f'base_model.model.{_module(path).removesuffix("/kernel").replace("/", ".")}{_role(path)}': x
    for path, x in adapter.items()
  }


def from_peft(tensors: Mapping[str, jax.Array], lora: LowRank, model: model_lib.Model) -> Adapter:
  """The adapter of a model from the tensors that `to_peft` named.

  Raises:
    ValueError: if they are not its factors, by name or by shape.
  """
  names = to_peft({path: path for path in lora.shapes(model)})
  if missing := sorted(set(names) ^ set(tensors)):
    raise ValueError(f'The adapter is not one of this model: {missing[0]} is in one of them only.')
  found = {path: tensors[name] for name, path in names.items()}
  for path, shape in lora.shapes(model).items():
    if tuple(found[path].shape) != shape:
      raise ValueError(f'{path} has shape {found[path].shape}, and the model needs {shape}.')
  return found


def _role(path: str) -> str:
  return A if path.endswith(A) else B


def _module(path: str) -> str:
  return path.removesuffix(_role(path))
