"""The planes of the report: accuracy against novelty, as SVG text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsjax.evaluation.report import drawing

_HEX = drawing.COLOURS
# Of each arm so many nets are drawn, evenly spaced in their order.
NETS_DRAWN = 60


@drawing.styled
def novelty_plane(report: Mapping[str, Any]) -> str:
  """Accuracy against distance to the nearest training net, in tau.

  Args:
    report: as `report.load` returns it.

  Returns:
    SVG text. The distance axis is a square root, so that copies spread out; the accuracy axis is
    the logarithm of the error.
  """
  canvas, axes, arms = _plane(report, 'novelty')
  reach = [_value(arm, 'novelty') for arm in arms] + [1.2]
  reach += [x for arm in arms for x in _nets(arm, 'novelty')[0]]
  right = 1.04 * max(reach)
  axes.set_xscale(
    'function',
    functions=(
      lambda x: np.sign(x) * np.sqrt(np.abs(x)),
      lambda root: np.sign(root) * np.square(root),
    ),
  )
  axes.set_xlim(-0.0005, right)
  ticks = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 50)
  axes.set_xticks([tick for tick in ticks if tick <= right])
  axes.xaxis.set_major_formatter(lambda value, _: f'{value:g}')
  axes.set_xlabel('distance to the nearest training net, τ  (square-root axis)')
  p5 = report['zoo']['accuracy_p5']
  axes.axvspan(-0.0005, 0.1, color=_HEX['control'], alpha=0.08, linewidth=0)
  notes = [
    _note(axes, (0.1, 0), 'copies', left=True),
    _note(axes, (0.5, 0), '0.5 τ'),
    _note(axes, (1.0, 0), 'τ'),
    _region(axes, 0.5, p5, 'half gate'),
    _region(axes, 1.0, p5, 'strict gate'),
  ]
  return _finish(canvas, axes, arms, report, 'novelty', notes)


@drawing.styled
def behaviour_plane(report: Mapping[str, Any]) -> str:
  """Accuracy against the largest error overlap with a training net.

  Args:
    report: as `report.load` returns it.

  Returns:
    SVG text. The overlap axis runs from 1 to 0: right is more independent.
  """
  canvas, axes, arms = _plane(report, 'max_iou')
  axes.set_xlim(1.02, 0)
  axes.set_xlabel('largest error-IoU with a training net  (reversed axis)')
  notes = []
  limit = report['zoo']['loo_max_iou'].get('value')
  if limit is not None:
    notes = [
      _note(axes, (limit, 0), 'zoo leave-one-out', left=True),
      _region(axes, limit, report['zoo']['accuracy_p5'], 'behaviour gate'),
    ]
  return _finish(canvas, axes, arms, report, 'max_iou', notes)


def _plane(report: Mapping[str, Any], key: str) -> tuple[Any, Any, list[Any]]:
  """Empty accuracy plane, and the arms that have a place in it."""
  canvas = drawing.figure(11.4, 6.2, layout='none')
  canvas.subplots_adjust(left=0.072, right=0.99, bottom=0.09, top=0.985)
  axes = canvas.subplots()
  arms = [arm for arm in report['arms'] if None not in (_value(arm, key), _value(arm, 'accuracy'))]
  values = [_value(arm, 'accuracy') for arm in arms]
  for arm in arms:  # A few stray nets should not flatten the rest.
    values += list(np.quantile(_nets(arm, key)[1] or values[:1], (0.03, 0.97)))
  values.append(report['zoo']['accuracy_p5'])
  # The logarithm of the error: half the errors is one step anywhere.
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
  axes.axhline(report['zoo']['accuracy_p5'], color=_HEX['ink'], linewidth=0.9, dashes=(5, 3))
  return canvas, axes, arms


def _decades(accuracy: np.ndarray) -> np.ndarray:
  """Minus the logarithm of the error; an error of zero stays finite."""
  return -np.log(np.clip(1.002 - accuracy, 1e-4, None))


def _accuracy(decades: np.ndarray) -> np.ndarray:
  """Inverse of `_decades`."""
  return 1.002 - np.exp(-decades)


def _finish(
  canvas: Any,
  axes: Any,
  arms: Sequence[Mapping[str, Any]],
  report: Mapping[str, Any],
  key: str,
  notes: Sequence[Any],
) -> str:
  """Draws the arms of a plane, then their labels where there is room."""
  p5 = report['zoo']['accuracy_p5']
  notes = [*notes, _note(axes, (0, p5), f'zoo p5 {100 * p5:.1f} %')]
  tooltips = {}
  for arm in arms:
    colour = _HEX[arm['kind']]
    x, y = _nets(arm, key)
    axes.plot(x, y, '.', color=colour, alpha=0.4, markersize=3.6, markeredgewidth=0)
  for index, arm in enumerate(arms):
    colour = _HEX[arm['kind']]
    stats = arm['metrics']
    axes.errorbar(
      stats[key]['value'],
      stats['accuracy']['value'],
      xerr=drawing.extent(stats[key]),
      yerr=drawing.extent(stats['accuracy']),
      color=colour,
      linewidth=1.2,
    )
    (mark,) = axes.plot(
      stats[key]['value'],
      stats['accuracy']['value'],
      drawing.MARKERS[arm['kind']],
      color=colour,
      markersize=10 if arm['kind'] == 'generator' else 7,
      markeredgecolor=_HEX['paper'],
      markeredgewidth=1,
      zorder=5,
    )
    mark.set_gid(f'arm{index}')
    tooltips[f'arm{index}'] = (
      f'{arm["name"]} ({arm["kind"]}, n = {arm["n"]}): accuracy '
      f'{100 * stats["accuracy"]["value"]:.1f} %, {key} '
      f'{stats[key]["value"]:.3f}'
    )
  _label(canvas, axes, arms, key, notes)
  return drawing.svg(canvas, key, f'Accuracy against {key} of every arm', tooltips=tooltips)


def _label(
  canvas: Any, axes: Any, arms: Sequence[Mapping[str, Any]], key: str, notes: Sequence[Any]
) -> None:
  """Writes the names of the arms, with a thin line to those far away."""
  renderer = canvas.canvas.get_renderer()
  texts = [
    axes.text(
      0,
      0,
      arm['name'],
      transform=None,
      color=_HEX[arm['kind']],
      fontsize=10.5 if arm['kind'] == 'generator' else 9.5,
      fontweight='bold' if arm['kind'] == 'generator' else 'normal',
      zorder=6,
      gid=f'label{index}',
    )
    for index, arm in enumerate(arms)
  ]
  sizes = [text.get_window_extent(renderer).size for text in texts]
  points = [axes.transData.transform((_value(arm, key), _value(arm, 'accuracy'))) for arm in arms]
  taken = [note.get_window_extent(renderer).extents for note in notes]
  taken += [_bar(axes, arm, key, up) for arm in arms for up in (False, True)]
  frame = axes.get_window_extent(renderer).extents
  boxes = drawing.place(points, sizes, frame, taken)
  for text, box, (x, y) in zip(texts, boxes, points, strict=True):
    text.set_position(box[:2])
    text.set_verticalalignment('bottom')
    end = min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])
    if np.hypot(end[0] - x, end[1] - y) > 12:
      line = axes.annotate(
        '',
        end,
        (x, y),
        xycoords='figure pixels',
        textcoords='figure pixels',
        arrowprops={
          'arrowstyle': '-',
          'color': text.get_color(),
          'linewidth': 0.6,
          'shrinkA': 4,
          'shrinkB': 0,
        },
      )
      line.set_zorder(4)


def _bar(axes: Any, arm: Mapping[str, Any], key: str, up: bool) -> drawing.Box:
  """Pixels that an error bar covers, upright or lying."""
  middle = [_value(arm, key), _value(arm, 'accuracy')]
  stat = arm['metrics']['accuracy' if up else key]
  down, over = drawing.extent(stat) or [[0], [0]]
  ends = [list(middle), list(middle)]
  ends[0][up] -= down[0]
  ends[1][up] += over[0]
  corners = axes.transData.transform(ends)
  return (*corners.min(0), *corners.max(0) + 1.5)


def _region(axes: Any, edge: float, p5: float, name: str) -> Any:
  """Shades where a gate is passed: right of `edge` and above `p5`."""
  right, top = axes.get_xlim()[1], axes.get_ylim()[1]
  axes.fill_between([edge, right], p5, top, color=_HEX['pass'], alpha=0.13, linewidth=0)
  return axes.annotate(
    name,
    (edge, top),
    (4, -4),
    textcoords='offset points',
    color=_HEX['pass'],
    fontsize=9.5,
    fontweight='bold',
    va='top',
  )


def _note(axes: Any, place: tuple[float, float], name: str, *, left: bool = False) -> Any:
  """Names a line at the foot (x given) or the right end (y given)."""
  x, y = place
  if y:
    return axes.annotate(
      name,
      (1, y),
      (-4, -3),
      xycoords=('axes fraction', 'data'),
      textcoords='offset points',
      ha='right',
      va='top',
      fontsize=9,
      color=_HEX['muted'],
    )
  axes.axvline(x, color=_HEX['ink'], linewidth=0.9, dashes=(5, 3))
  return axes.annotate(
    name,
    (x, 0),
    (-4 if left else 4, 5),
    xycoords=('data', 'axes fraction'),
    textcoords='offset points',
    ha='right' if left else 'left',
    fontsize=9,
    color=_HEX['muted'],
  )


def _value(arm: Mapping[str, Any], key: str) -> float | None:
  return arm['metrics'].get(key, {}).get('value')


def _nets(arm: Mapping[str, Any], key: str) -> tuple[list[float], list[float]]:
  """Coordinates of some single nets of an arm."""
  nets = arm.get('per_net', {})
  pairs = list(zip(nets.get(key) or [], nets.get('accuracy') or [], strict=False))
  # A net with weights that are not finite has no distance.
  pairs = [pair for pair in pairs if None not in pair]
  drawn = pairs[:: max(1, -(-len(pairs) // NETS_DRAWN))]
  return [x for x, _ in drawn], [y for _, y in drawn]
