"""Classify the image of an INR from its weights.

  wsjax run --config configs/inr_classification.py --workdir runs/inr

20,000 SIRENs 2-32-32-1, each fitted from its own initialisation to one image. The zoos have a
PSNR of 36.7 dB (MNIST) and 36.8 dB (Fashion-MNIST).
Options: `dataset`, `encoder`, and `smoke`, which runs every stage in seconds.

Hardware: 2 CPU cores.
Time: 5 min to train the zoo of MNIST, 7 min that of Fashion-MNIST, beside other jobs; half a
minute of training per seed.
Measured: results/inr_encoders.json. The augmentation of Fashion-MNIST was chosen by validation
loss.
"""

from ml_collections import config_dict

from configs import common
from wsjax import config as config_lib

# Encoder -> (its section, steps, learning rate). Steps give every encoder 11 to 33 s of training on
# 2 cores.
ENCODERS = {
  'probes': (
    dict(
      name='probes', source='grid', reader='conv', num_probes=784, width=16,
      dropout=0.3,
    ),
    2_000,
    2e-3,
  ),
  'probe_gen': (
    dict(
      name='probes', source='linear', reader='mlp', num_probes=128, width=256
    ),
    6_000,
    2e-3,
  ),
  'probed_graph': (
    dict(name='graph_net', width=32, edge_width=16, depth=2, num_probes=64),
    1_000,
    1e-3,
  ),
  'neural_functional': (
    dict(name='neural_functional', channels=32, depth=3),
    1_000,
    2e-3,
  ),
  'graph_net': (
    dict(name='graph_net', width=32, edge_width=16, depth=3),
    1_000,
    1e-3,
  ),
  'graph_transformer': (
    dict(
      name='graph_transformer', width=32, edge_width=16, num_heads=4, depth=3
    ),
    600,
    1e-3,
  ),
  'scale_equivariant': (
    dict(name='scale_equivariant', width=32, edge_width=8, depth=3),
    400,
    2e-3,
  ),
  'token_transformer': (
    dict(name='token_transformer', width=66, depth=2, num_heads=3),
    600,
    1e-3,
  ),
  'statistics': (dict(name='statistics'), 750, 1e-3),
  'flat_mlp': (dict(name='flat_mlp'), 6_000, 1e-3),
}  # fmt: skip


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """An encoder and a classifier of implicit neural representations."""
  arg = config_lib.parse_arg(
    arg, smoke=False, dataset=('mnist', 'fashion_mnist', 'digits'), encoder=tuple(ENCODERS)
  )
  encoder, steps, learning_rate = ENCODERS[arg['encoder']]
  fashion = arg['dataset'] == 'fashion_mnist'
  # Clothes have been centred and stand upright; digits lean.
  move = 0.05 if fashion else 0.1
  c = common.start(f'inr_{arg["dataset"]}_{arg["encoder"]}', 'property')
  c.zoo = dict(
    path='',
    architecture=dict(name='siren', widths=(2, 32, 32, 1), omega=20.0),
    dataset=dict(name=arg['dataset'], val_fraction=0.1),
    recipe=dict(optimizer='adam', learning_rate=5e-3, steps=100),
    splits=dict(train=20_000, val=500, test=2_000, holdout_audit=500),
    chunk_size=512,
  )
  c.symmetry = dict(canonicalize='none', restarts=3)
  c.encoder = encoder
  c.property = dict(target='label', num_train=0, head=dict(smoothing=0.0))
  c.augment = dict(
    symmetry=False, noise=0.0, dropout=0.0,
    shift=move, rotate=0.05 if fashion else 0.2, zoom=move, flip=fashion,
  )  # fmt: skip
  c.pretrain = dict(objective='none', steps=0, noise=0.05, temperature=0.1, ratio=0.5)
  c.train = common.train(
    steps=steps, learning_rate=learning_rate, warmup_steps=100, ema_decay=0.995, inner_steps=100,
    checkpoint_every_steps=500,
  )  # fmt: skip
  c.evaluate = dict(num_bootstrap=1_000)
  if arg['smoke']:
    c.zoo.dataset.name = 'digits'
    c.zoo.splits = dict(train=12, val=4, test=8, holdout_audit=2)
    c.zoo.recipe.steps = 5
    c.train.steps, c.train.inner_steps, c.train.warmup_steps = 4, 2, 2
    c.train.batch_size, c.train.checkpoint_every_steps = 4, 2
    c.evaluate.num_bootstrap = 50
  return c.lock()
