"""Laws of merging: equal networks stay, symmetry does not matter, neither does the order."""

import jax
import numpy as np
import pytest

import wsjax
from wsjax.fusion import activations, align, layerwise, merging, methods
from wsjax.models import cnn as cnn_lib

MLP = wsjax.mlp((6, 8, 8, 3), 'relu')
X = np.random.default_rng(0).normal(size=(96, 6)).astype('f')
OPTIONS = {
  'slerp': {'t': 0.3},
  'nearswap': {'t': 0.1},
  'della': {'density': 0.5},
  'dare_ties': {'density': 0.5},
}


def net(seed, model=MLP):
  return {path: np.asarray(x) for path, x in model.init(jax.random.key(seed)).items()}


def moved(params, seed, model=MLP):
  g = model.spec.random(jax.random.key(seed), 0.0)
  return {path: np.asarray(x) for path, x in model.spec.act(g, params).items()}


def weights(zoo):
  return zoo.networks()[0]


def assert_close(a, b, atol=1e-5):
  for path in a:
    np.testing.assert_allclose(a[path], b[path], atol=atol, err_msg=path)


@pytest.mark.parametrize('method', list(methods.METHODS))
def test_equal_networks_are_merged_to_themselves(method):
  rule, one = methods.METHODS[method], net(0)
  count = 3 if rule.counts[1] is None else rule.counts[1]
  base = one if rule.base == 'required' else None
  zoo = wsjax.merge([one] * count, method, model=MLP, base=base, **OPTIONS.get(method, {}))
  assert_close(weights(zoo), one)


@pytest.mark.parametrize(
  ('how', 'reference'),
  [('weights', 'first'), ('weights', 'barycentre'), ('activations', 'first'),
   ('activations', 'barycentre')],
)  # fmt: skip
def test_networks_that_differ_by_symmetry_are_one_after_alignment(how, reference):
  one = net(0)
  given = [one, moved(one, 1), moved(one, 2)]
  zoo = wsjax.merge(given, model=MLP, align=how, reference=reference, data=X)
  np.testing.assert_allclose(MLP.apply(weights(zoo), X), MLP.apply(one, X), atol=1e-5)
  raw = wsjax.merge(given, model=MLP)
  assert np.abs(MLP.apply(weights(raw), X) - MLP.apply(one, X)).max() > 0.01


@pytest.mark.slow
def test_channels_of_convolutions_are_aligned_by_activations():
  model = cnn_lib.CNN()
  x = np.random.default_rng(1).random((6, *model.input_shape)).astype('f')
  one = net(0, model)
  zoo = wsjax.merge([one, moved(one, 1, model)], model=model, align='activations', data=x)
  np.testing.assert_allclose(model.apply(weights(zoo), x), model.apply(one, x), atol=1e-4)


def test_signs_of_odd_units_are_aligned_by_activations():
  model = wsjax.mlp((6, 8, 3), 'tanh')
  one = net(0, model)
  zoo = wsjax.merge([one, moved(one, 3, model)], model=model, align='activations', data=X)
  np.testing.assert_allclose(model.apply(weights(zoo), X), model.apply(one, X), atol=1e-5)


def test_alignment_does_not_depend_on_the_members_of_the_orbits():
  one, two = net(0), net(1)
  for how in ('weights', 'activations'):
    merged = [
      weights(wsjax.merge([one, other], model=MLP, align=how, data=X))
      for other in (two, moved(two, 5))
    ]
    assert_close(*merged)


@pytest.mark.parametrize('method', ['linear', 'karcher', 'multislerp', 'regmean', 'fisher'])
def test_the_order_of_networks_does_not_matter(method):
  given = [net(i) for i in range(3)]
  one, other = (weights(wsjax.merge(x, method, model=MLP, data=X)) for x in (given, given[::-1]))
  assert_close(one, other, 0.3 if method == 'fisher' else 1e-4)  # Its labels are drawn in order.


def test_the_gauge_of_the_first_network_moves_the_result_with_it():
  one, two = net(0), net(1)
  g = MLP.spec.random(jax.random.key(9), 0.0)
  there = weights(wsjax.merge([MLP.spec.act(g, one), two], model=MLP, align='weights'))
  here = weights(wsjax.merge([one, two], model=MLP, align='weights'))
  np.testing.assert_allclose(MLP.apply(there, X), MLP.apply(here, X), atol=1e-4)


def test_weights_of_one_and_zero_give_that_network():
  one, two = net(0), net(1)
  assert_close(weights(wsjax.merge([one, two], model=MLP, weight=[1.0, 0.0])), one)
  assert_close(weights(wsjax.merge([two], 'slerp', model=MLP, base=one, t=1.0)), two)
  zoo = wsjax.merge([two, net(2)], 'task_arithmetic', model=MLP, base=one, weight=[1.0, 0.0])
  assert_close(weights(zoo), two)


def test_filters_and_gradients_choose_layers():
  one, two = net(0), net(1)
  settings = {'t': [{'filter': 'bias', 'value': 1.0}, {'value': [0.0, 1.0]}]}
  merged = weights(wsjax.merge([two], 'slerp', model=MLP, base=one, parameters=settings))
  assert_close({'a': merged['layer0/kernel']}, {'a': one['layer0/kernel']})
  assert_close({'a': merged['layer2/kernel']}, {'a': two['layer2/kernel']})
  assert_close({'a': merged['layer0/bias']}, {'a': two['layer0/bias']})


def test_layers_are_found_in_any_function():
  found = activations.layers(MLP.apply, net(0), X)
  assert [(layer.kernel, layer.bias) for layer in found] == [
    (f'layer{i}/kernel', f'layer{i}/bias') for i in range(3)
  ]
  features = activations.features(MLP.apply, net(0), X)
  np.testing.assert_allclose(features['layer0/kernel'], X)
  # PyTorch's layout, and a bias that comes first.
  params = {'w': np.ones((3, 6), 'f'), 'b': np.ones(3, 'f')}
  (layer,) = activations.layers(lambda p, x: p['b'][None] + x @ p['w'].T, params, X)
  assert (layer.inputs, layer.bias) == ((1,), 'b') and layer.matrix(params['w']).shape == (6, 3)


def test_regmean_of_one_layer_is_the_least_squares_solution():
  model = wsjax.mlp((6, 3))
  nets, data = [net(i, model) for i in range(2)], [X[:40], 2 * X[40:]]
  stack = {path: np.stack([n[path] for n in nets]) for path in nets[0]}
  merged = layerwise.regmean(model.apply, stack, data)

  def error(params):
    return sum(
      np.mean((model.apply(params, x) - model.apply(n, x)) ** 2)
      for n, x in zip(nets, data, strict=True)
    )

  rng = np.random.default_rng(0)
  for _ in range(5):
    other = {k: v + 1e-2 * rng.normal(size=v.shape).astype('f') for k, v in merged.items()}
    assert error(merged) < error(other)


def test_propagated_regmean_is_nearer_to_the_mean_of_the_logits():
  nets = [net(i) for i in range(2)]
  wanted = np.mean([MLP.apply(n, X) for n in nets], axis=0)

  def error(**options):
    zoo = wsjax.merge(nets, 'regmean', model=MLP, align='activations', data=X, **options)
    return np.square(MLP.apply(weights(zoo), X) - wanted).mean()

  assert error(propagate=True) < error()


def test_repair_restores_the_statistics_of_units():
  nets = [net(i) for i in range(2)]
  raw = weights(wsjax.merge(nets, model=MLP))
  fixed = weights(wsjax.merge(nets, model=MLP, data=X, repair=True))
  spread = [np.std(MLP.apply(params, X), axis=0).mean() for params in (raw, fixed, *nets)]
  assert abs(spread[1] - np.mean(spread[2:])) < abs(spread[0] - np.mean(spread[2:])) / 10


def test_the_record_names_the_parents():
  zoo = wsjax.Zoo.of(MLP, [net(0), net(1)])
  base = wsjax.Zoo.of(MLP, [net(2)])
  merged = wsjax.merge(zoo, 'ties', base=base, density=0.5)
  (record,) = merged.records
  assert [edge['relation'] for edge in record['parents']] == ['merge'] * 3
  assert [edge['record_id'] for edge in record['parents']] == [
    r['record_id'] for r in (*zoo.records, *base.records)
  ]
  assert record['parents'][0]['detail']['method'] == 'ties' and record['split'] == 'test'


@pytest.mark.parametrize(
  ('words', 'options'),
  [
    ('method is', {'method': 'average'}),
    ('give base_model', {'method': 'ties'}),
    ('give data', {'method': 'regmean'}),
    ('give a model and data', {'align': 'activations'}),
    ('3 values for 2 networks', {'weight': [1, 2, 3]}),
    ("no option 'densty'", {'densty': 0.5}),
    ('sum to 0', {'weight': [1.0, -1.0]}),
    ('true or false', {'normalize': 0.5}),
  ],
)
def test_wrong_input_is_one_sentence(words, options):
  with pytest.raises(ValueError, match=words):
    wsjax.merge([net(0), net(1)], model=MLP, **options)


def test_units_that_are_not_seen_are_named():
  def apply(params, x):
    def step(h, _):
      return jax.nn.relu(h @ params['w']), None

    return jax.lax.scan(step, x, None, length=2)[0] @ params['v']

  params = {'w': np.ones((6, 6), 'f'), 'v': np.ones((6, 2), 'f')}
  found = activations.layers(apply, params, X)
  assert [layer.kernel for layer in found] == ['v']
  assert align.HOW and merging.NAMES


@pytest.mark.slow
def test_kernels_of_convolutions_are_layers_in_both_forms():
  def apply(params, x):
    return jax.lax.conv_general_dilated(
      x, params['w'], (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )

  rng = np.random.default_rng(0)
  params = {'w': rng.normal(size=(3, 3, 2, 5)).astype('f')}
  x = rng.normal(size=(2, 4, 4, 2)).astype('f')
  (layer,) = activations.layers(apply, params, x)
  rows = activations.features(apply, params, x)['w']
  product = (rows @ layer.matrix(params['w'])).reshape(2, 4, 4, 5)
  np.testing.assert_allclose(product, apply(params, x), atol=1e-5)
  model = cnn_lib.CNN(image=(8, 8, 2))
  found = activations.layers(model.apply, net(0, model), np.zeros((2, *model.input_shape), 'f'))
  assert found[0].inputs == (0, 1, 2) and 2 * len(found) == len(model.spec.leaves)
