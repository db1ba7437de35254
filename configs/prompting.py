"""One loss-conditioned update on MNIST: start weights and a requested loss, one pass.

  wsjax data prepare mnist --from DIR
  wsjax run --config configs/prompting.py --workdir runs/prompting
  wsjax run --config configs/prompting.py:rig=digits --workdir runs/prompting_digits

A zoo of 200 runs with their checkpoints and initial weights, 96 of them for training. The model
is given the loss of the start weights and the requested loss, and changes the weights in one
pass; it is evaluated on the starts of 100 runs that it never saw. Source: Peebles et al. 2022,
arXiv:2209.12892 (10,728 runs of 25 epochs, SGD 0.1). At that learning rate 8 runs of this
architecture had 91.0 % on validation images after 4,200 steps, with 1.4 points between runs, so
the rate here is 0.03.
Options: `rig`; `learn` (the distribution loss, the functional loss, or both); `diverse`, whether
different starts have to give different networks; and `smoke`, which runs every stage in seconds.

Hardware: 2 CPU cores.
Time: beside other work, with the zoo at hand: digits 4 min, MNIST 19 min.
Measured: results/prompting.json.
"""

from ml_collections import config_dict

from configs import common
from wsjax import config as config_lib


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """A prompted update of MLPs 784-10-10."""
  arg = config_lib.parse_arg(
    arg,
    smoke=False,
    rig=('mnist', 'digits'),
    learn=('both', 'reconstruction', 'functional'),
    disperse=True,
  )
  c = common.start(f'{arg["rig"]}_prompting_{arg["learn"]}', 'prompting')
  c.zoo = dict(
    path='runs/zoos/mnist_prompting',
    architecture=dict(
      name='mlp',
      widths=(784, 10, 10),
      activation='relu',
      initializer='torch_uniform',
    ),
    dataset=dict(name='mnist', val_fraction=0.1),
    recipe=common.recipe(
      optimizer='sgd',
      learning_rate=0.03,
      weight_decay=5e-4,
      batch_size=128,
      steps=1_500,
      snapshots=(1, 4, 12, 25, 45, 75, 120, 180, 260, 360, 500, 700, 950, 1_200),
    ),
    splits=dict(train=96, val=4, test=100, holdout_audit=0),
    chunk_size=40,
  )  # fmt: skip
  c.prompt = dict(
    model=dict(width=192, depth=2, num_heads=4),
    reconstruction=float(arg['learn'] != 'functional'),
    functional=5.0 * (arg['learn'] != 'reconstruction'),
    fresh=16,
    items=256,
    lowest=0.05,
    highest=2.3,
    dispersion=5.0 * (arg['disperse'] and arg['learn'] != 'reconstruction'),
    apart=1.0,
  )
  c.train = common.train(
    seeds=(0, 1, 2), steps=8_000, batch_size=16, warmup_steps=50, weight_decay=1e-4, ema_decay=0.98,
    inner_steps=100, checkpoint_every_steps=2_000,
  )  # fmt: skip
  c.evaluate = dict(num_bootstrap=1_000, num_prompts=12, num_grid=32)
  if arg['rig'] == 'digits':
    c.zoo.path = 'runs/zoos/digits_prompting'
    c.zoo.architecture.widths = (64, 10, 10)
    c.zoo.dataset.name = 'digits'
    c.zoo.recipe.steps, c.zoo.recipe.batch_size = 400, 64
    c.zoo.recipe.snapshots = (
      1, 4, 10, 18, 28, 40, 55, 75, 100, 130, 170, 220, 280, 340,
    )  # fmt: skip
    c.prompt.model.width, c.prompt.model.depth = 96, 1
    c.train.steps = 6_000
  if arg['smoke']:
    c.zoo.path = ''
    c.zoo.architecture.widths = (64, 6, 10)
    c.zoo.dataset = dict(name='digits', val_fraction=0.1)
    c.zoo.splits = dict(train=12, val=2, test=6, holdout_audit=0)
    c.zoo.recipe.steps, c.zoo.recipe.snapshots = 30, (5, 15)
    c.zoo.recipe.batch_size = 64
    c.prompt.model = dict(width=16, depth=1, num_heads=2)
    c.prompt.fresh, c.prompt.items = 4, 32
    c.train.seeds = (0, 1)
    c.train.steps, c.train.inner_steps, c.train.warmup_steps = 4, 2, 2
    c.train.batch_size, c.train.checkpoint_every_steps = 4, 2
    c.evaluate = dict(num_bootstrap=50, num_prompts=4, num_grid=4)
  return c.lock()
