"""Survey the geometry of a zoo: barriers, flatness, dimension, implicit bias, modularity.

  wsjax run --config configs/geometry.py --workdir runs/geometry
  wsjax run --config configs/geometry.py:zoo=mnist --workdir runs/geometry_mnist
  wsjax geometry runs/demo/zoo --workdir runs/geometry_demo

Between independent networks: barriers on lines, after their units are matched, and on fitted
curves. Of single networks: curvature, sharpness, norms and margins, and how they order networks
beside the generalization gap. Of the set: how many directions it fills, and how many dimensions
training needs. Options: `zoo`, 'digits' (networks 64-16-10), 'cnn' (CNNs of eight factors) or
'mnist' (784-200-200-10), and `smoke`, which runs every stage in seconds.

Hardware: 2 CPU cores shared with other work.
Time: 2 min for `digits`, 12 min for 4,000 CNNs (22 min to train them), 15 min for subspaces of
`mnist`.
Measured: results/geometry_cnn.json, results/subspaces.json and results/barrier_width.json.
"""

from ml_collections import config_dict

from configs import cnn_property, common
from wsjax import config as config_lib


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """Geometry of the networks of a zoo, which nothing is trained on."""
  arg = config_lib.parse_arg(arg, smoke=False, zoo=('digits', 'cnn', 'mnist'))
  c = common.start(f'geometry_{arg["zoo"]}', 'geometry')
  c.zoo = common.digits_zoo(train=128, val=0, test=0, holdout_audit=0)
  c.geometry = dict(
    num_networks=128,
    num_in_set=128,
    num_pairs=16,
    num_examples=1_024,
    curve_steps=300,
    num_products=32,
    num_directions=16,
    restarts=3,
    num_modular=32,
    num_modules=4,
    num_shuffled=19,
    dims=(10, 20, 50, 100, 200, 400),
    subspace_steps=1_000,
    subspace_rate=1e-2,
    batch_size=128,
  )
  if arg['zoo'] == 'cnn':
    c.zoo = cnn_property.get_config().zoo
    c.geometry.update(
      num_networks=4_000, num_examples=256, num_products=12, num_directions=4,
      num_pairs=4, curve_steps=50,
    )  # fmt: skip
  if arg['zoo'] == 'mnist':
    c.zoo.architecture.widths = (784, 200, 200, 10)
    c.zoo.dataset = dict(name='mnist', val_fraction=0.1)
    c.zoo.recipe.update(steps=1_000, learning_rate=1e-3)
    c.zoo.splits.train, c.zoo.chunk_size = 32, 16
    c.geometry.update(
      num_networks=32, num_pairs=8, curve_steps=200, dims=(100, 200, 400, 750, 1_500),
      subspace_steps=1_500,
    )  # fmt: skip
  # Only its seeds count: of random directions, vectors and subspaces.
  c.train = common.train(seeds=(0, 1, 2), steps=1, warmup_steps=0)
  c.evaluate = dict(num_bootstrap=1_000)
  if arg['smoke']:
    c.zoo.splits.train, c.zoo.recipe.steps = 12, 20
    c.zoo.chunk_size = 12
    c.geometry.update(
      num_networks=12, num_pairs=2, num_examples=64, curve_steps=4, num_products=4,
      num_directions=2, restarts=1, num_modular=2, num_shuffled=2, dims=(2, 4),
      subspace_steps=4, batch_size=16,
    )  # fmt: skip
    c.evaluate.num_bootstrap = 50
  return c.lock()
