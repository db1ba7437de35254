"""First stage: a zoo, and the form of it that a generator learns from."""

import dataclasses
import functools
import pathlib

import ml_collections
import numpy as np

from wsjax import typing
from wsjax.generate import decode
from wsjax.symmetry import canonicalize
from wsjax.train import generative
from wsjax.zoo import architecture as architecture_lib
from wsjax.zoo import build, shards, store


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
  """The zoo in the form that a generator learns from.

  Attributes:
    zoo: checkpoints and records.
    architecture: of all its networks.
    reference: the network that the others are aligned to.
    train: path -> [N, ...] raw training networks.
    heldout: path -> [M, ...] raw networks of the test split, or None.
    latents: [L, T, D] `train`: canonical, tokenized, normalized, encoded;
      behind them, where trajectories are learned from, their snapshots.
    val_latents: [V, T, D] the same of the validation split, or None.
    decoder: latents -> networks.
  """

  zoo: store.Zoo
  architecture: architecture_lib.Architecture
  reference: typing.Params
  train: typing.StackedParams
  heldout: typing.StackedParams | None
  latents: np.ndarray
  val_latents: np.ndarray | None
  decoder: decode.Decoder


def open_zoo(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, *, progress: bool
) -> store.Zoo:
  """The zoo of a config: bred, gone on with, or opened where it is ready.

  A section with `family` names an importer and is never bred.

  Raises:
    ValueError: as `build.build`; or if an imported zoo is not there.
  """
  section = config.zoo.to_dict()
  path = pathlib.Path(section.pop('path') or workdir / 'zoo')
  if family := section.get('family'):
    if not (path / shards.MANIFEST).exists():
      raise ValueError(
        f'{path} holds no zoo of {family}; make it with: wsjax zoo import '
        f'{family} --from DIR --out {path}'
      )
    return store.Zoo.open(path)
  return build.build(section, path, seed=config.seed, progress=progress)


def prepare(config: ml_collections.ConfigDict, zoo: store.Zoo) -> Prepared:
  """Brings a zoo into the form that a generator learns from.

  All statistics are those of the training split.

  Raises:
    ValueError: if the zoo has no training network, its networks differ in
      architecture, or more of them are wanted than it has, or snapshots and
      it has none.
  """
  strategy = generative.read(config.get('strategy', {}))
  train = _final(zoo, 'train')
  if train is None:
    raise ValueError(f'The zoo at {zoo.path} has no training network.')
  train = _first(train, strategy.num_train)
  architecture = architecture_lib.from_record(
    zoo.records[0]['arch_id'], zoo.records[0]['arch_config']
  )
  reference = {path: value[0] for path, value in train.items()}
  canonical = functools.partial(
    canonicalize.canonicalize,
    spec=architecture.spec,
    mode=config.symmetry.canonicalize,
    reference=reference,
    restarts=config.symmetry.restarts,
    seed=config.seed,
  )
  decoder, latents = decode.fit(
    canonical(train),
    architecture.spec,
    tokens=config.tokens,
    normalize=config.normalize,
    embed=config.embed,
  )
  if strategy.trajectory:
    latents = np.concatenate(
      [latents, decoder.encode(canonical(_snapshots(zoo, strategy)))]
    )
  val = _final(zoo, 'val')
  return Prepared(
    zoo=zoo,
    architecture=architecture,
    reference=reference,
    train=train,
    heldout=_final(zoo, 'test'),
    latents=latents,
    val_latents=None if val is None else decoder.encode(canonical(val)),
    decoder=decoder,
  )


def _final(zoo: store.Zoo, split: str) -> typing.StackedParams | None:
  """Final weights of the runs of a split that did not diverge, or None."""
  indices = zoo.select(split=split, final=True, diverged=False)
  return zoo.params(indices) if len(indices) else None


def _first(train: typing.StackedParams, num: int) -> typing.StackedParams:
  """The first `num` networks, 0 for all."""
  count = len(next(iter(train.values())))
  if num > count:
    raise ValueError(
      f'strategy.num_train is {num}; the zoo has {count} training networks.'
    )
  return {path: value[: num or count] for path, value in train.items()}


def _snapshots(
  zoo: store.Zoo, strategy: generative.Strategy
) -> typing.StackedParams:
  """Weights of the training runs that are learned from, before their end."""
  every = zoo.select(split='train', diverged=False)
  final = zoo.select(split='train', final=True, diverged=False)
  runs = {zoo.records[i]['run_id'] for i in final[: strategy.num_train or None]}
  indices = np.array(
    [i for i in np.setdiff1d(every, final) if zoo.records[i]['run_id'] in runs],
    int,
  )
  if not len(indices):
    raise ValueError(
      f'strategy.trajectory is set, and the zoo at {zoo.path} has no '
      'snapshots; zoo.recipe.snapshots lists the steps to keep.'
    )
  return zoo.params(indices)
