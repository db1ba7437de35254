"""From the description of a task to an adapter of a language model, in one pass.

  wsjax data prepare lexicon --from DIR
  wsjax run --config configs/personalize.py --workdir runs/personalize
  wsjax personalize 'family names in Poland' --workdir runs/personalize

A character language model is trained on the words of 1,150 lists (nouns of WordNet, names and
words of Faker, towns of GeoNames). A hypernetwork then learns, through the frozen model, to make
rank-4 adapters of it from descriptions of the lists, read by MiniLM. It is tested on 291 held-out
tasks: single ones, whole countries, whole families; no training has seen a word of them. Beside
it stand adapters trained on each task, a multi-task adapter alone and with the text as a prefix,
the nearest task's adapter, ridge regression, a head, a bag of words; and tuning on 16 examples.
The generators of all seeds together make one adapter, the mean of their products.
Options: `suite`, where 'lexicon_small' comes with wsjax; `encoder`, where 'bag_of_words' needs no
further package; `smoke`, which runs every stage in seconds.

Hardware: 2 CPU cores shared with other work, so times are upper bounds.
Time: 4 minutes for the base model, 2 to 8 for a seed of the hypernetwork, and 12 for the tables.
Measured: text alone has 32.1 % of the gain of an adapter of a task's own, and after 15 steps on
16 examples 81.9 %: docs/results.md#personalize.
"""

from ml_collections import config_dict

from configs import common
from wsjax import config as config_lib


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """A hypernetwork from text to adapters, beside all that needs none."""
  arg = config_lib.parse_arg(
    arg, smoke=False, suite=('lexicon', 'lexicon_small'), encoder=('minilm', 'bag_of_words')
  )
  c = common.start('personalize', 'personalize')
  c.zoo = dict(
    path='',  # Empty: the base model lives in the workdir.
    architecture=dict(name='transformer', vocabulary=31, length=16, width=64, depth=2, heads=4),
    dataset=dict(name=arg['suite']),
    recipe=dict(
      optimizer='adam', learning_rate=1.5e-3, weight_decay=0.0, momentum=0.9, batch_size=128,
      steps=4_000,
    ),
    splits=dict(train=1, val=0, test=0, holdout_audit=0),
    chunk_size=1,
  )  # fmt: skip
  c.personalize = dict(
    encoder=arg['encoder'],
    lora=dict(pattern='*/kernel', rank=4, alpha=4.0),
    network=dict(width=256, depth=1, neck=80),
    words=12,
    noise=0.05,
    pool=256,
  )
  c.train = common.train(
    seeds=(0, 1, 2),
    steps=1_500,
    batch_size=16,
    learning_rate=2e-3,
    warmup_steps=100,
    weight_decay=0.1,
    ema_decay=0.99,
    # It learns the training lists by heart in the end: validation tasks say when to stop.
    patience=4,
    keep_best=1,
    inner_steps=100,
    checkpoint_every_steps=100,
  )
  c.evaluate = dict(num_bootstrap=1_000)
  if arg['smoke']:
    c.zoo.dataset.name, c.personalize.encoder = 'lexicon_small', 'bag_of_words'
    c.zoo.architecture.update(width=16, depth=1, heads=2)
    c.zoo.recipe.update(steps=30, batch_size=32)
    c.personalize.lora.rank = 2
    c.personalize.network.update(width=16, neck=8)
    c.personalize.update(
      words=4, pool=32, examples=4, tune_steps=(1, 2), own_steps=(2, 4), own_words=4,
      rates=(1e-2,), neighbours=8,
      rivals=('multi-task adapter', 'multi-task adapter, text as a prefix'),
    )  # fmt: skip
    c.train.update(
      seeds=(0, 1), steps=20, batch_size=8, warmup_steps=2, inner_steps=10,
      checkpoint_every_steps=10,
    )  # fmt: skip
    c.evaluate.num_bootstrap = 50
  return c.lock()
