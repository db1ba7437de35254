"""The objective: its value by hand, one switch each, and it is learned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.generators.parts import prompted
from wsjax.models import mlp
from wsjax.symmetry import group as group_lib
from wsjax.train import loop, prompting

ARCHITECTURE = mlp.MLP((6, 4, 3))
SCALES = tuple((leaf.path, 0.5) for leaf in ARCHITECTURE.spec.leaves)
RNG = np.random.default_rng(0)
CENTRES = RNG.normal(size=(3, 6))
LABELS = RNG.integers(0, 3, 64)
INPUTS = (CENTRES[LABELS] + 0.3 * RNG.normal(size=(64, 6))).astype(np.float32)


def runs(num, count=3, seed=0):
  """Runs of random networks, whose losses are true of none."""
  keys = jax.random.split(jax.random.key(seed), num * count)
  params = jax.vmap(ARCHITECTURE.init)(keys)
  return {
    'params': {path: np.asarray(x).reshape(num, count, *x.shape[1:]) for path, x in params.items()},
    'loss': np.tile(np.float32([2.0, 1.0, 0.5]), (num, 1)),
  }


def make(**options):
  module = prompted.Prompted(ARCHITECTURE.spec, SCALES, width=16, depth=1, num_heads=2)
  options = {'fresh': 0, 'items': 64, **options}
  return prompting.Prompting(module, ARCHITECTURE, INPUTS, LABELS, **options)


@pytest.fixture(scope='module')
def variables():
  example = jax.tree.map(lambda x: x[0], runs(1))
  return jax.jit(make().init)(jax.random.key(1), example)


def value(objective, *args, **kwargs):
  """The loss of an objective, compiled: op by op it takes ten times longer."""
  return jax.jit(objective.loss, static_argnames='train')(*args, **kwargs)


def slow_loss(params, rows):
  """Cross-entropy of one network, image by image."""
  total = 0.0
  for row in rows:
    hidden = np.maximum(INPUTS[row] @ params['layer0/kernel'] + params['layer0/bias'], 0)
    logits = hidden @ params['layer1/kernel'] + params['layer1/bias']
    total += np.log(np.exp(logits).sum()) - logits[LABELS[row]]
  return total / len(rows)


def test_pairs_are_two_checkpoints_of_one_run():
  batch = runs(60)
  start, loss, target, wanted = jax.device_get(prompting._pairs(jax.random.key(0), batch))
  assert np.all(loss != wanted)
  assert {(float(a), float(b)) for a, b in zip(loss, wanted, strict=True)} == {
    (a, b) for a in (2.0, 1.0, 0.5) for b in (2.0, 1.0, 0.5) if a != b
  }
  place = {2.0: 0, 1.0: 1, 0.5: 2}
  for made, losses in ((start, loss), (target, wanted)):
    for i in range(60):
      for path, x in batch['params'].items():
        np.testing.assert_array_equal(made[path][i], x[i, place[losses[i]]])


def test_the_loss_is_its_parts_by_hand(variables):
  """An untrained update keeps the start, whose parts are known."""
  objective, batch, key = (
    make(items=8, reconstruction=2.0, functional=3.0),
    runs(5),
    jax.random.key(3),
  )
  total, metrics = value(objective, variables, batch, key)
  start, _, target, wanted = prompting._pairs(jax.random.fold_in(key, prompting._PAIRS), batch)
  rows = np.asarray(
    jax.random.randint(jax.random.fold_in(key, prompting._ITEMS), (8,), 0, len(LABELS))
  )
  squares = np.concatenate([((start[path] - target[path]) / 0.5).ravel() ** 2 for path in start])
  ratios = [
    np.log(slow_loss({k: np.asarray(x[i]) for k, x in start.items()}, rows)) - np.log(wanted[i])
    for i in range(5)
  ]
  assert float(metrics['reconstruction']) == pytest.approx(squares.mean(), rel=1e-4)
  assert float(metrics['functional']) == pytest.approx(np.mean(np.square(ratios)), rel=1e-4)
  assert float(total) == pytest.approx(
    2 * float(metrics['reconstruction']) + 3 * float(metrics['functional']), rel=1e-5
  )


@pytest.mark.parametrize('kept', ['reconstruction', 'functional'])
def test_either_part_can_be_switched_off(variables, kept):
  off = {'reconstruction': 0.0, 'functional': 0.0, kept: 1.0}
  total, metrics = value(make(**off), variables, runs(4), jax.random.key(0))
  assert set(metrics) == {kept} and float(total) == float(metrics[kept])
  with pytest.raises(ValueError, match='nothing is left to learn'):
    make(reconstruction=0.0, functional=0.0)


@pytest.mark.slow
def test_fresh_starts_are_for_the_functional_loss_in_training(variables):
  batch, key = runs(4), jax.random.key(0)
  without = value(make(), variables, batch, key)[1]
  objective = make(fresh=4)
  with_fresh = value(objective, variables, batch, key)[1]
  assert float(with_fresh['reconstruction']) == pytest.approx(
    float(without['reconstruction']), rel=1e-5
  )
  assert float(with_fresh['functional']) != pytest.approx(float(without['functional']), rel=1e-3)
  val = value(objective, variables, batch, key, train=False)[1]
  assert float(val['functional']) == pytest.approx(float(without['functional']), rel=1e-5)


@pytest.mark.slow
def test_dispersion_is_the_shortfall_of_able_pairs_by_hand():
  """Two pairs: the first knows something, of the second one knows nothing."""
  objective = make(fresh=4, dispersion=1.0, apart=20.0)
  nets = [{path: np.array(x[i, 0]) for path, x in runs(4)['params'].items()} for i in range(4)]
  # The order of roles -> ranks of units that stand in another one.
  orders = [np.array(o) for o in ([0, 1, 2, 3], [3, 1, 0, 2], [1, 0, 3, 2])]
  orders.append(orders[0])
  found = np.array([0.5, 0.6, 0.4, np.log(3)], np.float32)
  wanted = np.array([0.5, 0.5, 0.5, 0.5], np.float32)
  moved = [
    group_lib.permute({'hidden0': ranks}, net, ARCHITECTURE.spec)
    for ranks, net in zip(orders, nets, strict=True)
  ]
  stacked = {path: jnp.stack([net[path] for net in moved]) for path in nets[0]}
  got = objective._near(stacked, jnp.array(orders), found, wanted)
  distance = np.sqrt(sum(((nets[0][path] - nets[2][path]) ** 2).sum() for path in nets[0]))
  able = (1 - 0.5 / np.log(3)) * (np.exp(-(np.log(0.8) ** 2)) * (1 - 0.4 / np.log(3)))
  assert float(got) == pytest.approx(able * (1 - distance / 20.0) ** 2 / 2, rel=1e-4)
  assert distance < 20.0
  far = make(fresh=4, dispersion=1.0, apart=float(distance) / 2)
  assert float(far._near(stacked, jnp.array(orders), found, wanted)) == 0


@pytest.mark.slow
def test_dispersion_is_learned_in_training_alone(variables):
  batch, key = runs(4), jax.random.key(0)
  objective = make(fresh=4, dispersion=2.0, apart=50.0)
  total, metrics = value(objective, variables, batch, key)
  assert float(total) == pytest.approx(
    float(metrics['reconstruction'] + metrics['functional']) + 2 * float(metrics['dispersion']),
    rel=1e-5,
  )
  assert set(value(objective, variables, batch, key, train=False)[1]) == {
    'reconstruction',
    'functional',
  }


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'fresh': -1}, 'prompt.fresh is -1'),
    ({'fresh': 3}, 'prompt.fresh is 3; allowed: even'),
    ({'dispersion': 1.0}, 'must be above 0; they are 0 and 1.0'),
    ({'apart': 0.0}, 'prompt.apart is 0.0'),
    ({'items': 0}, 'prompt.items is 0'),
    ({'lowest': 3.0}, 'lowest is 3.0; allowed: at most prompt.highest, 2.3'),
  ],
)
def test_options_that_make_no_sense_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    make(**options)


@pytest.mark.slow
def test_a_prompt_is_learned_and_holds_for_new_starts(tmp_path):
  objective = make(reconstruction=0.0, fresh=32, lowest=0.1, highest=1.0)
  section = {
    'steps': 600, 'batch_size': 4, 'learning_rate': 5e-3, 'inner_steps': 300,
    'checkpoint_every_steps': 600, 'ema_decay': 0.9, 'mesh': (('data', -1),),
  }  # fmt: skip
  variables, _ = loop.fit(objective, runs(8), section, seed=0, workdir=tmp_path, progress=False)
  start = jax.vmap(ARCHITECTURE.init)(jax.random.split(jax.random.key(9), 64))
  images = jnp.asarray(INPUTS), jnp.asarray(LABELS)
  loss = objective._losses(start, images)
  wanted = jnp.geomspace(0.15, 0.9, 64)
  made, _ = jax.jit(objective._make)(variables, start, loss, wanted)
  came = np.asarray(objective._losses(made, images))
  assert np.corrcoef(np.log(came), np.log(wanted))[0, 1] > 0.9
