"""Methods beside generated adapters: training, retrieval, regression, and rival networks."""

import time
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.experiments.personalize import adapting
from wsjax.experiments.personalize import tasks as tasks_lib

if TYPE_CHECKING:
  from wsjax.experiments import personalize

BASE, OWN, TUNED = 'base model', 'own trained adapter', 'tuned from zero'
# Penalties of the ridge regression, in units of the mean squared feature.
_PENALTIES = (1e-2, 1e-1, 1.0, 10.0)


def tuned(
  adapted: adapting.Adapted,
  start: typing.StackedParams,
  test: tasks_lib.Tasks,
  val_start: typing.StackedParams,
  val: tasks_lib.Tasks,
  options: 'personalize.Section',
  *,
  progress: bool = False,
) -> tuple[np.ndarray, list[float]]:
  """Losses [steps, n] after each of `tune_steps` on a few examples of each test task.

  The learning rate of each number of steps, which are returned, has the lowest loss on validation
  tasks: one rate for all would be too low for few steps, or too high for many.
  """

  def run(
    rate: float, steps: tuple[int, ...], start: typing.StackedParams, tasks: tasks_lib.Tasks
  ) -> dict[int, np.ndarray]:
    kept = adapted.tune(
      start,
      tasks.targets[:, : options.examples],
      np.minimum(tasks.counts, options.examples),
      rate=rate,
      steps=steps,
      words=options.examples,
      seed=0,
      label=f'tune {len(tasks)} tasks at rate {rate:g}' if progress else '',
    )
    return {n: adapted.evaluate(each, tasks.heldout) for n, each in zip(steps, kept, strict=True)}

  on_val = {rate: run(rate, options.tune_steps, val_start, val) for rate in options.rates}
  rates = {n: min(on_val, key=lambda rate: on_val[rate][n].mean()) for n in options.tune_steps}
  found: dict[int, np.ndarray] = {}
  for rate in sorted(set(rates.values())):
    steps = tuple(n for n in rates if rates[n] == rate)
    found |= run(rate, steps, start, test)
  return np.stack([found[n] for n in rates]), list(rates.values())


def milliseconds(experiment: 'personalize.Personalize') -> dict[str, float]:
  """Wall time of one step of training one adapter, and of the vector of one text."""
  options, adapted = experiment.options, experiment.adapted()
  tasks = experiment.data['test'].take(np.arange(min(16, len(experiment.data['test']))))
  start = adapted.network.lora.init(jax.random.key(0), experiment.model)
  start = {path: jnp.broadcast_to(x, (len(tasks), *x.shape)) for path, x in start.items()}

  def train() -> list[typing.StackedParams]:
    return adapted.tune(
      start,
      tasks.targets,
      tasks.counts,
      rate=1e-3,
      steps=options.own_steps[:1],
      words=options.own_words,
      seed=0,
    )

  sentence = tasks.tasks[0].sentences[0]
  found = {}
  for name, run, count in (
    ('step', train, len(tasks) * options.own_steps[0]),
    ('text', lambda: tasks_lib.encode(options.encoder, [sentence]), 1),
  ):
    jax.block_until_ready(run())  # Compiles.
    begin = time.perf_counter()
    jax.block_until_ready(run())
    found[name] = 1e3 * (time.perf_counter() - begin) / count
  return found


def panel(experiment: 'personalize.Personalize') -> dict[str, np.ndarray]:
  """Losses [n] of the test tasks; of `TUNED` [steps, n]."""
  options, data = experiment.options, experiment.data
  test, val = data['test'], experiment.validation
  adapted, encoder = experiment.adapted(), options.encoder
  seed = experiment.config.seed
  zero = adapted.network.lora.init(jax.random.key(seed), experiment.model)

  def repeat(count: int) -> typing.StackedParams:
    return {path: jnp.broadcast_to(x, (count, *x.shape)) for path, x in zero.items()}

  def train(tasks: tasks_lib.Tasks, rate: float) -> list[typing.StackedParams]:
    label = f'own adapters of {len(tasks)} tasks at rate {rate:g}'
    return adapted.tune(
      repeat(len(tasks)),
      tasks.targets,
      tasks.counts,
      rate=rate,
      steps=options.own_steps,
      words=options.own_words,
      seed=seed,
      label=label if experiment.progress else '',
    )

  def best(found: dict[Any, np.ndarray], name: str) -> Any:
    """The choice with the lowest mean loss on validation tasks."""
    chosen = min(found, key=lambda key: found[key].mean())
    experiment.chosen[name] = str(chosen)
    return chosen

  losses = {BASE: adapted.evaluate(repeat(len(test)), test.heldout)}
  on_val = {
    (rate, place): adapted.evaluate(each, val.heldout)
    for rate in options.rates
    for place, each in enumerate(train(val, rate))
  }
  rate, place = best(on_val, 'own adapter: rate, place of steps')
  for steps, each in zip(options.own_steps, train(test, rate), strict=True):
    losses[f'own adapter, {steps} steps'] = adapted.evaluate(each, test.heldout)
  losses[OWN] = losses[f'own adapter, {options.own_steps[place]} steps']
  losses[TUNED], rates = tuned(
    adapted, repeat(len(test)), test, repeat(len(val)), val, options, progress=experiment.progress
  )
  experiment.chosen['tuning from zero: rates'] = str(rates)

  # Own adapters of training tasks: of those nearest to test and validation tasks, and of others.
  seen = data['train']
  vectors = {name: tasks.vectors[encoder][:, 0] for name, tasks in
             (('train', seen), ('val', val), ('test', test))}  # fmt: skip
  nearest = {name: (vectors[name] @ vectors['train'].T).argmax(1) for name in ('val', 'test')}
  rng = np.random.default_rng(seed)
  others = rng.permutation(len(seen))[: options.neighbours]
  rows = np.unique(np.concatenate([nearest['val'], nearest['test'], others]))
  trained = train(seen.take(rows), rate)

  def taken(place: int, name: str) -> typing.StackedParams:
    found = np.searchsorted(rows, nearest[name])
    return {path: x[found] for path, x in trained[place].items()}

  on_val = {
    place: adapted.evaluate(taken(place, 'val'), val.heldout) for place in range(len(trained))
  }
  place = best(on_val, 'nearest adapter: place of steps')
  losses["nearest task's adapter"] = adapted.evaluate(taken(place, 'test'), test.heldout)

  def ridge(place: int, penalty: float, name: str) -> typing.StackedParams:
    """Adapters as a linear function of the text; all have one start, so factors compare."""
    x, mean = vectors['train'][rows], vectors['train'][rows].mean(0)
    flat = {path: np.asarray(y).reshape(len(rows), -1) for path, y in trained[place].items()}
    x = x - mean
    gram = x.T @ x + penalty * np.mean(np.sum(x**2, 1)) * np.eye(x.shape[1], dtype=np.float32)
    to = np.linalg.solve(gram, x.T)
    made = {}
    for path, y in flat.items():
      fitted = (vectors[name] - mean) @ (to @ (y - y.mean(0))) + y.mean(0)
      made[path] = fitted.reshape(-1, *trained[place][path].shape[1:]).astype(np.float32)
    return made

  on_val = {
    (place, penalty): adapted.evaluate(ridge(place, penalty, 'val'), val.heldout)
    for place in range(len(trained))
    for penalty in _PENALTIES
  }
  place, penalty = best(on_val, 'ridge: place of steps, penalty')
  losses['ridge from the text'] = adapted.evaluate(ridge(place, penalty, 'test'), test.heldout)

  for name in options.rivals:
    rival, params, encoder_of = experiment.rival(name)
    run = jax.jit(jax.vmap(lambda c, rival=rival, params=params: rival.network.apply(params, c)))
    made = run(test.vectors[encoder_of][:, 0])
    losses[name] = rival.evaluate(made, test.heldout)
  return losses
