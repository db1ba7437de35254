"""Networks are drawn, led by their task, trained on: each does what it says."""

import jax
import numpy as np
import pytest

from configs import digits_flow, inr_generation
from wsjax import pipeline
from wsjax.experiments import base, generation
from wsjax.zoo import train
from wsjax.zoo.store import store


def configured(**section):
  config = digits_flow.get_config('smoke')
  with config.unlocked():
    config.sample = section
  return config


@pytest.fixture(scope='module')
def zoo(tmp_path_factory):
  return base.open_zoo(configured(), tmp_path_factory.mktemp('run'), progress=False)


def drawn(zoo, **section):
  """Six networks of a flow that has learned nothing yet."""
  experiment = generation.Generation(configured(**section), zoo)
  params = experiment.generator.init(jax.random.key(0), experiment.data.latents[0])
  return experiment.draw(params, 6, 1)


@pytest.fixture(scope='module')
def prepared(zoo):
  return generation.Generation(configured(), zoo).data


def loss(prepared, networks):
  """Mean cross-entropy on all training images, by NumPy."""
  x, y = prepared.dataset.train_x, prepared.dataset.train_y
  outputs = jax.vmap(prepared.architecture.apply, (0, None))(networks, x)
  outputs = np.asarray(outputs, float)
  outputs -= np.log(np.exp(outputs).sum(-1, keepdims=True))
  return -outputs[:, np.arange(len(y)), y].mean()


@pytest.mark.slow
def test_refined_networks_are_the_drawn_ones_trained_on(zoo, prepared):
  plain, refined = drawn(zoo), drawn(zoo, refine_steps=20)
  recipe = train.Recipe(**configured().zoo.recipe.to_dict())
  expected = train.finetune(
    prepared.architecture, prepared.dataset, plain, recipe, steps=20, seed=1
  )
  jax.tree.map(np.testing.assert_array_equal, refined, expected)
  assert loss(prepared, refined) < loss(prepared, plain) - 0.1


@pytest.mark.slow
def test_led_networks_have_a_lower_loss_the_more_so_the_more_they_are_led(zoo, prepared):
  losses = [loss(prepared, drawn(zoo, task_scale=scale)) for scale in (0, 0.5, 5.0)]
  assert losses[0] > losses[1] > losses[2]
  unled = drawn(zoo)
  jax.tree.map(np.testing.assert_array_equal, unled, drawn(zoo, task_scale=0.0))


def test_what_was_done_is_in_the_records(zoo, tmp_path):
  config = configured(refine_steps=3)
  with config.unlocked():
    config.generator = dict(name='kde')  # The quickest.
  experiment = generation.Generation(config, zoo)
  params = experiment.generator.fit(experiment.data.latents, jax.random.key(0))
  experiment.publish(params, experiment.draw(params, 2, 1), tmp_path / 'made', 1)
  record = store.Zoo.open(tmp_path / 'made').records[0]
  assert record['generated']['sampler'] == 'kde, trained on for 3 steps'


@pytest.mark.slow
def test_what_was_done_is_in_the_report_and_in_the_records(tmp_path):
  config = configured(refine_steps=3)
  with config.unlocked():
    config.generator = dict(name='kde')  # The quickest.
  report = pipeline.run(config, tmp_path, progress=False)
  (note,) = (note for note in report.notes if 'trained on' in note)
  assert 'for 3 steps' in note and 'seconds per network' in note
  record = store.Zoo.open(tmp_path / 'samples/seed0').records[0]
  said = record['generated']['sampler']
  assert said == 'kde, trained on for 3 steps'


def test_what_cannot_be_done_is_refused_before_training(zoo):
  for section, field in (
    ({'scale': 1.0}, 'scale'),
    ({'refine_steps': -1}, 'refine_steps'),
    ({'task_items': 0}, 'task_items'),
  ):
    with pytest.raises(ValueError, match=field):
      generation.Generation(configured(**section), zoo)
  config = configured(task_scale=1.0)
  with config.unlocked():
    config.generator = dict(name='hypernetwork', width=8, noise_size=2)
  with pytest.raises(ValueError, match='task_scale'):
    generation.Generation(config, zoo)


def test_networks_that_draw_are_not_trained_on(tmp_path):
  config = inr_generation.get_config('smoke')
  with config.unlocked():
    config.sample = dict(refine_steps=1)
  with pytest.raises(ValueError, match='for classifiers, not for image'):
    pipeline.run(config, tmp_path, progress=False)
