"""Flow matching on digit classifiers in canonical form.

  wsjax run --config configs/digits_flow.py --workdir runs/digits_flow

512 training networks 64-16-10 in canonical form (scales balanced, permutations aligned), in 64
whitened principal components; a velocity field carries noise to them.
Options: `canonicalize`, which symmetry is removed first, and `smoke`, which runs every stage in
seconds.

Hardware: 2 CPU cores.
Time: 30 s with packages and compiled programs at hand: zoo 7 s, training 13 s, evaluation 9 s.
Measured: results/digits_flow.json.
"""

from ml_collections import config_dict

from configs import common
from wsjax import config as config_lib


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """Flow matching in the canonical weight space of digit classifiers."""
  arg = config_lib.parse_arg(
    arg, smoke=False, canonicalize=('permutation+scale', 'permutation', 'none')
  )
  c = common.start('digits_flow', 'generation')
  c.zoo = common.digits_zoo()
  c.symmetry = dict(canonicalize=arg['canonicalize'], restarts=3)
  c.tokens = dict(name='flat')
  c.normalize = dict(how='layer', weights=())
  c.codec = dict(name='pca', rank=64, whiten=True)
  c.generator = common.flow_matching()
  c.train = common.train(steps=3_000, learning_rate=5e-4)
  c.evaluate = dict(num_samples=128, num_bootstrap=1_000, finetune_steps=50)
  if arg['smoke']:
    common.smoke(c)
    c.codec.rank = 8
  return c.lock()
