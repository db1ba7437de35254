"""An evaluation with every method and made-up numbers, and its report."""

import numpy as np

from wsjax.evaluation import evaluator
from wsjax.evaluation import metrics as metrics_lib
from wsjax.evaluation.report import model
from wsjax.experiments.generation import verdict

# name, kind, accuracy, its spread, distance / tau, its spread, max IoU.
METHODS = (
  ('diffusion', 'model', 0.955, 0.008, 0.62, 0.06, 0.41),
  ('diffusion raw', 'model', 0.72, 0.09, 0.30, 0.05, 0.28),
  ('noise(0.01)', 'baseline', 0.961, 0.003, 0.07, 0.003, 0.84),
  ('noise(0.05)', 'baseline', 0.928, 0.006, 0.35, 0.01, 0.38),
  ('interpolation aligned', 'baseline', 0.857, 0.07, 0.25, 0.08, 0.36),
  ('soup-2 raw', 'baseline', 0.47, 0.1, 0.51, 0.02, 0.11),
  ('soup-2 aligned', 'baseline', 0.81, 0.05, 0.48, 0.02, 0.25),
  ('gaussian', 'baseline', 0.179, 0.05, 0.99, 0.02, 0.05),
  ('retrieval', 'baseline', 0.962, 0.002, 0.0, 0.0, 1.0),
  ('permuted copy', 'control', 0.962, 0.002, 0.0, 0.0, 1.0),
  ('random init', 'control', 0.1, 0.02, 1.12, 0.01, 0.06),
  ('fresh runs', 'ceiling', 0.962, 0.002, 1.0, 0.03, 0.45),
  ('zoo, leave one out', 'reference', 0.962, 0.002, 1.0, 0.04, 0.46),
)


def stat(value, half=0.0, n=100, method='bootstrap-nets', top=1.0):
  return {
    'value': float(value),
    'low': float(max(0, value - half)),
    'high': float(min(max(top, value), value + half)),
    'n': n,
    'method': method,
  }


def row(index, entry, n=100):
  name, kind, accuracy, spread, novelty, scatter, iou = entry
  rng = np.random.default_rng(index)
  networks = np.clip(accuracy + spread * rng.standard_normal(n), 0, 1)
  far = np.abs(novelty + scatter * rng.standard_normal(n))
  overlap = np.clip(iou + 0.03 * rng.standard_normal(n), 0, 1)
  good = networks >= 0.958
  rates = {
    'copy_rate': np.mean(far < 0.1),
    'gate_strict': np.mean(good & (far >= 1)),
    'gate_half': np.mean(good & (far >= 0.5)),
    'gate_functional': np.mean(good & (overlap <= 0.459)),
  }
  stats = {
    'accuracy': stat(networks.mean(), 0.006, method='two-way'),
    'nll': stat(-np.log(accuracy) + 0.05, 0.01, top=9),
    'novelty': stat(np.median(far), 0.01, top=9),
    'max_iou': stat(overlap.mean(), 0.01),
    'max_iou_at_threshold': stat(overlap.mean(), 0.01),
    'rms_ratio': stat(0.7 if 'soup' in name else 1.01, 0.01, top=2),
    'disagreement': {'value': None, 'not_run': 'needs two or more networks'},
    'seconds_per_net': stat(0.003, method='none'),
    **{key: stat(value, 0.03, method='clopper-pearson') for key, value in rates.items()},
  }
  networks = {
    'accuracy': networks.tolist(),
    'novelty': [None, *far[1:].tolist()],
    'max_iou': overlap.tolist(),
  }
  return model.Row(n, stats, kind, [0, 1, 2] if kind == 'model' else [], per_network=networks)


def evaluation(methods=METHODS):
  """Made-up measurements."""
  rng = np.random.default_rng(0)
  edges = np.linspace(-1, 1, 41)
  middle = (edges[1:] + edges[:-1]) / 2

  def density(width):
    return (np.exp(-((middle / width) ** 2) / 2) / width / 2.5).tolist()

  t = np.linspace(0, 1, 11)
  bump = np.sin(np.pi * t)
  rows = {entry[0]: row(index, entry) for index, entry in enumerate(methods)}
  known = {key for made in rows.values() for key in made.stats}
  return evaluator.Evaluation(
    metrics=tuple(
      metric
      for group in metrics_lib.load_all(())
      for metric in group.metrics
      if metric.name in known
    ),
    rows=rows,
    differences={},
    zoo={
      'path': 'zoo',
      'digest': 'sha256:' + '0123456789abcdef' * 4,
      'architecture': 'mlp 64-32-32-10 relu',
      'dataset': 'digits',
      'num_params': 3466,
      'n_train': 400,
      'n_heldout': 100,
      'accuracy': 0.962,
      'accuracy_p5': 0.958,
      'tau': 7.31,
      'loo_max_iou': 0.459,
      'rms': 0.171,
    },
    histograms={
      f'layer{layer}/{part}': {
        'bins': edges.tolist(),
        'zoo': density(0.2 + 0.1 * layer),
        'diffusion': density(0.19 + 0.1 * layer),
      }
      for layer in range(2)
      for part in ('kernel', 'bias')
    },
    alignment={
      'before': sorted(1.45 + 0.03 * rng.standard_normal(300)),
      'after': sorted(1.04 + 0.04 * rng.standard_normal(300)),
      'description': '300 pairs of training networks.',
    },
    barrier={
      't': t.tolist(),
      'raw': [(0.1 + h * bump).tolist() for h in 1.8 + rng.random(16)],
      'aligned': [(0.1 + h * bump).tolist() for h in 0.2 + 0.3 * rng.random(16)],
      'unit': 'nats',
    },
    curves={},
  )


def make(methods=METHODS):
  """The report of made-up measurements."""
  report = verdict.report(evaluation(methods))
  report.experiment = 'generation'
  report.notes = ['Noise is absolute, not a share of the weight scale.']
  report.run = model.Run(
    'digits_flow',
    {'seed': 0, 'train': {'steps': 20_000, 'batch_size': 64}},
    {'train.steps': '20000'},
    {'jax': '0.10.2', 'numpy': '2.4.0', 'wsjax': '0.1.0'},
    '2 cores x86_64, 1 x cpu',
    created_at='2026-01-02T03:04:05Z',
    wall_seconds={'zoo': 61.0, 'train': 74.2, 'evaluate': 48.9},
  )
  return report
