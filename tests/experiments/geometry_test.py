"""Surveys of zoos, from Python and from the command line."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import wsjax
from wsjax.cli import main
from wsjax.evaluation.report import model as report_model

FEW = dict(
  num_networks=8, num_pairs=2, num_examples=32, curve_steps=100, num_products=8, num_directions=2,
  restarts=1, num_modular=2, num_shuffled=3,
)  # fmt: skip


@pytest.fixture(scope='module')
def trained():
  """12 networks that tell whether a point is in a disc, and the points."""
  model = wsjax.mlp((2, 8, 2))
  x = jax.random.uniform(jax.random.key(0), (96, 2), minval=-1.5, maxval=1.5)
  y = (jnp.sum(x**2, axis=1) < 1).astype(jnp.int32)

  def loss(params):
    logits = jax.nn.log_softmax(model.apply(params, x[:64]))
    return -jnp.mean(jnp.take_along_axis(logits, y[:64, None], axis=1))

  def step(params, _):
    return jax.tree.map(lambda p, g: p - g, params, jax.grad(loss)(params)), None

  @jax.jit
  @jax.vmap
  def train(key):
    return jax.lax.scan(step, model.init(key), None, 300)[0]

  nets = train(jax.random.split(jax.random.key(1), 12))
  x, y = np.asarray(x), np.asarray(y)
  return wsjax.Zoo.of(model, nets), (x[:64], y[:64]), (x[64:], y[64:])


@pytest.fixture(scope='module')
def report(trained):
  zoo, train, test = trained
  return wsjax.survey(zoo, train=train, test=test, **FEW)


def test_a_curve_is_lower_than_the_line_and_a_disguised_copy_has_no_barrier(report):
  rows = report.tables['barriers'].rows
  heights = {name: row.value('barrier') for name, row in rows.items()}
  assert heights['line'] > 3 * heights['Bezier curve']
  assert heights['line'] >= heights['line, matched']
  assert heights['line to a disguised copy, matched'] < 1e-4


def test_each_measure_has_a_median_and_two_correlations(report):
  table = report.tables['measures']
  assert {'largest eigenvalue', 'trace of the Hessian', 'adaptive sharpness'} <= set(table.rows)
  for row in table.rows.values():
    assert row.stats.keys() == {'median', 'tau_gap', 'tau_loss'}
    assert row.n == 8
  # The trace is a sum of which the largest eigenvalue is a part.
  top, trace = (
    table.rows[name].value('median') for name in ('largest eigenvalue', 'trace of the Hessian')
  )
  assert 0 < top < 1.5 * trace


def test_a_survey_is_a_page(report, tmp_path):
  page = report.save(tmp_path).read_text()
  for title in ('Landscape', 'Curvature', 'Principal directions', 'Loss on paths'):
    assert title in page


def test_without_data_only_weights_are_looked_at(trained):
  found = wsjax.survey(trained[0], **FEW)
  assert 'dimension' in found.tables and 'barriers' not in found.tables
  assert 'zoo.dataset is not given' in found.notes[0]


def test_data_and_fields_are_checked(trained):
  zoo, train, test = trained
  with pytest.raises(ValueError, match='both of train and test'):
    wsjax.survey(zoo, train=train)
  with pytest.raises(ValueError, match='geometry.num_pairs'):
    wsjax.survey(zoo, num_pairs=0)
  with pytest.raises(ValueError, match='at least 4'):
    wsjax.survey(zoo.subset([0, 1]))
  with pytest.raises(ValueError, match='geometry.dims'):
    targets = [(x, y.astype(np.float32)[:, None] + np.zeros((1, 2))) for x, y in (train, test)]
    wsjax.survey(zoo, train=targets[0], test=targets[1], dims=(2,))


def test_the_command_surveys_imported_networks(trained, tmp_path, capsys):
  zoo = trained[0].save(tmp_path / 'zoo')
  words = ['geometry', str(zoo.path), '--workdir', str(tmp_path / 'run'), '--networks', '6']
  assert main.main([*words, '--pairs', '2']) == 0
  found = report_model.load(tmp_path / 'run')
  assert found.tables['dimension'].rows['as trained'].n == 6
  assert 'networks fill' in capsys.readouterr().out
  assert json.loads((tmp_path / 'run/report.json').read_text())['experiment'] == 'geometry'


def test_networks_of_images_have_no_common_loss(tmp_path):
  model = wsjax.siren((2, 6, 1))
  nets = jax.vmap(model.init)(jax.random.split(jax.random.key(0), 5))
  zoo = wsjax.Zoo.of(model, nets).save(tmp_path / 'zoo')
  words = ['geometry', str(zoo.path), '--workdir', str(tmp_path / 'run')]
  assert main.main([*words, '--data', 'digits']) == 2
  words[-1] += '2'
  assert main.main(words) == 0
