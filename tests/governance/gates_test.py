"""Gates: what was not run does not pass, and overrides need a name, a reason and a last day."""

import dataclasses
import datetime
import json

import numpy as np
import pytest

import wsjax
from wsjax.experiments import sections
from wsjax.governance import gates, screen
from wsjax.symmetry import canonicalize

DAY = datetime.date(2026, 11, 30)


def nets(count, seed=0, **changes):
  """Networks of one kind: normal weights."""
  model, rng = wsjax.mlp((6, 8, 3)), np.random.default_rng(seed)
  made = {
    leaf.path: rng.normal(size=(count, *leaf.shape)).astype('float32') for leaf in model.spec.leaves
  }
  for path, change in changes.items():
    made[path.replace('_', '/')] = change(made[path.replace('_', '/')])
  return model, made


def zoo(count=40, seed=0, params=None, **fields):
  model, made = nets(count, seed)
  data = {'name': 'd', 'version': None, 'sha256': None, 'license': 'MIT',
          'contains_personal_data': 'no'}  # fmt: skip
  facts = {'license': 'MIT', 'redistributable': True, 'datasets': [data], **fields}
  return wsjax.Zoo.of(model, params or made, [facts] * count)


def status(decision):
  return {check.name: check.status for check in decision.checks}


def test_a_sound_zoo_passes_intake():
  (decision,) = gates.of_zoo(zoo())
  assert decision.passed and str(decision) == 'pass', decision


@pytest.mark.parametrize(
  ('fields', 'criterion'),
  [
    ({'license': None, 'redistributable': False}, 'licence'),
    ({'redistributable': False}, 'licence'),
  ],
)
def test_intake_names_what_is_wrong(fields, criterion):
  (decision,) = gates.of_zoo(zoo(**fields))
  assert decision.status == 'fail' and status(decision)[criterion] == 'fail'


def test_intake_finds_copies_and_outliers():
  _, params = nets(40)
  copies = {path: x.copy() for path, x in params.items()}
  for x in copies.values():
    x[1] = x[0]
  (decision,) = gates.of_zoo(zoo(params=copies))
  assert status(decision)['exact copies'] == 'fail'
  for x in params.values():
    x[3] *= 30
  (decision,) = gates.of_zoo(zoo(params=params))
  assert status(decision)['outliers'] == 'fail' and 'kernel: log ' in str(decision)


def stat(value):
  """A number without an interval."""
  return {'value': value, 'low': value, 'high': value}


def report(**stats):
  """A report with one model, and fresh runs that are no copies."""

  def row(kind, stats, flags=None):
    return {'kind': kind, 'stats': stats, 'flags': flags}

  rows = {
    'flow': row('model', {'copy_rate': {'value': 0.0}, **stats}, []),
    'fresh runs': row('ceiling', {'copy_rate': {'value': 0.0}}),
  }
  return {'tables': {'methods': {'rows': rows}}}


def drawn(seed=1, count=8, **fields):
  made = {'generator_record_id': 'flow:' + 'cd' * 32, 'sampler': 'flow', 'seed': 0}
  return zoo(count, seed, generated=made, split='test', **fields)


def test_a_generator_passes_what_was_measured_and_nothing_else():
  replicas = {'value': 0.0, 'high': 0.02}
  found = {d.gate: d for d in gates.of_run(zoo(), [drawn()], report(replica_rate=replicas))}
  assert [gate for gate, d in found.items() if d.passed] == ['G0', 'G1', 'G5'], found
  assert status(found['G2']).pop('watermark') == 'not_run'
  assert {k for k, v in status(found['G2']).items() if v != 'pass'} == {
    'watermark', 'class-prior collapse',
  }, found['G2']  # fmt: skip
  assert {k for k, v in status(found['G3']).items() if v != 'pass'} == {
    'membership audit', 'membership of images', 'backdoors in training networks',
    'backdoor inheritance',
    'watermark after attacks', 'watermark in unmarked networks', 'accuracy of marked samples',
  }  # fmt: skip
  said = gates.sentence(found.values())
  assert said == 'A release would pass G0, G1, G5; G2, G3 would need an override.'


def test_an_audit_counts_for_the_generator_that_it_is_of():
  def audit(name, high):
    stat = {'value': high / 2, 'low': 0.0, 'high': high}
    found = {'auroc': stat, 'tpr': stat, 'fpr': stat, 'level': 0.01}
    weak = found | {'tpr': stat | {'high': 0.01}}
    attacks = {'loss': weak, 'loss, LiRA': found, 'control: fresh runs': weak}
    return {'generators': [name], 'membership': attacks, 'collapse': stat | {'value': 0.0}}

  samples, replicas = drawn(), {'value': 0.0, 'high': 0.02}
  name = samples.records[0]['generated']['generator_record_id']
  for given, expected in (
    (audit(name, 0.04), 'pass'), (audit(name, 0.06), 'fail'), (audit('other', 0.04), 'not_run'),
  ):  # fmt: skip
    decisions = gates.of_run(zoo(), [samples], report(replica_rate=replicas), audit=given)
    found = {d.gate: status(d) for d in decisions}
    assert found['G3']['membership audit'] == expected
    assert found['G2']['class-prior collapse'] == ('not_run' if expected == 'not_run' else 'pass')


@pytest.mark.parametrize(
  ('data', 'expected'),
  [
    ({'confidence': (0.01, 0.02)}, 'pass'),
    ({'confidence': (0.01, 0.02), 'confidence, LiRA': (0.03, 0.02)}, 'fail'),
    ({'confidence': (None, None)}, 'not_run'),
    (None, 'not_run'),
  ],
)
def test_samples_tell_no_more_of_images_than_networks_do(data, expected):
  samples = drawn()
  name = samples.records[0]['generated']['generator_record_id']

  def found(rate):
    tpr = stat(rate) if rate is not None else {'value': None, 'not_run': 'too few'}
    return {'auroc': stat(0.5), 'tpr': tpr, 'fpr': stat(0.0), 'level': 0.01}

  audit = {'generators': [name], 'membership': {'loss': found(0.0)}, 'collapse': stat(0.0)}
  audit['data'] = data and {
    k: {'samples': found(by_samples), 'direct': found(direct), 'ratio': stat(1.0)}
    for k, (by_samples, direct) in data.items()
  }
  decisions = gates.of_run(zoo(), [samples], report(), audit=audit)
  assert {d.gate: status(d) for d in decisions}['G3']['membership of images'] == expected


@pytest.mark.parametrize(
  ('fault', 'gate', 'criterion'),
  [
    (None, None, None),
    ('emitted', 'G2', 'watermark'),
    ('attacks', 'G3', 'watermark after attacks'),
    ('false_positives', 'G3', 'watermark in unmarked networks'),
    ('accuracy_cost', 'G3', 'accuracy of marked samples'),
  ],
)
def test_marks_are_as_good_as_what_was_measured_of_these_samples(fault, gate, criterion):
  samples = drawn()
  (name,) = {record['generated']['generator_record_id'] for record in samples.records}
  marks = {
    'samples': [samples.digest],
    'emitted': stat(0.98 if fault == 'emitted' else 1.0),
    'attacks': {
      'int4': {'found': stat(0.94 if fault == 'attacks' else 0.96), 'required': True},
      'int2': {'found': stat(0.0), 'required': False},
    },
    'false_positives': {'0.01': stat(0.02 if fault == 'false_positives' else 0.01)},
    'accuracy_cost': stat(0.2 if fault == 'accuracy_cost' else -0.1),
  }
  membership = {'auroc': stat(0.5), 'tpr': stat(0.0), 'fpr': stat(0.0), 'level': 0.01}
  audit = {'generators': [name], 'membership': {'loss': membership}, 'collapse': stat(0.0)}
  of_generator = (
    'watermark after attacks', 'watermark in unmarked networks', 'accuracy of marked samples',
  )  # fmt: skip
  names = {'G2': ['watermark'], 'G3': of_generator}
  decisions = gates.of_run(zoo(), [samples], report(), audit=audit | {'watermark': marks})
  found = {d.gate: status(d) for d in decisions}
  wrong = {(g, c) for g, checks in names.items() for c in checks if found[g][c] != 'pass'}
  assert wrong == ({(gate, criterion)} if fault else set())
  # Of other samples it says nothing.
  marks['samples'] = ['0' * 64]
  decisions = gates.of_run(zoo(), [samples], report(), audit=audit | {'watermark': marks})
  assert {d.gate: status(d) for d in decisions}['G2']['watermark'] == 'not_run'


@pytest.mark.parametrize(
  ('auroc', 'training', 'samples', 'held_out', 'expected'),
  [
    (0.99, 0.02, 0.02, 0.02, ('pass', 'pass')),
    (0.99, 0.06, 0.06, 0.02, ('fail', 'fail')),
    # As many samples as held-out runs: none of it is inherited.
    (0.99, 0.02, 0.06, 0.06, ('pass', 'pass')),
    (0.80, 0.02, 0.02, 0.02, ('not_run', 'not_run')),
  ],
)
def test_no_more_networks_look_poisoned_than_chance_lets(
  auroc, training, samples, held_out, expected
):
  made = drawn()
  (name,) = {record['generated']['generator_record_id'] for record in made.records}
  membership = {'auroc': stat(0.5), 'tpr': stat(0.0), 'fpr': stat(0.0), 'level': 0.01}
  rates = {'training networks': training, 'samples': samples, 'held-out runs': held_out}
  backdoors = {
    'auroc': stat(auroc), 'false_positives': stat(0.01) | {'high': 0.036}, 'accuracy': 0.9,
    'rates': {group: stat(rate) for group, rate in rates.items()},
  }  # fmt: skip
  audit = {
    'generators': [name], 'membership': {'loss': membership}, 'collapse': stat(0.0),
    'backdoors': backdoors,
  }  # fmt: skip
  decisions = gates.of_run(zoo(), [made], report(), audit=audit)
  found = {d.gate: status(d) for d in decisions}['G3']
  assert (found['backdoors in training networks'], found['backdoor inheritance']) == expected


def test_thresholds_are_a_section_of_the_config():
  replicas = {'value': 0.0, 'high': 0.02}
  strict = sections.Gates(max_replica_rate=0.01, max_weight=0.1)
  found = {d.gate: d for d in gates.of_run(zoo(), [drawn()], report(replica_rate=replicas), strict)}
  assert status(found['G3'])['replica rate'] == 'fail'
  assert status(found['G2'])['largest weight'] == 'fail'
  with pytest.raises(ValueError, match='max_z'):
    sections.Gates(max_z=-1.0)


def test_copies_flags_and_personal_data_close_gates():
  copying = report(replica_rate={'value': 0.1, 'high': 0.2}, copy_rate={'value': 0.5})
  copying['tables']['methods']['rows']['flow']['flags'] = [{'name': 'exact copies'}]
  data = [{'name': 'faces', 'version': None, 'sha256': None, 'license': 'MIT'}]
  training = zoo(datasets=data)
  found = {d.gate: d for d in gates.of_run(training, [drawn()], copying)}
  assert status(found['G1'])['personal data'] == 'fail'
  assert status(found['G2'])['no copies'] == 'fail'
  assert status(found['G3'])['memorization and failure flags'] == 'fail'
  waived = sections.Gates(personal_data_waiver='board, consent forms')
  found = {d.gate: d for d in gates.of_run(training, [drawn()], copying, waived)}
  assert status(found['G1'])['personal data'] == 'pass'


def test_nothing_passes_without_samples_or_a_report():
  found = {d.gate: d for d in gates.of_run(zoo(), [], {'tables': {}})}
  assert [gate for gate, d in found.items() if d.passed] == ['G0']


def test_an_override_holds_until_its_day_and_for_its_gate(tmp_path):
  decision = gates.Decision('G2', (gates.Check('watermark', 'not_run', 'none'),))
  other = gates.Decision('G3', decision.checks)
  override = gates.Override('G2', 'A. Turing', 'toys', '2026-11-30')
  first, second = gates.apply([decision, other], [override], today=DAY)
  assert (first.status, second.status) == ('override', 'fail')
  assert 'A. Turing until 2026-11-30: toys' in str(first)
  late = gates.apply([decision], [override], today=DAY + datetime.timedelta(1))
  assert late[0].status == 'fail'
  path = tmp_path / 'overrides.json'
  value = dataclasses.asdict(override)
  path.write_text(json.dumps([value]))
  assert gates.read_overrides(path) == [override]
  for change in ({'reason': ' '}, {'name': ''}, {'expires': 'never'}, {'gate': 'G9'}):
    path.write_text(json.dumps([value | change]))
    with pytest.raises(ValueError, match=next(iter(change))):
      gates.read_overrides(path)
  with pytest.raises(ValueError, match='expires on'):
    gates.apply([decision], [dataclasses.replace(override, expires='2026-13-01')])


def test_a_release_stops_at_a_closed_gate_and_its_override_expires(
  keys, publish, tmp_path, monkeypatch
):
  from wsjax.governance import verify

  training = zoo().save(tmp_path / 'zoo')
  with pytest.raises(ValueError, match='is no ancestor of'):
    stranger = drawn().save(tmp_path / 'stranger')
    publish(stranger, keys['ed25519'][0], tmp_path / 'out', ancestors=[training.path])
  parent = {'record_id': None, 'external_ref': f'zoo:{training.digest}',
            'relation': 'generated_by'}  # fmt: skip
  samples = drawn(parents=[parent]).save(tmp_path / 'samples')
  private, public = keys['ed25519']
  with pytest.raises(ValueError, match='not released. G2 fail: .*watermark not run'):
    publish(samples, private, tmp_path / 'out', ancestors=[training.path])
  assert not (tmp_path / 'out').exists()
  today = datetime.datetime.now(datetime.UTC).date().isoformat()
  override = gates.Override('G2', 'A. Turing', 'toys', today)
  out = publish(samples, private, tmp_path / 'out', ancestors=[training.path], overrides=[override])
  assert verify.verify(out, [public]).num_bytes

  class Later(datetime.datetime):
    @classmethod
    def now(cls, zone=None):
      return datetime.datetime.fromisoformat('2999-01-01T00:00:00+00:00')

  monkeypatch.setattr(verify.datetime, 'datetime', Later)
  with pytest.raises(ValueError, match='the override of the gate G2 by A. Turing expired'):
    verify.verify(out, [public])


def test_publication_wants_contact_and_list(keys, publish, tmp_path):
  training = zoo().save(tmp_path / 'zoo')
  with pytest.raises(ValueError, match='G4 fail: contact'):
    publish(training, keys['ed25519'][0], tmp_path / 'out', contact='')
  with pytest.raises(ValueError, match='revocation list failed'):
    publish(training, keys['ed25519'][0], tmp_path / 'out', revoked=None)


def test_outliers_do_not_depend_on_order_and_scale_of_units():
  model, params = nets(60)
  moved = {path: x.copy() for path, x in params.items()}
  for path in ('layer0/kernel', 'layer0/bias'):
    moved[path] = moved[path][..., ::-1] * 4
  moved['layer1/kernel'] = moved['layer1/kernel'][:, ::-1] / 4
  a, b = (screen.outliers(p, params, model.spec).z for p in (params, moved))
  np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-2)


def test_outliers_are_found_and_named():
  model, params = nets(60)
  params['layer1/bias'][7] = 0
  params['layer0/kernel'][9, 0, 0] = np.nan
  found = screen.outliers(params, None, model.spec)
  assert found.z[9] == np.inf and found.worst[9] == 'not finite'
  assert found.z[7] > 6 and 'layer1/bias' in found.worst[7]
  assert np.median(found.z) < 4
  with pytest.raises(ValueError, match='at least 20'):
    screen.outliers({k: x[:5] for k, x in params.items()}, None, model.spec)


def test_units_that_never_fire_are_no_outliers_and_pruned_matrices_are():
  model, params = nets(60)
  params['layer0/bias'][::3, :2] = 0
  params['layer0/kernel'][7, ::2] = 0
  found = screen.outliers(params, None, model.spec)
  assert np.flatnonzero(found.z > 6).tolist() == [7] and 'share of zeros' in found.worst[7]


def test_skewed_and_mixed_populations_have_no_outliers():
  # As of agents of two recipes: every fourth has a last layer that is a third as large, or less.
  rng = np.random.default_rng(0)
  model, params = nets(80)
  size = np.exp(0.1 * rng.normal(size=80) - (np.arange(80) % 4 == 0) * rng.uniform(0.5, 1.5, 80))
  params['layer1/kernel'] = params['layer1/kernel'] * size[:, None, None].astype('f4')
  assert (screen.outliers(params, None, model.spec).z < 6).all()
  params['layer1/kernel'][7] *= 10
  params['layer1/kernel'][9] /= 1e4
  found = screen.outliers(params, None, model.spec)
  assert np.flatnonzero(found.z > 6).tolist() == [7, 9]


def test_the_sign_of_a_single_bias_makes_no_outlier():
  model = wsjax.mlp((4, 9, 1), 'tanh')
  rng = np.random.default_rng(0)
  params = {x.path: rng.normal(size=(60, *x.shape)).astype('f4') for x in model.spec.leaves}
  params['layer1/bias'] = np.where(np.arange(60) % 3, 0.5, -0.5)[:, None].astype('f4')
  found = screen.outliers(params, None, model.spec)
  assert not any('layer1/bias' in found.worst[row] for row in np.flatnonzero(found.z > 3))
  params['layer1/bias'][8] = 5
  found = screen.outliers(params, None, model.spec)
  assert found.z.argmax() == 8 and 'layer1/bias' in found.worst[8]


def test_a_payload_in_low_bits_is_found():
  rng = np.random.default_rng(0)
  weights = rng.normal(size=(40, 3000)).astype('float32')
  honest = screen.low_bits({'w': weights})
  assert (honest < 1e-3 / 40).sum() == 0 and 0.2 < np.median(honest) < 0.8
  text = np.frombuffer((b'import os; os.system("id") # ' * 200)[:3000], np.uint8)
  planted = weights.copy().view(np.uint32)
  planted[5] = planted[5] & ~np.uint32(255) | text
  found = screen.low_bits({'w': planted.view(np.float32)})
  assert found[5] < 1e-100 and (np.delete(found, 5) == np.delete(honest, 5)).all()
  rounded = (weights.view(np.uint32) & ~np.uint32(0xFFFF)).view(np.float32)
  assert (screen.low_bits({'w': rounded}) == 1).all()


def test_networks_that_give_one_class_are_found():
  predictions = np.stack([np.arange(100) % 10, np.zeros(100, int)])
  assert screen.collapsed(predictions, 10, 0.5).tolist() == [False, True]


def test_statistics_of_many_networks_are_those_of_few():
  spec = wsjax.mlp((4, 9, 3)).spec
  rng = np.random.default_rng(0)
  params = {x.path: rng.normal(size=(300, *x.shape)).astype('f4') for x in spec.leaves}
  names, values = screen.statistics(params, spec)
  some = {path: value[250:260] for path, value in params.items()}
  np.testing.assert_allclose(screen.statistics(some, spec)[1], values[250:260], rtol=1e-5)
  balanced = canonicalize.balance_all(some, spec)['layer0/kernel']
  spectral = np.linalg.norm(balanced.astype(float), 2, axis=(1, 2))
  place = names.index('layer0/kernel: log spectral norm')
  np.testing.assert_allclose(values[250:260, place], np.log(spectral), rtol=1e-5)
