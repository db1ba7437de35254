"""An exact density that no reordering of hidden units changes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax import config
from wsjax.generators import graph_flow
from wsjax.generators.parts import slot_coupling, unit_slots
from wsjax.symmetry import group as group_lib
from wsjax.tokens import layout

NETWORK = {'name': 'mlp', 'widths': (3, 3, 2, 2), 'activation': 'tanh'}
SPEC = config.build('models', NETWORK).spec
SIZE = SPEC.num_params
CONDITION = np.asarray([0.5, -1.0], np.float32)
FLOW = graph_flow.GraphFlow(NETWORK, num_layers=2, width=8, condition_size=2)


@functools.cache
def parameters():
  """Parameters far from the identity that a flow starts as."""
  tokens = jax.ShapeDtypeStruct((1, SIZE), jnp.float32)
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: 0.2 * rng.standard_normal(leaf.shape).astype(np.float32),
    jax.eval_shape(FLOW.init, jax.random.key(0), tokens),
  )


@functools.cache
def compiled(name):
  """'forward' or 'inverse' of the layers, [D] -> ([D], log-det)."""
  stack = FLOW._stack((1, SIZE))
  return jax.jit(lambda x: stack.apply({'params': parameters()}, x, CONDITION, method=name))


def weights(seed, num=None):
  shape = (SIZE,) if num is None else (num, SIZE)
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@functools.partial(jax.jit, static_argnums=0)
def moved(shift, x):
  """Flat weights [D] with the units of every layer shifted in a circle."""
  perms = {group.id: np.roll(np.arange(group.size), shift) for group in SPEC.groups}
  params = group_lib.permute(perms, layout.unflatten(x, SPEC), SPEC)
  return layout.flatten(params, SPEC)


def test_the_inverse_inverts_and_log_dets_cancel():
  for seed in range(3):
    x = weights(seed)
    y, log_det = compiled('forward')(x)
    back, log_det_back = compiled('inverse')(y)
    assert float(jnp.max(jnp.abs(y - x))) > 0.1
    np.testing.assert_allclose(back, x, atol=1e-5)
    np.testing.assert_allclose(log_det, -log_det_back, atol=1e-4)


@pytest.mark.slow
def test_the_log_det_is_that_of_the_jacobian():
  x = weights(3)
  _, log_det = compiled('forward')(x)
  jacobian = jax.jit(jax.jacfwd(lambda x: compiled('forward')(x)[0]))(x)
  want = np.linalg.slogdet(np.asarray(jacobian, np.float64))[1]
  np.testing.assert_allclose(log_det, want, atol=1e-4)
  assert abs(want) > 0.1


def test_the_density_does_not_see_the_order_of_units():
  x = weights(4)
  same = [x, moved(1, x), moved(2, x)]
  assert not np.array_equal(same[0], same[1])
  given = np.stack([CONDITION] * 4)
  log_prob = jax.jit(lambda x: FLOW.log_prob(parameters(), x[:, None], given))
  nats = np.asarray(log_prob(jnp.stack([*same, 1.1 * x])))
  np.testing.assert_allclose(nats[1:3], nats[0], atol=1e-4)
  assert abs(nats[3] - nats[0]) > 1e-2


@pytest.mark.slow
def test_samples_move_with_their_noise():
  """So all orders of a sample are drawn equally often: noise has none."""
  noise = weights(5)
  for shift in (1, 2):
    np.testing.assert_allclose(
      compiled('inverse')(moved(shift, noise))[0],
      moved(shift, compiled('inverse')(noise)[0]),
      atol=1e-5,
    )
  drawn = FLOW.sample(
    parameters(), jax.random.key(0), 2, shape=(1, SIZE), condition=np.stack([CONDITION, CONDITION])
  )
  noise = jax.random.normal(jax.random.key(0), (2, SIZE))
  np.testing.assert_allclose(drawn[0, 0], compiled('inverse')(noise[0])[0], atol=1e-5)


def test_a_mask_that_parts_the_units_is_caught(monkeypatch):
  masks = slot_coupling.masks

  def parted(channels, layer):
    kept = masks(channels, layer)
    # As half of a flat vector would: some units are kept, others are not.
    kept['hidden0',] = np.arange(3)[:, None] % 2 * np.ones_like(kept['hidden0',])
    return kept

  x = weights(6)
  monkeypatch.setattr(slot_coupling, 'masks', parted)

  def log_det(x):
    stack = FLOW._stack((1, SIZE))
    return stack.apply({'params': parameters()}, x, CONDITION, method='forward')[1]

  run = jax.jit(log_det)
  assert max(abs(float(run(moved(s, x)) - run(x))) for s in (1, 2)) > 1e-3


def test_every_two_channels_are_parted_by_some_layer():
  channels = unit_slots.channels(SPEC)
  total = sum(width for _, width in channels)
  layers = 2 * int(total - 1).bit_length()
  kept = np.stack([
    np.concatenate(list(slot_coupling.masks(channels, i).values()))
    for i in range(layers)
  ])  # fmt: skip
  given = np.einsum('li,lj->ij', kept, 1 - kept) > 0
  np.testing.assert_array_equal(given, ~np.eye(total, dtype=bool))


def test_tokens_of_another_kind_are_refused():
  with pytest.raises(ValueError, match=r'shape \(3, 5\); a graph flow takes flat'):
    FLOW.init(jax.random.key(0), np.zeros((3, 5), np.float32))
  with pytest.raises(ValueError, match='num_layers'):
    graph_flow.GraphFlow(NETWORK, num_layers=0)
