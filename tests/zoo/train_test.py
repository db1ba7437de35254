import dataclasses
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.models import cnn, mlp, siren
from wsjax.zoo import losses, train
from wsjax.zoo.data import datasets

RECIPE = train.Recipe(
  optimizer=('adam', 'sgd'), learning_rate=(1e-3, 1e-2), batch_size=32, steps=60, snapshots=(20,)
)


@pytest.fixture(scope='module')
def digits():
  return datasets.load('digits')


@pytest.fixture(scope='module')
def net():
  return mlp.MLP((64, 16, 10))


@pytest.fixture(scope='module')
def trained(net, digits):
  return train.train_networks(net, digits, RECIPE, np.arange(20), seed=3)


def test_a_net_is_bitwise_the_same_alone_and_in_any_chunk(net, digits, trained):
  for indices in ([13], [4, 13, 7], np.arange(9, 18)):
    again = train.train_networks(net, digits, RECIPE, indices, seed=3)
    for path, array in again.params.items():
      np.testing.assert_array_equal(array, trained.params[path][indices])
    for path, array in again.snapshots[20].items():
      np.testing.assert_array_equal(array, trained.snapshots[20][path][indices])
    np.testing.assert_array_equal(again.trace['val_loss'], trained.trace['val_loss'][indices])


@pytest.mark.slow
def test_snapshots_are_of_their_steps_however_they_are_spaced(net, digits, trained):
  # One loop over three equal stretches, or one stretch after the other.
  recipe = dataclasses.replace(RECIPE, snapshots=(20, 40))
  equal = train.train_networks(net, digits, recipe, np.arange(20), seed=3)
  assert list(equal.snapshots) == [20, 40]
  for path, array in trained.params.items():
    np.testing.assert_array_equal(equal.params[path], array)
    np.testing.assert_array_equal(equal.snapshots[20][path], trained.snapshots[20][path])
  short = dataclasses.replace(RECIPE, steps=40)
  short = train.train_networks(net, digits, short, np.arange(20), seed=3)
  for path, array in short.params.items():
    np.testing.assert_array_equal(equal.snapshots[40][path], array)
  np.testing.assert_array_equal(equal.trace['val_loss'][:, [0, 2]], trained.trace['val_loss'])


@pytest.mark.slow
def test_devices_do_not_change_a_net(trained):
  code = (
    'import numpy as np, jax; assert jax.device_count() == 3\n'
    'from wsjax.zoo import train\n'
    'from wsjax.zoo.data import datasets\n'
    'from wsjax.models import mlp\n'
    f'recipe = train.{RECIPE!r}\n'
    "digits = datasets.load('digits')\n"
    'net = mlp.MLP((64, 16, 10))\n'
    'trained = train.train_networks(net, digits, recipe, np.arange(20), seed=3)\n'
    "print(repr(trained.params['layer0/kernel'].tobytes().hex()))"
  )
  # Beside the flags of here: other programs would round otherwise.
  flags = f'{os.environ["XLA_FLAGS"]} --xla_force_host_platform_device_count=3'
  result = subprocess.run(
    [sys.executable, '-c', code],
    env={**os.environ, 'XLA_FLAGS': flags, 'NPROC': '16'},
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
  assert result.returncode == 0, result.stderr[-2000:]
  expected = trained.params['layer0/kernel'].tobytes().hex()
  assert result.stdout.strip().strip("'") == expected


def test_nets_differ_in_start_order_and_hyper_parameters(net, digits, trained):
  assert list(trained.optimizer[:4]) == ['adam', 'sgd', 'adam', 'sgd']
  assert len(set(trained.hparams['learning_rate'].tolist())) == 20
  same_start = train.finetune(
    net,
    digits,
    {k: np.repeat(v[:1], 3, axis=0) for k, v in trained.params.items()},
    dataclasses.replace(RECIPE, optimizer='sgd', learning_rate=0.1),
    steps=5,
    seed=0,
  )
  kernels = same_start['layer0/kernel']
  assert not np.array_equal(kernels[0], kernels[1])  # Only the order differs.
  other_seed = train.train_networks(net, digits, RECIPE, [0], seed=4)
  assert not np.array_equal(
    other_seed.params['layer0/kernel'][0], trained.params['layer0/kernel'][0]
  )


def test_shared_batches_leave_no_difference_but_the_start(net, digits, trained):
  start = {k: np.repeat(v[:1], 3, axis=0) for k, v in trained.params.items()}
  recipe = train.Recipe(shared_batches=True)
  tuned = train.finetune(net, digits, start, recipe, steps=5, seed=0)
  np.testing.assert_array_equal(tuned['layer0/kernel'][0], tuned['layer0/kernel'][2])


def test_training_is_the_slow_obvious_loop(digits, net):
  recipe = train.Recipe('sgd', 0.1, weight_decay=0.01, momentum=0.9, batch_size=500, steps=6)
  trained = train.train_networks(net, digits, recipe, [5], seed=0)
  key = jax.random.fold_in(jax.random.key(0), 5)
  params = net.init(jax.random.fold_in(key, train._INIT))
  params = {k: np.asarray(v, np.float64) for k, v in params.items()}
  speed = {k: np.zeros_like(v) for k, v in params.items()}
  x, y = digits.train_x.reshape(len(digits.train_y), -1), digits.train_y
  order_key = jax.random.fold_in(key, train._ORDER)
  deal = jax.jit(losses.permutation, static_argnums=2)
  for step in range(6):
    epoch, batch = divmod(step, 2)  # 1257 examples are two batches of 500.
    order = deal(jax.random.fold_in(order_key, epoch), jnp.arange(1257), 1257)
    order = np.asarray(order)
    rows = order[batch * 500 : (batch + 1) * 500]
    hidden = x[rows] @ params['layer0/kernel'] + params['layer0/bias']
    logits = np.maximum(hidden, 0) @ params['layer1/kernel']
    logits += params['layer1/bias']
    probs = np.exp(logits - logits.max(1, keepdims=True))
    probs /= probs.sum(1, keepdims=True)
    dlogits = (probs - np.eye(10)[y[rows]]) / 500
    dhidden = dlogits @ params['layer1/kernel'].T * (hidden > 0)
    gradients = {
      'layer0/kernel': x[rows].T @ dhidden,
      'layer0/bias': dhidden.sum(0),
      'layer1/kernel': np.maximum(hidden, 0).T @ dlogits,
      'layer1/bias': dlogits.sum(0),
    }
    for path in params:
      gradient = gradients[path] + 0.01 * params[path]
      speed[path] = 0.9 * speed[path] + gradient
      params[path] = params[path] - 0.1 * speed[path]
  for path in params:
    np.testing.assert_allclose(trained.params[path][0], params[path], atol=1e-5)


def test_nets_learn_and_the_trace_says_so(net, digits):
  recipe = train.Recipe(learning_rate=3e-3, steps=300, snapshots=(30,))
  trained = train.train_networks(net, digits, recipe, np.arange(8), seed=0)
  assert trained.trace_steps == (30, 300)
  assert trained.trace['val_accuracy'].shape == (8, 2)
  assert trained.trace['val_accuracy'][:, -1].min() > 0.9
  assert (trained.trace['train_loss'][:, 1] < trained.trace['train_loss'][:, 0]).all()
  logits = jax.vmap(net.apply, (0, None))(trained.params, digits.val_x)
  accuracy = (np.asarray(logits).argmax(-1) == digits.val_y).mean(1)
  np.testing.assert_allclose(trained.trace['val_accuracy'][:, -1], accuracy, atol=1e-6)
  assert not trained.diverged.any()


def test_diverged_nets_are_kept_and_marked(net, digits):
  recipe = train.Recipe('sgd', (1e-3, 1e12), steps=40)
  trained = train.train_networks(net, digits, recipe, np.arange(24), seed=0)
  assert 0 < trained.diverged.sum() < 24
  for i in range(24):
    finite = all(np.isfinite(a[i]).all() for a in trained.params.values())
    finite &= np.isfinite(trained.trace['train_loss'][i, -1])
    assert trained.diverged[i] == (not finite)


def test_no_val_split_leaves_val_metrics_unknown(net):
  digits = datasets.load('digits', val_fraction=0)
  recipe = train.Recipe(steps=5)
  trained = train.train_networks(net, digits, recipe, [0], seed=0)
  assert np.isnan(trained.trace['val_accuracy'][:, -1]).all() and not trained.diverged.any()


def test_more_nets_of_the_same_size_do_not_recompile(net, digits):
  recipe = train.Recipe(steps=4)
  train.train_networks(net, digits, recipe, np.arange(9), seed=0)
  program = train._program(net, recipe, 'adam', train._CPU_GROUP, min(2, jax.local_device_count()))
  count = program._cache_size()
  train.train_networks(mlp.MLP((64, 16, 10)), digits, recipe, np.arange(9, 18), seed=1)
  assert program._cache_size() == count


@pytest.mark.slow
def test_cnn_learns_digits(digits):
  net = cnn.CNN((8, 8, 1), (4,), (16,), 10)
  recipe = train.Recipe(learning_rate=5e-3, steps=150)
  trained = train.train_networks(net, digits, recipe, np.arange(2), seed=0)
  assert trained.trace['val_accuracy'][:, -1].min() > 0.85


@pytest.mark.slow
def test_sirens_fit_each_its_own_image(digits):
  net = siren.SIREN((2, 16, 16, 1))
  images = digits.train_x[:3]
  recipe = train.Recipe(learning_rate=2e-3, steps=150, snapshots=(10,))
  trained = train.fit_images(net, images, recipe, [2, 0], seed=0)
  grid = train.coordinates(8, 8)
  fitted = jax.vmap(net.apply, (0, None))(trained.params, grid)
  for row, image in zip(np.asarray(fitted), images[[2, 0]], strict=True):
    mse = np.mean((row.reshape(8, 8, 1) - image) ** 2)
    assert -10 * np.log10(mse) > 30
  assert trained.trace['psnr'][0, 1] > trained.trace['psnr'][0, 0]
  alone = train.fit_images(net, images, recipe, [0], seed=0)
  for path, array in alone.params.items():
    np.testing.assert_array_equal(array[0], trained.params[path][1])
  with pytest.raises(ValueError, match='3 images'):
    train.fit_images(net, images, recipe, [3], seed=0)


def test_coordinates_are_pixel_centres_row_by_row():
  grid = train.coordinates(2, 4)
  np.testing.assert_allclose(grid[:2], [[-0.5, -0.75], [-0.5, -0.25]])
  np.testing.assert_allclose(grid.mean(0), [0, 0], atol=1e-7)


def test_finetune_of_no_steps_gives_the_weights_back(net, digits, trained):
  same = train.finetune(net, digits, trained.params, RECIPE, steps=0, seed=0)
  for path, array in same.items():
    np.testing.assert_array_equal(array, trained.params[path])


def test_bad_input_is_refused(net, digits, trained):
  with pytest.raises(ValueError, match='1257 examples'):
    train.train_networks(net, digits, train.Recipe(batch_size=2000), [0], seed=0)
  with pytest.raises(ValueError, match='n >= 1'):
    train.train_networks(net, digits, RECIPE, [], seed=0)
  with pytest.raises(ValueError, match='has shape'):
    wrong = {k: v[:, None] for k, v in trained.params.items()}
    train.finetune(net, digits, wrong, RECIPE, steps=1, seed=0)
