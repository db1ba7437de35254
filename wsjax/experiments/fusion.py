"""Merges networks by every method, beside the networks themselves and their ensemble.

With rig 'seeds' the networks of the zoo are merged in groups: they were trained from different
seeds. With rig 'tasks' each network of the zoo is the base of several tasks, the data set under
different reorderings of its pixels, on which it is fine-tuned; the fine-tuned networks are merged.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from wsjax import config as config_lib
from wsjax import networks as networks_lib
from wsjax import typing
from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation.report import model
from wsjax.experiments import base, sections
from wsjax.fusion import align, layerwise, learned, merging, synthesis
from wsjax.models import model as model_lib
from wsjax.train import loop
from wsjax.train import objective as objective_lib
from wsjax.zoo.data import datasets
from wsjax.zoo.store import store

ACCURACY = metric_lib.Metric(
  'accuracy', 'accuracy', better='higher', format='.2%', heading='accuracy',
  doc='Share of right test images; with tasks the mean over them.',
)  # fmt: skip
SHARE = metric_lib.Metric(
  'share', 'share of the single networks', better='higher', format='.1%', heading='of single',
  doc='Accuracy over that of the single networks, each on its own task.',
)  # fmt: skip
SECONDS = metric_lib.Metric(
  'seconds', 'seconds per merge', unit='s', better='lower', format='.2f', heading='s',
  doc='Wall time of one merge after alignment, mean over merges; the first compiles.',
)  # fmt: skip

# Reorderings of the pixels of an image [h, w, c], one per task.
_TASKS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
  lambda x: x,
  lambda x: np.rot90(x, 1, (1, 2)),
  lambda x: np.rot90(x, 2, (1, 2)),
  lambda x: np.rot90(x, 3, (1, 2)),
  lambda x: x[:, :, ::-1],
  lambda x: x[:, ::-1],
  lambda x: x.swapaxes(1, 2),
  lambda x: np.rot90(x.swapaxes(1, 2), 2, (1, 2)),
)
# Coefficients of task vectors that are tried on validation images.
_COEFFICIENTS = {
  'average': (1.0,),
  'task_arithmetic': (0.2, 0.3, 0.4),
  'ties': (0.5, 1.0, 1.5, 2.0),
  'dare_ties': (0.2, 0.3, 0.4, 0.6),
  'della': (0.5, 1.0, 1.5, 2.0),
  'breadcrumbs': (0.2, 0.3, 0.4, 0.6),
  'sce': (1.0,),
  'model_stock': (1.0,),
  'iso_c': (0.5, 1.0, 1.5, 2.0),
  'tsv_m': (0.5, 0.75, 1.0, 1.5),
}
_DENSITIES = {'ties': 0.2, 'dare_ties': 0.5, 'della': 0.5, 'breadcrumbs': 0.5}
_VAL = 2_000  # Validation images of each task.
_Merge = Callable[..., dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Section(config_lib.Section):
  """The section `fusion`.

  Attributes:
    rig: 'seeds' or 'tasks'.
    parents: numbers of networks that are merged, with 'seeds'.
    num_tasks: tasks of each base, with 'tasks'.
    num_images: unlabelled training images that methods with data are given, of every task.
    num_tune: labelled training images that a task has for fine-tuning.
    restarts: starts of matching by weights.
  """

  rig: Literal['seeds', 'tasks']
  parents: tuple[config_lib.PositiveInt, ...] = (2,)
  num_tasks: config_lib.PositiveInt = len(_TASKS)
  num_images: config_lib.PositiveInt = 2_048
  num_tune: config_lib.PositiveInt = 10_000
  restarts: config_lib.PositiveInt = 3

  def __post_init__(self):
    super().__post_init__()
    if not 1 < self.num_tasks <= len(_TASKS):
      raise ValueError(f'fusion.num_tasks is {self.num_tasks}; allowed: 2 to {len(_TASKS)}.')
    if not self.parents or min(self.parents) < 2:
      raise ValueError(f'fusion.parents is {self.parents}; allowed: numbers of at least 2.')


class Fusion(base.Experiment):
  """Merges groups of networks; nothing is trained but rivals and, with 'tasks', the parents.

  The section `train` is of the training of the parents on their tasks, and of the distillation of
  an ensemble into the mean network, a rival that has the same images.
  """

  METRICS = (ACCURACY, SHARE, SECONDS)
  SECTIONS: ClassVar[Mapping[str, type]] = {'fusion': Section, 'evaluate': sections.Evaluate}

  @classmethod
  def check(cls, config: ml_collections.ConfigDict, counts: Mapping[str, int] | None) -> None:
    """Checks that there are enough networks; see `Experiment.check`."""
    if 'dataset' not in config.zoo:
      raise ValueError('zoo.dataset is missing; merged networks are tested on it.')
    total = None if counts is None else sum(counts.values())
    most = max(config.fusion.get('parents', (2,)))
    if config.fusion.get('rig') == 'seeds' and total is not None and total < most:
      raise ValueError(f'fusion.parents has {most}, but zoo.splits are {total} networks.')

  def __init__(self, config: ml_collections.ConfigDict, zoo: store.Zoo):
    super().__init__(config, zoo)
    self.section = config_lib.read(Section, 'fusion', config.fusion)
    self.settings = loop.read_settings(config.train)
    self.model = zoo.model
    self.data = datasets.load(**config.zoo.dataset)
    self.nets = {k: np.asarray(v) for k, v in zoo.networks().params.items()}
    num = self.section.num_images
    # The last training images: other ones than a short run of a parent begins with.
    self.images = self.data.train_x[-num:]
    self.train = {'x': self.images}
    self._right = jax.jit(lambda params, x, y: (self.model.apply(params, x).argmax(-1) == y).mean())

  def objective(self, seed: int) -> objective_lib.Objective:
    """Raises, because `fit` trains nothing."""
    raise NotImplementedError

  def fit(self, seed: int, *, trains: bool = True) -> tuple[typing.PyTree, loop.History]:
    """Trains nothing: merging does not learn from other networks."""
    del seed, trains
    return {}, {}

  def predict(self, params: typing.PyTree, seed: int) -> dict[str, Any]:
    """Merges by every method: table -> method -> kind, accuracies [n], seconds."""
    del params
    if self.section.rig == 'tasks':
      return {'tasks': self._tasks(seed)}
    return {f'parents_{count}': self._seeds(count, seed) for count in self.section.parents}

  def report(self, predictions: list[dict[str, Any]]) -> model.Report:
    """Compares the merged networks with the single ones and the ensemble."""
    tables = {}
    for key in predictions[0]:
      found = [prediction[key] for prediction in predictions]
      single = np.stack([each['single network']['accuracy'] for each in found])
      rows = {}
      for name, one in found[0].items():
        accuracy = np.stack([each[name]['accuracy'] for each in found])
        stats = {'accuracy': accuracy, 'share': accuracy / single}
        if one['seconds'] is not None:
          stats['seconds'] = np.stack(
            [np.full(len(accuracy[0]), e[name]['seconds']) for e in found]
          )
        rows[name] = self.row(stats, one['kind'])
      count = key.rpartition('_')[2]
      title = 'Fine-tuned from one base' if key == 'tasks' else f'{count} networks of other seeds'
      tables[key] = model.Table(title, self.METRICS, rows)
    key = list(tables)[-1]
    rows = {name: row for name, row in tables[key].rows.items() if row.kind != 'ceiling'}
    merged = {name: row for name, row in rows.items() if row.kind in ('model', 'baseline')}
    best = max(merged, key=lambda name: merged[name].value('accuracy'))
    text = {name: ACCURACY.text(row.value('accuracy')) for name, row in rows.items()}
    return model.Report(
      f'{tables[key].title}: {best} has {text[best]}, the raw average {text["average"]}, a single '
      f'network {text["single network"]}.',
      tables,
      {k: model.Figure('intervals', {'table': k, 'metrics': ['accuracy']}) for k in tables},
      facts={'Fusion': dataclasses.asdict(self.section)},
    )

  def _seeds(self, count: int, seed: int) -> dict[str, dict[str, Any]]:
    """Merges all groups of `count` networks that share none."""
    total = networks_lib.length(self.nets) // count * count
    groups = [networks_lib.take(self.nets, slice(i, i + count)) for i in range(0, total, count)]
    apply, spec, images = self.model.apply, self.model.spec, self.images
    options: dict[str, Any] = {'restarts': self.section.restarts, 'seed': seed}

    done: dict[tuple[int, str, bool], dict[str, np.ndarray]] = {}

    def moved(nets: typing.StackedParams, how: str, barycentre: bool = False) -> Any:
      """Aligned networks of a group, which several methods share."""
      key = id(nets), how, barycentre
      if key not in done:
        done[key] = align.align(
          nets, spec, how, barycentre=barycentre, apply=apply, data=images, **options
        )
      return done[key]

    weights = functools.partial(moved, how='weights')
    centred = functools.partial(weights, barycentre=True)
    activations = functools.partial(moved, how='activations', barycentre=True)

    def regmean(nets: typing.StackedParams, x: np.ndarray = images, **more: Any) -> Any:
      return layerwise.regmean(apply, nets, [x] * count, **more)

    def repaired(nets: typing.StackedParams) -> Any:
      return layerwise.repair(apply, layerwise.mean(nets), nets, images)

    def without_data(nets: typing.StackedParams) -> Any:
      x = synthesis.inputs(self.model, nets, num=len(images), seed=seed)
      aligned = align.align(nets, spec, 'activations', barycentre=True, apply=apply, data=x)
      return regmean(aligned, x, propagate=True)

    made: dict[str, tuple[str, _Merge]] = {
      'average': ('baseline', layerwise.mean),
      'karcher after weight matching': (
        'baseline', lambda n: merging.of_tensors(weights(n), 'karcher')
      ),
      'weight matching': ('baseline', lambda n: layerwise.mean(weights(n))),
      'weight matching, barycentre': ('baseline', lambda n: layerwise.mean(centred(n))),
      'drawn inputs: activations, RegMean layer by layer': ('model', without_data),
      'weight matching, barycentre, REPAIR': ('baseline', lambda n: repaired(centred(n))),
      'activation matching': (
        'baseline', lambda n: layerwise.mean(moved(n, 'activations'))
      ),
      'activation matching, barycentre': ('baseline', lambda n: layerwise.mean(activations(n))),
      'activation matching, barycentre, REPAIR': ('baseline', lambda n: repaired(activations(n))),
      'RegMean': ('baseline', regmean),
      'RegMean after activation matching': (
        'baseline', lambda n: regmean(moved(n, 'activations'))
      ),
      'RegMean after activation matching, barycentre': (
        'baseline', lambda n: regmean(activations(n))
      ),
      'RegMean layer by layer after activation matching, barycentre': (
        'model', lambda n: regmean(activations(n), propagate=True)
      ),
      'distilled from the mean after activation matching': (
        'reference',
        lambda n: self._distilled(layerwise.mean(activations(n)), [(n, images)], seed),
      ),
    }  # fmt: skip
    test = self.data.test_x, self.data.test_y
    found = {name: self._measured(kind, run, groups, [test]) for name, (kind, run) in made.items()}
    single = [np.mean([self._right(net, *test) for net in _each(nets)]) for nets in groups]
    ensemble = [
      (np.mean(self._probabilities(nets, test[0]), 0).argmax(-1) == test[1]).mean()
      for nets in groups
    ]
    return found | {
      'single network': _given('reference', single),
      f'ensemble of {count}': _given('ceiling', ensemble),
    }

  def _tasks(self, seed: int) -> dict[str, dict[str, Any]]:
    """Fine-tunes every base on every task, and merges what comes out."""
    data, section = self.data, self.section
    tasks = range(section.num_tasks)

    def of_task(x: np.ndarray, task: int) -> np.ndarray:
      return np.ascontiguousarray(_TASKS[task](x))

    x = np.stack([of_task(data.train_x[: section.num_tune], task) for task in tasks])
    labels = np.eye(data.num_classes, dtype=np.float32)[data.train_y[: section.num_tune]]
    groups = []
    for i, start in enumerate(_each(self.nets)):
      begin = {k: np.stack([v] * len(x)) for k, v in start.items()}
      targets = np.stack([labels] * len(x))
      groups.append((start, _tune(self.model, begin, x, targets, self.settings, seed + i)))
    images = [of_task(self.images, task) for task in tasks]
    tests = [(of_task(data.test_x, task), data.test_y) for task in tasks]
    vals = [(of_task(data.val_x[:_VAL], task), data.val_y[:_VAL]) for task in tasks]
    apply = self.model.apply

    def tuned(method: str) -> _Merge:
      """A method of task vectors, with the coefficient that is best on validation images."""
      each = {'density': _DENSITIES[method]} if method in _DENSITIES else {}
      name = 'linear' if method == 'average' else method

      def run(group: Any, coefficient: float) -> Any:
        start, nets = group
        scale = {'lambda': coefficient} if name not in ('linear', 'sce', 'model_stock') else {}
        origin = None if name == 'linear' else start
        return merging.of_tensors(nets, name, base=origin, seed=seed, **each, **scale)

      def score(coefficient: float) -> float:
        merges = [run(group, coefficient) for group in groups]
        return float(np.mean([self._accuracy(net, vals) for net in merges]))

      best = max(_COEFFICIENTS[method], key=score)
      return functools.partial(run, coefficient=best)

    made: dict[str, tuple[str, _Merge]] = {
      'base': ('reference', lambda group: group[0]),
      **{method: ('baseline', tuned(method)) for method in _COEFFICIENTS},
      'fisher': (
        'baseline',
        lambda g: layerwise.fisher(apply, g[1], [x[:256] for x in images], seed=seed),
      ),
      'adamerging': (
        'baseline',
        lambda g: learned.adamerging(apply, g[1], images, base=g[0], seed=seed),
      ),
      'RegMean': ('baseline', lambda g: layerwise.regmean(apply, g[1], images)),
      'RegMean layer by layer': (
        'model', lambda g: layerwise.regmean(apply, g[1], images, propagate=True)
      ),
      'distilled from the mean': (
        'reference',
        lambda g: self._distilled(
          layerwise.mean(g[1]),
          [(networks_lib.take(g[1], slice(t, t + 1)), images[t]) for t in tasks], seed,
        ),
      ),
    }  # fmt: skip
    found = {name: self._measured(kind, run, groups, tests) for name, (kind, run) in made.items()}
    single = [
      np.mean([self._right(net, *test) for net, test in zip(_each(nets), tests, strict=True)])
      for _, nets in groups
    ]
    return found | {'single network': _given('reference', single)}

  def _measured(
    self, kind: str, run: _Merge, groups: Sequence[Any], tests: Sequence[tuple[Any, Any]]
  ) -> dict[str, Any]:
    """Accuracy of the merge of every group, and seconds of one."""
    accuracy, start, inside = [], time.perf_counter(), 0.0
    for group in groups:
      start = time.perf_counter()
      net = run(group)
      inside += time.perf_counter() - start
      accuracy.append(self._accuracy(net, tests))
    return {'kind': kind, 'accuracy': np.array(accuracy), 'seconds': inside / len(groups)}

  def _accuracy(self, net: typing.Params, tests: Sequence[tuple[Any, Any]]) -> float:
    return float(np.mean([self._right(net, x, y) for x, y in tests]))

  def _probabilities(self, nets: typing.StackedParams, x: np.ndarray) -> np.ndarray:
    """[n, b, classes] of every network."""
    return np.stack([jax.nn.softmax(self.model.apply(net, x)) for net in _each(nets)])

  def _distilled(
    self, start: typing.Params, teachers: Sequence[tuple[typing.StackedParams, Any]], seed: int
  ) -> dict[str, np.ndarray]:
    """Trains a network on what teachers predict, each at its images; no labels are used."""
    x = np.concatenate([images for _, images in teachers])
    targets = np.concatenate(
      [self._probabilities(nets, images).mean(0) for nets, images in teachers]
    )
    one = {k: np.asarray(v)[None] for k, v in start.items()}
    made = _tune(self.model, one, x[None], targets[None], self.settings, seed)
    return {k: v[0] for k, v in made.items()}


def _each(nets: typing.StackedParams) -> list[dict[str, np.ndarray]]:
  return [{k: v[i] for k, v in nets.items()} for i in range(networks_lib.length(nets))]


def _given(kind: str, accuracy: Sequence[float]) -> dict[str, Any]:
  return {'kind': kind, 'accuracy': np.array(accuracy, float), 'seconds': None}


@functools.partial(jax.jit, static_argnums=(0, 4))
def _tune_all(
  architecture: model_lib.Model,
  nets: Any,
  x: jax.Array,
  targets: jax.Array,
  settings: Any,
  key: Any,
) -> Any:
  optimizer = settings.optimizer()

  def one(net: Any, x: jax.Array, targets: jax.Array, key: jax.Array) -> Any:
    def loss(net: Any, rows: jax.Array) -> jax.Array:
      return optax.softmax_cross_entropy(architecture.apply(net, x[rows]), targets[rows]).mean()

    def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
      net, state = carry
      rows = jax.random.randint(key, (settings.batch_size,), 0, len(x))
      update, state = optimizer.update(jax.grad(loss)(net, rows), state, net)
      return (optax.apply_updates(net, update), state), None

    keys = jax.random.split(key, settings.steps)
    return jax.lax.scan(step, (net, optimizer.init(net)), keys)[0][0]

  return jax.vmap(one)(nets, x, targets, jax.random.split(key, len(x)))


def _tune(
  architecture: model_lib.Model,
  nets: typing.StackedParams,
  x: np.ndarray,
  targets: np.ndarray,
  settings: loop.Settings,
  seed: int,
) -> dict[str, np.ndarray]:
  """Trains n networks, each on images [n, m, ...] and class probabilities [n, m, classes]."""
  stacked = {path: jnp.asarray(value) for path, value in nets.items()}
  made = _tune_all(architecture, stacked, x, targets, settings, jax.random.key(seed))
  return {path: np.asarray(value) for path, value in made.items()}
