"""The language model reads only what stands before."""

import jax
import numpy as np
import pytest

from wsjax.models import transformer
from wsjax.zoo import losses

NET = transformer.Transformer(vocabulary=7, length=6, width=8, depth=2, heads=2)


def test_a_token_changes_no_logits_before_it():
  params = NET.init(jax.random.key(0))
  tokens = np.array([[0, 3, 1, 4, 2, 6]])
  before = NET.apply(params, tokens)
  tokens[0, 3] = 5
  after = np.asarray(NET.apply(params, tokens))
  np.testing.assert_allclose(before[:, :3], after[:, :3], atol=1e-6)
  assert np.abs(before[:, 3:] - after[:, 3:]).min(-1).max() > 1e-5


def test_the_loss_leaves_out_what_is_not_there():
  params = NET.init(jax.random.key(0))
  x = np.array([[0, 3, 1, 0, 0, 0]])
  y = np.array([[3, 1, 0, -1, -1, -1]])
  whole = losses.next_token(NET, params, (x, y))
  np.testing.assert_allclose(whole, losses.next_token(NET, params, (x[:, :3], y[:, :3])), rtol=1e-5)


def test_heads_divide_the_width():
  with pytest.raises(ValueError, match='heads'):
    transformer.Transformer(width=9, heads=2)
