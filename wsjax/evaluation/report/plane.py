"""Accuracy of methods against another metric, with the regions where gates are passed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsjax.evaluation.report import drawing, model

_HEX = drawing.COLOURS
# So many networks of each method are drawn, evenly spaced in their order.
NETWORKS_DRAWN = 60
_TICKS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 50)


@drawing.styled
def plane(
  name: str,
  description: str,
  table: model.Table,
  x: str,
  accuracy: float,
  *,
  xlabel: str = '',
  reverse: bool = False,
  marks: Sequence[Mapping[str, Any]] = (),
  regions: Sequence[Mapping[str, Any]] = (),
  copies: float = 0.0,
) -> str:
  """Draws the accuracy of every method against a metric, with its networks as faint points.

  Args:
    table: of the report, with accuracies and the metric, also of single networks.
    x: name of the metric. Its axis is a square root, so that copies spread out.
    accuracy: threshold of the gates. The axis is the logarithm of the error.
    xlabel: of the horizontal axis.
    reverse: whether the horizontal axis runs from 1 to 0, for an overlap.
    marks: vertical lines, 'at' a value with a 'label', to its 'left' or right.
    regions: shaded above the threshold of accuracy and right of 'at', with a 'label'.
    copies: distance below which the background marks copies.
  """
  rows = {
    method: row
    for method, row in table.rows.items()
    if None not in (row.value(x), row.value('accuracy'))
  }
  canvas = drawing.figure(11.4, 6.2, layout='none')
  canvas.subplots_adjust(left=0.072, right=0.99, bottom=0.09, top=0.985)
  axes = canvas.subplots()
  _accuracy_axis(axes, rows, x, accuracy)
  if reverse:
    axes.set_xlim(1.02, 0)
  else:
    _distance_axis(axes, rows, x)
  axes.set_xlabel(xlabel)
  if copies:
    axes.axvspan(-0.0005, copies, color=_HEX['control'], alpha=0.08, linewidth=0)
  notes = [_mark(axes, (m['at'], 0), m['label'], left=m.get('left', False)) for m in marks]
  notes += [_region(axes, r['at'], accuracy, r['label']) for r in regions]
  notes.append(_mark(axes, (0, accuracy), f'zoo p5 {100 * accuracy:.1f} %'))
  tooltips = _markers(axes, rows, x)
  _label(canvas, axes, rows, x, notes)
  return drawing.svg(canvas, name, description, tooltips=tooltips)


def _distance_axis(axes: Any, rows: Mapping[str, model.Row], x: str) -> None:
  """A square-root axis that holds all points."""
  reach = [row.value(x) for row in rows.values()] + [1.2]
  reach += [value for row in rows.values() for value in _networks(row, x)[0]]
  right = 1.04 * max(reach)
  axes.set_xscale('function', functions=(
    lambda x: np.sign(x) * np.sqrt(np.abs(x)), lambda root: np.sign(root) * np.square(root)
  ))  # fmt: skip
  axes.set_xlim(-0.0005, right)
  axes.set_xticks([tick for tick in _TICKS if tick <= right])
  axes.xaxis.set_major_formatter(lambda value, _: f'{value:g}')


def _accuracy_axis(axes: Any, rows: Mapping[str, model.Row], x: str, threshold: float) -> None:
  """An axis of the logarithm of the error: half the errors is one step anywhere."""
  values = [row.value('accuracy') for row in rows.values()]
  for row in rows.values():  # A few stray networks should not flatten the rest.
    values += list(np.quantile(_networks(row, x)[1] or values[:1], (0.03, 0.97)))
  values.append(threshold)
  axes.set_yscale('function', functions=(_decades, _accuracy))
  low, high = _decades(np.array([min(values), max(values)]))
  margin = 0.06 * (high - low) + 0.1
  axes.set_ylim(*_accuracy(np.array([low - margin, high + 2.5 * margin])))
  ticks = (0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1)
  axes.set_yticks([t for t in ticks if low <= t <= axes.get_ylim()[1]])
  axes.yaxis.set_major_formatter(lambda value, _: f'{100 * value:g} %')
  axes.minorticks_off()
  axes.set_ylabel('test accuracy  (logarithm of the error)')
  axes.grid(color=_HEX['line'], linewidth=0.6)
  axes.set_axisbelow(True)
  axes.axhline(threshold, color=_HEX['ink'], linewidth=0.9, dashes=(5, 3))


def _decades(accuracy: np.ndarray) -> np.ndarray:
  """Minus the logarithm of the error; an error of zero stays finite."""
  return -np.log(np.clip(1.002 - accuracy, 1e-4, None))


def _accuracy(decades: np.ndarray) -> np.ndarray:
  """Inverse of `_decades`."""
  return 1.002 - np.exp(-decades)


def _markers(axes: Any, rows: Mapping[str, model.Row], x: str) -> dict[str, str]:
  """Draws networks as points and methods as marks with intervals; gives the tooltips."""
  tooltips = {}
  for row in rows.values():
    points = _networks(row, x)
    axes.plot(*points, '.', color=_HEX[row.kind], alpha=0.4, markersize=3.6, markeredgewidth=0)
  for index, (method, row) in enumerate(rows.items()):
    at, colour = (row.value(x), row.value('accuracy')), _HEX[row.kind]
    across, up = (drawing.extent(row.stats[key]) for key in (x, 'accuracy'))
    axes.errorbar(*at, xerr=across, yerr=up, color=colour, linewidth=1.2)
    (mark,) = axes.plot(
      *at, drawing.MARKERS[row.kind], color=colour, markersize=10 if row.kind == 'model' else 7,
      markeredgecolor=_HEX['paper'], markeredgewidth=1, zorder=5,
    )  # fmt: skip
    mark.set_gid(f'method{index}')
    tooltips[f'method{index}'] = (
      f'{method} ({row.kind}, n = {row.n}): accuracy {100 * at[1]:.1f} %, {x} {at[0]:.3f}'
    )
  return tooltips


def _label(
  canvas: Any, axes: Any, rows: Mapping[str, model.Row], x: str, notes: Sequence[Any]
) -> None:
  """Writes the names of the methods, with a thin line to those far away."""
  renderer = canvas.canvas.get_renderer()
  texts = []
  for index, (method, row) in enumerate(rows.items()):
    size, weight = (10.5, 'bold') if row.kind == 'model' else (9.5, 'normal')
    texts.append(
      axes.text(0, 0, method, transform=None, color=_HEX[row.kind], fontsize=size,
                fontweight=weight, zorder=6, gid=f'label{index}')
    )  # fmt: skip
  sizes = [text.get_window_extent(renderer).size for text in texts]
  points = [
    axes.transData.transform((row.value(x), row.value('accuracy'))) for row in rows.values()
  ]
  taken = [note.get_window_extent(renderer).extents for note in notes]
  taken += [_bar(axes, row, x, up) for row in rows.values() for up in (False, True)]
  frame = axes.get_window_extent(renderer).extents
  boxes = drawing.place(points, sizes, frame, taken)
  for text, box, (left, height) in zip(texts, boxes, points, strict=True):
    text.set_position(box[:2])
    text.set_verticalalignment('bottom')
    end = min(max(left, box[0]), box[2]), min(max(height, box[1]), box[3])
    if np.hypot(end[0] - left, end[1] - height) > 12:
      arrow = {'arrowstyle': '-', 'linewidth': 0.6, 'shrinkA': 4, 'shrinkB': 0}
      line = axes.annotate(
        '', end, (left, height), xycoords='figure pixels', textcoords='figure pixels',
        arrowprops=arrow | {'color': text.get_color()},
      )  # fmt: skip
      line.set_zorder(4)


def _bar(axes: Any, row: model.Row, x: str, up: bool) -> drawing.Box:
  """Pixels that an error bar covers, upright or lying."""
  middle = [row.value(x), row.value('accuracy')]
  down, over = drawing.extent(row.stats['accuracy' if up else x]) or [[0], [0]]
  ends = [list(middle), list(middle)]
  ends[0][up] -= down[0]
  ends[1][up] += over[0]
  corners = axes.transData.transform(ends)
  return (*corners.min(0), *corners.max(0) + 1.5)


def _region(axes: Any, edge: float, threshold: float, name: str) -> Any:
  """Shades where a gate is passed: right of `edge` and above the threshold."""
  right, top = axes.get_xlim()[1], axes.get_ylim()[1]
  axes.fill_between([edge, right], threshold, top, color=_HEX['pass'], alpha=0.13, linewidth=0)
  return axes.annotate(
    name, (edge, top), (4, -4), textcoords='offset points', color=_HEX['pass'], fontsize=9.5,
    fontweight='bold', va='top',
  )  # fmt: skip


def _mark(axes: Any, place: tuple[float, float], name: str, *, left: bool = False) -> Any:
  """Names a line at the foot (x given) or the right end (y given)."""
  x, y = place
  style = {'textcoords': 'offset points', 'fontsize': 9, 'color': _HEX['muted']}
  if y:
    return axes.annotate(
      name, (1, y), (-4, -3), xycoords=('axes fraction', 'data'), ha='right', va='top', **style
    )
  axes.axvline(x, color=_HEX['ink'], linewidth=0.9, dashes=(5, 3))
  offset, side = ((-4, 5), 'right') if left else ((4, 5), 'left')
  return axes.annotate(name, (x, 0), offset, xycoords=('data', 'axes fraction'), ha=side, **style)


def _networks(row: model.Row, x: str) -> tuple[list[float], list[float]]:
  """Coordinates of some single networks of a method."""
  networks = row.per_network
  pairs = list(zip(networks.get(x) or [], networks.get('accuracy') or [], strict=False))
  # A network with weights that are not finite has no distance.
  pairs = [pair for pair in pairs if None not in pair]
  drawn = pairs[:: max(1, -(-len(pairs) // NETWORKS_DRAWN))]
  return [value for value, _ in drawn], [y for _, y in drawn]
