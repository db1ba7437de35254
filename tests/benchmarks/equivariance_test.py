"""The bench measures every layer that claims something, and no other."""

import argparse

import pytest

from benchmarks import equivariance


@pytest.mark.slow
def test_errors_are_small_and_every_claim_is_tried():
  parser = argparse.ArgumentParser()
  equivariance.add_arguments(parser)
  args = parser.parse_args(
    '--widths 6 --channels 2 --seeds 1 --encoders statistics flat_mlp'.split()
  )
  result = equivariance.run(args)
  assert {row['layer'] for row in result['rows']} == {'spec_layers.SpecLinear', 'statistics'}
  assert len(result['rows']) == 2 * len(equivariance.NETWORKS)
  assert max(row['relative_error'] for row in result['rows']) < 1e-4
  assert 'largest relative error' in result['notes'][-1]
