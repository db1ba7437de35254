import dataclasses
import json

import hypothesis
import jax
import numpy as np
import pytest

from tests import strategies
from wsjax.symmetry import spec as spec_lib


def broken_law(case, spec, seed=0):
  """How much a random element of `spec` changes the function of `case`."""
  params = case.params(seed)
  inputs = case.inputs(seed)
  g = spec.random(jax.random.key(seed))
  moved = spec.act(g, params)
  return float(np.abs(case.forward(moved, inputs) - case.forward(params, inputs)).max())


def replace_axis(spec, path, dim, **changes):
  leaves = []
  for leaf in spec.leaves:
    axes = list(leaf.axes)
    if leaf.path == path:
      axes[dim] = dataclasses.replace(axes[dim], **changes)
    leaves.append(dataclasses.replace(leaf, axes=tuple(axes)))
  return spec_lib.Spec(spec.groups, tuple(leaves))


@pytest.mark.parametrize('case', strategies.CASES, ids=lambda c: c.name)
def test_json_gives_back_an_equal_hashable_spec(case):
  text = json.dumps(case.spec.to_json())
  again = spec_lib.Spec.from_json(json.loads(text))
  assert again == case.spec
  assert hash(again) == hash(case.spec)


@hypothesis.given(seed=strategies.SEEDS)
@hypothesis.settings(max_examples=5)
def test_planted_faults_break_the_law(seed):
  case = strategies.make_mlp((5, 4, 4, 2), 'relu')
  faults = {
    'right': case.spec,
    'missing label': replace_axis(case.spec, 'layer1/kernel', 0, group=None),
    'missing bias': replace_axis(case.spec, 'layer0/bias', 0, group=None),
    'wrong label': replace_axis(case.spec, 'layer1/kernel', 0, group='hidden1'),
    'wrong power': replace_axis(case.spec, 'layer1/kernel', 0, power=1),
  }
  change = {name: broken_law(case, spec, seed) for name, spec in faults.items()}
  assert change.pop('right') < 1e-4
  assert min(change.values()) > 1e-3, change


def test_wrong_block_order_breaks_the_law():
  case = strategies.make_cnn((3, 4), 5, 'relu')
  wrong = replace_axis(case.spec, 'layer2/kernel', 0, outer=1, inner=16)
  assert broken_law(case, case.spec) < 1e-4
  assert broken_law(case, wrong) > 1e-3


def test_wrong_half_turn_breaks_the_law():
  case = strategies.make_mlp((2, 6, 5, 1), 'sine')
  groups = tuple(
    dataclasses.replace(group, half_turn=1.1 * group.half_turn) for group in case.spec.groups
  )
  wrong = spec_lib.Spec(groups, case.spec.leaves)
  assert broken_law(case, case.spec) < 1e-3
  assert broken_law(case, wrong) > 1e-2


def test_wrong_lengths_and_names_raise():
  group = spec_lib.Group('a', 3)
  with pytest.raises(ValueError, match='length 4'):
    spec_lib.Spec((group,), (spec_lib.Leaf('w', (4,), (spec_lib.Axis('a'),)),))
  with pytest.raises(ValueError, match="group 'b'"):
    spec_lib.Spec((group,), (spec_lib.Leaf('w', (3,), (spec_lib.Axis('b'),)),))
  with pytest.raises(ValueError, match='axes'):
    spec_lib.Spec((group,), (spec_lib.Leaf('w', (3, 2), (spec_lib.Axis('a'),)),))
  with pytest.raises(ValueError, match='same id'):
    spec_lib.Spec((group, group), ())


def test_groups_that_make_no_sense_raise():
  with pytest.raises(ValueError, match='rotation'):
    spec_lib.Group('a', 3, ('permutation', 'rotation'))
  with pytest.raises(ValueError, match='first'):
    spec_lib.Group('a', 3, ('sign',))
  with pytest.raises(ValueError, match='size 0'):
    spec_lib.Group('a', 0)
  with pytest.raises(ValueError, match='half_turn'):
    spec_lib.Group('a', 3, ('permutation', 'phase'))
  phase = spec_lib.Group('a', 3, ('permutation', 'sign', 'phase'), 0.1)
  with pytest.raises(ValueError, match='shift=True'):
    spec_lib.Spec((phase,), (spec_lib.Leaf('w', (3,), (spec_lib.Axis('a'),)),))


def test_check_names_the_parameter_that_does_not_fit():
  case = strategies.make_mlp((5, 4, 2))
  params = case.params(0)
  case.spec.check(params)
  case.spec.check(case.params(0, num=3), stacked=True)
  lacking = {k: v for k, v in params.items() if k != 'layer0/bias'}
  with pytest.raises(ValueError, match="lack 'layer0/bias'"):
    case.spec.check(lacking)
  with pytest.raises(ValueError, match="have 'extra'"):
    case.spec.check({**params, 'extra': params['layer0/bias']})
  with pytest.raises(ValueError, match='shape'):
    case.spec.check({**params, 'layer0/bias': np.zeros(5)})


def test_from_json_refuses_other_values():
  with pytest.raises(ValueError, match='Not a Spec'):
    spec_lib.Spec.from_json({'groups': []})
  with pytest.raises(ValueError, match='Not a Spec'):
    spec_lib.Spec.from_json({'groups': [{'name': 'a'}]})
