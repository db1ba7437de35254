"""The parts of the wall time of a training, worked out from its events."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wsjax.train.monitor import goodput

PARTS = ('useful', 'compile', 'save', 'restore', 'repeated', 'down', 'other')


def log(process, *events):
  """Events of a process, written as (time, kind, fields)."""
  return [
    {'process': process, 'time': time, 'event': kind, **fields} for time, kind, fields in events
  ]


def block(time, first, last, seconds, *, compiled=False):
  fields = {'first': first, 'last': last, 'seconds': seconds}
  return time, 'block', fields | {'compiled': compiled}


def check(events, **want):
  """Compares a summary with what is worked out by hand; the rest is 0."""
  got = goodput.summarize(events)
  zero = dict.fromkeys((f'{part}_seconds' for part in PARTS), 0.0)
  zero |= {'repeated_steps': 0, 'restarts': 0, 'kills': 0}
  assert got == pytest.approx(zero | want)
  return got


def test_without_a_restart_the_loss_is_compiling_and_saving():
  got = check(
    log(
      'a',
      (100.0, 'start', {'step': 0}),
      block(105.0, 0, 10, 5.0, compiled=True),
      block(107.0, 10, 20, 2.0),
      block(109.5, 20, 30, 2.0),  # Half a second of validation before it.
      (110.0, 'save', {'seconds': 0.5}),
      (110.0, 'stop', {'step': 30, 'reason': 'done'}),
    ),
    wall_seconds=10.0,
    useful_seconds=6.0,
    useful_steps=30,
    compile_seconds=3.0,  # 5 s for what takes 2 s otherwise.
    save_seconds=0.5,
    other_seconds=0.5,
    goodput=0.6,
  )
  assert goodput.describe(got) == ('goodput 60 %: 6.0 s of 10 s in useful steps; no restarts')


def test_after_a_sigterm_no_step_is_repeated():
  got = check(
    log(
      'a',
      (0.0, 'start', {'step': 0}),
      block(4.0, 0, 10, 4.0, compiled=True),
      block(6.0, 10, 20, 2.0),
      (7.0, 'save', {'seconds': 1.0}),
      (7.0, 'stop', {'step': 20, 'reason': 'SIGTERM'}),
    )
    + log(
      'b',
      # The restoring began at 12.
      (13.0, 'restore', {'seconds': 1.0}),
      (13.0, 'start', {'step': 20}),
      block(16.0, 20, 30, 3.0, compiled=True),
      block(18.0, 30, 40, 2.0),
      (18.0, 'stop', {'step': 40, 'reason': 'done'}),
    ),
    wall_seconds=18.0,
    useful_seconds=8.0,
    useful_steps=40,
    compile_seconds=3.0,
    save_seconds=1.0,
    restore_seconds=1.0,
    down_seconds=5.0,
    restarts=1,
    goodput=8 / 18,
  )
  assert goodput.describe(got) == (
    'goodput 44 %: 8.0 s of 18 s in useful steps; 1 restart cost 5.0 s down '
    'and 0 repeated steps (0.0 s)'
  )


def killed():
  """Killed at step 45, restored from 20; the last doing was slower."""
  return (
    log(
      'a',
      (0.0, 'start', {'step': 0}),
      block(2.0, 0, 20, 2.0),
      (3.0, 'save', {'seconds': 1.0}),
      block(5.0, 20, 40, 2.0),
    )
    + log(
      'b',
      (12.0, 'start', {'step': 20}),
      block(16.0, 20, 40, 4.0),
      block(18.0, 40, 60, 2.0),
    )
  )  # fmt: skip


def test_after_a_sigkill_the_last_doing_counts():
  got = check(
    killed(),
    wall_seconds=18.0,
    useful_seconds=6.0,
    useful_steps=60,
    compile_seconds=2.0,  # The first block of b.
    save_seconds=1.0,
    repeated_seconds=2.0,
    repeated_steps=20,
    down_seconds=7.0,
    restarts=1,
    kills=1,
    goodput=6 / 18,
  )
  assert goodput.describe(got) == (
    'goodput 33 %: 6.0 s of 18 s in useful steps; 1 restart cost about 7.0 s '
    'down and 20 repeated steps (2.0 s)'
  )


def test_a_block_that_is_lost_in_part_counts_in_part():
  events = killed()
  events += log('c', block(20.0, 30, 40, 1.0), block(22.0, 40, 60, 2.0))
  got = goodput.summarize(events)
  # All of 20 to 40 in a and of 40 to 60 in b; of 20 to 40 in b one half.
  assert got['repeated_steps'] == 20 + 20 + 10 and got['useful_steps'] == 60
  assert got['repeated_seconds'] == pytest.approx(2.0 + 2.0 + 1.0)


def test_steps_are_lost_as_soon_as_their_process_is_behind_them():
  """The run is at step 25, whatever was done before it was killed."""
  events = killed()[:5] + log('c', block(20.0, 20, 25, 0.5))
  got = goodput.summarize(events)
  assert got['useful_steps'] == 25 and got['repeated_steps'] == 20


def test_nobody_waits_after_the_end():
  done = log('a', (0.0, 'start', {'step': 0}), block(2.0, 0, 20, 2.0),
             (2.0, 'stop', {'step': 20, 'reason': goodput.DONE}))  # fmt: skip
  want = goodput.summarize(done)
  again = [log(name, (time, 'restore', {'seconds': 0.0}))
           for name, time in (('b', 1e6), ('c', 2e6))]  # fmt: skip
  assert goodput.summarize(sum(again, done)) == want
  # Planted fault: had it only been stopped, the time would be lost.
  done[-1]['reason'] = 'SIGTERM'
  assert goodput.summarize(sum(again, done))['down_seconds'] > 1e6


def test_nothing_was_good_before_the_first_event():
  got = check([], wall_seconds=0.0, useful_steps=0, goodput=0.0)
  assert goodput.describe(got) == ('goodput 0 %: 0.0 s of 0.0 s in useful steps; no restarts')


@st.composite
def runs(draw):
  """A simulated training: its events, how often each step ran, its clock."""
  pace, inner = draw(st.floats(0.01, 1)), draw(st.integers(1, 7))
  steps, save_every = draw(st.integers(1, 60)), draw(st.integers(1, 20))
  clock, saved, events, runs_of = 1e9, 0, [], [0] * steps
  waits = st.floats(0, 20)
  deaths = draw(st.lists(st.integers(0, 30), max_size=4)) + [10**9]
  for number, death in enumerate(deaths):  # Blocks until it dies.
    process = str(number)

    def add(kind, process=process, **fields):
      events.extend(log(process, (clock, kind, fields)))

    if number:
      clock += draw(waits)
      seconds = draw(waits)
      clock += seconds
      add('restore', seconds=seconds)
    add('start', step=saved)
    done = saved
    for count in range(death):
      last = min(done + inner, steps, (done // save_every + 1) * save_every)
      seconds = (last - done) * pace * draw(st.floats(0.5, 2))
      seconds += draw(waits) if count == 0 else 0.0
      clock += seconds
      add('block', first=done, last=last, seconds=seconds, compiled=count == 0)
      for step in range(done, last):
        runs_of[step] += 1
      done = last
      clock += draw(st.sampled_from([0.0, 0.5]))  # Validation.
      if done % save_every == 0 or done == steps:
        clock += 0.25
        add('save', seconds=0.25)
        saved = done
      if done == steps:
        add('stop', step=done, reason=goodput.DONE)
        return events, runs_of, clock
  raise AssertionError('the last process does not die')


@settings(max_examples=50)
@given(run=runs())
@example(run=(killed(), [1] * 20 + [2] * 20 + [1] * 20, 18.0))
def test_the_parts_sum_to_the_wall_time(run):
  events, runs_of, end = run
  got = goodput.summarize(events)
  parts = [got[f'{part}_seconds'] for part in PARTS]
  begin = events[0]['time']
  assert min(parts) >= 0
  assert math.isclose(sum(parts), end - begin, rel_tol=1e-6, abs_tol=1e-5)
  assert math.isclose(got['wall_seconds'], end - begin, abs_tol=1e-5)
  assert 0 <= got['goodput'] <= 1
  # The slow way to count steps: a table of how often each was done.
  assert got['useful_steps'] == len(runs_of)
  assert got['repeated_steps'] == sum(runs_of) - len(runs_of)
  assert got['restarts'] == len({event['process'] for event in events}) - 1


@given(run=runs(), skew=st.floats(-1e3, 1e3), data=st.data())
def test_clocks_that_disagree_make_nothing_negative(run, skew, data):
  """Processes on other machines, and seconds that overlap."""
  events = [dict(event) for event in run[0]]
  for event in events:
    event['time'] += skew * int(event['process'])
    if 'seconds' in event:
      event['seconds'] *= data.draw(st.sampled_from([1, 3]))
  got = goodput.summarize(events)
  parts = [got[f'{part}_seconds'] for part in PARTS]
  assert min(parts) >= 0 and 0 <= got['goodput'] <= 1
  assert math.isclose(sum(parts), got['wall_seconds'], abs_tol=1e-5)
