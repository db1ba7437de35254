"""Weights for architectures that nobody trained, by a graph hypernetwork, and their ranking.

The hypernetwork is trained on random architectures of a space of dense networks, through the
networks that it makes. Held-out ones, some wider and deeper than any of the space, get weights in
one pass; they are compared with one epoch of training, whose optimizer, learning rate and
initialization are chosen for each family of architectures, and trained from the predicted weights
themselves. A predictor on the vectors of their graphs ranks them, beside proxies without training.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from wsjax import config as config_lib
from wsjax import typing
from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation.report import model
from wsjax.experiments import base, sections
from wsjax.experiments.architect import hypernetwork, prediction, ranking, space
from wsjax.models import mlp
from wsjax.train import objective as objective_lib
from wsjax.zoo.data import datasets
from wsjax.zoo.store import store

ACCURACY = metric_lib.Metric(
  'accuracy', 'accuracy', better='higher', format='.2%',
  doc='Share of right test images, mean over architectures.',
)  # fmt: skip
LEAST = metric_lib.Metric(
  'least', 'lowest accuracy', better='higher', format='.1%', heading='lowest',
  doc='Of the worst architecture.',
)  # fmt: skip
BEATS = metric_lib.Metric(
  'beats', 'at or above the tuned epoch', better='higher', format='.1%', heading='≥ epoch',
  doc='Share of architectures at or above one epoch from random weights, with the optimizer, '
  'learning rate and initialization that are best on validation architectures of their family.',
)  # fmt: skip
GAIN = metric_lib.Metric(
  'gain', 'gain over the tuned epoch', better='higher', format='.2%', heading='gain',
  doc='Accuracy minus that of that epoch, paired by architecture.',
)  # fmt: skip
TAU = metric_lib.Metric(
  'tau', "Kendall's tau", better='higher', format='.3f', heading='τ',
  doc='Rank correlation, over held-out architectures of the space, with their accuracy after one '
  'epoch from random weights, mean over two seeds.',
)  # fmt: skip
AHEAD = metric_lib.Metric(
  'ahead', 'predictor minus it', better='none', format='.3f', heading='behind ours by',
  doc='Tau of the predictor on graph vectors minus that of the row, over resampled architectures.',
)  # fmt: skip
_OWN = 'process on graph vectors'
_VAL = 2_000  # Validation images.


@dataclasses.dataclass(frozen=True)
class Section(config_lib.Section):
  """The section `architect`.

  Attributes:
    depths: numbers of hidden layers of the space.
    widths: of hidden layers of the space.
    deeper: numbers of hidden layers of held-out architectures that are deeper.
    wider: widths of held-out architectures that are wider.
    held_out: architectures of the space that no training sees.
    beyond: held-out architectures of either kind beyond the space.
    pool: side of the square of pixels that are averaged.
    per_step: architectures of one training step.
    tune: validation architectures of a family on which its epoch is chosen.
    sgd: learning rates of SGD with momentum that are tried.
    adam: those of Adam.
    initializers: that are tried.
    batch: images of a step of the epoch.
    ranked: training architectures that are trained for the predictors.
  """

  depths: tuple[config_lib.PositiveInt, ...] = (1, 2, 3, 4)
  widths: tuple[config_lib.PositiveInt, ...] = tuple(range(8, 65, 8))
  deeper: tuple[config_lib.PositiveInt, ...] = (5, 6)
  wider: tuple[config_lib.PositiveInt, ...] = (72, 80, 88, 96)
  held_out: config_lib.PositiveInt = 100
  beyond: config_lib.PositiveInt = 24
  pool: config_lib.PositiveInt = 2
  per_step: config_lib.PositiveInt = 8
  tune: config_lib.PositiveInt = 2
  sgd: tuple[config_lib.PositiveFloat, ...] = (0.02, 0.05, 0.1, 0.2)
  adam: tuple[config_lib.PositiveFloat, ...] = (1e-3, 3e-3, 1e-2)
  initializers: tuple[Annotated[str, config_lib.OneOf(mlp.INITIALIZERS)], ...] = (
    'he_normal', 'glorot_uniform', 'torch_uniform',
  )  # fmt: skip
  batch: config_lib.PositiveInt = 64
  ranked: config_lib.PositiveInt = 200

  def __post_init__(self):
    super().__post_init__()
    if not self.depths or not self.widths or not self.initializers or not self.sgd + self.adam:
      raise ValueError(
        'architect.depths, widths, initializers, and sgd or adam need at least one value.'
      )
    if self.deeper and min(self.deeper) <= max(self.depths):
      raise ValueError(
        f'architect.deeper is {self.deeper}; allowed: above {max(self.depths)}, the deepest of the '
        'space.'
      )


@dataclasses.dataclass(frozen=True)
class Network(config_lib.Section):
  """The section `network`: fields of `hypernetwork.GraphHypernetwork`."""

  width: config_lib.PositiveInt = 64
  depth: config_lib.PositiveInt = 2
  num_heads: config_lib.PositiveInt = 4
  rank: config_lib.PositiveInt = 48
  code: config_lib.PositiveInt = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Loss(objective_lib.Objective):
  """Cross-entropy of the networks that the hypernetwork makes, on images; no weights are given.

  Attributes:
    network: the hypernetwork.
    found: `space.tables` of all training architectures, sorted by depth.
    starts: place of the first architecture of every depth, and their number.
    per_step: architectures of one step.
  """

  network: hypernetwork.GraphHypernetwork
  found: dict[str, np.ndarray]
  starts: np.ndarray
  per_step: int

  def init(self, key: jax.Array, example: typing.PyTree) -> typing.PyTree:
    """Draws the variables of the hypernetwork."""
    table = {name: x[0] for name, x in self.found.items()}
    return self.network.init(
      key, table['features'], table['relation'], table['mask'], self.network.units
    )

  def loss(
    self, params: typing.PyTree, batch: typing.PyTree, key: jax.Array, *, train: bool = True
  ) -> tuple[jax.Array, objective_lib.Metrics]:
    """Mean over architectures, drawn anew in each step of training, of a batch of images."""
    depth_key, place_key = jax.random.split(key if train else jax.random.key(0))
    # All depths count alike: of all architectures most are of the deepest.
    depth = jax.random.randint(depth_key, (self.per_step,), 0, len(self.starts) - 1)
    starts = jnp.asarray(self.starts)
    share = jax.random.uniform(place_key, (self.per_step,))
    rows = starts[depth] + jnp.floor(share * (starts[depth + 1] - starts[depth])).astype(int)
    tables = {name: jnp.asarray(x)[rows] for name, x in self.found.items()}

    def one(table: typing.PyTree) -> jax.Array:
      net = space.one(self.network, params, table, self.network.units)
      return space.cross_entropy(space.forward(net, table, batch['x']), batch['y'])

    return jnp.mean(jax.vmap(one)(tables)), {}


class Architect(base.Experiment):
  """Trains a graph hypernetwork, and compares what it makes with training."""

  METRICS = (ACCURACY, LEAST, BEATS, GAIN, TAU, AHEAD)
  SECTIONS: ClassVar[Mapping[str, type]] = {
    'architect': Section, 'network': Network, 'evaluate': sections.Evaluate,
  }  # fmt: skip

  @classmethod
  def check(cls, config: ml_collections.ConfigDict, counts: Mapping[str, int] | None) -> None:
    """Checks that there are enough architectures, and data."""
    if 'dataset' not in config.zoo:
      raise ValueError('zoo.dataset is missing; networks are trained on it.')
    section = config_lib.read(Section, 'architect', config.get('architect', {}))
    count = len(space.architectures(section.depths, section.widths))
    needed = section.held_out + section.ranked + 12 * section.tune
    if count <= needed:
      raise ValueError(
        f'architect has a space of {count} architectures; held_out, ranked and tune need more than '
        f'{needed}.'
      )

  def __init__(self, config: ml_collections.ConfigDict, zoo: store.Zoo):
    super().__init__(config, zoo)
    self.section = config_lib.read(Section, 'architect', config.architect)
    data = datasets.load(**config.zoo.dataset)
    parts = {
      part: space.pooled(getattr(data, f'{part}_x'), self.section.pool) for part in base.SPLITS
    }
    # Of the training images alone.
    middle, size = parts['train'].mean(0), parts['train'].std() + 1e-6
    self.middle, self.size = middle, float(size)
    self.x = {part: (x - middle) / size for part, x in parts.items()}
    self.y = {part: getattr(data, f'{part}_y') for part in base.SPLITS}
    self.x['val'], self.y['val'] = self.x['val'][:_VAL], self.y['val'][:_VAL]
    self.inputs, self.outputs = self.x['train'].shape[1], data.num_classes
    self.network = hypernetwork.GraphHypernetwork(
      inputs=self.inputs, outputs=self.outputs, units=max(self.section.widths),
      **dataclasses.asdict(config_lib.read(Network, 'network', config.network)),
    )  # fmt: skip
    self.train = {'x': self.x['train'], 'y': self.y['train']}
    self.val = {'x': self.x['val'], 'y': self.y['val']} if len(self.x['val']) else None
    self._split()

  def _split(self) -> None:
    """Draws held-out architectures of the space and beyond it."""
    section, rng = self.section, np.random.default_rng(self.config.seed)
    everything = space.architectures(section.depths, section.widths)
    # As many of every depth, as far as there are.
    by_depth = [[x for x in everything if len(x[0]) == depth] for depth in sorted(section.depths)]
    held: list[Any] = []
    for number, group in enumerate(by_depth):
      want = (section.held_out - len(held)) // (len(by_depth) - number)
      rows = rng.choice(len(group), min(want, len(group) // 2), replace=False)
      held += [group[row] for row in rows]
    taken = set(held)
    self.known = [[x for x in group if x not in taken] for group in by_depth]
    self.held = {'in the space': held}

    def draw(depths: Sequence[int], widths: Sequence[int]) -> list[Any]:
      return [
        (
          tuple(int(w) for w in rng.choice(widths, rng.choice(depths))),
          space.ACTIVATIONS[rng.integers(len(space.ACTIVATIONS))],
        )
        for _ in range(section.beyond)
      ]

    if section.wider:
      self.held['wider'] = draw(section.depths, section.wider)
    if section.deeper:
      self.held['deeper'] = draw(section.deeper, section.widths)

  def objective(self, seed: int) -> objective_lib.Objective:
    """The loss of networks that are made; see `Loss`."""
    chosen = [one for group in self.known for one in group]
    padding = self._padding(chosen)
    found = space.tables(chosen, padding, self.network)
    starts = np.cumsum([0, *map(len, self.known)])
    return Loss(self.network, found, starts, self.section.per_step)

  def predict(self, params: typing.PyTree, seed: int) -> dict[str, Any]:
    """Makes, trains and ranks the held-out architectures.

    Returns:
      'accuracy', split -> method -> [n] accuracies; 'choice', family -> what was chosen for it;
      'rank', method -> [n] scores of architectures of the space, and 'truth', their accuracies.
    """
    prediction.save(self.workdir / f'seed{seed}', self.network, params, self.facts())
    rng = np.random.default_rng([self.config.seed, seed])
    choice = self._choose(params, rng, seed)
    found: dict[str, Any] = {'accuracy': {}, 'choice': choice}
    order = self._order(rng)
    for split, chosen in self.held.items():
      found['accuracy'][split] = self._compare(params, chosen, choice, order, seed)
    found |= self._rank(params, choice, order, seed)
    return found

  def facts(self) -> dict[str, Any]:
    """What a prediction needs to know beside the weights of the hypernetwork."""
    record = self.zoo.records[0]
    kept = ('datasets', 'license', 'license_effective', 'attribution', 'redistributable')
    return {
      'middle': self.middle.tolist(), 'size': self.size, 'pool': self.section.pool,
      'record': {key: record.get(key) for key in kept},
    }  # fmt: skip

  def _padding(self, chosen: Sequence[Any]) -> space.Padding:
    """One of two, so that there are few programs: of the space, or of all that is beyond it."""
    section = self.section
    own = space.Padding(max(2, *section.depths), max(section.widths))
    if all(len(hidden) <= own.depth and max(hidden) <= own.width for hidden, _ in chosen):
      return own
    return space.Padding(max(own.depth, *section.deeper, 0), max(own.width, *section.wider, 0))

  def _order(self, rng: np.random.Generator) -> np.ndarray:
    """[steps, batch] an epoch of training images."""
    batch = self.section.batch
    count = len(self.y['train']) // batch * batch
    return rng.permutation(len(self.y['train']))[:count].reshape(-1, batch)

  def _trained(
    self, nets: Any, tables: Any, rates: Any, optimizer: str, order: np.ndarray, part: str
  ) -> np.ndarray:
    """Accuracies [n] after an epoch."""
    made = space.train(nets, tables, rates, self.x['train'], self.y['train'], order, optimizer)
    return space.accuracy(made, tables, self.x[part], self.y[part])

  def _starts(self, params: typing.PyTree, chosen: Any, padding: Any, seed: int) -> dict[str, Any]:
    """Weights before training: initializer -> networks, and 'predicted'."""
    tables = space.tables(chosen, padding, self.network)
    sizes = self.inputs, self.outputs
    made = {
      name: space.initial(chosen, padding, *sizes, name, 1_000 * seed + number)
      for number, name in enumerate(self.section.initializers)
    }
    return made | {'predicted': space.make(self.network, params, tables, padding.width)}

  def _choose(
    self, params: typing.PyTree, rng: np.random.Generator, seed: int
  ) -> dict[str, dict[str, tuple[str, float]]]:
    """Optimizer and learning rate that are best on average for each family and start.

    A family has one depth and one activation. Validation architectures are training ones, and they
    are scored on validation images.
    """
    section = self.section
    names, chosen = [], []
    for depth, group in zip(sorted(section.depths), self.known, strict=True):
      for activation in space.ACTIVATIONS:
        own = [one for one in group if one[1] == activation]
        rows = rng.choice(len(own), min(section.tune, len(own)), replace=False)
        chosen += [own[row] for row in rows]
        names += [f'{depth} {activation}'] * len(rows)
    padding, order = self._padding(chosen), self._order(rng)
    tables = space.tables(chosen, padding, self.network)
    part = 'val' if len(self.x['val']) else 'train'
    options = [('sgd', rate) for rate in section.sgd] + [('adam', rate) for rate in section.adam]
    choice: dict[str, dict[str, tuple[str, float]]] = {name: {} for name in names}
    for start, nets in self._starts(params, chosen, padding, seed).items():
      score = np.array([
        self._trained(nets, tables, np.full(len(chosen), rate), optimizer, order, part)
        for optimizer, rate in options
      ])  # fmt: skip
      for name in choice:
        means = score[:, [i for i, other in enumerate(names) if other == name]].mean(1)
        choice[name][start] = (*options[int(np.argmax(means))], float(means.max()))
    return choice

  def _family(self, one: Any, choice: Mapping[str, Any]) -> Mapping[str, Any]:
    """Choice of the family of an architecture; a deeper one has that of the deepest."""
    depth = min(len(one[0]), max(self.section.depths))
    return choice[f'{depth} {one[1]}']

  def _epoch(
    self, nets: Any, chosen: Sequence[Any], choice: Mapping[str, Any], start: str, tables: Any,
    order: np.ndarray,
  ) -> np.ndarray:  # fmt: skip
    """Test accuracies [n] after an epoch as chosen for each family."""
    settings = [self._family(one, choice)[start] for one in chosen]
    result = np.zeros(len(chosen))
    for optimizer in space.OPTIMIZERS:
      rows = np.array([i for i, setting in enumerate(settings) if setting[0] == optimizer], int)
      if len(rows):
        part, rates = (
          jax.tree.map(lambda x: x[rows], (nets, tables)),
          [settings[i][1] for i in rows],
        )
        result[rows] = self._trained(*part, np.array(rates), optimizer, order, 'test')
    return result

  def _compare(
    self, params: typing.PyTree, chosen: Sequence[Any], choice: Mapping[str, Any],
    order: np.ndarray, seed: int,
  ) -> dict[str, np.ndarray]:  # fmt: skip
    """Test accuracies [n] of every method."""
    padding = self._padding(chosen)
    tables = space.tables(chosen, padding, self.network)
    starts = self._starts(params, chosen, padding, seed + 1)
    found = {
      'predicted': space.accuracy(starts['predicted'], tables, self.x['test'], self.y['test'])
    }
    for start, nets in starts.items():
      found[f'epoch from {start}'] = self._epoch(nets, chosen, choice, start, tables, order)
    # The initialization, too, is chosen for the family.
    best = [
      max(self.section.initializers, key=lambda name: self._family(one, choice)[name][2])
      for one in chosen
    ]
    found['tuned epoch'] = np.array([found[f'epoch from {b}'][i] for i, b in enumerate(best)])
    return found

  def _rank(
    self, params: typing.PyTree, choice: Mapping[str, Any], order: np.ndarray, seed: int
  ) -> dict[str, Any]:
    """Scores of held-out architectures of the space, and their accuracies after an epoch."""
    section, rng = self.section, np.random.default_rng([self.config.seed, seed, 1])
    known: list[Any] = []
    for number, group in enumerate(self.known):
      want = (section.ranked - len(known)) // (len(self.known) - number)
      known += [group[i] for i in rng.choice(len(group), min(want, len(group)), replace=False)]
    held = self.held['in the space']
    first = section.initializers[0]
    truth, vectors, zero, proxies = {}, {}, {}, {}
    for name, chosen, runs in (('known', known, 1), ('held', held, 2)):
      padding = self._padding(chosen)
      tables = space.tables(chosen, padding, self.network)
      accuracies = []
      for run in range(runs):
        nets = space.initial(
          chosen, padding, self.inputs, self.outputs, first, 7 + 1_000 * seed + 100 * run
        )
        order = self._order(rng)
        accuracies.append(self._epoch(nets, chosen, choice, first, tables, order))
      truth[name] = np.mean(accuracies, 0)
      made = space.make(self.network, params, tables, padding.width)
      part = 'val' if len(self.x['val']) else 'train'
      zero[name] = space.accuracy(made, tables, self.x[part], self.y[part])
      vectors[name] = _vectors(self.network, params, tables)
      if name == 'held':
        proxies = {
          'synflow': ranking.synflow(nets, tables),
          'NASWOT': ranking.naswot(nets, tables, self.x['train']),
        }
    sizes = self.inputs, self.outputs
    plain = {name: ranking.graph_features(x) for name, x in (('known', known), ('held', held))}
    both = {
      name: np.concatenate([vectors[name], np.log(1.02 - zero[name])[:, None]], 1)
      for name in vectors
    }
    # Errors differ by factors.
    goal = -np.log(1.02 - truth['known'])
    scores = {
      _OWN: ranking.process(both['known'], goal, both['held']),
      'accuracy of predicted weights': zero['held'],
      'number of weights': ranking.num_params(held, *sizes),
      'operations': ranking.num_products(held, *sizes),
      **proxies,
      'random forest on widths': ranking.forest(plain['known'], goal, plain['held'], seed=seed),
    }
    return {'rank': scores, 'truth': truth['held']}

  def report(self, predictions: list[dict[str, Any]]) -> model.Report:
    """Compares predicted weights with training, and rankings with what training gives."""
    tables, figures = {}, {}
    for split in self.held:
      found = [prediction['accuracy'][split] for prediction in predictions]
      tuned = np.stack([each['tuned epoch'] for each in found])
      rows = {}
      for name in found[0]:
        accuracy = np.stack([each[name] for each in found])
        stats: dict[str, Any] = {'accuracy': accuracy}
        if name != 'tuned epoch':
          stats |= {'beats': (accuracy >= tuned).astype(float), 'gain': accuracy - tuned}
        kind = 'model' if 'predicted' in name else 'baseline'
        kind = 'reference' if name == 'tuned epoch' else kind
        rows[name] = self.row(stats, kind)
        rows[name].stats['least'] = {'value': float(accuracy.min())}
      key = split.replace(' ', '_')
      tables[key] = model.Table(f'Held out, {split}', (ACCURACY, LEAST, BEATS, GAIN), rows)
      figures[key] = model.Figure('intervals', {'table': key, 'metrics': ['accuracy', 'gain']})
    tables['ranking'] = self._ranking(predictions)
    first = tables['in_the_space'].rows
    zero, after = first['predicted'], first['epoch from predicted']
    rank = tables['ranking'].rows
    other = max((n for n in rank if n != _OWN), key=lambda name: rank[name].value('tau'))
    headline = (
      f'Predicted weights have {ACCURACY.with_unit(zero.value("accuracy"))} on architectures '
      f'never seen, and are at or above a tuned epoch on {BEATS.with_unit(zero.value("beats"))} of '
      f'them; after an epoch from them, on {BEATS.with_unit(after.value("beats"))}. Ranking: tau '
      f'{TAU.text(rank[_OWN].value("tau"))}, the best baseline, {other}, '
      f'{TAU.text(rank[other].value("tau"))}.'
    )
    facts = {
      'Space': {
        'architectures': sum(map(len, self.known)) + len(self.held['in the space']),
        **{split: len(chosen) for split, chosen in self.held.items()},
      },
      'Hypernetwork': self.model_facts(self.config.network),
      'Chosen for the families': {
        f'{name}, {start}': f'{one[0]} {one[1]:g}'
        for name, starts in predictions[0]['choice'].items()
        for start, one in starts.items()
      },
    }  # fmt: skip
    return model.Report(headline, tables, figures, facts=facts)

  def _ranking(self, predictions: list[dict[str, Any]]) -> model.Table:
    """Rank correlations with intervals over architectures and seeds."""
    count = len(predictions[0]['truth'])
    shape, rows = (len(predictions), count), {}

    def correlation(name: str, s: int, places: np.ndarray) -> float:
      one = predictions[s]
      return ranking.tau(one['rank'][name][places], one['truth'][places])

    for name in predictions[0]['rank']:
      own = functools.partial(correlation, name)
      stats: dict[str, Any] = {'tau': (own, shape)}
      if name != _OWN:
        stats['ahead'] = (
          lambda s, places, own=own: correlation(_OWN, s, places) - own(s, places), shape,
        )  # fmt: skip
      rows[name] = self.row(stats, 'model' if name == _OWN else 'baseline')
    return model.Table('Ranking without training', (TAU, AHEAD), rows)


def _vectors(
  network: hypernetwork.GraphHypernetwork, params: typing.PyTree, tables: Mapping[str, Any]
) -> np.ndarray:
  """Mean, first and last vector of the layers of each architecture, and sizes of its graph."""

  def one(table: typing.PyTree) -> jax.Array:
    x = network.apply(params, table['features'], table['relation'], table['mask'], method='embed')
    mask = table['mask'][:, None]
    return jnp.concatenate([(x * mask).sum(0) / mask.sum(), x[0], x[-1]])

  vectors = np.asarray(jax.jit(jax.vmap(one))({k: jnp.asarray(v) for k, v in tables.items()}))
  # What the vectors have learned is about weights; how many there are is read off the graph.
  masks, features = tables['mask'], tables['features']
  sizes = [
    [
      rows.sum(), np.log(2.0 ** (4 * (f[rows, :2] + 1)).sum(1)).sum(), f[rows, :2].min(),
      f[rows, 1][:-1].mean(), np.log((2.0 ** (4 * (f[rows, :2] + 1).sum(1))).sum()),
    ]
    for rows, f in zip(masks, features, strict=True)
  ]  # fmt: skip
  return np.concatenate([vectors, np.array(sizes)], 1)
