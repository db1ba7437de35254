"""Dilate the image of an INR by changing its weights.

  wsjax run --config configs/inr_editing.py --workdir runs/inr_dilate
  wsjax run --config configs/inr_editing.py:edit=erode --workdir runs/inr_erode

An editor maps the weights of a SIREN 2-32-32-1 to new ones, whose image should be the old one
after a grey-scale dilation of 3 x 3 pixels. The zoo is that of configs/inr_classification.py; it
is trained if it is not there.
Options: `edit`, `editor`, and `smoke`, which runs every stage in seconds.

Hardware: 2 CPU cores.
Time: 22 s (flat_mlp) to 62 s (neural_functional) of training per seed.
Measured: results/inr_editing.json.
"""

from ml_collections import config_dict

from configs import common
from wsjax import config as config_lib

# Editor -> (its section, steps, learning rate).
EDITORS = {
  'neural_functional': (
    dict(name='neural_functional', channels=32, depth=3, fourier=8),
    2_000,
    5e-3,
  ),
  'graph_net': (
    dict(name='graph_net', width=64, edge_width=16, depth=3, num_probes=128),
    1_200,
    3e-3,
  ),
  'flat_mlp': (dict(name='flat_mlp', hidden=(512, 512)), 2_000, 1e-3),
}


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """An editor of implicit neural representations."""
  arg = config_lib.parse_arg(arg, smoke=False, edit=('dilate', 'erode'), editor=tuple(EDITORS))
  editor, steps, learning_rate = EDITORS[arg['editor']]
  c = common.start(f'inr_{arg["edit"]}_{arg["editor"]}', 'editing')
  c.zoo = dict(
    path='runs/zoos/inr_mnist',
    architecture=dict(name='siren', widths=(2, 32, 32, 1), omega=20.0),
    dataset=dict(name='mnist', val_fraction=0.1),
    recipe=dict(optimizer='adam', learning_rate=5e-3, steps=100),
    splits=dict(train=20_000, val=500, test=2_000, holdout_audit=500),
    chunk_size=512,
  )
  c.edit = dict(name=arg['edit'], pixels=28)
  c.editor = editor
  c.augment = dict(
    symmetry=False, noise=0.0, dropout=0.0,
    shift=0.0, rotate=0.0, zoom=0.0, flip=False,
  )  # fmt: skip
  c.train = common.train(
    steps=steps, learning_rate=learning_rate, warmup_steps=100, ema_decay=0.99, inner_steps=200,
    checkpoint_every_steps=400,
  )  # fmt: skip
  c.evaluate = dict(num_bootstrap=1_000, num_direct=64)
  if arg['smoke']:
    c.zoo.path, c.zoo.dataset.name, c.edit.pixels = '', 'digits', 8
    c.zoo.splits = dict(train=12, val=4, test=8, holdout_audit=2)
    c.zoo.recipe.steps = 5
    c.train.steps, c.train.inner_steps, c.train.warmup_steps = 4, 2, 2
    c.train.batch_size, c.train.checkpoint_every_steps = 4, 2
    c.evaluate.num_bootstrap, c.evaluate.num_direct = 50, 4
  return c.lock()
