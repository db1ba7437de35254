"""A generator of your own networks, beside every baseline.

  wsjax zoo import --model net.py:net --from 'ckpts/*.safetensors' --records runs.csv --out my_zoo
  wsjax run --config configs/own_networks.py --workdir runs/own
  wsjax sample --workdir runs/own --num 64 --out my_samples

`net.py` defines `net`, a model or a function that makes one, and `load`, which gives the data that
the networks learned: `dict(train=(x, y), test=(x, y))`. Other names are given by
`--config.zoo.path=DIR`, `--config.zoo.model.name=FILE:NAME` and
`--config.zoo.dataset.name=FILE:NAME`. Networks of the split test are the ceiling.
Options: `generator`, where flow_matching learns from the weights alone; and `smoke`, which runs
every stage in seconds.

Hardware: 2 CPU cores.
Time: with 230 networks of 2,346 weights, on cores shared with other work, 4.5 min with the report.
Measured: nothing, since the networks are yours.
"""

from ml_collections import config_dict

from configs import common
from wsjax import config as config_lib


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """A hypernetwork or flow matching on networks that were trained elsewhere."""
  arg = config_lib.parse_arg(arg, smoke=False, generator=('hypernetwork', 'flow_matching'))
  c = common.start('own_networks', 'generation')
  c.zoo = dict(path='my_zoo', model=dict(name='net.py:net'), dataset=dict(name='net.py:load'))
  c.symmetry = dict(canonicalize='permutation+scale', restarts=3)
  c.tokens = dict(name='flat')
  c.normalize = dict(how='layer')
  if arg['generator'] == 'hypernetwork':
    c.codec = dict(name='identity')
    c.generator = dict(
      name='hypernetwork', network='mlp', width=256, depth=2, noise_size=32, draws=2
    )
    c.strategy = dict(
      distribution=4.0,
      functional=1.0,
      functional_networks=32,
      functional_examples=64,
      functional_relative=True,
    )
  else:
    c.codec = dict(name='pca', rank=16, whiten=True)
    c.generator = common.flow_matching()
  c.train = common.train(
    steps=2_000, batch_size=16, warmup_steps=0, weight_decay=0.0, ema_decay=0.99
  )
  c.evaluate = dict(num_samples=64, num_bootstrap=1_000)
  if arg['smoke']:
    c.train.steps, c.train.inner_steps, c.train.batch_size = 4, 2, 4
    c.evaluate = dict(num_samples=4, num_bootstrap=50)
  return c.lock()
