"""A noise-driven hypernetwork that learns from a zoo and from the task.

  wsjax run --config configs/hypernetwork.py --workdir runs/hypernetwork
  wsjax run --config configs/hypernetwork.py:rig=mnist --workdir runs/mnist

One pass from 32 normal numbers to all weights of a classifier. The distribution loss is the
energy score against the canonical weights of a zoo, the functional loss the cross-entropy of the
generated networks on the training images.
Options: `rig`, the zoo; `noise`, where 'latent' adds noise of a learned scale to every latent;
`canonicalize`, the symmetry that is removed first; `num_train`; `smoke`, which runs every stage
in seconds.

Hardware: 2 CPU cores shared with other work, so times are upper bounds.
Time: training 5 min per seed on MNIST, 1 min on digits, with own noise 9 to 12 and 1.3; the zoo
of 1,200 networks of `mnist` 31 min, that of `fashion_mnist` 5 min; evaluation 2 min.
Measured: results/hypernetwork.json.
"""

from ml_collections import config_dict

from configs import common
from wsjax import config as config_lib

# Rig -> architecture, data set, what the recipes differ in, runs per split.
RIGS = {
  'digits': (
    dict(name='mlp', widths=(64, 16, 10), activation='relu'),
    dict(name='digits', val_fraction=0.1),
    dict(steps=400, learning_rate=3e-3),
    dict(train=512, val=64, test=128, holdout_audit=64),
  ),
  'digits_cnn': (
    dict(name='cnn', image=(8, 8, 1), channels=(8, 16), dense=()),
    dict(name='digits', val_fraction=0.1),
    dict(steps=600, learning_rate=3e-3),
    dict(train=256, val=32, test=128, holdout_audit=64),
  ),
  'mnist_cnn': (
    dict(name='cnn', image=(28, 28, 1), channels=(8, 16), dense=(), stride=2),
    dict(name='mnist', val_fraction=0.1),
    dict(steps=1_000, learning_rate=3e-3),
    dict(train=128, val=0, test=64, holdout_audit=36),
  ),
  'mnist': (
    dict(
      name='mlp', widths=(784, 32, 32, 10), activation='relu',
      initializer='lecun_normal',
    ),
    dict(name='mnist', val_fraction=0.0),
    dict(steps=4_690, learning_rate=1e-3),
    dict(train=1_000, val=0, test=128, holdout_audit=72),
  ),
  'fashion_mnist': (
    dict(name='mlp', widths=(784, 32, 32, 10), activation='relu'),
    dict(name='fashion_mnist', val_fraction=0.0),
    dict(steps=4_690, learning_rate=1e-3),
    dict(train=100, val=0, test=64, holdout_audit=36),
  ),
}  # fmt: skip


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """A hypernetwork with a functional loss, on one of five rigs."""
  arg = config_lib.parse_arg(
    arg,
    smoke=False,
    rig=tuple(RIGS),
    noise=('shared', 'latent'),
    canonicalize=('permutation+scale', 'permutation', 'none'),
    num_train=0,
  )
  architecture, dataset, recipe, splits = RIGS[arg['rig']]
  c = common.start(f'{arg["rig"]}_hypernetwork', 'generation')
  c.zoo = dict(
    path='',  # Empty: the zoo lives in the workdir.
    architecture=architecture,
    dataset=dataset,
    recipe=dict(
      optimizer='adam', weight_decay=0.0, momentum=0.9, batch_size=64, snapshots=(), **recipe
    ),
    splits=splits,
    chunk_size=64,
  )
  c.symmetry = dict(canonicalize=arg['canonicalize'], restarts=3)
  c.tokens = dict(name='flat')
  c.normalize = dict(how='layer')
  c.codec = dict(name='identity')
  c.generator = dict(name='hypernetwork', network='mlp', width=256, depth=2, noise_size=32, draws=2)
  if arg['noise'] == 'latent':
    c.generator.update(latent_noise=True, single=1.0)
  c.strategy = dict(
    distribution=4.0,
    # Noise in weights that matter has to cost more than it gains in the distribution loss.
    functional=5.0 if arg['noise'] == 'latent' else 1.0,
    functional_networks=32,
    functional_examples=64,
    num_train=arg['num_train'],
  )
  c.train = common.train(
    seeds=(0, 1, 2), steps=4_000, batch_size=16, warmup_steps=0, weight_decay=0.0, ema_decay=0.99
  )
  c.evaluate = dict(num_samples=128, num_bootstrap=1_000, finetune_steps=50, metrics=('ensembles',))
  if arg['smoke']:
    common.smoke(c)
  return c.lock()
