"""Diffusion over neuron tokens of digit classifiers, with a transformer.

  wsjax run --config configs/digits_diffusion.py --workdir runs/diffusion

The zoo of `digits_flow`, one token per hidden or output neuron, no codec.
Options: `canonicalize`, `smoke`.

Hardware: not measured yet.
Time: not measured yet.
Measured: not measured yet.
"""

from ml_collections import config_dict

from wsjax import config as config_lib


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """Diffusion in the canonical weight space of digit classifiers."""
  arg = config_lib.parse_arg(
    arg, smoke=False, canonicalize=('permutation+scale', 'permutation', 'none')
  )
  c = config_dict.ConfigDict()
  c.name = 'digits_diffusion'
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
  c.tokens = dict(name='neurons')
  c.normalize = dict(how='layer')
  c.codec = dict(name='identity')
  c.generator = dict(
    name='diffusion',
    backbone=dict(name='transformer', width=128, depth=4, num_heads=4),
    data_std=1.0,
    sigma_min=0.002,
    sigma_max=80.0,
    solver='heun',
    num_steps=32,
  )
  c.train = dict(
    seeds=(0,),
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
  )
  c.evaluate = dict(num_samples=128, num_bootstrap=1_000, finetune_steps=50)
  if arg['smoke']:
    c.zoo.splits = dict(train=16, val=2, test=8, holdout_audit=2)
    c.zoo.recipe.steps = 20
    c.train.steps, c.train.inner_steps, c.train.warmup_steps = 4, 2, 2
    c.train.checkpoint_every_steps = 2
    c.evaluate = dict(num_samples=8, num_bootstrap=50, finetune_steps=2)
  return c.lock()
