"""Relatives are told from weights alone, also after reordering and rescaling."""

import jax
import numpy as np
import pytest

import wsjax
from wsjax import networks
from wsjax.evaluation import statistics
from wsjax.governance import kinship
from wsjax.symmetry import canonicalize

MODEL = wsjax.mlp((8, 12, 4))


def independent(count, seed=0):
  rng = np.random.default_rng(seed)
  return {
    leaf.path: rng.normal(size=(count, *leaf.shape)).astype('float32') for leaf in MODEL.spec.leaves
  }


def finetune(params, steps, seed):
  """Stands for training: noise that grows with the number of steps."""
  rng = np.random.default_rng(seed + steps)
  size = 0.02 * np.sqrt(steps)
  return {
    path: (x + size * rng.normal(size=x.shape)).astype('float32') for path, x in params.items()
  }


@pytest.fixture(scope='module')
def kin():
  return kinship.fit(independent(60), MODEL.spec, finetune, steps=(10, 100))


@pytest.fixture(scope='module')
def unseen():
  params = independent(60, seed=1)
  return kinship.make_pairs(
    params, MODEL.spec, finetune, steps=(10, 100), num_independent=200, seed=3
  )


def test_relatives_of_networks_never_seen_are_told(kin, unseen):
  found = kin.probabilities(unseen.a, unseen.b)
  np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
  said = np.array(kin.relation(found))
  truth = np.array(kinship.RELATIONS)[unseen.relation]
  assert np.mean(said == truth) >= 0.97
  assert np.mean(said[truth == 'independent'] != 'independent') <= 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
  ('widths', 'activation'), [((64, 16, 10), 'relu'), ((64, 24, 16, 10), 'tanh')]
)
def test_relatives_of_trained_networks_never_seen_are_told(
  widths, activation, tmp_path, record_property
):
  zoo = wsjax.build_zoo(
    dict(
      architecture=dict(name='mlp', widths=widths, activation=activation),
      dataset=dict(name='digits'),
      recipe=dict(learning_rate=3e-3, batch_size=64, steps=400),
      splits=dict(train=600, val=0, test=0, holdout_audit=0),
      chunk_size=200,
    ),
    tmp_path / 'zoo',
    seed=0,
    progress=False,
  )
  finetune, params = kinship.finetuning(zoo), zoo.networks('train').params
  seen, unseen = (networks.take(params, rows) for rows in (slice(300), slice(300, None)))
  kin = kinship.fit(seen, zoo.spec, finetune)
  pairs = kinship.make_pairs(unseen, zoo.spec, finetune, num_independent=2000, seed=7)
  truth = np.array(kinship.RELATIONS)[pairs.relation]
  said = np.array(kin.relation(kin.probabilities(pairs.a, pairs.b)))
  right, independent = said == truth, truth == 'independent'
  for name, chosen in (('right', right), ('independent pairs right', right[independent])):
    record_property(name, f'{chosen.sum()} of {len(chosen)}: {statistics.rate(chosen)}')
  assert right.mean() >= 0.99 and np.mean(~right[independent]) <= 0.01


def test_order_of_a_pair_and_moves_of_the_symmetry_change_nothing(kin, unseen):
  rows = np.linspace(0, len(unseen.relation) - 1, 40).astype(int)
  a, b = ({path: x[rows] for path, x in y.items()} for y in (unseen.a, unseen.b))
  expected = kin.probabilities(a, b)
  keys = jax.random.split(jax.random.key(5), len(rows))
  moved = canonicalize.apply_all(jax.vmap(MODEL.spec.random)(keys), a, MODEL.spec)
  for one, two in ((b, a), (moved, b)):
    np.testing.assert_allclose(kin.probabilities(one, two), expected, atol=0.05)


def test_relatives_are_what_they_are_called(unseen):
  distance = MODEL.spec.distance(
    unseen.a, unseen.b, reference={p: x[0] for p, x in unseen.a.items()},
    pairs=np.stack([np.arange(len(unseen.relation))] * 2, axis=1),
  )  # fmt: skip
  by = [np.median(distance[unseen.relation == kind]) for kind in range(4)]
  assert by[0] < 0.1 * by[1] < by[1] < by[2] < by[3]


def test_too_few_networks_are_an_error():
  with pytest.raises(ValueError, match='40 independent ones'):
    kinship.fit(independent(10), MODEL.spec, finetune)


def test_the_family_of_a_zoo_that_was_not_trained_here_is_not_known(tmp_path):
  zoo = wsjax.Zoo.of(MODEL, independent(40)).save(tmp_path / 'zoo')
  with pytest.raises(ValueError, match=r'has no build\.json'):
    kinship.of_zoo(zoo)
