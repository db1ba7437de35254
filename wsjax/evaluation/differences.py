"""Differences between methods, resampled together, with intervals and p-values."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.stats

from wsjax.evaluation import statistics
from wsjax.evaluation.report import model

GATES = ('gate_strict', 'gate_half', 'gate_functional')
# Of a method: [N, n] whether its networks are right on the items, [N] seeds.
Table = tuple[np.ndarray, np.ndarray]


def against_baselines(
  rows: Mapping[str, model.Row], tables: Mapping[str, Table], resampler: statistics.Resampler
) -> dict[str, model.Row]:
  """Every generator less every baseline: accuracy and shares that pass the gates.

  Args:
    rows: method -> its measurements.
    tables: name of a generator or baseline -> which items it gets right.
    resampler: of the test items.

  Returns:
    'generator − baseline' -> 'accuracy' by `paired`, and every gate that was run, by Fisher's exact
    test, which takes networks to be independent. Every 'p' is corrected within the baselines of one
    generator and one metric (Holm): a generator above all of them is above the best of them.
  """
  made: dict[str, model.Row] = {}
  baselines = {name: row for name, row in rows.items() if row.kind == 'baseline'}
  if not baselines:
    return made
  models = {name: row for name, row in rows.items() if row.kind == 'model'}
  means = {name: mean(*tables[name], resampler) for name in (*models, *baselines)}
  for name, row in models.items():
    pairs = {
      f'{name} − {other}': {
        'accuracy': paired(means[name], means[other]),
        **{
          gate: _shares(row, baseline, gate)
          for gate in GATES
          if None not in (row.value(gate), baseline.value(gate))
        },
      }
      for other, baseline in baselines.items()
    }
    for metric in next(iter(pairs.values())):
      adjusted = statistics.holm(np.array([pair[metric]['p'] for pair in pairs.values()]))
      for pair, p in zip(pairs.values(), adjusted, strict=True):
        pair[metric]['p'] = float(p)
    made |= {
      pair: model.Row(min(row.n, rows[other].n), stats, 'model', row.seeds)
      for (pair, stats), other in zip(pairs.items(), baselines, strict=True)
    }
  return made


def _shares(row: model.Row, other: model.Row, gate: str) -> dict[str, Any]:
  """Difference of two shares, and how likely one so large is by chance."""
  table = []
  for each in (row, other):
    passed = round(each.value(gate) * each.n)
    table.append([passed, each.n - passed])
  return {
    'value': row.value(gate) - other.value(gate),
    'n': min(row.n, other.n),
    'p': float(scipy.stats.fisher_exact(table).pvalue),
    'method': 'fisher',
  }


@dataclasses.dataclass(frozen=True, eq=False)
class Mean:
  """Mean of a table: its value, [B] that of resamples, and what it is of."""

  value: float
  resamples: np.ndarray
  num_networks: int
  method: str


def mean(table: np.ndarray, groups: np.ndarray, resampler: statistics.Resampler) -> Mean:
  """Mean of a table [N, n] of networks x items, correct or losses; `groups` [N] are seeds."""
  return Mean(
    float(np.mean(table, dtype=np.float64)),
    statistics.two_way_means(table, groups, resampler).astype(np.float64),
    len(table),
    statistics.method_name('two-way', groups),
  )


def paired(a: Mean, b: Mean) -> dict[str, Any]:
  """One mean minus the other, with a two-sided 'p' of at least 2 / (B + 1).

  One Resampler drew the same items for both and, of equally many seeds or networks, the same seeds
  or places, which pairs methods made from common noise.
  """
  resamples = a.resamples - b.resamples
  entry = statistics.stat(
    a.value - b.value, resamples, n=min(a.num_networks, b.num_networks), method=a.method
  )
  tail = min(np.sum(resamples <= 0), np.sum(resamples >= 0)) + 1
  return entry | {'p': float(min(1, 2 * tail / (len(resamples) + 1)))}
