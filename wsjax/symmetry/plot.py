"""Draws a spec as a graph: groups of units as boxes, parameters as arrows, equal blocks once.

An arrow goes from the group of incoming units of a parameter to that of its outputs; parameters
that lie along one group only are counted inside its box. Columns are the distance from the input.
"""

import collections
import math
import pathlib
from typing import TYPE_CHECKING

from wsjax.symmetry import fold
from wsjax.symmetry import spec as spec_lib

if TYPE_CHECKING:
  from matplotlib import axes as mpl_axes

INPUT, OUTPUT = 'input', 'output'
_COLOURS = {
  'permutation': '#dde3ea',
  'positive_scale': '#cfe6d4',
  'sign': '#fbe3c0',
  'phase': '#f3d0dc',
}
_EDGE, _BACK = '#4a6fa5', '#b07a3c'
_WIDTH, _HEIGHT = 2.1, 0.78
_COLUMN, _ROW = 5.4, 1.4
_MAX_NAMES = 2


def blocks(spec: spec_lib.Spec) -> dict[str, list[str]]:
  """Name of a box -> ids of its groups: one group, or those of equal blocks, 'block{0..11}/mlp'."""
  axes = collections.defaultdict(list)
  for leaf in spec.leaves:
    for dim, axis in enumerate(leaf.axes):
      if axis.group:
        path = leaf.path.removeprefix('params/')
        axes[axis.group].append(f'{path}:{dim}({axis.outer}×{axis.inner})')
  rows = [(g.id, f'{g.size} {g.kinds}', ', '.join(axes[g.id])) for g in spec.groups]
  return {row[0]: [spec.groups[place].id for place in places] for row, places in fold.merge(rows)}


def edges(spec: spec_lib.Spec) -> dict[tuple[str, str], list[str]]:
  """(from, to) -> paths of the parameters that join two boxes, in forward order.

  A pinned end is 'input' or 'output'.
  """
  joined = collections.defaultdict(list)
  names = {id: name for name, ids in blocks(spec).items() for id in ids}
  for leaf in spec.leaves:
    reads = [names[a.group] for a in leaf.axes if a.group and a.power < 0]
    feeds = [names[a.group] for a in leaf.axes if a.group and a.power > 0]
    if _is_vector(leaf) or not (reads or feeds):
      continue
    for source in dict.fromkeys(reads or [INPUT]):
      for target in dict.fromkeys(feeds or [OUTPUT]):
        joined[source, target].append(leaf.path)
  return dict(joined)


def save(spec: spec_lib.Spec, path: pathlib.Path) -> None:
  """Draws the graph of a spec into a file, whose suffix says which format.

  Raises:
    ValueError: if the suffix is not that of an image.
  """
  import matplotlib

  check_suffix(path)
  with matplotlib.rc_context({'text.parse_math': False}):  # Dollar signs in a name are no formula.
    _save(spec, path)


def _save(spec: spec_lib.Spec, path: pathlib.Path) -> None:
  from matplotlib import figure

  places = layout(spec)
  columns = 1 + max(x for x, _ in places.values())
  rows = max(abs(y) for _, y in places.values()) * 2 + 1
  canvas = figure.Figure(
    figsize=(0.62 * _COLUMN * columns, max(0.72 * _ROW * rows + 1.1, 3.2)), layout='tight'
  )
  axes = canvas.subplots()
  for (source, target), paths in edges(spec).items():
    _arrow(axes, places[source], places[target], paths)
  boxes = blocks(spec)
  for name, place in places.items():
    _box(axes, spec, name, boxes.get(name, []), place)
  axes.set_xlim(-0.6 * _WIDTH, (columns - 1) * _COLUMN + 0.6 * _WIDTH)
  reach = (rows - 1) / 2 * _ROW
  axes.set_ylim(-reach - 1.1, reach + 1.1)
  axes.set_axis_off()
  canvas.savefig(path, dpi=150)


def check_suffix(path: pathlib.Path) -> None:
  """Raises ValueError unless a figure can be written into such a file."""
  from matplotlib import figure

  allowed = sorted(figure.Figure().canvas.get_supported_filetypes())
  if path.suffix[1:] not in allowed:
    raise ValueError(f'Cannot draw into {path}; allowed suffixes: {", ".join(allowed)}.')


def layout(spec: spec_lib.Spec) -> dict[str, tuple[int, float]]:
  """Name of a box, 'input' or 'output' -> (column, row around 0)."""
  pairs, depth = edges(spec), {INPUT: 0}
  for name in blocks(spec):  # In forward order, so a source comes first.
    known = [depth[source] for source, target in pairs if target == name and source in depth]
    depth[name] = 1 + min(known, default=0)
  depth[OUTPUT] = 1 + max(depth.values())
  columns = collections.defaultdict(list)
  for id, column in depth.items():
    columns[column].append(id)
  return {
    id: (column, (len(ids) - 1) / 2 - row)
    for column, ids in columns.items()
    for row, id in enumerate(ids)
  }


def _is_vector(leaf: spec_lib.Leaf) -> bool:
  """Whether a parameter has no axes but those of groups that it feeds."""
  pinned = [n for n, axis in zip(leaf.shape, leaf.axes, strict=True) if not axis.group]
  reads = any(axis.group and axis.power < 0 for axis in leaf.axes)
  return not reads and math.prod(pinned) == 1


def _point(place: tuple[int, float]) -> tuple[float, float]:
  return place[0] * _COLUMN, place[1] * _ROW


def _box(
  axes: 'mpl_axes.Axes', spec: spec_lib.Spec, name: str, ids: list[str], place: tuple[int, float]
) -> None:
  """Equal groups with their number, size, kinds and the parameters that only one moves."""
  from matplotlib import patches

  x, y = _point(place)
  text, colour = name, '#ffffff'
  if ids:
    group = spec.group(ids[0])
    alone = sum(
      _is_vector(leaf) and group.id in [axis.group for axis in leaf.axes] for leaf in spec.leaves
    )
    kinds = ', '.join(group.kinds).replace('_', ' ')
    vectors = f', {alone} vector{"s" * (alone != 1)}' if alone else ''
    times = f'{len(ids)} × ' if len(ids) > 1 else ''
    text = f'{_short(name)}\n{times}{group.size} units{vectors}\n{kinds}'
    colour = _COLOURS[group.kinds[-1]]
  axes.add_patch(
    patches.FancyBboxPatch(
      (x - _WIDTH / 2, y - _HEIGHT / 2),
      _WIDTH,
      _HEIGHT,
      boxstyle='round,pad=0.02,rounding_size=0.12',
      facecolor=colour,
      edgecolor='#333333',
      linewidth=0.8,
      zorder=3,
    )  # fmt: skip
  )
  axes.text(x, y, text, ha='center', va='center', fontsize=7.5, zorder=4)


def _arrow(
  axes: 'mpl_axes.Axes', source: tuple[int, float], target: tuple[int, float], paths: list[str]
) -> None:
  """One arrow for all parameters between two groups, with their names."""
  from matplotlib import patches

  (x0, y0), (x1, y1) = _point(source), _point(target)
  if source == target:  # A loop above the box.
    start, end = (x0 - 0.6, y0 + _HEIGHT / 2), (x0 + 0.6, y0 + _HEIGHT / 2)
    bend, back, middle = -0.9, True, (x0, y0 + _HEIGHT / 2 + 0.42)
  else:
    back = x1 <= x0
    side = -1 if back else 1
    lift = -0.16 if back else 0.16  # There and back do not lie on each other.
    start = (x0 + side * _WIDTH / 2, y0 + lift)
    end = (x1 - side * _WIDTH / 2, y1 + lift)
    bend = 0.0 if abs(source[0] - target[0]) == 1 else 0.12 * side
    near = 0.26 if back else 0.74  # Beside the box on the right.
    middle = tuple((1 - near) * a + near * b for a, b in zip(start, end, strict=True))
    if x0 == x1:
      start, end = (x0 - _WIDTH / 2, y0), (x1 - _WIDTH / 2, y1)
      bend, middle = 0.5, (x0 - _WIDTH / 2 - 0.5, (y0 + y1) / 2)
  colour = _BACK if back else _EDGE
  axes.add_patch(
    patches.FancyArrowPatch(
      start,
      end,
      arrowstyle='-|>',
      connectionstyle=f'arc3,rad={bend}',
      mutation_scale=9,
      shrinkA=0,
      shrinkB=2,
      color=colour,
      linewidth=0.9,
      zorder=1,
    )  # fmt: skip
  )
  axes.text(
    *middle, _names(paths), ha='center', va='top' if back and source != target else 'bottom',
    fontsize=6.5, color=colour, zorder=2,
    bbox=dict(facecolor='white', edgecolor='none', pad=0.4, alpha=0.75),
  )  # fmt: skip


def _names(paths: list[str]) -> str:
  """The first few parameters of an arrow, equal blocks as one, and how many more there are."""
  rows = fold.merge([(path,) for path in dict.fromkeys(paths)])
  names = [_short(row[0]) for row, _ in rows[:_MAX_NAMES]]
  more = sum(len(places) for _, places in rows[_MAX_NAMES:])
  return '\n'.join(names + ([f'and {more} more'] if more else []))


def _short(path: str, length: int = 26) -> str:
  """A path without the usual prefix and suffix, cut in front where it is long."""
  path = path.removeprefix('params/').removesuffix('/kernel')
  return path if len(path) <= length else '…' + path[1 - length :]
