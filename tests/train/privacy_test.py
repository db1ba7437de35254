"""Differentially private training: known epsilons, bounded influence, noise of the right size."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import wsjax
from wsjax.experiments.generation import prepare
from wsjax.governance import card, membership
from wsjax.train import generative, loop, objective, privacy

PRIVATE = privacy.Private(
  epsilon=1.0, delta=1e-5, clip=0.5, noise=0.0, size=8, batch_size=4, room=8, microbatch=4
)
KEY = jax.random.key(0)


@pytest.mark.parametrize(
  ('rate', 'noise', 'steps', 'delta', 'expected', 'best'),
  [
    (0.125, 4.0, 3000, 1e-3, 7.064263, 6.330897),
    (0.125, 8.0, 3000, 1e-3, 2.956272, 2.610176),
    (0.125, 1.0, 1000, 1e-3, 32.015527, 26.582218),
    (1.0, 50.0, 1000, 1e-3, 2.040878, 1.794399),
    (0.01, 1.0, 1000, 1e-5, 2.107753, 1.828934),
  ],
)
def test_epsilon_is_that_of_dp_accounting(rate, noise, steps, delta, expected, best):
  """Version 0.6.0: RdpAccountant of whole orders, and PLDAccountant, which is tight."""
  found = privacy.accountant(noise, rate, steps, delta)
  assert found == pytest.approx(expected, rel=1e-6) and best < found < 1.25 * best


def test_noise_is_the_least_that_gives_the_guarantee():
  options = {'delta': 1e-5, 'clip': 1.0, 'size': 500, 'batch_size': 50, 'steps': 200}
  for epsilon in (0.5, 4.0):
    found = privacy.Private.make(epsilon=epsilon, **options)
    spent = privacy.accountant(found.noise, 0.1, 200, 1e-5)
    assert 0.99 * epsilon < spent <= epsilon
    assert found.room < 130 and 200 * scipy.stats.binom.sf(found.room, 500, 0.1) < 1e-8
  with pytest.raises(ValueError, match='allowed: below 1 / 500'):
    privacy.Private.make(epsilon=1.0, **options | {'delta': 0.01})
  with pytest.raises(ValueError, match='no noise gives it'):
    privacy.Private.make(epsilon=1e-9, **options)


def test_every_example_is_in_a_batch_by_its_own_chance():
  private = dataclasses.replace(PRIVATE, size=20, batch_size=5, room=24)
  rows, marked = jax.vmap(private.batch)(jax.random.split(KEY, 2000))
  rows, marked = np.asarray(rows), np.asarray(marked)
  inside = np.zeros((2000, 20), int)
  np.add.at(inside, (np.nonzero(marked)[0], rows[marked]), 1)
  assert inside.max() == 1  # Nothing twice.
  assert np.abs(inside.mean(0) - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 2000)
  # Independent: as many of them vary as a binomial number.
  assert inside.sum(1).var() == pytest.approx(20 * 0.25 * 0.75, rel=0.15)


def loss(params, batch, key):
  del key
  return jnp.mean(batch @ params), {}


def test_gradients_are_clipped_one_by_one():
  batch = jax.random.normal(KEY, (8, 3))
  marked = jnp.arange(8) != 2
  run = PRIVATE.gradient(loss, None)
  (value, _), found = run(jnp.ones(3), (batch, marked), KEY)
  norms = np.linalg.norm(batch, axis=1, keepdims=True)
  clipped = np.where(marked[:, None], batch * np.minimum(1, 0.5 / norms), 0)
  np.testing.assert_allclose(found, clipped.sum(0) / 4, rtol=1e-5)
  assert float(value) == pytest.approx(float(batch[marked].sum(1).mean()), rel=1e-5)
  # However large one example is, it moves the sum by the limit; one that is not finite by nothing.
  for value, most in ((1e6, 0.5), (np.nan, 0.0)):
    _, moved = run(jnp.ones(3), (batch.at[2].set(value), jnp.ones(8, bool)), KEY)
    assert np.linalg.norm(4 * (moved - found)) == pytest.approx(most, abs=1e-5)


def test_noise_has_the_size_that_was_counted_and_spares_what_is_public():
  private = dataclasses.replace(PRIVATE, noise=3.0)
  params, batch = jnp.zeros(20_000), (jnp.zeros((8, 20_000)), jnp.ones(8, bool))

  def public(params, batch, key):
    del batch, key
    return 7 * jnp.sum(params), {'task': jnp.float32(1)}

  (_, metrics), found = private.gradient(loss, public)(params, batch, KEY)
  assert float(found.mean()) == pytest.approx(7, abs=0.02) and metrics['task'] == 1
  assert float(found.std()) == pytest.approx(0.5 * 3.0 / 4, rel=0.03)


class Mean(objective.Objective):
  """Learns the mean of its examples."""

  def init(self, key, example):
    return jnp.zeros_like(example)

  def loss(self, params, batch, key, *, train=True):
    return jnp.mean((params[None] - batch) ** 2), {}


SECTION = {
  'steps': 20, 'batch_size': 8, 'learning_rate': 0.1, 'inner_steps': 5, 'ema_decay': 0.0,
  'checkpoint_every_steps': 10, 'mesh': (('data', 1),), 'privacy': 2.0, 'privacy_delta': 1e-3,
}  # fmt: skip


def test_noise_is_of_a_secret_that_restarts_share(tmp_path):
  data = np.ones((16, 3), np.float32)

  def fit(name, **changes):
    return loop.fit(
      Mean(), data, SECTION | changes, seed=0, workdir=tmp_path / name, progress=False
    )[0]

  whole = fit('a')
  secret = tmp_path / 'a' / privacy.SECRET
  assert secret.stat().st_mode & 0o777 == 0o600
  assert not np.array_equal(whole, fit('b'))  # Of the same seed.
  (tmp_path / 'c').mkdir()
  (tmp_path / 'c' / privacy.SECRET).write_text(secret.read_text())
  np.testing.assert_array_equal(whole, fit('c'))
  np.testing.assert_array_equal(whole, loop.fit(
    Mean(), data, SECTION, seed=0, workdir=tmp_path / 'a', progress=False, trains=False
  )[0])  # fmt: skip


@pytest.mark.parametrize(
  ('field', 'value'),
  [('parallel', 'pmap'), ('data', 'host'), ('skip_nonfinite', 2), ('compute_dtype', 'bfloat16')],
)
def test_what_does_not_go_with_privacy_is_refused(field, value):
  with pytest.raises(ValueError, match=f'train.{field} is .*; allowed with train.privacy'):
    loop.read_settings(SECTION | {field: value})


def zoo(first=0):
  rng = np.random.default_rng(0)
  model = wsjax.mlp((6, 8, 3))
  networks = {
    leaf.path: rng.normal(size=(60, *leaf.shape)).astype('float32') for leaf in model.spec.leaves
  }
  for value in networks.values():
    value[0] += first
  made = wsjax.Zoo.of(model, networks, {'split': ['train'] * 40 + ['val'] * 20})
  return made, {path: value[:32] for path, value in networks.items()}


def fit(made, **sections):
  return wsjax.fit(
    made, 'flow_matching', steps=5, progress=False,
    sections={'train': {'privacy': 0.5, 'privacy_delta': 1e-3}} | sections,
    backbone={'name': 'mlp', 'width': 16, 'depth': 1, 'dropout': 0.0},
  )  # fmt: skip


@pytest.fixture(scope='module')
def fitted():
  return fit(zoo()[0])


def test_one_network_changes_nothing_but_its_gradients(fitted):
  """Normalizer, codec and reference are those of the public networks."""
  plain = fitted.experiment.data
  moved = prepare.prepare(fitted.experiment.config, zoo(100)[0])
  for a, b in zip(
    jax.tree.leaves((plain.reference, plain.decoder.normalizer, plain.decoder.state)),
    jax.tree.leaves((moved.reference, moved.decoder.normalizer, moved.decoder.state)),
    strict=True,
  ):
    np.testing.assert_array_equal(a, b)
  np.testing.assert_array_equal(plain.latents[1:], moved.latents[1:])
  assert not np.array_equal(plain.latents[0], moved.latents[0])


def test_samples_and_records_say_what_they_hide(fitted, tmp_path):
  records = fitted.save(3, tmp_path / 'samples').records
  (parent,) = records[0]['parents']
  assert parent['detail']['privacy'] == {'epsilon': 0.5, 'delta': 1e-3}
  (said,) = card.privacy(records)
  assert said.startswith('epsilon 0.5 at delta 0.001 for each training network')
  assert card.privacy(zoo()[0].records) == []
  assert fitted.sample(3).finite().all()


@pytest.mark.slow
def test_canaries_refute_no_guarantee(fitted, tmp_path):
  found = membership.audit_canaries(
    fitted.experiment, zoo()[1], tmp_path, count=32, delta=1e-3, num_samples=100
  )
  assert all(canaries.epsilon <= 0.5 for canaries in found.values()), found


@pytest.mark.parametrize(
  ('sections', 'name'),
  [
    ({'strategy': {'min_diversity': 0.1}}, 'strategy.min_diversity'),
    ({'strategy': {'distribution': 0.0, 'functional': 1.0}}, 'strategy.distribution 0'),
  ],
)
def test_what_tells_of_networks_in_another_way_is_refused(sections, name):
  with pytest.raises(ValueError, match=f'{name} is not allowed'):
    fit(zoo()[0], **sections)


def test_a_loss_is_cut_into_that_of_networks_and_that_of_the_task():
  task = generative.Task(
    None, lambda latents: latents, np.zeros((4, 2)), np.zeros(4), task_loss=None
  )

  class Plain:
    def loss(self, params, latents, key, condition, *, train):
      return jnp.mean((params[None] - latents) ** 2), {}

    def sample(self, params, key, num, *, shape, condition):
      return jnp.broadcast_to(params[None], (num, *shape))

  class OfParams(generative.Task):
    def loss(self, latents, key, num, *, train):
      return jnp.mean(latents**3)

  made = generative.GeneratorObjective(
    Plain(), generative.Strategy(distribution=2.0, functional=0.5),
    OfParams(**{f.name: getattr(task, f.name) for f in dataclasses.fields(task)}), None, 1.0,
  )  # fmt: skip
  batch = {'latents': jax.random.normal(KEY, (5, 2, 3))}
  params = jnp.full((2, 3), 0.7)
  parts = [part(params, batch, KEY)[0] for part in made.split()]
  assert float(sum(parts)) == pytest.approx(float(made.loss(params, batch, KEY)[0]), rel=1e-6)
  # That of the task sees no network.
  other = made.split()[1](params, {'latents': jnp.zeros((5, 2, 3))}, KEY)[0]
  assert other == parts[1]
