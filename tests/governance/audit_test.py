"""Audits: copies are caught, honest generators give nothing away, shadows see past difficulty."""

import dataclasses

import numpy as np
import pytest

import wsjax
from tests import marks
from wsjax import files
from wsjax.governance import audit, membership
from wsjax.zoo import train

MODEL = wsjax.mlp((6, 8, 3))


def networks(count, seed):
  rng = np.random.default_rng(seed)
  return {
    leaf.path: rng.normal(size=(count, *leaf.shape)).astype('float32') for leaf in MODEL.spec.leaves
  }


def fitted(factor, rank=39):
  """A kernel density of 40 networks, whose samples lie as near to them as the factor says."""
  sections = {'codec': {'name': 'pca', 'rank': rank, 'whiten': True}}
  zoo = wsjax.Zoo.of(MODEL, networks(40, 0))
  return wsjax.fit(zoo, 'kde', progress=False, factor=factor, per='joint', sections=sections)


def attacks(made, tmp_path, shadows=0, others=160):
  return membership.audit(
    made.experiment, made.params, networks(others, 1), tmp_path, shadows=shadows, level=0.1,
    num_samples=400,
  )  # fmt: skip


@pytest.mark.parametrize('shadows', marks.slow((0, 3), 0))
def test_a_generator_that_copies_is_caught_by_every_attack(tmp_path, shadows):
  found = attacks(fitted(0.05), tmp_path, shadows)
  assert len(found) == 1 + 3 * (3 if shadows else 1)
  control = found.pop('control: fresh runs')
  assert control.auroc['low'] < 0.5 < control.auroc['high'] and control.tpr['low'] < 0.1
  for name, attack in found.items():
    assert attack.auroc['value'] > 0.99 and attack.tpr['value'] > 0.9, (name, attack)


def test_a_codec_that_keeps_its_training_set_is_caught(tmp_path):
  made = fitted(3.0)
  found = attacks(made, tmp_path)
  assert found['reconstruction'].auroc['value'] > 0.99


def test_a_generator_that_never_saw_the_members_gives_nothing_away(tmp_path):
  made = fitted(0.05)
  others = membership.canonical(made.experiment, networks(40, 7))
  stranger = membership.with_networks(made.experiment, others, tmp_path)
  params, _ = stranger.fit(0)
  stranger.data = dataclasses.replace(stranger.data, train=made.experiment.data.train)
  found = membership.audit(stranger, params, networks(160, 1), tmp_path, level=0.1)
  for name, attack in found.items():
    assert attack.auroc['low'] < 0.5 < attack.auroc['high'], (name, attack)


def on_images(learned, asked, shadows, factor=0.05):
  """An audit of the images of some splits, by networks that learned those of others by heart."""
  rng = np.random.default_rng(3)
  x, y = rng.normal(size=(160, 6)).astype('float32'), rng.integers(3, size=160)

  def dataset(train, rest):
    return wsjax.Dataset.of(train=(x[train], y[train]), test=(x[rest], y[rest]))

  recipe = {'optimizer': 'adam', 'learning_rate': 0.03, 'batch_size': 40, 'steps': 250}
  data = dataset(learned, slice(40, 100))
  made = train.train_networks(MODEL, data, train.Recipe(**recipe), range(24), seed=0)
  fitted = wsjax.fit(
    wsjax.Zoo.of(MODEL, made.params), 'kde', task=data, progress=False, factor=factor, per='joint',
    sections={'zoo': {'recipe': recipe}},
  )  # fmt: skip
  experiment = fitted.experiment
  wanted = dataset(asked, slice(40, 100))
  experiment.data = dataclasses.replace(experiment.data, load=lambda: wanted)
  return membership.audit_data(
    experiment, fitted.params, shadows=shadows, level=0.1, num_samples=100
  )


def test_images_that_networks_learned_by_heart_are_told_from_their_samples():
  found = on_images(slice(40), slice(40), 6)
  assert set(found) == {'confidence', 'confidence, LiRA', 'confidence, RMIA'}
  for name, leak in found.items():
    for attack in (leak.direct, leak.samples):
      assert attack.auroc['low'] > 0.8 and attack.tpr['value'] > 0.5, (name, attack)
    assert 0.8 < leak.ratio['low'] < leak.ratio['value'] < 1.05, (name, leak)


def test_images_that_no_network_learned_are_not_told():
  for name, leak in on_images(slice(100, 140), slice(40), 6).items():
    for attack in (leak.direct, leak.samples):
      assert attack.auroc['low'] < 0.5 < attack.auroc['high'], (name, attack)
    assert 'give nothing away' in leak.ratio['not_run']


def test_samples_that_are_far_from_networks_tell_less():
  leak = on_images(slice(40), slice(40), 0, factor=3.0)['confidence']
  assert 0 < leak.ratio['high'] < 0.9 and leak.direct.auroc['low'] > 0.8


def test_canaries_of_a_generator_that_copies_are_found(tmp_path):
  made = fitted(0.05, rank=24)
  found = membership.audit_canaries(
    made.experiment, networks(64, 1), tmp_path, count=64, num_samples=400
  )
  assert set(found) == {'loss', 'nearest sample', 'reconstruction'}
  for name in ('loss', 'nearest sample'):
    assert found[name].right['low'] > 0.8 and found[name].epsilon > 1.5, found
    assert found[name].auroc['value'] > 0.95
  with pytest.raises(ValueError, match='allowed: 8 to the 64 held-out'):
    membership.audit_canaries(made.experiment, networks(64, 1), tmp_path, count=65)


@pytest.mark.parametrize(
  ('count', 'correct', 'delta', 'expected'),
  [(128, 64, 0.0, 3.03820), (128, 64, 1e-5, 3.03462), (128, 60, 1e-5, 1.83644),
   (128, 48, 1e-3, 0.53950), (32, 16, 0.0, 1.58032), (128, 36, 1e-5, 0.0)],
)  # fmt: skip
def test_epsilon_is_that_of_jax_privacy(count, correct, delta, expected):
  """Of CanaryScoreAuditor of jax-privacy 2.0.0, at a significance of 5 %."""
  found = membership.least_epsilon(correct, count // 2, count, delta)
  assert found == pytest.approx(expected, abs=1e-4)


def test_epsilon_is_a_lower_bound():
  """Canaries are told rightly with the chance that an epsilon of 1 lets."""
  right = np.random.default_rng(0).binomial(64, 1 / (1 + np.exp(-1)), size=400)
  above = np.mean([membership.least_epsilon(x, 64, 128, 0.0) > 1 for x in right])
  assert above <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)


def test_scores_without_meaning_tell_no_canaries():
  values, planted = np.random.default_rng(0).random((2, 400))
  found = membership.guess(values, planted < 0.5, delta=0.0)
  assert found.right['low'] < 0.5 < found.right['high'] and found.right['n'] == 200
  assert found.epsilon == 0


def simulated(effect, seed=0, count=300, shadows=12):
  """Scores that depend much on how hard a network is, and a little on whether it was seen."""
  rng = np.random.default_rng(seed)
  hard = 10 * rng.normal(size=count)
  seen = np.stack([np.roll(np.arange(count) % 2 == 0, i) for i in range(shadows)])
  noise = rng.normal(size=(shadows + 1, count))
  member = np.arange(count) < count // 2
  target = hard + effect * member + noise[0]
  others = 10 * rng.normal(size=500)
  population = others + rng.normal(size=500)
  references = others + rng.normal(size=(shadows, 500))
  return target, hard + effect * seen + noise[1:], seen, member, population, references


def test_shadows_see_past_how_hard_a_network_is():
  target, shadows, seen, member, population, references = simulated(4.0)

  def auroc(values):
    return membership.evaluate(values[member], values[~member], num_bootstrap=50).auroc

  assert auroc(target)['value'] < 0.7
  assert auroc(membership.lira(target, shadows, seen))['value'] > 0.97
  assert auroc(membership.rmia(target, shadows, population, references))['value'] > 0.97
  # One shadow of a kind has no spread of its own.
  few = np.arange(3)
  cut = np.stack([np.roll(np.arange(300) % 3 == 0, i) for i in few])
  scores = shadows[few] + 4.0 * (cut * 1.0 - seen[few])
  assert auroc(membership.lira(target, scores, cut))['value'] > 0.95
  # Shadows whose training sets are mixed up are no help to LiRA.
  assert auroc(membership.lira(target, shadows, ~seen))['value'] < 0.1
  target, shadows, seen, member, population, references = simulated(0.0)
  for values in (
    membership.lira(target, shadows, seen),
    membership.rmia(target, shadows, population, references),
  ):
    found = auroc(values)
    assert found['low'] < 0.5 < found['high']


def test_networks_need_shadows_of_both_kinds(tmp_path):
  seen = np.array([[True, False], [True, True]])
  with pytest.raises(ValueError, match='Every network needs'):
    membership.lira(np.zeros(2), np.zeros((2, 2)), seen)
  with pytest.raises(ValueError, match='twice the 40 training networks'):
    attacks(fitted(1.0), tmp_path, shadows=2, others=60)


def test_the_strongest_attack_is_the_one_with_the_largest_rate():
  def row(high, auroc):
    return {'tpr': {'value': 0.0, 'high': high}, 'auroc': {'value': auroc}}

  found = {'a': row(0.1, 0.9), 'b': row(0.2, 0.5), 'control: fresh runs': row(0.9, 0.9)}
  assert membership.strongest(found) == 'b'
  none = {'tpr': {'value': None}, 'auroc': {'value': 0.4}}
  assert membership.strongest({'a': none, 'b': none | {'auroc': {'value': 0.6}}}) == 'b'


def test_the_rate_of_false_positives_is_kept():
  rng = np.random.default_rng(0)
  rates = [
    membership.evaluate(rng.normal(size=50), rng.normal(size=400), num_bootstrap=10, seed=i).fpr[
      'value'
    ]
    for i in range(40)
  ]
  assert 0.002 < np.mean(rates) < 0.018


def test_too_few_held_out_networks_are_no_rate_of_one_percent():
  found = membership.evaluate(np.arange(9.0), np.arange(100.0), num_bootstrap=10)
  assert found.tpr['value'] is None and '198 are needed' in found.tpr['not_run']
  found = membership.evaluate(np.arange(9.0), np.arange(198.0), num_bootstrap=10)
  assert found.tpr['value'] is not None


def test_a_changed_audit_is_refused(tmp_path):
  assert audit.read(tmp_path) is None
  stat = {'value': 0.5, 'low': 0.0, 'high': 1.0}
  attack = {'auroc': stat, 'tpr': stat, 'fpr': stat, 'level': 0.01}
  value = {'generators': ['flow:1'], 'membership': {'loss': attack}, 'collapse': None}
  text = files.seal(value)
  (tmp_path / 'audit.json').write_text(text)
  assert audit.read(tmp_path) == value
  for changed in (text.replace('0.5', '0.1'), text.replace('"collapse"', '"x"'), '{}'):
    (tmp_path / 'audit.json').write_text(changed)
    with pytest.raises(ValueError, match=r'audit\.json'):
      audit.read(tmp_path)
