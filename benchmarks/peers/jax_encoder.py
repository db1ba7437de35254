"""One encoder of wsjax with a classifier, as a server; see torch_nfn.py."""

import functools
import json
import resource
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import optax

from wsjax import config
from wsjax.heads import prediction
from wsjax.train import sharding, supervised
from wsjax.train import step as step_lib

STEPS = 5  # Per compiled call; configs have 100.


class Bench:
  """A predictor, its optimizer and a batch of networks."""

  def __init__(self, embed: dict[str, Any], widths: list[int], batch: int):
    """Builds and compiles; see `Supervised` for what is timed."""
    architecture = config.build('models', {'name': 'siren', 'widths': widths})
    predictor = prediction.Predictor(
      config.build('encoders', {**embed, 'architecture': architecture}),
      config.build('heads', {'name': 'classifier', 'num_outputs': 10}),
    )
    objective = supervised.Supervised(predictor)
    keys = jax.random.split(jax.random.key(0), batch)
    data = {'example': jax.vmap(architecture.init)(keys), 'target': jnp.arange(batch) % 10}
    optimizer = optax.adam(1e-3)
    variables = jax.jit(objective.init)(jax.random.key(1), jax.tree.map(lambda x: x[0], data))
    self.num_params = sum(x.size for x in jax.tree.leaves(variables))
    # As `loop.fit` trains: blocks of steps, in microbatches.
    self._block = step_lib.make_train_block(
      objective.loss,
      optimizer,
      sharding.make_mesh((('data', -1),)),
      key=jax.random.key(2),
      batch_size=batch,
      ema_decay=0.0,
      microbatch=objective.microbatch,
    )
    self._state = step_lib.create(variables, optimizer)
    # An argument of all programs: of constants XLA computes what it can.
    self._data = data
    self._forward = jax.jit(functools.partial(prediction.apply, predictor))
    whole = jax.jit(jax.grad(objective.loss, has_aux=True))
    lowered = whole.lower(variables, self._data, jax.random.key(0))
    # Of a loop XLA counts one round, so of the gradient without one.
    self.flop = lowered.compile().cost_analysis()['flops']
    self.step()  # Compiles.

  def forward(self) -> None:
    """Inference on the batch."""
    variables, examples = self._state.params, self._data['example']
    jax.block_until_ready(self._forward(variables, examples))

  def step(self) -> None:
    """Forward, backward, update, `STEPS` times."""
    self._state, _ = self._block(self._state, self._data, STEPS)
    jax.block_until_ready(self._state)


def main() -> None:
  """Answers until standard input ends."""
  bench = None
  for line in sys.stdin:
    request = json.loads(line)
    if 'build' in request:
      bench = Bench(**request['build'])
      answer = {'num_params': bench.num_params, 'flop': bench.flop}
    else:
      seconds = []
      for _ in range(request['times']):
        start = time.perf_counter()
        getattr(bench, request['run'])()
        rounds = STEPS if request['run'] == 'step' else 1
        seconds.append((time.perf_counter() - start) / rounds)
      peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
      answer = {'seconds': seconds, 'peak_mb': peak}
    sys.stdout.write(json.dumps(answer) + '\n')
    sys.stdout.flush()


if __name__ == '__main__':
  main()
