import itertools

import numpy as np
import pytest

from wsjax.evaluation.report import drawing, plots


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
  line = {'x': [0, 1], 'y': [1.0, 2.0], 'kind': 'model'}
  svg = plots.lines('curve', 'A curve', [{'lines': [line], 'title': 'Loss'}])
  assert 'var(--model)' in svg and 'var(--ink)' in svg
  assert '#0' not in svg.replace('href="#', '').replace('url(#', '')


def test_a_curve_follows_its_values():
  def draw(*y):
    return plots.lines('curve', 'A curve', [{'lines': [{'x': [0, 1], 'y': list(y)}]}])

  assert draw(0.1, 0.2) == draw(0.1, 0.2) != draw(0.1, 0.9)
