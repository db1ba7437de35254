"""Figure of a report on prompts: the loss asked for, and the loss that came."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from wsjax.evaluation.report import drawing

_HEX = drawing.COLOURS


@drawing.styled
def control(report: Mapping[str, Any]) -> str:
  """Requested against achieved test loss, one line per training seed.

  Args:
    report: as `reports.load` returns it.

  Returns:
    SVG text; both axes are logarithmic.
  """
  curve = report['control']['curve']
  asked = np.array([point['requested'] for point in curve])
  came = np.array([point['test'] for point in curve])
  canvas = drawing.figure(5.6, 4.2)
  axes = canvas.subplots()
  axes.plot(asked, asked, color=_HEX['muted'], linewidth=1, label='as asked')
  for number, line in enumerate(came.T):
    axes.plot(
      asked, line, marker='o', markersize=3, color=_HEX['generator'],
      label=None if number else 'one prompt, every training seed',
    )  # fmt: skip
  axes.axvline(
    report['prompting']['lowest_of_zoo'], color=_HEX['baseline'],
    linestyle='--', label='least loss of a training checkpoint',
  )  # fmt: skip
  axes.set_xscale('log')
  axes.set_yscale('log')
  ticks = [0.1, 0.2, 0.3, 0.5, 1, 2, 5]
  for axis in (axes.xaxis, axes.yaxis):
    axis.set_major_formatter(lambda value, _: f'{value:g}')
    axis.set_minor_formatter(lambda value, _: '')
  low, high = min(asked.min(), came.min()), max(asked.max(), came.max())
  shown = [tick for tick in ticks if low <= tick <= high]
  axes.set_xticks(shown)
  axes.set_yticks(shown)
  axes.set_xlabel('loss asked for, nats')
  axes.set_ylabel('test loss that came, nats')
  axes.legend(loc='upper left')
  return drawing.svg(canvas, 'control', 'Loss asked for and loss that came')
