"""Predicts a property of networks from their weights."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import ml_collections
import numpy as np
import scipy.special
import scipy.stats

from wsjax import config as config_lib
from wsjax import distributed, files, typing
from wsjax.encoders import examples as examples_lib
from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation import predictions as predictions_lib
from wsjax.evaluation.report import model
from wsjax.experiments import base, sections
from wsjax.heads import classifier, prediction, regressor
from wsjax.train import augment, loop, pretrain, supervised
from wsjax.zoo import targets
from wsjax.zoo.store import store

# Share of test networks that an interval of a regressor should hold.
COVERAGE = 0.9

METRICS = (
  metric_lib.Metric('accuracy', 'accuracy', better='higher', format='.2%',
                    doc='Share of networks whose class is predicted.'),
  metric_lib.Metric('nll', 'NLL', unit='nats', better='lower', format='.3f', heading='NLL nats',
                    doc='Negative log-likelihood of the class.'),
  metric_lib.Metric('brier', 'Brier score', better='lower', format='.4f', heading='Brier',
                    doc='Squared error of the probabilities, summed over classes.'),
  metric_lib.Metric('ece', 'ECE', better='lower', format='.2%',
                    doc='Expected calibration error with 15 bins (arXiv:1706.04599).'),
  metric_lib.Metric('tau', "Kendall's τ", better='higher', format='.4f',
                    doc='Rank correlation tau-b of prediction and truth.'),
  metric_lib.Metric('r2', 'R²', better='higher', format='.4f',
                    doc='Explained share of the variance of the truth.'),
  metric_lib.Metric('mae', 'mean error', better='lower', format='.4f',
                    doc='Mean absolute error, in units of the property.'),
  metric_lib.Metric('coverage', 'coverage of intervals', format='.1%', heading='in 90 % interval,',
                    doc='Share of networks inside their 90 % interval (split conformal).'),
  metric_lib.Metric('width', 'width of intervals', better='lower', format='.4f',
                    heading='its width', doc='Mean width of the 90 % intervals.'),
  metric_lib.Metric('num_params', 'parameters', format=',.0f',
                    doc='Parameters of the encoder and its head.'),
  metric_lib.Metric('train_seconds', 'training time', unit='s', format='.0f', heading='training s',
                    doc='Wall time of training per seed.'),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Section(config_lib.Section):
  """The section `property`.

  Attributes:
    target: what is predicted, see `targets.load`.
    num_train: networks to train on, the first ones; 0 is all.
    head: section of a head; without a name it is a classifier or a regressor, as the target is.
    folds: of a cross-validation; 0 is none.
  """

  target: str
  num_train: config_lib.NonNegativeInt
  head: Mapping
  folds: config_lib.NonNegativeInt = 0

  def __post_init__(self):
    super().__post_init__()
    if 'name' in self.head:
      return  # It is checked as a plug-in.
    kinds, is_number = (classifier.Classifier, regressor.Regressor), targets.is_number(self.target)
    for kind in kinds if is_number is None else kinds[is_number : is_number + 1]:
      try:
        return config_lib.check_fields(kind, self.head, 'property.head', given=('num_outputs',))
      except ValueError as error:
        problem = error
    raise problem


class Property(base.Experiment):
  """Trains an encoder of weights with a head; the test networks are predicted.

  Attributes:
    kinds: the models of its networks.
    kind: 'class' or 'number'.
    names: of the classes; empty for a number.
    mean: of the training targets; 0 for a class.
    std: of the training targets; 1 for a class.
    unlabelled: {'example': all networks of the training split}, however many of them have labels.
    test: 'example' and 'target' of the test split. Numbers are in units of `std` around `mean`.
    predictor: the module.
  """

  METRICS = METRICS
  SECTIONS: ClassVar[Mapping[str, type]] = {
    'property': Section,
    'symmetry': sections.Symmetry,
    'augment': augment.Augment,
    'pretrain': pretrain.Pretrain,
    'evaluate': sections.Evaluate,
  }
  PLUGINS: ClassVar[tuple[str, ...]] = ('encoder',)

  @classmethod
  def check(cls, config: ml_collections.ConfigDict, counts: Mapping[str, int] | None) -> None:
    """Checks the target, and that every split has networks; see `Experiment.check`."""
    _check_folds(config)
    if counts is None:
      return
    check_target(config.property.target, 'property.target')
    base.check_splits(counts)
    if config.property.num_train > counts['train']:
      raise ValueError(
        f'property.num_train is {config.property.num_train}; allowed: at most the '
        f'{counts["train"]} of zoo.splits.train.'
      )

  def __init__(self, config: ml_collections.ConfigDict, zoo: store.Zoo):
    super().__init__(config, zoo)
    _check_folds(config)
    rows = {split: zoo.select(split=split, final=True, diverged=False) for split in base.SPLITS}
    unlabelled = rows['train']
    if config.property.num_train:
      rows['train'] = rows['train'][: config.property.num_train]
    for split, chosen in rows.items():
      if not len(chosen):
        raise ValueError(
          f'The zoo at {zoo.path} has no networks of {split}; the experiment cross_validation '
          'makes splits of its own.'
        )
    self.kinds = examples_lib.kinds(config, zoo, np.concatenate([unlabelled, *rows.values()]))
    reference = examples_lib.weights(zoo, rows['train'][0])

    def read(rows: np.ndarray) -> Any:
      return examples_lib.read(config, zoo, rows, self.kinds, reference)

    found = {split: targets.load(zoo, rows[split], config.property.target) for split in rows}
    splits = {
      split: {'example': read(chosen), 'target': found[split].values}
      for split, chosen in rows.items()
    }
    self.kind, self.names = found['train'].kind, tuple(found['train'].names)
    pretrains = config.pretrain.objective != 'none'
    self.unlabelled = {'example': read(unlabelled)} if pretrains else None
    self.mean, self.std = 0.0, 1.0
    if self.kind == 'number':
      values = found['train'].values
      self.mean, self.std = float(values.mean()), float(values.std()) or 1.0
      for split in splits.values():
        split['target'] = ((split['target'] - self.mean) / self.std).astype(np.float32)
    self.train, self.val, self.test = (splits[split] for split in base.SPLITS)
    self.predictor = make_predictor(
      config, self.kinds, self.names, prediction.parameter_scales(self.train['example'])
    )

  def objective(self, seed: int) -> supervised.Supervised:
    """Makes the loss of the head; pretrains the encoder without labels if the config says so."""
    config, architecture = self.config, self.kinds.architectures[0]
    change = variables = None
    if self.kinds.capacity is None:  # No augmentation is made for several models.
      change = augment.make(config.augment, architecture)
    if self.unlabelled is not None:
      variables, _ = loop.fit(
        pretrain.make(
          config.pretrain, self.predictor.encoder, architecture.spec, self.predictor.scales
        ),
        self.unlabelled,
        config.train.to_dict() | {'steps': config.pretrain.steps},
        seed=seed,
        workdir=self.workdir / f'pretrain/seed{seed}',
        progress=self.progress,
      )
    return supervised.Supervised(self.predictor, change, variables)

  def predict(self, params: typing.PyTree, seed: int) -> dict[str, np.ndarray]:
    """Computes the outputs of the head, 'val' and 'test' -> [n, ...]."""
    return {
      split: prediction.predict(self.predictor, params, data['example'])
      for split, data in (('val', self.val), ('test', self.test))
    }

  def report(self, predictions: list[dict[str, np.ndarray]]) -> model.Report:
    """Scores the predictions of the test split."""
    outputs = self.save(predictions)
    if self.kind == 'class':
      guess = np.bincount(self.train['target']).argmax()
      return self.report_classes(outputs['test'], self.test['target'], guess)
    calibration, test = (
      (in_units(outputs[name], self.mean, self.std), self.mean + self.std * data['target'])
      for name, data in (('val', self.val), ('test', self.test))
    )
    return self.report_numbers(*test, calibration, self.mean)

  def save(self, predictions: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Stacks the outputs of the seeds, split -> [S, n, ...], and keeps them as outputs.npz."""
    stacked = {split: np.stack([each[split] for each in predictions]) for split in predictions[0]}
    if distributed.is_writer():
      with files.replacing(self.workdir / 'outputs.npz') as file:
        np.savez(file, **stacked)
    return stacked

  def report_classes(
    self, logits: np.ndarray, truth: np.ndarray, guess: np.ndarray | int
  ) -> model.Report:
    """Scores logits [S, n, k] against classes [n] beside the most frequent class in training."""
    counts = np.zeros((logits.shape[-1],) * 2, int)
    np.add.at(counts, (truth, logits[0].argmax(-1)), 1)
    figure = model.Figure(
      'confusion',
      {'counts': counts, 'classes': list(self.names)},
      'Confusion matrix',
      'Test networks; first training seed. Areas are shares of the true class.',
    )
    constant = {'accuracy': float(np.mean(truth == guess))}
    return self._report(classification(logits, truth), constant, figure, 'accuracy')

  def report_numbers(
    self,
    read: np.ndarray,
    truth: np.ndarray,
    calibration: tuple[np.ndarray, np.ndarray],
    guess: np.ndarray | float,
    constant: dict[str, float] | None = None,
  ) -> model.Report:
    """Scores means and deviations `read` [S, n, 2] against numbers `truth` [n].

    Args:
      read: outputs, in units of the target.
      truth: numbers.
      calibration: outputs and numbers that set the width of intervals; with those of the test
        networks themselves, coverage and width are no scores, and left out.
      guess: mean in training, one or [n].
      constant: scores of the guess, if they are not 0.
    """
    tables, half = regression(read, truth, calibration)
    if calibration[1] is truth:
      tables = {key: table for key, table in tables.items() if key not in ('coverage', 'width')}
    figure = model.Figure(
      'scatter',
      {
        'x': truth, 'y': read[0, :, 0], 'half_width': half[0], 'diagonal': True,
        'xlabel': f'true {self._target}', 'ylabel': 'predicted',
      },
      'Truth and prediction',
      'Test networks with 90 % intervals; first training seed.',
    )  # fmt: skip
    none = {'tau': 0.0, 'r2': 0.0, 'mae': float(np.abs(truth - guess).mean())}
    return self._report(tables, none | (constant or {}), figure, 'tau')

  def facts(self) -> dict[str, Any]:
    """Describes the property and its networks."""
    return {'num_train': len(self.train['target']), 'num_test': len(self.test['target'])}

  @property
  def _target(self) -> str:
    return self.config.property.target.replace('_', ' ')

  def _report(
    self, tables: dict[str, Any], constant: dict[str, float], figure: model.Figure, key: str
  ) -> model.Report:
    """Makes the report; `key` is the metric of its headline."""
    name = self.config.encoder.name
    told, facts = self.model_facts(self.config.encoder), self.facts()
    found = self.row(tables, 'model')
    for extra in ('num_params', 'train_seconds'):
      found.stats[extra] = {'value': told[extra]}
    without = model.Row(found.n, {k: {'value': v} for k, v in constant.items()}, 'baseline')
    metric = next(m for m in METRICS if m.name == key)
    unit = ' %' if metric.format.endswith('%') else f' {metric.label}'
    stat = found.stats[key]
    return model.Report(
      f'{name} predicts the {self._target} at {metric.text(stat["value"])}{unit} '
      f'[{metric.interval(stat)}]; without weights: {metric.text(constant[key])}.',
      {
        'methods': model.Table(
          f'Prediction of the {self._target}',
          METRICS,
          {name: found, 'without weights': without},
          f'{facts["num_test"]} test networks that training never saw, {facts["num_train"]} to '
          'train on. 95 % intervals resample test networks and training seeds. "Without weights" '
          'is the best constant.',
        )
      },
      {'outcome': figure},
      facts={
        'Encoder': told,
        'Property': {
          'target': self.config.property.target, 'kind': self.kind, 'names': list(self.names),
          **facts,
        },
      },
    )  # fmt: skip


def check_target(target: str, where: str) -> None:
  """Raises ValueError for a target that no zoo that is trained here can have."""
  if target not in targets.OF_RECIPES:
    raise ValueError(
      f'{where} is {target!r}; allowed for a zoo that is trained here: '
      f'{", ".join(targets.OF_RECIPES)}.'
    )


def _check_folds(config: ml_collections.ConfigDict) -> None:
  """Raises ValueError if folds are wanted."""
  if config.property.get('folds'):
    raise ValueError(
      f'property.folds is {config.property.folds}; allowed: 0, since cross-validation is the '
      'experiment cross_validation.'
    )


def in_units(outputs: np.ndarray, mean: np.ndarray | float, std: np.ndarray | float) -> np.ndarray:
  """Means and deviations [S, n, 2] in units of the target, from outputs [S, n, 2] of a regressor.

  Args:
    outputs: mean and logarithm of the deviation of the target in units of `std` around `mean`.
    mean: of the target where the model was trained, one or [n].
    std: of the target there, one or [n].
  """
  m, log_std = np.moveaxis(outputs.astype(np.float64), -1, 0)
  return np.stack([mean + std * m, std * np.exp(log_std)], -1)


def make_predictor(
  config: ml_collections.ConfigDict,
  kinds: examples_lib.Kinds,
  names: Sequence[str],
  scales: tuple[tuple[str, Any], ...] = (),
) -> prediction.Predictor:
  """Builds the module that a config describes; `names` are those of classes, none for a number."""
  head = {
    'name': 'classifier' if names else 'regressor',
    'num_outputs': len(names) or 1,
    **config.property.head.to_dict(),
  }
  encoder = {
    **config.encoder.to_dict(),
    'architecture': kinds.architectures[0],
    **({} if kinds.capacity is None else {'capacity': kinds.capacity}),
  }
  return prediction.Predictor(
    encoder=config_lib.build('encoders', encoder),
    head=config_lib.build('heads', head),
    scales=scales,
  )


def classification(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
  """Computes 'accuracy', 'nll', 'brier' and 'ece' of a classifier, for `Experiment.row`.

  Args:
    logits: [S, n, k] of S training seeds.
    labels: [n] int.
  """
  log_p = scipy.special.log_softmax(logits.astype(np.float64), -1)
  p = np.exp(log_p)
  hits = p.argmax(-1) == labels
  gaps = predictions_lib.calibration_gaps(p.max(-1), hits)
  return {
    'accuracy': hits,
    'nll': -np.take_along_axis(log_p, labels[None, :, None], -1)[..., 0],
    'brier': ((p - np.eye(p.shape[-1])[labels]) ** 2).sum(-1),
    'ece': (lambda s, rows: predictions_lib.ece_of(gaps[s, rows]), hits.shape),
  }


def regression(
  outputs: np.ndarray, truth: np.ndarray, calibration: tuple[np.ndarray, np.ndarray]
) -> tuple[dict[str, Any], np.ndarray]:
  """Computes the metrics of a regressor, for `Experiment.row`, and half the width of intervals.

  Args:
    outputs: [S, n, 2] mean and standard deviation, of S training seeds.
    truth: [n].
    calibration: outputs [S, v, 2] and truth [v] of the validation split, from which the width of
      intervals is taken.

  Returns:
    'tau', 'r2', 'mae', 'coverage' and 'width'; and [S, n].

  Source: Kendall 1945, Biometrika 33:239 (tau-b); Lei et al. 2018, arXiv:1604.04173, section 5.2
    (split conformal, locally weighted).
  """
  mean, std = outputs[..., 0], outputs[..., 1]
  # Errors of the validation split in deviations, by which intervals of one deviation are scaled.
  errors = np.sort(np.abs(calibration[1] - calibration[0][..., 0]) / calibration[0][..., 1])
  rank = min(int(np.ceil(COVERAGE * (errors.shape[1] + 1))), errors.shape[1])
  half = std * errors[:, rank - 1, None]
  inside = np.abs(truth - mean) <= half

  def r2(s: int, rows: np.ndarray) -> float:
    y = truth[rows]
    return 1 - np.mean((y - mean[s, rows]) ** 2) / np.var(y)

  def tau(s: int, rows: np.ndarray) -> float:
    if len(rows) < 2:
      return np.nan
    return scipy.stats.kendalltau(mean[s, rows], truth[rows]).statistic

  statistic: dict[str, Callable[[int, np.ndarray], float]] = {
    'tau': tau,
    'r2': r2,
    'mae': lambda s, rows: np.abs(truth[rows] - mean[s, rows]).mean(),
    'coverage': lambda s, rows: inside[s, rows].mean(),
    'width': lambda s, rows: 2 * half[s, rows].mean(),
  }
  return {name: (function, mean.shape) for name, function in statistic.items()}, half
