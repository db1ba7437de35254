r"""Networks for binary tasks that no training network had, from their codes.

wsjax data prepare mnist --from DIR
wsjax run --config configs/unseen_tasks.py --workdir runs/unseen_tasks
"""

from ml_collections import config_dict

from wsjax import config as config_lib


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """A hypernetwork on codes of tasks, beside all that needs no generator."""
  arg = config_lib.parse_arg(
    arg,
    smoke=False,
    dataset=('mnist', 'fashion_mnist', 'digits'),
    split=('pair', 'leaky'),
    told=('code', 'images'),
    reach=('all', 'last'),
  )
  c = config_dict.ConfigDict()
  c.name = f'unseen_tasks_{arg["dataset"]}_{arg["split"]}_{arg["told"]}'
  c.seed = 0
  c.zoo = dict(
    path=f'runs/zoos/{arg["dataset"]}_subsets',
    architecture=dict(
      name='mlp',
      widths=(64 if arg['dataset'] == 'digits' else 784, 32, 2),
      activation='relu',
      init='lecun_normal',
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
    set_size=32 if arg['told'] == 'images' else 0,
    encoder=dict(size=32, width=128, depth=2, pool='mean'),
    network=dict(width=64, depth=2, pairs=True, reach=arg['reach']),
    num_tasks=32,  # Per step; they share its images.
    steps_of_classes=6_000,
    fresh_steps=(30, 300),
  )
  c.train = dict(
    seeds=(0, 1, 2),
    steps=5_000,
    batch_size=2_048,
    learning_rate=4e-3,
    warmup_steps=100,
    schedule='cosine',
    final_learning_rate=0.0,
    weight_decay=0.0,
    clip_norm=0.0,
    ema_decay=0.0,  # The schedule ends at 0.
    inner_steps=250,
    checkpoint_every_steps=1_000,
    mesh=(('data', -1),),
  )
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
