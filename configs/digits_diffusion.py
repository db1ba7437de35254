"""Diffusion over neuron tokens of digit classifiers, with a transformer.

  wsjax run --config configs/digits_diffusion.py --workdir runs/diffusion

The zoo of `digits_flow`, one token per hidden or output neuron, no codec.
Options: `canonicalize`, `smoke`.

Hardware: not measured yet.
Time: not measured yet.
Measured: not measured yet.
"""

from ml_collections import config_dict

from configs import common
from wsjax import config as config_lib


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """Diffusion in the canonical weight space of digit classifiers."""
  arg = config_lib.parse_arg(
    arg, smoke=False, canonicalize=('permutation+scale', 'permutation', 'none')
  )
  c = common.start('digits_diffusion', 'generation')
  c.zoo = common.digits_zoo()
  c.symmetry = dict(canonicalize=arg['canonicalize'], restarts=3)
  c.tokens = dict(name='neurons')
  c.normalize = dict(how='layer')
  c.codec = dict(name='identity')
  c.generator = common.diffusion(backbone=dict(name='transformer', width=128, depth=4, num_heads=4))
  c.train = common.train(steps=4_000, learning_rate=5e-4, checkpoint_every_steps=2_000)
  c.evaluate = dict(num_samples=128, num_bootstrap=1_000, finetune_steps=50)
  if arg['smoke']:
    common.smoke(c)
  return c.lock()
