"""Simple generators of classifiers, which a trained one has to beat.

  wsjax run --config configs/simple.py:generator=kde --workdir runs/kde

Options: `rig`, the zoo: that of `digits_flow`, or the MNIST CNNs of `hypernetwork`; `generator`;
`codec` of all generators but 'autoregressive', whose tokens are neurons; `canonicalize`; `smoke`.

Hardware: 2 CPU cores, shared with another job.
Time: half a minute of one core with a zoo at hand, most of it evaluation; 'autoregressive' 6 min,
most of it training.
Measured: results/simple.json.
"""

from ml_collections import config_dict

from configs import common
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
  'flow_matching': common.flow_matching(),
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
  c = common.start(f'{arg["rig"]}_{arg["generator"]}', 'generation')
  c.zoo = dict(
    path='',  # Empty: the zoo lives in the workdir.
    architecture=architecture,
    dataset=dataset,
    recipe=common.recipe(**recipe),
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
  c.train = common.train(seeds=(0, 1, 2), steps=3_000, batch_size=32)
  c.evaluate = dict(num_samples=128, num_bootstrap=1_000, finetune_steps=50)
  if arg['smoke']:
    common.smoke(c)
    if 'rank' in c.codec:
      c.codec.rank = 8
    if 'steps' in c.codec:
      c.codec.steps = 4
    if 'candidates' in c.generator:
      c.generator.candidates, c.generator.keep = 32, 8
    c.train.seeds = (0,)
  return c.lock()
