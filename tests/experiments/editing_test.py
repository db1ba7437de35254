"""Editing: from a config to a report; an edit ignores the order of neurons."""

import pathlib

import jax
import numpy as np
import pytest
import scipy.ndimage
from ml_collections import config_dict

from wsjax import config as config_lib
from wsjax.evaluation import equivariance
from wsjax.evaluation.report import html, model, sweep
from wsjax.experiments import base, editing
from wsjax.layers import residual
from wsjax.models import mlp, siren
from wsjax.train import augment, loop

ROOT = pathlib.Path(__file__).parents[2] / 'configs'


@pytest.fixture(scope='module')
def finished(smoke_run):
  return smoke_run('inr_editing')


def test_a_run_ends_in_a_report_with_images_and_baselines(finished):
  report, workdir, _ = finished
  table = report.tables['methods']
  assert {name: (row.n, row.kind) for name, row in table.rows.items()} == {
    'edited by neural_functional': (8, 'model'),
    'no edit': (8, 'baseline'),
    'one factor and shift for all': (8, 'baseline'),
    'trained on the target': (4, 'ceiling'),
  }
  for row in table.rows.values():
    for stat in row.stats.values():
      assert stat['low'] <= stat['value'] <= stat['high']
  mse = {name: row.value('mse') for name, row in table.rows.items()}
  # Four steps change little; a fit of five per network more than nothing.
  edited, unedited = mse['edited by neural_functional'], mse['no edit']
  assert edited == pytest.approx(unedited, rel=0.05) and edited != unedited
  assert mse['trained on the target'] < unedited
  assert mse['one factor and shift for all'] < unedited
  rows = report.figures['images'].data['rows']
  assert [row['title'] for row in rows] == ['drawn', 'target', 'edited', 'trained']
  assert np.shape(rows[0]['images']) == (4, 8, 8, 1)
  text = (workdir / 'report.html').read_text()
  assert report.headline in text
  assert text.count('<image ') == 16 and 'http' not in text


def test_runs_stand_side_by_side(finished, tmp_path):
  made = sweep.side_by_side('ablation', {'a/x': finished[0], 'b': finished[0]})
  assert list(made.tables['runs'].rows) == ['a/x', 'b']
  page = made.write(tmp_path, html.page, stem='sweep').read_text()
  assert 'href="a/x/report.html"' in page and page.count('<svg ') == 1
  assert model.load(tmp_path, stem='sweep').tables['runs'].rows['b'].seeds == [0]


@pytest.mark.parametrize('name', ['neural_functional', 'flat_mlp'])
def test_what_the_report_says_of_equivariance_is_true(name):
  """An equivariant editor has rounding errors; the flat MLP has none of it."""
  architecture = siren.SIREN((2, 8, 8, 1), 10.0)
  params = jax.vmap(architecture.init)(jax.random.split(jax.random.key(0), 4))
  params = {path: np.asarray(value) for path, value in params.items()}
  section = {'name': name, 'architecture': architecture}
  module = residual.Residual(
    config_lib.build('editors', section), tuple((path, 0.3) for path in params)
  )
  one = {path: value[0] for path, value in params.items()}
  variables = jax.jit(module.init)(jax.random.key(1), one)
  found = equivariance.of_edit(
    lambda params: module.apply(variables, params), architecture, params, pixels=6, seed=0
  )
  assert found['n'] == 4
  if name == 'neural_functional':
    assert found['weights'] < 1e-3 and found['picture'] < 1e-4
  else:
    assert found['weights'] > 0.1 and found['picture'] > 1e-4


class SimpleExperiment(editing.Editing):
  """An experiment of no zoo."""

  def __init__(self):
    self.config = config_dict.ConfigDict(
      {'seed': 0, 'evaluate': {'num_bootstrap': 50}, 'train': {'seeds': (0, 1)}}
    )


def test_scores_are_means_over_networks_and_seeds():
  errors = np.array([[0.1, 0.01], [0.1, 0.001]])
  stats = SimpleExperiment().row(editing.scores(errors), 'model').stats
  assert stats['mse']['value'] == pytest.approx(errors.mean())
  assert stats['psnr']['per_seed'] == pytest.approx([15, 20])
  assert stats['mse']['method'] == 'bootstrap-nets-seeds'
  with pytest.raises(ValueError, match='must be above 0'):
    editing.scores(0 * errors)


def test_networks_that_do_not_draw_are_refused(finished):
  _, workdir, config = finished
  zoo = base.open_zoo(config, workdir, progress=False)

  class Classifiers:
    path = 'there'
    model = mlp.MLP((2, 3, 2))

  with pytest.raises(ValueError, match='there are for classification'):
    editing.Editing(config, Classifiers())
  assert len(editing.Editing(config, zoo).test['layer0/bias']) == 8


# The objective: its value by hand, its targets move, and it is learned.
ARCHITECTURE = siren.SIREN((2, 8, 8, 1), 10.0)
PIXELS = 6


def zoo(num, seed=0):
  """Random networks: their pictures are smooth noise."""
  params = jax.jit(jax.vmap(ARCHITECTURE.init))(jax.random.split(jax.random.key(seed), num))
  return {path: np.asarray(value) for path, value in params.items()}


def make(change=None):
  editor = config_lib.build(
    'editors',
    {'name': 'neural_functional', 'channels': 8, 'depth': 2,
     'architecture': ARCHITECTURE},
  )  # fmt: skip
  scales = tuple((path, 0.3) for path in sorted(zoo(1)))
  return editing.Objective(
    residual.Residual(editor, scales), ARCHITECTURE, 'dilate', PIXELS, change
  )


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


@pytest.mark.slow
def test_the_loss_is_the_error_to_the_dilated_picture(variables):
  objective, nets = make(), zoo(3)
  loss, metrics = jax.jit(objective.loss)(variables, nets, jax.random.key(0))
  errors = []
  for i in range(3):
    one = {path: x[i] for path, x in nets.items()}
    edited = jax.jit(objective.module.apply)(variables, one)
    target = scipy.ndimage.grey_dilation(np.clip(slow_draw(one), 0, 1), size=3)
    after = slow_draw({path: np.asarray(x) for path, x in edited.items()})
    errors.append(np.mean((after - target) ** 2))
  assert float(loss) == pytest.approx(np.mean(errors), rel=1e-4)
  psnr = np.mean(-10 * np.log10(errors))
  assert float(metrics['psnr']) == pytest.approx(psnr, rel=1e-4)


@pytest.mark.slow
def test_the_loss_does_not_see_the_order_of_units(variables):
  objective, nets = make(), zoo(4)
  shuffle = augment.make({'symmetry': True}, ARCHITECTURE)
  plain = jax.jit(objective.loss, static_argnames='train')(
    variables, nets, jax.random.key(0), train=False
  )[0]
  order = np.random.default_rng(0).permutation(8)
  moved = {
    **nets,
    'layer0/kernel': nets['layer0/kernel'][..., order],
    'layer0/bias': nets['layer0/bias'][..., order],
    'layer1/kernel': nets['layer1/kernel'][..., order, :],
  }
  assert float(plain) == pytest.approx(
    float(jax.jit(objective.loss)(variables, moved, jax.random.key(0))[0]), rel=1e-5
  )
  # Signs and half turns draw the same picture but are other weights to it.
  signs = jax.jit(make(shuffle).loss)(variables, nets, jax.random.key(0))[0]
  assert float(signs) != pytest.approx(float(plain), rel=1e-5)


def test_augmentation_is_for_training_only(variables):
  objective = make(augment.make({'shift': 0.5}, ARCHITECTURE))
  loss, nets = jax.jit(objective.loss, static_argnames='train'), zoo(4)
  values = [
    [float(loss(variables, nets, jax.random.key(k), train=train)[0]) for k in range(3)]
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
