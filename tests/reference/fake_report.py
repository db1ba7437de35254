"""A report as an evaluation writes it, with every arm and made-up numbers."""

import numpy as np

from wsjax.evaluation import metrics as metrics_lib

# name, kind, accuracy, its spread, distance / tau, its spread, max IoU.
ARMS = (
  ('diffusion', 'generator', 0.955, 0.008, 0.62, 0.06, 0.41),
  ('diffusion raw', 'generator', 0.72, 0.09, 0.30, 0.05, 0.28),
  ('noise(0.01)', 'baseline', 0.961, 0.003, 0.07, 0.003, 0.84),
  ('noise(0.02)', 'baseline', 0.958, 0.003, 0.14, 0.005, 0.71),
  ('noise(0.05)', 'baseline', 0.928, 0.006, 0.35, 0.01, 0.38),
  ('noise(0.1)', 'baseline', 0.74, 0.05, 0.68, 0.01, 0.16),
  ('interpolation raw', 'baseline', 0.76, 0.1, 0.25, 0.08, 0.35),
  ('interpolation aligned', 'baseline', 0.857, 0.07, 0.25, 0.08, 0.36),
  ('soup-2 raw', 'baseline', 0.47, 0.1, 0.51, 0.02, 0.11),
  ('soup-2 aligned', 'baseline', 0.81, 0.05, 0.48, 0.02, 0.25),
  ('soup-4 raw', 'baseline', 0.21, 0.06, 0.75, 0.02, 0.05),
  ('soup-4 aligned', 'baseline', 0.609, 0.06, 0.67, 0.02, 0.09),
  ('soup-16 raw', 'baseline', 0.119, 0.02, 0.83, 0.01, 0.05),
  ('soup-16 aligned', 'baseline', 0.665, 0.04, 0.65, 0.01, 0.10),
  ('gaussian', 'baseline', 0.179, 0.05, 0.99, 0.02, 0.05),
  ('pca-gaussian', 'baseline', 0.329, 0.08, 0.94, 0.02, 0.06),
  ('retrieval', 'baseline', 0.962, 0.002, 0.0, 0.0, 1.0),
  ('permuted copy', 'control', 0.962, 0.002, 0.0, 0.0, 1.0),
  ('random init', 'control', 0.1, 0.02, 1.12, 0.01, 0.06),
  ('fresh runs', 'ceiling', 0.962, 0.002, 1.0, 0.03, 0.45),
  ('zoo, leave one out', 'reference', 0.962, 0.002, 1.0, 0.04, 0.46),
  ('finetune-20', 'baseline', 0.9625, 0.002, 0.11, 0.02, 0.79),
)
KEYS = {
  'accuracy', 'accuracy_iqm', 'accuracy_worst_decile', 'nonfunctional_rate', 'nll', 'brier', 'ece',
  'ece_null', 'novelty', 'copy_rate', 'max_iou', 'max_iou_at_bar', 'gate_strict', 'gate_half',
  'gate_behaviour', 'rms_ratio', 'norm_ratio', 'disagreement', 'seconds_per_net', 'bytes_per_net',
}  # fmt: skip


def stat(value, half=0.0, n=100, method='bootstrap-nets', top=1.0):
  return {
    'value': float(value),
    'low': float(max(0, value - half)),
    'high': float(min(max(top, value), value + half)),
    'n': n,
    'method': method,
  }


def _arm(index, row, n=100):
  name, kind, accuracy, spread, novelty, scatter, iou = row
  rng = np.random.default_rng(index)
  nets = np.clip(accuracy + spread * rng.standard_normal(n), 0, 1)
  far = np.abs(novelty + scatter * rng.standard_normal(n))
  overlap = np.clip(iou + 0.03 * rng.standard_normal(n), 0, 1)
  good = nets >= 0.958
  rates = {
    'copy_rate': np.mean(far < 0.1),
    'gate_strict': np.mean(good & (far >= 1)),
    'gate_half': np.mean(good & (far >= 0.5)),
    'gate_behaviour': np.mean(good & (overlap <= 0.459)),
  }
  metrics = {
    'accuracy': stat(nets.mean(), 0.006, method='two-way'),
    'accuracy_iqm': stat(np.median(nets), 0.004),
    'accuracy_worst_decile': stat(np.quantile(nets, 0.1), 0.01),
    'nonfunctional_rate': stat(np.mean(nets < 0.15), 0.01),
    'nll': stat(-np.log(accuracy) + 0.05, 0.01, top=9),
    'brier': stat(1.3 * (1 - accuracy), 0.01),
    'ece': stat(0.02, 0.004),
    'ece_null': stat(0.012),
    'novelty': stat(np.median(far), 0.01, top=9),
    'max_iou': stat(overlap.mean(), 0.01),
    'max_iou_at_bar': stat(overlap.mean(), 0.01),
    'rms_ratio': stat(0.7 if 'soup' in name else 1.01, 0.01, top=2),
    'norm_ratio': stat(1.0, 0.01, top=2),
    'disagreement': {'value': None, 'not_run': 'needs two or more nets'},
    'seconds_per_net': stat(0.003, method='none'),
    'bytes_per_net': stat(4 * 3562, method='none'),
    **{k: stat(v, 0.03, method='clopper-pearson') for k, v in rates.items()},
  }
  return {
    'name': name,
    'kind': kind,
    'n': n,
    'seeds': [0, 1, 2],
    'metrics': metrics,
    'per_net': {
      'accuracy': nets.tolist(),
      'novelty': [None, *far[1:].tolist()],
      'max_iou': overlap.tolist(),
      'nll': (-np.log(np.clip(nets, 0.01, 1))).tolist(),
    },
  }


def make(arms=ARMS):
  """A report of made-up numbers, shaped as DESIGN and the contract say."""
  rng = np.random.default_rng(0)
  edges = np.linspace(-1, 1, 41)
  middle = (edges[1:] + edges[:-1]) / 2

  def density(width):
    return (np.exp(-((middle / width) ** 2) / 2) / width / 2.5).tolist()

  t = np.linspace(0, 1, 11)
  bump = np.sin(np.pi * t)
  steps = np.arange(0, 20_000, 200)
  return {
    'schema_version': '1.0.0',
    'name': 'digits_flow',
    'config': {'seed': 0, 'train': {'steps': 20_000, 'batch_size': 64}},
    'config_text': 'seed: 0\ntrain:\n  batch_size: 64\n  steps: 20000\n',
    'overrides': {'train.steps': 20_000},
    'versions': {'jax': '0.10.2', 'numpy': '2.4.0', 'wsjax': '0.1.0'},
    'device': '2 cores x86_64, 1 x cpu',
    'created_at': '2026-01-02T03:04:05Z',
    'wall_seconds': {'zoo': 61.0, 'train': 74.2, 'evaluate': 48.9},
    'zoo': {
      'path': 'zoo',
      'digest': 'sha256:' + '0123456789abcdef' * 4,
      'architecture': 'mlp 64-32-32-10 relu',
      'dataset': 'digits',
      'num_params': 3466,
      'n_train': 400,
      'n_heldout': 100,
      'accuracy': stat(0.962, 0.002),
      'accuracy_p5': 0.958,
      'tau': 7.31,
      'loo_max_iou': stat(0.459, 0.01),
      'rms': 0.171,
    },
    'arms': [_arm(index, row) for index, row in enumerate(arms)],
    'metrics': {
      metric.name: metric.declaration()
      for group in metrics_lib.load_all(())
      for metric in group.metrics
      if metric.name in KEYS
    },
    'histograms': {
      f'layer{layer}/{leaf}': {
        'bins': edges.tolist(),
        'zoo': density(0.2 + 0.1 * layer),
        'diffusion': density(0.19 + 0.1 * layer),
        'diffusion raw': density(0.14 + 0.1 * layer),
        'soup-2 raw': density(0.1),
      }
      for layer in range(3)
      for leaf in ('kernel', 'bias')
    },
    'alignment': {
      'before': sorted(1.45 + 0.03 * rng.standard_normal(300)),
      'after': sorted(1.04 + 0.04 * rng.standard_normal(300)),
      'description': '300 pairs of training nets.',
    },
    'barrier': {
      't': t.tolist(),
      'raw': [(0.1 + h * bump).tolist() for h in 1.8 + rng.random(16)],
      'aligned': [(0.1 + h * bump).tolist() for h in 0.2 + 0.3 * rng.random(16)],
      'unit': 'nats',
    },
    'training': {
      'step': steps.tolist(),
      'loss': (0.3 + 2 * np.exp(-steps / 3e3)).tolist(),
      'val_loss': (0.42 + 2 * np.exp(-steps / 3e3)).tolist(),
    },
    'notes': ['Noise is absolute, not a share of the weight scale.'],
  }
