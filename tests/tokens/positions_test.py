"""Positions name the place of a token's first weight."""

import numpy as np
import pytest

from tests import strategies
from wsjax.tokens import chunks, flat, neurons, positions

SPEC = strategies.make_mlp((5, 4, 3, 2)).spec


def test_neuron_positions_are_layer_and_neuron():
  where = positions.positions(neurons.Neurons(), SPEC)
  want = [(layer, 0, j) for layer, n in enumerate((4, 3, 2)) for j in range(n)]
  np.testing.assert_array_equal(where, want)


def test_chunk_positions_walk_through_the_kernel():
  where = positions.positions(chunks.Chunks(8), SPEC)
  # The first kernel, [5, 4], has chunks that start at 0, 8 and 16.
  np.testing.assert_array_equal(where[:3], [(0, 0, 0), (0, 2, 0), (0, 4, 0)])
  # Then its bias, then kernel and bias of [4, 3] and of [3, 2].
  assert where[3:, 0].tolist() == [0, 1, 1, 1, 2, 2]


def test_the_flat_token_starts_at_zero():
  np.testing.assert_array_equal(positions.positions(flat.Flat(), SPEC), [[0, 0, 0]])


def test_sinusoids_tell_numbers_apart_and_are_bounded():
  codes = np.asarray(positions.sinusoidal(np.arange(100), 16))
  assert codes.shape == (100, 16)
  assert np.abs(codes).max() <= 1
  gaps = np.linalg.norm(codes[:, None] - codes[None], axis=-1)
  assert np.min(gaps + 10 * np.eye(100)) > 0.1
  np.testing.assert_allclose(codes[3, 0], np.sin(3), atol=1e-6)


def test_odd_sizes_are_refused():
  with pytest.raises(ValueError, match='even size'):
    positions.sinusoidal(np.arange(3), 5)
