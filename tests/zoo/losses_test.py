import dataclasses

import jax
import numpy as np
import pytest

from wsjax.models import cnn, mlp, siren
from wsjax.zoo import entries as entries_lib
from wsjax.zoo import losses, recipe
from wsjax.zoo import train as train_lib
from wsjax.zoo.data import datasets
from wsjax.zoo.store import record

NET = mlp.MLP((64, 12, 10))
PLAIN = train_lib.Recipe('adam', 1e-2, batch_size=32, steps=40)
VARIED = dataclasses.replace(
  PLAIN,
  init_scale=(0.5, 2.0),
  dropout=(0.0, 0.5),
  train_fraction=(0.05, 0.5),
  label_noise=(0.0, 0.5),
  input_noise=(0.0, 0.5),
  shift=(0, 2),
)
INDICES = np.arange(6)


@pytest.fixture(scope='module')
def digits():
  return datasets.load('digits')


@pytest.fixture(scope='module')
def varied(digits):
  return train_lib.train_networks(NET, digits, VARIED, INDICES, seed=3)


def train(digits, indices=(0, 1), **changes):
  changed = dataclasses.replace(PLAIN, **changes)
  return train_lib.train_networks(NET, digits, changed, indices, seed=3)


@pytest.fixture(scope='module')
def plain(digits):
  return train(digits)


@pytest.mark.slow
def test_a_net_with_every_factor_is_bitwise_the_same_alone(digits, varied):
  again = train_lib.train_networks(NET, digits, VARIED, [4, 1], seed=3)
  for path, array in again.params.items():
    np.testing.assert_array_equal(array, varied.params[path][[4, 1]])
  np.testing.assert_array_equal(again.seen, varied.seen[[4, 1]])


def test_every_factor_is_drawn_within_its_bounds(varied):
  assert set(varied.hparams) == set(recipe.FACTORS)
  for name in set(recipe.FACTORS) - {'learning_rate', 'weight_decay'}:
    low, high = getattr(VARIED, name)
    assert low <= varied.hparams[name].min() <= varied.hparams[name].max()
    assert varied.hparams[name].max() <= high
    assert len(set(varied.hparams[name].tolist())) > 1


@pytest.mark.slow
def test_factors_drawn_at_their_neutral_value_change_nothing(digits, plain):
  neutral = {
    name: (factor.neutral, factor.neutral)
    for name, factor in recipe.FACTORS.items()
    if factor.neutral is not None
  }
  # These two go through a ranking of the examples, so batches differ.
  del neutral['train_fraction'], neutral['label_noise']
  same = train(digits, **neutral)
  for path, array in plain.params.items():
    np.testing.assert_allclose(same.params[path], array, atol=2e-4)


@pytest.mark.slow
def test_initial_kernels_are_scaled_and_nothing_else(digits):
  still = dataclasses.replace(PLAIN, optimizer='sgd', learning_rate=1e-50, steps=1, init_scale=3.0)
  scaled = train_lib.train_networks(NET, digits, still, [1], seed=3).params
  key = jax.random.fold_in(jax.random.key(3), 1)
  initial = NET.init(jax.random.fold_in(key, train_lib._INIT))
  for path, array in initial.items():
    factor = 3 if path.endswith('kernel') else 1
    np.testing.assert_allclose(scaled[path][0], factor * array, rtol=1e-5, atol=1e-7)
  # Weights that are given are no initial ones.
  tuned = train_lib.finetune(NET, digits, scaled, still, steps=1, seed=0)
  for path, array in scaled.items():
    np.testing.assert_array_equal(tuned[path], array)


def test_a_net_sees_its_share_of_the_examples_and_no_other(digits):
  trained = train(digits, train_fraction=0.02)
  assert list(trained.seen.sum(1)) == [25, 25]  # Of 1257.
  assert (trained.seen[0] & trained.seen[1]).sum() < 10
  x = np.where(trained.seen[0][:, None, None, None], digits.train_x, np.float32(0.5))
  other = train(dataclasses.replace(digits, train_x=x), train_fraction=0.02)
  for path, array in trained.params.items():
    np.testing.assert_array_equal(other.params[path][0], array[0])
    assert not np.array_equal(other.params[path][1], array[1])


def test_wrong_labels_hurt_and_are_counted_in_training(digits):
  trained = train(digits, np.arange(8), label_noise=(0.0, 0.9), steps=120)
  noise = trained.hparams['label_noise']
  assert noise.max() - noise.min() > 0.5
  assert np.corrcoef(noise, trained.trace['train_accuracy'][:, -1])[0, 1] < -0.95
  assert np.corrcoef(noise, trained.trace['val_accuracy'][:, -1])[0, 1] < -0.6
  wrong = (noise > 0.2) & (noise < 0.6)
  last = {name: values[:, -1] for name, values in trained.trace.items()}
  assert (last['train_accuracy'] < last['val_accuracy'])[wrong].all()


def test_exactly_the_given_share_of_labels_is_wrong():
  labels = np.arange(200, dtype=np.int32) % 10
  ranking = np.random.default_rng(0).permutation(200)
  noisy = losses._with_wrong_labels(jax.random.key(0), labels, ranking, np.float32(50), 10)
  noisy = np.asarray(noisy)
  assert set(np.flatnonzero(noisy != labels)) == set(ranking[:50])
  assert noisy.min() == 0 and noisy.max() == 9


@pytest.mark.slow
def test_training_accuracy_is_that_of_the_batch(digits):
  params = NET.init(jax.random.key(0))
  data = {
    part: jax.numpy.asarray(getattr(digits, part))
    for part in ('train_x', 'train_y', 'val_x', 'val_y')
  }
  key = jax.random.key(0)
  task = losses.classify(NET, data, PLAIN, {}, network_key=key, order_key=key)
  rows = task.batches[7]
  _, metrics = task.loss(params, rows)
  found = NET.apply(params, digits.train_x[rows]).argmax(-1)
  assert metrics['train_accuracy'] == np.mean(found == digits.train_y[rows])


@pytest.mark.parametrize('net', [NET, cnn.CNN((8, 8, 1), (3,), (5,), 10)], ids=lambda net: net.name)
def test_dropout_leaves_out_its_share_and_keeps_the_mean(net):
  x = np.ones((50, 40), np.float32)
  dropped = mlp.drop(x, (jax.random.key(0), 0.25), 0)
  assert np.mean(np.asarray(dropped) == 0) == pytest.approx(0.25, abs=0.03)
  assert np.mean(dropped) == pytest.approx(1, abs=0.04)
  params = net.init(jax.random.key(1))
  images = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
  whole = net.apply(params, images)
  draws = jax.jit(jax.vmap(lambda key: net.apply(params, images, (key, 0.3))))(
    jax.random.split(jax.random.key(2), 400)
  )
  assert np.std(draws, 0).min() > 0.01
  np.testing.assert_array_equal(net.apply(params, images, None), whole)


def test_pixels_get_noise_of_the_given_deviation(digits):
  changed = dataclasses.replace(PLAIN, input_noise=0.2)
  read = losses._image_reader(jax.numpy.asarray(digits.train_x), changed, {'input_noise': 0.2})
  rows = np.arange(100)
  noise = read(rows, jax.random.key(0)) - digits.train_x[rows]
  assert np.std(noise) == pytest.approx(0.2, rel=0.05)
  assert abs(np.mean(noise)) < 0.01


def test_images_are_moved_by_whole_pixels_and_filled_with_zeros(digits):
  changed = dataclasses.replace(PLAIN, shift=(0, 3))
  read = losses._image_reader(jax.numpy.asarray(digits.train_x), changed, {'shift': np.int32(2)})
  rows = np.arange(60)
  moved = np.asarray(read(rows, jax.random.key(0)))
  padded = np.pad(digits.train_x, ((0, 0), (2, 2), (2, 2), (0, 0)))
  places = set()
  for row, image in zip(rows, moved, strict=True):
    found = [
      (i, j)
      for i in range(5)
      for j in range(5)
      if np.array_equal(padded[row, i : i + 8, j : j + 8], image)
    ]
    assert found
    places.add(found[0])
  assert len(places) > 15


def test_records_tell_every_factor_and_what_was_seen(digits, varied):
  entries = entries_lib.of_trained(
    varied, NET, digits, VARIED, seed=3, config_sha256='0' * 64, splits=['train'] * 6
  )
  for row, entry in enumerate(entries):
    record.validate(entry.record)
    hparams = entry.record['optimizer']['hparams']
    assert set(hparams) == {*recipe.FACTORS, 'momentum'}
    assert hparams['dropout'] == pytest.approx(varied.hparams['dropout'][row])
    subset = datasets.index_digest(digits.train_index[varied.seen[row]])
    assert entry.record['datasets'][0]['subset_indices_sha256'] == subset
    assert entry.record['augmentation'] == ['input_noise', 'shift']
    final = {(m['split'], m['metric']): m for m in entry.record['final']}
    assert final['train', 'accuracy']['value'] == pytest.approx(
      varied.trace['train_accuracy'][row, -1]
    )


def test_nets_that_fit_images_have_no_factors_of_classifiers(digits):
  with pytest.raises(ValueError, match='none of dropout'):
    train_lib.fit_images(siren.SIREN((2, 4, 1)), digits.train_x, VARIED, [0], seed=0)
