"""The published DeepWeightFlow recipe on MNIST, with all baselines.

  wsjax data prepare mnist --from DIR
  wsjax run --config configs/mnist_dwf.py --workdir runs/mnist_dwf

100 networks 784-32-32-10, each of its own seed, five epochs of Adam; aligned by weight matching;
99 principal components; flow matching with a bottleneck MLP for 30,000 steps of 8 networks;
classic Runge-Kutta with 99 steps. Source: Gupta et al. 2026, arXiv:2601.05052, and the settings
released with it. Two things differ: samples are drawn from the average over the last thousand
steps and not from the step of lowest minibatch loss, and the split 'test' holds 64 further runs,
which are the ceiling.
Options: `width` of the flow, `canonicalize` ('none' is the published method without alignment),
`dataset` (Fashion-MNIST with networks 784-128-128-10, as published), and `smoke`, which runs
every stage in seconds on digits.

Hardware: 2 CPU cores shared with other work, so times are upper bounds.
Time: zoo of 200 networks 10 min, three generators 9 min, evaluation 2 min.
Measured: results/mnist_dwf.json.
"""

from ml_collections import config_dict

from configs import common
from wsjax import config as config_lib


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """Flow matching behind 99 principal components of 100 networks."""
  arg = config_lib.parse_arg(
    arg,
    smoke=False,
    width=512,
    canonicalize=('permutation', 'none', 'permutation+scale'),
    dataset=('mnist', 'fashion_mnist'),
  )
  hidden = {'mnist': 32, 'fashion_mnist': 128}[arg['dataset']]
  c = common.start(f'{arg["dataset"]}_dwf', 'generation')
  c.zoo = dict(
    path='',  # Empty: the zoo lives in the workdir.
    architecture=dict(
      name='mlp', widths=(784, hidden, hidden, 10), activation='relu', initializer='lecun_normal'
    ),
    dataset=dict(name=arg['dataset'], val_fraction=0.0),
    recipe=common.recipe(learning_rate=1e-3, steps=4690),
    splits=dict(train=100, val=0, test=64, holdout_audit=36),
    chunk_size=40,
  )
  c.symmetry = dict(canonicalize=arg['canonicalize'], restarts=3)
  c.tokens = dict(name='flat')
  c.normalize = dict(how='none')
  c.codec = dict(name='pca', rank=99, whiten=False)
  c.generator = dict(
    name='flow_matching',
    backbone=dict(name='deep_weight_flow', width=arg['width']),
    source_std=0.01,
    source_draws=100,
    path_std=0.001,
    solver='rk4',
    num_steps=99,
  )
  c.train = common.train(
    seeds=(0, 1, 2), steps=30_000, batch_size=8, learning_rate=5e-4, warmup_steps=0,
    final_learning_rate=1e-6, weight_decay=1e-5, clip_norm=0.0, inner_steps=1_000,
    checkpoint_every_steps=10_000,
  )  # fmt: skip
  c.evaluate = dict(num_samples=100, num_bootstrap=2_000, finetune_steps=100)
  if arg['smoke']:
    c.zoo.architecture.widths = (64, 6, 6, 10)
    c.zoo.dataset.name = 'digits'
    common.smoke(c, val=0)
    c.codec.rank, c.generator.num_steps, c.train.seeds = 8, 4, (0, 1)
  return c.lock()
