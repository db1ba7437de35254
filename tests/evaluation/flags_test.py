"""Names come from the numbers of the report alone."""

import numpy as np
import pytest

from wsjax.evaluation.metrics import flags


def _row(distance=1.0, residual=0.6, spacing=1.0, spread=1.0, centre=1.0, shown=1.0):
  """An arm of 40 networks; held-out runs are at 1, 0.6 and 1."""
  return {
    'metrics': {
      'rms_ratio': {'value': spread},
      'centre_distance': {'value': centre},
      'replica_rate': {'value': 0.0, 'threshold': 0.8},
      'hull_residual': {'value': 0.6, 'heldout': 0.6},
      'self_distance': {'value': 1.0, 'heldout': 1.0},
    },
    'per_net': {
      'accuracy': [0.9] * 40,
      'shown': np.broadcast_to(shown, 40).tolist(),
      'canonical_novelty': np.broadcast_to(distance, 40).tolist(),
      'hull_residual': np.broadcast_to(residual, 40).tolist(),
      'self_distance': np.broadcast_to(spacing, 40).tolist(),
    },
  }


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
  row['metrics'] |= {
    key: {'value': None, 'not_run': 'no held-out runs'}
    for key in ('replica_rate', 'hull_residual', 'self_distance')
  }
  assert _names(row) == ['copies']
  row['per_net']['canonical_novelty'] = [0.5] * 39 + [None]
  assert _names(row) == []
  del row['per_net']['hull_residual']
  assert _names(row) == []
