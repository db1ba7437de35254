"""Differences between methods, with intervals and p-values; what methods share is resampled
together.
"""

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
      test, which takes networks to be independent. Every 'p' is corrected within the baselines of
      one generator and one metric (Holm): a generator above all of them is above the best of them.
  """
  made: dict[str, model.Row] = {}
  baselines = {name: row for name, row in rows.items() if row.kind == 'baseline'}
  if not baselines:
    return made
  models = {name: row for name, row in rows.items() if row.kind == 'model'}
  means = {name: _mean(*tables[name], resampler) for name in (*models, *baselines)}
  for name, row in models.items():
    pairs = {
      f'{name} − {other}': {
        'accuracy': _difference(means[name], means[other]),
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


def paired(
  table_a: np.ndarray,
  table_b: np.ndarray,
  groups_a: np.ndarray,
  groups_b: np.ndarray,
  resampler: statistics.Resampler,
) -> dict[str, Any]:
  """Mean of one method minus mean of another, on common items, whose two-sided p is at least 2 / (B
  + 1).

  Where both have equally many seeds, these are drawn together, too.

  Args:
    table_a: [N, n] networks x items of the one, correct or losses.
    table_b: [M, n] of the other, on the same items.
    groups_a: [N] which seed made each network.
    groups_b: [M] seeds of the other.
    resampler: source of the resamples, with num_items n.

  Raises:
    ValueError: if items of the two differ.
  """
  if np.shape(table_a)[1:] != np.shape(table_b)[1:]:
    raise ValueError(
      'A paired difference needs the same items; got tables '
      f'{np.shape(table_a)} and {np.shape(table_b)}.'
    )
  return _difference(_mean(table_a, groups_a, resampler), _mean(table_b, groups_b, resampler))


@dataclasses.dataclass(frozen=True, eq=False)
class _Mean:
  """Mean of a table: its value, [B] that of resamples, and what it is of."""

  value: float
  resamples: np.ndarray
  num_networks: int
  method: str


def _mean(table: np.ndarray, groups: np.ndarray, resampler: statistics.Resampler) -> _Mean:
  return _Mean(
    float(np.mean(table, dtype=np.float64)),
    statistics.two_way_means(table, groups, resampler).astype(np.float64),
    len(table),
    statistics.method_name('two-way', groups),
  )


def _difference(a: _Mean, b: _Mean) -> dict[str, Any]:
  """One mean minus the other. One Resampler drew the same items for both and, of equally many seeds
  or networks, the same seeds or places, which pairs methods made from common noise.
  """
  resamples = a.resamples - b.resamples
  entry = statistics.stat(
    a.value - b.value, resamples, n=min(a.num_networks, b.num_networks), method=a.method
  )
  tail = min(np.sum(resamples <= 0), np.sum(resamples >= 0)) + 1
  return entry | {'p': float(min(1, 2 * tail / (len(resamples) + 1)))}


def probability_of_improvement(
  a: np.ndarray,
  b: np.ndarray,
  groups_a: np.ndarray,
  groups_b: np.ndarray,
  resampler: statistics.Resampler,
) -> dict[str, Any]:
  """P(a > b) + P(a = b) / 2 of networks of two methods: 0.5 for equal methods.

  Args:
    a: [N] a number per network, higher is better.
    b: [M] of the other method.
    groups_a: [N] which seed made each network.
    groups_b: [M] seeds of the other method.
    resampler: source of the resamples.

  Source: Agarwal et al. 2021, arXiv:2108.13264, section 4.3; Mann and Whitney 1947,
    doi:10.1214/aoms/1177730491.
  """
  a, b = np.asarray(a), np.asarray(b)
  # Not by their difference: two that are infinite are equal.
  a, b = a[:, None], b[None]
  wins = (a > b) + np.float32(0.5) * (a == b)
  left = resampler.networks(groups_a) @ wins
  resamples = np.einsum('bm,bm->b', left, resampler.networks(groups_b))
  return statistics.stat(
    float(np.mean(wins, dtype=np.float64)),
    resamples,
    n=min(wins.shape),
    method=statistics.method_name('bootstrap', groups_a),
  )
