"""A normalizing flow over digit classifiers: exact likelihood of weights.

  wsjax run --config configs/digits_normalizing_flow.py --workdir runs/nf

The zoo of `digits_flow`, whitened by principal components, affine couplings. Training stops where
the likelihood of held-out runs is highest.
Options: `canonicalize`, `coupling` ('affine' or 'spline'), `patience` in blocks of 250 steps (0:
train to the end), `smoke`.

Hardware: 2 CPU cores shared with other work.
Time: with a zoo at hand 1 min, to the end 2 min, splines 5 min.
Measured: results/digits_normalizing_flow.json.
"""

from ml_collections import config_dict

from wsjax import config as config_lib


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """Affine couplings in the canonical weight space of digit classifiers."""
  arg = config_lib.parse_arg(
    arg,
    smoke=False,
    canonicalize=('permutation+scale', 'permutation', 'none'),
    coupling=('affine', 'spline'),
    patience=4,
  )
  c = config_dict.ConfigDict()
  c.name = 'digits_normalizing_flow'
  c.seed = 0
  c.experiment = 'generation'
  c.zoo = dict(
    path='',  # Empty: the zoo lives in the workdir.
    architecture=dict(name='mlp', widths=(64, 16, 10), activation='relu'),
    dataset=dict(name='digits', val_fraction=0.1),
    recipe=dict(
      optimizer='adam',
      learning_rate=3e-3,
      weight_decay=0.0,
      momentum=0.9,
      batch_size=64,
      steps=400,
      snapshots=(),
    ),
    splits=dict(train=512, val=64, test=128, holdout_audit=64),
    chunk_size=64,
  )
  c.symmetry = dict(canonicalize=arg['canonicalize'], restarts=3)
  c.tokens = dict(name='flat')
  c.normalize = dict(how='layer')
  c.codec = dict(name='pca', rank=128, whiten=True)
  c.generator = dict(
    name='flow', num_layers=8, width=128, depth=2, noise_std=0.1, coupling=arg['coupling']
  )
  c.train = dict(
    seeds=(0, 1, 2),
    steps=4_000,
    batch_size=64,
    learning_rate=5e-4,
    warmup_steps=200,
    schedule='cosine',
    final_learning_rate=0.0,
    weight_decay=1e-2,
    clip_norm=1.0,
    ema_decay=0.999,
    inner_steps=250,
    checkpoint_every_steps=2_000,
    mesh=(('data', -1),),
    patience=arg['patience'],
    keep_best=1,
  )
  c.evaluate = dict(num_samples=128, num_bootstrap=1_000, finetune_steps=50, membership=True)
  if arg['smoke']:
    c.zoo.splits = dict(train=16, val=2, test=8, holdout_audit=2)
    c.zoo.recipe.steps = 20
    c.codec.rank = 8
    c.train.seeds = (0,)
    c.train.steps, c.train.inner_steps, c.train.warmup_steps = 4, 2, 2
    c.train.checkpoint_every_steps = 2
    c.evaluate.update(num_samples=8, num_bootstrap=50, finetune_steps=2)
  return c.lock()
