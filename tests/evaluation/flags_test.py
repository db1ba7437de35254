"""Names come from the numbers of the report alone."""

import numpy as np
import pytest

from tests import marks
from wsjax.evaluation import statistics
from wsjax.evaluation.metrics import copying, fidelity, flags
from wsjax.evaluation.report import model


def _row(distance=1.0, residual=0.6, spacing=1.0, spread=1.0, centre=1.0, shown=1.0):
  """A method of 40 networks; held-out runs are at 1, 0.6 and 1."""
  return model.Row(
    40,
    {
      'rms_ratio': {'value': spread},
      'centre_distance': {'value': centre},
      'replica_rate': {'value': 0.0, 'threshold': 0.8},
      'hull_residual': {'value': 0.6, 'heldout': 0.6},
      'self_distance': {'value': 1.0, 'heldout': 1.0},
    },
    per_network={
      'accuracy': [0.9] * 40,
      'shown': np.broadcast_to(shown, 40).tolist(),
      'canonical_novelty': np.broadcast_to(distance, 40).tolist(),
      'hull_residual': np.broadcast_to(residual, 40).tolist(),
      'self_distance': np.broadcast_to(spacing, 40).tolist(),
    },
  )


def _names(row, bar=0.5):
  return [entry['name'] for entry in flags.find(row, bar)]


@pytest.mark.parametrize(
  'row, names',
  [
    (_row(), []),
    (_row(0.001, 1.0, 0.0), ['copies']),
    # Of snapshots, or disguised by a symmetry.
    (_row(shown=0.001), ['copies']),
    (_row(0.3, 1.0, 0.2), ['copies with noise']),
    (_row(0.6, 0.1), ['averages neighbours']),
    (_row(spacing=0.1, spread=0.1), ['one mode']),
    (_row(0.9, 0.5, 0.1, 0.1, 0.1), ['collapsed to the mean']),
    # Near, but as far from the hull as honest ones: too few held-out runs.
    (_row(0.75, 0.62), []),
  ],
)
def test_each_kind_has_its_name(row, names):
  assert _names(row) == names


def test_a_few_exact_copies_are_found_and_a_few_near_ones_are_chance():
  distance = np.ones(40)
  distance[:4] = 0
  assert _names(_row(distance, 1.0)) == ['copies']
  assert '10 % of 40' in flags.find(_row(distance, 1.0), 0.5)[0]['evidence']
  distance[:4] = 0.5
  assert _names(_row(distance, 1.0)) == []


def test_what_fails_is_said_to_fail_and_what_is_unknown_is_not_guessed():
  assert flags.working_threshold(0.1, 0.9) == pytest.approx(0.5)
  row = _row(0.001)
  assert _names(row, 0.95) == ['not working', 'copies']
  row.stats |= {
    key: {'value': None, 'not_run': 'no held-out runs'}
    for key in ('replica_rate', 'hull_residual', 'self_distance')
  }
  assert _names(row) == ['copies']
  row.per_network['canonical_novelty'] = [0.5] * 39 + [None]
  assert _names(row) == []
  del row.per_network['hull_residual']
  assert _names(row) == []


def _tested(distance, heldout, seed=0, kind='model'):
  """Row of a method whose networks have these distances, and its flags."""
  rng = np.random.default_rng(seed)
  z, p = copying.copying_test(rng, distance, heldout)
  row = _row()
  row.kind = kind
  row.stats |= {
    'replica_rate': copying.replicas(distance, heldout),
    'copying_z': statistics.stat(z, None, n=len(distance), method='none') | {'p': p},
    'mmd_weights': {'value': 0.0, 'p': rng.random()},
  }
  mmd = next(metric for metric in fidelity.METRICS if metric.name == 'mmd_weights')
  declared = (copying.replica_rate, copying.copying_z, mmd)
  return row, {flag['name'] for flag in flags.find(row, 0.5, declared)}


@pytest.mark.parametrize('num', marks.slow((16, 40, 100), 16, 100))
def test_honest_methods_are_rarely_flagged(num):
  """At most 1 % of them, whatever the numbers of networks: here of 400."""
  found = []
  for seed in range(400):
    rng = np.random.default_rng([num, seed])
    found.append(bool(_tested(rng.gamma(40, size=num), rng.gamma(40, size=32), seed)[1]))
  # Three standard errors above 1 %.
  assert np.mean(found) <= 0.01 + 3 * np.sqrt(0.01 * 0.99 / 400)


@pytest.mark.parametrize(('scale', 'share'), [(0.7, 1.0), (0.3, 0.25)])
def test_methods_that_copy_with_changes_are_flagged(scale, share):
  """All samples a little nearer than fresh runs, or some of them much."""
  found = []
  for seed in range(100):
    rng = np.random.default_rng(seed)
    distance = rng.gamma(40, size=40)
    distance[: int(40 * share)] *= scale
    found.append(copying.replica_rate.flag in _tested(distance, rng.gamma(40, size=32), seed)[1])
  assert np.mean(found) >= 0.95


def test_evidence_has_the_numbers_and_the_null():
  rng = np.random.default_rng(0)
  row, names = _tested(0.5 * rng.gamma(40, size=40), rng.gamma(40, size=32))
  assert names == {copying.replica_rate.flag}
  declared = (copying.replica_rate, copying.copying_z)
  text = flags.find(row, 0.5, declared)[0]['evidence']
  assert 'replicas 100 % (fresh runs: 4 %)' in text and 'data-copying z -' in text
  assert 'correction for 2 tests' in text
  # The zoo itself is no method that could copy.
  assert not _tested(np.ones(40), 2 * np.ones(32), kind='reference')[1]


def test_p_of_replicas_is_that_of_permutations():
  rng = np.random.default_rng(0)
  h = rng.random(30)
  r = np.concatenate([rng.random(16), np.zeros(4)])
  pooled, least = np.concatenate([r, h]), np.sum(r < h.min())
  hits = []
  for _ in range(4000):
    rng.shuffle(pooled)
    hits.append(np.sum(pooled[:20] < pooled[20:].min()) >= least)
  assert copying.p_replicas(r, h) == pytest.approx(np.mean(hits), abs=0.02)
