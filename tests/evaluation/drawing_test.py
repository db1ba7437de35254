import itertools

import numpy as np
import pytest

from tests.reference import fake_report
from wsjax.evaluation.report import drawing, figures, planes


def _overlap(a, b):
  return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


@pytest.mark.parametrize('seed', range(3))
def test_labels_keep_apart_and_inside(seed):
  rng = np.random.default_rng(seed)
  # Half of the points in one crowd.
  points = rng.uniform((40, 40), (760, 400), (24, 2))
  points[:12] = rng.uniform((300, 200), (420, 280), (12, 2))
  sizes = [(rng.integers(40, 110), 12) for _ in points]
  frame, taken = (0, 0, 800, 440), [(690, 0, 800, 20)]
  boxes = drawing.place(points, sizes, frame, taken)
  for a, b in itertools.combinations([*boxes, *taken], 2):
    assert not _overlap(a, b)
  for box in boxes:
    assert box[0] >= 0 and box[1] >= 0 and box[2] <= 800 and box[3] <= 440


def test_labels_do_not_move_between_runs():
  points, sizes = [(50, 50), (52, 51)], [(40, 10), (40, 10)]
  frame = (0, 0, 200, 200)
  assert drawing.place(points, sizes, frame, []) == drawing.place(points, sizes, frame, [])


def test_colours_are_those_of_the_page():
  svg = figures.barrier(fake_report.make(fake_report.ARMS[:1]))
  assert 'var(--generator)' in svg and 'var(--ink)' in svg
  assert '#0' not in svg.replace('href="#', '').replace('url(#', '')


def test_planes_show_a_tooltip_for_every_arm():
  made = fake_report.make()
  for svg in (planes.novelty_plane(made), planes.behaviour_plane(made)):
    assert svg.count('<title>') == len(made['arms'])
    assert 'zoo p5 95.8 %' in svg


def test_planes_take_perfect_and_dead_nets():
  made = fake_report.make(fake_report.ARMS[:2])
  for arm, value in zip(made['arms'], (0.0, 1.0), strict=True):
    arm['metrics']['accuracy'] = fake_report.stat(value)
    arm['per_net']['accuracy'] = [value] * arm['n']
  assert 'nan' not in planes.novelty_plane(made)


def test_intervals_name_every_run_and_what_was_not_run():
  rows = [
    ('a/seed0', {'gate_half': fake_report.stat(0.3, 0.1)}),
    ('b/seed0', {'gate_half': {'value': None, 'not_run': 'stopped'}}),
  ]
  svg = figures.intervals(rows, {'gate_half': 'half gate'})
  for text in ('a/seed0', 'b/seed0', 'not run', 'half gate'):
    assert text in svg
