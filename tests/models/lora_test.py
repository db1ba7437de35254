"""Adapters are their products: what compares or combines them ignores the factors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsjax.interop import peft
from wsjax.models import lora as lora_lib
from wsjax.models import mlp, transformer

SEEDS = st.integers(0, 2**20)
NET = mlp.MLP(widths=(7, 6, 5))
LORA = lora_lib.LowRank(rank=3, alpha=6.0)


def draw(seed, lora=LORA, model=NET):
  rng = np.random.default_rng(seed)
  return {
    path: rng.normal(size=shape).astype(np.float32) for path, shape in lora.shapes(model).items()
  }


def moved(adapter, seed):
  """The adapter with other factors: a random element of GL(r) in each module."""
  rng = np.random.default_rng(seed)
  result = {}
  for module, (a, b) in lora_lib.factors(adapter).items():
    # Orthogonal times a scaling between 1/e and e.
    turn = np.linalg.qr(rng.normal(size=(a.shape[0],) * 2))[0]
    element = (turn * np.exp(rng.uniform(-1, 1, a.shape[0]))).astype(np.float32)
    result[module + lora_lib.A] = element @ a
    result[module + lora_lib.B] = b @ np.linalg.inv(element)
  return result


def close(one, other, tolerance=1e-4):
  assert one.keys() == other.keys()
  for path in one:
    np.testing.assert_allclose(one[path], other[path], atol=tolerance, rtol=tolerance)


def test_a_pattern_names_the_kernels_that_are_adapted():
  model = transformer.Transformer(width=8, depth=1, heads=2)
  modules = lora_lib.LowRank('block*/query/kernel|logits/kernel').modules(model)
  assert modules == {'block0/query/kernel': (8, 8), 'logits/kernel': (8, 31)}
  with pytest.raises(ValueError, match='pattern'):
    lora_lib.LowRank('layer9/*').modules(NET)


def test_a_fresh_adapter_changes_nothing_and_merging_adds_the_scaled_product():
  params, adapter = NET.init(jax.random.key(0)), LORA.init(jax.random.key(1), NET)
  close(LORA.merge(params, adapter), params, 0)
  adapter = draw(0)
  x = np.random.default_rng(1).normal(size=(4, 7)).astype(np.float32)
  merged = LORA.merge(params, adapter)
  a, b = lora_lib.factors(adapter)['layer0/kernel']
  expected = x @ params['layer0/kernel'] + 2.0 * (x @ a.T) @ b.T
  np.testing.assert_allclose(x @ merged['layer0/kernel'], expected, rtol=1e-4, atol=1e-4)


@given(seed=SEEDS)
def test_the_canonical_form_is_that_of_the_product(seed):
  adapter = draw(seed)
  form = lora_lib.canonicalize(adapter)
  close(lora_lib.products(form), lora_lib.products(adapter))
  other = lora_lib.canonicalize(moved(adapter, seed + 1))
  for a, b in lora_lib.factors(form).values():
    s = np.sum(np.square(b), 0)
    np.testing.assert_allclose(a @ a.T, np.diag(s), atol=1e-3)
    if (np.diff(s) / s[0]).max() > -1e-2:
      return  # Singular values that nearly meet: the form is not unique.
  close(form, other, 2e-3)
  close(lora_lib.canonicalize(form), form, 2e-3)


@given(seed=SEEDS)
def test_the_distance_is_that_of_the_products(seed):
  one, other = draw(seed), draw(seed + 1)
  direct = np.sqrt(
    sum(
      np.sum((x - y) ** 2)
      for x, y in zip(
        lora_lib.products(one).values(), lora_lib.products(other).values(), strict=True
      )
    )
  )
  np.testing.assert_allclose(lora_lib.distance(one, other), direct, rtol=1e-4)
  assert lora_lib.distance(one, moved(one, seed)) < 1e-4 * direct


@given(seed=SEEDS)
def test_sums_are_of_products_and_not_of_factors(seed):
  first, second = draw(seed), draw(seed + 1)
  difference, lost = lora_lib.combine([first, second], [1.0, -1.0], 2 * LORA.rank)
  expected = {
    module: x - lora_lib.products(second)[module] for module, x in lora_lib.products(first).items()
  }
  close(lora_lib.products(difference), expected, 2e-3)
  assert lost < 1e-5
  # The published fault: (A1 - A2)(B1 + B2), whose cross terms belong to no adapter.
  faulty = {
    path: first[path] - second[path] if path.endswith(lora_lib.A) else first[path] + second[path]
    for path in first
  }
  wrong = max(
    np.abs(lora_lib.products(faulty)[module] - expected[module]).max() for module in expected
  )
  assert wrong > 0.1
  # Other factors of the same adapters give the same sum.
  again, _ = lora_lib.combine([moved(first, seed), second], [1.0, -1.0], 2 * LORA.rank)
  close(lora_lib.products(again), expected, 2e-3)


def test_a_smaller_rank_keeps_the_largest_part_and_says_what_is_lost():
  adapter = draw(3)
  kept, lost = lora_lib.combine([adapter], [1.0], 1)
  whole = lora_lib.distance(adapter, {path: 0 * x for path, x in adapter.items()})
  np.testing.assert_allclose(lora_lib.distance(kept, adapter) / whole, lost, rtol=1e-3)
  assert 0 < lost < 1
  padded, nothing = lora_lib.combine([adapter], [1.0], 5)
  assert nothing < 1e-6 and padded['layer0/kernel' + lora_lib.A].shape == (5, 7)
  assert lora_lib.distance(padded, adapter) < 1e-4 * whole


def test_an_average_has_the_mean_of_the_products():
  adapters = [draw(seed) for seed in range(3)]
  made = lora_lib.average({path: jnp.stack([x[path] for x in adapters]) for path in adapters[0]})
  products = [lora_lib.products(x) for x in adapters]
  wanted = {path: np.mean([x[path] for x in products], 0) for path in products[0]}
  close(lora_lib.products(made), wanted)
  assert all(a.shape[0] == 3 * LORA.rank for a, _ in lora_lib.factors(made).values())


def test_other_modules_are_told():
  adapter = draw(0)
  other = {path: x for path, x in adapter.items() if path.startswith('layer0')}
  with pytest.raises(ValueError, match='layer1'):
    lora_lib.distance(adapter, other)
  with pytest.raises(ValueError, match='lora_B'):
    lora_lib.factors({path: x for path, x in adapter.items() if path.endswith(lora_lib.A)})


@pytest.mark.slow
def test_an_adapter_goes_to_peft_and_comes_back(tmp_path):
  adapter = draw(5)
  peft_names = lora_lib.to_peft(adapter)
  extra = {'peft': {'r': 3, 'lora_alpha': 6.0, 'target_modules': ['layer0', 'layer1']}}
  peft.write(tmp_path / 'adapter', peft_names, {'extra': extra})
  (found,) = peft.read(tmp_path / 'adapter', 'one')
  close(lora_lib.from_peft(found.tensors, LORA, NET), adapter, 0)
  # What the file says of itself is what the adapter adds.
  x = np.random.default_rng(0).normal(size=(2, 13)).astype(np.float32)
  added = found.model.apply({k: jnp.asarray(v) for k, v in found.tensors.items()}, x)
  products = lora_lib.products(adapter)
  expected = [x[:, :7] @ products['layer0/kernel'].T, x[:, 7:] @ products['layer1/kernel'].T]
  np.testing.assert_allclose(added, 2.0 * np.concatenate(expected, 1), rtol=1e-3, atol=1e-4)
  with pytest.raises(ValueError, match='has shape|one of them'):
    lora_lib.from_peft(found.tensors, lora_lib.LowRank(rank=2), NET)
