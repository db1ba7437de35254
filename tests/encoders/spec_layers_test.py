"""The universal linear map: equivariant, and nothing equivariant is missing."""

import functools
import itertools

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from tests import marks, strategies
from wsjax import testing
from wsjax.layers import spec_layers
from wsjax.symmetry import spec as spec_lib

H = spec_lib.Axis('h')
RECURRENT = spec_lib.Spec(
  (spec_lib.Group('h', 5),),
  (
    spec_lib.Leaf('in/kernel', (3, 5), (spec_lib.PINNED, H)),
    spec_lib.Leaf('rec/kernel', (5, 5), (H, H)),
    spec_lib.Leaf('rec/bias', (5,), (H,)),
    spec_lib.Leaf('gate/kernel', (5, 20), (H, spec_lib.Axis('h', outer=4))),
    spec_lib.Leaf('scale', (), ()),
  ),
)
SPECS = {
  'mlp': strategies.make_mlp().spec,
  'cnn': strategies.make_cnn().spec,
  'recurrent': RECURRENT,
}


@pytest.mark.parametrize(
  'case', marks.slow([f'{name} {folded}' for name in SPECS for folded in (1, 64)], 'cnn 1')
)
def test_the_layer_commutes_with_every_reordering(case):
  name, max_folded = case.split()
  layer = spec_layers.SpecLinear(SPECS[name], 4, int(max_folded))
  error = testing.assert_equivariant(layer, SPECS[name])
  assert error < 1e-5


def small(labels_of, sizes):
  """A spec with one leaf per tuple of groups."""
  return spec_lib.Spec(
    tuple(spec_lib.Group(id, n) for id, n in sizes.items()),
    tuple(
      spec_lib.Leaf(
        f'leaf{i}', tuple(sizes[id] for id in labels), tuple(spec_lib.Axis(id) for id in labels)
      )
      for i, labels in enumerate(labels_of)
    ),
  )


def as_matrix(function, spec):
  """The matrix of a linear map from one network's weights to the same."""
  shapes = [leaf.shape for leaf in spec.leaves]
  ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])

  def flat(vector):
    features = {
      leaf.path: vector[start:stop].reshape(*leaf.shape, 1)
      for leaf, start, stop in zip(spec.leaves, ends, ends[1:], strict=False)
    }
    out = function(features)
    return jnp.concatenate([out[leaf.path].ravel() for leaf in spec.leaves])

  return jax.jacobian(flat)(jnp.zeros(ends[-1]))


# Four indices of one group need four units to be told apart.
CASES = {
  'chain': (small([('a',), ('a', 'b'), ('b',)], {'a': 2, 'b': 3}), None),
  'bias': (small([('a',)], {'a': 3}), 2),
  'recurrent': (small([('a', 'a')], {'a': 4}), 15),
  'recurrent and bias': (small([('a', 'a'), ('a',)], {'a': 4}), None),
}


@pytest.mark.parametrize('name', marks.slow(CASES, 'recurrent and bias', 'chain'))
def test_no_equivariant_linear_map_is_missing(name):
  """Dimension of what the layer can be, against a brute-force commutant."""
  spec, known = CASES[name]
  layer = spec_layers.SpecLinear(spec, 1)
  features = {leaf.path: jnp.zeros((*leaf.shape, 1)) for leaf in spec.leaves}
  variables = jax.jit(layer.init)(jax.random.key(0), features)
  flat, unflatten = jax.flatten_util.ravel_pytree(variables)

  def matrix(vector):
    return as_matrix(lambda f: layer.apply(unflatten(vector), f), spec)

  matrices = jax.jit(jax.vmap(matrix))(jnp.eye(len(flat)))
  rank = np.linalg.matrix_rank(np.asarray(matrices).reshape(len(flat), -1), tol=1e-4)
  constraints = []
  identity = as_matrix(lambda f: f, spec)
  for group in spec.groups:
    for i, j in itertools.combinations(range(group.size), 2):
      order = np.arange(group.size)
      order[[i, j]] = j, i
      g = spec.identity()
      g = g.replace(perms={**g.perms, group.id: jnp.asarray(order)})
      act = jax.vmap(functools.partial(spec.act, g), -1, -1)  # Of every channel.
      act = np.asarray(as_matrix(act, spec))
      eye = np.eye(len(identity))
      constraints.append(np.kron(act, eye) - np.kron(eye, act.T))
  commutant = len(identity) ** 2 - np.linalg.matrix_rank(np.concatenate(constraints), tol=1e-6)
  assert rank == commutant
  assert known is None or rank == known


def test_two_recurrent_indices_have_fifteen_patterns():
  """Bell number of the four indices of a map between square kernels."""
  labels = ('h', 'h')
  reads = [u for p in spec_layers.patterns(labels)
           for u, _ in spec_layers.subsets(labels, p)]  # fmt: skip
  slot = jnp.ones((3, 3, 1))
  pooled = [units for units, _ in spec_layers.pools(slot, labels)]
  pairs = sum(a == b for a in pooled for b in reads)
  assert pairs == 15


def test_pools_are_the_means_of_numpy():
  slot = np.random.default_rng(0).standard_normal((4, 4, 3, 2))
  slot = slot.astype(np.float32)
  labels = ('h', 'h', 'k')
  got = [(u, np.asarray(v)) for u, v in spec_layers.pools(slot, labels)]
  diagonal = np.stack([slot[i, i] for i in range(4)])
  wanted = [
    (('h', 'h', 'k'), slot),
    (('h', 'h', 'k'), slot.transpose(1, 0, 2, 3)),
    (('h', 'h'), slot.mean(2)),
    (('h', 'k'), slot.mean(1)),
    (('h', 'k'), slot.mean(0)),
    (('k',), slot.mean((0, 1))),
    (('h',), slot.mean((0, 2))),
    ((), slot.mean((0, 1, 2))),
    (('h', 'k'), diagonal),
    (('k',), diagonal.mean(0)),
    (('h',), diagonal.mean(1)),
  ]
  for units, value in wanted:
    assert any(
      u == units and v.shape == value.shape and np.allclose(v, value, atol=1e-6) for u, v in got
    ), units


def test_a_slot_of_the_wrong_shape_is_named():
  layer = spec_layers.SlotLinear((('a', ('h',)),), (('a', ('h',), 2),))
  with pytest.raises(ValueError, match=r"'a' has shape \(3, 4, 1\)"):
    layer.init(jax.random.key(0), {'a': jnp.ones((3, 4, 1))})
  layer = spec_layers.SlotLinear((('a', ('h',)), ('b', ('h',))), (('a', ('h',), 2),))
  with pytest.raises(ValueError, match="has 4 of 'h'; another has 3"):
    layer.init(jax.random.key(0), {'a': jnp.ones((3, 1)), 'b': jnp.ones((4, 1))})
