"""Third stage: generators stand beside the whole baseline panel."""

from typing import Any

import ml_collections

from wsjax.evaluation import baselines, evaluator
from wsjax.evaluation import methods as arms_lib
from wsjax.evaluation import reference as reference_lib
from wsjax.experiments import inr_generation, prepare, sampling
from wsjax.zoo import build


def check(config: ml_collections.ConfigDict, prepared: prepare.Prepared) -> None:
  """Checks what evaluation is asked for, before anything is trained.

  Raises:
    ValueError: for metrics that are not known, or that are not for such networks.
  """
  section = config.evaluate
  names = tuple(section.get('metrics', ()))
  evaluator.check(names, section.get('metric_limits'))
  task = prepared.architecture.task
  if names and task != 'classification':
    raise ValueError(
      f'evaluate.metrics are for classifiers, not for {task}; got {names}. Allowed is ().'
    )


def judge(
  config: ml_collections.ConfigDict,
  prepared: prepare.Prepared,
  generators: list[arms_lib.Method],
  *,
  progress: bool = True,
) -> dict[str, Any]:
  """Measures generators beside the whole baseline panel.

  Classifiers are judged here, networks that draw in `pictures`.

  Returns:
    The parts of the report that come from evaluation.
  """
  if prepared.architecture.task == 'image_fitting':
    return inr_generation.judge(config, prepared, generators, progress=progress)
  dataset = prepared.dataset
  section = config.evaluate
  limits = section.get('metric_limits')
  reference = reference_lib.Reference(
    architecture=prepared.architecture,
    test_x=dataset.test_x,
    test_y=dataset.test_y,
    train=prepared.train,
    snapshots=prepared.snapshots,
    independent=prepared.independent,
    heldout=prepared.heldout,
    reference=prepared.reference,
    restarts=config.symmetry.restarts,
    finetune=sampling.finetune(config, prepared),
    finetune_steps=(section.finetune_steps,),
    fresh_seconds=build.seconds_per_network(prepared.zoo.path),
    num_bootstrap=section.num_bootstrap,
    seed=config.seed,
  )
  panel = baselines.panel(reference, num_samples=section.num_samples, seed=config.seed)
  result = evaluator.evaluate(
    [*generators, *panel],
    reference,
    progress=progress,
    metrics=tuple(section.get('metrics', ())),
    limits=limits.to_dict() if limits else None,
  )
  result['zoo'] |= {
    'path': str(prepared.zoo.path),
    'digest': prepared.zoo.digest,
    'dataset': dataset.name,
  }
  return result
