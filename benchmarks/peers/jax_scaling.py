"""Training of a generator and of a zoo on the devices of one process, as a server.

Devices are simulated by the environment of the process. Reads one JSON request per line: {build:
name, kind: 'train' or 'zoo', ...} compiles a contender and answers what is known of it; {run:
name} runs it once and answers {seconds, cpu_seconds, loss}, per step; {describe: generator, shape}
answers what a generator would take that is not run.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from benchmarks import collectives
from wsjax import config, typing
from wsjax.evaluation.metrics import cost
from wsjax.models import mlp
from wsjax.train import sharding
from wsjax.train import step as step_lib
from wsjax.zoo import train as train_lib
from wsjax.zoo.data import datasets

EXAMPLES = 512  # Of random data; their content costs no time.
# How the gradient is taken, and whether the state is cut over the devices.
MODES = {
  'jit': dict(parallel='jit', fsdp=False),
  'shard_map': dict(parallel='shard_map', fsdp=False),
  'fsdp': dict(parallel='jit', fsdp=True),
}

# Runs once; (steps, loss).
Contender = Callable[[], tuple[int, float]]


def training(
  generator: dict[str, Any],
  shape: list[int],
  mode: str,
  batch: int,
  steps: int,
  microbatch: int = 0,
) -> tuple[Contender, dict[str, Any]]:
  """A block of training steps, as `loop.fit` runs it, and what it sends."""
  built = config.build('generators', generator)
  size = max(EXAMPLES, batch)
  data = np.random.default_rng(0).standard_normal((size, *shape), np.float32)
  optimizer = optax.adam(1e-3)
  mesh = sharding.make_mesh((('data', -1),))
  options = MODES[mode]

  def initial(key: jax.Array) -> step_lib.TrainState:
    return step_lib.create(built.init(key, jnp.zeros(shape)), optimizer)

  key = jax.random.key(0)
  shapes = jax.eval_shape(initial, key)
  placed = sharding.of_state(shapes, mesh, fsdp=options['fsdp'])
  block = step_lib.make_train_block(
    built.loss,
    optimizer,
    mesh,
    key=jax.random.key(1),
    batch_size=batch,
    ema_decay=0.0,
    state_sharding=placed,
    parallel=options['parallel'],
    # Whole parts per device, as the mode asks for.
    microbatch=microbatch or (batch // mesh.size if options['parallel'] == 'shard_map' else 0),
  )
  data = jax.device_put(data, NamedSharding(mesh, P()))
  state = jax.jit(initial, out_shardings=placed)(key)
  compiled = block.lower(state, data, steps).compile()
  held = [state]  # The block takes the old state away.

  def run() -> tuple[int, float]:
    held[0], metrics = compiled(held[0], data)
    return steps, float(metrics['loss'][-1])

  facts = {
    'num_params': _num_params(shapes.params),
    'collectives': _collectives(compiled.as_text(), steps),
  }
  if jax.device_count() == 1:
    facts |= _costs(built, optimizer, shapes, (batch, *shape))
  return run, facts


def zoo_training(
  widths: list[int], batch: int, nets: int, steps: int
) -> tuple[Contender, dict[str, Any]]:
  """Training of a zoo over all devices, with the work on the host."""
  net = mlp.MLP(tuple(widths))
  rng = np.random.default_rng(0)
  x = rng.random((1024, widths[0]), np.float32)
  y = rng.integers(0, widths[-1], len(x)).astype(np.int32)
  none = x[:0], y[:0]
  data = datasets.Dataset('random', '1', '', 'CC0-1.0', x, y, *none, *none, np.arange(len(x)))
  recipe = train_lib.Recipe(learning_rate=1e-3, batch_size=batch, steps=steps)

  def run() -> tuple[int, float]:
    trained = train_lib.train_networks(net, data, recipe, np.arange(nets), seed=0)
    return steps, float(trained.trace['train_loss'][:, -1].mean())

  program, padding = train_lib.program(net, recipe, recipe.optimizers[0], nets)
  arrays = {'train_x': x, 'train_y': y, 'val_x': none[0], 'val_y': none[1]}
  indices = padding.astype(np.int32)
  lowered = program.lower(jax.random.key(0), arrays, (indices,))
  facts = {
    'num_params': net.spec.num_params,
    'collectives': _collectives(lowered.compile().as_text(), steps),
    'flops': nets * batch * cost.mlp_train_flops(widths),
  }
  return run, facts


def describe(generator: dict[str, Any], shape: list[int]) -> dict[str, Any]:
  """Parameters and FLOPs per example of a generator that is not run."""
  built = config.build('generators', generator)
  key = jax.random.key(0)
  params = jax.eval_shape(built.init, key, jnp.zeros(shape))
  gradient = jax.jit(jax.value_and_grad(built.loss, has_aux=True))
  # Of four, since what all examples share must not count as one's.
  batch = jax.ShapeDtypeStruct((4, *shape), jnp.float32)
  costs = gradient.lower(params, batch, key).cost_analysis()
  return {'num_params': _num_params(params), 'flops': costs['flops'] / 4}


def _costs(
  built: Any,
  optimizer: optax.GradientTransformation,
  state: step_lib.TrainState,
  shape: tuple[int, ...],
) -> dict[str, float]:
  """FLOPs and bytes of memory of one step, without a loop around it.

  XLA counts the body of a loop once, however often it turns.
  """

  def whole(state: step_lib.TrainState, batch: jax.Array, key: jax.Array):
    gradient = jax.grad(built.loss, has_aux=True)
    grads, _ = gradient(state.params, batch, key)
    updates, moments = optimizer.update(grads, state.opt_state, state.params)
    return optax.apply_updates(state.params, updates), moments

  batch = jax.ShapeDtypeStruct(shape, jnp.float32)
  lowered = jax.jit(whole).lower(state, batch, jax.random.key(0))
  costs = lowered.compile().cost_analysis()
  return {'flops': costs['flops'], 'memory_bytes': costs['bytes accessed']}


def _collectives(text: str, steps: int) -> list[dict[str, Any]]:
  found = collectives.of_step(text, steps=steps)
  return [dataclasses.asdict(collective) for collective in found]


def _num_params(params: typing.PyTree) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(params))


def main() -> None:
  """Answers requests until standard input ends."""
  contenders: dict[str, Contender] = {}
  kinds = {'train': training, 'zoo': zoo_training}
  for line in sys.stdin:
    request = json.loads(line)
    if name := request.pop('build', None):
      kind = kinds[request.pop('kind')]
      contenders[name], answer = kind(**request)
      contenders[name]()  # Warms up.
    elif 'describe' in request:
      answer = describe(request['describe'], request['shape'])
    else:
      wall, cpu = time.perf_counter(), time.process_time()
      steps, loss = contenders[request['run']]()
      answer = {
        'seconds': (time.perf_counter() - wall) / steps,
        'cpu_seconds': (time.process_time() - cpu) / steps,
        'loss': loss,
      }
    sys.stdout.write(json.dumps(answer) + '\n')
    sys.stdout.flush()


if __name__ == '__main__':
  main()
