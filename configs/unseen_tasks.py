"""Networks for binary tasks that no training network had, from their codes.

  wsjax data prepare mnist --from DIR
  wsjax run --config configs/unseen_tasks.py --workdir runs/unseen_tasks
  wsjax run --config configs/unseen_tasks.py:split=leaky --workdir runs/leaky

A task is a subset of the ten classes against the others, 1,022 in all, and its code says which
classes. A hypernetwork learns, on training images, the answers of networks for 794 codes; 208
codes are held out in pairs of complements (a complement is the same network with its outputs
swapped). It has seen every class and image, but under other tasks. It does not read the weights
of the zoo: these are for the baselines and the reference of the gap. The experiment is that of
RPG (Wang et al. 2025, arXiv:2501.11587) on a small scale, but for its split: of its 20 released
held-out codes every complement was seen.
Options: `dataset`, `split` ('leaky' is that control), `condition` ('images' gives 32 labelled
images of the task instead of its code), `reach` ('last': only the last layer depends on the
task), and `smoke`, which runs every stage in seconds.

Hardware: 2 CPU cores shared with a lot of other work, so wall times are upper bounds; CPU seconds
are in brackets.
Time: zoo 11 min (370 s), training 13 min (115 s) per seed, evaluation 13 min (95 s).
Measured: results/unseen_tasks.json. 'fashion_mnist', 'digits' and reach='last' are not measured.
"""

from ml_collections import config_dict

from configs import common
from wsjax import config as config_lib


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """A hypernetwork on codes of tasks, beside all that needs no generator."""
  arg = config_lib.parse_arg(
    arg,
    smoke=False,
    dataset=('mnist', 'fashion_mnist', 'digits'),
    split=('pair', 'leaky'),
    condition=('code', 'images'),
    reach=('all', 'last'),
  )
  # Of the few digits every validation task has seven.
  set_size = 4 if arg['dataset'] == 'digits' else 32
  if arg['condition'] == 'code':
    set_size = 0
  c = common.start(
    f'unseen_tasks_{arg["dataset"]}_{arg["split"]}_{arg["condition"]}', 'unseen_tasks'
  )
  c.zoo = dict(
    path=f'runs/zoos/{arg["dataset"]}_subsets',
    architecture=dict(
      name='mlp',
      widths=(64 if arg['dataset'] == 'digits' else 784, 32, 2),
      activation='relu',
      initializer='lecun_normal',
    ),
    dataset=dict(name=arg['dataset'], val_fraction=0.1, labels='subsets'),
    recipe=dict(
      optimizer='adam',
      learning_rate=3e-3,
      weight_decay=0.0,
      momentum=0.0,
      batch_size=64,
      steps=1_500,
      shared_init=True,
    ),
    # All 1,022 subsets; the ridge and the averages need the shared start.
    splits=dict(train=794, val=20, test=208, holdout_audit=0),
    chunk_size=128,
  )
  c.symmetry = dict(canonicalize='none', restarts=3)
  c.tasks = dict(
    split=arg['split'],
    condition=dict(name='task_code', size=10),
    set_size=set_size,
    encoder=dict(size=32, width=128, depth=2, pool='mean'),
    network=dict(width=64, depth=2, pairs=True, reach=arg['reach']),
    num_tasks=32,  # Per step; they share its images.
    steps_of_classes=6_000,
    fresh_steps=(30, 300),
  )
  c.train = common.train(
    seeds=(0, 1, 2), steps=5_000, batch_size=2_048, learning_rate=4e-3, warmup_steps=100,
    weight_decay=0.0, clip_norm=0.0, ema_decay=0.0,
  )  # fmt: skip
  c.evaluate = dict(num_bootstrap=2_000)
  if arg['smoke']:
    c.zoo.path, c.zoo.dataset.name = '', 'digits'
    c.zoo.architecture.widths = (64, 8, 2)
    c.zoo.splits = dict(train=40, val=4, test=12, holdout_audit=0)
    c.zoo.recipe.steps = 40
    c.tasks.num_tasks, c.tasks.steps_of_classes = 8, 40
    c.tasks.set_size = min(c.tasks.set_size, 4)
    c.tasks.network.width, c.tasks.network.depth = 16, 1
    c.tasks.fresh_steps = (4, 8)
    c.train.steps, c.train.inner_steps, c.train.warmup_steps = 40, 20, 2
    c.train.batch_size, c.train.checkpoint_every_steps = 256, 20
    c.train.seeds, c.evaluate.num_bootstrap = (0, 1), 50
  return c.lock()
