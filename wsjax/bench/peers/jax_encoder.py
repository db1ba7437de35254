"""One encoder of wsjax with a classifier, as a server; see torch_nfn.py."""

import json
import resource
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import optax

from wsjax import config
from wsjax.predict import predictor as predictor_lib
from wsjax.train import supervised


class Bench:
  """A predictor, its optimizer and a batch of networks."""

  def __init__(self, embed: dict[str, Any], widths: list[int], batch: int):
    """Builds and compiles; see `Supervised` for what is timed."""
    architecture = config.build(
      'zoo.architectures', {'name': 'siren', 'widths': widths}
    )
    predictor = predictor_lib.Predictor(
      config.build('embed', {**embed, 'architecture': architecture}),
      config.build('predict.heads', {'name': 'classifier', 'num_outputs': 10}),
    )
    objective = supervised.Supervised(predictor)
    keys = jax.random.split(jax.random.key(0), batch)
    data = {
      'example': jax.vmap(architecture.init)(keys),
      'target': jnp.arange(batch) % 10,
    }
    optimizer = optax.adam(1e-3)
    variables = jax.jit(objective.init)(
      jax.random.key(1), jax.tree.map(lambda x: x[0], data)
    )
    self.num_params = sum(x.size for x in jax.tree.leaves(variables))

    def step(carry, key):
      variables, state = carry
      gradients, _ = jax.grad(objective.loss, has_aux=True)(
        variables, data, key
      )
      updates, state = optimizer.update(gradients, state, variables)
      return optax.apply_updates(variables, updates), state

    self._carry = variables, optimizer.init(variables)
    self._key = jax.random.key(2)
    self._step = jax.jit(step, donate_argnums=0).lower(
      self._carry, self._key
    ).compile()  # fmt: skip
    self._forward = jax.jit(
      lambda variables: jax.vmap(lambda x: predictor.apply(variables, x))(
        data['example']
      )
    )
    self.flop = self._step.cost_analysis()['flops']

  def forward(self) -> None:
    """Inference on the batch."""
    jax.block_until_ready(self._forward(self._carry[0]))

  def step(self) -> None:
    """Forward, backward, update."""
    self._carry = jax.block_until_ready(self._step(self._carry, self._key))


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
        seconds.append(time.perf_counter() - start)
      peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
      answer = {'seconds': seconds, 'peak_mb': peak}
    sys.stdout.write(json.dumps(answer) + '\n')
    sys.stdout.flush()


if __name__ == '__main__':
  main()
