import copy
import json
import sys

import hypothesis
import jsonschema
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.zoo import zoo_samples
from wsjax.zoo.store import record as record_lib

WEIGHTS = zoo_samples.params(0)
FIELDS = zoo_samples.fields(WEIGHTS)
RECORD = record_lib.make(**FIELDS)
HEX = 'ab' * 32

# A valid other value for every field that a caller may set.
OTHER = {
  'created_at': '2026-11-23T12:00:01Z',
  'supersedes': f'wsr1:{HEX}',
  'file_sha256': HEX,
  'tensor_digest': HEX,
  'canonical_digest': HEX,
  'format': 'orbax',
  'arch_id': 'other',
  'arch_config': {},
  'activation': 'tanh',
  'task': 'other',
  'objective': None,
  'optimizer': {'name': 'sgd', 'hparams': {}},
  'schedule': {'name': 'cosine'},
  'batch_size': 1,
  'steps': 101,
  'step': 99,
  'epoch': 1.5,
  'seed': {'init': 1, 'data': 0},
  'augmentation': ['flip'],
  'regularisation': {'dropout': 0.1},
  'precision': 'bfloat16',
  'config_sha256': HEX,
  'code': {'repo': 'r', 'commit': None, 'dirty': None},
  'packages': {'jax': None},
  'lockfile_sha256': HEX,
  'xla_flags': ['--x'],
  'accelerator': {'kind': 'cpu', 'count': 1, 'processes': 1},
  'trace': [],
  'final': [],
  'diverged': True,
  'probe_set_id': 'p',
  'logits_digest': HEX,
  'errors_bitmap_ref': 'e',
  'datasets': [],
  'parents': [{'record_id': f'wsr1:{HEX}', 'relation': 'merge'}],
  'run_id': 'other',
  'split': 'val',
  'split_group': 'other',
  'extra': {'colour': 'red'},
  'generated': {'generator_record_id': 'g', 'sampler': 'euler', 'seed': 0},
  'license': 'MIT',
  'license_effective': 'MIT',
  'attribution': ['a'],
  'use_restrictions': ['u'],
  'redistributable': False,
  'consent_basis': 'licence',
  'screens': [{'name': 'finite', 'version': '1', 'status': 'pass'}],
}
# These follow from one another, so they cannot change alone.
DERIVED = {'param_tree', 'symmetry', 'n_params', 'n_bytes', 'schema_version'}


def test_the_schema_file_is_a_schema_and_accepts_a_record():
  jsonschema.Draft202012Validator.check_schema(record_lib.SCHEMA)
  jsonschema.Draft202012Validator(record_lib.SCHEMA).validate(RECORD)
  record_lib.validate(RECORD)


def test_every_field_is_tried_below():
  assert set(record_lib.SCHEMA['properties']) == (set(OTHER) | DERIVED | set(record_lib.UNSIGNED))


@pytest.mark.parametrize('name', OTHER)
def test_changing_any_field_changes_the_id(name):
  other = record_lib.make(**FIELDS | {name: OTHER[name]})
  assert other['record_id'] != RECORD['record_id']
  edited = RECORD | {name: OTHER[name]}
  with pytest.raises(ValueError, match="'record_id' .* was changed"):
    record_lib.validate(edited)


@pytest.mark.parametrize('name', ['attestations', 'signature_ref'])
def test_signatures_do_not_change_the_id(name):
  value = {
    'attestations': [{'predicate_type': 'p', 'bundle_sha256': HEX, 'key_id': 'k'}],
    'signature_ref': 's',
  }[name]
  record_lib.validate(RECORD | {name: value})


def shuffled(value, random):
  if isinstance(value, dict):
    items = list(value.items())
    random.shuffle(items)
    return {key: shuffled(item, random) for key, item in items}
  if isinstance(value, list):
    return [shuffled(item, random) for item in value]
  return value


@hypothesis.given(random=st.randoms(use_true_random=False))
def test_key_order_does_not_change_the_id(random):
  record = shuffled(RECORD, random)
  assert record_lib.record_id(record) == RECORD['record_id']
  assert record_lib.validate(record) == record_lib.validate(RECORD)


@hypothesis.given(rate=st.floats(1e-9, 1e9), seed=st.integers(0, 2**53 - 1), text=st.text())
def test_any_values_survive_their_canonical_text(rate, seed, text):
  record = record_lib.make(
    **FIELDS
    | {
      'optimizer': {'name': 'adam', 'hparams': {'rate': rate, 'note': text}},
      'seed': {'init': seed, 'data': None},
    }
  )
  again = json.loads(record_lib.validate(record))
  assert again == record
  assert record_lib.record_id(again) == record['record_id']


def test_numpy_scalars_and_non_finite_numbers_become_json():
  record = record_lib.make(
    **FIELDS
    | {
      'batch_size': np.int64(7),
      'optimizer': {'name': 'sgd', 'hparams': {'rate': np.float32(0.5)}},
      'final': [{'dataset': None, 'split': 'val', 'metric': 'loss', 'value': np.float32(np.nan)}],
    }
  )
  assert record['batch_size'] == 7
  assert record['optimizer']['hparams']['rate'] == 0.5
  assert record['final'][0]['value'] is None


@pytest.mark.parametrize('name', record_lib.SCHEMA['required'])
def test_a_missing_required_field_is_named(name):
  record = copy.deepcopy(RECORD)
  del record[name]
  with pytest.raises(ValueError, match=f"lacks required field '{name}'"):
    record_lib.validate(record)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'no_such': 1}, "'no_such'"),
    ({'batch_size': 'many'}, "'batch_size'"),
    ({'split': 'dev'}, "'split'"),
    ({'seed': {'init': 0}}, "'seed'"),
    ({'tensor_digest': 'xyz'}, "'tensor_digest'"),
    ({'diverged': None}, "'diverged'"),
    ({'task': {1, 2}}, 'Not a JSON value'),
    ({'n_params': 5}, "'n_params' is 5"),
    ({'n_bytes': 5}, "'n_bytes' is 5"),
    ({'step': 101}, "'step' is 101"),
    ({'parents': [{'record_id': None, 'relation': 'merge'}]}, "'parents'"),
    ({'license': None}, "'redistributable'"),
    ({'symmetry': []}, 'names group'),
    ({'final': [{'dataset': 'd', 'split': 'test', 'metric': 'm', 'value': 1}]}, "'final/0/split'"),
  ],
)
def test_a_wrong_field_is_named(changes, message):
  with pytest.raises(ValueError, match=message):
    record_lib.make(**FIELDS | changes)


def test_a_licence_must_be_an_spdx_expression():
  pytest.importorskip('license_expression')
  assert record_lib.licence_problem('MIT') is None
  with pytest.raises(ValueError, match="'license' .* not an SPDX"):
    record_lib.make(**FIELDS | {'license': 'do what you like'})
  with pytest.raises(ValueError, match="'datasets' .* not an SPDX"):
    dataset = FIELDS['datasets'][0] | {'license': 'MIT AND'}
    record_lib.make(**FIELDS | {'datasets': [dataset]})


def test_another_schema_version_is_refused():
  with pytest.raises(ValueError, match="'schema_version'"):
    record_lib.validate(RECORD | {'schema_version': '2.0.0'})


def edited(change):
  weights = {path: array.copy() for path, array in WEIGHTS.items()}
  change(weights)
  return weights


@pytest.mark.parametrize(
  'change, message',
  [
    (lambda w: w.pop('layer0/bias'), "lack 'layer0/bias'"),
    (lambda w: w.update(more=np.zeros(1)), "have 'more'"),
    (lambda w: w.update({'layer0/bias': np.zeros(9)}), 'has shape'),
    (lambda w: w.update({'layer0/bias': np.zeros(3)}), 'float64'),
    (lambda w: w['layer0/bias'].fill(np.nan), 'NaN'),
    (lambda w: w['layer0/bias'].fill(7), "'tensor_digest'"),
  ],
)
def test_weights_must_be_those_of_the_record(change, message):
  record_lib.check_params(RECORD, WEIGHTS)
  with pytest.raises(ValueError, match=message):
    record_lib.check_params(RECORD, edited(change))


def test_a_diverged_network_may_hold_nan():
  weights = edited(lambda w: w['layer0/bias'].fill(np.nan))
  record = record_lib.make(**zoo_samples.fields(weights) | {'diverged': True})
  record_lib.check_params(record, weights)


def test_values_that_python_calls_equal_are_kept_apart():
  assert record_lib.canonical('diverged', True) == b'true'
  for number in (1, 1.0, 0, False):
    if number is not False:
      with pytest.raises(ValueError, match="'diverged'"):
        record_lib.canonical('diverged', number)
  with pytest.raises(ValueError, match="'batch_size'"):
    record_lib.canonical('batch_size', True)
  assert record_lib.canonical('batch_size', 1) == b'1'
  # RFC 8785 has one kind of number.
  assert record_lib.canonical('epoch', 1.0) == record_lib.canonical('epoch', 1)


def test_joined_parts_are_canonical_json():
  parts = {'b': b'1', 'a': b'{"c":null}'}
  assert record_lib.join(parts) == b'{"a":{"c":null},"b":1}'


def test_plain_values_are_copies_of_json():
  value = {'a': (np.int8(1), [np.float64(0.5)]), 'b': np.bool_(True)}
  assert record_lib.plain(value) == {'a': [1, [0.5]], 'b': True}
  assert record_lib.plain({'a': [float('inf'), np.float32('nan')]}) == {'a': [None, None]}
  with pytest.raises(ValueError, match='Not a JSON value'):
    record_lib.plain({'a': object()})


def test_a_long_value_does_not_make_a_long_error():
  with pytest.raises(ValueError, match="'task'") as caught:
    record_lib.canonical('task', ['x' * 10_000])
  assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
  'expression', ['MIT', 'Apache-2.0 OR (MIT AND CC-BY-4.0)', 'LicenseRef-own']
)
def test_spdx_expressions_are_fine(expression):
  pytest.importorskip('license_expression')
  assert record_lib.licence_problem(expression) is None


@pytest.mark.parametrize('expression', ['MIT AND', 'free for all', 'NoSuch-1.0'])
def test_anything_else_has_a_problem(expression):
  pytest.importorskip('license_expression')
  assert record_lib.licence_problem(expression)


def test_without_the_extra_nothing_is_refused(monkeypatch):
  monkeypatch.setitem(sys.modules, 'license_expression', None)
  record_lib.licence_problem.cache_clear()
  assert record_lib.licence_problem('free for all') is None
  record_lib.licence_problem.cache_clear()
