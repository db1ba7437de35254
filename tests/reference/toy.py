"""Generators of one line, to see what training does with them."""

import dataclasses
import os

import jax
import jax.numpy as jnp

from wsjax.train import objective


@dataclasses.dataclass(frozen=True)
class Shift(objective.Objective):
  """A Gaussian of unit variance whose mean is learned."""

  def init(self, key, example):
    return {'shift': 3 + jax.random.normal(key, example.shape[-1:])}

  def loss(self, params, batch, key, condition=None, *, train=True):
    noise = 0.1 * jax.random.normal(key, batch.shape) if train else 0.0
    error = batch + noise - params['shift'][None, None]
    return jnp.mean(error**2), {}


@dataclasses.dataclass(frozen=True)
class Killed(Shift):
  """Sends its process a signal at one call of the loss while training."""

  call: int
  signal: int
  seen: list = dataclasses.field(default_factory=list, compare=False)

  def loss(self, params, batch, key, condition=None, *, train=True):
    if train:
      jax.debug.callback(self._count, ordered=False)
    return super().loss(params, batch, key, condition, train=train)

  def _count(self):
    self.seen.append(None)
    if len(self.seen) == self.call + 1:
      os.kill(os.getpid(), self.signal)


@dataclasses.dataclass(frozen=True)
class Exploding(Shift):
  """Has no finite loss after so many updates at a learning rate of 0.01."""

  after: int

  def init(self, key, example):
    return {**super().init(key, example), 'count': jnp.zeros(())}

  def loss(self, params, batch, key, condition=None, *, train=True):
    loss, metrics = super().loss(params, batch, key, condition, train=train)
    # Adam moves `count` up by the learning rate in every step.
    broken = jnp.where(100 * params['count'] > self.after, jnp.nan, 0.0)
    return loss - params['count'] + jax.lax.stop_gradient(broken), metrics
