"""Generate INRs of digits.

  wsjax run --config configs/inr_generation.py --workdir runs/inr_generation

900 SIRENs 2-64-1, each fitted to one digit of 8 x 8 pixels from its own initialisation; in
canonical form (permutations, signs, phase shifts), in 32 whitened principal components; flow
matching. The images of samples are compared with the images of 200 held-out networks.
Options: `init`, 'shared' for equal initial weights; `canonicalize`; `fit=full`, networks 2-48-1
that fit well; `codec=identity`, all weights, no components; `generator`; and `smoke`, which runs
every stage in seconds.

Hardware: 2 CPU cores, beside two to four other jobs.
Time: zoo 12 s, 34 s of training per seed, evaluation of 19 methods 3 to 5 min.
Measured: results/inr_generation.json.
"""

from ml_collections import config_dict

from configs import common
from wsjax import config as config_lib

# Generator -> its section.
GENERATORS = {'flow_matching': common.flow_matching(), 'diffusion': common.diffusion()}

# How well networks draw -> units of every layer, how they are trained.
FITS = {
  'brief': ((2, 64, 1), dict(learning_rate=5e-3, steps=100, init_scale=0.05)),
  'full': ((2, 48, 1), dict(learning_rate=1e-2, steps=600, init_scale=1.0)),
}

CODECS = {'pca': dict(name='pca', rank=32, whiten=True), 'identity': dict(name='identity')}


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """A generator of implicit neural representations of digits."""
  arg = config_lib.parse_arg(
    arg,
    smoke=False,
    init=('independent', 'shared'),
    fit=tuple(FITS),
    canonicalize=('permutation+scale', 'permutation', 'none'),
    generator=tuple(GENERATORS),
    codec=tuple(CODECS),
  )
  widths, training = FITS[arg['fit']]
  c = common.start(f'inr_generation_{arg["init"]}', 'inr_generation')
  c.zoo = dict(
    path='',
    architecture=dict(name='siren', widths=widths, omega=8.0),
    dataset=dict(name='digits', val_fraction=0.0),
    recipe=dict(
      optimizer='adam', weight_decay=0.0, **training, shared_init=arg['init'] == 'shared'
    ),
    splits=dict(train=900, val=64, test=400, holdout_audit=64),
    chunk_size=476,
  )
  c.symmetry = dict(canonicalize=arg['canonicalize'], restarts=3)
  c.tokens = dict(name='flat')
  c.normalize = dict(how='layer', weights=())
  c.codec = CODECS[arg['codec']]
  c.generator = GENERATORS[arg['generator']]
  c.train = common.train(steps=1_500, checkpoint_every_steps=500)
  c.evaluate = dict(
    num_samples=200,
    num_bootstrap=1_000,
    # The output weights have a deviation of 0.03.
    noise=(0.001, 0.003, 0.01, 0.03),
  )
  if arg['smoke']:
    c.zoo.splits = dict(train=16, val=2, test=24, holdout_audit=2)
    c.zoo.architecture.widths, c.zoo.recipe.steps = (2, 16, 1), 5
    c.generator.backbone.width, c.generator.backbone.depth = 16, 1
    c.generator.num_steps = 2
    if arg['codec'] == 'pca':
      c.codec.rank = 8
    c.train.steps, c.train.inner_steps, c.train.warmup_steps = 4, 2, 2
    c.train.batch_size, c.train.checkpoint_every_steps = 4, 2
    c.evaluate.num_samples, c.evaluate.num_bootstrap = 12, 50
  return c.lock()
