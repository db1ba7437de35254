"""Figures of the report, as SVG text to be put into a page."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsjax.evaluation.report import drawing

_HEX = drawing.COLOURS
_PAIRS_DRAWN = 40


@drawing.styled
def histograms(report: Mapping[str, Any]) -> str:
  """Density of the weights of each parameter array: zoo and generators.

  Args:
    report: as `report.load` returns it.

  Returns:
    SVG text, one panel per leaf.
  """
  leaves = report['histograms']
  columns = min(4, len(leaves))
  rows = -(-len(leaves) // columns)
  canvas = drawing.figure(11.4, 0.5 + 1.75 * rows)
  grid = canvas.subplots(rows, columns, squeeze=False)
  generators = [arm['name'] for arm in report['arms'] if arm['kind'] == 'generator']
  for axes, (path, leaf) in itertools.zip_longest(
    grid.flat, leaves.items(), fillvalue=(None, None)
  ):
    if path is None:
      axes.set_visible(False)
      continue
    edges = np.asarray(leaf['bins'], float)
    axes.stairs(leaf['zoo'], edges, fill=True, color=_HEX['muted'], alpha=0.3, label='zoo')
    dashes = itertools.cycle(['-', '--', ':', '-.'])
    for name in (arm for arm in generators if arm in leaf):
      axes.stairs(
        leaf[name],
        edges,
        color=_HEX['generator'],
        linewidth=1.4,
        linestyle=next(dashes),
        label=name,
      )
    axes.set_title(path, fontsize=10, loc='left')
    axes.set_yticks([])
    axes.spines['left'].set_visible(False)
    axes.locator_params(axis='x', nbins=4)
  handles, names = grid.flat[0].get_legend_handles_labels()
  canvas.legend(handles, names, loc='outside upper left', ncols=len(names))
  return drawing.svg(canvas, 'histograms', 'Weight histograms of zoo and generators')


@drawing.styled
def alignment(report: Mapping[str, Any]) -> str:
  """Distances between zoo nets before and after alignment, in tau.

  Args:
    report: as `report.load` returns it.

  Returns:
    SVG text.
  """
  canvas = drawing.figure(5.6, 3.3)
  axes = canvas.subplots()
  before, after = (np.asarray(report['alignment'][key], float) for key in ('before', 'after'))
  top = max(before.max(), after.max())
  low = min(before.min(), after.min())
  edges = np.linspace(low - 0.02 * top, top * 1.02, 41)
  for values, name, colour in ((before, 'before', 'muted'), (after, 'after', 'generator')):
    share = np.histogram(values, edges)[0] / len(values)
    label = f'{name}: median {np.median(values):.2f} τ'
    axes.stairs(share, edges, color=_HEX[colour], linewidth=1.4, label=label)
    axes.stairs(share, edges, color=_HEX[colour], alpha=0.25, fill=True)
  axes.yaxis.set_major_formatter(lambda value, _: f'{value:.0%}')
  axes.set_ylabel('share of pairs')
  axes.set_xlabel('distance between two zoo nets / τ')
  axes.set_ylim(0, axes.get_ylim()[1] * 1.25)
  axes.legend(loc='upper left', ncols=2)
  return drawing.svg(canvas, 'alignment', 'Distances before and after alignment')


@drawing.styled
def barrier(report: Mapping[str, Any]) -> str:
  """Loss on the straight line between two nets, raw and aligned.

  Args:
    report: as `report.load` returns it.

  Returns:
    SVG text: mean over pairs, each pair faint.
  """
  canvas = drawing.figure(5.6, 3.3)
  axes = canvas.subplots()
  t = report['barrier']['t']
  for key, colour in (('raw', 'muted'), ('aligned', 'generator')):
    curves = np.asarray(report['barrier'][key], float)
    for curve in curves[:_PAIRS_DRAWN]:
      axes.plot(t, curve, color=_HEX[colour], alpha=0.2, linewidth=0.7)
    axes.plot(t, curves.mean(0), color=_HEX[colour], linewidth=2.2, label=key)
  axes.set_xlabel('position on the line between two zoo nets')
  axes.set_ylabel(f'test loss, {report["barrier"].get("unit", "nats")}')
  axes.set_xlim(t[0], t[-1])
  axes.set_ylim(0, axes.get_ylim()[1] * 1.15)
  axes.legend(loc='upper left', ncols=2)
  return drawing.svg(canvas, 'barrier', 'Loss on the line between two nets')


@drawing.styled
def training(report: Mapping[str, Any]) -> str:
  """Training and validation loss.

  Args:
    report: as `report.load` returns it.

  Returns:
    SVG text; a logarithmic axis where every loss is positive.
  """
  canvas = drawing.figure(11.4, 2.9)
  axes = canvas.subplots()
  history = report['training']
  drawn = []
  for key, name, colour in (('loss', 'training', 'muted'), ('val_loss', 'validation', 'generator')):
    values = history.get(key) or []
    points = [
      (step, value)
      for step, value in zip(history['step'], values, strict=False)
      if value is not None
    ]
    if points:
      axes.plot(*zip(*points, strict=True), color=_HEX[colour], label=name)
      drawn.extend(value for _, value in points)
  if min(drawn) > 0 and max(drawn) > 5 * min(drawn):
    axes.set_yscale('log')
    axes.yaxis.set_major_formatter(lambda value, _: f'{value:g}')
    axes.yaxis.set_minor_formatter(lambda value, _: '')
    axes.set_yticks(
      [
        mantissa * 10.0**power
        for power in range(-9, 10)
        for mantissa in (1, 2, 5)
        if min(drawn) / 1.2 <= mantissa * 10.0**power <= max(drawn) * 1.2
      ]
    )
    axes.yaxis.set_major_formatter(lambda value, _: f'{value:g}')
    axes.minorticks_off()
  axes.locator_params(axis='x', integer=True)
  axes.xaxis.set_major_formatter(lambda value, _: f'{value:,.0f}')
  axes.set_xlabel('step')
  axes.set_ylabel('loss')
  axes.margins(x=0.01)
  axes.legend(loc='upper right', ncols=2)
  return drawing.svg(canvas, 'training', 'Loss over training steps')


@drawing.styled
def intervals(
  rows: Sequence[tuple[str, Mapping[str, Any]]], metrics: Mapping[str, str], *, shares: bool = True
) -> str:
  """Dots with intervals: one row per run, one panel per metric.

  Args:
    rows: (label, metric -> Stat), top first.
    metrics: metric -> title of its panel.
    shares: whether values are shares, shown in percent; all but accuracy are then read from zero.

  Returns:
    SVG text.
  """
  canvas = drawing.figure(11.4, 1.0 + 0.3 * len(rows))
  panels = canvas.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
  for axes, (metric, title) in zip(panels, metrics.items(), strict=True):
    for height, (_, stats) in enumerate(rows):
      stat = stats.get(metric) or {}
      if stat.get('value') is None:
        axes.text(0, height, 'not run', color=_HEX['muted'], va='center', fontsize=9)
        continue
      axes.errorbar(
        stat['value'],
        height,
        xerr=drawing.extent(stat),
        marker='o',
        color=_HEX['generator'],
        linewidth=1.5,
      )
    axes.set_title(title, loc='left', fontsize=10)
    if shares:
      axes.xaxis.set_major_formatter(lambda value, _: f'{100 * value:g}%')
    axes.locator_params(axis='x', nbins=4)
    low, high = axes.get_xlim()
    if shares and metric != 'accuracy':
      low, high = 0, max(0.05, high)
    axes.set_xlim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    axes.grid(axis='x', color=_HEX['line'])
    axes.tick_params(axis='y', length=0)
  panels[0].set_yticks(range(len(rows)), [label for label, _ in rows])
  panels[0].set_ylim(len(rows) - 0.5, -0.5)
  return drawing.svg(canvas, 'intervals', 'Metrics of every run with intervals')
