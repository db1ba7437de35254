"""Figures of a report on a property: who was taken for whom, or by how much."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from wsjax.evaluation.report import drawing

_HEX = drawing.COLOURS


@drawing.styled
def outcome(report: Mapping[str, Any]) -> str:
  """Confusion matrix of a class, or truth against reading of a number.

  Args:
    report: as `reports.load` returns it; of the first training seed.

  Returns:
    SVG text.
  """
  if report['property']['kind'] == 'class':
    return _confusion(report)
  return _scatter(report)


def _confusion(report: Mapping[str, Any]) -> str:
  counts = np.asarray(report['outcome']['confusion'])
  names = report['property']['names']
  canvas = drawing.figure(5.6, 5.2)
  axes = canvas.subplots()
  shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
  for (i, j), share in np.ndenumerate(shares):
    if not counts[i, j]:
      continue
    # Area is the share of the class: errors stay visible beside the hits.
    axes.scatter(
      j,
      i,
      s=max(12, 420 * share) * 10 / max(len(names), 4),
      marker='s',
      color=_HEX['pass' if i == j else 'baseline'],
      linewidth=0,
    )
    if i != j:
      axes.annotate(
        str(counts[i, j]), (j, i), xytext=(0, -11), ha='center',
        textcoords='offset points', fontsize=7, color=_HEX['muted'],
      )  # fmt: skip
  axes.set_xticks(range(len(names)), names, rotation=40 * (len(names[0]) > 3))
  axes.set_yticks(range(len(names)), names)
  axes.set_xlim(-0.6, len(names) - 0.4)
  axes.set_ylim(len(names) - 0.4, -0.6)
  axes.set_xlabel('read from the weights')
  axes.set_ylabel('true')
  axes.grid(color=_HEX['line'], linewidth=0.5)
  axes.set_axisbelow(True)
  return drawing.svg(canvas, 'outcome', 'Confusion matrix of test networks')


def _scatter(report: Mapping[str, Any]) -> str:
  data = report['outcome']
  truth, mean = np.asarray(data['truth']), np.asarray(data['mean'])
  half = np.asarray(data['half_width'])
  canvas = drawing.figure(5.6, 5.2)
  axes = canvas.subplots()
  axes.errorbar(truth, mean, yerr=half, fmt='none', ecolor=_HEX['line'], elinewidth=0.8)
  axes.scatter(truth, mean, s=7, color=_HEX['generator'], linewidth=0, zorder=3)
  ends = [min(truth.min(), mean.min()), max(truth.max(), mean.max())]
  axes.plot(ends, ends, color=_HEX['muted'], linewidth=1)
  axes.set_xlabel(f'true {report["property"]["target"].replace("_", " ")}')
  axes.set_ylabel('read from the weights')
  return drawing.svg(canvas, 'outcome', 'Truth against reading, with 90 % intervals')
