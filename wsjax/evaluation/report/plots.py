"""Plots of reports as SVG text; a `model.Figure` names one and holds its arguments.

The `name` of a plot is the prefix of its ids, unique in the page; its `description` is for readers
who cannot see it.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsjax.evaluation.report import drawing, model

NAMES = (
  'confusion', 'contours', 'densities', 'histogram', 'images', 'intervals', 'lines', 'pareto',
  'plane', 'scatter',
)  # fmt: skip
_HEX = drawing.COLOURS
_CELL = 1.35  # Inches of an image.
# So many networks of each method are drawn, evenly spaced in their order.
NETWORKS_DRAWN = 60
_TICKS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 50)


@drawing.styled
def lines(
  name: str,
  description: str,
  panels: Sequence[Mapping[str, Any]],
  *,
  ylabel: str = '',
  scale: str = 'linear',
  share: bool = False,
  xscale: str = 'linear',
  height: float = 2.9,
) -> str:
  """Draws curves, in panels with a common vertical axis.

  Args:
    panels: 'lines', each with 'x', 'y' (None is a gap) and optionally 'label', 'kind' (key of
      `model.KINDS`) and 'style' ('solid', 'faint' or 'dotted'); and optionally 'title', 'xlabel',
      'ticks', names of 0, 1, ..., and 'marks', vertical lines with 'x' and 'label'.
    ylabel: of the vertical axis.
    scale: of the vertical axis, 'linear' or 'log'; 'log' is linear where a value is not positive or
      all are within a factor of 5.
    share: whether values are shares, shown in percent from 0 to 100.
    xscale: 'linear', 'log', or 'doubling' for 0, 1, 2, 4, ...
    height: in inches.
  """
  canvas = drawing.figure(11.4 if len(panels) > 1 or height > 2.5 else 5.6, height)
  grid = canvas.subplots(1, len(panels), sharey=True, squeeze=False)[0]
  drawn: list[float] = []
  for axes, panel in zip(grid, panels, strict=True):
    for line in panel['lines']:
      points = [p for p in zip(line['x'], line['y'], strict=False) if p[1] is not None]
      if points:
        axes.plot(*zip(*points, strict=True), label=line.get('label'), **_line_style(line))
        drawn.extend(y for _, y in points)
    for mark in panel.get('marks', ()):
      axes.axvline(mark['x'], color=_HEX['baseline'], linestyle='--', label=mark['label'])
    axes.set_title(panel.get('title', ''), loc='left', fontsize=10)
    axes.set_xlabel(panel.get('xlabel', ''))
    axes.margins(x=0.01)
    if 'ticks' in panel:
      axes.set_xticks(range(len(panel['ticks'])), panel['ticks'])
    elif xscale == 'log':
      known = [x for line in panel['lines'] for x in line['x']]
      _log_axis(axes, 'x', min(known), max(known))
    elif xscale == 'doubling':
      ticks = panel['lines'][0]['x']
      # Steps double from the second on; 0 has a place of its own before them.
      axes.set_xscale('symlog', linthresh=ticks[1], base=2)
      axes.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
      axes.minorticks_off()
    else:
      axes.locator_params(axis='x', nbins=9 // len(panels) + 2)
      axes.xaxis.set_major_formatter(lambda value, _: f'{value:,.6g}')
  first = grid[0]
  if scale == 'log' and drawn and min(drawn) > 0 and max(drawn) > 5 * min(drawn):
    _log_axis(first, 'y', min(drawn), max(drawn))
  if share:
    first.yaxis.set_major_formatter(lambda value, _: f'{value:.0%}')
    first.set_ylim(0, 1)
    for axes in grid:
      axes.grid(axis='y', color=_HEX['line'], linewidth=0.6)
      axes.set_axisbelow(True)
  first.set_ylabel(ylabel)
  handles, names = first.get_legend_handles_labels()
  if handles:
    canvas.legend(handles, names, loc='outside upper left', ncols=min(len(names), 6))
  return drawing.svg(canvas, name, description)


def _line_style(line: Mapping[str, Any]) -> dict[str, Any]:
  style = line.get('style', 'solid')
  kind = line.get('kind', 'model')
  made = {'color': _HEX[kind], 'linewidth': 1.8}
  if style == 'faint':
    made |= {'linewidth': 0.7, 'alpha': 0.3}
  elif style == 'dotted':
    made |= {'linestyle': ':'}
  elif len(line['x']) <= 12:  # Colour alone is not read by everyone.
    made |= {'marker': drawing.MARKERS[kind], 'markersize': 4}
  return made


def _log_axis(axes: Any, name: str, low: float, high: float) -> None:
  """Makes axis 'x' or 'y' logarithmic, with ticks at 1, 2 and 5."""
  ticks = [m * 10.0**power for power in range(-9, 10) for m in (1, 2, 5)]
  axes.set(**{f'{name}scale': 'log'})
  axes.set(**{f'{name}ticks': [tick for tick in ticks if low / 1.2 <= tick <= high * 1.2]})
  axis = axes.xaxis if name == 'x' else axes.yaxis
  axis.set_major_formatter(lambda value, _: f'{value:g}')
  axis.set_minor_formatter(lambda value, _: '')
  axis.set_tick_params(which='minor', length=0)


@drawing.styled
def images(name: str, description: str, rows: Sequence[Mapping[str, Any]]) -> str:
  """Draws images, one row per 'title' with its 'images' [n, height, width, channels] in [0, 1]."""
  num = len(rows[0]['images'])
  canvas = drawing.figure(_CELL * num + 1.3, _CELL * len(rows))
  grid = canvas.subplots(len(rows), num, squeeze=False)
  for line, row in zip(grid, rows, strict=True):
    for axes, values in zip(line, row['images'], strict=True):
      image = np.clip(np.asarray(values, float), 0, 1)
      if image.shape[-1] == 1:
        image = image[..., 0]
      # 'none' keeps every pixel as it is; the page scales it.
      axes.imshow(image, cmap='gray', vmin=0, vmax=1, interpolation='none')
      axes.set(xticks=[], yticks=[])
      axes.spines[:].set_visible(False)
    line[0].set_ylabel(row['title'], rotation=0, ha='right', va='center')
  return drawing.svg(canvas, name, description)


@drawing.styled
def intervals(
  name: str, description: str, table: model.Table, metrics: Sequence[str], rows: Sequence[str] = ()
) -> str:
  """Draws metrics as dots with intervals, one panel each, one line per row of the table.

  `rows` names them from the top; all rows if there is none.
  """
  shown = {row: table.rows[row] for row in rows or table.rows}
  known = {metric.name: metric for metric in table.metrics}
  canvas = drawing.figure(11.4, 1.0 + 0.3 * len(shown))
  panels = canvas.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
  for axes, key in zip(panels, metrics, strict=True):
    for height, row in enumerate(shown.values()):
      stat = row.stats.get(key, {})
      if stat.get('value') is None:
        axes.text(0, height, 'not run', color=_HEX['muted'], va='center', fontsize=9)
        continue
      axes.errorbar(
        stat['value'], height, xerr=drawing.extent(stat), marker=drawing.MARKERS[row.kind],
        color=_HEX[row.kind], linewidth=1.5,
      )  # fmt: skip
    axes.set_title(known[key].heading or known[key].label, loc='left', fontsize=10)
    axes.locator_params(axis='x', nbins=4)
    low, high = axes.get_xlim()
    if known[key].format.endswith('%'):
      axes.xaxis.set_major_formatter(lambda value, _: f'{100 * value:g}%')
      if key != 'accuracy':  # Other shares are read from zero.
        low, high = 0, max(0.05, high)
    axes.set_xlim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    axes.grid(axis='x', color=_HEX['line'])
    axes.tick_params(axis='y', length=0)
  panels[0].set_yticks(range(len(shown)), list(shown))
  panels[0].set_ylim(len(shown) - 0.5, -0.5)
  return drawing.svg(canvas, name, description)


@drawing.styled
def confusion(
  name: str,
  description: str,
  counts: Sequence[Sequence[int]],
  classes: Sequence[str],
  *,
  xlabel: str = 'predicted',
  ylabel: str = 'true',
) -> str:
  """Draws a confusion matrix: counts [true class, predicted class] as areas."""
  table = np.asarray(counts)
  canvas = drawing.figure(5.6, 5.2)
  axes = canvas.subplots()
  shares = table / np.maximum(table.sum(1, keepdims=True), 1)
  for (i, j), share in np.ndenumerate(shares):
    if not table[i, j]:
      continue
    # Area is the share of the class: errors stay visible beside the hits.
    area = max(12, 420 * share) * 10 / max(len(classes), 4)
    colour = _HEX['pass' if i == j else 'baseline']
    axes.scatter(j, i, s=area, marker='s', color=colour, linewidth=0)
    if i != j:
      axes.annotate(
        str(table[i, j]), (j, i), xytext=(0, -11), ha='center',
        textcoords='offset points', fontsize=7, color=_HEX['muted'],
      )  # fmt: skip
  axes.set_xticks(range(len(classes)), classes, rotation=40 * (len(classes[0]) > 3))
  axes.set_yticks(range(len(classes)), classes)
  ends = -0.6, len(classes) - 0.4
  axes.set(xlim=ends, ylim=ends[::-1], xlabel=xlabel, ylabel=ylabel)
  axes.grid(color=_HEX['line'], linewidth=0.5)
  axes.set_axisbelow(True)
  return drawing.svg(canvas, name, description)


@drawing.styled
def contours(
  name: str,
  description: str,
  values: Sequence[Sequence[float]],
  *,
  span: float,
  label: str = '',
  levels: int = 12,
) -> str:
  """Draws the contours of values [s, s] on a square from -`span` to `span`, with a cross inside.

  Levels are at even steps of the logarithm where all values are positive.
  """
  z = np.asarray(values, float)
  canvas = drawing.figure(5.6, 5.2)
  axes = canvas.subplots()
  ticks = np.linspace(-span, span, len(z))
  space = np.geomspace if z.min() > 0 else np.linspace
  lines = axes.contour(ticks, ticks, z, space(z.min(), z.max(), levels + 2)[1:-1],
                       colors=_HEX['model'], linewidths=1)  # fmt: skip
  axes.clabel(lines, fontsize=8, fmt='%.3g')
  axes.plot(0, 0, '+', color=_HEX['ink'], markersize=9)
  axes.set(aspect='equal', title=label)
  return drawing.svg(canvas, name, description)


@drawing.styled
def scatter(
  name: str,
  description: str,
  x: Sequence[float],
  y: Sequence[float],
  *,
  half_width: Sequence[float] = (),
  xlabel: str = '',
  ylabel: str = '',
  diagonal: bool = False,
) -> str:
  """Draws points [n], with error bars of +- `half_width` [n] and the line y = x if wanted."""
  x, y = np.asarray(x, float), np.asarray(y, float)
  canvas = drawing.figure(5.6, 5.2)
  axes = canvas.subplots()
  if len(half_width):
    axes.errorbar(x, y, yerr=half_width, fmt='none', ecolor=_HEX['line'], elinewidth=0.8)
  axes.scatter(x, y, s=7, color=_HEX['model'], linewidth=0, zorder=3)
  if diagonal:
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    axes.plot(ends, ends, color=_HEX['muted'], linewidth=1)
  axes.set(xlabel=xlabel, ylabel=ylabel)
  return drawing.svg(canvas, name, description)


@drawing.styled
def pareto(name: str, description: str, table: model.Table, x: Sequence[str], y: str) -> str:
  """Draws a metric against costs, one panel each, and the line of the methods that none dominates.

  Args:
    table: of the report. A higher `y` is better, a lower `x` too.
    x: names of the metrics on the horizontal axes, which are logarithmic.
    y: name of the metric on the vertical axis.
  """
  known = {metric.name: metric for metric in table.metrics}
  canvas = drawing.figure(11.4, 5.4, layout='none')
  canvas.subplots_adjust(left=0.075, right=0.985, bottom=0.11, top=0.93, wspace=0.06)
  panels = canvas.subplots(1, len(x), sharey=True, squeeze=False)[0]
  renderer = canvas.canvas.get_renderer()
  for axes, key in zip(panels, x, strict=True):
    rows = {m: r for m, r in table.rows.items() if None not in (r.value(key), r.value(y))}
    for row in rows.values():
      axes.plot(
        row.value(key), row.value(y), drawing.MARKERS[row.kind], color=_HEX[row.kind], markersize=7,
        markeredgecolor=_HEX['paper'], markeredgewidth=1, zorder=5,
      )  # fmt: skip
    points = sorted((row.value(key), -row.value(y)) for row in rows.values())
    front: list[tuple[float, float]] = []
    for cost, minus in points:
      if not front or -minus > front[-1][1]:
        front.append((cost, -minus))
    if front:
      axes.plot(*zip(*front, strict=True), color=_HEX['muted'], linewidth=1, zorder=2,
                drawstyle='steps-post')  # fmt: skip
      costs = [cost for cost, _ in points]
      _log_axis(axes, 'x', min(costs), max(costs))
      axes.set_xlim(min(costs) / 1.6, max(costs) * 1.6)
    unit = f' ({known[key].unit})' if known[key].unit else ''
    axes.set_xlabel(f'{known[key].label}{unit}')
    if known[y].format.endswith('%'):
      axes.yaxis.set_major_formatter(lambda value, _: f'{100 * value:g}%')
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
  panels[0].set_ylabel(known[y].label)
  for axes, key in zip(panels, x, strict=True):
    rows = {m: r for m, r in table.rows.items() if None not in (r.value(key), r.value(y))}
    texts = [
      axes.text(0, 0, method, transform=None, color=_HEX[row.kind], fontsize=8.5, zorder=6)
      for method, row in rows.items()
    ]
    sizes = [text.get_window_extent(renderer).size for text in texts]
    places = [axes.transData.transform((r.value(key), r.value(y))) for r in rows.values()]
    boxes = drawing.place(places, sizes, axes.get_window_extent(renderer).extents, [])
    for text, box, (left, height) in zip(texts, boxes, places, strict=True):
      text.set_position(box[:2])
      text.set_verticalalignment('bottom')
      end = min(max(left, box[0]), box[2]), min(max(height, box[1]), box[3])
      if np.hypot(end[0] - left, end[1] - height) > 12:
        axes.annotate(
          '', end, (left, height), xycoords='figure pixels', textcoords='figure pixels',
          arrowprops={'arrowstyle': '-', 'linewidth': 0.5, 'shrinkA': 4, 'shrinkB': 0,
                      'color': text.get_color()},
        )  # fmt: skip
  return drawing.svg(canvas, name, description)


@drawing.styled
def densities(
  name: str, description: str, panels: Mapping[str, Mapping[str, Any]], models: Sequence[str]
) -> str:
  """Draws the densities of weights, one panel per parameter.

  `panels` is parameter -> 'bins', edges [b + 1], 'zoo' and method -> density [b]; `models` are the
  methods that are drawn beside the zoo.
  """
  columns = min(4, len(panels))
  height = -(-len(panels) // columns)
  canvas = drawing.figure(11.4, 0.5 + 1.75 * height)
  grid = canvas.subplots(height, columns, squeeze=False)
  for axes, panel in itertools.zip_longest(grid.flat, panels.items()):
    if panel is None:
      axes.set_visible(False)
      continue
    path, found = panel
    edges = np.asarray(found['bins'], float)
    axes.stairs(found['zoo'], edges, fill=True, color=_HEX['muted'], alpha=0.3, label='zoo')
    dashes = itertools.cycle(['-', '--', ':', '-.'])
    for method in (method for method in models if method in found):
      axes.stairs(
        found[method], edges, color=_HEX['model'], linewidth=1.4, linestyle=next(dashes),
        label=method,
      )  # fmt: skip
    axes.set_title(path, fontsize=10, loc='left')
    axes.set_yticks([])
    axes.spines['left'].set_visible(False)
    axes.locator_params(axis='x', nbins=4)
  handles, names = grid.flat[0].get_legend_handles_labels()
  canvas.legend(handles, names, loc='outside upper left', ncols=len(names))
  return drawing.svg(canvas, name, description)


@drawing.styled
def histogram(
  name: str, description: str, values: Mapping[str, Sequence[float]], *, xlabel: str = ''
) -> str:
  """Draws histograms of two sets of values, label -> [n], with their medians."""
  canvas = drawing.figure(5.6, 3.3)
  axes = canvas.subplots()
  sets = {label: np.asarray(x, float) for label, x in values.items()}
  top = max(x.max() for x in sets.values())
  low = min(x.min() for x in sets.values())
  edges = np.linspace(low - 0.02 * top, top * 1.02, 41)
  for (label, x), colour in zip(sets.items(), itertools.cycle(['muted', 'model'])):
    share = np.histogram(x, edges)[0] / len(x)
    axes.stairs(share, edges, color=_HEX[colour], linewidth=1.4,
                label=f'{label}: median {np.median(x):.2f}')  # fmt: skip
    axes.stairs(share, edges, color=_HEX[colour], alpha=0.25, fill=True)
  axes.yaxis.set_major_formatter(lambda value, _: f'{value:.0%}')
  axes.set(xlabel=xlabel, ylabel='share', ylim=(0, axes.get_ylim()[1] * 1.25))
  axes.legend(loc='upper left', ncols=2)
  return drawing.svg(canvas, name, description)


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
