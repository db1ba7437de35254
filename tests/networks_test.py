"""Networks slice, join, become vectors and back, and run in calls of one shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import strategies
from wsjax import networks

CASE = strategies.make_mlp((5, 4, 3, 2))


def make(num, seed=0):
  return networks.Networks(CASE.params(seed, num), CASE.spec)


def assert_equal(a, b):
  assert a.spec == b.spec and len(a) == len(b)
  jax.tree.map(np.testing.assert_array_equal, a.params, b.params)


def test_slices_masks_and_indices_are_networks_and_an_integer_is_one():
  nets = make(6)
  mask = np.array([True, False] * 3)
  assert_equal(nets[mask], nets[np.array([0, 2, 4])])
  assert_equal(nets[::2], nets[mask])
  last = {path: value[5] for path, value in nets.params.items()}
  jax.tree.map(np.testing.assert_array_equal, nets[5], last)
  assert len(list(nets)) == 6 and 'layer0/kernel' in next(iter(nets))


def test_parts_join_to_the_whole_and_other_specs_do_not():
  nets = make(5)
  assert_equal(networks.Networks.concat([nets[:2], nets[2:]]), nets)
  other = strategies.make_mlp((5, 3, 3, 2))
  with pytest.raises(ValueError):
    networks.Networks.concat([nets, networks.Networks(other.params(0, 2), other.spec)])
  with pytest.raises(ValueError):
    networks.Networks.concat([])


@pytest.mark.parametrize('cast', [np.asarray, jnp.asarray])
def test_vectors_and_networks_are_two_forms_of_the_same(cast):
  nets = make(4).replace(params=jax.tree.map(cast, make(4).params))
  vectors = nets.flat()
  assert vectors.shape == (4, CASE.spec.num_params) and isinstance(vectors, type(cast(0.0)))
  assert_equal(networks.Networks.from_flat(vectors, CASE.spec), nets)
  with pytest.raises(ValueError):
    networks.Networks.from_flat(vectors[:, 1:], CASE.spec)


def test_networks_pass_through_jit():
  nets = make(3)
  doubled = jax.jit(lambda x: x.replace(params=jax.tree.map(lambda y: 2 * y, x.params)))(nets)
  assert_equal(doubled.host(), nets.replace(params=jax.tree.map(lambda y: 2 * y, nets.params)))


def test_weights_that_are_not_finite_or_too_large_are_found():
  nets = make(4)
  nets.params['layer1/bias'][1, 0] = np.nan
  nets.params['layer0/kernel'][2, 0, 0] = np.inf
  nets.params['layer0/kernel'][3, 0, 0] = 1e9
  assert nets.finite().tolist() == [True, False, False, False]


def test_check_names_a_wrong_shape_and_lengths_that_differ():
  nets = make(3).check()
  with pytest.raises(ValueError, match='layer0/kernel'):
    nets.replace(params={**nets.params, 'layer0/kernel': np.zeros((3, 1, 1))}).check()
  with pytest.raises(ValueError, match='length'):
    nets.replace(params={**nets.params, 'layer0/kernel': np.zeros((2, 5, 4))}).check()


@pytest.mark.parametrize('chunk', [None, 1, 4, 7, 10])
def test_the_runner_gives_every_network_once_in_calls_of_one_shape(chunk):
  nets = make(7)
  traces = []

  def total(net):
    traces.append(1)
    return {'sum': sum(jnp.sum(x) for x in net.values())}

  found = nets.map(total, chunk)['sum']
  assert isinstance(found, np.ndarray) and len(traces) == 1
  np.testing.assert_allclose(found, nets.flat().sum(1), rtol=1e-5)


def test_rows_are_spread_evenly():
  assert networks.evenly(10, 3).tolist() == [0, 4, 9]
  assert networks.evenly(2, 5).tolist() == [0, 1]
