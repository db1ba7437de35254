"""Columns of the full table: order, headings, formats, cells."""

from collections.abc import Mapping
from typing import Any

KINDS = {
  'generator': 'Generators',
  'baseline': 'Baselines',
  'control': 'Controls',
  'ceiling': 'Ceilings',
  'reference': 'References',
}
# Group of the table -> metric -> (heading, factor, format).
COLUMNS = {
  'Function': {
    'accuracy': ('accuracy %', 100, '.1f'),
    'accuracy_iqm': ('IQM %', 100, '.1f'),
    'accuracy_worst_decile': ('worst tenth %', 100, '.1f'),
    'nonfunctional_rate': ('dead %', 100, '.1f'),
  },
  'Novelty': {
    'novelty': ('distance τ', 1, '.3f'),
    'copy_rate': ('copies %', 100, '.0f'),
    'max_iou': ('max IoU', 1, '.2f'),
    'max_iou_at_bar': ('same, ≥ p5', 1, '.2f'),
    'iou_excess': ('IoU − held-out', 1, '+.2f'),
    'replica_rate': ('replicas %', 100, '.0f'),
    'replica_rate_ratio': ('same, by ratio', 100, '.0f'),
    'neighbour_ratio': ('1st / 2nd', 1, '.3f'),
    'copying_z': ('copying z', 1, '+.1f'),
    'authenticity': ('authentic %', 100, '.0f'),
    'hull_residual': ('to hull', 1, '.2f'),
  },
  'Gates, %': {
    'gate_strict': ('G', 100, '.0f'),
    'gate_half': ('G½', 100, '.0f'),
    'gate_behaviour': ('G_b', 100, '.0f'),
  },
  'Calibration': {
    'nll': ('NLL nats', 1, '.2f'),
    'brier': ('Brier', 1, '.3f'),
    'ece': ('ECE %', 100, '.1f'),
    'ece_null': ('ECE null %', 100, '.1f'),
    'classwise_ece': ('classwise ECE %', 100, '.2f'),
    'debiased_ce': ('debiased CE²', 1, '.4f'),
    'temperature': ('temperature', 1, '.2f'),
    'scaled_nll': ('NLL scaled', 1, '.3f'),
  },
  'Diversity': {
    'rms_ratio': ('spread / zoo', 1, '.2f'),
    'norm_ratio': ('size / zoo', 1, '.2f'),
    'disagreement': ('disagree / error', 1, '.2f'),
    'vendi_ratio': ('Vendi / held-out', 1, '.2f'),
    'self_distance': ('other sample τ', 1, '.2f'),
    'centre_distance': ('to mean / zoo', 1, '.2f'),
  },
  'Fidelity, weights': {
    'density_weights': ('density', 1, '.2f'),
    'coverage_weights': ('coverage %', 100, '.0f'),
    'precision_weights': ('precision %', 100, '.0f'),
    'recall_weights': ('recall %', 100, '.0f'),
    'mmd_weights': ('MMD²', 1, '.3f'),
    'mmd_ratio_weights': ('MMD / zoo', 1, '.2f'),
    'energy_weights': ('energy', 1, '.3f'),
    'sliced_weights': ('sliced W', 1, '.2f'),
  },
  'Fidelity, behaviour': {
    'density_behaviour': ('density', 1, '.2f'),
    'coverage_behaviour': ('coverage %', 100, '.0f'),
    'precision_behaviour': ('precision %', 100, '.0f'),
    'recall_behaviour': ('recall %', 100, '.0f'),
    'mmd_behaviour': ('MMD²', 1, '.3f'),
    'mmd_ratio_behaviour': ('MMD / zoo', 1, '.2f'),
    'energy_behaviour': ('energy', 1, '.3f'),
    'sliced_behaviour': ('sliced W', 1, '.2f'),
  },
  'Cost': {
    'break_even': ('break-even', 1, ',.0f'),
    'break_even_with_zoo': ('same, with zoo', 1, ',.0f'),
    'seconds_per_net': ('ms per net', 1000, '.3g'),
    'bytes_per_net': ('bytes per net', 1, ',.0f'),
  },
  'Robustness': {
    'mce': ('mCE', 1, '.2f'),
    'relative_mce': ('relative mCE', 1, '.2f'),
    'drop_noise': ('noise −%', 100, '.1f'),
    'drop_blur': ('blur −%', 100, '.1f'),
    'drop_geometry': ('geometry −%', 100, '.1f'),
    'drop_light': ('light −%', 100, '.1f'),
    'drop_occlusion': ('occlusion −%', 100, '.1f'),
    'robust_linf': ('any attack L∞ %', 100, '.1f'),
    'own_linf': ('on itself L∞ %', 100, '.1f'),
    'transfer_linf': ('on others L∞ %', 100, '.1f'),
    'noise_linf': ('noise L∞ %', 100, '.1f'),
    'robust_l2': ('any attack L2 %', 100, '.1f'),
    'own_l2': ('on itself L2 %', 100, '.1f'),
    'transfer_l2': ('on others L2 %', 100, '.1f'),
    'noise_l2': ('noise L2 %', 100, '.1f'),
    'weight_noise_nll': ('weight noise +nats', 1, '.3f'),
    'weight_noise_worst_nll': ('same, worst', 1, '.3f'),
    'weight_int8_drop': ('8 bits −%', 100, '.2f'),
    'weight_int4_drop': ('4 bits −%', 100, '.2f'),
    'weight_prune_drop': ('half pruned −%', 100, '.1f'),
  },
  'Barriers, nats': {
    'barrier_train_raw': ('to zoo', 1, '.3f'),
    'barrier_train': ('same, matched', 1, '.3f'),
    'barrier_self': ('other sample, matched', 1, '.3f'),
  },
  'Fine-tuning': {
    'finetune_steps': ('steps to zoo', 1, '.0f'),
    'finetune_reached': ('get there %', 100, '.0f'),
    'finetune_accuracy': ('20 steps: accuracy %', 100, '.1f'),
  },
  'Ensembles': {
    'ensemble4_accuracy': ('4: accuracy %', 100, '.1f'),
    'ensemble4_nll': ('4: NLL nats', 1, '.2f'),
    'ensemble4_gain': ('4: gain nats', 1, '.3f'),
    'ensemble4_ece': ('4: ECE %', 100, '.1f'),
    'ensemble16_accuracy': ('16: accuracy %', 100, '.1f'),
    'ensemble16_nll': ('16: NLL nats', 1, '.2f'),
    'ensemble16_gain': ('16: gain nats', 1, '.3f'),
    'ensemble16_ece': ('16: ECE %', 100, '.1f'),
  },
}


def groups_of(report: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
  """Columns of the full table by group; metrics unknown here come last."""
  known = {key for group in COLUMNS.values() for key in group}
  used = {key for arm in report['arms'] for key in arm['metrics']}
  used |= set(report['metrics'])
  groups = {
    title: {key: spec for key, spec in group.items() if key in used}
    for title, group in COLUMNS.items()
  }
  groups['Other'] = {
    key: (report['metrics'].get(key, {}).get('label', key), 1, '.3g')
    for key in sorted(used - known)
  }
  return {
    title: [
      {
        'key': key,
        'heading': heading,
        'factor': factor,
        'format': form,
        'label': report['metrics'].get(key, {}).get('label', key),
        'better': report['metrics'].get(key, {}).get('better', 'none'),
        'description': report['metrics'].get(key, {}).get('description', ''),
      }
      for key, (heading, factor, form) in group.items()
    ]
    for title, group in groups.items()
    if group
  }


def row(
  arm: Mapping[str, Any], groups: Mapping[str, list[dict[str, Any]]], reasons: list[str]
) -> dict[str, Any]:
  """Cells of one arm; reasons for what was not run are gathered as notes."""
  cells = []
  for index, group in enumerate(groups.values()):
    for column in group:
      cell = {'first': column is group[0], 'group': index, 'note': 0}
      stat = arm['metrics'].get(column['key'])
      stat = stat or {'value': None, 'not_run': 'not part of this evaluation'}
      if stat['value'] is None:
        reason = stat['not_run']
        if reason not in reasons:
          reasons.append(reason)
        cell.update(sort='', text='not run', note=reasons.index(reason) + 1)
        cell.update(title=f'not run: {reason}', interval='')
      else:
        shown = [
          format(column['factor'] * stat[key], column['format'])
          for key in ('value', 'low', 'high')
          if stat.get(key) is not None
        ]
        exact = stat.get('method') == 'none'
        interval = '' if exact or len(shown) < 3 else '–'.join(shown[1:])
        title = f'{column["label"]}: {stat["value"]:.6g}'
        title += f', n = {stat.get("n")}, interval: {stat.get("method")}'
        if 'heldout' in stat:
          title += f', held-out networks: {stat["heldout"]:.6g}'
        if 'note' in stat:
          title += f'; {stat["note"]}'
        if 'p' in stat:
          interval = f'p = {stat["p"]:.2g}'
        cell.update(sort=stat['value'], text=shown[0], interval=interval)
        cell.update(title=title)
      cells.append(cell)
  return {'name': arm['name'], 'n': arm['n'], 'kind': arm['kind'],
          'seeds': arm.get('seeds', []), 'cells': cells,
          'suspicions': arm.get('suspicions', [])}  # fmt: skip
