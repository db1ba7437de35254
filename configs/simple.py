r"""Simple generators of classifiers: what a trained one has to beat.

  wsjax run --config configs/simple.py:generator=kde --workdir runs/kde

Options: `rig`, the zoo: that of `digits_flow`, or the MNIST CNNs of
`hypernetwork`; `generator`; `codec`, which codec is under all but 'autoregressive',
whose tokens are neurons; `canonicalize`; `smoke`.

Hardware: 2 CPU cores, shared with another job.
Time: half a minute of one core with a zoo at hand, most of it evaluation;
'autoregressive' 6 min, most of it training.
Measured: 3 training seeds x 128 samples; 95 % intervals; no arm copies
[0, 1.0], and G, G1/2 and G_b are 0 % [0, 1.0] in all. Accuracy, distance and
spread:

  kde                     79.1 % [76.8, 81.3]  0.91 tau [0.91, 0.92]  0.83
  gaussian_mixture        80.1 % [77.7, 82.3]  0.89 tau [0.89, 0.90]  0.80
  subsample (SUB)         87.6 % [85.4, 89.8]  0.90 tau [0.90, 0.91]  0.81
  subsample (BOOT x 4)    87.5 % [85.5, 89.6]  0.93 tau [0.92, 0.93]  0.86
  kde on codec=vae        74.0 % [71.6, 76.4]  0.98 tau [0.97, 0.98]  0.96
  recurrent               40.3 % [38.6, 41.9]  1.02 tau [1.01, 1.03]  0.92

Baselines beside them: PCA-Gaussian 77.3 % at 0.94 tau, flow matching 82.6 %
at 0.87 tau (digits_flow), zoo 96.3 %, its 5th percentile 95.3 %. So a better
density of principal components gains little; selection gains 8 points. SUB
keeps 256 of 2,048 by their accuracy on 144 validation images, BOOT 256 of
8,192 in 4 rounds (--config.generator.rounds=4), both best-of-many, which the
others are not.
The vae memorizes 512 networks: it leaves 35 % of a training network and 66 %
of one held out (relative error), principal components 51 % and 60 %.
'autoregressive' has its lowest validation loss (0.85) at step 1,500 and 0.94 at
the end; yet 1,500 steps with dropout 0.1 in the head give 33.6 % [31.9, 35.2]
at 1.05 tau [1.05, 1.06] (both of one seed).
"""

from ml_collections import config_dict

from wsjax import config as config_lib

# Rig -> architecture, data set, what the recipes differ in, runs per split.
RIGS = {
  'digits': (
    dict(name='mlp', widths=(64, 16, 10), activation='relu'),
    dict(name='digits', val_fraction=0.1),
    dict(steps=400),
    dict(train=512, val=64, test=128, holdout_audit=64),
  ),
  'mnist_cnn': (
    dict(name='cnn', image=(28, 28, 1), channels=(8, 16), dense=(), stride=2),
    dict(name='mnist', val_fraction=0.1),
    dict(steps=1_000),
    dict(train=128, val=0, test=64, holdout_audit=36),
  ),
}
CODECS = {
  'pca': dict(name='pca', rank=64, whiten=True),
  'vae': dict(
    name='vae',
    rank=64,
    kl_weight=0.1,
    width=256,
    steps=1_000,
    batch_size=64,
    learning_rate=3e-4,
    seed=0,
  ),
}
GENERATORS = {
  'kde': dict(name='kde', rule='scott', per='dimension', factor=1.0),
  'gaussian_mixture': dict(
    name='gaussian_mixture', num_components=4, covariance='full', floor=1e-2, max_iterations=200
  ),
  'best_of_n': dict(
    name='best_of_n', candidates=2048, keep=256, rounds=1, rule='scott', per='dimension', factor=1.0
  ),
  # What needs training, for comparison.
  'flow_matching': dict(
    name='flow_matching',
    backbone=dict(name='mlp', width=256, depth=3, dropout=0.1),
    source_std=1.0,
    source_draws=0,
    path_std=0.0,
    solver='heun',
    num_steps=32,
    coupling='independent',
  ),
  'autoregressive': dict(
    name='autoregressive',
    head=dict(name='mlp', width=128, depth=2, dropout=0.0),
    width=128,
    state_size=128,
    depth=2,
    context_noise=0.1,
    solver='heun',
    num_steps=12,
  ),
}


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """A simple model in the canonical weight space of classifiers."""
  arg = config_lib.parse_arg(
    arg,
    smoke=False,
    rig=tuple(RIGS),
    generator=tuple(GENERATORS),
    codec=tuple(CODECS),
    canonicalize=('permutation+scale', 'permutation', 'none'),
  )
  architecture, dataset, recipe, splits = RIGS[arg['rig']]
  c = config_dict.ConfigDict()
  c.name = f'{arg["rig"]}_{arg["generator"]}'
  c.seed = 0
  c.zoo = dict(
    path='',  # Empty: the zoo lives in the workdir.
    architecture=architecture,
    dataset=dataset,
    recipe=dict(
      optimizer='adam',
      learning_rate=3e-3,
      weight_decay=0.0,
      momentum=0.9,
      batch_size=64,
      snapshots=(),
      **recipe,
    ),
    splits=splits,
    chunk_size=64,
  )
  c.symmetry = dict(canonicalize=arg['canonicalize'], restarts=3)
  c.tokens = dict(name='flat')
  c.normalize = dict(how='layer')
  c.codec = CODECS[arg['codec']]
  c.generator = GENERATORS[arg['generator']]
  if arg['generator'] == 'autoregressive':
    c.tokens, c.codec = dict(name='neurons'), dict(name='identity')
  c.train = dict(  # Of what is trained by steps; the others read the seeds.
    seeds=(0, 1, 2),
    steps=3_000,
    batch_size=32,
    learning_rate=1e-3,
    warmup_steps=200,
    schedule='cosine',
    final_learning_rate=0.0,
    weight_decay=1e-2,
    clip_norm=1.0,
    ema_decay=0.999,
    inner_steps=250,
    checkpoint_every_steps=1_000,
    mesh=(('data', -1),),
  )
  c.evaluate = dict(num_samples=128, num_bootstrap=1_000, finetune_steps=50)
  if arg['smoke']:
    c.zoo.splits = dict(train=16, val=2, test=8, holdout_audit=2)
    c.zoo.recipe.steps = 20
    if 'rank' in c.codec:
      c.codec.rank = 8
    if 'steps' in c.codec:
      c.codec.steps = 4
    if 'candidates' in c.generator:
      c.generator.candidates, c.generator.keep = 32, 8
    c.train.seeds = (0,)
    c.train.steps, c.train.inner_steps, c.train.warmup_steps = 4, 2, 2
    c.train.checkpoint_every_steps = 2
    c.evaluate = dict(num_samples=8, num_bootstrap=50, finetune_steps=2)
  return c.lock()
