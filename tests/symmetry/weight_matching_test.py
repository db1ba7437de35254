import dataclasses

import hypothesis
import jax
import numpy as np
import pytest

from tests import strategies
from tests.reference import symmetry as reference
from wsjax.symmetry import canonicalize
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.matching import host, weight_matching

NUM = 4


def act(g, zoo, spec):
  return canonicalize.apply_all(g, zoo, spec)


def distances(one, zoo):
  return np.array(
    [
      reference.squared_distance(one, {p: v[i] for p, v in zoo.items()}) ** 0.5
      for i in range(len(next(iter(zoo.values()))))
    ]
  )


def noisy_orbit(case, params, seed, sigma=0.01):
  """Noisy copies and the same moved by random elements of scale +-1."""
  rng = np.random.default_rng(seed)
  noisy = {
    path: (value + sigma * rng.normal(size=(NUM, *value.shape))).astype(np.float32)
    for path, value in params.items()
  }
  keys = jax.random.split(jax.random.key(seed), NUM)
  g = jax.vmap(lambda key: case.spec.random(key, 0.0))(keys)
  return noisy, act(g, noisy, case.spec)


def finds_copies(case, seed):
  params = case.params(seed)
  noisy, moved = noisy_orbit(case, params, seed)
  g = weight_matching.weight_matching(params, moved, case.spec, restarts=3)
  found = distances(params, act(g, moved, case.spec))
  return (found <= distances(params, noisy) + 1e-5).all()


@pytest.mark.slow
@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
@hypothesis.settings(max_examples=8)
def test_noisy_orbit_members_are_brought_back(case, seed):
  assert finds_copies(case, seed)


def test_a_matcher_that_does_nothing_is_caught(monkeypatch):
  monkeypatch.setattr(
    host.Descent, 'run', lambda self, state, *_, **__: (state, np.zeros(len(self.ia)))
  )
  assert not finds_copies(strategies.make_mlp((5, 4, 3, 2)), 0)


@pytest.mark.parametrize(
  'widths,activation', [((3, 6, 2), 'relu'), ((3, 4, 2), 'tanh'), ((2, 3, 1), 'sine')]
)
def test_one_hidden_layer_is_matched_exactly(widths, activation):
  case = strategies.make_mlp(widths, activation)
  for seed in range(3):
    params, zoo = case.params(seed), case.params(seed + 100, NUM)
    if activation == 'sine':
      half_turn = case.spec.groups[0].half_turn
      for one in (params, zoo):  # Then at most one half turn is needed.
        one['layer0/bias'] = np.clip(one['layer0/bias'], -half_turn / 2, half_turn / 2)
    g = weight_matching.weight_matching(params, zoo, case.spec)
    found = distances(params, act(g, zoo, case.spec))
    best = [
      reference.best_distance(params, {p: v[i] for p, v in zoo.items()}, case.spec)
      for i in range(NUM)
    ]
    np.testing.assert_allclose(found, best, rtol=1e-5)


@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
@hypothesis.settings(max_examples=8)
def test_never_worse_than_leaving_the_network(case, seed):
  params, zoo = case.params(seed), case.params(seed + 1, NUM)
  g = weight_matching.weight_matching(params, zoo, case.spec)
  found = distances(params, act(g, zoo, case.spec))
  assert (found <= distances(params, zoo) * (1 + 1e-6)).all()


@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
@hypothesis.settings(max_examples=8)
def test_no_single_group_can_be_matched_better(case, seed):
  params, zoo = case.params(seed), case.params(seed + 1, 1)
  if len(case.spec.groups) == 1:
    return  # A leaf with this group twice is not linear in it.
  g = weight_matching.weight_matching(params, zoo, case.spec)
  aligned = {p: v[0] for p, v in act(g, zoo, case.spec).items()}
  found = reference.squared_distance(params, aligned)
  for group in case.spec.groups:
    if group.size > 4:
      continue
    still = case.spec.identity()
    for perm in list(
      reference.all_elements(dataclasses.replace(group, kinds=('permutation',), half_turn=0.0))
    ):
      other = reference.permute({**still.perms, group.id: perm[0]}, aligned, case.spec)
      assert found <= reference.squared_distance(params, other) + 1e-4


@pytest.mark.parametrize('case', strategies.CASES, ids=lambda c: c.name)
def test_objective_is_what_distance_says(case):
  a, b = case.params(0, 2), case.params(1, 3)
  pairs = np.array([[0, 0], [1, 2], [0, 1], [1, 1]])
  g, objective = weight_matching.match_pairs(
    a, b, pairs, case.spec, restarts=2, seed=0, solver='host'
  )
  moved = act(g, {p: v[pairs[:, 1]] for p, v in b.items()}, case.spec)
  for k, (i, _) in enumerate(pairs):
    total = 0
    for leaf in case.spec.leaves:
      one = np.asarray(a[leaf.path][i], np.float64)
      two = np.asarray(moved[leaf.path][k], np.float64)
      axis = leaf.axes[-1]
      if all(axis.group is None for axis in leaf.axes):
        continue
      if axis.shift and 'phase' in case.spec.group(axis.group).kinds:
        total -= np.sum((one - two) ** 2) / 2
      else:
        total += np.sum(one * two)
    assert objective[k] == pytest.approx(total, abs=1e-4)


@pytest.mark.parametrize('case', [strategies.CASES[i] for i in (1, 4, 7, 8)], ids=lambda c: c.name)
def test_result_depends_on_seed_alone(case):
  a, b = case.params(0, 3), case.params(1, 4)
  pairs = np.stack(np.meshgrid(range(3), range(4)), -1).reshape(-1, 2)

  def match(**options):
    return weight_matching.match_pairs(
      a, b, pairs, case.spec,
      **{'restarts': 4, 'seed': 0, 'solver': 'host', **options}
    )  # fmt: skip

  whole, again, chunked = match(), match(), match(memory=1)
  jax.tree.map(np.testing.assert_array_equal, whole[0], again[0])
  jax.tree.map(np.testing.assert_array_equal, whole[0].perms, chunked[0].perms)
  np.testing.assert_allclose(whole[1], chunked[1], atol=1e-5)
  more = match(restarts=8)
  assert (more[1] >= whole[1] - 1e-6).all()
  few, _ = weight_matching.match_pairs(a, b, pairs[:2], case.spec, restarts=4)
  jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[:2], y), whole[0].perms, few.perms)


@pytest.mark.parametrize(
  'case',
  [strategies.make_mlp((3, 4, 4, 2), 'tanh'), strategies.make_mlp((2, 4, 1), 'sine')],
  ids=lambda c: c.name,
)
def test_device_finds_what_the_host_finds(case):
  a, b = case.params(0), case.params(1, NUM)
  host, device = (
    weight_matching.weight_matching(a, b, case.spec, solver=solver) for solver in ('host', 'device')
  )
  jax.tree.map(np.testing.assert_array_equal, host, device)


@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
@hypothesis.settings(max_examples=8)
def test_all_of_an_orbit_end_in_one_place(case, seed):
  params = case.params(seed)
  _, moved = noisy_orbit(case, case.params(seed + 1), seed, sigma=0.0)
  pairs = np.stack([np.zeros(NUM, int), np.arange(NUM)], axis=1)
  g, _ = weight_matching.match_pairs(
    {p: v[None] for p, v in params.items()}, moved, pairs, case.spec,
    restarts=3, seed=0, solver='host', identity=False,
  )  # fmt: skip
  aligned = act(g, moved, case.spec)
  for value in aligned.values():
    np.testing.assert_allclose(value, np.broadcast_to(value[:1], value.shape), atol=1e-5)


def test_a_start_is_only_improved():
  case = strategies.make_mlp((5, 4, 3, 2), 'tanh')
  a, b = case.params(0, 1), case.params(1, NUM)
  pairs = np.stack([np.zeros(NUM, int), np.arange(NUM)], axis=1)
  g, _ = weight_matching.match_pairs(
    a, b, pairs, case.spec, restarts=1, seed=0, solver='host',
    from_identity=True, identity=False,
  )  # fmt: skip
  one = {p: v[0] for p, v in a.items()}
  assert (distances(one, act(g, b, case.spec)) <= distances(one, b)).all()


def test_no_pairs_are_no_elements():
  case = strategies.make_mlp((5, 4, 3, 2), 'tanh')
  g, _ = weight_matching.match_pairs(
    case.params(0, 1), case.params(1, 2), np.zeros((0, 2), int), case.spec
  )
  assert g.perms['hidden0'].shape == (0, 4)
  assert set(g.scales) == set(case.spec.identity().scales)


def test_a_network_without_groups_is_left_alone():
  leaf = spec_lib.Leaf('w', (3,), (spec_lib.PINNED,))
  g = weight_matching.weight_matching(
    {'w': np.ones(3)}, {'w': np.ones((2, 3))},
    spec_lib.Spec((), (leaf,)),
  )  # fmt: skip
  assert g.perms == {}


def test_bad_input_raises():
  case = strategies.make_mlp((5, 4, 3, 2))
  a, b = case.params(0), case.params(1, 2)
  with pytest.raises(ValueError, match='restarts'):
    weight_matching.weight_matching(a, b, case.spec, restarts=0)
  with pytest.raises(ValueError, match='solver'):
    weight_matching.weight_matching(a, b, case.spec, solver='greedy')
  with pytest.raises(ValueError, match='shape'):
    weight_matching.weight_matching(a, a, case.spec)
  with pytest.raises(ValueError, match='pairs'):
    weight_matching.match_pairs(b, b, np.zeros(3, int), case.spec)
  case = strategies.make_mlp((2, 6, 4, 1), 'sine')  # Half periods keep it from being scaled down.
  large = {path: 1e25 * value for path, value in case.params(1, 2).items()}
  with pytest.raises(ValueError, match='range of float32'):
    weight_matching.weight_matching({p: v[0] for p, v in large.items()}, large, case.spec)


def test_weights_that_are_not_finite_raise():
  case = strategies.make_mlp((5, 4, 3, 2))
  a, b = case.params(0), case.params(1, 2)
  b['layer0/kernel'][1, 0, 0] = np.nan
  with pytest.raises(ValueError, match='finite'):
    weight_matching.weight_matching(a, b, case.spec)
