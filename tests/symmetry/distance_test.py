import hypothesis
import jax
import numpy as np
import pytest

from tests import strategies
from tests.reference import symmetry as reference
from wsjax.symmetry import canonicalize, distance
from wsjax.symmetry.matching import host, weight_matching


def norm(zoo):
  return np.sqrt(sum(np.sum(v.reshape(len(v), -1) ** 2.0, axis=1) for v in zoo.values()))


def moved(case, zoo, seed, sigma=0.0, max_log_scale=1.0):
  """Noise, then a random element of the whole group, for every network."""
  rng = np.random.default_rng(seed)
  num = len(next(iter(zoo.values())))
  keys = jax.random.split(jax.random.key(seed), num)
  g = jax.vmap(lambda key: case.spec.random(key, max_log_scale))(keys)
  noisy = {
    path: (value + sigma * rng.normal(size=value.shape)).astype(np.float32)
    for path, value in zoo.items()
  }
  return canonicalize.apply_all(g, noisy, case.spec)


@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
@hypothesis.settings(max_examples=3)
def test_distance_of_an_orbit_member_is_zero(case, seed):
  zoo = case.params(seed, 3)
  matrix = case.spec.distance(zoo, moved(case, zoo, seed), reference=case.params(seed + 1))
  assert matrix.shape == (3, 3)
  # Scaling and turning round the weights themselves.
  assert (np.diag(matrix) < 1e-5 * norm(zoo)).all()
  assert matrix[~np.eye(3, dtype=bool)].min() > 0.1


def test_a_permuted_exact_copy_is_at_zero():
  case = strategies.make_mlp((20, 8, 8, 4), 'relu')
  zoo = case.params(0, 4)
  copies = moved(case, zoo, 1, max_log_scale=0.0)
  found, index = case.spec.nearest(copies, zoo, reference=case.params(9))
  np.testing.assert_array_equal(index, np.arange(4))
  assert (found < 1e-6 * norm(zoo)).all()


@pytest.mark.parametrize(
  'case',
  [
    strategies.make_mlp((20, 8, 8, 4), 'relu'),
    strategies.make_mlp((20, 8, 6, 4), 'tanh'),
    strategies.make_cnn((4, 6), 8, 'relu'),
  ],
  ids=lambda case: case.name,
)
def test_noisy_copies_read_as_copies(case):
  zoo = case.params(0, 6)
  reference_net = {path: value[0] for path, value in zoo.items()}
  table = case.spec.distance(zoo, zoo, reference=reference_net) + np.diag([np.inf] * 6)
  tau = np.median(table.min(axis=1))
  found, index = case.spec.nearest(moved(case, zoo, 1, sigma=0.01), zoo, reference=reference_net)
  np.testing.assert_array_equal(index, np.arange(6))
  assert (found < 0.1 * tau).all(), found / tau


def test_without_the_matcher_copies_would_be_new(monkeypatch):
  monkeypatch.setattr(
    host.Descent, 'run', lambda self, state, *_, **__: (state, np.zeros(len(self.ia)))
  )
  case = strategies.make_mlp((20, 8, 8, 4), 'relu')
  zoo = case.params(0, 3)
  found, _ = case.spec.nearest(moved(case, zoo, 1), zoo, reference=case.params(9))
  assert found.min() > 0.5


@pytest.mark.parametrize(
  'case',
  [strategies.make_mlp((3, 5, 2), 'gelu'), strategies.make_mlp((3, 4, 2), 'tanh')],
  ids=lambda case: case.name,
)
def test_one_hidden_layer_is_exact(case):
  a, b = case.params(0, 2), case.params(1, 3)
  matrix = case.spec.distance(a, b, reference=case.params(2))
  for i in range(2):
    for j in range(3):
      assert matrix[i, j] == pytest.approx(
        reference.best_distance(
          {p: v[i] for p, v in a.items()}, {p: v[j] for p, v in b.items()}, case.spec
        ),
        rel=1e-4,
      )


@pytest.mark.parametrize('case', [strategies.CASES[i] for i in (1, 3, 4, 6)], ids=lambda c: c.name)
def test_never_above_any_of_the_ways(case):
  a, b, one = case.params(0, 3), case.params(1, 2), case.params(2)
  matrix = case.spec.distance(a, b, reference=one)

  def plain(a, b):
    return np.array(
      [
        [
          reference.squared_distance(
            {p: v[i] for p, v in a.items()}, {p: v[j] for p, v in b.items()}
          )
          ** 0.5
          for j in range(2)
        ]
        for i in range(3)
      ]
    )

  balanced = [canonicalize.balance_all(x, case.spec) for x in (a, b)]
  one = canonicalize.balance(one, case.spec)
  aligned = [
    canonicalize.apply_all(
      weight_matching.weight_matching(one, x, case.spec, restarts=3), x, case.spec
    )
    for x in balanced
  ]
  for way in (plain(a, b), plain(*balanced), plain(*aligned)):
    assert (matrix <= way * (1 + 1e-5)).all()


@pytest.mark.parametrize('few', [0, 10**9])
def test_products_of_some_pairs_are_those_of_the_table(monkeypatch, few):
  rng = np.random.default_rng(0)
  a, b = rng.standard_normal((7, 300)), rng.standard_normal((5, 300))
  pairs = np.stack([rng.integers(7, size=23), rng.integers(5, size=23)], 1)
  monkeypatch.setattr(distance, '_FEW', few)
  # Pieces of two pairs, or of three columns.
  monkeypatch.setattr(distance, '_MEMORY', 16 * 300 * 2)
  found = distance._products(a, b, pairs)
  slow = [a[i] @ b[j] for i, j in pairs]
  np.testing.assert_allclose(found, slow, rtol=1e-12)


def test_pairs_are_entries_of_the_table():
  case = strategies.make_mlp((5, 4, 2), 'relu')  # Exact, hence symmetric.
  zoo, one = case.params(0, 5), case.params(1)
  pairs = np.stack(np.triu_indices(5, 1), axis=1)
  table = case.spec.distance(zoo, zoo, reference=one)
  np.testing.assert_allclose(table, table.T, atol=1e-4)
  found = case.spec.distance(zoo, zoo, reference=one, pairs=pairs)
  np.testing.assert_allclose(found, table[pairs[:, 0], pairs[:, 1]], rtol=1e-5)


def test_nearest_is_an_upper_bound_that_is_near():
  case = strategies.make_mlp((20, 8, 8, 4), 'relu')
  a, b, one = case.params(0, 5), case.params(1, 20), case.params(2)
  table = case.spec.distance(a, b, reference=one)
  found, index = case.spec.nearest(a, b, reference=one)
  np.testing.assert_allclose(found, table[np.arange(5), index], rtol=1e-6)
  assert (found <= 1.1 * table.min(axis=1)).all()
  every, index = case.spec.nearest(a, b, reference=one, num_nearest=20)
  np.testing.assert_allclose(every, table.min(axis=1), rtol=1e-6)
  np.testing.assert_array_equal(index, table.argmin(axis=1))


def test_bad_input_raises():
  case = strategies.make_mlp((5, 4, 2), 'relu')
  zoo, one = case.params(0, 1), case.params(1)
  search = distance.Neighbours(zoo, case.spec, one)
  with pytest.raises(ValueError, match='No network is left'):
    search.nearest(zoo, exclude_same_index=True)
  with pytest.raises(ValueError, match='shape'):
    case.spec.distance(one, zoo, reference=one)
