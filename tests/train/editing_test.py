"""The objective: its value by hand, its targets move, and it is learned."""

import jax
import numpy as np
import pytest
import scipy.ndimage

from wsjax import config
from wsjax.layers import residual
from wsjax.models import siren
from wsjax.train import augment, editing, loop

ARCHITECTURE = siren.SIREN((2, 8, 8, 1), 10.0)
PIXELS = 6


def zoo(num, seed=0):
  """Random networks: their pictures are smooth noise."""
  params = jax.vmap(ARCHITECTURE.init)(jax.random.split(jax.random.key(seed), num))
  return {path: np.asarray(value) for path, value in params.items()}


def make(change=None):
  editor = config.build(
    'editors',
    {'name': 'neural_functional', 'channels': 8, 'depth': 2,
     'architecture': ARCHITECTURE},
  )  # fmt: skip
  scales = tuple((path, 0.3) for path in sorted(zoo(1)))
  return editing.Editing(residual.Residual(editor, scales), ARCHITECTURE, 'dilate', PIXELS, change)


@pytest.fixture(scope='module')
def variables():
  one = {path: x[0] for path, x in zoo(1).items()}
  return jax.jit(make().init)(jax.random.key(1), one)


def slow_draw(params):
  """The picture of one network, layer by layer."""
  centres = (2 * np.arange(PIXELS) + 1) / PIXELS - 1
  x = np.array([(i, j) for i in centres for j in centres])
  for layer in range(2):
    x = x @ params[f'layer{layer}/kernel'] + params[f'layer{layer}/bias']
    x = np.sin(10.0 * x)
  x = x @ params['layer2/kernel'] + params['layer2/bias']
  return x.reshape(PIXELS, PIXELS)


def test_the_loss_is_the_error_to_the_dilated_picture(variables):
  objective, nets = make(), zoo(3)
  loss, metrics = objective.loss(variables, nets, jax.random.key(0))
  errors = []
  for i in range(3):
    one = {path: x[i] for path, x in nets.items()}
    edited = objective.module.apply(variables, one)
    target = scipy.ndimage.grey_dilation(np.clip(slow_draw(one), 0, 1), size=3)
    after = slow_draw({path: np.asarray(x) for path, x in edited.items()})
    errors.append(np.mean((after - target) ** 2))
  assert float(loss) == pytest.approx(np.mean(errors), rel=1e-4)
  psnr = np.mean(-10 * np.log10(errors))
  assert float(metrics['psnr']) == pytest.approx(psnr, rel=1e-4)


def test_the_loss_does_not_see_the_order_of_units(variables):
  objective, nets = make(), zoo(4)
  shuffle = augment.make({'symmetry': True}, ARCHITECTURE)
  plain = objective.loss(variables, nets, jax.random.key(0), train=False)[0]
  order = np.random.default_rng(0).permutation(8)
  moved = {
    **nets,
    'layer0/kernel': nets['layer0/kernel'][..., order],
    'layer0/bias': nets['layer0/bias'][..., order],
    'layer1/kernel': nets['layer1/kernel'][..., order, :],
  }
  assert float(plain) == pytest.approx(
    float(objective.loss(variables, moved, jax.random.key(0))[0]), rel=1e-5
  )
  # Signs and half turns draw the same picture but are other weights to it.
  signs = make(shuffle).loss(variables, nets, jax.random.key(0))[0]
  assert float(signs) != pytest.approx(float(plain), rel=1e-5)


def test_augmentation_is_for_training_only(variables):
  objective = make(augment.make({'shift': 0.5}, ARCHITECTURE))
  values = [
    [float(objective.loss(variables, zoo(4), jax.random.key(k), train=train)[0]) for k in range(3)]
    for train in (True, False)
  ]
  assert len(set(values[0])) == 3
  assert len(set(values[1])) == 1


@pytest.mark.slow
def test_an_edit_is_learned_and_holds_for_new_networks(variables, tmp_path):
  objective = make()
  section = {
    'steps': 300, 'batch_size': 16, 'learning_rate': 3e-3, 'inner_steps': 100,
    'checkpoint_every_steps': 300, 'ema_decay': 0.9, 'mesh': (('data', -1),),
  }  # fmt: skip
  trained, _ = loop.fit(objective, zoo(256), section, seed=0, workdir=tmp_path, progress=False)
  loss = jax.jit(objective.loss, static_argnames='train')
  before, after = (
    float(loss(v, zoo(64, 9), jax.random.key(0), train=False)[0]) for v in (variables, trained)
  )
  assert after < 0.6 * before
