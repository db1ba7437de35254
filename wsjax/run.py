"""The loop: from one config to a zoo, generators, samples and a report.

The only file that knows every room. Each stage leaves its result in the workdir, so a run that was
interrupted goes on where it stopped:

  run.json             config, overrides and versions, written before step 0
  stages.json          wall seconds per stage, summed over restarts
  zoo/                 the published zoo, unless config.zoo.path names another
  train/seed0/         checkpoints of a model, one folder per training seed
  outputs.npz          what predictors of a property said
  samples/seed0/       its networks, published as a zoo
  report.json, .html   the result; a run that has it is finished
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np

from wsjax import config as config_lib
from wsjax import distributed, files, lock
from wsjax.evaluation import methods as arms_lib
from wsjax.evaluation.report import html, model
from wsjax.experiments import (
  base,
  generators,
  judge,
  likelihoods,
  manifest,
  prepare,
  reports,
  sampling,
)
from wsjax.zoo.store import store


def run(
  config: ml_collections.ConfigDict,
  workdir: str | pathlib.Path,
  *,
  overrides: Mapping[str, Any] | None = None,
  progress: bool = True,
) -> dict[str, Any]:
  """Runs an experiment to its report, from wherever it stopped last time.

  Args:
    config: sections named after the rooms; see configs/digits_flow.py.
    workdir: folder of this run.
    overrides: what the command line changed in the config, for the report.
    progress: whether to show progress bars.

  Returns:
    The report, as in report.json.

  Raises:
    ValueError: if the workdir belongs to another config, another run is writing to it, or as a room
      says.
    loop.Interrupted: after SIGTERM or Ctrl-C, with everything saved.
  """
  workdir = files.folder(workdir, 'workdir')
  prepare.check(config)
  with _held(workdir):
    return _run(config, workdir, overrides or {}, progress=progress)


def _held(workdir: pathlib.Path) -> contextlib.AbstractContextManager[None]:
  """A workdir against other writers; one that is finished is only read."""
  if (workdir / 'report.json').exists() or not distributed.is_writer():
    return contextlib.nullcontext()
  return lock.hold(workdir)


def _run(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  overrides: Mapping[str, Any],
  *,
  progress: bool,
) -> dict[str, Any]:
  """`run` of a workdir that nobody else writes to."""
  stages = manifest.open_run(workdir, config, overrides)
  if (workdir / 'report.json').exists():
    report = reports.load(workdir)
    # Without its page it was not written to the end, or the page was removed.
    if not (workdir / 'report.html').exists() and distributed.is_writer():
      reports.write(report, workdir)
    return report
  with stages.stage('zoo'):
    zoo = prepare.open_zoo(config, workdir, progress=progress)
  if 'experiment' in config:
    return _experiment(config, workdir, zoo, stages, progress=progress)
  result = _generate(config, workdir, zoo, stages, progress=progress)
  result |= manifest.describe(workdir) | {'wall_seconds': stages.seconds}
  result['notes'] += result.pop('remarks', [])
  if distributed.is_writer():
    reports.write(result, workdir)
  distributed.barrier('report')
  return result


def _experiment(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  zoo: store.Zoo,
  stages: manifest.Stages,
  *,
  progress: bool,
) -> model.Report:
  """Trains the models of an experiment and reports on their predictions."""
  kind = base.find(config.experiment)
  with stages.stage('prepare'):
    experiment = kind(config, zoo)
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
  report.experiment = config.experiment
  report.figures |= base.training_figures(history)
  report.run, notes = manifest.of_run(workdir, stages)
  report.notes += notes
  if distributed.is_writer():
    report.write(workdir, html.page)
  distributed.barrier('report')
  return report


def _generate(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  zoo: store.Zoo,
  stages: manifest.Stages,
  *,
  progress: bool,
) -> dict[str, Any]:
  """Fits generators, samples, and judges them beside the baselines."""
  with stages.stage('prepare'):
    prepared = prepare.prepare(config, zoo)
    judge.check(config, prepared)
    if config.evaluate.get('membership'):
      likelihoods.check(prepared, config_lib.build('generators', config.generator))
  arms, history, known = [], {}, []
  for seed in config.train.seeds:
    with stages.stage('train'):
      generator, params, history = generators.fit(
        config, prepared, workdir, seed=seed, progress=progress
      )
    with stages.stage('sample'):
      arms.append(generators.sampled_arm(config, prepared, workdir, generator, params, seed))
    if config.evaluate.get('membership'):
      with stages.stage('evaluate'):
        known.append(likelihoods.compare(config, prepared, generator, params, seed))
  arm = dataclasses.replace(
    arms_lib.merge(arms, config.generator.name), fit_seconds=manifest.train_seconds(workdir, stages)
  )
  with stages.stage('evaluate'):
    result = judge.judge(config, prepared, [arm], progress=progress)
  return result | {
    'training': history,
    'membership': known,
    'remarks': [*sampling.remarks(config), *(likelihoods.remark(found) for found in known)],
  }


def sample(
  workdir: str | pathlib.Path, *, num: int, seed: int, out: str | pathlib.Path
) -> pathlib.Path:
  """Draws new networks from the generator of a finished run.

  Args:
    workdir: of `run`.
    num: how many networks.
    seed: of the draw; the same seed gives the same networks.
    out: folder of the new zoo.

  Returns:
    `out`.

  Only `out` is written to: no zoo and no generator is trained, and the run may be read-only.

  Raises:
    ValueError: if the workdir has no trained generator, its zoo is not there, or `out` is taken or
      belongs to another draw.
  """
  workdir, out = files.folder(workdir, 'workdir'), files.folder(out, 'out')
  config_lib.check_seeds((seed,), 'seed')
  if num < 1:
    raise ValueError(f'num is {num}; at least 1 is allowed.')
  config = manifest.load_config(workdir)
  if 'generator' not in config:
    raise ValueError(f'The run in {workdir} has no generator to draw from.')
  prepared = prepare.prepare(
    config, prepare.open_zoo(config, workdir, progress=False, trains=False)
  )
  generator, params, _ = generators.fit(
    config, prepared, workdir, seed=config.train.seeds[0], trains=False
  )
  networks = sampling.draw(config, prepared, generator, params, num, seed)
  if distributed.is_writer():
    with lock.hold(out):
      generators.publish(config, prepared, params, networks, out, seed)
  return out


def evaluate_zoo(
  config: ml_collections.ConfigDict, workdir: str | pathlib.Path, zoo_path: str | pathlib.Path
) -> dict[str, Any]:
  """Judges the networks of any zoo as if they were generated.

  Args:
    config: names the zoo that they are measured against.
    workdir: folder of this evaluation.
    zoo_path: networks of the same architecture, whoever made them.

  Returns:
    The report; its one generator arm is called after the folder. An evaluation that is finished
    is only read.

  Raises:
    ValueError: if the architectures differ, the workdir belongs to a run or to another evaluation,
      or as a room says.
  """
  workdir, zoo_path = files.folder(workdir, 'workdir'), files.folder(zoo_path, 'zoo')
  prepare.check(config)
  given = store.Zoo.open(zoo_path)
  with _held(workdir):
    stages = manifest.open_run(workdir, config, {'zoo': str(zoo_path)}, evaluates=given.digest)
    if (workdir / 'report.json').exists():
      return reports.load(workdir)
    with stages.stage('zoo'):
      prepared = prepare.prepare(config, prepare.open_zoo(config, workdir, progress=True))
    params = given.params(np.arange(len(given)))
    prepared.architecture.spec.check(params, stacked=True)
    # 'zoo' or 'retrieval' would be the name of a baseline.
    name = f'given: {zoo_path.resolve().name}'
    arm = arms_lib.Method(name, 'generator', params)
    with stages.stage('evaluate'):
      result = judge.judge(config, prepared, [arm])
    result |= manifest.describe(workdir) | {'wall_seconds': stages.seconds}
    reports.write(result, workdir)
  return result
