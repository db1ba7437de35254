"""The model of a step follows its formula and has the known limits."""

import argparse
import dataclasses

import pytest

from benchmarks import projection

CHIP = projection.Chip(peak=100e12, achieved=0.5, memory=1e12, link=50e9, hop=1e-6)
WORK = projection.Workload(name='test', num_params=25_000_000, flops=2e9, layers=10)
TINY = projection.Workload(name='tiny', num_params=1000, flops=1e5, layers=2)


def step(work=WORK, chip=CHIP, *, chips=5, batch=100, strategy='data parallel'):
  return projection.step(work, chip, chips=chips, batch=batch, strategy=strategy)


def test_a_step_is_what_one_computes_by_hand():
  found = step()
  # 100 examples of 2 GFLOP at 50 TFLOP/s.
  assert found.compute == pytest.approx(4e-3)
  # 25 M parameters of 40 bytes at 1 TB/s.
  assert found.memory == pytest.approx(1e-3)
  # 2 passes of 4/5 of 100 MB at 50 GB/s, and 2 * 4 hops.
  assert found.latency == pytest.approx(8e-6)
  assert found.communication == pytest.approx(3.2e-3 + 8e-6)
  assert found.seconds == pytest.approx(7.208e-3)
  assert found.efficiency == pytest.approx(4 / 7.208)


def test_fsdp_has_three_passes_and_a_message_per_layer():
  found = step(strategy='fsdp')
  assert found.latency == pytest.approx(3 * 10 * 4e-6)
  assert found.communication == pytest.approx(4.8e-3 + 1.2e-4)


@pytest.mark.parametrize('strategy', projection.STRATEGIES)
def test_one_chip_sends_nothing(strategy):
  found = step(chips=1, strategy=strategy)
  assert found.communication == 0 and found.efficiency == 1


@pytest.mark.parametrize('strategy', projection.STRATEGIES)
def test_efficiency_grows_with_bandwidth_batch_and_overlap(strategy):
  def efficiencies(field, values):
    for value in values:
      chip = dataclasses.replace(CHIP, **{field: value})
      yield step(chip=chip, chips=256, strategy=strategy).efficiency

  for field, values in (
    ('link', (1e9, 1e10, 1e11, 1e12)),
    ('overlap', (0.0, 0.5, 1.0)),
    ('hop', (1e-4, 1e-5, 1e-6)),
  ):
    grown = list(efficiencies(field, values))
    assert grown == sorted(grown) and grown[0] < grown[-1]
  batches = [step(batch=b, chips=256, strategy=strategy).efficiency for b in (100, 1000, 10_000)]
  assert batches == sorted(set(batches))


def test_communication_hides_behind_no_more_than_there_is():
  chip = dataclasses.replace(CHIP, overlap=1.0)
  assert step(chip=chip).efficiency == 1
  # 1 ms is busy, 3.208 ms are sent.
  assert step(chip=chip, batch=1).exposed == pytest.approx(2.208e-3)


def test_a_tiny_model_waits_for_latency_and_a_large_one_for_bandwidth():
  tiny, large = (step(work, chips=256) for work in (TINY, WORK))
  assert tiny.latency > 0.99 * tiny.communication
  assert large.latency < 0.2 * large.communication
  # No bandwidth helps what waits for latency.
  fast = dataclasses.replace(CHIP, link=1e15)
  assert step(TINY, fast, chips=256).efficiency < 1.01 * tiny.efficiency


@pytest.mark.parametrize('strategy', projection.STRATEGIES)
@pytest.mark.parametrize('work', [WORK, TINY])
def test_the_smallest_batch_is_enough_and_one_less_is_not(work, strategy):
  options = dict(chips=256, strategy=strategy)
  batch = projection.smallest_batch(work, CHIP, **options)
  assert step(work, batch=batch, **options).efficiency >= 0.8
  assert step(work, batch=batch - 1, **options).efficiency < 0.8
  assert projection.smallest_batch(work, CHIP, chips=1, strategy=strategy) == 1


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (dict(strategy='pipeline'), 'allowed: data parallel, fsdp'),
    (dict(chips=0), 'one chip'),
    (dict(batch=0), 'one chip and example'),
  ],
)
def test_what_makes_no_sense_is_refused(change, message):
  with pytest.raises(ValueError, match=message):
    step(**change)


@pytest.mark.parametrize(
  'change', [dict(peak=0.0), dict(overlap=1.5), dict(link=-1.0), dict(achieved=40.0)]
)
def test_a_chip_that_cannot_be_is_refused(change):
  with pytest.raises(ValueError, match=f'{next(iter(change))} of a chip is'):
    projection.Chip(**change)
  with pytest.raises(ValueError, match='No batch gives'):
    projection.smallest_batch(WORK, CHIP, chips=2, strategy='fsdp', least=1.0)


def test_assumptions_are_options_and_notes_say_that_nothing_was_run():
  parser = argparse.ArgumentParser()
  projection.add_arguments(parser)
  assert projection.chip_of(parser.parse_args([])) == projection.Chip()
  chip = projection.chip_of(parser.parse_args(['--chip-link', '25e9']))
  assert chip.link == 25e9
  first, *lines = projection.notes([WORK, TINY], chip, batch=8)
  assert 'nothing was run' in first and 'link 2.5e+10' in first
  assert len(lines) == 4
  rows = list(projection.rows([WORK], chip, batch=8))
  assert [row['chips'] for row in rows] == 2 * list(projection.CHIPS)
