"""Published recipes on small networks: do they copy their training set?

  wsjax run --config configs/memorization.py:method=p_diff --workdir runs/p_diff
  wsjax sweep --config configs/ablations/memorization.py --workdir runs/memorization

Analogues of four generators on digits 64-16-10, raw weights, each with its own kind of training
set: `p_diff`, a latent diffusion of 100 checkpoints of one run (arXiv:2402.13144);
`hyper_representations`, an autoencoder with a kernel density on the last five checkpoints of 200
runs (arXiv:2209.14733); `g_pt`, a diffusion conditioned on the loss, on ten checkpoints of 400
runs (arXiv:2209.12892; its start weights are in `prompting.py`); `deep_weight_flow`, a flow in
the principal components of 100 runs (arXiv:2601.05052). The protocol is that of arXiv:2506.07998.
Snapshots of training runs count as training networks. τ and the thresholds are those of
independent runs, also for `p_diff`, which has seen one run.

Hardware: 2 CPU cores shared with three other jobs.
Time: `p_diff` 18 min, of them 6 for a zoo of 67 runs with 100 checkpoints each;
`hyper_representations` 8 min, `g_pt` 17 min, `deep_weight_flow` 2 min.
Measured: results/memorization.json.
"""

from ml_collections import config_dict

from configs import common
from wsjax import config as config_lib

METHODS = ('p_diff', 'hyper_representations', 'g_pt', 'deep_weight_flow')
DIFFUSION = common.diffusion(backbone=dict(name='mlp', width=256, depth=3))
# Steps of a run, checkpoints kept before its end, and training runs.
ZOOS = {
  'p_diff': (900, range(405, 900, 5), 1),
  'hyper_representations': (400, range(320, 400, 20), 200),
  'g_pt': (400, range(40, 400, 40), 400),
  'deep_weight_flow': (400, (), 100),
}


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """One recipe, with all metrics."""
  arg = config_lib.parse_arg(arg, smoke=False, method=METHODS)
  method = arg['method']
  steps, snapshots, num_train = ZOOS[method]
  c = common.start(f'digits_{method}', 'generation')
  c.zoo = common.digits_zoo(
    steps=steps, snapshots=tuple(snapshots), train=num_train, val=1, test=64, holdout_audit=1
  )
  c.symmetry = dict(canonicalize='none', restarts=3)
  c.tokens = dict(name='flat')
  c.normalize = dict(how='layer')
  c.strategy = dict(trajectory=method != 'deep_weight_flow')
  c.codec = dict(name='identity')
  c.generator = dict(DIFFUSION)
  c.train = common.train(
    seeds=(0, 1, 2), steps=8_000, learning_rate=5e-4, weight_decay=1e-5,
    checkpoint_every_steps=4_000,
  )  # fmt: skip
  c.evaluate = dict(num_samples=100, num_bootstrap=1_000, finetune_steps=50)
  if method in ('p_diff', 'hyper_representations'):
    c.codec = dict(
      name='vae',
      rank=64,
      kl_weight=1e-3,
      width=256,
      steps=4_000,
      batch_size=64,
      learning_rate=3e-4,
      seed=0,
    )
  if method == 'hyper_representations':
    c.generator = dict(name='kde', rule='scott', per='dimension', factor=1.0)
  if method == 'g_pt':
    c.condition = dict(name='metric', metric='loss', split='val', low=0.01, high=3.0, log=True)
    c.generator.condition_size = 1
  if method == 'deep_weight_flow':
    c.normalize = dict(how='none')
    c.codec = dict(name='pca', rank=99, whiten=False)
    c.generator = dict(
      name='flow_matching',
      backbone=dict(name='deep_weight_flow', width=512),
      source_std=0.01,
      source_draws=100,
      path_std=0.001,
      solver='rk4',
      num_steps=99,
    )
    c.train.steps, c.train.batch_size = 30_000, 8
  if arg['smoke']:
    c.zoo.splits.update(train=min(num_train, 12), test=8)
    c.zoo.recipe.steps = 20
    c.zoo.recipe.snapshots = (4, 8, 12, 16) if snapshots else ()
    if 'rank' in c.codec:
      c.codec.rank = 4
    if 'steps' in c.codec:
      c.codec.steps = 4
    c.train.steps, c.train.inner_steps, c.train.warmup_steps = 4, 2, 2
    c.train.seeds, c.train.checkpoint_every_steps = (0, 1), 2
    c.evaluate = dict(num_samples=8, num_bootstrap=50, finetune_steps=2)
  return c.lock()
