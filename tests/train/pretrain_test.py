"""What an encoder learns without labels is where its reader starts."""

import jax
import numpy as np
import pytest

from wsjax import config
from wsjax.heads import prediction
from wsjax.models import mlp
from wsjax.train import loop, pretrain, supervised

ARCHITECTURE = mlp.MLP((4, 3, 2))
SECTION = dict(objective='none', steps=0, noise=0.05, temperature=0.1, ratio=0.5)
TRAIN = dict(
  steps=4, batch_size=4, learning_rate=1e-2, warmup_steps=1, schedule='cosine',
  final_learning_rate=0.0, weight_decay=0.0, clip_norm=0.0, ema_decay=0.0,
  inner_steps=2, checkpoint_every_steps=2, mesh=(('data', -1),),
)  # fmt: skip


@pytest.fixture(scope='module')
def data():
  keys = jax.random.split(jax.random.key(0), 6)
  params = jax.tree.map(np.asarray, jax.vmap(ARCHITECTURE.init)(keys))
  return {'example': params, 'target': np.arange(6, dtype=np.int32) % 2}


def make_predictor(data, **embed):
  section = dict(name='token_transformer', width=12, depth=1, num_heads=2)
  return prediction.Predictor(
    config.build('encoders', {**section, **embed, 'architecture': ARCHITECTURE}),
    config.build('heads', dict(name='classifier', num_outputs=2)),
    prediction.parameter_scales(data['example']),
  )


def make(data, objective, predictor=None):
  predictor = predictor or make_predictor(data)
  return pretrain.make(
    {**SECTION, 'objective': objective}, predictor.encoder, ARCHITECTURE.spec, predictor.scales
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  'objective', [pytest.param('contrastive', marks=pytest.mark.slow), 'masked']
)
def test_the_reader_starts_where_pretraining_ended(objective, data, tmp_path):
  predictor = make_predictor(data)
  objective = make(data, objective, predictor)
  trained, history = loop.fit(
    objective, {'example': data['example']}, TRAIN, seed=0, workdir=tmp_path,
    progress=False,
  )  # fmt: skip
  assert np.isfinite(history['loss']).all()
  example = jax.tree.map(lambda x: x[0], data)
  fresh = supervised.Supervised(predictor).init(jax.random.key(1), example)
  start = supervised.Supervised(predictor, None, trained).init(jax.random.key(1), example)
  assert jax.tree.structure(fresh) == jax.tree.structure(start)
  stack = trained['params'].get('encoder', trained['params'])['stack']
  jax.tree.map(np.testing.assert_array_equal, start['params']['encoder']['stack'], stack)
  head = (tree['params']['head'] for tree in (fresh, start))
  jax.tree.map(np.testing.assert_array_equal, *head)
  different = jax.tree.map(
    lambda a, b: not np.array_equal(a, b), fresh['params']['encoder'],
    start['params']['encoder'],
  )  # fmt: skip
  assert any(jax.tree.leaves(different))


@pytest.mark.slow
def test_weights_are_in_the_units_of_the_reader(data):
  """Ten times larger weights with ten times larger scales are the same."""
  large = {'example': {k: 10 * v for k, v in data['example'].items()}}
  losses = []
  for each in (data, large):
    objective = make(each, 'masked', make_predictor(each))
    batch = {'example': each['example']}
    first = jax.tree.map(lambda x: x[0], batch)
    variables = jax.jit(objective.init)(jax.random.key(0), first)
    losses.append(objective.loss(variables, batch, jax.random.key(1))[0])
  np.testing.assert_allclose(*losses, rtol=1e-4)


def test_no_objective_is_no_pretraining(data):
  assert make(data, 'none') is None


def test_what_does_not_suit_is_refused(data):
  with pytest.raises(ValueError, match='pretrain.objective'):
    make(data, 'jigsaw')
  statistics = prediction.Predictor(
    config.build('encoders', dict(name='statistics', architecture=ARCHITECTURE)),
    config.build('heads', dict(name='classifier', num_outputs=2)),
  )
  with pytest.raises(ValueError, match='pretrain.objective'):
    make(data, 'masked', statistics)
