"""Figures of the optional axes: by severity, by radius, by further steps."""

import itertools
from collections.abc import Mapping
from typing import Any

from wsjax.evaluation.report import drawing

_HEX = drawing.COLOURS
_NORMS = {'linf': 'L∞', 'l2': 'L2'}


@drawing.styled
def severity(report: Mapping[str, Any]) -> str:
  """Error of every arm by severity of corruption, one panel per family.

  Args:
    report: as `report.load` returns it, with 'corruptions'.

  Returns:
    SVG text; generators and the zoo are named, others are faint.
  """
  curves = report['corruptions']
  families = list(next(iter(curves.values())))
  canvas = drawing.figure(11.4, 3.1)
  panels = canvas.subplots(1, len(families), sharey=True, squeeze=False)[0]
  for axes, family in zip(panels, families, strict=True):
    for name, style in _styles(report, curves):
      values = curves[name][family]
      axes.plot(range(len(values)), values, **style)
    axes.set_title(family, loc='left', fontsize=10)
    axes.set_xticks(range(len(values)), ['clean', *range(1, len(values))])
    axes.set_ylim(0, 1)
    axes.grid(axis='y', color=_HEX['line'], linewidth=0.6)
    axes.set_axisbelow(True)
  panels[0].yaxis.set_major_formatter(lambda value, _: f'{value:.0%}')
  panels[0].set_ylabel('test error')
  panels[len(panels) // 2].set_xlabel('severity of the corruption')
  _legend(canvas, panels[0])
  return drawing.svg(canvas, 'severity', 'Error by severity of corruption')


@drawing.styled
def attack(report: Mapping[str, Any]) -> str:
  """Accuracy of every arm by radius of the attack, one panel per norm.

  Args:
    report: as `report.load` returns it, with 'adversarial'.

  Returns:
    SVG text; dotted: random noise of the same size, for the named arms.
  """
  curves = report['adversarial']
  norms = list(next(iter(curves.values())))
  canvas = drawing.figure(11.4, 3.1)
  panels = canvas.subplots(1, len(norms), sharey=True, squeeze=False)[0]
  for axes, norm in zip(panels, norms, strict=True):
    for name, style in _styles(report, curves):
      curve = curves[name][norm]
      axes.plot(curve['epsilon'], curve['robust'], **style)
      if 'label' in style:
        dotted = {**style, 'linestyle': ':', 'label': None, 'marker': ''}
        axes.plot(curve['epsilon'], curve['noise'], **dotted)
    axes.set_xlabel(f'{_NORMS.get(norm, norm)} radius')
    axes.set_ylim(0, 1)
    axes.grid(axis='y', color=_HEX['line'], linewidth=0.6)
    axes.set_axisbelow(True)
  panels[0].yaxis.set_major_formatter(lambda value, _: f'{value:.0%}')
  panels[0].set_ylabel('test accuracy')
  _legend(canvas, panels[0])
  return drawing.svg(canvas, 'attack', 'Accuracy by radius of the attack')


@drawing.styled
def finetuning(report: Mapping[str, Any]) -> str:
  """Accuracy of every arm by number of further training steps.

  Args:
    report: as `report.load` returns it, with 'finetuning'.

  Returns:
    SVG text; generators and the zoo are named, others are faint.
  """
  curves = report['finetuning']
  canvas = drawing.figure(11.4, 3.1)
  axes = canvas.subplots()
  for name, style in _styles(report, curves):
    axes.plot(curves[name]['steps'], curves[name]['accuracy'], **style)
  steps = next(iter(curves.values()))['steps']
  # Steps double from the second on; 0 has a place of its own before them.
  axes.set_xscale('symlog', linthresh=steps[1], base=2)
  axes.set_xticks(steps, [f'{step:g}' for step in steps])
  axes.minorticks_off()
  axes.set_xlabel('further training steps')
  axes.set_ylabel('test accuracy')
  axes.yaxis.set_major_formatter(lambda value, _: f'{value:.0%}')
  axes.grid(axis='y', color=_HEX['line'], linewidth=0.6)
  axes.set_axisbelow(True)
  _legend(canvas, axes)
  return drawing.svg(canvas, 'finetuning', 'Accuracy by further steps')


def _styles(
  report: Mapping[str, Any], curves: Mapping[str, Any]
) -> list[tuple[str, dict[str, Any]]]:
  """Arms that have curves, those named in the legend last and so on top."""
  faint, named = [], []
  dashes = itertools.cycle(['-', '--', '-.'])
  for arm in report['arms']:
    if arm['name'] not in curves:
      continue
    style = {'color': _HEX[arm['kind']], 'linewidth': 0.7, 'alpha': 0.35}
    if arm['kind'] == 'generator':
      style |= {'linewidth': 1.8, 'alpha': 1, 'linestyle': next(dashes)}
    elif arm['kind'] == 'reference':
      style |= {'linewidth': 1.8, 'alpha': 1}
    else:
      faint.append((arm['name'], style))
      continue
    # Kinds differ in shape too: colour alone is not read by everyone.
    style |= {'marker': drawing.MARKERS[arm['kind']], 'markersize': 4}
    named.append((arm['name'], {**style, 'label': arm['name']}))
  return faint + named


def _legend(canvas: Any, axes: Any) -> None:
  """Names of the arms that stand out, above the panels."""
  handles, names = axes.get_legend_handles_labels()
  if handles:
    canvas.legend(handles, names, loc='outside upper left', ncols=len(names))
