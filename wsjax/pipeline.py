"""Runs: from one config to a zoo, trained models, predictions and a report.

Each stage leaves its result in the work directory, where an interrupted run goes on:

  run.json             config, overrides and versions, written before the first step
  stages.json          wall seconds per stage, summed over restarts
  zoo/                 the published zoo, unless config.zoo.path names another
  train/seed0/         checkpoints of a model, one directory per training seed
  samples/seed0/       generated networks, published as a zoo
  report.json, .html   the result; a run that has both is finished
"""

import contextlib
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections
import numpy as np

from wsjax import config as config_lib
from wsjax import distributed, files, manifest
from wsjax.evaluation.report import html, model
from wsjax.experiments import base, configs
from wsjax.train import loop
from wsjax.zoo import comparable
from wsjax.zoo.store import store


def run(
  config: ml_collections.ConfigDict,
  workdir: str | pathlib.Path,
  *,
  overrides: Mapping[str, Any] | None = None,
  progress: bool = True,
) -> model.Report:
  """Runs an experiment to its report, from wherever it stopped last time.

  Args:
    config: sections named after the rooms; fields that are not given have their defaults.
    workdir: directory of this run.
    overrides: fields that the command line changed in the config, for the report.
    progress: whether to show progress bars.

  Raises:
    ValueError: if a field of the config is wrong, or the work directory belongs to another config
      or is written to by another run.
    loop.Interrupted: after SIGTERM or Ctrl-C, with everything saved.
  """
  workdir = files.folder(workdir, 'workdir')
  config = configs.with_defaults(config)
  configs.check(config)
  with _held(workdir):
    stages = manifest.open_run(workdir, config, overrides or {})
    if (workdir / 'report.json').exists():
      return _read(workdir)
    kind = base.find(config.get('experiment', ''))
    with stages.stage('zoo'):
      zoo = base.open_zoo(config, workdir, progress=progress)
    with stages.stage('prepare'):
      experiment = kind(configs.filled(config, kind), zoo)
    experiment.workdir, experiment.progress = workdir, progress
    experiment.seconds = stages.seconds
    predictions, history = [], {}
    for seed in config.train.seeds:
      with stages.stage('train'):
        params, history = experiment.fit(seed)
      with stages.stage('predict'):
        predictions.append(experiment.predict(params, seed))
    with stages.stage('evaluate'):
      report = experiment.report(predictions)
    report.figures |= base.training_figures(history)
    if distributed.is_writer() and (workdir / 'samples').exists():
      with stages.stage('gates'):
        _add_gates(report, experiment)
    examples = len(jax.tree.leaves(experiment.train)[0])
    if history and (note := loop.batch_note(config.train.batch_size, examples)):
      report.notes.append(note)
    return _write(report, config.experiment, workdir, stages)


def sample(
  workdir: str | pathlib.Path,
  *,
  num: int,
  seed: int,
  out: str | pathlib.Path,
  watermark: str | pathlib.Path | None = None,
) -> pathlib.Path:
  """Samples new networks from the generator of a finished run, which is only read.

  Args:
    workdir: of `run`.
    num: number of networks.
    seed: of the samples.
    out: directory of the new zoo, which is returned.
    watermark: file with the key that marks them; None is that of the run, if it has one.

  Raises:
    ValueError: if the work directory has no trained generator, its zoo is not there, `out` is taken
      or belongs to other samples, or samples of the generator cannot be marked.
  """
  from wsjax.experiments import generation  # Slow to import, and not needed by other experiments.

  workdir, out = files.folder(workdir, 'workdir'), files.folder(out, 'out')
  config_lib.check_seed(seed, 'seed')
  if num < 1:
    raise ValueError(f'num is {num}; at least 1 is allowed.')
  config = manifest.load_config(workdir)
  if watermark is not None:
    with config.unlocked():
      config.sample = config.get('sample', {})
      config.sample.watermark = str(watermark)
  zoo = base.open_zoo(config, workdir, progress=False, trains=False)
  experiment = generation.of_run(config, zoo, workdir)
  params, _ = experiment.fit(config.train.seeds[0], trains=False)
  networks = experiment.draw(params, num, seed)
  if distributed.is_writer():
    with files.hold(out):
      experiment.publish(params, networks, out, seed)
  return out


def evaluate_zoo(
  config: ml_collections.ConfigDict, workdir: str | pathlib.Path, zoo_path: str | pathlib.Path
) -> model.Report:
  """Evaluates the networks of any zoo as if they were generated, or reads a finished evaluation.

  Args:
    config: names the zoo that they are compared with.
    workdir: directory of this evaluation.
    zoo_path: networks of the architecture of that zoo, of any origin; its name is in the report.

  Raises:
    ValueError: if the models or the data that they learned from differ, the work directory belongs
      to a run or to another evaluation, or a field of the config is wrong.
  """
  # Slow to import, and not needed by other experiments.
  from wsjax.evaluation import methods
  from wsjax.experiments import generation

  workdir, zoo_path = files.folder(workdir, 'workdir'), files.folder(zoo_path, 'zoo')
  config = configs.with_defaults(config)
  configs.check(config)
  given = store.Zoo.open(zoo_path)
  with _held(workdir):
    stages = manifest.open_run(workdir, config, {'zoo': str(zoo_path)}, evaluates=given.digest)
    if (workdir / 'report.json').exists():
      return _read(workdir)
    with stages.stage('zoo'):
      zoo = base.open_zoo(config, workdir, progress=True)
    unknown = comparable.check(given, zoo)
    experiment = generation.of_run(config, zoo, workdir)
    experiment.seconds, experiment.progress = stages.seconds, True
    params = given.params(np.arange(len(given)))
    experiment.data.architecture.spec.check(params, stacked=True)
    # 'zoo' or 'retrieval' would be the name of a baseline.
    method = methods.Method(f'given: {zoo_path.resolve().name}', 'model', params)
    with stages.stage('evaluate'):
      report = experiment.compare([method])
    report.notes += unknown
    return _write(report, config.experiment, workdir, stages)


def _add_gates(report: model.Report, experiment: base.Experiment) -> None:
  """Says which gates a release of generated networks would pass."""
  from wsjax.experiments import sections  # Not needed by other experiments, like the gates.
  from wsjax.governance import gates
  from wsjax.zoo.store import published

  paths = [experiment.workdir / f'samples/seed{seed}' for seed in experiment.config.train.seeds]
  samples = [store.Zoo.open(path) for path in paths if (path / published.MANIFEST).exists()]
  if not samples:
    return
  section = experiment.config.get('gates', {})
  decisions = gates.of_run(
    experiment.zoo, samples, report.plain(), config_lib.read(sections.Gates, 'gates', section)
  )
  report.findings['Release'] = gates.sentence(decisions)
  report.facts['Gates of a release'] = {
    f'{decision.gate} {gates.GATES[decision.gate]}': str(decision) for decision in decisions
  }


def _read(workdir: pathlib.Path) -> model.Report:
  """The report of a finished run; its page is rendered again if it is gone."""
  report = model.load(workdir)
  if not (workdir / 'report.html').exists() and distributed.is_writer():
    report.write(workdir, html.page)
  return report


def _write(
  report: model.Report, experiment: str, workdir: pathlib.Path, stages: manifest.Stages
) -> model.Report:
  """Adds the facts about the run to its report, and writes it."""
  report.experiment = experiment
  report.run, notes = manifest.of_run(workdir, stages)
  report.notes += notes
  if distributed.is_writer():
    report.write(workdir, html.page)
  distributed.barrier('report')
  return report


def _held(workdir: pathlib.Path) -> contextlib.AbstractContextManager[None]:
  """Holds a work directory against other writers; a finished one is only read."""
  if (workdir / 'report.json').exists() or not distributed.is_writer():
    return contextlib.nullcontext()
  return files.hold(workdir)
