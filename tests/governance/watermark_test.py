"""Watermarks in noise: found after changes, by their key alone, and at the rate that p says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import wsjax
from wsjax import pipeline
from wsjax.cli import main
from wsjax.evaluation import baselines
from wsjax.evaluation.report import model as report_lib
from wsjax.experiments import configs, generation
from wsjax.generators.parts import inversion, keyed_noise
from wsjax.governance import attacks, watermark

KEY, OTHER = keyed_noise.Key(b'a' * 32), keyed_noise.Key(b'b' * 32)
TRIED = (
  'none',
  'units reordered and rescaled up to e-fold',
  'noise of 0.3 sd',
  'int4',
  '60% pruned',
)
NONCES = [f'g/0/24/{i}' for i in range(24)]


def test_keyed_noise_is_normal_repeats_and_depends_on_key_and_nonce():
  noise = keyed_noise.normal(KEY, NONCES, 500)
  assert scipy.stats.kstest(noise.ravel(), 'norm').pvalue > 0.01
  assert np.array_equal(noise, keyed_noise.normal(KEY, NONCES, 500))
  for other in (keyed_noise.normal(OTHER, NONCES, 500), np.roll(noise, 1, axis=0)):
    assert np.abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 0.03
  assert KEY.id != OTHER.id and b'a' * 8 not in KEY.id.encode() and 'aaa' not in repr(KEY)


def test_a_file_that_is_no_key_is_refused(tmp_path):
  path = tmp_path / 'key'
  for content in (b'short', b'x' * (1 << 15), b'-----BEGIN PUBLIC KEY-----' + b'x' * 64):
    path.write_bytes(content)
    with pytest.raises(ValueError, match='key'):
      keyed_noise.read(path)
  with pytest.raises(FileNotFoundError):
    keyed_noise.read(tmp_path / 'nowhere')


@pytest.mark.parametrize('parts', [(32,), (6, 200)])
def test_p_values_are_uniform_over_keys_even_where_networks_have_a_common_direction(parts):
  rng, size = np.random.default_rng(0), sum(parts)
  suspects = 3 + 0.1 * rng.normal(size=(1, size))  # All networks of a family look like this one.
  p = watermark.p_values(suspects, rng.normal(size=(4000, size)), parts)[0]
  assert scipy.stats.kstest(p, 'uniform').pvalue > 0.01
  marked = rng.normal(size=(5, size))
  close = marked + 0.3 * rng.normal(size=marked.shape)
  p = watermark.p_values(close, marked, parts)
  assert (np.diag(p) < 1e-10).all() and (p[~np.eye(5, dtype=bool)] > 1e-5).all()


def test_inversion_finds_noise_behind_outliers():
  rng = np.random.default_rng(0)
  first, second = rng.normal(size=(40, 6)), rng.normal(size=(200, 40)) / 6
  noise = rng.normal(size=6).astype('float32')

  def fn(z):
    return jnp.tanh(z @ first.T.astype('float32')) @ second.T.astype('float32')

  target = np.array(fn(noise)) + 0.02 * rng.normal(size=200)
  target[:20] = 0  # Pruned.
  start = noise + 0.3 * rng.normal(size=6).astype('float32')
  std = jnp.full(200, 0.05)
  found, value = inversion.invert(fn, jnp.asarray(target, jnp.float32), jnp.asarray(start), std)
  assert np.abs(found - noise).max() < 0.1
  stuck, more = inversion.invert(fn, jnp.asarray(target, jnp.float32), jnp.asarray(start), std,
                                 steps=0)  # fmt: skip
  assert np.array_equal(stuck, start) and more > value


@pytest.fixture(scope='module')
def model():
  return wsjax.mlp((8, 12, 6))


@pytest.fixture(
  scope='module',
  params=[pytest.param(False, marks=pytest.mark.slow, id='shared'), pytest.param(True, id='own')],
)
def marked(request, model, tmp_path_factory):
  """A generator whose samples are marked: (fitted, its detector, marked networks, path of key)."""
  rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp('marks')
  params = {p.path: rng.normal(size=(24, *p.shape)).astype('f') for p in model.spec.leaves}
  (folder / 'key').write_bytes(KEY.secret)
  fitted = wsjax.fit(
    wsjax.Zoo.of(model, params), steps=20, progress=False, latent_noise=request.param,
    sections={'sample': {'watermark': str(folder / 'key')}},
  )  # fmt: skip
  data = fitted.experiment.data
  detector = watermark.fit(
    fitted.experiment.generator, fitted.params, data.decoder, data.latents.shape[1:], num=1500
  )
  zoo = fitted.save(24, folder / 'samples')
  return fitted, detector, zoo, folder / 'key'


def test_marks_are_found_after_changes_by_their_key_alone(marked, model):
  fitted, detector, zoo, _ = marked
  name = zoo.records[0]['generated']['generator_record_id']
  nonces = watermark.issued([zoo], name, KEY)
  assert len(set(nonces)) == 24 and not watermark.issued([zoo], name, OTHER)
  assert not watermark.issued([zoo], 'another', KEY)
  networks = zoo.params(np.arange(24))
  for attack in attacks.suite(model.spec):
    if attack.required and attack.name in TRIED:
      found = watermark.detect(detector, attack.change(networks), KEY, nonces)
      assert np.mean(found.p < watermark.LEVEL) >= 0.9, attack.name
      assert np.mean(found.nonce == np.arange(24)) >= 0.9, attack.name
  recovered = detector.recover(networks)
  assert watermark.compare(recovered, OTHER, nonces, detector.parts).p.min() > 1e-4
  fresh = ['h/0/24/0', 'h/0/24/1']
  assert watermark.compare(recovered, KEY, fresh, detector.parts).p.min() > 1e-4
  with pytest.raises(ValueError, match='no nonce'):
    watermark.compare(recovered, KEY, [], detector.parts)


def test_networks_without_a_mark_are_not_called_marked(marked):
  _, detector, _, _ = marked
  noise = np.random.default_rng(5).normal(size=(24, sum(detector.parts))).astype('f')
  unmarked = watermark._draw(detector, noise)  # Of the generator itself, which is hardest.
  assert watermark.detect(detector, unmarked, KEY, NONCES).p.min() > 1e-4


def test_what_loses_a_mark_is_shown_to_lose_it(marked, model):
  _, detector, zoo, _ = marked
  networks = zoo.params(np.arange(24))
  nonces = [record['generated']['noise_key_id'] for record in zoo.records]
  for change in (lambda x: attacks.regenerate(x, model.spec), lambda x: attacks.prune(x, 0.98)):
    p = watermark.detect(detector, change(networks), KEY, nonces).p
    assert np.mean(p < watermark.LEVEL) < 0.2
  with pytest.raises(ValueError, match='12'):
    detector.recover(attacks.add_unit(networks, model.spec))


def test_a_measurement_counts_marks_and_false_positives(marked, model):
  _, detector, zoo, _ = marked
  nonces = [record['generated']['noise_key_id'] for record in zoo.records]
  networks, suite = zoo.params(np.arange(24)), attacks.suite(model.spec)[:2]
  found = watermark.measure(detector, networks, KEY, nonces, networks, suite)
  assert [row['found']['value'] >= 0.9 for row in found['attacks'].values()] == [True, True]
  # Marked networks in place of unmarked ones: the planted fault has to show.
  assert found['false_positives']['1e-06']['value'] >= 0.9
  found = watermark.measure(detector, networks, KEY, nonces[1:] + nonces[:1], networks, suite[:1])
  assert found['attacks']['none']['sign_errors'] > 0.3  # The wrong nonce of each.


def test_the_marks_of_a_run_are_measured_and_a_wrong_key_is_an_error(marked, tmp_path, monkeypatch):
  fitted, detector, zoo, key = marked
  suite = attacks.suite(detector.decoder.spec)[:2]
  monkeypatch.setattr(attacks, 'suite', lambda *_: suite)
  monkeypatch.setattr(watermark, 'of_experiment', lambda *_: detector)
  found = watermark.of_run(fitted.experiment, {0: fitted.params}, {0: zoo}, key)
  assert found['emitted']['value'] >= 0.9 and found['key'] == KEY.id
  assert found['samples'] == [zoo.digest] and found['accuracy_cost'] is None
  (tmp_path / 'other').write_bytes(OTHER.secret)
  with pytest.raises(ValueError, match='24 of 24 samples of seed 0 are not marked'):
    watermark.of_run(fitted.experiment, {0: fitted.params}, {0: zoo}, tmp_path / 'other')


def test_given_noise_takes_the_place_of_the_key(marked):
  fitted, detector, _, _ = marked
  generator, key = fitted.experiment.generator, jax.random.key(3)
  shape = detector.shape
  drawn = generator.sample(fitted.params, key, 5, shape=shape)
  noise = [jax.random.normal(key, (5, detector.parts[0]))]
  if len(detector.parts) == 2:
    own = jax.random.normal(jax.random.fold_in(key, 1), (5, *shape))
    noise.append(own.reshape(5, -1))
  again = generator.sample(
    fitted.params, jax.random.key(9), 5, shape=shape, noise=jnp.concatenate(noise, axis=1)
  )
  np.testing.assert_allclose(drawn, again, rtol=1e-5, atol=1e-5)


def test_generators_whose_noise_is_lost_cannot_be_marked(model, tmp_path):
  (tmp_path / 'key').write_bytes(KEY.secret)
  rng = np.random.default_rng(0)
  params = {p.path: rng.normal(size=(8, *p.shape)).astype('f') for p in model.spec.leaves}
  with pytest.raises(ValueError, match=r'sample\.watermark is for generators'):
    wsjax.fit(wsjax.Zoo.of(model, params), 'kde', progress=False,
              sections={'sample': {'watermark': str(tmp_path / 'key')}})  # fmt: skip
  with pytest.raises(ValueError, match='cannot be marked'):
    watermark.fit(object(), None, None, (1, 4))


def test_attacks_do_what_they_say(model):
  rng = np.random.default_rng(0)
  params = {p.path: rng.normal(size=(3, *p.shape)).astype('f') for p in model.spec.leaves}
  x = rng.normal(size=(5, 8)).astype('f')
  run = jax.vmap(model.apply, (0, None))
  moved = baselines.move(params, model.spec, seed=0)
  np.testing.assert_allclose(run(moved, x), run(params, x), rtol=1e-3, atol=1e-4)
  assert not np.allclose(moved['layer0/kernel'], params['layer0/kernel'])
  wider = attacks.add_unit(params, model.spec)
  np.testing.assert_allclose(
    jax.vmap(wsjax.mlp((8, 13, 6)).apply, (0, None))(wider, x), run(params, x), rtol=1e-4, atol=1e-5
  )
  pruned = attacks.prune(params, 0.6)['layer0/kernel']
  assert abs(np.mean(pruned == 0) - 0.6) < 0.02
  assert len(np.unique(attacks.quantize(params, 2)['layer0/kernel'][0])) == 3
  gap = attacks.add_noise(params, 0.3)['layer0/kernel'] - params['layer0/kernel']
  assert abs(gap.std() / params['layer0/kernel'].std() - 0.3) < 0.03


def test_commands_draw_marked_networks_and_find_them(tmp_path, monkeypatch, capsys):
  config, _ = configs.load('configs/hypernetwork.py:smoke')
  with config.unlocked():
    config.train.seeds = (0,)
  workdir = tmp_path / 'run'
  # Sampling needs a trained generator, not its report.
  monkeypatch.setattr(generation.Generation, 'report', lambda *_: report_lib.Report('', {}))
  pipeline.run(config, workdir, progress=False)
  for name, key in (('key', KEY), ('other', OTHER)):
    (tmp_path / name).write_bytes(key.secret)
  out, key, run = str(tmp_path / 'marked'), str(tmp_path / 'key'), str(workdir)
  sample = ['sample', '--workdir', run, '--num', '6', '--out', out, '--watermark', key]
  assert main.main(sample) == 0
  capsys.readouterr()
  words = ['detect', out, '--run', run, '--issued', out]
  assert main.main([*words, '--watermark', key]) == 0
  said = capsys.readouterr().out
  assert said.count('marked, sample') == 6 and '/0/6/5 ' in said, said
  assert main.main([*words, '--watermark', str(tmp_path / 'other')]) == 2
  assert 'No sample' in capsys.readouterr().err
  # By outputs no mark is needed, so that any key does.
  assert main.main([*words, '--watermark', str(tmp_path / 'other'), '--by', 'outputs']) == 0
  assert capsys.readouterr().out.count('answers like') == 6
