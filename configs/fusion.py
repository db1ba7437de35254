"""Merge networks of different seeds, or of different tasks, by every method.

  wsjax run --config configs/fusion.py --workdir runs/fusion
  wsjax run --config configs/fusion.py:rig=tasks --workdir runs/fusion_tasks

With `rig=seeds` groups of 2, 4 and 8 classifiers 784-128-128-10 of MNIST, trained from different
seeds, are merged. With `rig=tasks` a short training on MNIST gives a base, which is fine-tuned on
eight tasks, MNIST with its pixels reordered by the symmetries of the square; all tasks share all
weights, so they conflict. Methods with data are given training images without labels.
Options: `rig`, and `smoke`, which runs every stage in seconds on the digits of scikit-learn.

Hardware: 2 CPU cores shared with other work.
Time: `rig=tasks` 9 min, `rig=seeds` 20 min, on busy cores.
Measured: results/fusion_tasks.json and results/fusion_seeds.json.
"""

from ml_collections import config_dict

from configs import common
from wsjax import config as config_lib


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """Merging of networks."""
  arg = config_lib.parse_arg(arg, smoke=False, rig=('seeds', 'tasks'))
  seeds = arg['rig'] == 'seeds'
  c = common.start(f'fusion_{arg["rig"]}', 'fusion')
  c.zoo = dict(
    path='',
    architecture=dict(
      name='mlp', widths=(784, 128, 128, 10) if seeds else (784, 256, 128, 10), activation='relu'
    ),
    # 20,000 images are left to train on.
    dataset=dict(name='mnist', val_fraction=2 / 3),
    recipe=common.recipe(steps=600 if seeds else 60),
    splits=dict(train=24 if seeds else 4, val=0, test=0, holdout_audit=0),
    chunk_size=16,
  )
  c.fusion = dict(
    rig=arg['rig'],
    parents=(2, 4, 8),
    num_tasks=8,
    num_images=2_048 if seeds else 1_024,
    num_tune=10_000,
    restarts=3,
  )
  # Fine-tuning of the parents, and distillation of their ensemble.
  c.train = common.train(
    steps=300, learning_rate=1e-3, warmup_steps=0, schedule='constant', weight_decay=0.0,
    clip_norm=0.0, ema_decay=0.0, inner_steps=100, checkpoint_every_steps=100,
  )  # fmt: skip
  c.evaluate = dict(num_bootstrap=1_000)
  if arg['smoke']:
    c.zoo.architecture.widths = (64, 16, 16, 10)
    c.zoo.dataset = dict(name='digits', val_fraction=0.1)
    c.zoo.splits.train, c.zoo.recipe.steps = (4 if seeds else 1), 60
    c.zoo.chunk_size = 4
    c.fusion.parents, c.fusion.num_tasks = (2,), 2
    c.fusion.num_images, c.fusion.num_tune, c.fusion.restarts = 64, 200, 1
    c.train.steps, c.train.inner_steps, c.train.checkpoint_every_steps = 8, 4, 4
    c.evaluate.num_bootstrap = 50
  return c.lock()
