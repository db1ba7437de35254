"""Updates networks in one step by a prompt: the loss that they should have.

Source: Peebles et al. 2022, arXiv:2209.12892.
"""

import dataclasses
import functools
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import scipy.spatial

from wsjax import config as config_lib
from wsjax import networks as networks_lib
from wsjax import typing
from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation import statistics
from wsjax.evaluation.metrics import control
from wsjax.evaluation.report import model
from wsjax.experiments import base, sections
from wsjax.generators.parts import prompted
from wsjax.heads import prediction
from wsjax.models import model as model_lib
from wsjax.symmetry import distance as distance_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.train import prompting as objective_lib
from wsjax.zoo import train as train_lib
from wsjax.zoo.data import datasets
from wsjax.zoo.store import store

_STEPS = 20  # Of training, timed to know what one takes.
_NETS = 16  # Networks of one compiled call.

METRICS = (
  metric_lib.Metric('accuracy', 'accuracy', better='higher', format='.2%',
                    doc='Accuracy on test images.'),
  metric_lib.Metric('loss', 'test loss', unit='nats', better='lower', format='.4f',
                    heading='loss', doc='Mean cross-entropy on test images.'),
  metric_lib.Metric('own', 'distance to the own run', format='.2f', heading='L2 to own run',
                    doc='Distance to the end of the training run from the same start; 0 for the '
                    'run itself.'),
  metric_lib.Metric('own_ratio', 'distance to the own run, relative', format='.3f',
                    heading='own / others',
                    doc='Distance to the end of the training run from the same start, over the '
                    'mean distance to the ends of the others.'),
  metric_lib.Metric('own_nearest', 'own run is nearest', format='.0%',
                    doc='Share of networks to which no end of another run is nearer.'),
  metric_lib.Metric('nearest', 'distance to the nearest training run', format='.2f',
                    heading='L2 to nearest',
                    doc='Distance to the nearest end of a training run of the zoo.'),
)  # fmt: skip
CONTROL = (
  metric_lib.Metric('r2', 'R²', better='higher', format='.3f',
                    doc='1 - mean squared difference of requested and achieved loss over the '
                    'variance of the requests; below 0 if their mean would be nearer.'),
  metric_lib.Metric('mae', 'mean difference', better='lower', format='.3f',
                    doc='Mean absolute difference of requested and achieved loss.'),
  metric_lib.Metric('slope', 'slope', format='.3f',
                    doc='Slope of the achieved on the requested loss: 1 if control is calibrated, '
                    '0 if the prompt is ignored.'),
  metric_lib.Metric('spearman', 'rank correlation', better='higher', format='.3f',
                    doc='Spearman correlation of requested and achieved loss.'),
  metric_lib.Metric('mae_gain', 'gain over retrieval', better='higher', format='.3f',
                    doc='Mean difference of the nearest training checkpoint minus that of the '
                    'model, paired over requests.'),
  metric_lib.Metric('outside', 'beyond the zoo', format='.0%',
                    doc='Share of requests beyond the losses of all training checkpoints.'),
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Updates:
  """Updates by the model of one training seed.

  Attributes:
    methods: name -> path -> [n, ...] new weights of the test starts.
    requested: [r] losses that were requested, from few starts each.
    achieved: 'val' and 'test' -> [r] losses of the new networks.
    seconds: of one pass for all n starts.
  """

  methods: dict[str, typing.StackedParams]
  requested: np.ndarray
  achieved: dict[str, np.ndarray]
  seconds: float


@dataclasses.dataclass(frozen=True)
class Evaluate(sections.Evaluate):
  """The section `evaluate`.

  Attributes:
    num_prompts: losses that are requested.
    num_grid: starts of which each is requested.
  """

  num_prompts: config_lib.PositiveInt
  num_grid: config_lib.PositiveInt


class Prompting(base.Experiment):
  """Trains a model of training runs; starts that no training saw are updated by a prompt.

  Attributes:
    architecture: of all networks.
    recipe: how they were trained.
    dataset: what they learned.
    steps: [K] of the checkpoints of a run; the first is 0.
    runs: split -> {'params': path -> [N, K, ...], 'loss': [N, K]}, the loss on validation images in
      nats.
  """

  METRICS = METRICS + CONTROL
  SECTIONS: ClassVar[Mapping[str, type]] = {'evaluate': Evaluate, 'prompt': objective_lib.Section}

  @classmethod
  def check(cls, config: ml_collections.ConfigDict, counts: Mapping[str, int] | None) -> None:
    """Checks that there are networks and validation images; see `Experiment.check`."""
    if counts is not None:
      base.check_splits(counts)
    if 'recipe' not in config.zoo or 'dataset' not in config.zoo:
      raise ValueError('zoo.recipe or zoo.dataset is missing; the experiment prompting needs both.')
    if config.zoo.dataset.get('val_fraction') == 0:
      raise ValueError(
        'zoo.dataset.val_fraction is 0.0, and must be above 0: a prompt is a loss on validation '
        'images.'
      )

  def __init__(self, config: ml_collections.ConfigDict, zoo: store.Zoo):
    super().__init__(config, zoo)
    self.architecture = zoo.model
    self.recipe = train_lib.Recipe(**config.zoo.recipe.to_dict())
    self.dataset = datasets.load_for(zoo.records, **config.zoo.dataset.to_dict())
    if not len(self.dataset.val_y):
      raise ValueError(
        'A prompt is a loss on validation images; zoo.dataset.val_fraction is '
        f'{config.zoo.dataset.val_fraction}, and there are none.'
      )
    losses = zoo.column('final', 'val', 'loss')
    self.steps = (0, *self.recipe.snapshots, self.recipe.steps)
    self.runs = {split: self._read(split, losses) for split in base.SPLITS}
    self.train, self.val = self.runs['train'], self.runs['val']
    self.module = prompted.Prompted(
      self.architecture.spec,
      prediction.parameter_scales(self.at('train', -1)),
      **config.prompt.model.to_dict(),
    )

  def _read(self, split: str, losses: np.ndarray) -> dict[str, Any]:
    """Weights and losses of every run of a split, their starts drawn again."""
    zoo, ends = self.zoo, base.final_rows(self.zoo, (split,))[split]
    # Keys sort by run and step, and so do rows.
    rows = base.rows_of_runs(zoo, ends).reshape(len(ends), -1)
    indices = np.array([int(zoo.keys[i].split('/')[0]) for i in ends], np.int32)
    starts = jax.device_get(
      train_lib.initial_params(self.architecture, self.recipe, indices, self.config.seed)
    )
    later = {
      path: value.reshape(*rows.shape, *value.shape[1:])
      for path, value in zoo.params(rows.ravel()).items()
    }
    params = {path: np.concatenate([starts[path][:, None], x], 1) for path, x in later.items()}
    first = self.val_loss(starts)[:, None]
    return {'params': params, 'loss': np.concatenate([first, losses[rows]], 1).astype(np.float32)}

  def at(self, split: str, place: int) -> typing.StackedParams:
    """Selects checkpoint number `place` of every run, path -> [N, ...]."""
    return {path: value[:, place] for path, value in self.runs[split]['params'].items()}

  def measure(self, params: typing.StackedParams, images: str = 'test') -> dict[str, np.ndarray]:
    """Computes the mean cross-entropy, 'loss' in nats, and the 'accuracy' on images, [n] each."""
    x = jnp.asarray(getattr(self.dataset, f'{images}_x'))
    y = jnp.asarray(getattr(self.dataset, f'{images}_y'), jnp.int32)
    loss, accuracy = networks_lib.in_chunks(
      lambda chunk: _measure(self.architecture, chunk, x, y), params, _NETS
    )
    return {'loss': loss, 'accuracy': accuracy}

  def val_loss(self, params: typing.StackedParams) -> np.ndarray:
    """Computes the loss on validation images, [n]."""
    return self.measure(params, 'val')['loss']

  @functools.cached_property
  def ends(self) -> distance_lib.Neighbours:
    """Search for the nearest end of a training run."""
    return _search(self.architecture, self.at('train', -1))

  @functools.cached_property
  def apart(self) -> float:
    """Median distance of the end of a training run to the nearest other."""
    return _spacing(self.ends)

  def objective(self, seed: int) -> objective_lib.Prompting:
    """Makes the loss of updates; `apart` of the config is in units of the spacing of runs."""
    section = self.config.prompt.to_dict()
    del section['model']
    section['apart'] *= self.apart
    data = self.dataset
    return objective_lib.Prompting(
      self.module, self.architecture, data.train_x, data.train_y, **section
    )

  def predict(self, params: typing.PyTree, seed: int) -> Updates:
    """Prompts the model from starts that no training saw."""
    run = jax.jit(jax.vmap(self.module.apply, (None, 0, 0, 0)))

    def update(start: typing.StackedParams, wanted: Any) -> typing.StackedParams:
      loss = self.val_loss(start)
      wanted = np.broadcast_to(np.float32(wanted), loss.shape)
      return jax.device_get(run(params, start, loss, wanted))

    start, section = self.at('test', 0), self.config.evaluate
    inside, beyond = float(self.train['loss'].min()), self.config.prompt.lowest
    once = update(start, beyond)
    twice = update(once, beyond)
    made = {
      f'one prompt, {inside:.3f} nats': update(start, inside),
      self.main: once,
      f'two prompts, {beyond:.3f} nats': twice,
      f'three prompts, {beyond:.3f} nats': update(twice, beyond),
      'one prompt from noise': update(self._noise(start), beyond),
    }
    loss = self.val_loss(start)
    wanted = np.full_like(loss, beyond)
    begin = time.perf_counter()
    jax.block_until_ready(run(params, start, loss, wanted))
    seconds = time.perf_counter() - begin

    grid = np.geomspace(beyond, self.config.prompt.highest, section.num_prompts)
    few = np.arange(min(len(loss), section.num_grid))
    requested = np.repeat(grid, len(few))
    nets = update(networks_lib.take(start, np.tile(few, len(grid))), requested)
    achieved = {'val': self.val_loss(nets), 'test': self.measure(nets)['loss']}
    return Updates(made, requested, achieved, seconds)

  @property
  def main(self) -> str:
    """Name of the method of the headline: one prompt for the least loss that was trained for."""
    return f'one prompt, {self.config.prompt.lowest:.3f} nats'

  def _noise(self, like: typing.StackedParams) -> typing.StackedParams:
    """Gaussian weights matched to trained scales, in place of a start."""
    rng = np.random.default_rng(self.config.seed)
    return {
      path: (scale * rng.normal(size=like[path].shape)).astype(np.float32)
      for path, scale in self.module.scales
    }

  def report(self, predictions: list[Updates]) -> model.Report:
    """Compares the updates with training runs and with methods that need no model."""
    own, train = self.at('test', -1), self.at('train', -1)

    def row(updates: list[typing.StackedParams], kind: str) -> model.Row:
      tables = [self.measure(params) | places(params, own, train) for params in updates]
      return self.row({key: np.stack([table[key] for table in tables]) for key in tables[0]}, kind)

    rows = {
      name: row([one.methods[name] for one in predictions], 'model')
      for name in predictions[0].methods
    }
    seconds = float(np.median([one.seconds for one in predictions]))
    others, steps = self._baselines(seconds)
    rows |= {name: row([params], 'baseline') for name, params in others.items()}
    rows['training run of its own'] = row([own], 'ceiling')
    curve = [self.measure(self.at('test', place)) for place in range(len(self.steps))]
    curve = {key: [float(found[key].mean()) for found in curve] for key in ('accuracy', 'loss')}
    accuracy = {name: METRICS[0].text(row.value('accuracy')) for name, row in rows.items()}
    controls, figure = self._control(predictions)
    pass_seconds = seconds / len(self.runs['test']['loss'])
    accurate = np.array(curve['accuracy']) >= rows[self.main].value('accuracy')
    when = f'after {self.steps[accurate.argmax()]} steps' if accurate.any() else 'at no checkpoint'
    distances = self._distances(predictions[0])
    findings = {
      'Cost': f'One pass takes {1000 * pass_seconds:.2f} ms, as long as {steps} SGD steps; '
      f'training runs are as accurate {when}.',
      'Distance': 'Median distance to the nearest training run, over that of training runs from '
      f'each other: {distances["raw"] / distances["raw_zoo"]:.2f} as they stand, '
      f'{distances["matched"] / distances["matched_zoo"]:.2f} with neurons matched; of results '
      'from different starts, matched, over that of training runs: '
      f'{distances["matched_self"] / distances["matched_zoo"]:.2f} ({distances["n"]} networks of '
      'the first training seed).',
    }
    inside, retrieved = (
      controls[f'test nats: {name}'].stats['r2'] for name in ('inside', 'retrieval')
    )
    if inside['value'] is not None:
      findings = {
        'Control': 'Requests within the losses of the zoo against test loss: R² '
        f'{inside["value"]:.3f} [{CONTROL[0].interval(inside)}]; the nearest training checkpoint, '
        f'all requests: {CONTROL[0].text(retrieved["value"])}.'
      } | findings
    return model.Report(
      f'{self.main.capitalize()}, from starts that no training saw: {accuracy[self.main]} % '
      f'accuracy; training runs of {self.steps[-1]} steps: '
      f'{accuracy["training run of its own"]} %.',
      {
        'methods': model.Table(
          'Updates of test starts',
          METRICS,
          rows,
          f'{len(self.runs["test"]["loss"])} starts that no training saw; '
          f'{len(self.train["loss"])} training runs with {len(self.steps)} checkpoints each, the '
          'start included. A prompt is a loss on validation images, in nats. 95 % intervals '
          'resample test starts and training seeds. Distances are Euclidean, with neurons in the '
          'order of the start. "Mean change" adds the mean difference between the best checkpoint '
          'and the start of training runs. Noise is Gaussian, as large as trained weights: where '
          'it does as well as a start, the start is not read.',
        ),
        'control': model.Table(
          'Requested and achieved loss',
          CONTROL,
          controls,
          'On validation and on test images, in nats and in their logarithm; "inside" and "beyond" '
          'are the requests within and beyond the losses of training checkpoints, "retrieval" is '
          'the training checkpoint with the nearest loss.',
        ),
      },
      {
        'control': figure,
        'recipe': model.Figure(
          'lines',
          {
            'panels': [{'lines': [{'x': self.steps, 'y': curve['accuracy']}], 'xlabel': 'step'}],
            'ylabel': 'test accuracy',
            'share': True,
          },
          'Training runs of the test starts',
        ),
      },
      findings,
      facts={
        'Model': self.model_facts(self.config.prompt),
        'Training runs': {
          'num_train': len(self.train['loss']),
          'num_test': len(self.runs['test']['loss']),
          'checkpoints': len(self.steps),
          'lowest_of_zoo': float(self.train['loss'].min()),
          'dataset': self.dataset.name,
          'loss': curve['loss'],
        },
        'Cost': {'seconds': pass_seconds, 'sgd_steps': steps},
        'Distances': distances,
      },
    )

  def _baselines(self, seconds: float) -> tuple[dict[str, typing.StackedParams], int]:
    """Networks that need no model, and the number of SGD steps that a prompt costs."""
    start = self.at('test', 0)
    num = len(next(iter(start.values())))
    losses = self.train['loss']
    best = losses.argmin(1)  # Of every run.
    rows = np.arange(len(losses))
    bests = {path: x[rows, best] for path, x in self.train['params'].items()}
    changes = _mean({path: bests[path] - x[:, 0] for path, x in self.train['params'].items()})
    nearest = int(losses.min(1).argmin())

    def trained(steps: int) -> typing.StackedParams:
      return train_lib.finetune(
        self.architecture, self.dataset, start, self.recipe, steps=steps, seed=self.config.seed
      )

    trained(_STEPS)  # Compiles.
    begin = time.perf_counter()
    trained(_STEPS)
    per_step = (time.perf_counter() - begin) / _STEPS
    steps = max(1, round(seconds / per_step))
    return {
      'no update': start,
      'nearest training checkpoint by loss': {
        path: np.repeat(x[nearest : nearest + 1], num, 0) for path, x in bests.items()
      },
      'mean of the best checkpoints': _mean(bests, num),
      'mean change of training runs': {path: x + changes[path] for path, x in start.items()},
      f'SGD for as long, {steps} steps': trained(steps),
    }, steps

  def _control(self, predictions: list[Updates]) -> tuple[dict[str, model.Row], model.Figure]:
    """Rows of requested against achieved loss, in nats and in their logarithm; and the curve."""
    first = predictions[0]
    requested = np.concatenate([one.requested for one in predictions])
    groups = np.repeat(np.arange(len(predictions)), len(first.requested))
    resampler = statistics.Resampler(
      num_bootstrap=self.config.evaluate.num_bootstrap, seed=self.config.seed
    )
    labels = self.train['loss'].ravel()
    used = np.unique(control.nearest(requested, labels))
    flat = {path: x.reshape(-1, *x.shape[2:])[used] for path, x in self.train['params'].items()}
    # Only checkpoints that retrieval hands out are measured; the others are never compared.
    measured = np.full(len(labels), np.nan)
    measured[used] = self.measure(flat)['loss']
    rows = {}
    for images in ('test', 'val'):
      achieved = np.concatenate([one.achieved[images] for one in predictions])
      available = labels if images == 'val' else measured
      for unit, scale in (('nats', np.asarray), ('log', np.log)):
        found = control.compare(
          scale(requested), scale(achieved), scale(labels), scale(available), groups, resampler
        )
        found['generator'] |= {key: found[key] for key in ('mae_gain', 'outside')}
        for part in ('generator', 'inside', 'beyond', 'retrieval'):
          kind = 'baseline' if part == 'retrieval' else 'model'
          name = 'all' if part == 'generator' else part
          count = max(stat.get('n', 0) for stat in found[part].values())
          rows[f'{images} {unit}: {name}'] = model.Row(count, found[part], kind)
    grid = np.unique(first.requested)

    def curve(one: Updates, images: str, **style: Any) -> dict[str, Any]:
      means = [float(one.achieved[images][one.requested == wanted].mean()) for wanted in grid]
      return {'x': grid, 'y': means, **style}

    curves = [{'x': grid, 'y': grid, 'kind': 'reference', 'label': 'as requested'}]
    for number, one in enumerate(predictions):
      label = {} if number else {'label': 'one prompt, every training seed'}
      curves += [curve(one, 'test', **label), curve(one, 'val', style='dotted')]
    mark = {'x': float(labels.min()), 'label': 'least loss of a training checkpoint'}
    panel = {'lines': curves, 'marks': [mark], 'xlabel': 'requested loss, nats'}
    return rows, model.Figure(
      'lines',
      {
        'panels': [panel], 'ylabel': 'achieved loss, nats', 'scale': 'log', 'xscale': 'log',
        'height': 4.2,
      },
      'Requested and achieved loss',
      'Solid: test images. Dotted: validation images.',
    )  # fmt: skip

  def _distances(self, first: Updates) -> dict[str, float]:
    """Median distances to the nearest network, of the first training seed.

    'raw' and 'matched' are to training runs, with neurons as they stand and matched; 'raw_zoo' and
    'matched_zoo' of training networks to the nearest other; 'matched_self' from the result of one
    start to those of the others: near 0 where all starts give one network.
    """
    train = self.at('train', -1)
    made, own = first.methods[self.main], self.at('test', -1)
    nearest, _ = self.ends.nearest(made)
    vectors = networks_lib.flatten(train)
    apart = scipy.spatial.distance.cdist(vectors, vectors)
    np.fill_diagonal(apart, np.inf)
    return {
      'raw': float(np.median(places(made, own, train)['nearest'])),
      'raw_zoo': float(np.median(apart.min(1))),
      'matched': float(np.nanmedian(nearest)),
      'matched_zoo': self.apart,
      'matched_self': spacing(self.architecture, made),
      'n': len(next(iter(made.values()))),
    }


def spacing(architecture: model_lib.Model, params: typing.StackedParams) -> float:
  """Median L2 distance of a network to the nearest other, up to symmetry.

  Only networks whose weights are finite count; NaN where fewer than two are.
  """
  usable = np.flatnonzero(spec_lib.finite(params))
  if len(usable) < 2:
    return float('nan')
  return _spacing(_search(architecture, networks_lib.take(params, usable)))


def _search(architecture: model_lib.Model, params: typing.StackedParams) -> distance_lib.Neighbours:
  first = {path: x[0] for path, x in params.items()}
  return distance_lib.Neighbours(params, architecture.spec, first)


def _spacing(networks: distance_lib.Neighbours) -> float:
  distance, _ = networks.nearest(networks.zoo, exclude_same_index=True)
  return float(np.median(distance))


def _mean(params: typing.StackedParams, count: int = 1) -> typing.StackedParams:
  """Mean of stacked networks, as `count` equal ones."""
  return {path: np.repeat(value.mean(0, keepdims=True), count, 0) for path, value in params.items()}


@functools.partial(jax.jit, static_argnums=0)
def _measure(
  architecture: model_lib.Model, params: typing.StackedParams, x: jax.Array, y: jax.Array
) -> tuple[jax.Array, jax.Array]:
  def one(params: typing.Params) -> tuple[jax.Array, jax.Array]:
    logits = architecture.apply(params, x)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    return loss.mean(), (logits.argmax(-1) == y).mean()

  return jax.lax.map(one, params)


def places(
  params: typing.StackedParams, own: typing.StackedParams, train: typing.StackedParams
) -> dict[str, np.ndarray]:
  """Measures where networks lie, by Euclidean distances with neurons as they stand.

  Args:
    params: path -> [n, ...], from n starts.
    own: [n, ...] where the training run of each start ended.
    train: [T, ...] where the training runs ended.

  Returns:
    name of a metric -> [n]: 'own', 'own_ratio', 'own_nearest' (0 or 1) and 'nearest'.
  """
  made, ends = networks_lib.flatten(params), networks_lib.flatten(own)
  table = scipy.spatial.distance.cdist(made, ends)
  mine = np.diagonal(table)
  others = table[~np.eye(len(table), dtype=bool)].reshape(len(table), -1)
  return {
    'own': mine.copy(),
    'own_ratio': mine / others.mean(1),
    'own_nearest': (mine < others.min(1)).astype(float),
    'nearest': scipy.spatial.distance.cdist(made, networks_lib.flatten(train)).min(1),
  }
