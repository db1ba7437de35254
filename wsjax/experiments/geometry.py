"""Surveys the geometry of a zoo: barriers, flatness, dimension, implicit bias, modularity."""

import dataclasses
import functools
import operator
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import scipy.spatial.distance
import scipy.stats

from wsjax import config as config_lib
from wsjax import networks as networks_lib
from wsjax import terminal, typing
from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation import predictions as predictions_lib
from wsjax.evaluation import statistics
from wsjax.evaluation.report import model
from wsjax.experiments import base, sections
from wsjax.geometry import connectivity, dimension, flatness, implicit_bias, modularity
from wsjax.train import loop
from wsjax.train import objective as objective_lib
from wsjax.zoo import losses
from wsjax.zoo.data import datasets
from wsjax.zoo.store import store

BARRIER = metric_lib.Metric(
  'barrier', 'barrier', unit='nats', better='lower', format='.3f',
  doc='Highest rise of the loss above the chord between its ends; mean over pairs.',
)  # fmt: skip
HIGHEST = metric_lib.Metric(
  'highest', 'highest barrier', unit='nats', better='lower', format='.3f', heading='highest',
  doc='That of the worst pair.',
)  # fmt: skip
MEDIAN = metric_lib.Metric('median', 'median', doc='Median over networks.', format='.4g')
TAU_GAP = metric_lib.Metric(
  'tau_gap', "Kendall's τ with the gap", format='.3f', heading='τ with gap',
  doc='Rank correlation with the generalization gap: test loss minus training loss.',
)  # fmt: skip
TAU_LOSS = metric_lib.Metric(
  'tau_loss', "Kendall's τ with the test loss", format='.3f', heading='τ with test loss',
  doc='Rank correlation with the test loss.',
)  # fmt: skip
DIMENSION = (
  metric_lib.Metric(
    'participation', 'participation ratio', format='.1f',
    doc='Effective number of principal directions: (sum of variances)^2 / sum of squares.',
  ),
  metric_lib.Metric(
    'directions', 'principal directions for 90 %', format='.0f', heading='for 90 %',
    doc='Principal directions that have 90 % of the variance; below the number of networks.',
  ),
  metric_lib.Metric(
    'two_nearest', 'dimension by two neighbours', format='.1f', heading='two neighbours',
    doc='From the ratios of the distances to the two nearest networks (Facco et al. 2017).',
  ),
  metric_lib.Metric(
    'likelihood', 'dimension by likelihood', format='.1f', heading='likelihood',
    doc='From the distances to ten networks (Levina and Bickel 2004).',
  ),
)  # fmt: skip
SUBSPACE = (
  metric_lib.Metric('accuracy', 'accuracy', better='higher', format='.2%',
                    doc='Share of right test inputs.'),
  metric_lib.Metric('share', 'share of that in all dimensions', better='higher', format='.1%',
                    heading='of all', doc='Accuracy over that of training all weights.'),
)  # fmt: skip
MODULARITY = (
  metric_lib.Metric(
    'cut', 'normalized cut', better='lower', format='.3f',
    doc='Share of the weights of a module that lead out of it, summed over modules.',
  ),
  metric_lib.Metric(
    'z', 'cut beside shuffled weights', format='.2f', heading='z of shuffled',
    doc='Deviations below 0 by which the cut is lower than with the weights of each kernel '
        'shuffled.',
  ),
  metric_lib.Metric(
    'modular', 'networks that are modular', format='.1%', heading='modular',
    doc='Share whose cut is below those of 95 % of shuffled ones; by chance 5 %.',
  ),
  metric_lib.Metric(
    'needed', 'units that a class needs', format='.1%', heading='units of a class',
    doc='Share of the hidden units that keeps 90 % of the recall of a class.',
  ),
  metric_lib.Metric(
    'overlap', 'overlap of classes', format='.2f',
    doc='Units that two classes share, over the number that random sets of their sizes share.',
  ),
)  # fmt: skip
TOLD = metric_lib.Metric(
  'told', 'networks told', better='higher', format='.2%', heading='told',
  doc='Share of networks whose class a random forest tells from the measures, five-fold.',
)  # fmt: skip
# Training in a subspace counts as successful from this share of the accuracy, Li et al. 2018.
_SHARE = 0.9
_FOLDS = 5
_FISHER = 128  # Examples that the Fisher information is a mean over.


@dataclasses.dataclass(frozen=True)
class Section(config_lib.Section):
  """The section `geometry`.

  Attributes:
    num_networks: networks that are measured one by one, evenly chosen.
    num_in_set: networks whose set is measured.
    num_pairs: pairs of networks between which there are paths.
    num_examples: training examples that losses are means over.
    curve_steps: steps in which a curve is fitted.
    num_products: products of the Hessian with a vector, for its largest eigenvalue.
    num_directions: random directions of the sharpness and the trace.
    restarts: starts of matching.
    num_modular: networks whose modules are looked for.
    num_modules: modules of each.
    num_shuffled: networks with shuffled weights beside each of them.
    dims: of random subspaces that networks are trained in.
    subspace_steps: steps of that training.
    subspace_rate: learning rate of that training.
    batch_size: of that training.
  """

  num_networks: config_lib.PositiveInt = 64
  num_in_set: config_lib.PositiveInt = 128
  num_pairs: config_lib.PositiveInt = 16
  num_examples: config_lib.PositiveInt = 1_024
  curve_steps: config_lib.PositiveInt = 300
  num_products: config_lib.PositiveInt = 32
  num_directions: config_lib.PositiveInt = 16
  restarts: config_lib.PositiveInt = 3
  num_modular: config_lib.PositiveInt = 32
  num_modules: Annotated[int, config_lib.Range(min=2)] = 4
  num_shuffled: config_lib.PositiveInt = 19
  dims: tuple[config_lib.PositiveInt, ...] = ()
  subspace_steps: config_lib.PositiveInt = 1_000
  subspace_rate: config_lib.PositiveFloat = 1e-2
  batch_size: config_lib.PositiveInt = 128


class Geometry(base.Experiment):
  """Measures networks of a zoo, and the loss around and between them; nothing is learned.

  Without `zoo.dataset` there is no loss, and what needs one is left out.
  """

  METRICS = (
    BARRIER, HIGHEST, MEDIAN, TAU_GAP, TAU_LOSS, *DIMENSION, *SUBSPACE, *MODULARITY, TOLD
  )  # fmt: skip
  SECTIONS: ClassVar[Mapping[str, type]] = {'geometry': Section, 'evaluate': sections.Evaluate}

  def __init__(
    self, config: ml_collections.ConfigDict, zoo: store.Zoo, dataset: datasets.Dataset | None = None
  ):
    """Reads the networks and the data; see `Experiment`.

    Args:
      config: of the experiment.
      zoo: networks of one model.
      dataset: in place of `zoo.dataset`.

    Raises:
      ValueError: if there are fewer than 4 networks, or the data do not fit them.
    """
    super().__init__(config, zoo)
    self.section = config_lib.read(Section, 'geometry', config.geometry)
    self.model = zoo.model
    rows = zoo.select()
    if len(rows) < 4:
      raise ValueError(f'{zoo!r} has {len(rows)} final networks; at least 4 are needed.')
    self.rows = rows[networks_lib.evenly(len(rows), self.section.num_networks)]
    self.nets = networks_lib.Networks(zoo.params(self.rows), zoo.spec)
    self.train = self.nets.params
    self.data = dataset
    if 'dataset' in config.zoo:
      if self.model.task == 'image_fitting':
        raise ValueError(
          'zoo.dataset is given, but each network fits an image of its own: there is no common '
          'loss. Leave it out, and weights are looked at.'
        )
      self.data = datasets.load_for(zoo.records, **_arguments(config.zoo.dataset))
    if self.data is not None:
      self.data.check(self.model, 'train', 'test')
      if self.section.dims and self.data.loss is not None:
        raise ValueError('geometry.dims is given, but training in subspaces is for classifiers.')
      chosen = networks_lib.evenly(len(self.data.train_y), self.section.num_examples)
      self.examples = self.data.train_x[chosen], self.data.train_y[chosen]

  def objective(self, seed: int) -> objective_lib.Objective:
    """Raises, because `fit` trains nothing."""
    raise NotImplementedError

  def fit(self, seed: int, *, trains: bool = True) -> tuple[typing.PyTree, loop.History]:
    """Trains nothing."""
    del seed, trains
    return {}, {}

  def predict(self, params: typing.PyTree, seed: int) -> dict[str, Any]:
    """Measures the zoo with the first seed, and trains in subspaces with each."""
    del params
    has_loss = self.data is not None
    parts: list[Callable[[int], Any]] = []
    if seed == self.config.train.seeds[0]:
      parts = [self._dimension, self._modularity]
      if has_loss:
        parts += [self._paths, self._measures, self._losses, self._around]
    if has_loss and self.section.dims:
      parts.append(self._subspaces)
    found = {
      part.__name__[1:]: part(seed) for part in terminal.track(parts, 'survey', show=self.progress)
    }
    if 'measures' in found:
      found |= self._told(found['measures'], seed)
    return found

  def report(self, predictions: list[Any]) -> model.Report:
    """Puts the measurements into tables with intervals over networks."""
    found = predictions[0]
    parts = []
    if self.data is not None:
      parts = [self._path_report(found['paths']), self._measure_report(found)]
      if self.section.dims:
        parts.append(self._subspace_report([each['subspaces'] for each in predictions]))
      if 'told' in found:
        parts.append(self._recipe_report(found['told']))
    parts.append(self._dimension_report(found['dimension']))
    parts.append(self._modularity_report(found['modularity']))
    tables, figures, findings = (
      functools.reduce(operator.or_, same) for same in zip(*parts, strict=True)
    )
    if self.data is not None:
      figures |= self._around_figures(found['around'])
    notes = []
    if self.data is None:
      notes.append('zoo.dataset is not given: there is no loss, and only weights are looked at.')
    return model.Report(
      next(iter(findings.values())),
      tables,
      figures,
      findings,
      notes,
      {'Geometry': dataclasses.asdict(self.section) | {'networks': len(self.nets)}},
    )

  @functools.cached_property
  def loss(self) -> connectivity.Loss:
    """Mean loss of one network over the training examples; one function, compiled once."""
    data, examples = self.data, self.examples
    return lambda params: losses.value(data.loss, self.model, params, examples)

  def _paths(self, seed: int) -> dict[str, np.ndarray]:
    """Losses [pairs, s] on paths between networks as trained, and after matching."""
    spec, restarts = self.model.spec, self.section.restarts
    count = min(len(self.nets) // 2, self.section.num_pairs)
    a, b = self.nets[:count].params, self.nets[count : 2 * count].params
    ends = connectivity.matched(a, b, spec, restarts=restarts, seed=seed)
    keys = jax.random.split(jax.random.key(seed), count)
    moved = jax.vmap(lambda key, net: spec.act(spec.random(key), net))(keys, a)
    own = connectivity.matched(a, jax.device_get(moved), spec, restarts=restarts, seed=seed)
    options = {'seed': seed, 'steps': self.section.curve_steps}
    return {
      'line': connectivity.paths(self.loss, a, b),
      'line, matched': connectivity.paths(self.loss, *ends),
      'two lines': connectivity.paths(self.loss, a, b, curve='chain', **options),
      'Bezier curve': connectivity.paths(self.loss, a, b, curve='bezier', **options),
      'Bezier curve, matched': connectivity.paths(self.loss, *ends, curve='bezier', **options),
      'line to a disguised copy, matched': connectivity.paths(self.loss, *own),
    }

  def _path_report(self, paths: Mapping[str, np.ndarray]) -> tuple[dict, dict, dict]:
    rows = {}
    for name, found in paths.items():
      heights = connectivity.barrier(found)[None]
      kind = 'control' if 'copy' in name else 'baseline' if name == 'line' else 'model'
      stats = {
        'barrier': heights,
        'highest': (lambda s, i, h=heights: h[s, i].max(), heights.shape),
      }
      rows[name] = self.row(stats, kind)
    table = model.Table(
      'Barriers between independent networks',
      (BARRIER, HIGHEST),
      rows,
      'Between networks of different seeds. A curve is fitted to the loss of each pair. Matching '
      'reorders and rescales the units of one network, and keeps its function.',
    )
    t = np.linspace(0, 1, connectivity.NUM_POINTS).tolist()
    curves = [
      {
        'label': name,
        'kind': rows[name].kind,
        'x': t,
        'y': found.mean(axis=0),
        'style': _STYLES.get(name, 'solid'),
      }
      for name, found in paths.items()
    ]
    figure = model.Figure(
      'lines',
      {'panels': [{'lines': curves, 'xlabel': 'place on the path'}], 'ylabel': 'loss, nats'},
      'Loss on paths between networks',
      'Mean over pairs.',
    )
    heights = {name: BARRIER.text(row.value('barrier')) for name, row in rows.items()}
    finding = (
      f'The barrier between independent networks is {heights["line"]} nats on the line, '
      f'{heights["line, matched"]} after matching, and {heights["Bezier curve"]} on a fitted curve.'
    )
    return {'barriers': table}, {'paths': figure}, {'connectivity': finding}

  def _measures(self, seed: int) -> dict[str, np.ndarray]:
    """Measures of flatness, name -> [N]."""
    section, loss = self.section, self.loss
    keys = jax.random.split(jax.random.key(seed), 3)
    few = tuple(x[:_FISHER] for x in self.examples)
    example_loss = functools.partial(losses.value, self.data.loss, self.model)
    num = section.num_directions

    def top(params: typing.Params) -> jax.Array:
      return flatness.spectrum(loss, params, keys[0], num_products=section.num_products)[0][-1]

    # Each is a program of its own: together they can block each other on a CPU of two cores.
    parts: dict[str, Callable[[typing.Params], jax.Array]] = {
      'largest eigenvalue': top,
      'trace of the Hessian': lambda p: flatness.trace(loss, p, keys[1], num_vectors=num),
      'filter-normalized sharpness': lambda p: flatness.filter_sharpness(
        loss, p, keys[2], num_directions=num
      ),
      'adaptive sharpness': lambda p: flatness.adaptive_sharpness(loss, p),
      'effective parameters': lambda p: dimension.participation(
        dimension.fisher(example_loss, p, few)
      ),
    }
    # Convolutions of many networks at once are slower than of few.
    found = {name: self.nets.map(part, min(len(self.nets), 8)) for name, part in parts.items()}
    return found | implicit_bias.measures(self.model, self.nets.params, *self._labelled())

  def _labelled(self) -> tuple[Any, Any] | tuple[()]:
    """The examples, if they have classes."""
    return self.examples if self.data is not None and self.data.loss is None else ()

  def _losses(self, seed: int) -> dict[str, np.ndarray]:
    """Mean losses [N] on the training examples and on the test split; nothing is random."""
    del seed
    data = self.data
    test = data.test_x, data.test_y
    return {
      'train': self.nets.map(self.loss, chunk=min(len(self.nets), 32)),
      'test': self.nets.map(lambda params: losses.value(data.loss, self.model, params, test), 32),
    }

  def _measure_report(self, found: Mapping[str, Any]) -> tuple[dict, dict, dict]:
    test = found['losses']['test']
    gap = test - found['losses']['train']

    def correlation(values: np.ndarray, with_: np.ndarray) -> tuple[Callable, tuple[int, int]]:
      def tau(s: int, rows: np.ndarray) -> float:
        return scipy.stats.kendalltau(values[rows], with_[rows]).statistic

      return tau, (1, len(values))

    rows = {}
    for name, values in found['measures'].items():
      rows[name] = self.row(
        {
          'median': (lambda s, i, v=values: np.median(v[i]), (1, len(values))),
          'tau_gap': correlation(values, gap),
          'tau_loss': correlation(values, test),
        },
        'model' if name in _FLATNESS else 'baseline',
      )
    table = model.Table(
      'Flatness and generalization',
      (MEDIAN, TAU_GAP, TAU_LOSS),
      rows,
      'Measures of single networks, and how they order the networks beside the generalization gap '
      'and the test loss. Norms and margins stand beside those of flatness.',
    )
    best = max(rows, key=lambda name: abs(rows[name].value('tau_gap') or 0))
    stat = rows[best].stats['tau_gap']
    finding = (
      f'Of {len(rows)} measures the {best} goes most with the generalization gap: τ '
      f'{TAU_GAP.text(stat["value"])} [{TAU_GAP.interval(stat)}].'
    )
    figure = model.Figure(
      'scatter',
      {'x': found['measures'][best], 'y': gap, 'xlabel': best, 'ylabel': 'gap, nats'},
      'Flatness and generalization',
      'Single networks.',
    )
    return {'measures': table}, {'generalization': figure}, {'flatness': finding}

  def _around(self, seed: int) -> dict[str, Any]:
    """The loss around the first network: spectral density of its Hessian, and a landscape."""
    params, keys = self.nets[0], jax.random.split(jax.random.key(seed), 9)
    lanczos = jax.jit(jax.vmap(lambda key: flatness.spectrum(self.loss, params, key)))
    values, weights = lanczos(keys[:8])
    low, high = float(values.min()), float(values.max())
    width = (high - low) / 100
    grid = np.linspace(low - 5 * width, high + 5 * width, 221)
    curve = flatness.density(values, weights, grid, width=width)
    square = jax.jit(lambda key: flatness.landscape(self.loss, params, key))(keys[8])
    return {'grid': grid, 'density': np.asarray(curve), 'landscape': np.asarray(square)}

  def _around_figures(self, around: Mapping[str, Any]) -> dict[str, model.Figure]:
    lines = [{'x': around['grid'], 'y': np.maximum(around['density'], 1e-6), 'kind': 'model'}]
    return {
      'spectrum': model.Figure(
        'lines',
        {
          'panels': [{'lines': lines, 'xlabel': 'eigenvalue of the Hessian'}],
          'ylabel': 'density', 'scale': 'log',
        },
        'Curvature',
        'Spectral density at the first network, by Lanczos from 8 random vectors.',
      ),
      'landscape': model.Figure(
        'contours',
        {'values': around['landscape'], 'span': 1.0, 'label': 'loss, nats'},
        'Landscape',
        'Loss around the first network in two random directions; at 1 each filter has moved by its '
        'own norm.',
      ),
    }  # fmt: skip

  def _dimension(self, seed: int) -> dict[str, Any]:
    """Sets -> (vectors [N, p], distances [N, N])."""
    spec = self.model.spec
    nets = self.nets[networks_lib.evenly(len(self.nets), self.section.num_in_set)]
    options = {'restarts': self.section.restarts, 'seed': seed}
    aligned = spec.canonicalize(nets.params, 'permutation+scale', reference=nets[0], **options)
    quotient = spec.distance(nets.params, nets.params, reference=nets[0], **options)
    np.fill_diagonal(quotient, 0)
    vectors = {'as trained': nets.flat(), 'matched to one': networks_lib.flatten(aligned)}
    noise = np.random.default_rng(seed).normal(size=vectors['as trained'].shape)
    center = vectors['matched to one'].mean(axis=0)
    # A set without structure, that has the same variances.
    vectors['Gaussian'] = center + noise * vectors['matched to one'].std(axis=0)
    found = {
      name: (each, scipy.spatial.distance.cdist(each, each)) for name, each in vectors.items()
    }
    found['matched to one'] = found['matched to one'][0], (quotient + quotient.T) / 2
    return found

  def _dimension_report(self, found: Mapping[str, Any]) -> tuple[dict, dict, dict]:
    rows, curves = {}, []
    for name, (vectors, distances) in found.items():
      shares = dimension.principal(vectors)
      kind = 'control' if name == 'Gaussian' else 'model'
      stats = {
        'participation': {'value': dimension.participation(shares)},
        'directions': {'value': dimension.number_for(shares)},
      }
      for key, estimate in (
        ('two_nearest', dimension.two_nearest), ('likelihood', dimension.likelihood)
      ):  # fmt: skip
        try:
          stats[key] = self._without_each(estimate, distances)
        except ValueError as error:
          stats[key] = statistics.not_run(str(error))
      rows[name] = model.Row(len(vectors), stats, kind)
      counts = np.arange(1, len(shares) + 1)
      curves.append({'label': name, 'kind': kind, 'x': counts, 'y': np.cumsum(shares)})
    table = model.Table(
      'Dimension of the set of networks',
      DIMENSION,
      rows,
      f'{len(vectors)} networks of {self.model.spec.num_params:,} weights. Neighbours of matched '
      'networks are those by the distance up to symmetry. The Gaussian set has the variances of '
      'the matched networks and no structure: a set with a lower dimension than that has some. '
      'Intervals leave out one twentieth of the networks at a time.',
    )
    figure = model.Figure(
      'lines',
      {
        'panels': [{'lines': curves, 'xlabel': 'principal directions'}],
        'ylabel': 'share of the variance', 'share': True,
      },
      'Principal directions',
    )  # fmt: skip
    text = {name: DIMENSION[0].text(row.value('participation')) for name, row in rows.items()}
    finding = (
      f'{len(vectors)} networks fill {text["matched to one"]} directions, as trained '
      f'{text["as trained"]}, a Gaussian set {text["Gaussian"]}, of '
      f'{self.model.spec.num_params:,} weights.'
    )
    return {'dimension': table}, {'principal': figure}, {'dimension': finding}

  def _without_each(
    self, estimate: Callable[[np.ndarray], float], distances: np.ndarray
  ) -> metric_lib.Stat:
    """An estimate with the interval of a jackknife over blocks of networks."""
    count = len(distances)
    blocks = np.array_split(np.random.default_rng(0).permutation(count), min(20, count))
    parts = []
    for block in blocks:
      kept = np.setdiff1d(np.arange(count), block)
      parts.append(estimate(distances[np.ix_(kept, kept)]))
    error = np.sqrt((len(parts) - 1) * np.var(parts))
    value = estimate(distances)
    return {
      'value': value, 'low': value - 1.96 * error, 'high': value + 1.96 * error, 'n': count,
      'method': 'jackknife',
    }  # fmt: skip

  def _told(self, measures: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """{'told': [2, N] optimizers, and those that the measures tell}; {} if there is one only."""
    try:
      names = self.zoo.column('optimizer', 'name')[self.rows]
    except ValueError:  # No record says it.
      return {}
    counts = np.unique(names, return_counts=True)[1]
    if len(counts) < 2 or counts.min() < _FOLDS:
      return {}
    features = np.stack(list(measures.values()), axis=1)
    told = implicit_bias.told(features, names, folds=_FOLDS, seed=seed)
    return {'told': np.stack([names, told])}

  def _recipe_report(self, told: np.ndarray) -> tuple[dict, dict, dict]:
    names, counts = np.unique(told[0], return_counts=True)
    largest = names[counts.argmax()]
    rows = {
      'from the geometry': self.row({'told': (told[0] == told[1])[None]}, 'model'),
      f'always {largest}': self.row({'told': (told[0] == largest)[None]}),
    }
    table = model.Table(
      'Optimizer from geometry', (TOLD,), rows, f'Of {", ".join(names)}, from all measures above.'
    )
    stat = rows['from the geometry'].stats['told']
    finding = (
      f'The optimizer is told from the geometry for {TOLD.text(stat["value"])} % '
      f'[{TOLD.interval(stat)}] of the networks; always {largest} is right for '
      f'{100 * counts.max() / counts.sum():.1f} %.'
    )
    return {'recipe': table}, {}, {'implicit bias': finding}

  def _modularity(self, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Row -> metric -> [n]."""
    section, spec = self.section, self.model.spec
    rows = networks_lib.evenly(len(self.nets), section.num_modular)
    sets = {'trained': self.nets[rows]}
    if self.model.can_init:
      keys = jax.random.split(jax.random.key(seed), len(rows))
      drawn = jax.device_get(jax.vmap(self.model.init)(keys))
      sets['as drawn'] = networks_lib.Networks(drawn, spec)
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, nets in sets.items():
      cuts, z, is_modular = [], [], []
      for i, net in enumerate(nets):
        cut, shuffled = modularity.against_shuffled(
          net, spec, count=section.num_modules, num_shuffled=section.num_shuffled, seed=seed + i
        )
        deviations, p = modularity.beside(cut, shuffled, low=True)
        cuts.append(cut)
        z.append(deviations)
        is_modular.append(p <= 0.05)
      found[name] = {'cut': np.array(cuts), 'z': np.array(z), 'modular': np.array(is_modular)}
    if labelled := self._labelled():
      x, y = map(jnp.asarray, labelled)
      num = int(self.data.train_y.max()) + 1

      def units(params: typing.Params) -> jax.Array:
        return modularity.class_units(self.model, params, x, y, num_classes=num)

      chosen = sets['trained'].map(units, chunk=1)
      found['trained']['needed'] = chosen.mean(axis=(1, 2))
      found['trained']['overlap'] = np.array([modularity.overlap(each) for each in chosen])
    return found

  def _modularity_report(self, found: Mapping[str, Any]) -> tuple[dict, dict, dict]:
    rows = {
      name: self.row(
        # Two classes that need no units have no overlap.
        {key: (lambda s, i, v=v: np.nanmean(v[i]), (1, len(v))) for key, v in each.items()},
        'model' if name == 'trained' else 'control',
      )
      for name, each in found.items()
    }
    table = model.Table(
      'Modularity',
      MODULARITY,
      rows,
      f'Units of a network, clustered into {self.section.num_modules} modules by the weights '
      'between them, beside networks with the weights of each kernel shuffled.',
    )
    stat, drawn = rows['trained'].stats['modular'], rows.get('as drawn')
    finding = (
      f'{MODULARITY[2].with_unit(stat["value"])} of trained networks are more modular than with '
      'shuffled weights'
      + (f', {MODULARITY[2].with_unit(drawn.value("modular"))} as drawn.' if drawn else '.')
    )
    return {'modularity': table}, {}, {'modularity': finding}

  def _subspaces(self, seed: int) -> dict[str, float]:
    """Accuracy of a network trained in random subspaces, and in all dimensions."""
    data, section = self.data, self.section
    start = self.model.init(jax.random.key(seed))
    x, y = data.train_x, data.train_y
    rng = np.random.default_rng(seed)
    rows = rng.integers(len(y), size=(section.subspace_steps, section.batch_size))

    def loss(params: typing.Params, batch: jax.Array) -> jax.Array:
      return losses.value(data.loss, self.model, params, (x[batch], y[batch]))

    found = {}
    x, y = jax.device_put(x), jax.device_put(y)
    whole = self.model.spec.num_params
    for dim in (*section.dims, whole):
      train = jax.jit(functools.partial(
        dimension.train_in_subspace, loss, dim=dim, learning_rate=section.subspace_rate
      ))  # fmt: skip
      net = train(start, rows, key=jax.random.key(seed + 1))
      one = {path: value[None] for path, value in net.items()}
      found[str(dim)] = float(
        predictions_lib.accuracy(self.model, one, data.test_x, data.test_y)[0]
      )
    return found

  def _subspace_report(self, found: list[dict[str, float]]) -> tuple[dict, dict, dict]:
    whole = str(self.model.spec.num_params)
    rows = {}
    for dim in found[0]:
      accuracy = np.array([each[dim] for each in found])
      of_all = accuracy / [each[whole] for each in found]
      nothing, kind = np.zeros(len(found)), 'ceiling' if dim == whole else 'model'
      stats = {'accuracy': accuracy, 'share': of_all}
      stats = {name: statistics.paired(values, nothing) for name, values in stats.items()}
      rows[f'{int(dim):,} dimensions'] = model.Row(len(found), stats, kind)
    table = model.Table(
      'Training in random subspaces',
      SUBSPACE,
      rows,
      'A network is trained from a random start within a random subspace through it. Intrinsic '
      f'dimension: the smallest that has {_SHARE:.0%} of the accuracy in all dimensions (Li et al. '
      '2018, arXiv:1804.08838).',
    )
    line = {
      'x': [int(dim) for dim in found[0] if dim != whole],
      'y': [row.value('share') for row in rows.values()][:-1],
      'kind': 'model',
    }
    shares = zip(found[0], (row.value('share') for row in rows.values()), strict=True)
    good = [int(dim) for dim, share in shares if share >= _SHARE]
    panel = {'lines': [line], 'xlabel': 'dimensions'}
    if min(good) < int(whole):
      panel['marks'] = [{'x': min(good), 'label': f'{_SHARE:.0%} at {min(good):,}'}]
    figure = model.Figure(
      'lines',
      {'panels': [panel], 'ylabel': 'accuracy over that in all', 'xscale': 'log', 'share': True},
      'Intrinsic dimension',
    )
    finding = (
      f'Of {int(whole):,} dimensions {min(good):,} are enough for {_SHARE:.0%} of the accuracy.'
    )
    return {'subspaces': table}, {'subspaces': figure}, {'intrinsic dimension': finding}


_STYLES = {'line, matched': 'dotted', 'two lines': 'faint'}
_FLATNESS = (
  'largest eigenvalue', 'trace of the Hessian', 'filter-normalized sharpness',
  'adaptive sharpness', 'effective parameters',
)  # fmt: skip


def _arguments(section: ml_collections.ConfigDict) -> dict[str, Any]:
  """What `datasets.load` takes of a section zoo.dataset."""
  return {key: section[key] for key in ('name', 'root', 'val_fraction') if key in section}
