"""Read the accuracy and the recipe of a CNN from its weights.

  wsjax run --config configs/cnn_property.py --workdir runs/cnn
  wsjax run --config configs/cnn_property.py:target=optimizer --workdir runs/optimizer

6,000 CNNs on digits whose recipes differ in eight factors: optimizer, learning rate, weight
decay, scale of the initial weights, dropout, share of the training split, share of wrong labels,
and noise on the pixels. Accuracies range from 4 to 92 %, a quarter below 19 %.
Options: `target`, `encoder`, and `smoke`, which runs every stage in seconds.

Hardware: 2 CPU cores.
Time: 12 min to train the zoo, beside other jobs; less than two minutes per training seed.
Measured: results/cnn_encoders.json (encoders), recipe.json (factors), zoo_size.json (learning
curve).
"""

from ml_collections import config_dict

from configs import common
from wsjax import config as config_lib

# Encoder -> (its section, steps). Steps give every encoder 6 to 65 s of training on 2 cores.
ENCODERS = {
  'probed_graph': (
    dict(
      name='graph_net', width=32, edge_width=16, depth=2, num_probes=64
    ),
    1_000,
  ),
  'probes': (
    dict(name='probes', source='free', reader='mlp', num_probes=128, width=256),
    4_000,
  ),
  'neural_functional': (
    dict(name='neural_functional', channels=32, depth=3),
    1_000,
  ),
  'graph_net': (
    dict(
      name='graph_net', width=32, edge_width=16, depth=3, positions='learned'
    ),
    1_000,
  ),
  'graph_transformer': (
    dict(
      name='graph_transformer', width=32, edge_width=16, num_heads=4, depth=3
    ),
    600,
  ),
  'scale_equivariant': (
    dict(name='scale_equivariant', width=32, edge_width=8, depth=3),
    400,
  ),
  'token_transformer': (
    dict(name='token_transformer', width=66, depth=2, num_heads=3),
    600,
  ),
  'statistics': (dict(name='statistics'), 750),
  'flat_mlp': (dict(name='flat_mlp'), 6_000),
}  # fmt: skip
TARGETS = (
  'val_accuracy', 'gap', 'optimizer', 'learning_rate', 'weight_decay',
  'init_scale', 'dropout', 'train_fraction', 'label_noise', 'input_noise',
)  # fmt: skip


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """An encoder and a head that read one property of a CNN."""
  arg = config_lib.parse_arg(arg, smoke=False, target=TARGETS, encoder=tuple(ENCODERS))
  encoder, steps = ENCODERS[arg['encoder']]
  c = common.start(f'cnn_{arg["target"]}_{arg["encoder"]}', 'property')
  c.zoo = dict(
    path='',  # Empty: the zoo lives in the workdir.
    architecture=dict(
      name='cnn',
      image=(8, 8, 1),
      channels=(8, 16),
      dense=(),
      num_classes=10,
      activation='relu',
      initializer='lecun_normal',
    ),
    # Half of the images are for testing, so that accuracies are fine-grained.
    dataset=dict(name='digits', val_fraction=0.5),
    recipe=common.recipe(
      optimizer=('sgd', 'adam', 'adamw'),
      learning_rate=(1e-3, 1e-1),
      weight_decay=(1e-5, 3e-2),
      batch_size=32,
      steps=200,
      init_scale=(0.4, 2.5),
      dropout=(0.0, 0.5),
      train_fraction=(0.03, 1.0),
      label_noise=(0.0, 0.5),
      input_noise=(0.0, 0.3),
    ),
    splits=dict(train=4_000, val=500, test=1_000, holdout_audit=500),
    chunk_size=144,
  )
  c.symmetry = dict(canonicalize='none', restarts=3)
  c.encoder = encoder
  c.property = dict(target=arg['target'], num_train=0, head=dict())
  c.augment = dict(symmetry=False, noise=0.0, dropout=0.0)
  c.pretrain = dict(objective='none', steps=0, noise=0.05, temperature=0.1, ratio=0.5)
  c.train = common.train(
    steps=steps, learning_rate=2e-3, warmup_steps=100, ema_decay=0.995, inner_steps=100
  )
  c.evaluate = dict(num_bootstrap=1_000)
  if arg['smoke']:
    c.zoo.recipe.optimizer = ('adam',)  # One program, that compiles fast.
    with c.ignore_type():  # Single values instead of ranges.
      c.zoo.recipe.dropout = c.zoo.recipe.input_noise = 0.0
    c.zoo.recipe.steps = 10
    c.zoo.splits = dict(train=36, val=9, test=18, holdout_audit=9)
    c.train.steps, c.train.inner_steps, c.train.warmup_steps = 4, 2, 2
    c.train.batch_size, c.train.checkpoint_every_steps = 4, 2
    c.evaluate.num_bootstrap = 50
  return c.lock()
