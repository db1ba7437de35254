"""Lineage inference: is a network a copy of another, fine-tuned from it, a merge of it, or neither?

Records may be missing or wrong, so this looks at weights alone. What a distance means depends on
the family of networks, so a classifier is fitted to relatives that are made of networks known to
be independent. All its features are those of the best alignment of two networks, so that reordering
and rescaling units changes nothing.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from wsjax import config as config_lib
from wsjax import networks as networks_lib
from wsjax import typing
from wsjax.evaluation import baselines
from wsjax.symmetry import canonicalize
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.matching import weight_matching
from wsjax.zoo import build, train
from wsjax.zoo.data import datasets
from wsjax.zoo.store import store

RELATIONS = ('copy', 'fine-tune', 'merge', 'independent')
FEATURES = (
  'log distance over tau', 'cosine', 'smaller coefficient', 'larger coefficient',
  'difference of log norms', 'log distance of the nearest parameter',
  'log distance of the farthest parameter', 'cosine of units, 10 %', 'cosine of units, 50 %',
  'cosine of units, 90 %',
)  # fmt: skip
_TINY = 1e-6
# Continues the training of networks [n, ...] for a number of steps, with a seed.
Finetune = Callable[[typing.StackedParams, int, int], typing.StackedParams]


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
  """Pairs of networks whose relation is known.

  Attributes:
    a: path -> [n, ...] weights of the first.
    b: weights of the second, of which none tells which came first.
    relation: [n] index into `RELATIONS`.
    detail: how each was made.
  """

  a: typing.StackedParams
  b: typing.StackedParams
  relation: Int[np.ndarray, ' n']
  detail: list[str]


def features(
  a: typing.StackedParams,
  b: typing.StackedParams,
  spec: spec_lib.Spec,
  *,
  tau: float,
  restarts: int = 3,
  seed: int = 0,
) -> Float[np.ndarray, 'n features']:
  """`FEATURES` of each pair (a[i], b[i]); the order of a pair does not matter.

  Args:
    a: path -> [n, ...] finite weights.
    b: the others.
    spec: their symmetry.
    tau: median distance between independent networks.
    restarts: starts of every alignment.
    seed: of the starts.
  """
  a, b = canonicalize.balance_all(a, spec), canonicalize.balance_all(b, spec)
  count = networks_lib.length(a)
  rows = np.arange(count)
  pairs = np.stack([rows, rows], axis=1)
  if spec.groups:
    g, _ = weight_matching.match_pairs(a, b, pairs, spec, restarts=restarts, seed=seed)
    b = canonicalize.apply_all(g, b, spec)
  squares = np.zeros((3, count))  # |a|^2, |b|^2, <a, b>
  gap = np.zeros(count)
  layers, units = [], []
  for path in a:
    one, two = np.asarray(a[path], np.float64), np.asarray(b[path], np.float64)
    products = np.stack([one * one, two * two, one * two]).reshape(3, count, -1).sum(axis=2)
    squares += products
    distance = ((one - two) ** 2).reshape(count, -1).sum(axis=1)
    gap += distance
    layers.append(distance / np.maximum(np.sqrt(products[0] * products[1]), _TINY))
    if one.ndim >= 3:
      columns = [x.reshape(count, -1, x.shape[-1]) for x in (one, two)]
      norms = np.sqrt((columns[0] ** 2).sum(axis=1) * (columns[1] ** 2).sum(axis=1))
      units.append((columns[0] * columns[1]).sum(axis=1) / np.maximum(norms, _TINY))
  norm_a, norm_b = np.sqrt(np.maximum(squares[:2], _TINY))
  coefficients = squares[2] / np.stack([norm_a, norm_b]) ** 2
  layer = np.stack(layers)
  unit = np.concatenate(units, axis=1) if units else np.ones((count, 1))
  return np.stack(
    [
      np.log(np.sqrt(gap) / tau + 1e-4),
      squares[2] / (norm_a * norm_b),
      coefficients.min(axis=0),
      coefficients.max(axis=0),
      np.abs(np.log(norm_a / norm_b)),
      np.log(np.sqrt(layer.min(axis=0)) + 1e-4),
      np.log(np.sqrt(layer.max(axis=0)) + 1e-4),
      *np.quantile(unit, [0.1, 0.5, 0.9], axis=1),
    ],
    axis=1,
  )


def make_pairs(
  params: typing.StackedParams,
  spec: spec_lib.Spec,
  finetune: Finetune,
  *,
  steps: tuple[int, ...] = (10, 30, 100, 300),
  num_independent: int,
  seed: int = 0,
) -> Pairs:
  """Makes relatives of independent networks, each then reordered and rescaled at random.

  Of every network come: a copy, as it is or rounded to float16 or bfloat16; a network fine-tuned
  for some number of steps, or beside it another one fine-tuned from the same; a merge with one or
  two others, aligned, in shares from a third to two thirds.

  Args:
    params: path -> [n, ...] weights of networks from independent runs.
    spec: their symmetry.
    finetune: continues their training.
    steps: numbers of steps, in equal shares.
    num_independent: pairs of independent networks.
    seed: of everything.
  """
  import ml_dtypes

  params = {path: np.asarray(value) for path, value in params.items()}
  count = networks_lib.length(params)
  rng, take = np.random.default_rng(seed), networks_lib.take

  parts: list[tuple[typing.StackedParams, typing.StackedParams, str, str]] = []
  for part, kind in zip(np.array_split(rng.permutation(count), 3), ('float32', 'float16',
                        'bfloat16'), strict=True):  # fmt: skip
    dtype = np.dtype(getattr(ml_dtypes, kind, kind))
    rounded = {p: x.astype(dtype).astype(np.float32) for p, x in take(params, part).items()}
    parts.append((take(params, part), rounded, 'copy', kind))
  for number, part in zip(steps, np.array_split(rng.permutation(count), len(steps)), strict=True):
    parents = take(params, part)
    children = finetune(parents, number, seed)
    parts.append((parents, children, 'fine-tune', f'{number} steps'))
    few = part[: len(part) // 4]
    other = finetune(take(params, few), number, seed + 1)
    first = take(children, np.arange(len(few)))
    parts.append((first, other, 'fine-tune', f'siblings, {number} steps'))
  balanced = canonicalize.balance_all(params, spec)
  for number in (2, 3):
    rows = rng.permutation(count)[: count // 2 if number == 2 else count // 4]
    shares = [rng.uniform(1 / 3, 2 / 3, len(rows))] if number == 2 else [np.full(len(rows), 1 / 3)]
    merged = {p: _times(shares[0], x) for p, x in take(balanced, rows).items()}
    for _ in range(number - 1):
      others = (rows + rng.integers(1, count, len(rows))) % count
      pairs = np.stack([rows, others], axis=1)
      moved = take(balanced, others)
      if spec.groups:
        g, _ = weight_matching.match_pairs(balanced, balanced, pairs, spec, restarts=2, seed=seed)
        moved = canonicalize.apply_all(g, moved, spec)
      share = (1 - shares[0]) / (number - 1)
      merged = {p: x + _times(share, moved[p]) for p, x in merged.items()}
    parts.append((take(params, rows), merged, 'merge', f'of {number}'))
  first = rng.integers(count, size=num_independent)
  second = (first + rng.integers(1, count, num_independent)) % count
  parts.append((take(params, first), take(params, second), 'independent', 'runs'))
  a, b = (networks_lib.join([part[i] for part in parts]) for i in (0, 1))
  lengths = [networks_lib.length(part[0]) for part in parts]
  relation = np.repeat([RELATIONS.index(part[2]) for part in parts], lengths)
  detail = [part[3] for part, length in zip(parts, lengths, strict=True) for _ in range(length)]
  swap = rng.random(len(relation)) < 0.5
  a, b = (
    {p: np.where(swap.reshape(-1, *[1] * (x.ndim - 1)), y[p], x) for p, x in z.items()}
    for z, y in ((a, b), (b, a))
  )
  return Pairs(
    baselines.move(a, spec, seed=seed), baselines.move(b, spec, seed=seed + 1), relation, detail
  )


def _times(shares: np.ndarray, x: np.ndarray) -> np.ndarray:
  return (shares.reshape(-1, *[1] * (x.ndim - 1)) * x).astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Kinship:
  """Tells relatives of a family of networks; made by `fit`.

  Attributes:
    spec: symmetry of the networks.
    tau: median distance between independent networks.
    mean: [f] of each feature.
    scale: [f] its deviation.
    coefficients: [relations, 1 + f + f (f + 1) / 2] of a logistic model in the features and their
      products.
    threshold: probability of 'independent' below which two networks are called related, so that at
      most `level` of independent pairs are.
    level: rate of independent pairs that are called related.
  """

  spec: spec_lib.Spec
  tau: float
  mean: Float[np.ndarray, ' f']
  scale: Float[np.ndarray, ' f']
  coefficients: Float[np.ndarray, 'r q']
  threshold: float
  level: float

  def probabilities(
    self, a: typing.StackedParams, b: typing.StackedParams
  ) -> Float[np.ndarray, 'n r']:
    """Probability of each of `RELATIONS` of pairs (a[i], b[i]), of which all are as likely before.

    Args:
      a: path -> [n, ...] finite weights.
      b: the others; the order of a pair does not matter.
    """
    return self.of_features(features(a, b, self.spec, tau=self.tau))

  def of_features(self, found: Float[np.ndarray, 'n f']) -> Float[np.ndarray, 'n r']:
    """`probabilities` from `features`."""
    logits = _products((found - self.mean) / self.scale) @ self.coefficients.T
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)

  def relation(self, probabilities: Float[np.ndarray, 'n r']) -> list[str]:
    """The relation of each pair: 'independent', unless that is less likely than the threshold."""
    last = RELATIONS.index('independent')
    best = probabilities[:, :last].argmax(axis=1)
    return [
      RELATIONS[kind] if row[last] < self.threshold else 'independent'
      for kind, row in zip(best, probabilities, strict=True)
    ]


def fit(
  params: typing.StackedParams,
  spec: spec_lib.Spec,
  finetune: Finetune,
  *,
  steps: tuple[int, ...] = (10, 30, 100, 300),
  level: float = 0.01,
  seed: int = 0,
) -> Kinship:
  """Learns to tell relatives of a family of networks.

  Args:
    params: path -> [n, ...] weights of at least 40 networks from independent runs.
    spec: their symmetry.
    finetune: continues their training.
    steps: numbers of steps of fine-tuned relatives.
    level: rate at which independent networks may be called related.
    seed: of the relatives.

  Raises:
    ValueError: if there are fewer than 40 networks.
  """
  count = networks_lib.length(params)
  if count < 40:
    raise ValueError(f'{count} networks; relatives are learned from 40 independent ones or more.')
  rng = np.random.default_rng(seed)
  first = rng.integers(count, size=400)
  pairs = np.stack([first, (first + rng.integers(1, count, 400)) % count], axis=1)
  reference = {path: np.asarray(value)[0] for path, value in params.items()}
  tau = float(np.median(spec.distance(params, params, reference=reference, pairs=pairs)))
  num = max(4 * count, 1000)
  made = make_pairs(params, spec, finetune, steps=steps, num_independent=num, seed=seed)
  found = features(made.a, made.b, spec, tau=tau)
  return learn(found, made.relation, spec, tau, level=level, seed=seed)


def of_zoo(
  zoo: store.Zoo, *, steps: tuple[int, ...] = (10, 30, 100, 300), level: float = 0.01, seed: int = 0
) -> Kinship:
  """`fit` to the training networks of a zoo that `wsjax zoo build` trained.

  Raises:
    ValueError: as `finetuning`, or if the zoo has fewer than 40 training networks.
  """
  finetune, params = finetuning(zoo), zoo.networks('train').params
  return fit(params, zoo.spec, finetune, steps=steps, level=level, seed=seed)


def finetuning(zoo: store.Zoo) -> Finetune:
  """Fine-tunes networks on the data of a zoo by its recipe, half of them with a tenth of its rate.

  Raises:
    ValueError: if nothing says how the zoo was trained, or its data are not there.
  """
  section = build.section_of(zoo.path)
  if section is None:
    raise ValueError(f'{zoo!r} has no build.json, which says how its networks were trained.')
  recipe = config_lib.read(train.Recipe, 'zoo.recipe', section['recipe'])
  data = config_lib.read(build.Data, 'zoo.dataset', section['dataset'])
  if data.labels != 'classes':
    raise ValueError(f'{zoo!r} has networks of several tasks; relatives are made on one.')
  dataset = datasets.load_for(
    zoo.records, name=data.name, root=data.root, val_fraction=data.val_fraction
  )
  slow = dataclasses.replace(recipe, learning_rate=recipe.learning_rate / 10)

  def finetune(params: typing.StackedParams, steps: int, seed: int) -> typing.StackedParams:
    half = networks_lib.length(params) // 2
    parts = [
      train.finetune(zoo.model, dataset, part, how, steps=steps, seed=seed)
      for part, how in (
        (networks_lib.take(params, slice(half)), recipe),
        (networks_lib.take(params, slice(half, None)), slow),
      )
      if networks_lib.length(part)
    ]
    return networks_lib.join(parts)

  return finetune


def learn(
  found: Float[np.ndarray, 'n f'],
  relation: Int[np.ndarray, ' n'],
  spec: spec_lib.Spec,
  tau: float,
  *,
  level: float,
  seed: int,
) -> Kinship:
  """Fits the model to features of pairs; its threshold is set on pairs that it did not see."""
  from sklearn import linear_model, model_selection

  mean, scale = found.mean(axis=0), np.maximum(found.std(axis=0), _TINY)
  inputs = _products((found - mean) / scale)
  logistic = linear_model.LogisticRegression(
    C=1.0, max_iter=5000, class_weight='balanced', fit_intercept=False
  )
  folds = model_selection.StratifiedKFold(5, shuffle=True, random_state=seed)
  unseen = model_selection.cross_val_predict(
    logistic, inputs, relation, cv=folds, method='predict_proba'
  )
  last = RELATIONS.index('independent')
  independent = unseen[relation == last, last]
  # Half the level, since it is estimated from a finite number of pairs.
  threshold = float(min(np.quantile(independent, level / 2), 0.5))
  logistic.fit(inputs, relation)
  return Kinship(spec, tau, mean, scale, logistic.coef_, threshold, level)


def _products(x: Float[np.ndarray, 'n f']) -> Float[np.ndarray, 'n q']:
  """One, the features, and all their products."""
  rows, columns = np.triu_indices(x.shape[1])
  x = np.clip(x, -10, 10)  # A network unlike all that were seen.
  return np.concatenate([np.ones((len(x), 1)), x, x[:, rows] * x[:, columns]], axis=1)
