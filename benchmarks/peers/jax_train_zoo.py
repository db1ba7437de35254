"""The product's side of `python -m benchmarks train_zoo`, as a server like the opponent.

A process of its own has its own number of devices. Reads one JSON request per line, {task, nets,
steps, group, layout, sine, shared}, and answers {seconds, cpu_seconds, loss}.
"""

import dataclasses
import functools
import json
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import sine as sine_lib
from wsjax import typing
from wsjax.models import mlp, siren
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.zoo import train
from wsjax.zoo.data import datasets


@functools.cache
def _dataset(examples: int, features: int) -> datasets.Dataset:
  """Random data of the size of the real one; its content costs no time."""
  rng = np.random.default_rng(0)
  x = rng.random((examples, features), np.float32)
  y = rng.integers(0, 10, examples).astype(np.int32)
  none = x[:0], y[:0]
  return datasets.Dataset('random', '1', '', 'CC0-1.0', x, y, *none, *none, np.arange(examples))


@functools.cache
def _images(num: int, side: int) -> np.ndarray:
  return np.random.default_rng(0).random((num, side, side, 1), np.float32)


@dataclasses.dataclass(frozen=True)
class _OtherLayout(model_lib.Model):
  """A model of the product with its layout or its sine changed."""

  base: mlp.MLP | siren.SIREN
  layout: str
  sine: str

  @property
  def task(self) -> str:
    return self.base.task

  @property
  def spec(self) -> spec_lib.Spec:
    return self.base.spec

  @property
  def input_shape(self) -> tuple[int, ...]:
    return self.base.input_shape

  def init(self, key: jax.Array) -> typing.Params:
    return self.base.init(key)

  def forward(
    self, params: typing.Params, inputs: typing.Array, dropout: model_lib.Dropout = None
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    sine = sine_lib.sine if self.sine == 'own' else jnp.sin
    rows_first = self.layout == 'rows_first'
    x = inputs if rows_first else inputs.T
    depth = len(self.base.widths) - 1
    for i in range(depth):
      kernel, bias = params[f'layer{i}/kernel'], params[f'layer{i}/bias']
      x = x @ kernel + bias if rows_first else kernel.T @ x + bias[:, None]
      if i < depth - 1:
        x = sine(30 * x) if self.task == 'image_fitting' else jax.nn.relu(x)
    return (x if rows_first else x.T), {}


def _architecture(request: dict[str, Any]) -> model_lib.Model:
  """The product's architecture, or one with its layout changed."""
  widths = tuple(request['task']['widths'])
  fits_images = request['task']['kind'] == 'image_fitting'
  net = siren.SIREN(widths) if fits_images else mlp.MLP(widths)
  if request['layout'] == 'features_first' and request['sine'] == 'own':
    return net
  return _OtherLayout(net, request['layout'], request['sine'])


def _run(request: dict[str, Any]) -> float:
  task = request['task']
  net = _architecture(request)
  recipe = train.Recipe(
    learning_rate=1e-3,
    batch_size=task['batch'],
    steps=request['steps'],
    shared_batches=request['shared'],
  )
  train._CPU_GROUP = request['group']
  indices = np.arange(request['nets'])
  if task['kind'] == 'image_fitting':
    images = _images(request['nets'], round(task['batch'] ** 0.5))
    trained = train.fit_images(net, images, recipe, indices, seed=0)
  else:
    dataset = _dataset(task['examples'], task['widths'][0])
    trained = train.train_networks(net, dataset, recipe, indices, seed=0)
  return float(trained.trace['train_loss'][:, -1].mean())


def main() -> None:
  """Answers requests until standard input ends; compiles before timing."""
  warm = set()
  for line in sys.stdin:
    request = json.loads(line)
    if line not in warm:
      _run(request)
      warm.add(line)
    wall, cpu = time.perf_counter(), time.process_time()
    loss = _run(request)
    answer = {
      'seconds': time.perf_counter() - wall,
      'cpu_seconds': time.process_time() - cpu,
      'loss': loss,
    }
    sys.stdout.write(json.dumps(answer) + '\n')
    sys.stdout.flush()


if __name__ == '__main__':
  main()
