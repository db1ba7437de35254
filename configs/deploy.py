"""Networks for a device: int8, int4 and ternary files, each run, timed and measured.

  wsjax run --config configs/deploy.py --workdir runs/deploy
  wsjax run --config configs/deploy.py:network=siren --workdir runs/deploy_siren
  wsjax deploy runs/deploy/zoo --data images.npz --max-bytes 20k --max-us 100 --out net.onnx

Classifiers 784-32-32-10 of MNIST are rounded to 8, 4 and less than 2 bits, with a scale for each
unit, so that their layers change least at 1,024 training images without labels. They are written
as ONNX, StableHLO and packed weights; every file is run on the 10,000 test images, and timed in a
process of its own. Beside them stand rounding of each weight by itself, and smaller networks in
float32. Options: `network`, 'mlp', 'cnn' or 'siren' (images as networks of sines, whose first layer
stays float32), and `smoke`, which runs every stage in seconds on the digits of scikit-learn.

Hardware: 2 CPU cores shared with other work, so latencies are upper bounds.
Time: 4 min on busy cores.
Measured: results/deploy.json.
"""

from ml_collections import config_dict

from configs import common
from wsjax import config as config_lib

ARCHITECTURES = {
  'mlp': dict(name='mlp', widths=(784, 32, 32, 10), activation='relu'),
  'cnn': dict(name='cnn', image=(28, 28, 1), channels=(8, 16), dense=(32,), num_classes=10),
  'siren': dict(name='siren', widths=(2, 32, 32, 1), omega=30.0),
}


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """Rounding of networks and their files."""
  arg = config_lib.parse_arg(arg, smoke=False, network=tuple(ARCHITECTURES))
  network = arg['network']
  c = common.start(f'deploy_{network}', 'deploy')
  c.zoo = dict(
    path='',
    architecture=ARCHITECTURES[network],
    dataset=dict(name='mnist', val_fraction=0.1),
    recipe=common.recipe(steps=2_500),
    splits=dict(train=4, val=0, test=0, holdout_audit=0),
    chunk_size=4,
  )
  c.deploy = dict(
    formats=('onnx', 'stablehlo', 'safetensors'),
    precisions=('int8', 'int4', 'ternary'),
    num_images=1_024,
    smaller=((784, 8, 10), (784, 4, 10)) if network == 'mlp' else (),
    seconds=1.0,
  )
  # Nothing is trained here but smaller networks, by the recipe of the zoo.
  c.train = common.train(steps=1, warmup_steps=0)
  c.evaluate = dict(num_bootstrap=1_000)
  if network == 'siren':
    c.zoo.recipe = common.recipe(steps=1_000, learning_rate=1e-3)
    c.zoo.splits.train, c.zoo.chunk_size = 8, 8
    c.deploy.formats = ('onnx', 'safetensors')
  if arg['smoke']:
    c.zoo.dataset = dict(name='digits', val_fraction=0.1)
    c.zoo.recipe.steps, c.zoo.splits.train, c.zoo.chunk_size = 60, 2, 2
    c.deploy.formats, c.deploy.precisions = ('onnx', 'safetensors'), ('int8', 'ternary')
    c.deploy.num_images, c.deploy.seconds = 128, 0.05
    if network == 'mlp':
      c.zoo.architecture.widths, c.deploy.smaller = (64, 16, 10), ((64, 4, 10),)
    if network == 'cnn':
      c.zoo.architecture.update(image=(8, 8, 1), channels=(4,), dense=())
    if network == 'siren':
      c.zoo.architecture.update(widths=(2, 16, 16, 1), omega=8.0)
    c.evaluate.num_bootstrap = 50
  return c.lock()
