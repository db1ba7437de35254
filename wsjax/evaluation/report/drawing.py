"""Drawing for the report: one style, page colours, labels that keep apart.

Every colour below is a placeholder: `svg` writes the CSS variable in its place, so that one drawing
serves the light and the dark page. The same data give the same bytes.
"""

import functools
import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

# CSS variable of the page -> placeholder.
COLOURS = {
  'ink': '#010101', 'muted': '#020202', 'line': '#030303', 'paper': '#040404', 'pass': '#050505',
  'baseline': '#070707', 'control': '#080808', 'ceiling': '#090909', 'reference': '#0a0a0a',
  'model': '#0b0b0b',
}  # fmt: skip
# Kinds differ in shape too: colour alone is not read by everyone.
MARKERS = {'model': 'o', 'baseline': 's', 'control': '^', 'ceiling': 'D', 'reference': 'P'}

Box = tuple[float, float, float, float]


def styled(draw: Callable[..., str]) -> Callable[..., str]:
  """Runs a drawing function, which returns SVG text, under the style of the report."""

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
  drawing: Any, name: str, description: str, *, tooltips: Mapping[str, str] | None = None
) -> str:
  """Writes a figure as SVG for an HTML page, coloured by the CSS variables of the page.

  Args:
    drawing: a figure.
    name: prefix of all ids, unique in the page.
    description: for readers who cannot see it.
    tooltips: gid of an artist -> text shown over it.
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
  text = re.sub(r'(id="|href="#|url\(#)', lambda match: f'{match[1]}{name}-', text)
  for gid, tooltip in (tooltips or {}).items():
    opening = f'<g id="{name}-{gid}">'
    text = text.replace(opening, f'{opening}<title>{html.escape(tooltip)}</title>')
  for variable, colour in COLOURS.items():
    text = text.replace(colour, f'var(--{variable})')
  return text


def extent(stat: Mapping[str, Any]) -> list[list[float]] | None:
  """Lengths of the error bar of a Stat, [[down], [up]]; None without one."""
  if stat.get('low') is None or stat.get('high') is None:
    return None
  return [[max(0.0, stat['value'] - stat['low'])], [max(0.0, stat['high'] - stat['value'])]]


def place(
  points: Sequence[tuple[float, float]],
  sizes: Sequence[tuple[float, float]],
  frame: Box,
  taken: Sequence[Box],
) -> list[Box]:
  """Finds boxes for labels next to their points without overlap, in pixels.

  Greedy over rings of candidates, then two rounds in which each label may move again, now that all
  others stand.

  Args:
    points: place of each marker.
    sizes: (width, height) of each label.
    frame: (left, bottom, right, top) that labels should stay within.
    taken: boxes that labels must not cover.
  """
  frame, fixed = np.array([frame]), np.array(taken).reshape(-1, 4)
  markers = np.array([(x - 6, y - 6, x + 6, y + 6) for x, y in points])
  boxes: list[Box | None] = [None] * len(points)
  for _ in range(3):
    for i, (point, size) in enumerate(zip(points, sizes, strict=True)):
      others = [box for j, box in enumerate(boxes) if box and j != i]
      labels = np.concatenate([np.array(others).reshape(-1, 4), fixed])
      options = _candidates(*point, *size)
      near = np.clip(point, options[:, :2], options[:, 2:])
      cost = (
        np.hypot(*(near - point).T)
        + 10 * (size[0] * size[1] - _overlap(options, frame))
        + 8 * _overlap(options, labels, margin=1)
        + 4 * _overlap(options, markers, margin=1)
      )
      boxes[i] = tuple(options[np.argmin(cost)].tolist())
  return boxes


def _candidates(x: float, y: float, width: float, height: float) -> np.ndarray:
  """[c, 4] boxes around a point, nearest first."""
  radius = np.array([9, 15, 22, 30, 40, 52, 66, 82, 100, 120, 145])[:, None]
  angle = np.pi * np.arange(16) / 8
  left = x + radius * np.cos(angle) + width / 2 * (np.cos(angle) - 1)
  bottom = y + radius * np.sin(angle) - height / 2
  edges = (left, bottom, left + width, bottom + height)
  return np.stack([edge.ravel() for edge in edges], axis=-1)


def _overlap(a: np.ndarray, b: np.ndarray, *, margin: float = 0.0) -> np.ndarray:
  """[c] area of each of `a` [c, 4], widened, covered by any of `b` [n, 4]."""
  low = np.maximum(a[:, None, :2] - margin, b[None, :, :2])
  high = np.minimum(a[:, None, 2:] + margin, b[None, :, 2:])
  return np.clip(high - low, 0, None).prod(-1).sum(-1)


def _style() -> dict[str, Any]:
  return {
    'text.parse_math': False,  # A name with dollar signs is no formula.
    'svg.fonttype': 'none',  # Text stays text, in the font of the page.
    'svg.hashsalt': 'wsjax',
    'path.simplify': False,
    'font.family': 'DejaVu Sans', 'font.size': 10,
    'text.color': COLOURS['ink'],
    'axes.facecolor': 'none', 'axes.edgecolor': COLOURS['muted'],
    'axes.labelcolor': COLOURS['ink'], 'axes.titlecolor': COLOURS['ink'],
    'axes.linewidth': 0.8, 'axes.spines.top': False, 'axes.spines.right': False,
    'xtick.color': COLOURS['muted'], 'ytick.color': COLOURS['muted'],
    'legend.frameon': False, 'lines.linewidth': 1.6,
  }  # fmt: skip
