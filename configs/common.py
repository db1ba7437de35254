"""Blocks that several configs share; a config states what it changes."""

from typing import Any

from ml_collections import config_dict


def start(name: str, experiment: str) -> config_dict.ConfigDict:
  """A config without sections, of seed 0."""
  return config_dict.ConfigDict(dict(name=name, seed=0, experiment=experiment))


def train(**changes: Any) -> dict[str, Any]:
  """The section train: AdamW with a cosine schedule, clipping and an average of the parameters."""
  return (
    dict(
      seeds=(0,),
      batch_size=64,
      learning_rate=1e-3,
      warmup_steps=200,
      schedule='cosine',
      final_learning_rate=0.0,
      weight_decay=1e-2,
      clip_norm=1.0,
      ema_decay=0.999,
      inner_steps=250,
      checkpoint_every_steps=1_000,
      mesh=(('data', -1),),
    )
    | changes
  )


def recipe(**changes: Any) -> dict[str, Any]:
  """Training of the classifiers of a zoo: Adam without weight decay."""
  return (
    dict(
      optimizer='adam',
      learning_rate=3e-3,
      weight_decay=0.0,
      momentum=0.9,
      batch_size=64,
      snapshots=(),
    )
    | changes
  )


def flow_matching(**changes: Any) -> dict[str, Any]:
  """The section generator: flow matching from a Gaussian, by an MLP for flat latents."""
  return (
    dict(
      name='flow_matching',
      backbone=dict(name='mlp', width=256, depth=3, dropout=0.1),
      source_std=1.0,
      source_draws=0,
      path_std=0.0,
      solver='heun',
      num_steps=32,
      coupling='independent',
    )
    | changes
  )


def diffusion(**changes: Any) -> dict[str, Any]:
  """The section generator: diffusion of latents with a standard deviation of 1."""
  return (
    dict(
      name='diffusion',
      backbone=dict(name='mlp', width=256, depth=3, dropout=0.1),
      data_std=1.0,
      sigma_min=0.002,
      sigma_max=80.0,
      solver='heun',
      num_steps=32,
    )
    | changes
  )


def digits_zoo(
  *, steps: int = 400, snapshots: tuple[int, ...] = (), **splits: int
) -> dict[str, Any]:
  """The section zoo: networks 64-16-10 on the digits of scikit-learn, in the workdir."""
  return dict(
    path='',  # Empty: the zoo lives in the workdir.
    architecture=dict(name='mlp', widths=(64, 16, 10), activation='relu'),
    dataset=dict(name='digits', val_fraction=0.1),
    recipe=recipe(steps=steps, snapshots=snapshots),
    splits=dict(train=512, val=64, test=128, holdout_audit=64) | splits,
    chunk_size=64,
  )


def smoke(c: config_dict.ConfigDict, **splits: int) -> None:
  """Makes every stage of a config take seconds."""
  c.zoo.splits = dict(train=16, val=2, test=8, holdout_audit=2) | splits
  c.zoo.recipe.steps = 20
  c.train.steps, c.train.inner_steps, c.train.warmup_steps = 4, 2, min(c.train.warmup_steps, 2)
  c.train.checkpoint_every_steps = 2
  c.evaluate.update(num_samples=8, num_bootstrap=50, finetune_steps=2)
