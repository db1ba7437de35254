"""Drawing for the report: one style, page colours, labels that keep apart.

Every colour below is a placeholder: `svg` writes the CSS variable in its
place, so that one drawing serves the light and the dark page. The same data
give the same bytes.
"""

import functools
import html
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# CSS variable of the page -> placeholder.
COLOURS = {
  'ink': '#010101',
  'muted': '#020202',
  'line': '#030303',
  'paper': '#040404',
  'pass': '#050505',
  'generator': '#060606',
  'baseline': '#070707',
  'control': '#080808',
  'ceiling': '#090909',
  'reference': '#0a0a0a',
}
# Kinds differ in shape too: colour alone is not read by everyone.
MARKERS = {
  'generator': 'o',
  'baseline': 's',
  'control': '^',
  'ceiling': 'D',
  'reference': 'P',
}

Box = tuple[float, float, float, float]


def styled(draw: Callable[..., str]) -> Callable[..., str]:
  """Runs a drawing function under the style of the report.

  Args:
    draw: returns SVG text by `svg`.

  Returns:
    The same function. matplotlib is imported when it is first called.
  """

  @functools.wraps(draw)
  def wrapped(*args: Any, **kwargs: Any) -> str:
    import matplotlib

    with matplotlib.rc_context(_style()):
      return draw(*args, **kwargs)

  return wrapped


def figure(width: float, height: float, *, layout: str = 'constrained') -> Any:
  """An empty figure of `width` x `height` inches, one pixel a point."""
  from matplotlib import figure as figure_lib
  from matplotlib.backends import backend_agg

  canvas = figure_lib.Figure((width, height), dpi=72, layout=layout)
  backend_agg.FigureCanvasAgg(canvas)
  canvas.patch.set_visible(False)
  return canvas


def svg(
  drawing: Any,
  name: str,
  description: str,
  *,
  tooltips: Mapping[str, str] | None = None,
) -> str:
  """Writes a figure as SVG to be put into an HTML page.

  Args:
    drawing: a figure.
    name: prefix of all ids, unique in the page.
    description: what a reader who cannot see it is told.
    tooltips: gid of an artist -> text shown over it.

  Returns:
    '<svg ...>' with neither namespaces nor metadata nor addresses, coloured by
    the CSS variables of the page.
  """
  buffer = io.StringIO()
  drawing.savefig(buffer, format='svg', metadata={'Date': None})
  text = buffer.getvalue()
  text = re.sub(r'<metadata>.*?</metadata>', '', text, flags=re.DOTALL)
  text = text[text.index('<svg') :]
  size = re.search(r'viewBox="([^"]*)"', text).group(1)
  text = (
    f'<svg viewBox="{size}" role="img" aria-label="'
    f'{html.escape(description)}">' + text[text.index('>') + 1 :]
  )
  text = text.replace('xlink:href="#', 'href="#')
  text = re.sub(
    r'(id="|href="#|url\(#)', lambda match: f'{match[1]}{name}-', text
  )
  for gid, tooltip in (tooltips or {}).items():
    opening = f'<g id="{name}-{gid}">'
    text = text.replace(
      opening, f'{opening}<title>{html.escape(tooltip)}</title>'
    )
  for variable, colour in COLOURS.items():
    text = text.replace(colour, f'var(--{variable})')
  return text


def extent(stat: Mapping[str, Any]) -> list[list[float]] | None:
  """Lengths of the error bar of a Stat, [[down], [up]]; None without one."""
  if stat.get('low') is None or stat.get('high') is None:
    return None
  return [
    [max(0.0, stat['value'] - stat['low'])],
    [max(0.0, stat['high'] - stat['value'])],
  ]


def place(
  points: Sequence[tuple[float, float]],
  sizes: Sequence[tuple[float, float]],
  frame: Box,
  taken: Sequence[Box],
) -> list[Box]:
  """Finds places for labels next to their points without overlap.

  Greedy over rings of candidates, then two rounds in which each label may move
  again, now that all others stand. Deterministic.

  Args:
    points: place of each marker, pixels.
    sizes: (width, height) of each label, pixels.
    frame: (left, bottom, right, top) that labels should stay within.
    taken: boxes that labels must not cover.

  Returns:
    (left, bottom, right, top) of each label.
  """
  markers = [(x - 6, y - 6, x + 6, y + 6) for x, y in points]
  boxes: list[Box | None] = [None] * len(points)
  for _ in range(3):
    for i, (x, y) in enumerate(points):
      others = [box for j, box in enumerate(boxes) if box and j != i]
      boxes[i] = min(
        _candidates(x, y, *sizes[i]),
        key=lambda box: _cost(box, x, y, frame, [*others, *taken], markers),
      )
  return boxes


def _candidates(x: float, y: float, width: float, height: float) -> list[Box]:
  """Boxes around a point, nearest first."""
  boxes = []
  for radius in (9, 15, 22, 30, 40, 52, 66, 82, 100, 120, 145):
    for step in range(16):
      angle = math.pi * step / 8
      left = x + radius * math.cos(angle) + width / 2 * (math.cos(angle) - 1)
      bottom = y + radius * math.sin(angle) - height / 2
      boxes.append((left, bottom, left + width, bottom + height))
  return boxes


def _cost(
  box: Box,
  x: float,
  y: float,
  frame: Box,
  boxes: Sequence[Box],
  markers: Sequence[Box],
) -> float:
  """How bad it is to put a label of point (x, y) into `box`."""
  near_x = min(max(x, box[0]), box[2])
  near_y = min(max(y, box[1]), box[3])
  inside = _overlap(box, frame)
  area = (box[2] - box[0]) * (box[3] - box[1])
  return (
    math.hypot(near_x - x, near_y - y)
    + 10 * (area - inside)
    + 8 * sum(_overlap(box, other) for other in boxes)
    + 4 * sum(_overlap(box, marker) for marker in markers)
  )


def _overlap(a: Box, b: Box) -> float:
  """Area that two boxes share, a margin of one pixel around the first."""
  width = min(a[2] + 1, b[2]) - max(a[0] - 1, b[0])
  height = min(a[3] + 1, b[3]) - max(a[1] - 1, b[1])
  return max(0.0, width) * max(0.0, height)


def _style() -> dict[str, Any]:
  return {
    'svg.fonttype': 'none',  # Text stays text, in the font of the page.
    'svg.hashsalt': 'wsjax',
    'font.family': 'DejaVu Sans',
    'font.size': 10,
    'path.simplify': False,
    'text.color': COLOURS['ink'],
    'axes.facecolor': 'none',
    'axes.edgecolor': COLOURS['muted'],
    'axes.labelcolor': COLOURS['ink'],
    'axes.titlecolor': COLOURS['ink'],
    'axes.linewidth': 0.8,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'xtick.color': COLOURS['muted'],
    'ytick.color': COLOURS['muted'],
    'legend.frameon': False,
    'lines.linewidth': 1.6,
  }
