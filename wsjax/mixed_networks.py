"""A generator of networks of several architectures: one field over padded tokens with masks.

A token is a neuron with its incoming weights. Tokens of every architecture are padded to one shape;
the mask of its real weights and its number, as a condition, tell the generator which it is.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from wsjax import config as config_lib
from wsjax import networks as networks_lib
from wsjax import typing
from wsjax.generators import flow_matching
from wsjax.generators.parts import ode
from wsjax.symmetry import canonicalize
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import neurons
from wsjax.train import loop
from wsjax.train import objective as objective_lib
from wsjax.zoo.store import store

NAME = 'flow_matching'  # The family that is fitted to several architectures.
_TOKENS = neurons.Neurons()


@dataclasses.dataclass(frozen=True, eq=False)
class Form:
  """How networks of one architecture are tokens.

  Attributes:
    spec: of the architecture.
    mask: [T, D] 1 where a weight is, 0 where tokens are padded.
    mean: [T, D] mean of the weights of each parameter.
    std: [T, D] their standard deviation.
  """

  spec: spec_lib.Spec
  mask: np.ndarray
  mean: np.ndarray
  std: np.ndarray

  def encode(self, params: typing.StackedParams) -> Float[np.ndarray, 'n t d']:
    """Normalized tokens, 0 where padded."""
    values = _tokens(params, self.spec, self.mask.shape)
    return (values - self.mean) / self.std * self.mask

  def decode(self, values: Float[Array, 'n t d']) -> typing.StackedParams:
    """Inverts `encode`; what is padding is left out."""
    rows, columns = _TOKENS.shape(self.spec)
    values = (values * self.std + self.mean)[:, :rows, :columns]
    return jax.device_get(jax.vmap(lambda x: _TOKENS.detokenize(x, self.spec))(values))


@dataclasses.dataclass(frozen=True, eq=False)
class MixedGenerator:
  """A generator of networks of several architectures, from `wsjax.fit`.

  Attributes:
    architectures: as the records of the zoo describe them; `sample` takes their numbers.
    generator: its family.
    params: of the generator.
    history: losses of its training.
    forms: how networks of each architecture are tokens.
  """

  architectures: tuple[store.Description, ...]
  generator: flow_matching.FlowMatching
  params: typing.PyTree
  history: loop.History
  forms: tuple[Form, ...]

  def sample(self, num: int, architecture: int = 0, *, seed: int = 0) -> networks_lib.Networks:
    """Draws networks of one architecture; equal seeds give equal networks.

    Raises:
      ValueError: for fewer than one network, or a number of no architecture.
    """
    config_lib.check_seed(seed, 'seed')
    if num < 1:
      raise ValueError(f'num is {num}; at least 1 is allowed.')
    if not 0 <= architecture < len(self.forms):
      raise ValueError(f'architecture is {architecture}; allowed: 0 to {len(self.forms) - 1}.')
    form = self.forms[architecture]
    number = jnp.zeros((num, len(self.forms))).at[:, architecture].set(1)
    values = _draw(self.generator, self.params, jax.random.key(seed), form.mask, number)
    return networks_lib.Networks(form.decode(np.asarray(values)), form.spec)


def fit(
  zoo: store.Zoo,
  *,
  train: Mapping[str, Any],
  seed: int,
  workdir: pathlib.Path,
  progress: bool,
  fields: Mapping[str, Any],
) -> MixedGenerator:
  """Fits one generator to the training networks of all architectures of a zoo.

  Networks of each architecture are balanced and aligned among themselves first.

  Args:
    zoo: networks of several models.
    train: section of the training loop.
    seed: of the generator and its training.
    workdir: directory of checkpoints.
    progress: whether to show a progress bar.
    fields: of the generator.

  Raises:
    ValueError: for an unknown field, or an architecture without a training network.
  """
  stacked = []
  for description in zoo.architectures:
    rows = zoo.select(split='train', architecture=description)
    if not len(rows):
      raise ValueError(f'{zoo!r} has no training network of one architecture, {description.spec}.')
    params = zoo.params(rows)
    reference = {path: value[0] for path, value in params.items()}
    options = {'reference': reference, 'restarts': 3, 'seed': seed}
    spec, mode = description.spec, 'permutation+scale'
    stacked.append(dict(canonicalize.canonicalize(params, spec, mode, **options)))
  specs = [description.spec for description in zoo.architectures]
  rows, columns = np.max([_TOKENS.shape(spec) for spec in specs], axis=0)
  shape = int(rows), int(columns)
  forms = tuple(_form(*pair, shape) for pair in zip(stacked, specs, strict=True))
  section = {'backbone': {'name': 'transformer', 'width': 64, 'depth': 2}, **fields}
  section |= {'name': NAME, 'condition_size': len(forms)}
  generator = config_lib.build('generators', section, 'generator')
  counts = [networks_lib.length(params) for params in stacked]
  data = {
    'tokens': np.concatenate([f.encode(p) for f, p in zip(forms, stacked, strict=True)]),
    'mask': np.repeat([form.mask for form in forms], counts, axis=0),
    'architecture': np.repeat(np.eye(len(forms), dtype=np.float32), counts, axis=0),
  }
  trained, history = loop.fit(
    _Masked(generator), data, train, seed=seed, workdir=workdir, progress=progress
  )
  return MixedGenerator(zoo.architectures, generator, trained, history, forms)


@dataclasses.dataclass(frozen=True)
class _Masked(objective_lib.Objective):
  """Flow matching in which no padding counts; every network weighs as much as any other."""

  generator: flow_matching.FlowMatching

  def init(self, key: jax.Array, example: typing.PyTree) -> typing.PyTree:
    return self.generator.init(key, example['tokens'])

  def loss(
    self, params: typing.PyTree, batch: typing.PyTree, key: jax.Array, *, train: bool = True
  ) -> tuple[Float[Array, ''], objective_lib.Metrics]:
    clean, mask = batch['tokens'], batch['mask']
    source_key, time_key, drop_key = jax.random.split(key, 3)
    source = self.generator.source_std * mask * jax.random.normal(source_key, clean.shape)
    t = jax.random.uniform(time_key, (len(clean), 1, 1))
    keys = jax.random.split(drop_key, len(clean)) if train else None
    predict = jax.vmap(self.generator.train_field, (None, 0, 0, 0, 0))
    x = (1 - t) * source + t * clean
    velocity = predict(params, x, t[:, 0, 0], batch['architecture'], keys)
    gaps = mask * (velocity - (clean - source))
    return jnp.mean(jnp.sum(gaps**2, (1, 2)) / jnp.sum(mask, (1, 2))), {}


@functools.partial(jax.jit, static_argnums=0)
def _draw(
  generator: flow_matching.FlowMatching,
  params: typing.PyTree,
  key: jax.Array,
  mask: Float[Array, 't d'],
  condition: Float[Array, 'n a'],
) -> Float[Array, 'n t d']:
  """Carries noise to tokens; padding stays 0."""

  def field(x: jax.Array, t: jax.Array) -> jax.Array:
    one = functools.partial(generator.sample_field, params)
    return mask[None] * jax.vmap(one, (0, None, 0))(x, t, condition)

  noise = jax.random.normal(key, (len(condition), *mask.shape))
  noise = generator.source_std * mask[None] * noise
  return ode.integrate(field, noise, solver=generator.solver, num_steps=generator.num_steps)


def _form(params: typing.StackedParams, spec: spec_lib.Spec, shape: tuple[int, int]) -> Form:
  """Statistics of the networks of one architecture."""
  made = {}
  for name, value in (('mean', np.mean), ('std', np.std), ('mask', lambda x: 1.0)):
    filled = {
      path: np.full((1, *x.shape[1:]), value(np.asarray(x, np.float32)), np.float32)
      for path, x in params.items()
    }
    made[name] = _tokens(filled, spec, shape)[0]
  made['std'] = np.where(made['std'] > 1e-8, made['std'], 1).astype(np.float32)
  return Form(spec, **made)


def _tokens(
  params: typing.StackedParams, spec: spec_lib.Spec, shape: tuple[int, int]
) -> Float[np.ndarray, 'n t d']:
  """Tokens of networks, padded with 0 to a shape (T, D)."""
  params = {path: np.asarray(value, np.float32) for path, value in params.items()}
  values = np.asarray(jax.vmap(lambda net: _TOKENS.tokenize(net, spec).values)(params))
  return np.pad(
    values, ((0, 0), *((0, n - m) for n, m in zip(shape, values.shape[1:], strict=True)))
  )
