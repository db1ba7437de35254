"""Membership: was a network in the training set of a generator, was an image in that of networks?

Three scores of a network, higher for members: minus the distance to the nearest sample; minus the
loss of the generator on it; minus the error with which the codec, which learned from the training
set too, gives it back. A network that is easy has a high score whether it was seen or not, so two
attacks compare the score with those under shadow generators, which are trained by the same config
on other networks of the same kind: LiRA and RMIA. An attack that fails is no evidence of privacy.

The score of an image is the log-odds that networks give its label. It is taken under the networks
of the zoo, and under samples of a generator, which never saw an image: what they still tell.

Source: Carlini et al. 2022, arXiv:2112.03570, algorithm 1 (LiRA, online, with a pooled variance);
Zarifzadeh et al. 2024, arXiv:2312.03262, equations 2 to 4 (RMIA); Carlini et al. 2023,
arXiv:2301.13188, section 4 (the nearest sample of a generator).
"""

import copy
import dataclasses
import functools
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats
from jaxtyping import Bool, Float, Int

from wsjax import networks as networks_lib
from wsjax import typing
from wsjax.evaluation import metric, predictions, statistics
from wsjax.evaluation.metrics import membership as membership_lib
from wsjax.experiments import generation
from wsjax.experiments.generation import prepare
from wsjax.models import model as model_lib
from wsjax.symmetry import canonicalize
from wsjax.zoo import train as train_lib

_DRAWS = 16  # Random draws of a loss, the same for all networks and generators.
_LEAST_STD = 1e-9
_NETWORKS = 32  # Of each set of shadows, which learn from one set of images.
_MOST = 2000  # Images that are attacked, of either kind.


@dataclasses.dataclass(frozen=True)
class Membership:
  """How well an attack tells members of a training set from others.

  Attributes:
    auroc: chance that a member has the higher score, with its interval.
    tpr: share of members above the threshold, with its exact interval; not run where there are too
      few non-members for the level.
    fpr: share of the non-members above it that it was not set on.
    level: false positive rate for which the threshold was set.
  """

  auroc: metric.Stat
  tpr: metric.Stat
  fpr: metric.Stat
  level: float


def evaluate(
  members: Float[np.ndarray, ' m'],
  others: Float[np.ndarray, ' n'],
  *,
  level: float = 0.01,
  num_bootstrap: int = 1000,
  seed: int = 0,
) -> Membership:
  """Evaluates scores, higher for members, with a threshold from a half of the others.

  Args:
    members: scores of networks in the training set.
    others: scores of held-out networks.
    level: false positive rate.
    num_bootstrap: resamples behind the interval of the AUROC.
    seed: of them and of the halves.
  """
  auroc = membership_lib.auc(members, others, num_bootstrap=num_bootstrap, seed=seed)
  shuffled = np.random.default_rng(seed).permutation(others)
  calibration, rest = shuffled[: len(others) // 2], shuffled[len(others) // 2 :]
  place = math.floor(level * (len(calibration) + 1))
  if place < 1:
    needed = 2 * (math.ceil(1 / level) - 1)
    why = f'{len(others)} held-out networks; {needed} are needed for a rate of {level:g}'
    return Membership(auroc, statistics.not_run(why), statistics.not_run(why), level)
  threshold = np.sort(calibration)[-place]
  tpr, fpr = statistics.rate(members > threshold), statistics.rate(rest > threshold)
  return Membership(auroc, tpr, fpr, level)


def lira(
  target: Float[np.ndarray, ' n'], shadows: Float[np.ndarray, 'k n'], seen: Bool[np.ndarray, 'k n']
) -> Float[np.ndarray, ' n']:
  """Log-likelihood ratio of a score, between generators that saw the network and others.

  Args:
    target: score of every network under the generator that is attacked.
    shadows: under each shadow generator.
    seen: whether a shadow learned from a network; every network needs shadows of both kinds.

  Raises:
    ValueError: if a network has none of one kind.
  """
  shadows = np.asarray(shadows, np.float64)
  counts = seen.sum(axis=0)
  if not counts.all() or (counts == len(seen)).any():
    raise ValueError('Every network needs shadow generators that saw it, and others.')
  kinds = []
  for mask in (seen, ~seen):
    mean = (shadows * mask).sum(axis=0) / mask.sum(axis=0)
    squares = ((shadows - mean) ** 2 * mask).sum()
    kinds.append((mean, squares, mask.sum() - mask.shape[1]))
  result = np.zeros(len(target))
  for (mean, squares, free), sign in zip(kinds, (1, -1), strict=True):
    # One variance for all networks: fewer than 64 shadows do not give one for each. One shadow of a
    # kind has none: that of the other kind stands for it.
    if not free:
      squares, free = (sum(kind[i] for kind in kinds) for i in (1, 2))
    std = max(float(np.sqrt(squares / max(free, 1))), _LEAST_STD)
    result += sign * scipy.stats.norm.logpdf(target, mean, std)
  return result


def rmia(
  target: Float[np.ndarray, ' n'],
  shadows: Float[np.ndarray, 'k n'],
  population: Float[np.ndarray, ' p'],
  population_shadows: Float[np.ndarray, 'k p'],
) -> Float[np.ndarray, ' n']:
  """Share of a population over which a network gains more than its shadows would let expect.

  The gain of a network is its score, a log-likelihood up to a constant, less the mean under the
  shadows; gamma is 1.

  Args:
    target: score of every network under the generator that is attacked.
    shadows: under each shadow generator.
    population: scores of networks that are known to be no members.
    population_shadows: likewise.
  """
  gain = target - shadows.mean(axis=0)
  others = np.sort(population - population_shadows.mean(axis=0))
  # Ties among gains beyond the population are broken by the gain itself, to keep their order.
  share = np.searchsorted(others, gain, side='right') / len(others)
  return share + 1e-9 * scipy.stats.rankdata(gain) / len(gain)


def scores(
  experiment: generation.Generation,
  params: typing.PyTree,
  networks: typing.StackedParams,
  *,
  num_samples: int,
  seed: int = 0,
) -> dict[str, Float[np.ndarray, ' n']]:
  """Scores of networks under one generator, higher for those that it learned from.

  Args:
    experiment: of the generator.
    params: of the generator.
    networks: path -> [n, ...] canonical networks.
    num_samples: samples among which the nearest is looked for.
    seed: of the samples.

  Returns:
    'nearest sample'; 'loss', where the family has one or a density; 'reconstruction', where the
    codec loses something.
  """
  data, flat = experiment.data, networks_lib.flatten(networks)
  samples = canonical(experiment, experiment.draw(params, num_samples, seed))
  result = {'nearest sample': -_nearest(flat, networks_lib.flatten(samples))}
  latents = data.decoder.encode(networks)
  loss = _losses(experiment.generator, params, latents)
  if loss is not None:
    result['loss'] = -loss
  error = np.linalg.norm(flat - networks_lib.flatten(data.decoder.decode(latents)), axis=1)
  if np.median(error) > 1e-3 * np.median(np.linalg.norm(flat, axis=1)):
    result['reconstruction'] = -error
  return result


def canonical(
  experiment: generation.Generation, networks: typing.StackedParams
) -> dict[str, np.ndarray]:
  """Networks balanced and aligned to the reference of an experiment; not finite ones become 0."""
  spec, reference = experiment.data.architecture.spec, experiment.data.reference
  finite = networks_lib.Networks(dict(networks), spec).finite()
  networks = {
    path: np.where(finite.reshape(-1, *[1] * (np.ndim(x) - 1)), x, 0)
    for path, x in networks.items()
  }
  return canonicalize.canonicalize(
    networks, spec, 'permutation+scale', reference=reference, restarts=2
  )


def with_networks(
  experiment: generation.Generation, networks: typing.StackedParams, workdir: pathlib.Path
) -> generation.Generation:
  """An experiment that learns from other canonical networks [n, ...], by the same config."""
  config, data = experiment.config, experiment.data
  if config.train.get('privacy'):  # The codec is of public networks.
    decoder, latents = data.decoder, data.decoder.encode(networks)
  else:
    decoder, latents = prepare.fit(
      networks, data.architecture.spec,
      tokens=config.tokens, normalize=config.normalize, codec=config.codec,
    )  # fmt: skip
  made = copy.copy(experiment)
  examples = {'train': {'latents': latents}, 'val': None, 'test': None}
  made.data = dataclasses.replace(data, train=networks, decoder=decoder, examples=examples)
  made.train, made.val, made.workdir = examples['train'], None, workdir
  return made


def audit(
  experiment: generation.Generation,
  params: typing.PyTree,
  others: typing.StackedParams,
  workdir: pathlib.Path,
  *,
  shadows: int = 0,
  num_samples: int = 1024,
  level: float = 0.01,
  seed: int = 0,
) -> dict[str, Membership]:
  """Every attack on a generator, by every score.

  The training set and held-out networks are cut into parts as large as the training set, at most
  three; each shadow learns from one part, so that `shadows` rounds up to a multiple of the parts
  and every network is seen by as many shadows. Held-out networks beyond the parts are the
  population of RMIA and the control.

  Args:
    experiment: of the generator; without conditions and snapshots.
    params: of the generator.
    others: path -> [n, ...] held-out networks of the same kind, at least two.
    workdir: folder for checkpoints of shadows, from which an interrupted audit continues.
    shadows: shadow generators; 0 runs only the attacks without them.
    num_samples: samples among which the nearest is looked for.
    level: false positive rate.
    seed: of samples, parts and shadows.

  Returns:
    'SCORE' and 'SCORE, LiRA' and 'SCORE, RMIA' -> what was found; 'control: fresh runs', in which
    half of the population takes the place of the samples, and cannot know any member.

  Raises:
    ValueError: for generators with conditions or snapshots, or too few held-out networks.
  """
  data = experiment.data
  _require_plain(experiment)
  members, held = canonical(experiment, data.train), canonical(experiment, others)
  count, rest = networks_lib.length(members), networks_lib.length(held)
  if rest < 2:
    raise ValueError(f'{rest} held-out networks; at least 2 are needed.')
  parts = 1 + min(2, rest // (2 * count))
  near = (parts - 1) * count or rest // 2  # Held-out networks that are attacked.
  if shadows and parts == 1:
    raise ValueError(
      f'Shadow generators need held-out networks, twice the {count} training networks or more; '
      f'there are {rest}.'
    )
  order = np.random.default_rng(seed).permutation(rest)
  pool = networks_lib.join([members, networks_lib.take(held, order[:near])])
  population = networks_lib.take(held, order[near:])
  given = networks_lib.join([pool, population])
  size = count + near

  def of(one: generation.Generation, fitted: typing.PyTree, seed: int) -> dict[str, np.ndarray]:
    return scores(one, fitted, given, num_samples=num_samples, seed=seed)

  target = of(experiment, params, seed)
  options = {'level': level, 'seed': seed}

  def judged(values: np.ndarray) -> Membership:
    return evaluate(values[:count], values[count:size], **options)

  flat = networks_lib.flatten(pool)
  fresh = networks_lib.flatten(networks_lib.take(population, slice(num_samples)))
  result = {name: judged(values) for name, values in target.items()}
  result['control: fresh runs'] = judged(-_nearest(flat, fresh))
  if not shadows:
    return result
  found: list[dict[str, np.ndarray]] = []
  seen: list[np.ndarray] = []
  for number in range(parts * math.ceil(shadows / parts)):
    cut = np.random.default_rng((seed, number // parts)).permutation(size)
    rows = np.sort(cut[number % parts :: parts][:count])
    one = with_networks(experiment, networks_lib.take(pool, rows), workdir / f'shadow{number}')
    fitted, _ = one.fit(number)
    found.append(of(one, fitted, number))
    seen.append(np.isin(np.arange(size), rows))
  mask = np.stack(seen)
  for name, values in target.items():
    stacked = np.stack([one[name] for one in found])
    ratio = lira(values[:size], stacked[:, :size], mask)
    gains = rmia(values[:size], stacked[:, :size], values[size:], stacked[:, size:])
    result |= {f'{name}, LiRA': judged(ratio), f'{name}, RMIA': judged(gains)}
  return result


@dataclasses.dataclass(frozen=True)
class Leak:
  """What one attack tells of the images behind a zoo.

  Attributes:
    direct: by the training networks of a generator.
    samples: by its samples.
    ratio: advantage by samples over that by networks, where an advantage is 2 AUROC - 1; not run
      where the networks themselves give nothing away.
  """

  direct: Membership
  samples: Membership
  ratio: metric.Stat


def audit_data(
  experiment: generation.Generation,
  params: typing.PyTree,
  *,
  shadows: int = 0,
  num_samples: int = 1024,
  level: float = 0.01,
  seed: int = 0,
) -> dict[str, Leak] | None:
  """Which images did the networks learn from: asked of themselves, and of samples.

  Members are images of the split train, others those of val and test. Shadows are networks that are
  trained by the recipe of the zoo on as many images of all splits, so that every image is learned
  by some and not by others.

  Args:
    experiment: of the generator.
    params: of the generator.
    shadows: sets of images that networks are trained on, or as many more as it takes for every
      image to be in two and not in two; 0 runs only the attack without them.
    num_samples: samples that are asked.
    level: false positive rate.
    seed: of samples, images and shadows.

  Returns:
    'confidence', 'confidence, LiRA' and 'confidence, RMIA' -> what was found; None where the
    networks are no classifiers of the same labels, or every image is in train.
  """
  data = experiment.data
  model, dataset = data.architecture, data.dataset
  known = model.task == 'classification' and dataset.loss is None and dataset.codes is None
  count, rest = len(dataset.train_y), len(dataset.val_y) + len(dataset.test_y)
  if not known or not count or not rest:
    return None
  splits = ('train', 'val', 'test')
  images = np.concatenate([getattr(dataset, f'{split}_x') for split in splits])
  labels = np.concatenate([getattr(dataset, f'{split}_y') for split in splits])
  rng = np.random.default_rng(seed)
  chosen = [rng.permutation(size)[:_MOST] for size in (count, rest)]
  rows = np.concatenate([chosen[0], count + chosen[1]])

  def of(networks: typing.StackedParams) -> np.ndarray:
    return log_odds(model, networks, images[rows], labels[rows])

  scores = {'direct': of(data.train), 'samples': of(experiment.draw(params, num_samples, seed))}
  targets = {'confidence': scores}
  if shadows and 'recipe' in experiment.config.zoo:
    recipe = train_lib.Recipe(**experiment.config.zoo.recipe.to_dict())
    recipe = dataclasses.replace(recipe, snapshots=())
    order, found, seen = rng.permutation(len(labels)), [], []
    number = max(shadows, 2 * math.ceil(len(labels) / min(count, rest)))
    for start in np.linspace(0, len(labels), number, endpoint=False).astype(int):
      part = np.sort(np.roll(order, -start)[:count])
      own = dataclasses.replace(dataset, train_x=images[part], train_y=labels[part])
      indices = _NETWORKS * len(found) + np.arange(_NETWORKS)
      # Other initial weights than those of the networks of the zoo.
      networks = train_lib.train_networks(model, own, recipe, indices, seed=seed + 1).params
      found.append(scipy.stats.zscore(of(networks)))
      seen.append(np.isin(rows, part))
    stacked, mask = np.stack(found), np.stack(seen)
    # Samples are not as sure of everything as trained networks are.
    scores = {name: scipy.stats.zscore(x) for name, x in scores.items()}
    targets['confidence, LiRA'] = {k: lira(x, stacked, mask) for k, x in scores.items()}
    targets['confidence, RMIA'] = {k: rmia(x, stacked, x, stacked) for k, x in scores.items()}
  size, options = len(chosen[0]), {'level': level, 'seed': seed}
  result = {}
  for name, values in targets.items():
    direct, samples = (evaluate(x[:size], x[size:], **options) for x in values.values())
    result[name] = Leak(direct, samples, _ratio(values['samples'], values['direct'], size, seed))
  return result


@dataclasses.dataclass(frozen=True)
class Canaries:
  """How much of networks that were planted in its training set a generator tells.

  Attributes:
    auroc: chance that a planted one has the higher score, with its interval.
    right: share of right guesses, with its exact interval: the quarter with the highest scores is
      taken for planted, that with the lowest for left out.
    epsilon: the training is not (epsilon, delta) differentially private for any smaller epsilon,
      with a confidence of 95 %; 0 says nothing.
    delta: of it.
  """

  auroc: metric.Stat
  right: metric.Stat
  epsilon: float
  delta: float


def audit_canaries(
  experiment: generation.Generation,
  others: typing.StackedParams,
  workdir: pathlib.Path,
  *,
  count: int = 128,
  num_samples: int = 1024,
  delta: float = 1e-5,
  seed: int = 0,
) -> dict[str, Canaries]:
  """Trains a generator once more, on its networks and outliers, each of which is in by chance.

  An outlier is a network whose weights change places within their tensors: nothing is as easy to
  learn by heart.

  Args:
    experiment: of the generator.
    others: path -> [n, ...] networks that outliers are made of, at least `count`.
    workdir: folder for the checkpoints of the generator.
    count: outliers, at least 8; about half of them are planted.
    num_samples: samples among which the nearest is looked for.
    delta: see `Canaries`.
    seed: of the outliers, samples and training.

  Returns:
    Score, see `scores` -> what was found.

  Raises:
    ValueError: for generators with conditions or snapshots, or too few networks.

  Source: Steinke et al. 2023, arXiv:2305.08846, algorithm 1 (one training for all canaries).
  """
  _require_plain(experiment)
  if not 8 <= count <= (most := networks_lib.length(others)):
    raise ValueError(f'{count} canaries; allowed: 8 to the {most} held-out networks.')
  rng = np.random.default_rng(seed)
  made = {
    path: rng.permuted(x.reshape(count, -1), axis=1).reshape(x.shape)
    for path, x in sorted(networks_lib.take(others, slice(count)).items())
  }
  made, planted = canonical(experiment, made), rng.random(count) < 0.5
  members = canonical(experiment, experiment.data.train)
  train = networks_lib.join([members, networks_lib.take(made, np.flatnonzero(planted))])
  one = with_networks(experiment, train, workdir / f'canaries{count}')
  params, _ = one.fit(seed)
  found = scores(one, params, made, num_samples=num_samples, seed=seed)
  return {name: guess(values, planted, delta=delta, seed=seed) for name, values in found.items()}


def guess(
  values: Float[np.ndarray, ' m'], planted: Bool[np.ndarray, ' m'], *, delta: float, seed: int = 0
) -> Canaries:
  """Guesses by scores [m] which canaries were planted, each with a chance of a half."""
  auroc = membership_lib.auc(values[planted], values[~planted], num_bootstrap=1000, seed=seed)
  order, quarter = np.argsort(values, kind='stable'), len(values) // 4
  right = np.concatenate([~planted[order[:quarter]], planted[order[-quarter:]]])
  epsilon = least_epsilon(int(right.sum()), len(right), len(values), delta)
  return Canaries(auroc, statistics.rate(right), epsilon, delta)


def least_epsilon(correct: int, guesses: int, count: int, delta: float) -> float:
  """Epsilon that so many right guesses refute with a confidence of 95 %, 0 if none.

  Source: Steinke et al. 2023, arXiv:2305.08846, main theorem.
  """

  def excess(epsilon: float) -> float:
    """Chance of so many under (epsilon, delta), at most, less 5 %."""
    tail = functools.partial(scipy.stats.binom.sf, n=guesses, p=scipy.special.expit(epsilon))
    fewer, base = np.arange(1, correct + 1), tail(correct - 1)
    slope = np.max((tail(correct - fewer - 1) - base) / fewer, initial=0)
    return base + 2 * count * delta * slope - (1 - statistics.LEVEL)

  return float(scipy.optimize.brentq(excess, 0.0, 50.0)) if excess(0.0) < 0 else 0.0


def log_odds(
  model: model_lib.Model,
  networks: typing.StackedParams,
  images: Float[np.ndarray, 'n ...'],
  labels: Int[np.ndarray, ' n'],
) -> Float[np.ndarray, ' n']:
  """Mean over networks of the logarithm of p / (1 - p), where p is that of the label of an image.

  Source: Carlini et al. 2022, arXiv:2112.03570, section IV.C.
  """
  logits = predictions.logits(model, networks, images).astype(np.float64)
  own = np.arange(logits.shape[-1]) == labels[:, None]
  others = scipy.special.logsumexp(np.where(own, -np.inf, logits), axis=-1)
  return (logits[:, own] - others).mean(axis=0)


def _ratio(values: np.ndarray, direct: np.ndarray, count: int, seed: int) -> metric.Stat:
  """Advantage by scores over that by others, of which the first `count` are of members."""
  resampler = statistics.Resampler(num_bootstrap=1000, seed=seed)
  sizes = (count, len(values) - count)
  weights = [resampler.networks(np.zeros(size, int)) for size in sizes]
  found = []
  for x in (values, direct):
    wins = np.sign(x[:count, None] - x[None, count:])
    found.append((wins.mean(), np.einsum('bm,bm->b', weights[0] @ wins, weights[1])))
  (value, drawn), (base, drawn_base) = found
  if np.quantile(drawn_base, 0.025) <= 0:
    return statistics.not_run('the networks themselves give nothing away')
  return statistics.stat(value / base, drawn / drawn_base, n=len(values), method='bootstrap')


def strongest(attacks: Mapping[str, Any]) -> str:
  """Name of the attack with the largest upper end of its true positive rate, of plain results."""
  real = {name: found for name, found in attacks.items() if not name.startswith('control')}

  def key(name: str) -> tuple[float, float]:
    high = real[name]['tpr'].get('high')
    return -1.0 if high is None else high, real[name]['auroc']['value']

  return max(real, key=key)


def _require_plain(experiment: generation.Generation) -> None:
  if 'condition' in experiment.config or experiment.data.snapshots is not None:
    raise ValueError('Membership is audited for generators without condition and snapshots.')


def _nearest(networks: np.ndarray, samples: np.ndarray) -> np.ndarray:
  """[n] smallest Euclidean distance of vectors [n, p] to vectors [s, p]."""
  squares = (networks**2).sum(axis=1)[:, None] + (samples**2).sum(axis=1)[None]
  smallest = np.argmin(squares - 2 * networks @ samples.T, axis=1)
  # Again without the cancellation, which would hide how close a copy is.
  return np.linalg.norm(networks - samples[smallest], axis=1)


def _losses(
  generator: Any, params: typing.PyTree, latents: Float[np.ndarray, 'n t d']
) -> np.ndarray | None:
  """[n] loss of each network with fixed noise, or minus its density; None without both."""
  if hasattr(generator, 'loss'):
    keys = jax.random.split(jax.random.key(0), _DRAWS)

    @jax.jit
    def run(batch: jax.Array) -> jax.Array:
      def one(latent: jax.Array) -> jax.Array:
        def draw(key: jax.Array) -> jax.Array:
          return generator.loss(params, latent[None], key, None, train=False)[0]

        return jnp.mean(jax.lax.map(draw, keys))

      return jax.vmap(one)(batch)

    return networks_lib.in_chunks(run, np.asarray(latents), min(128, len(latents)))
  if hasattr(generator, 'log_prob'):
    run = jax.jit(lambda batch: -generator.log_prob(params, batch))
    return networks_lib.in_chunks(run, np.asarray(latents), min(128, len(latents)))
  return None
