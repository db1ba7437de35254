"""Rules by name: the state lies where they say, or they are refused."""

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from wsjax.train import sharding, step

# No devices are needed to say where a leaf would lie.
MESH = AbstractMesh((4, 2), ('data', 'model'), (AxisType.Auto,) * 2)
PARAMS = {
  'block0': {'kernel': jnp.zeros((64, 128)), 'bias': jnp.zeros(128)},
  'out': {'kernel': jnp.zeros((128, 6)), 'bias': jnp.zeros(6)},
}


def specs(**options):
  shapes = jax.eval_shape(lambda p: step.create(p, optax.adam(0.1)), PARAMS)
  placed = sharding.of_state(shapes, MESH, **options)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf.spec
    for path, leaf in jax.tree.leaves_with_path(
      placed, is_leaf=lambda x: isinstance(x, NamedSharding)
    )
  }


def test_without_rules_all_is_whole():
  assert all(not any(spec) for spec in specs().values())


def test_a_rule_is_for_parameter_average_and_moments():
  placed = specs(rules=((r'block\d+/kernel', (None, 'model')),))
  for part in ('params', 'ema', 'opt_state/0/mu', 'opt_state/0/nu'):
    assert placed[f'{part}/block0/kernel'] == PartitionSpec(None, 'model')
    assert not any(placed[f'{part}/out/kernel'])
  assert placed['step'] == PartitionSpec()


def test_the_first_rule_wins():
  placed = specs(rules=(('block', ()), ('kernel', ('model',))))
  assert not any(placed['params/block0/kernel'])
  assert placed['params/out/kernel'] == PartitionSpec('model', None)


def test_fsdp_takes_the_longest_axis_that_is_free_and_divides():
  placed = specs(fsdp=True, rules=((r'block0/kernel', (None, 'model')),))
  assert placed['params/block0/kernel'] == PartitionSpec('data', 'model')
  # Of 768 values: too small.
  assert not any(placed['params/out/kernel'])
  assert specs(fsdp=True)['opt_state/0/mu/block0/kernel'] == PartitionSpec(None, 'data')


@pytest.mark.parametrize('size', [0, -2])
def test_a_mesh_has_sizes_that_can_be(size):
  with pytest.raises(ValueError, match='train.mesh'):
    sharding.make_mesh((('data', size),))


@pytest.mark.parametrize(
  ('rule', 'message'),
  [
    (('kernels', ('model',)), 'applies to no parameter'),
    (('kernel', ('models',)), "'models'; the mesh has data, model"),
    (('block0/bias', (None, 'model')), r'2 axes .* shape \(128,\)'),
    (('out/bias', ('data',)), 'splits 6 values over the 4 devices'),
  ],
)
def test_rules_that_do_not_fit_are_refused(rule, message):
  with pytest.raises(ValueError, match=message):
    specs(rules=(rule,))
