"""Weights for architectures that nobody trained, and their ranking.

  wsjax run --config configs/architect.py --workdir runs/architect
  wsjax predict-weights net.py:net --workdir runs/architect --out net.safetensors

A graph hypernetwork learns to make the weights of dense networks for MNIST of 14 x 14 pixels, from
the graph of their layers: 14,040 architectures of 1 to 4 hidden layers of 8 to 64 units and three
activations, all run by one padded program. 100 held-out ones, and 12 that are wider and 12 that
are deeper than any of the space, get weights in one pass. They stand beside one epoch of training,
whose optimizer, learning rate and initialization are chosen for each depth and activation, and
beside an epoch from the predicted weights. A process on the vectors of their graphs ranks them,
beside the number of weights, operations, synflow, NASWOT and a random forest.
Option: `smoke`, which runs every stage in seconds on the digits of scikit-learn.

Hardware: 2 CPU cores shared with other work.
Time: 12 min on busy cores.
Measured: results/architect.json.
"""

from ml_collections import config_dict

from configs import common
from wsjax import config as config_lib


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """A graph hypernetwork for dense networks."""
  arg = config_lib.parse_arg(arg, smoke=False)
  c = common.start('architect', 'architect')
  # The one network of the zoo is not used: its record says which data were learned from.
  c.zoo = dict(
    path='',
    architecture=dict(name='mlp', widths=(784, 8, 10), activation='relu'),
    dataset=dict(name='mnist', val_fraction=5 / 6),  # 10,000 images are left to train on.
    recipe=common.recipe(steps=20),
    splits=dict(train=1, val=0, test=0, holdout_audit=0),
    chunk_size=1,
  )
  c.architect = dict(
    depths=(1, 2, 3, 4),
    widths=(8, 16, 24, 32, 40, 48, 56, 64),
    deeper=(5, 6),
    wider=(72, 80, 88, 96),
    held_out=100,
    beyond=12,
    pool=2,
    per_step=8,
    tune=2,
    sgd=(0.01, 0.02, 0.05, 0.1, 0.2),
    adam=(1e-3, 3e-3, 1e-2),
    initializers=('he_normal', 'torch_uniform'),
    batch=64,
    ranked=100,
  )
  c.network = dict(width=64, depth=2, num_heads=4, rank=48, code=32)
  c.train = common.train(
    seeds=(0,), steps=2_000, batch_size=128, learning_rate=2e-3, warmup_steps=100,
    weight_decay=0.0, ema_decay=0.99, inner_steps=100, checkpoint_every_steps=500,
  )  # fmt: skip
  c.evaluate = dict(num_bootstrap=1_000)
  if arg['smoke']:
    c.zoo.architecture.widths = (64, 4, 10)
    c.zoo.dataset = dict(name='digits', val_fraction=0.1)
    c.architect.update(
      depths=(1, 2), widths=(4, 6, 8, 10), deeper=(3,), wider=(12,), held_out=6, beyond=2, pool=1,
      per_step=4, tune=1, sgd=(0.05,), adam=(3e-3,), initializers=('he_normal', 'torch_uniform'),
      batch=128, ranked=12,
    )  # fmt: skip
    c.network.update(width=16, depth=1, num_heads=2, rank=8, code=8)
    c.train.update(
      steps=20, batch_size=32, warmup_steps=2, inner_steps=10, checkpoint_every_steps=10
    )
    c.evaluate.num_bootstrap = 50
  return c.lock()
