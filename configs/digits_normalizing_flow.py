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

from configs import common
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
  c = common.start('digits_normalizing_flow', 'generation')
  c.zoo = common.digits_zoo()
  c.symmetry = dict(canonicalize=arg['canonicalize'], restarts=3)
  c.tokens = dict(name='flat')
  c.normalize = dict(how='layer')
  c.codec = dict(name='pca', rank=128, whiten=True)
  c.generator = dict(
    name='flow', num_layers=8, width=128, depth=2, noise_std=0.1, coupling=arg['coupling']
  )
  c.train = common.train(
    seeds=(0, 1, 2), steps=4_000, learning_rate=5e-4, checkpoint_every_steps=2_000,
    patience=arg['patience'], keep_best=1,
  )  # fmt: skip
  c.evaluate = dict(num_samples=128, num_bootstrap=1_000, finetune_steps=50, membership=True)
  if arg['smoke']:
    common.smoke(c)
    c.codec.rank = 8
    c.train.seeds = (0,)
  return c.lock()
