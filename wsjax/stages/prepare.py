"""First stage: a zoo, and the form of it that a generator learns from."""

import dataclasses
import functools
import pathlib

import ml_collections
import numpy as np

from wsjax import typing
from wsjax.generate import decode
from wsjax.symmetry import canonicalize
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
    latents: [N, T, D] `train`: canonical, tokenized, normalized, encoded.
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
    ValueError: if the zoo has no training network, or its networks differ in
      architecture.
  """
  train = _final(zoo, 'train')
  if train is None:
    raise ValueError(f'The zoo at {zoo.path} has no training network.')
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
