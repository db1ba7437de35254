"""Metrics of INRs whose images are known."""

import dataclasses

import numpy as np
import pytest

from wsjax import networks
from wsjax.evaluation import baselines, methods, reference
from wsjax.experiments import inr_generation
from wsjax.models import siren
from wsjax.zoo import train as train_lib
from wsjax.zoo.data import datasets
from wsjax.zoo.data import images as images_lib

TRAIN, NUM = 60, 40
HALF = np.arange(NUM)


@pytest.fixture(scope='module')
def zoo_parts():
  """Architecture, drawing function, 60 + 40 + 40 networks and true images."""
  import jax

  data = datasets.load('digits')
  net = siren.SIREN((2, 16, 1), omega=10.0)
  recipe = train_lib.Recipe(learning_rate=1e-2, steps=150)
  count = TRAIN + 2 * NUM
  trained = train_lib.fit_images(net, data.train_x, recipe, range(count), seed=0)
  run = jax.jit(jax.vmap(lambda params: images_lib.draw(net, params, 8)))

  def draw(params):
    drawn = networks.in_chunks(run, params)
    return drawn.reshape(len(drawn), -1).astype(np.float64)

  return net, draw, trained.params, data.test_x.reshape(len(data.test_x), -1)


@pytest.fixture(scope='module')
def gallery(zoo_parts):
  net, draw, nets, images = zoo_parts
  train = networks.take(nets, np.arange(TRAIN))
  zoo = reference.Population(
    architecture=net,
    train=train,
    heldout=networks.take(nets, TRAIN + NUM + HALF),
    reference={path: value[0] for path, value in train.items()},
  )
  real = draw(networks.take(nets, TRAIN + HALF))
  return inr_generation.Gallery(zoo, draw(train), real, images)


def measure(zoo_parts, gallery, params, seeds=()):
  method = methods.Method('method', 'model', params, seeds=seeds)
  drawn = gallery.look(params, zoo_parts[1](params))
  return inr_generation.measure(method, drawn, gallery, num_bootstrap=50, seed=0), drawn


@pytest.mark.slow
def test_held_out_beside_held_out_is_near_the_ideal(zoo_parts, gallery):
  found, _ = measure(zoo_parts, gallery, gallery.zoo.heldout)
  nna = found['nna']
  assert nna['low'] <= 0.5 <= nna['high']
  assert nna['value'] == pytest.approx(0.5, abs=0.17)
  assert found['mmd']['p'] > 0.01
  for name in ('novelty', 'image_novelty', 'density'):
    assert found[name]['value'] == pytest.approx(1, abs=0.2)
  assert found['legible']['value'] > 0.8
  assert found['copy_rate']['value'] == 0 and found['half_rate']['value'] == 1
  for stat in found.values():
    assert stat['n'] == NUM
    if stat.get('low') is not None:
      assert stat['low'] <= stat['value'] <= stat['high']


@pytest.mark.slow
def test_a_permuted_copy_is_a_copy(zoo_parts, gallery):
  some = networks.take(gallery.zoo.train, HALF)
  moved = baselines.move(some, zoo_parts[0].spec, seed=1)
  found, drawn = measure(zoo_parts, gallery, moved)
  np.testing.assert_array_equal(drawn.nearest, HALF)
  assert np.all(drawn.distance < 0.01)
  assert found['copy_rate']['value'] == 1
  # Which images do not show against held-out ones.
  assert found['nna']['low'] <= 0.5 <= found['nna']['high']
  assert found['image_novelty']['value'] < 0.01


def test_a_copy_of_a_snapshot_is_a_copy(zoo_parts, gallery):
  real = networks.take(zoo_parts[2], TRAIN + HALF)
  zoo = dataclasses.replace(gallery.zoo, snapshots=real)
  shown = np.concatenate([gallery.shown, gallery.real])
  told = dataclasses.replace(gallery, zoo=zoo, shown=shown)
  assert told.tau == gallery.tau and told.image_tau == gallery.image_tau
  moved = baselines.move(real, zoo_parts[0].spec, seed=1)
  found, drawn = measure(zoo_parts, told, moved)
  np.testing.assert_array_equal(drawn.nearest, TRAIN + HALF)
  assert found['copy_rate']['value'] == 1
  assert found['image_novelty']['value'] < 0.01
  assert measure(zoo_parts, gallery, moved)[0]['copy_rate']['value'] == 0


def test_a_copier_of_one_network_is_told_apart(zoo_parts, gallery):
  one = networks.take(gallery.zoo.train, np.full(NUM, 3))
  found, _ = measure(zoo_parts, gallery, one)
  assert found['nna']['value'] > 0.8 and found['mmd']['p'] < 0.01
  assert found['coverage']['value'] < 0.3
  assert found['novelty']['value'] < 0.01


def test_noise_draws_no_digits(zoo_parts, gallery):
  rng = np.random.default_rng(0)
  noise = baselines.random_init(rng, gallery.zoo, NUM)
  noise = {path: np.array(value) for path, value in noise.items()}
  noise['layer1/bias'][0] = np.nan
  found, drawn = measure(zoo_parts, gallery, noise)
  assert found['nna']['value'] > 0.8 and found['legible']['value'] == 0
  assert drawn.nearest[0] == -1 and np.isnan(drawn.distance[0])
  assert found['novelty']['n'] == NUM - 1
  assert np.isfinite(found['mmd']['value'])


def test_noise_around_images_is_seen_in_the_worse_half(zoo_parts, gallery):
  rng = np.random.default_rng(0)
  drawn = gallery.look(gallery.zoo.heldout, zoo_parts[1](gallery.zoo.heldout))
  noisy = gallery.real + 0.3 * rng.standard_normal(gallery.real.shape)
  method = methods.Method('method', 'model', gallery.zoo.heldout)
  found = inr_generation.measure(
    method, dataclasses.replace(drawn, images=noisy), gallery, num_bootstrap=50, seed=0
  )
  assert found['nna']['value'] < 0.6
  assert found['nna_worse']['value'] > 0.9
  assert found['legible']['value'] < 0.1


def test_measures_are_those_of_all_pairs(zoo_parts, gallery):
  train, images = gallery.train, gallery.dataset
  far = [
    min(np.linalg.norm(a - b) for j, b in enumerate(train) if j != i) for i, a in enumerate(train)
  ]
  assert gallery.image_tau == pytest.approx(np.median(far))
  found, drawn = measure(zoo_parts, gallery, gallery.zoo.heldout)
  to_image = [min(np.sqrt(np.mean((a - b) ** 2)) for b in gallery.dataset) for a in drawn.images]
  assert found['to_image']['value'] == pytest.approx(np.median(to_image))
  others = [
    min(np.linalg.norm(a - b) for j, b in enumerate(images) if j != i) for i, a in enumerate(images)
  ]
  limit = np.quantile(others, 0.95)
  legible = np.mean(np.array(to_image) * 8 <= limit)
  assert found['legible']['value'] == pytest.approx(legible)


@pytest.mark.slow
def test_sets_of_unequal_size_are_cut_to_the_smaller(zoo_parts, gallery):
  heldout = gallery.zoo.heldout
  more = {k: np.concatenate([v, v]) for k, v in heldout.items()}
  fewer = networks.take(heldout, np.arange(20))
  single, _ = measure(zoo_parts, gallery, heldout)
  found, _ = measure(zoo_parts, gallery, more)
  assert found['nna'] == single['nna'] and found['novelty']['n'] == 2 * NUM
  found, _ = measure(zoo_parts, gallery, fewer)
  assert found['nna']['n'] == 20


def test_each_seed_is_compared_with_all_real_images(zoo_parts, gallery):
  heldout = gallery.zoo.heldout
  both = {k: np.concatenate([v, v]) for k, v in heldout.items()}
  found, _ = measure(zoo_parts, gallery, both, seeds=(0, 1))
  single, _ = measure(zoo_parts, gallery, heldout)
  for name in ('nna', 'mmd', 'coverage', 'density'):
    assert found[name]['value'] == pytest.approx(single[name]['value'])
    assert found[name]['per_seed'] == [single[name]['value']] * 2
    assert found[name]['n'] == 2 * NUM
