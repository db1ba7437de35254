"""Loops of experiments that end in something else than a zoo.

Each fits one model per training seed, asks it, and judges all answers together;
it returns the parts of the report that are its own.
"""

import pathlib
from typing import Any

import ml_collections

from wsjax.stages import (
  editing,
  manifest,
  prompting,
  prompting_scores,
  unseen_tasks,
)
from wsjax.zoo import store


def edit(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  zoo: store.Zoo,
  stages: manifest.Stages,
  *,
  progress: bool,
) -> dict[str, Any]:
  """Fits editors of networks, and judges what edited networks draw."""
  with stages.stage('prepare'):
    prepared = editing.prepare(zoo)
  edited, history, module, variables = [], {}, None, None
  for seed in config.train.seeds:
    with stages.stage('train'):
      module, variables, history = editing.fit(
        config, prepared, workdir, seed=seed, progress=progress
      )
    with stages.stage('evaluate'):
      edited.append(editing.edit(module, variables, prepared.splits['test']))
  with stages.stage('evaluate'):
    result = editing.judge(config, prepared, edited)
  seconds = stages.seconds['train'] / len(config.train.seeds)
  described = editing.describe(config, prepared, module, variables, seconds)
  return result | described | {'training': history}


def solve_tasks(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  zoo: store.Zoo,
  stages: manifest.Stages,
  *,
  progress: bool,
) -> dict[str, Any]:
  """Fits generators of networks for tasks, and judges them on unseen ones."""
  with stages.stage('prepare'):
    prepared = unseen_tasks.prepare(config, zoo)
  made, history, variables = [], {}, None
  for seed in config.train.seeds:
    with stages.stage('train'):
      module, variables, history = unseen_tasks.fit(
        config, prepared, workdir, seed=seed, progress=progress
      )
    with stages.stage('generate'):
      given = unseen_tasks.requests(config, prepared)
      made.append(unseen_tasks.generate(module, variables, given))
  with stages.stage('evaluate'):
    result = unseen_tasks.judge(config, prepared, made)
  seconds = stages.seconds['train'] / len(config.train.seeds)
  described = unseen_tasks.describe(config, prepared, variables, seconds)
  return result | described | {'training': history}


def prompt(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  zoo: store.Zoo,
  stages: manifest.Stages,
  *,
  progress: bool,
) -> dict[str, Any]:
  """Fits updates by a prompt, and judges what came of those asked for."""
  with stages.stage('prepare'):
    prepared = prompting.prepare(config, zoo)
  answers, history, variables = [], {}, None
  for seed in config.train.seeds:
    with stages.stage('train'):
      module, variables, history = prompting.fit(
        config, prepared, workdir, seed=seed, progress=progress
      )
    with stages.stage('evaluate'):
      answers.append(prompting.answer(config, prepared, module, variables))
  with stages.stage('evaluate'):
    result = prompting_scores.judge(config, prepared, answers)
  seconds = stages.seconds['train'] / len(config.train.seeds)
  described = prompting.describe(config, prepared, variables, seconds)
  return result | described | {'training': history}
