"""Figure of what networks draw: rows of pictures, side by side."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from wsjax.evaluation.report import drawing

_CELL = 1.35  # Inches.


@drawing.styled
def pictures(
  report: Mapping[str, Any], description: str = 'Pictures before and after the edit'
) -> str:
  """One column per network, one row per kind of its picture.

  Args:
    report: as `reports.load` returns it; 'pictures' has a title and the pictures [n, height, width,
      channels] of every row. Values are clipped
      to [0, 1].
    description: for those who cannot see them.

  Returns:
    SVG text.
  """
  rows = report['pictures']
  num = len(rows[0]['pictures'])
  canvas = drawing.figure(_CELL * num + 1.3, _CELL * len(rows))
  grid = canvas.subplots(len(rows), num, squeeze=False)
  for line, row in zip(grid, rows, strict=True):
    for axes, picture in zip(line, row['pictures'], strict=True):
      image = np.clip(np.asarray(picture, float), 0, 1)
      if image.shape[-1] == 1:
        image = image[..., 0]
      # 'none' keeps every pixel as it is; the page scales it.
      axes.imshow(image, cmap='gray', vmin=0, vmax=1, interpolation='none')
      axes.set_xticks([])
      axes.set_yticks([])
      axes.spines[:].set_visible(False)
    line[0].set_ylabel(row['title'], rotation=0, ha='right', va='center')
  return drawing.svg(canvas, 'pictures', description)
