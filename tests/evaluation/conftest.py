"""A zoo of small networks on the digits, trained here in seconds."""

import numpy as np
import pytest

from wsjax import networks as networks_lib
from wsjax.evaluation import methods

NUM_TRAIN, NUM_FRESH, NUM_FURTHER = 48, 32, 32


@pytest.fixture(scope='session')
def zoo_parts():
  """Dataset, architecture, recipe, and 112 networks 64-16-10 by it."""
  from wsjax.models import mlp
  from wsjax.zoo import train as train_lib
  from wsjax.zoo.data import datasets

  data = datasets.load('digits')
  architecture = mlp.MLP(widths=(64, 16, 10))
  recipe = train_lib.Recipe(learning_rate=3e-3, steps=400)
  count = NUM_TRAIN + NUM_FRESH + NUM_FURTHER
  zoo = train_lib.train_networks(architecture, data, recipe, np.arange(count), seed=0)
  return data, architecture, recipe, zoo.params


@pytest.fixture(scope='session')
def further_runs(zoo_parts):
  """32 networks that nothing else was shown."""
  return networks_lib.take(zoo_parts[3], np.arange(-NUM_FURTHER, 0))


@pytest.fixture(scope='session')
def zoo_reference(zoo_parts):
  """48 training and 32 held-out networks, and 360 test digits."""
  from wsjax.evaluation import reference
  from wsjax.zoo import train as train_lib

  data, architecture, recipe, zoo = zoo_parts
  train = networks_lib.take(zoo, np.arange(NUM_TRAIN))

  def finetune(params, *, steps, seed):
    return train_lib.finetune(architecture, data, params, recipe, steps=steps, seed=seed)

  return reference.Reference(
    architecture=architecture,
    test_x=data.test_x,
    test_y=data.test_y,
    train=train,
    heldout=networks_lib.take(zoo, np.arange(NUM_TRAIN, NUM_TRAIN + NUM_FRESH)),
    reference={path: value[0] for path, value in train.items()},
    finetune=finetune,
    finetune_steps=(20,),
    fresh_seconds=0.1,
    num_bootstrap=300,
  )


@pytest.fixture(scope='session')
def panel(zoo_reference):
  """The baselines of that zoo, 24 networks each."""
  from wsjax.evaluation import baselines

  return {method.name: method for method in baselines.panel(zoo_reference, num_samples=24, seed=0)}


@pytest.fixture(scope='session')
def report(zoo_reference, panel):
  """The evaluation of the panel and of one method with two seeds."""
  from wsjax.evaluation import evaluator

  seeds = [
    methods.Method(
      f'generator/{seed}',
      'model',
      networks_lib.take(zoo_reference.heldout, np.arange(12) + 12 * seed),
      1.0,
      100,
      (seed,),
    )
    for seed in range(2)
  ]
  return evaluator.evaluate(
    [methods.merge(seeds, 'generator'), *panel.values()], zoo_reference, progress=False
  )


@pytest.fixture
def rows(report):
  """Method -> its row."""
  return report.rows
