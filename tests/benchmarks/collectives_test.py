"""Bytes of collectives, by hand and of programs whose bytes are known."""

import json
import sys

import pytest

from benchmarks import collectives, worker

MODULE = """
HloModule jit_step, is_scheduled=true, num_partitions=4

%sum (a: f32[], b: f32[]) -> f32[] {{
  %a = f32[] parameter(0), metadata={{op_name="all-reduce(a, replica_groups="}}
  %b = f32[] parameter(1)
  ROOT %add = f32[] add(%a, %b)
}}

%inner (p: (s32[], f32[10])) -> (s32[], f32[10]) {{
  %p = (s32[], f32[10]) parameter(0)
  {inner}
}}

%test (p: (s32[], f32[10])) -> pred[] {{
  %p = (s32[], f32[10]) parameter(0)
  ROOT %less = pred[] constant(true)
}}

%body (p: (s32[], f32[10])) -> (s32[], f32[10]) {{
  %p = (s32[], f32[10]) parameter(0)
  {body}
}}

ENTRY %main (x: f32[10]) -> f32[10] {{
  %x = f32[10]{{0}} parameter(0)
  {entry}
}}
"""
LOOP = (
  '%w{name} = (s32[], f32[10]{{0}}) while(%t), condition=%test, body=%{name}, '
  'backend_config={{"known_trip_count":{{"n":"{turns}"}}}}'
)
REDUCE = (
  '%r = f32[10]{0} all-reduce(%x), channel_id=1, replica_groups={{0,1,2,3}}, '
  'to_apply=%sum, metadata={op_name="all-gather(nothing)"}'
)


def found(entry='', *, body='', inner='', steps=1):
  text = MODULE.format(entry=entry, body=body, inner=inner)
  return collectives.of_step(text, steps=steps)


def loop(name, turns):
  return LOOP.format(name=name, turns=turns)


@pytest.mark.parametrize(
  ('line', 'payload', 'sent'),
  [
    # Full sizes are 40 bytes, or what is said.
    ('f32[10]{0} all-reduce(%x), replica_groups={}', 40, 60),
    ('f32[10]{0} all-reduce(%x), replica_groups={{0,1},{2,3}}', 40, 40),
    ('f32[10]{0} all-reduce(%x), replica_groups=[2,2]<=[4]', 40, 40),
    (
      "f32[10]{0} all-reduce(%x), replica_groups=mesh['a'=2,'b'=2], "
      "device_ids=([2,2]T(1,0)) {'b'}, channel_id=3",
      40,
      40,
    ),
    ('f32[10]{0} all-reduce(%x), replica_groups={{0},{1},{2},{3}}', 40, 0),
    ('f32[4,10]{1,0} all-gather(%x), dimensions={0}', 160, 120),
    # The result of a scattering is a part: here 2 of 8 values.
    ('f32[2]{0} reduce-scatter(%x), dimensions={0}', 32, 24),
    ('(f32[5]{0}, f32[5]{0}) all-to-all(%x, %x)', 40, 30),
    ('f32[10]{0} collective-permute(%x), source_target_pairs={{0,1},{1,0}}',
     40, 40),
    ('f32[10]{0} collective-permute(%x), source_target_pairs={{0,0},{1,1}}',
     40, 0),
    # Types and tuples: 2 * 3 + 1 + 8 * 2 + 4 bits, rounded up.
    (
      '(bf16[3]{0:T(256)}, pred[], /*index=2*/c64[2]{0}, s4[1]{0}) '
      'all-reduce(%x)',
      24,
      36,
    ),
  ],
)  # fmt: skip
def test_bytes_of_one_collective(line, payload, sent):
  (one,) = found(f'%c = {line}')
  assert (one.count, one.payload, one.sent) == (1, payload, sent)
  assert collectives.sent([one]) == sent


@pytest.mark.parametrize(
  ('start', 'done', 'payload'),
  [
    ('%s = f32[10]{0} all-reduce-start(%x), replica_groups={}', 'all-reduce-done', 40),
    (
      '%s = (f32[10]{0}, f32[40]{0}) all-gather-start(%x), replica_groups={}',
      'all-gather-done',
      160,
    ),
    (
      '%s = ((f32[5]{0}, f32[5]{0}), (f32[20]{0}, f32[20]{0})) '
      'all-gather-start(%x, %x), replica_groups={}',
      'all-gather-done',
      160,
    ),
    (
      '%s = (f32[10]{0}, f32[10]{0}, u32[], u32[]) collective-permute-start('
      '%x), source_target_pairs={{0,1}}',
      'collective-permute-done',
      40,
    ),
    ('%s = ((f32[40]{0}), f32[10]{0}) reduce-scatter-start(%x)', 'reduce-scatter-done', 160),
  ],
)
def test_start_and_done_are_one_collective(start, done, payload):
  (one,) = found(f'{start}\n  %d = f32[10]{{0}} {done}(%s), channel_id=1')
  assert (one.count, one.payload) == (1, payload)


def test_an_async_computation_counts_where_it_starts():
  (one,) = found(
    '%s = ((f32[10]{0}), f32[10]{0}) async-start(%x), calls=%body\n'
    '  %d = f32[10]{0} async-done(%s), calls=%body',
    body=REDUCE,
  )
  assert one.count == 1


def test_loops_in_loops_multiply_and_a_block_is_divided_by_its_steps():
  nested = found(
    f'{loop("body", 6)}\n  {REDUCE}', body=f'{REDUCE}\n  {loop("inner", 4)}', inner=REDUCE, steps=6
  )
  # One of the step, four of its microbatches, a sixth of one of the block.
  (one,) = nested
  assert one.count == pytest.approx(5 + 1 / 6)
  assert one.sent == pytest.approx(60 * one.count)


def test_a_loop_of_unknown_length_is_refused_only_with_collectives():
  unknown = '%w = (s32[]) while(%t), condition=%test, body=%body'
  assert found(unknown) == []
  with pytest.raises(ValueError, match='no known_trip_count'):
    found(unknown, body=REDUCE)


def test_branches_must_communicate_alike():
  both = '%c = f32[10]{{0}} conditional(%x), branch_computations={{{}, {}}}'
  (one,) = found(both.format('%body', '%body'), body=REDUCE)
  assert one.count == 1
  with pytest.raises(ValueError, match='Branches'):
    found(both.format('%body', '%inner'), body=REDUCE)


@pytest.mark.parametrize(
  'line',
  [
    'f32[10]{0} collective-broadcast(%x), replica_groups={{0,1}}',
    'f32[10]{0} ragged-all-to-all(%x), replica_groups={{0,1}}',
    'f32[10]{0} all-shuffle(%x)',
    'f32[10]{0} scatter-around(%x), replica_groups={{0,1}}',
    '(f32[10]{0}, u32[], token[]) send(%x), channel_id=2',
    'f32[10]{0} custom-call(%x), custom_call_target="all_reduce_of_mine"',
  ],
)
def test_what_communicates_and_is_unknown_is_not_missed(line):
  with pytest.raises(ValueError, match='communicates, and is none of'):
    found(f'%c = {line}')


@pytest.mark.parametrize(
  ('line', 'message'),
  [
    ('q7x[10]{0} all-reduce(%x)', 'Unknown type q7x'),
    ('f32[10]{0} all-reduce(%x), replica_groups=all', 'Cannot read'),
  ],
)
def test_what_cannot_be_read_is_an_error(line, message):
  with pytest.raises(ValueError, match=message):
    found(f'%c = {line}')
  with pytest.raises(ValueError, match='no ENTRY'):
    collectives.of_step('def f(x): return x')


def test_names_of_operands_and_of_operations_are_not_opcodes():
  assert found('%all-reduce.1 = f32[10]{0} negate(all-gather.2)') == []


GENERATOR = {'name': 'flow_matching', 'backbone': {'name': 'mlp', 'width': 32, 'depth': 1}}


def built(*requests, devices=4):
  """Facts of training programs on simulated devices."""
  process = worker.Worker(
    [sys.executable, str(worker.PEERS / 'jax_scaling.py')],
    environment={'JAX_PLATFORMS': 'cpu', **worker.simulated_devices(devices)},
  )
  common = dict(kind='train', generator=GENERATOR, shape=[2, 16], batch=32, steps=3)
  try:
    return [process.ask(build=json.dumps(request), **{**common, **request}) for request in requests]
  finally:
    process.close()


def kinds(facts):
  return {(c['kind'], c['devices']): c for c in facts['collectives']}


@pytest.mark.slow
def test_data_parallel_training_reduces_its_gradient_once_a_step():
  jit, mapped = built(dict(mode='jit'), dict(mode='shard_map'))
  (one,), (other,) = jit['collectives'], mapped['collectives']
  # Each gradient in float32, and the loss.
  assert one['payload'] == 4 * jit['num_params'] + 4
  # Two biases of width 32 are added in the block, so their gradients are one array; with shard_map
  # the compiler sees that before it sends them.
  assert one['payload'] - other['payload'] == 4 * 32
  for found in (one, other):
    assert found['sent'] == 2 * 3 / 4 * found['payload']
    assert (found['kind'], found['devices']) == ('all-reduce', 4)
    assert found['count'] == 1


@pytest.mark.slow
def test_microbatches_reduce_their_gradients_where_the_compiler_cuts_them():
  whole, cut, own = built(
    dict(mode='jit'), dict(mode='jit', microbatch=8), dict(mode='shard_map', microbatch=4)
  )
  once = kinds(whole)['all-reduce', 4]
  # Four parts; under shard_map a device adds up its own before it sends.
  assert kinds(cut)['all-reduce', 4]['payload'] == 4 * once['payload']
  assert kinds(own)['all-reduce', 4]['payload'] <= once['payload']


@pytest.mark.slow
def test_fsdp_gathers_weights():
  (facts,) = built(dict(mode='fsdp'))
  seen = kinds(facts)
  params = 4 * facts['num_params']
  # Weights of 1024 values and more are gathered; on CPU the compiler does it once, and reduces
  # gradients whole instead of scattering them.
  assert 0.8 * params < seen['all-gather', 4]['payload'] < 1.6 * params
  gradient = sum(
    seen[kind, 4]['payload'] for kind in ('all-reduce', 'reduce-scatter') if (kind, 4) in seen
  )
  assert params <= gradient < 1.2 * params
