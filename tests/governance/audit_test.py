"""Membership by the nearest sample: copies are caught, honest samples tell nothing."""

import numpy as np
import pytest

import wsjax
from wsjax import files
from wsjax.governance import audit

MODEL = wsjax.mlp((6, 8, 3))


def networks(count, seed):
  rng = np.random.default_rng(seed)
  return {
    leaf.path: rng.normal(size=(count, *leaf.shape)).astype('float32') for leaf in MODEL.spec.leaves
  }


def test_a_generator_that_copies_is_caught_and_an_honest_one_is_not():
  members, others = networks(40, 0), networks(40, 1)
  rng = np.random.default_rng(2)
  copies = {p: x + 0.1 * rng.normal(size=x.shape).astype('float32') for p, x in members.items()}
  found = audit.membership(copies, members, others, MODEL.spec, level=0.1, restarts=1)
  assert found.auroc['value'] > 0.99 and found.tpr['value'] > 0.95
  fresh = networks(40, 3)
  found = audit.membership(fresh, members, others, MODEL.spec, level=0.1, restarts=1)
  assert found.auroc['low'] < 0.5 < found.auroc['high'] and found.tpr['low'] < 0.1


def test_the_rate_of_false_positives_is_kept():
  rng = np.random.default_rng(0)
  rates = [
    audit.attack(rng.normal(size=50), rng.normal(size=400), num_bootstrap=10, seed=i).fpr['value']
    for i in range(40)
  ]
  assert 0.002 < np.mean(rates) < 0.018


def test_too_few_held_out_networks_are_no_rate_of_one_percent():
  found = audit.attack(np.arange(9.0), np.arange(100.0), num_bootstrap=10)
  assert found.tpr['value'] is None and '198 are needed' in found.tpr['not_run']
  assert audit.attack(np.arange(9.0), np.arange(198.0), num_bootstrap=10).tpr['value'] is not None


def test_a_changed_audit_is_refused(tmp_path):
  assert audit.read(tmp_path) is None
  stat = {'value': 0.5, 'low': 0.0, 'high': 1.0}
  attack = {'auroc': stat, 'tpr': stat, 'fpr': stat, 'level': 0.01}
  value = {'generators': ['flow:1'], 'membership': attack, 'collapse': None}
  text = files.seal(value)
  (tmp_path / 'audit.json').write_text(text)
  assert audit.read(tmp_path) == value
  for changed in (text.replace('0.5', '0.1'), text.replace('"collapse"', '"x"'), '{}'):
    (tmp_path / 'audit.json').write_text(changed)
    with pytest.raises(ValueError, match=r'audit\.json'):
      audit.read(tmp_path)
