"""Networks as they are written in Flax: some with a spec written by hand."""

import jax
import numpy as np
import pytest

from tests.reference import infer_models
from tests.symmetry import infer_cases
from wsjax.symmetry.inference import infer

IMAGES = infer_cases.normal(2, 8, 8, 3)
SERIES = infer_cases.normal(2, 4, 3)


def _found(model, *inputs):
  params = jax.eval_shape(model.init, jax.random.key(0), *inputs)
  return infer_cases.found(model.apply, params, *inputs)


def _assert_table(spec, expected, names):
  """Compares with {path: 'pinned group ...'}; names: ours -> hand-written."""
  table = {
    path.removeprefix('params/'): ' '.join(
      '-' if axis is None else _word(names.get(axis[0], axis[0]), *axis[1:]) for axis in axes
    )
    for path, axes in infer_cases.table(spec).items()
  }
  assert table == expected


def _word(name, outer, inner):
  return name if outer == inner == 1 else f'{outer}*{name}*{inner}'


def _resnet(c, norm):
  """The spec of ResNet; c(name) is what stands on a channel axis."""
  stats = {'batch': ('mean', 'var'), 'group': ()}[norm]
  spec = {'stem/kernel': f'- - - {c("x")}'}
  norms = {'norm': 'x'}
  for i in range(2):
    spec[f'conv{i}a/kernel'] = f'- - {c("x")} {c(f"h{i}")}'
    spec[f'conv{i}b/kernel'] = f'- - {c(f"h{i}")} {c("x")}'
    spec[f'conv{i}b/bias'] = c('x')
    norms |= {f'norm{i}a': f'h{i}', f'norm{i}b': 'x'}
  for name, group in norms.items():
    spec |= {f'{name}/{leaf}': c(group) for leaf in ('scale', 'bias')}
    spec |= {f'batch_stats/{name}/{leaf}': c(group) for leaf in stats}
  return spec | {'head/kernel': f'{c("x")} -', 'head/bias': '-'}


NAMES = {'stem': 'x', 'conv0a': 'h0', 'conv1a': 'h1'}


@pytest.mark.slow
def test_resnet_with_batch_norm_moves_its_statistics():
  spec = _found(infer_models.ResNet('batch'), IMAGES).spec
  _assert_table(spec, _resnet(lambda name: name, 'batch'), NAMES)
  assert [(g.size, g.kinds) for g in spec.groups] == [
    (6, ('permutation',)),
    (4, ('permutation',)),
    (4, ('permutation',)),
  ]


def test_group_norm_leaves_what_keeps_its_groups():
  inferred = _found(infer_models.ResNet('group'), IMAGES)
  # Two norm groups: 6 channels as 2 x 3, of which the 3 move; 4 as 2 x 2.
  blocks = {'x': '2*x*1', 'h0': '1*h0*2', 'h1': '1*h1*2'}
  _assert_table(inferred.spec, _resnet(blocks.get, 'group'), NAMES)
  assert [d.size for d in inferred.report.dropped] == [2, 2, 2]


@pytest.mark.slow
def test_vit_equals_its_hand_written_spec():
  inferred = _found(infer_models.ViT(), IMAGES)
  spec = {
    'embed/kernel': '- - - x', 'embed/bias': 'x', 'cls': '- - x', 'pos': '- x',
    'head/kernel': 'x -', 'head/bias': '-',
  }  # fmt: skip
  names = {'embed': 'x'}
  for i in range(2):
    names[f'attention{i}/query'] = f'heads{i}'
    names[f'attention{i}/query/kernel.2'] = f'qk{i}'
    names[f'attention{i}/value'] = f'v{i}'
    for part, inner in (('query', 'qk'), ('key', 'qk'), ('value', 'v')):
      path = f'attention{i}/{part}'
      spec[f'{path}/kernel'] = f'x heads{i} {inner}{i}'
      spec[f'{path}/bias'] = f'heads{i} {inner}{i}'
    spec[f'attention{i}/out/kernel'] = f'heads{i} v{i} x'
    spec[f'attention{i}/out/bias'] = 'x'
    spec |= {f'up{i}/kernel': f'x up{i}', f'up{i}/bias': f'up{i}'}
    spec |= {f'down{i}/kernel': f'up{i} x', f'down{i}/bias': 'x'}
  for norm in ('norm0a', 'norm0b', 'norm1a', 'norm1b', 'norm'):
    spec |= {f'{norm}/scale': 'x', f'{norm}/bias': 'x'}
  _assert_table(inferred.spec, spec, names)
  assert all(g.kinds == ('permutation',) for g in inferred.spec.groups)
  gauges = [(g.size, g.per[0][0]) for g in inferred.report.gauges]
  assert gauges == [(4, f'attention{i}/query') for i in (0, 1) for _ in ('qk', 'v')]


@pytest.mark.slow
def test_heads_are_moved_where_one_kernel_makes_all():
  inferred = _found(infer_models.FusedAttention(), IMAGES[:, 0])
  _assert_table(
    inferred.spec,
    {
      'embed/kernel': '- x', 'embed/bias': 'x',
      'qkv/kernel': 'x 3*heads*3', 'qkv/bias': '3*heads*3',
      'out/kernel': '1*heads*3 x', 'out/bias': 'x',
      'head/kernel': 'x -', 'head/bias': '-',
    },
    {'embed': 'x', 'qkv': 'heads'},
  )  # fmt: skip
  gauges = {(g.kind, g.size, *g.per) for g in inferred.report.gauges}
  assert gauges == {('general_linear', 8), ('general_linear', 3, ('params/qkv/kernel:1', 2))}


@pytest.mark.slow
def test_lstm_with_a_kernel_per_gate():
  spec = {'head/kernel': 'h -', 'head/bias': '-'}
  for gate in 'ifgo':
    spec[f'cell/i{gate}/kernel'] = '- h'
    spec[f'cell/h{gate}/kernel'] = 'h h'
    spec[f'cell/h{gate}/bias'] = 'h'
  inferred = _found(infer_models.Lstm(), SERIES)
  _assert_table(inferred.spec, spec, {inferred.spec.groups[0].id: 'h'})


def test_lstm_with_four_gates_in_one_kernel():
  params = infer_cases.shapes(
    input__kernel=(3, 20), input__bias=(20,), recurrent__kernel=(5, 20),
    head__kernel=(5, 2), head__bias=(2,),
  )  # fmt: skip
  inferred = infer_cases.found(infer_models.fused_lstm, params, SERIES)
  _assert_table(
    inferred.spec,
    {
      'input/kernel': '- 4*h*1', 'recurrent/kernel': 'h 4*h*1',
      'input/bias': '4*h*1', 'head/kernel': 'h -', 'head/bias': '-',
    },
    {'input': 'h'},
  )  # fmt: skip


@pytest.mark.slow
def test_u_net_ties_what_a_skip_concatenates():
  inferred = _found(infer_models.UNet(), IMAGES)
  sizes = {g.id: g.size for g in inferred.spec.groups}
  assert sizes == {f'Conv_{i}': n for i, n in enumerate((2, 4, 8, 4, 2))}
  table = infer_cases.table(inferred.spec)
  # Up-sampled channels, then those of the skip: twice the same group.
  assert table['params/ConvTranspose_0/kernel'][3] == ('Conv_1', 2, 1)
  assert table['params/Conv_3/kernel'][2] == ('Conv_1', 4, 1)
  assert not inferred.report.unsupported


@pytest.mark.slow
def test_mixer_mixes_tokens_and_channels():
  inferred = _found(infer_models.Mixer(), IMAGES)
  assert {g.id: g.size for g in inferred.spec.groups} == {
    'embed': 6, 'tokens0': 5, 'mlp0': 7, 'tokens1': 5, 'mlp1': 7,
  }  # fmt: skip
  table = infer_cases.table(inferred.spec)
  assert table['params/tokens0/kernel'] == (None, ('tokens0', 1, 1))


@pytest.mark.slow
def test_graph_network_has_the_sign_of_its_odd_updates():
  rng = np.random.default_rng(0)
  edges = rng.integers(0, 5, 7), rng.integers(0, 5, 7)
  inputs = infer_cases.normal(5, 3), infer_cases.normal(7, 2)
  inferred = _found(infer_models.Gnn(), *inputs, *edges)
  assert {g.id: g.kinds[1:] for g in inferred.spec.groups} == {
    'nodes': ('sign',),
    'message0': ('positive_scale',),
    'message1': ('positive_scale',),
  }
  table = infer_cases.table(inferred.spec)
  assert table['params/message0/kernel'][0] == ('nodes', 3, 1)


def test_a_hundred_million_parameters_are_not_allocated():
  model = infer_models.ViT(depth=16, width=768, heads=12, hidden=3072, patch=16, classes=1000)
  images = jax.ShapeDtypeStruct((8, 224, 224, 3), np.float32)
  params = jax.eval_shape(model.init, jax.random.key(0), images)
  with jax.log_compiles(False), jax.transfer_guard('disallow'):
    arrays = len(jax.live_arrays())
    inferred = infer.infer(model.apply, params, images)
    assert len(jax.live_arrays()) - arrays < 50  # Scalars of the trace.
  assert inferred.spec.num_params > 1e8
  assert len(inferred.spec.groups) == 1 + 16 * 4
  assert len(inferred.report.gauges) == 2 * 16


@pytest.mark.parametrize('norm', ['batch', 'group'])
def test_no_norm_is_an_unsupported_primitive(norm):
  assert not _found(infer_models.ResNet(norm), IMAGES).report.unsupported
