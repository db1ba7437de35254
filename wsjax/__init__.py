"""wsjax: neural-network weights as a data modality, in JAX.

  zoo = wsjax.import_checkpoints(model, 'ckpts/*.pt', 'runs.csv')
  zoo = wsjax.Zoo.of(model, params, records)      networks of your own, with their records
  vectors = wsjax.encode(zoo, 'neural_functional')  one per network
  generator = wsjax.fit(zoo, 'hypernetwork', task=(x, y))
  report = wsjax.evaluate(generator.sample(64), zoo, data=(test_x, test_y))
  spec = wsjax.infer(apply, params, x).spec       the symmetry of any JAX function
  report = wsjax.run(config, workdir)             an experiment from its config

Names are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from wsjax import config, interop, testing
  from wsjax.evaluation.metric import Metric, metric
  from wsjax.evaluation.report.model import Report
  from wsjax.experiments.architect.prediction import predict_weights
  from wsjax.experiments.base import Experiment
  from wsjax.experiments.configs import load_config
  from wsjax.experiments.deploy.fit import deploy, quantize
  from wsjax.fusion.editing import edit, edit_files
  from wsjax.fusion.merging import merge
  from wsjax.fusion.stream import merge_files
  from wsjax.generators.generator import Generator
  from wsjax.interop.exporting import export
  from wsjax.interop.importing import import_checkpoints
  from wsjax.models.cnn import CNN as cnn
  from wsjax.models.mlp import MLP as mlp
  from wsjax.models.model import Model
  from wsjax.models.siren import SIREN as siren
  from wsjax.networks import Networks
  from wsjax.own_networks import FittedGenerator, encode, evaluate, fit, survey
  from wsjax.personalizer import Personalizer
  from wsjax.pipeline import evaluate_zoo, run, sample
  from wsjax.symmetry.inference.infer import infer, verify
  from wsjax.symmetry.spec import Spec
  from wsjax.train.objective import Objective
  from wsjax.zoo.build import build as build_zoo
  from wsjax.zoo.data.datasets import Dataset
  from wsjax.zoo.store.store import Zoo

__version__ = '0.1.0'

# Name -> where it is defined: 'module:name', or a module.
_WHERE = {
  'Dataset': 'zoo.data.datasets:Dataset',
  'Experiment': 'experiments.base:Experiment',
  'FittedGenerator': 'own_networks:FittedGenerator',
  'Generator': 'generators.generator:Generator',
  'Metric': 'evaluation.metric:Metric',
  'Model': 'models.model:Model',
  'Networks': 'networks:Networks',
  'Objective': 'train.objective:Objective',
  'Personalizer': 'personalizer:Personalizer',
  'Report': 'evaluation.report.model:Report',
  'Spec': 'symmetry.spec:Spec',
  'Zoo': 'zoo.store.store:Zoo',
  'build_zoo': 'zoo.build:build',
  'cnn': 'models.cnn:CNN',
  'config': 'config',
  'deploy': 'experiments.deploy.fit:deploy',
  'edit': 'fusion.editing:edit',
  'edit_files': 'fusion.editing:edit_files',
  'encode': 'own_networks:encode',
  'evaluate': 'own_networks:evaluate',
  'evaluate_zoo': 'pipeline:evaluate_zoo',
  'export': 'interop.exporting:export',
  'fit': 'own_networks:fit',
  'import_checkpoints': 'interop.importing:import_checkpoints',
  'infer': 'symmetry.inference.infer:infer',
  'interop': 'interop',
  'load_config': 'experiments.configs:load_config',
  'merge': 'fusion.merging:merge',
  'merge_files': 'fusion.stream:merge_files',
  'metric': 'evaluation.metric:metric',
  'mlp': 'models.mlp:MLP',
  'predict_weights': 'experiments.architect.prediction:predict_weights',
  'quantize': 'experiments.deploy.fit:quantize',
  'run': 'pipeline:run',
  'sample': 'pipeline:sample',
  'siren': 'models.siren:SIREN',
  'survey': 'own_networks:survey',
  'testing': 'testing',
  'verify': 'symmetry.inference.infer:verify',
}
__all__ = [
  'Dataset', 'Experiment', 'FittedGenerator', 'Generator', 'Metric', 'Model', 'Networks',
  'Objective', 'Personalizer', 'Report', 'Spec', 'Zoo', 'build_zoo', 'cnn', 'config', 'deploy',
  'edit', 'edit_files', 'encode', 'evaluate', 'evaluate_zoo', 'export', 'fit', 'import_checkpoints',
  'infer', 'interop', 'load_config', 'merge', 'merge_files', 'metric', 'mlp', 'predict_weights',
  'quantize', 'run', 'sample', 'siren', 'survey', 'testing', 'verify', '__version__',
]  # fmt: skip


def __getattr__(name: str) -> Any:
  """Imports a public name when it is first used."""
  if name not in _WHERE:
    raise AttributeError(f'wsjax has no {name!r}; it has {", ".join(sorted(_WHERE))}.')
  module, _, attribute = _WHERE[name].partition(':')
  found: Any = importlib.import_module(f'{__name__}.{module}')
  if attribute:
    found = getattr(found, attribute)
  globals()[name] = found
  return found


def __dir__() -> list[str]:
  """Lists the public names."""
  return sorted(__all__)
