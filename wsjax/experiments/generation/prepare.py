"""The form of a zoo that a generator learns from: normalizer, tokenizer and codec, and back."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Array, Float

from wsjax import codecs, typing
from wsjax import config as config_lib
from wsjax import networks as networks_lib
from wsjax.experiments import base
from wsjax.models import model as model_lib
from wsjax.symmetry import canonicalize
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import layout
from wsjax.tokens import normalize as normalize_lib
from wsjax.train import generative
from wsjax.zoo.data import datasets
from wsjax.zoo.store import store


@dataclasses.dataclass(frozen=True, eq=False)
class Decoder:
  """Map between networks and latents, fitted on the training split.

  Attributes:
    spec: of the architecture.
    tokenizer: of weights.
    normalizer: statistics of the training split.
    codec: of tokens.
    state: of the codec.
    chunk_size: networks decoded at a time, which bounds memory.
    floors: path -> smallest value, of parameters that must not be negative, such as variances.
  """

  spec: spec_lib.Spec
  tokenizer: layout.Tokenizer
  normalizer: normalize_lib.Normalizer
  codec: codecs.Codec
  state: typing.PyTree
  chunk_size: int = 256
  floors: Mapping[str, float] = dataclasses.field(default_factory=dict)

  def encode(self, params: typing.StackedParams) -> np.ndarray:
    """Computes the latents [n, T, D] of canonical networks, on the host."""
    return np.asarray(jax.jit(self.codec.encode)(self.state, self._tokens(params)))

  def latents(self, params: typing.StackedParams) -> Float[Array, 'n t d']:
    """Computes the latents of canonical networks inside a traced program."""
    return self.codec.encode(self.state, self._tokens(params))

  def networks(self, latents: Float[Array, 'n t d']) -> typing.StackedParams:
    """Computes the networks of latents inside a traced program; differentiable."""
    detokenize = functools.partial(self.tokenizer.detokenize, spec=self.spec)
    values = self.codec.decode(self.state, latents)
    made = self.normalizer.invert(jax.vmap(detokenize)(values))
    return made | {path: jnp.maximum(made[path], least) for path, least in self.floors.items()}

  def decode(self, latents: typing.Array) -> typing.StackedParams:
    """Computes the networks of latents [n, T, D], on the host."""
    run = functools.partial(self._decode, self.normalizer, self.state)
    chunk = min(self.chunk_size, len(latents))
    return networks_lib.in_chunks(run, np.asarray(latents), chunk)

  def _tokens(self, params: typing.StackedParams) -> jax.Array:
    tokenize = functools.partial(self.tokenizer.tokenize, spec=self.spec)
    return jax.vmap(tokenize)(self.normalizer.apply(params)).values

  @functools.cached_property
  def _decode(self) -> Any:
    def decode(normalizer, state, latents):
      return dataclasses.replace(self, normalizer=normalizer, state=state).networks(latents)

    return jax.jit(decode)


def fit(
  params: typing.StackedParams,
  spec: spec_lib.Spec,
  *,
  tokens: Mapping[str, Any],
  normalize: Mapping[str, Any],
  codec: Mapping[str, Any],
) -> tuple[Decoder, np.ndarray]:
  """Fits normalizer and codec on the training split.

  Args:
    params: path -> [N, ...] canonical networks of the training split.
    spec: of the architecture.
    tokens: config section of a plug-in of `tokens`.
    normalize: arguments of `normalize.fit`.
    codec: config section of a plug-in of `codecs`.

  Returns:
    The decoder, and the latents [N, T, D] of `params`.
  """
  tokenizer, codec = config_lib.build('tokens', tokens), config_lib.build('codecs', codec)
  normalizer = normalize_lib.fit(params, spec, **normalize)
  decoder = Decoder(spec, tokenizer, normalizer, codec, state=())
  values = decoder._tokens(params)
  decoder = dataclasses.replace(decoder, state=codec.fit(np.asarray(values)))
  return decoder, decoder.encode(params)


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
  """The zoo in the form that a generator learns from.

  Attributes:
    architecture: of all its networks.
    reference: the network that the others are aligned to.
    train: path -> [N, ...] raw training networks: ends of runs; of a single run whose trajectory is
      learned from, all its checkpoints, the end first.
    independent: whether `train` are of several runs.
    snapshots: path -> [S, ...] raw, what else is learned from of several runs, or None.
    heldout: path -> [M, ...] raw networks of the test split, or None.
    examples: 'train' for `train` and, behind them, `snapshots`; 'val'; and 'test' for `heldout`, if
      the config wants its likelihood -> 'latents' [n, T, D], canonical, tokenized, normalized and
      encoded, and 'condition' [n, C], if the config has that section; None for no networks.
    decoder: latents -> networks.
    load: reads the data that the networks of the zoo learned from.
  """

  architecture: model_lib.Model
  reference: typing.Params
  train: typing.StackedParams
  independent: bool
  snapshots: typing.StackedParams | None
  heldout: typing.StackedParams | None
  examples: Mapping[str, Mapping[str, np.ndarray] | None]
  decoder: Decoder
  load: Callable[[], datasets.Dataset]

  @functools.cached_property
  def dataset(self) -> datasets.Dataset:
    """What the networks of the zoo learned from; read when it is needed."""
    return self.load()

  @property
  def latents(self) -> np.ndarray:
    """[N + S, T, D] of the training examples."""
    return self.examples['train']['latents']

  @property
  def num_train(self) -> int:
    """Training networks N; as many rows of `latents` come first."""
    return len(next(iter(self.train.values())))


def prepare(
  config: ml_collections.ConfigDict,
  zoo: store.Zoo,
  load: Callable[[], datasets.Dataset] | None = None,
) -> Prepared:
  """Brings a zoo into the form that a generator learns from.

  All statistics are those of the training split; with `train.privacy`, of the split val, which is
  public then.

  Args:
    config: of the experiment.
    zoo: networks of one model.
    load: gives the data that they learned from; None reads what `config.zoo.dataset` names.

  Raises:
    ValueError: if the zoo has no training network, its networks differ in architecture or in task,
      or more of them are wanted than it has, or snapshots and it has none, or privacy is and it has
      no two networks in the split val.
  """
  strategy = generative.read(config.get('strategy', {}))
  check(config, None)
  rows = zoo.select(split='train')
  if not len(rows):
    raise ValueError(f'The zoo at {zoo.path} has no training network.')
  if strategy.num_train > len(rows):
    raise ValueError(
      f'strategy.num_train is {strategy.num_train}; the zoo has {len(rows)} training networks.'
    )
  rows = rows[: strategy.num_train or None]
  before = rows[:0]
  if strategy.trajectory:
    before = np.setdiff1d(base.rows_of_runs(zoo, rows), rows)
    if not len(before):
      raise ValueError(
        f'strategy.trajectory is set, and the zoo at {zoo.path} has no snapshots; '
        'zoo.recipe.snapshots lists the steps to keep.'
      )
  independent = len(rows) > 1
  if not independent:  # Then the checkpoints of that run are the population.
    rows, before = np.concatenate([rows, before]), rows[:0]
  rows, num = np.concatenate([rows, before]), len(rows)
  shown = zoo.params(rows)
  train = {path: value[:num] for path, value in shown.items()}
  architecture, known, is_private = zoo.model, shown, _is_private(config)
  val, heldout = zoo.select(split='val'), zoo.select(split='test')
  if is_private:
    if len(val) < 2:
      raise ValueError(
        f'train.privacy is set, and the zoo at {zoo.path} has {len(val)} networks in the split '
        'val, which stand for what is public; at least 2 are needed.'
      )
    known = zoo.params(val)
  reference = {path: value[0] for path, value in known.items()}
  canonical = functools.partial(
    canonicalize.canonicalize,
    spec=architecture.spec,
    mode=config.symmetry.canonicalize,
    reference=reference,
    restarts=config.symmetry.restarts,
    seed=config.seed,
  )
  decoder, latents = fit(
    canonical(known),
    architecture.spec,
    tokens=config.tokens,
    normalize=config.normalize,
    codec=config.codec,
  )
  if is_private:
    latents = decoder.encode(canonical(shown))
  decoder = dataclasses.replace(
    decoder, floors=_floors(architecture, known if is_private else train)
  )
  condition = _condition(config)

  def examples(rows: np.ndarray, latents: np.ndarray | None = None) -> Any:
    if not len(rows):
      return None
    if latents is None:
      latents = decoder.encode(canonical(zoo.params(rows)))
    if condition is None:
      return {'latents': latents}
    records = [zoo.records[row] for row in rows]
    return {'latents': latents, 'condition': condition.of_records(records)}

  return Prepared(
    architecture=architecture,
    reference=reference,
    train=train,
    independent=independent,
    snapshots={path: value[num:] for path, value in shown.items()} if len(before) else None,
    heldout=zoo.params(heldout) if len(heldout) else None,
    examples={
      'train': examples(rows, latents),
      'val': examples(val),
      'test': examples(heldout if config.evaluate.get('membership') else heldout[:0]),
    },
    decoder=decoder,
    load=load or functools.partial(_load, config, zoo),
  )


def _floors(model: model_lib.Model, params: typing.StackedParams) -> dict[str, float]:
  """Path -> smallest value, of parameters whose negative values give NaN, such as variances."""
  floats = {k: x for k, x in params.items() if jnp.issubdtype(x.dtype, jnp.floating)}
  least = {path: float(value.min(initial=np.inf)) for path, value in floats.items()}
  found = [path for path, value in floats.items() if least[path] >= 0 and value.any()]
  if not found:
    return {}
  example = getattr(model, 'example', None)
  dtype = np.float32 if example is None else example.dtype
  run = jax.jit(model.apply)
  inputs, first = np.zeros((1, *model.input_shape), dtype), {k: x[0] for k, x in params.items()}

  def works(changes: typing.Params) -> bool:
    return bool(np.isfinite(run(first | changes, inputs)).all())

  found = [path for path in found if works({}) and not works({path: -1 - first[path]})]
  return {path: least[path] / 2 for path in found}


def _is_private(config: ml_collections.ConfigDict) -> bool:
  """Whether training hides single networks."""
  return bool(config.get('train', {}).get('privacy'))


def check(config: ml_collections.ConfigDict, counts: Mapping[str, int] | None) -> None:
  """Raises ValueError as `prepare` would, as far as can be said before the zoo is trained.

  `counts` are the networks of its splits, None for a zoo that is imported.
  """
  strategy = generative.read(config.get('strategy', {}))
  _condition(config)
  if _is_private(config):
    # What depends on training networks in another way than through their gradients.
    told = {
      'condition': 'condition' in config,
      'strategy.trajectory': strategy.trajectory,
      'strategy.functional_relative': strategy.functional_relative,
      'strategy.min_diversity': strategy.min_diversity,
      f'generator.name {config.generator.name!r}, which is fitted at once,': hasattr(
        config_lib.find('generators', config.generator.name, 'generator'), 'fit'
      ),
      'strategy.distribution 0': not strategy.distribution,
    }
    if names := [name for name, is_set in told.items() if is_set]:
      raise ValueError(f'train.privacy is set; {names[0]} is not allowed with it.')
  labels = config.zoo.get('dataset', {}).get('labels', 'classes')
  if labels != 'classes':
    raise ValueError(
      f'zoo.dataset.labels is {labels!r}: every network has a task of its own, which is for a '
      "config with a section tasks; allowed: 'classes'."
    )
  if counts is None:
    return
  section = config.get('condition') or {}
  if section.get('name') == 'metric' and ':' not in config.zoo.dataset.name:
    known = ('psnr', 'loss') if config.zoo.architecture.name == 'siren' else ('accuracy', 'loss')
    if section.get('metric', 'accuracy') not in known:
      raise ValueError(
        f'condition.metric is {section.metric!r}; allowed for these networks: {", ".join(known)}.'
      )
  num = counts.get('train', 0)
  if num < 1:
    raise ValueError(f'zoo.splits.train is {num}; a generator needs at least 1 training network.')
  if strategy.num_train > num:
    raise ValueError(
      f'strategy.num_train is {strategy.num_train}; the zoo has {num} training networks.'
    )
  if strategy.trajectory and not config.zoo.recipe.get('snapshots'):
    raise ValueError(
      'strategy.trajectory is True, and zoo.recipe.snapshots is empty; it must list steps to keep.'
    )


def _load(config: ml_collections.ConfigDict, zoo: store.Zoo) -> datasets.Dataset:
  """Reads the data set that a config names.

  Raises:
    ValueError: if it names none, or as `datasets.load_for`.
  """
  if 'dataset' not in config.zoo:
    raise ValueError(
      'zoo.dataset is missing: the data that the networks of the zoo learned from, '
      "such as dict(name='path/to/data.py:load')."
    )
  return datasets.load_for(zoo.records, **config.zoo.dataset)


def _condition(config: ml_collections.ConfigDict) -> Any:
  """Builds the plug-in of the section `condition`; None without it.

  Raises:
    ValueError: if the generator takes conditions of another size.
  """
  section = config.get('condition')
  size = config.generator.get('condition_size', 0)
  if section is None:
    if size:
      raise ValueError(f'generator.condition_size is {size}, and there is no section condition.')
    return None
  condition = config_lib.build('generators.conditions', section)
  if condition.size != size:
    raise ValueError(
      f'The condition {section.name!r} has {condition.size} features; generator.condition_size of '
      f'{config.generator.name!r} is {size}, and a family without it takes no condition.'
    )
  return condition
