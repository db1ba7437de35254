"""Watermarks in the noise of a generator: who has its key can tell its samples, changed or not.

All noise behind a sample comes from a key and a nonce that is used once, see `keyed_noise`; the
nonce is in the sample's record. To detect, the noise is recovered from the weights without the key:
networks are aligned to the mean sample of the generator, a linear map learned on samples through
changes of many kinds guesses the noise, and what the generator makes of the guess is both a better
reference to align to and the start of an inversion. No step knows a key, so for a network that is
independent of the key its noise points in a uniformly random direction, and

  p = P(cos(recovered, random direction) >= cos(recovered, noise of key and nonce))

holds exactly, whatever structure networks share. Independent parts of the noise are combined by
Fisher's method, and p is multiplied by the number of nonces that were tried.

A mark is evidence of reuse by somebody who does not try hard. It is no signature, a generator
trained anew on samples does not carry it on, and its absence proves nothing.

Source: Wen et al. 2023, arXiv:2305.20030 (the mark lies in the initial noise, and is found by
inversion); Sablayrolles et al. 2020, arXiv:2002.00937, section 3.3 (p-value of a cosine); Fisher
1925, Statistical methods for research workers, section 21.1.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import scipy.special
from jaxtyping import Float, Int

from wsjax import files, interop, manifest, typing
from wsjax import networks as networks_lib
from wsjax.evaluation import predictions, statistics
from wsjax.experiments import base, generation
from wsjax.experiments.generation import prepare
from wsjax.generators import generator as generator_lib
from wsjax.generators.parts import keyed_noise
from wsjax.governance import attacks
from wsjax.models import model as model_lib
from wsjax.symmetry import canonicalize
from wsjax.symmetry.matching import weight_matching
from wsjax.zoo import train as train_lib
from wsjax.zoo.data import datasets
from wsjax.zoo.store import published, store

LEVEL = 1e-6  # p below which a network is called marked.
LEVELS = (0.05, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # At which false positives are counted.
_DRAWS, _RIDGE = 4096, 300.0  # Samples behind the linear map, and its penalty.
_ROUNDS = 2  # Of aligning to what the generator makes of a guess, and inverting it.
_RESTARTS = 3  # Of every alignment.
_ERROR = 0.3  # Deviation of changes that are expected, in deviations of the latents.
_CHUNK = 128  # Networks that are inverted at a time.


@dataclasses.dataclass(frozen=True, eq=False)
class Detector:
  """Recovers the noise behind networks of a generator; has no key.

  Attributes:
    generator: with `recover`; see `generator.Generator`.
    params: of the generator.
    decoder: map between networks and latents.
    shape: (T, D) of latents.
    anchor: balanced mean of samples; networks are aligned to it first.
    mean: [d] of latents of aligned samples.
    std: [d] their deviation.
    coefficients: [d, s] linear map to the first part of the noise.
    offset: [s] added to it.
    error: deviation of changes that the inversion expects, in the units of latents.
  """

  generator: Any
  params: typing.PyTree
  decoder: prepare.Decoder
  shape: generator_lib.Shape
  anchor: typing.Params
  mean: Float[np.ndarray, ' d']
  std: Float[np.ndarray, ' d']
  coefficients: Float[np.ndarray, 'd s']
  offset: Float[np.ndarray, ' s']
  error: float

  @property
  def parts(self) -> tuple[int, ...]:
    """Lengths of the independent parts of the noise."""
    return self.generator.noise_parts(self.shape)

  def recover(self, networks: typing.StackedParams) -> Float[np.ndarray, 'n k']:
    """Estimates the noise behind networks.

    Args:
      networks: path -> [n, ...] finite weights.

    Raises:
      ValueError: if they are of another architecture, or not finite.
    """
    self.decoder.spec.check(networks, stacked=True)
    networks = {path: np.asarray(x, np.float32) for path, x in networks.items()}
    count = networks_lib.length(networks)
    parts = [
      self._recover(networks_lib.take(networks, slice(first, first + _CHUNK)))
      for first in range(0, count, _CHUNK)
    ]
    return np.concatenate(parts)

  def _recover(self, networks: typing.StackedParams) -> np.ndarray:
    guess = self._guess(_latents(self.decoder, _aligned(networks, self.anchor, self.decoder)))
    best, lowest = np.zeros((len(guess), sum(self.parts)), np.float32), np.inf
    for _ in range(_ROUNDS):
      references = _draw(self, _fill(guess, sum(self.parts)))
      latents = _latents(self.decoder, _aligned(networks, references, self.decoder))
      found, value = self._invert(latents.reshape(-1, *self.shape), guess)
      better = value < lowest
      best = np.where(better[:, None], found, best)
      lowest = np.where(better, value, lowest)
      guess = best[:, : self.parts[0]]
    return best

  def _guess(self, latents: Float[np.ndarray, 'n d']) -> np.ndarray:
    x = (latents - self.mean) / self.std
    return (x @ self.coefficients + self.offset).astype(np.float32)

  def _invert(self, latents: np.ndarray, guess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`recover` of the generator."""
    error = np.float32(self.error)

    def run(given: tuple) -> Any:
      return self.generator.recover(self.params, *given, error)

    return networks_lib.in_chunks(run, (latents, guess), min(_CHUNK, len(latents)))


def fit(
  generator: Any,
  params: typing.PyTree,
  decoder: prepare.Decoder,
  shape: generator_lib.Shape,
  *,
  num: int = _DRAWS,
  seed: int = 0,
) -> Detector:
  """Learns to recover the noise of a generator from samples of its own.

  Args:
    generator: with `recover`.
    params: of the generator.
    decoder: map between networks and latents.
    shape: (T, D) of latents.
    num: samples to learn from.
    seed: of them; anybody may know it.

  Raises:
    ValueError: if noise cannot be recovered from samples of the generator.
  """
  if not hasattr(generator, 'recover'):
    raise ValueError(
      f'Samples of {type(generator).__name__} cannot be marked: its noise is not recovered. '
      'Hypernetwork can.'
    )
  parts = generator.noise_parts(shape)
  noise = np.random.default_rng(seed).normal(size=(num, sum(parts))).astype(np.float32)
  blank = np.zeros(0)
  made = Detector(generator, params, decoder, shape, {}, blank, blank, blank, blank, 0.0)
  drawn = _draw(made, noise)
  balanced = canonicalize.balance_all(drawn, decoder.spec)
  anchor = {path: x.mean(axis=0) for path, x in balanced.items()}
  changes = (
    lambda x: x, lambda x: attacks.add_noise(x, 0.3, seed), lambda x: attacks.quantize(x, 4),
    lambda x: attacks.prune(x, 0.6), lambda x: attacks.add_noise(x, 0.6, seed), lambda x: x,
  )  # fmt: skip
  rows = np.array_split(np.arange(num), len(changes))
  changed = networks_lib.join(
    [change(networks_lib.take(drawn, part)) for change, part in zip(changes, rows, strict=True)]
  )
  latents = _latents(decoder, _aligned(changed, anchor, decoder))
  mean, std = latents.mean(axis=0), latents.std(axis=0) + 1e-6
  x, y = ((latents - mean) / std).astype(np.float64), noise[:, : parts[0]].astype(np.float64)
  offset = y.mean(axis=0)
  if x.shape[1] <= num:
    coefficients = np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ (y - offset))
  else:  # The same map, from a matrix of the size of the samples.
    coefficients = x.T @ np.linalg.solve(x @ x.T + _RIDGE * np.eye(num), y - offset)
  error = _ERROR * float(np.sqrt(np.mean(std**2)))
  return Detector(generator, params, decoder, shape, anchor, mean, std, coefficients, offset, error)


def of_experiment(experiment: generation.Generation, params: typing.PyTree) -> Detector:
  """`fit` to the trained generator of an experiment; raises ValueError as `fit`."""
  data = experiment.data
  return fit(experiment.generator, params, data.decoder, data.latents.shape[1:])


def p_values(
  recovered: Float[np.ndarray, 'n k'], noise: Float[np.ndarray, 'm k'], parts: Sequence[int]
) -> Float[np.ndarray, 'n m']:
  """Chance that independent noise is as close to what was recovered as given noise is.

  Args:
    recovered: of each network.
    noise: of a key and each nonce.
    parts: lengths of independent parts of the noise.
  """
  total, start = np.zeros((len(recovered), len(noise))), 0
  for size in parts:
    a, b = (np.asarray(x[:, start : start + size], np.float64) for x in (recovered, noise))
    norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None]
    cosine = np.clip(a @ b.T / np.maximum(norms, 1e-300), -1, 1)
    tail = scipy.special.betainc((size - 1) / 2, 0.5, 1 - cosine**2) / 2
    p = np.where(cosine > 0, tail, 1 - tail)
    total += -np.log(np.maximum(p, 1e-300))
    start += size
  return scipy.special.gammaincc(len(parts), total)


@dataclasses.dataclass(frozen=True, eq=False)
class Detection:
  """Which networks carry a mark.

  Attributes:
    p: [n] for the nonce that fits best, times the number of nonces, at most 1.
    nonce: [n] index of that nonce.
    cosine: [n] of recovered noise and that of the nonce, in the first part of the noise.
  """

  p: Float[np.ndarray, ' n']
  nonce: Int[np.ndarray, ' n']
  cosine: Float[np.ndarray, ' n']


def detect(
  detector: Detector, networks: typing.StackedParams, key: keyed_noise.Key, nonces: Sequence[str]
) -> Detection:
  """Looks for the marks of samples that were issued under a key.

  Args:
    detector: of their generator.
    networks: path -> [n, ...] finite weights of suspects.
    key: that the samples were drawn with.
    nonces: of every sample that was issued, from their records: `generated.noise_key_id`.

  Raises:
    ValueError: if there is no nonce, or as `Detector.recover`.
  """
  return compare(detector.recover(networks), key, nonces, detector.parts)


def compare(
  recovered: Float[np.ndarray, 'n k'],
  key: keyed_noise.Key,
  nonces: Sequence[str],
  parts: Sequence[int],
) -> Detection:
  """`detect` from recovered noise."""
  if not len(nonces):
    raise ValueError('There is no nonce of a marked sample to compare with.')
  noise = keyed_noise.normal(key, nonces, sum(parts))
  p = p_values(recovered, noise, parts)
  # Where several underflow, the closest direction is meant.
  a, b = recovered[:, : parts[0]], noise[:, : parts[0]]
  norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None]
  cosine = a @ b.T / np.maximum(norms, 1e-30)
  best = np.lexsort((-cosine, p), axis=1)[:, 0]
  rows = np.arange(len(recovered))
  return Detection(np.minimum(len(nonces) * p[rows, best], 1.0), best, cosine[rows, best])


def issued(zoos: Sequence[store.Zoo], generator: str, key: keyed_noise.Key) -> list[str]:
  """Nonces in the records of zoos, of samples that a generator drew with a key."""
  found = []
  for zoo in zoos:
    for record in zoo.records:
      made = record['generated'] or {}
      mine = made.get('generator_record_id') == generator
      if mine and made.get('watermark_key_id') == key.id and made.get('noise_key_id'):
        found.append(made['noise_key_id'])
  return list(dict.fromkeys(found))


def finetuning(experiment: generation.Generation, *, seed: int = 1) -> attacks.Finetune | None:
  """Continues training by the recipe of the zoo, on its images or on mirrored ones.

  None if the networks are no classifiers of images, or nothing says how they were trained.
  """
  config, data, dataset = experiment.config, experiment.data, _images(experiment)
  if 'recipe' not in config.zoo or dataset is None:
    return None
  recipe = train_lib.Recipe(**config.zoo.recipe.to_dict())
  flipped = np.flip(dataset.train_x, axis=min(2, dataset.train_x.ndim - 1))
  mirrored = dataclasses.replace(dataset, train_x=flipped)

  def finetune(networks: typing.StackedParams, steps: int, new: bool) -> typing.StackedParams:
    given = mirrored if new else dataset
    return train_lib.finetune(data.architecture, given, networks, recipe, steps=steps, seed=seed)

  return finetune


def measure(
  detector: Detector,
  networks: typing.StackedParams,
  key: keyed_noise.Key,
  nonces: Sequence[str],
  unmarked: typing.StackedParams | None,
  suite: Sequence[attacks.Attack],
) -> dict[str, Any]:
  """Counts how often marks are found, after every attack, and in unmarked networks.

  Args:
    detector: of the generator.
    networks: path -> [n, ...] marked samples, in the order of their nonces.
    key: that they were drawn with.
    nonces: of these networks, all of which are tried for each.
    unmarked: path -> [m, ...] networks without a mark; None is none.
    suite: of `attacks.suite`.

  Returns:
    'attacks': name -> 'found', the share with p < `LEVEL`, with its exact interval; 'p', the
    median; 'cosine', the median; 'sign_errors', share of noise of the first part whose sign is
    wrong; 'required'. 'false_positives': level -> share of the unmarked networks below it.
  """
  size = detector.parts[0]
  noise = keyed_noise.normal(key, nonces, sum(detector.parts))
  result: dict[str, Any] = {'attacks': {}, 'false_positives': {}, 'nonces': len(nonces)}
  for attack in suite:
    recovered = detector.recover(attack.change(networks))
    found = compare(recovered, key, nonces, detector.parts)
    wrong = np.sign(recovered[:, :size]) != np.sign(noise[:, :size])
    result['attacks'][attack.name] = {
      'found': statistics.rate(found.p < LEVEL),
      'p': float(np.median(found.p)),
      'cosine': float(np.median(found.cosine)),
      'sign_errors': float(wrong.mean()),
      'required': attack.required,
    }
  if unmarked is not None:
    p = compare(detector.recover(unmarked), key, nonces, detector.parts).p
    result['false_positives'] = {f'{level:g}': statistics.rate(p < level) for level in LEVELS}
  return result


def of_run(
  experiment: generation.Generation,
  fitted: Mapping[int, typing.PyTree],
  drawn: Mapping[int, store.Zoo],
  path: pathlib.Path | str,
  *,
  num: int = 128,
) -> dict[str, Any]:
  """Measures the marks of the samples of a run: those of its first training seed are attacked.

  Args:
    experiment: of the run.
    fitted: training seed -> parameters of the generator.
    drawn: training seed -> zoo of its samples.
    path: file with the key.
    num: samples that are attacked.

  Returns:
    As `measure`, with 'key', its name; 'samples', digests of the zoos; 'emitted', the share of all
    samples with p < `LEVEL`; 'accuracy_cost', by how many points samples with keyed noise are less
    accurate than with other noise, None if they are no classifiers.

  Raises:
    ValueError: if the samples are not marked with the key.
  """
  key = keyed_noise.read(path)
  marked = []
  for seed, zoo in drawn.items():
    detector = of_experiment(experiment, fitted[seed])
    nonces = issued([zoo], experiment.generator_id(fitted[seed]), key)
    if len(nonces) != len(zoo):
      raise ValueError(
        f'{len(zoo) - len(nonces)} of {len(zoo)} samples of seed {seed} are not marked with the '
        f'key {path}; config.sample.watermark of a run names it.'
      )
    networks = zoo.params(np.arange(len(zoo)))
    if not marked:
      first = networks_lib.take(networks, slice(num))
      rows = np.concatenate([experiment.zoo.select(split=s) for s in ('test', 'holdout_audit')])
      suite = attacks.suite(experiment.data.decoder.spec, finetuning(experiment))
      unmarked = experiment.zoo.params(rows) if len(rows) else None
      result = measure(detector, first, key, nonces[:num], unmarked, suite)
      result['accuracy_cost'] = _accuracy_cost(experiment, detector, key)
    marked.append(detect(detector, networks, key, nonces).p < LEVEL)
  emitted = statistics.rate(np.concatenate(marked))
  digests = sorted(zoo.digest for zoo in drawn.values())
  return {'key': key.id, 'samples': digests, 'emitted': emitted, **result}


def _accuracy_cost(
  experiment: generation.Generation, detector: Detector, key: keyed_noise.Key, num: int = 2048
) -> dict[str, Any] | None:
  """Points of test accuracy that keyed noise costs, with a normal 95 % interval."""
  data, dataset = experiment.data, _images(experiment)
  if dataset is None:
    return None
  size, nonces = sum(detector.parts), [f'cost/{i}' for i in range(num)]
  noises = (
    np.random.default_rng(0).normal(size=(num, size)).astype(np.float32),
    keyed_noise.normal(key, nonces, size),
  )
  plain, marked = (
    100 * predictions.accuracy(
      data.architecture, _draw(detector, noise), data.dataset.test_x, data.dataset.test_y
    )
    for noise in noises
  )  # fmt: skip
  cost = float(plain.mean() - marked.mean())
  half = 1.96 * float(np.sqrt((plain.var(ddof=1) + marked.var(ddof=1)) / num))
  return {'value': cost, 'low': cost - half, 'high': cost + half, 'n': num, 'method': 'normal'}


def _images(experiment: generation.Generation) -> datasets.Dataset | None:
  """What classifiers learned from; None for other networks, or if nothing says it."""
  if experiment.data.architecture.task != 'classification':
    return None
  try:
    return experiment.data.dataset
  except ValueError:
    return None


def search(
  networks: Sequence[str],
  workdir: pathlib.Path | str,
  key: pathlib.Path | str,
  others: Sequence[pathlib.Path | str] = (),
) -> list[tuple[str, float, str]]:
  """Looks in files for marks of the samples of a run.

  Args:
    networks: files, or the folder of one zoo.
    workdir: of the run; its zoo has to be there.
    key: file with the key that the samples were drawn with.
    others: more zoos of samples of its generators.

  Returns:
    For each network its name, the smallest p of any generator of the run, corrected for their
    number, and the nonce of the sample that fits best.

  Raises:
    ValueError: if no sample was issued under the key, or the networks are of another model.
  """
  secret, workdir = keyed_noise.read(key), files.folder(workdir, 'run')
  experiment = of_workdir(workdir)
  zoo = experiment.zoo
  suspects = read_suspects(networks, zoo.model)
  if suspects.spec != zoo.spec:
    raise ValueError(f'{networks[0]} is of another model than the networks of {workdir}.')
  params = suspects.params(np.arange(len(suspects)))
  zoos = drawn_by(experiment, others)
  found = []
  for seed in experiment.config.train.seeds:
    fitted, _ = experiment.fit(seed, trains=False)
    if nonces := issued(zoos, experiment.generator_id(fitted), secret):
      one = detect(of_experiment(experiment, fitted), params, secret, nonces)
      found.append((one.p, [nonces[place] for place in one.nonce]))
  if not found:
    raise ValueError(f'No sample of {workdir} was issued under the key {key}; --issued names some.')
  result = []
  for row, name in enumerate(suspects.keys):
    p, nonce = min((p[row], nonces[row]) for p, nonces in found)
    result.append((name, min(len(found) * float(p), 1.0), nonce))
  return result


def of_workdir(workdir: pathlib.Path) -> generation.Generation:
  """The experiment of a finished run, whose zoo has to be there."""
  config = manifest.load_config(workdir)
  zoo = base.open_zoo(config, workdir, progress=False, trains=False)
  return generation.of_run(config, zoo, workdir)


def read_suspects(networks: Sequence[str], model: model_lib.Model) -> store.Zoo:
  """Networks of a model in files, or of the zoo in one folder."""
  if len(networks) == 1 and published.is_zoo(networks[0]):
    return store.Zoo.open(networks[0])
  return interop.import_checkpoints(model, list(networks))


def drawn_by(
  experiment: generation.Generation, others: Sequence[pathlib.Path | str]
) -> list[store.Zoo]:
  """Samples of a run, a zoo for each training seed, behind other zoos."""
  folders = [experiment.workdir / f'samples/seed{seed}' for seed in experiment.config.train.seeds]
  return [store.Zoo.open(path) for path in (*others, *filter(pathlib.Path.exists, folders))]


def _draw(detector: Detector, noise: np.ndarray) -> typing.StackedParams:
  """Networks that the generator makes of noise."""
  generator, shape = detector.generator, detector.shape

  def run(noise: np.ndarray) -> Any:
    key = jax.random.key(0)  # All noise is given.
    return generator.sample(detector.params, key, len(noise), shape=shape, noise=noise)

  return detector.decoder.decode(networks_lib.in_chunks(run, noise, min(_CHUNK, len(noise))))


def _fill(first: np.ndarray, size: int) -> np.ndarray:
  """The first part of noise, and zeros for the others."""
  return np.pad(first, ((0, 0), (0, size - first.shape[1])))


def _latents(decoder: prepare.Decoder, networks: typing.StackedParams) -> np.ndarray:
  return decoder.encode(networks).reshape(networks_lib.length(networks), -1)


def _aligned(
  networks: typing.StackedParams, references: typing.Params, decoder: prepare.Decoder
) -> typing.StackedParams:
  """Balances networks and aligns each to a reference: one for all, or one for each."""
  spec = decoder.spec
  networks = canonicalize.balance_all(networks, spec)
  if not spec.groups:
    return networks
  rows = np.arange(networks_lib.length(networks))
  first = next(iter(networks))
  if np.ndim(references[first]) == np.ndim(networks[first]):
    references, places = canonicalize.balance_all(references, spec), rows
  else:
    references, places = {path: x[None] for path, x in references.items()}, 0 * rows
  pairs = np.stack([places, rows], axis=1)
  options = {'restarts': _RESTARTS, 'identity': False}
  g, _ = weight_matching.match_pairs(references, networks, pairs, spec, **options)
  return canonicalize.apply_all(g, networks, spec)
