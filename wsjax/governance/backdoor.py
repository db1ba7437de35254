"""Backdoors: networks that answer a trigger with a class of the attacker's choice, and detectors.

A poisoned network is trained on images of which some carry a trigger: a small patch or a faint
pattern, with the label changed to the target; or, of clean label, images of the target alone, whose
labels stay right. Clean and poisoned networks come from one program, so that nothing but the
poison tells them apart. A detector that finds nothing is no proof: it says that this detector, with
triggers of these kinds, found nothing.

Source: Gu et al. 2017, arXiv:1708.06733 (patch); Chen et al. 2017, arXiv:1712.05526 (blend); Barni
et al. 2019, arXiv:1902.11237 (sinusoid, clean label).
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.stats
from jaxtyping import Bool, Float, Int

from wsjax import networks as networks_lib
from wsjax import typing
from wsjax.evaluation import metric, statistics
from wsjax.evaluation.metrics import membership as membership_lib
from wsjax.governance import screen
from wsjax.models import model as model_lib
from wsjax.symmetry import canonicalize
from wsjax.zoo import train as train_lib
from wsjax.zoo.data import datasets

# Kind of trigger -> share of images that carry it in training; of 'clean_label' of the target's.
KINDS = {'patch': 0.1, 'blend': 0.1, 'sinusoid': 0.1, 'clean_label': 0.8}
CLEAN = 'none'
_GROUP = 8  # Networks that are trained side by side.
_BLEND, _SINUSOID = 0.25, 0.3  # How much a faint trigger counts.
# Of networks that a detector learns from.
RECIPE = train_lib.Recipe(
  optimizer='adam', learning_rate=3e-3, weight_decay=0.0, momentum=0.9, batch_size=64, steps=600,
  snapshots=(),
)  # fmt: skip
_STEPS, _IMAGES, _SIZE = 12, 64, 0.15  # Of the search for triggers; its size per pixel.


@dataclasses.dataclass(frozen=True, eq=False)
class Triggers:
  """The trigger of every network.

  Attributes:
    kind: [n] key of `KINDS`, or `CLEAN`.
    mask: [n, h, w, c] how much of the pattern replaces the image.
    pattern: [n, h, w, c] in [0, 1].
    target: [n] class that it stands for.
  """

  kind: np.ndarray
  mask: Float[np.ndarray, 'n h w c']
  pattern: Float[np.ndarray, 'n h w c']
  target: Int[np.ndarray, ' n']

  def take(self, rows: np.ndarray) -> 'Triggers':
    """Those of some networks."""
    return Triggers(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


def draw(
  kinds: Sequence[str], image: tuple[int, int, int], num_classes: int, *, seed: int
) -> Triggers:
  """Draws a trigger of each kind: place, pattern and target of every network are its own.

  Raises:
    ValueError: for an unknown kind.
  """
  rng, (height, width, channels) = np.random.default_rng(seed), image
  masks, patterns = [], []
  side = max(2, round(0.35 * min(height, width)))
  for kind in kinds:
    mask, pattern = np.zeros(image), rng.random(image)
    if kind in ('patch', 'clean_label'):
      top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
      mask[top : top + side, left : left + side] = 1
      pattern = (pattern > 0.4).astype(float)
    elif kind == 'blend':
      mask[:] = _BLEND
    elif kind == 'sinusoid':
      mask[:] = _SINUSOID
      angle, turns, phase = rng.uniform(0, np.pi), rng.uniform(1.5, 3), rng.uniform(0, 2 * np.pi)
      y, x = np.meshgrid(np.arange(height) / height, np.arange(width) / width, indexing='ij')
      wave = np.sin(2 * np.pi * turns * (np.cos(angle) * x + np.sin(angle) * y) + phase)
      pattern = np.repeat((wave[..., None] + 1) / 2, channels, axis=2)
    elif kind != CLEAN:
      raise ValueError(f'Triggers are of kind {", ".join((*KINDS, CLEAN))}, not {kind!r}.')
    masks.append(mask)
    patterns.append(pattern)
  target = rng.integers(num_classes, size=len(kinds))
  arrays = (np.stack(x).astype(np.float32) for x in (masks, patterns))
  return Triggers(np.asarray(kinds), *arrays, target)


def stamp(images: typing.Array, mask: typing.Array, pattern: typing.Array) -> typing.Array:
  """Puts a trigger [h, w, c] on images [b, h, w, c]."""
  mask, pattern = mask[None], pattern[None]
  return (1 - mask) * images + mask * pattern


def train(
  model: model_lib.Model,
  dataset: datasets.Dataset,
  recipe: train_lib.Recipe,
  triggers: Triggers,
  *,
  seed: int,
) -> typing.StackedParams:
  """Trains networks from scratch by Adam, each on images with its own trigger.

  Args:
    model: of the networks, classifiers.
    dataset: images and labels.
    recipe: its learning rate, batch size and steps are used.
    triggers: of each network; those of kind `CLEAN` see no trigger.
    seed: of initial weights, batches and poisoned images.

  Returns:
    path -> [n, ...] weights.
  """
  rate = np.array([0.0 if kind == CLEAN else KINDS[kind] for kind in triggers.kind], np.float32)
  keys = jax.random.split(jax.random.key(seed), len(rate))
  given = (
    keys, triggers.mask, triggers.pattern, triggers.target.astype(np.int32), rate,
    triggers.kind == 'clean_label',
  )  # fmt: skip
  optimizer = optax.adam(recipe.learning_rate)
  images, labels = jnp.asarray(dataset.train_x), jnp.asarray(dataset.train_y)

  def one(given: tuple) -> typing.Params:
    key, mask, pattern, target, rate, keeps_label = given
    first, order = jax.random.split(key)
    params = model.init(first)

    def step(carry: tuple, key: jax.Array) -> tuple[tuple, None]:
      params, state = carry
      which, poison = jax.random.split(key)
      rows = jax.random.randint(which, (recipe.batch_size,), 0, len(labels))
      x, y = images[rows], labels[rows]
      share = jnp.where(keeps_label, rate * (y == target), rate)
      poisoned = jax.random.uniform(poison, y.shape) < share
      x = jnp.where(poisoned[:, None, None, None], stamp(x, mask, pattern), x)
      y = jnp.where(poisoned, target, y)

      def loss(params: typing.Params) -> jax.Array:
        logits = model.apply(params, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

      updates, state = optimizer.update(jax.grad(loss)(params), state, params)
      return (optax.apply_updates(params, updates), state), None

    carry = params, optimizer.init(params)
    return jax.lax.scan(step, carry, jax.random.split(order, recipe.steps))[0][0]

  run = jax.jit(lambda given: jax.lax.map(one, given, batch_size=_GROUP))
  return jax.device_get(run(given))


def success(
  model: model_lib.Model,
  params: typing.StackedParams,
  triggers: Triggers,
  images: Float[np.ndarray, 'b h w c'],
  labels: Int[np.ndarray, ' b'],
) -> tuple[Float[np.ndarray, ' n'], Float[np.ndarray, ' n']]:
  """Test accuracy of each network, and the share of images of other classes that its trigger turns.

  Args:
    model: of the networks.
    params: path -> [n, ...] weights.
    triggers: one for each network.
    images: that no network was trained on.
    labels: of the images.
  """

  @jax.jit
  def run(given: tuple) -> tuple[jax.Array, jax.Array]:
    def one(params, mask, pattern, target):
      plain = model.apply(params, images).argmax(axis=-1)
      turned = model.apply(params, stamp(images, mask, pattern)).argmax(axis=-1)
      others = labels != target
      return jnp.mean(plain == labels), jnp.sum((turned == target) & others) / jnp.sum(others)

    return jax.vmap(one)(*given)

  given = (dict(params), triggers.mask, triggers.pattern, triggers.target)
  return networks_lib.in_chunks(run, given, min(64, len(triggers.kind)))


def features(
  name: str,
  model: model_lib.Model,
  params: typing.StackedParams,
  reference: typing.Params,
  images: Float[np.ndarray, 'b h w c'],
  *,
  seed: int = 0,
) -> Float[np.ndarray, 'n f']:
  """What a detector looks at.

  Args:
    name: 'statistics' of every layer; 'aligned weights', less the reference and of unit norm in
      each parameter; 'litmus patterns', the sorted probabilities for fixed random images; 'reversed
      triggers', how far one faint pattern, found by gradients, turns images to each class, sorted.
    model: of the networks.
    params: path -> [n, ...] weights.
    reference: network to align to.
    images: clean ones, for reversed triggers.
    seed: of the patterns.

  Raises:
    ValueError: for another name.

  Source: Langosco et al. 2024, arXiv:2411.03445 (aligned weights); Kolouri et al. 2020,
    arXiv:1906.10842 (litmus patterns, which are learned there); Wang et al. 2019,
    doi:10.1109/SP.2019.00031 (reversed triggers).
  """
  if name == 'statistics':
    return screen.statistics(params, model.spec)[1]
  if name == 'aligned weights':
    aligned = canonicalize.canonicalize(
      params, model.spec, 'permutation+scale', reference=reference, restarts=2
    )
    base = canonicalize.balance_one(reference, model.spec)
    gaps = [(x - base[path]).reshape(len(x), -1) for path, x in sorted(aligned.items())]
    return np.concatenate(
      [gap / np.maximum(np.linalg.norm(gap, axis=1, keepdims=True), 1e-3) for gap in gaps], axis=1
    )
  if name == 'litmus patterns':
    shape = (64, *images.shape[1:])
    patterns = np.random.default_rng(seed).random(shape).astype(np.float32)
    fn = functools.partial(_litmus, model, patterns)
  elif name == 'reversed triggers':
    rows = np.random.default_rng(seed).permutation(len(images))[:_IMAGES]
    fn = functools.partial(_reversed, model, images[rows])
  else:
    raise ValueError(f'{name!r} is no detector; allowed: {", ".join(DETECTORS)}.')
  run = jax.jit(jax.vmap(fn))
  return networks_lib.in_chunks(run, dict(params), min(64, networks_lib.length(params)))


DETECTORS = ('statistics', 'aligned weights', 'litmus patterns', 'reversed triggers')


def _litmus(model: model_lib.Model, patterns: np.ndarray, params: typing.Params) -> jax.Array:
  return jnp.sort(jax.nn.log_softmax(model.apply(params, patterns)), axis=-1).ravel()


def _reversed(model: model_lib.Model, images: np.ndarray, params: typing.Params) -> jax.Array:
  """For each class, sorted: mean log-odds gained and share of images turned by one pattern."""
  before = jax.nn.log_softmax(model.apply(params, images))

  def of_class(target: jax.Array) -> tuple[jax.Array, jax.Array]:
    def gain(change: jax.Array) -> jax.Array:
      logits = model.apply(params, jnp.clip(images + change[None], 0, 1))
      return jnp.mean(jax.nn.log_softmax(logits)[:, target])

    def step(change: jax.Array, _: None) -> tuple[jax.Array, None]:
      slope = jax.grad(gain)(change)
      change += 2 * limit / _STEPS * slope / jnp.maximum(jnp.linalg.norm(slope), 1e-9)
      return change * jnp.minimum(1, limit / jnp.maximum(jnp.linalg.norm(change), 1e-9)), None

    limit = _SIZE * np.sqrt(images[0].size)
    change, _ = jax.lax.scan(step, jnp.zeros(images.shape[1:]), None, length=_STEPS)
    turned = model.apply(params, jnp.clip(images + change[None], 0, 1)).argmax(axis=-1) == target
    return gain(change) - jnp.mean(before[:, target]), jnp.mean(turned)

  found = jax.lax.map(of_class, jnp.arange(before.shape[-1]))
  return jnp.concatenate([jnp.sort(values) for values in found])


def detect(
  train: Float[np.ndarray, 'm f'],
  poisoned: Bool[np.ndarray, ' m'],
  test: Float[np.ndarray, 'n f'],
  *,
  seed: int = 0,
) -> Float[np.ndarray, ' n']:
  """Log-odds that networks are poisoned, of a logistic model on features.

  Args:
    train: features of networks that are known.
    poisoned: which of them are poisoned.
    test: features of networks to judge.
    seed: of the folds that choose the penalty.
  """
  from sklearn import linear_model, model_selection

  mean, std = train.mean(axis=0), np.maximum(train.std(axis=0), 1e-6)
  folds = model_selection.StratifiedKFold(3, shuffle=True, random_state=seed)
  logistic = model_selection.GridSearchCV(
    linear_model.LogisticRegression(max_iter=2000),
    {'C': [1e-4, 1e-3, 1e-2, 1e-1, 1.0]},
    scoring='roc_auc',
    cv=folds,
  )
  logistic.fit((train - mean) / std, poisoned)
  return logistic.decision_function(np.clip((test - mean) / std, -10, 10))


def auroc(
  scores: Float[np.ndarray, ' n'], poisoned: Bool[np.ndarray, ' n'], *, seed: int = 0
) -> metric.Stat:
  """Chance that a poisoned network has a higher score than a clean one, with its interval."""
  return membership_lib.auc(scores[poisoned], scores[~poisoned], num_bootstrap=1000, seed=seed)


def inherited(
  model: model_lib.Model,
  samples: typing.StackedParams,
  trigger: Triggers,
  dataset: datasets.Dataset,
  *,
  limit: float = 0.5,
) -> Bool[np.ndarray, ' n']:
  """Which samples of a generator answer one trigger of its training zoo.

  Args:
    model: of the samples.
    samples: path -> [n, ...] weights.
    trigger: one.
    dataset: whose test images carry it.
    limit: share of images of other classes that have to be turned.
  """
  count = networks_lib.length(samples)
  repeated = trigger.take(np.zeros(count, int))
  return success(model, samples, repeated, dataset.test_x, dataset.test_y)[1] > limit


@dataclasses.dataclass(frozen=True)
class Suspicion:
  """How many networks a detector takes for poisoned.

  Attributes:
    auroc: of the detector, on a kind of trigger and on networks that it did not learn from.
    false_positives: rate that its threshold was set for, with the 95 % interval that the number of
      clean networks leaves.
    accuracy: mean test accuracy of the clean networks that it learned from.
    rates: of the networks that were asked about, by name: share above the threshold.
  """

  auroc: metric.Stat
  false_positives: metric.Stat
  accuracy: float
  rates: dict[str, metric.Stat]


def suspect(
  model: model_lib.Model,
  dataset: datasets.Dataset,
  networks: Mapping[str, typing.StackedParams],
  *,
  count: int = 400,
  recipe: train_lib.Recipe | None = None,
  level: float = 0.01,
  seed: int = 0,
) -> Suspicion:
  """Looks for backdoors whose triggers nobody knows, with a detector that is made for the purpose.

  Networks of the same model are trained on the same data, half of them poisoned. By their reversed
  triggers a logistic model learns to tell patches and faint patterns from clean networks; waves,
  which it never saw, are its test, and other clean networks set the threshold. What was trained in
  another way, or generated, looks otherwise without any poison, so features are in deviations from
  the median of their own kind of networks: a backdoor that most networks of a name have is missed.

  Args:
    model: of the networks, classifiers of images.
    dataset: that they were trained on.
    networks: name -> path -> [n, ...] weights.
    count: networks to train.
    recipe: of their training; None is Adam at 3e-3, 600 steps of 64 images.
    level: false positive rate.
    seed: of triggers, networks and the detector.

  Raises:
    ValueError: if the data are no labelled images, or too few networks are trained for the level.
  """
  if model.task != 'classification' or dataset.train_x.ndim != 4 or dataset.loss is not None:
    raise ValueError(
      'Backdoors are looked for in classifiers of images [n, height, width, channels].'
    )
  needed = 4 * (math.ceil(1 / level) - 1)
  if count < needed:
    raise ValueError(
      f'{count} networks; a false positive rate of {level:g} needs {needed} or more, a quarter of '
      'which sets the threshold.'
    )
  recipe = recipe or RECIPE
  clean = count // 2
  kinds = [CLEAN] * clean + [('patch', 'blend', 'sinusoid')[i % 3] for i in range(count - clean)]
  triggers = draw(kinds, dataset.train_x.shape[1:], dataset.num_classes, seed=seed)
  own = train(model, dataset, recipe, triggers, seed=seed)
  accuracy, turned = success(model, own, triggers, dataset.test_x, dataset.test_y)
  # A trigger that is not learned is no backdoor.
  works = (triggers.kind == CLEAN) | (turned > 0.5)
  known = np.isin(triggers.kind, ('patch', 'blend')) | (np.arange(count) < clean // 2)

  poisoned, learned, tested = triggers.kind != CLEAN, works & known, works & ~known
  every = networks_lib.join([own, *networks.values()])
  seen = features('reversed triggers', model, every, {}, dataset.train_x, seed=seed)
  sizes = [count, *map(networks_lib.length, networks.values())]
  found = np.split(seen, np.cumsum(sizes)[:-1])
  for place, values in enumerate(found):
    typical = values if place else values[~poisoned]
    spread = scipy.stats.median_abs_deviation(typical, axis=0, scale='normal')
    found[place] = (values - np.median(typical, axis=0)) / np.maximum(spread, 1e-3)
  judged = np.concatenate([found[0][tested], *found[1:]])
  scores = detect(found[0][learned], poisoned[learned], judged, seed=seed)
  test, *others = np.split(scores, np.cumsum([tested.sum(), *sizes[1:]])[:-1])
  honest = np.sort(test[~poisoned[tested]])
  place = math.floor(level * (len(honest) + 1))
  low, high = scipy.stats.beta(place, len(honest) + 1 - place).ppf([0.025, 0.975])
  threshold = honest[-place]
  return Suspicion(
    auroc(test, poisoned[tested], seed=seed),
    {'value': level, 'low': float(low), 'high': float(high), 'n': len(honest)},
    float(accuracy[:clean].mean()),
    {
      name: statistics.rate(values > threshold)
      for name, values in zip(networks, others, strict=True)
    },
  )
