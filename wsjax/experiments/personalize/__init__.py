"""Personalizes a language model in one pass: from the description of a task to an adapter.

A hypernetwork learns, through a frozen base model, to make adapters from descriptions in words; it
is judged on tasks whose words no training has seen.
Source: Charakorn et al. 2025, arXiv:2506.06105 (Text-to-LoRA), on a small scale; Ruiz et al. 2024,
  arXiv:2307.06949 (HyperDreamBooth: generate, then tune for a few steps).
"""

import dataclasses
import functools
import itertools
import time
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from wsjax import config as config_lib
from wsjax import distributed, typing
from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation.report import model
from wsjax.experiments import base, sections
from wsjax.experiments.personalize import adapting, baselines, generator
from wsjax.experiments.personalize import tasks as tasks_lib
from wsjax.generators.parts import adapter_network
from wsjax.models import lora as lora_lib
from wsjax.train import loop
from wsjax.train import objective as objective_lib
from wsjax.zoo.data import lexicon
from wsjax.zoo.store import store

MODEL, BASE, OWN = 'generated from the text', baselines.BASE, baselines.OWN

NATS = metric_lib.Metric(
  'nats', 'loss', unit='nats', better='lower', format='.3f', heading='nats per character',
  doc='Cross-entropy on words of held-out tasks, mean over tasks; the end of a word counts as a '
  'character.',
)  # fmt: skip
SHARE = metric_lib.Metric(
  'share', 'share of the own gain', better='higher', format='.1%', heading='share of own gain',
  doc='How far from the base model to the adapters that are trained on the words of each task '
  'itself.',
)  # fmt: skip
BEHIND = metric_lib.Metric(
  'behind', 'behind generated', unit='nats', better='lower', format='.3f',
  heading='nats behind generated',
  doc='Loss of the method minus that of the adapters generated from text, paired over tasks.',
)  # fmt: skip
WON = metric_lib.Metric(
  'won', 'tasks on which generated is better', format='.0%', heading='generated better',
  doc='Share of tasks on which the adapter generated from text has the lower loss.',
)  # fmt: skip
MILLISECONDS = metric_lib.Metric(
  'milliseconds', 'time per adapter', unit='ms', better='lower', format='.3g', heading='ms',
  doc='Wall time of one adapter, mean over one call for all tasks.',
)  # fmt: skip

# Method that is trained like the generator -> what differs.
RIVALS = {
  'multi-task adapter': dict(reach='none'),
  'multi-task adapter, text as a prefix': dict(reach='prefix'),
  'head only, from the text': dict(pattern='logits/kernel'),
  'generated from a bag of words': dict(encoder='bag_of_words'),
}


@dataclasses.dataclass(frozen=True)
class Section(config_lib.Section):
  """The section `personalize`.

  Attributes:
    encoder: of descriptions: 'minilm', which is in a wheel, or 'bag_of_words'.
    lora: fields of `models.lora.LowRank`.
    network: fields of `adapter_network.AdapterNetwork`.
    words: of each task in a training step.
    noise: standard deviation of noise on the vectors in training, which have length 1; without it
      the network learns the lists of its tasks by heart.
    pool: most words of a task to learn from.
    rivals: names of `RIVALS` that are trained, with the first seed.
    examples: words of a held-out task that tuning is given.
    tune_steps: numbers of updates on the examples, increasing.
    own_steps: numbers of updates on all words of a task, increasing.
    own_words: words of such an update.
    rates: learning rates of tuning, of which validation tasks choose.
    validation: tasks that steps and rates are chosen on, at most.
    neighbours: training tasks whose own adapters the ridge regression learns from.
  """

  encoder: Annotated[str, config_lib.OneOf(tasks_lib.ENCODERS)] = 'minilm'
  lora: Mapping = dataclasses.field(default_factory=dict)
  network: Mapping = dataclasses.field(default_factory=dict)
  words: config_lib.PositiveInt = 12
  noise: config_lib.NonNegativeFloat = 0.0
  pool: config_lib.PositiveInt = 256
  rivals: tuple[Annotated[str, config_lib.OneOf(RIVALS)], ...] = tuple(RIVALS)
  examples: config_lib.PositiveInt = 16
  tune_steps: tuple[config_lib.PositiveInt, ...] = (1, 2, 4, 8, 15, 30)
  own_steps: tuple[config_lib.PositiveInt, ...] = (8, 15, 30, 60)
  own_words: config_lib.PositiveInt = 16
  rates: tuple[config_lib.PositiveFloat, ...] = (1e-3, 3e-3, 1e-2)
  validation: config_lib.PositiveInt = 48
  neighbours: config_lib.PositiveInt = 256

  def __post_init__(self):
    super().__post_init__()
    config_lib.check_fields(lora_lib.LowRank, self.lora, 'personalize.lora')
    config_lib.check_fields(
      adapter_network.AdapterNetwork, self.network, 'personalize.network', given=('model', 'lora')
    )
    for name in ('tune_steps', 'own_steps', 'rates'):
      values = getattr(self, name)
      if not values or any(b <= a for a, b in itertools.pairwise(values)):
        raise ValueError(
          f'personalize.{name} is {values}; allowed: one or more increasing numbers.'
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Objective(objective_lib.Objective):
  """Cross-entropy of the adapted base model, on words of the tasks of a batch.

  Attributes:
    adapted: the frozen base model under the network.
    words: of each task in a step.
    noise: standard deviation of noise on vectors in training.
  """

  val_draws: ClassVar[int] = 1

  adapted: adapting.Adapted
  words: int
  noise: float = 0.0

  def init(self, key: jax.Array, example: Mapping[str, Any]) -> typing.PyTree:
    """Initializes the network."""
    return self.adapted.network.init(key, jnp.asarray(example['vectors'][0]))

  def loss(
    self,
    params: typing.PyTree,
    batch: Mapping[str, jax.Array],
    key: jax.Array,
    *,
    train: bool = True,
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Computes the mean over tasks, each with one of its sentences; nats per character."""

    def of_task(
      key: jax.Array, vectors: jax.Array, targets: jax.Array, count: jax.Array
    ) -> jax.Array:
      first, second, third = jax.random.split(key, 3)
      vector = vectors[jax.random.randint(first, (), 0, len(vectors))]
      if train and self.noise:
        vector = vector + self.noise * jax.random.normal(third, vector.shape)
      rows = jax.random.randint(second, (self.words,), 0, count)
      made = self.adapted.network.apply(params, vector)
      return self.adapted.loss(made, targets[rows])

    keys = jax.random.split(key, len(batch['counts']))
    losses = jax.vmap(of_task)(keys, batch['vectors'], batch['targets'], batch['counts'])
    return losses.mean(), {}


class Personalize(base.Experiment):
  """Trains a hypernetwork from descriptions to adapters; held-out tasks are its test.

  Attributes:
    suite: all tasks.
    model: of the base.
    weights: of the base, path -> array.
    chosen: steps, rates and penalties that validation tasks chose, by name.
  """

  METRICS = (NATS, SHARE, BEHIND, WON, MILLISECONDS)
  SECTIONS: ClassVar[Mapping[str, type]] = {'personalize': Section, 'evaluate': sections.Evaluate}

  @classmethod
  def check(cls, config: ml_collections.ConfigDict, counts: Mapping[str, int] | None) -> None:
    """Checks that there is a base model of words; see `Experiment.check`."""
    name = config.zoo.get('dataset', {}).get('name')
    if name not in lexicon.NAMES:
      raise ValueError(
        f'zoo.dataset.name is {name!r}; personalization needs one of {", ".join(lexicon.NAMES)}.'
      )
    if counts is not None and counts.get('train', 0) < 1:
      raise ValueError('zoo.splits.train is 0; the base model is its first network.')

  def __init__(self, config: ml_collections.ConfigDict, zoo: store.Zoo):
    super().__init__(config, zoo)
    self.options = config_lib.read(Section, 'personalize', config.personalize.to_dict())
    self.model = zoo.model
    if self.model.task != 'language_modelling':
      raise ValueError(f'The base is a model of {self.model.task}, not a language model.')
    (self.row_of_base, *_) = base.final_rows(zoo, ('train',))['train']
    self.weights = {path: x[0] for path, x in zoo.params([self.row_of_base]).items()}
    section = config.zoo.dataset
    self.suite = lexicon.load(section.name, section.get('root'))
    self.chosen: dict[str, str] = {}

  @functools.cached_property
  def data(self) -> dict[str, tasks_lib.Tasks]:
    """Arrays of the tasks of every split."""
    encoders = {self.options.encoder}
    encoders |= {
      RIVALS[name]['encoder'] for name in self.options.rivals if 'encoder' in RIVALS[name]
    }
    texts = [sentence for task in self.suite.tasks for sentence in task.sentences]
    vectors = {
      name: tasks_lib.encode_once(name, texts, self.workdir / 'vectors')
      for name in sorted(encoders)
    }
    return {
      split: tasks_lib.read(self.suite.of(split), vectors, self.options.pool)
      for split in base.SPLITS
    }

  @property
  def validation(self) -> tasks_lib.Tasks:
    """The tasks that choices are made on."""
    val = self.data['val']
    return val.take(np.arange(min(len(val), self.options.validation)))

  def adapted(self, **changes: Any) -> adapting.Adapted:
    """The base model under a network, whose fields may be changed as in `RIVALS`."""
    fields = {**self.options.network, **changes}
    fields.pop('encoder', None)
    pattern = fields.pop('pattern', None)
    lora = {**self.options.lora, **({'pattern': pattern} if pattern else {})}
    network = adapter_network.AdapterNetwork(self.model, lora_lib.LowRank(**lora), **fields)
    return adapting.Adapted(network, self.weights)

  def examples(self, split: str, encoder: str) -> dict[str, np.ndarray]:
    """What `fit` reads: vectors without the paraphrase, words and their numbers."""
    found = self.data[split]
    return {
      'vectors': found.vectors[encoder][:, :-1],
      'targets': found.targets,
      'counts': found.counts,
    }

  def objective(self, seed: int) -> Objective:
    """Makes the loss of adapted models."""
    del seed
    return Objective(self.adapted(), self.options.words, self.options.noise)

  def fit(self, seed: int, *, trains: bool = True) -> tuple[typing.PyTree, loop.History]:
    """Reads the tasks, and trains; see `Experiment.fit`."""
    self.train = self.examples('train', self.options.encoder)
    self.val = self.examples('val', self.options.encoder)
    return super().fit(seed, trains=trains)

  def rival(self, name: str) -> tuple[adapting.Adapted, typing.PyTree, str]:
    """Trains a method of `RIVALS` with the first seed and the settings of the generator.

    Returns:
      The base under its network, its weights, and its encoder.
    """
    changes = RIVALS[name]
    encoder = str(changes.get('encoder', self.options.encoder))
    adapted = self.adapted(**changes)
    seed = self.config.train.seeds[0]
    folder = name.replace(',', '').replace(' ', '_')
    params, _ = loop.fit(
      Objective(adapted, self.options.words, self.options.noise),
      self.examples('train', encoder),
      self.config.train.to_dict(),
      seed=seed,
      workdir=self.workdir / f'rivals/{folder}/train/seed{seed}',
      val=self.examples('val', encoder),
      progress=self.progress,
    )
    return adapted, params, encoder

  def predict(self, params: typing.PyTree, seed: int) -> dict[str, Any]:
    """Makes adapters for the test tasks, and measures them.

    Returns:
      Method -> losses [n] of the test tasks; and 'seconds' of one adapter from its vector.
    """
    adapted, test, encoder = self.adapted(), self.data['test'], self.options.encoder
    run = jax.jit(jax.vmap(functools.partial(adapted.network.apply, params)))
    vectors = test.vectors[encoder]
    seen = self.data['train'].vectors[encoder]
    order = np.roll(np.arange(len(test)), len(test) // 2)
    nearest = (vectors[:, 0] @ seen[:, 0].T).argmax(1)
    given = {
      MODEL: vectors[:, 0],
      'unseen paraphrase': vectors[:, -1],
      'description of another task': vectors[order, 0],
      'mean description': np.broadcast_to(seen[:, 0].mean(0), vectors[:, 0].shape),
      'nearest training description': seen[nearest, 0],
    }
    found: dict[str, Any] = {
      name: adapted.evaluate(run(each), test.heldout) for name, each in given.items()
    }
    made = jax.block_until_ready(run(vectors[:, 0]))
    start = time.perf_counter()
    jax.block_until_ready(run(vectors[:, 0]))
    found['seconds'] = (time.perf_counter() - start) / len(test)
    val = self.validation
    found['tuned'], rate = baselines.tuned(
      adapted, made, test, run(val.vectors[encoder][:, 0]), val, self.options
    )
    if seed == self.config.train.seeds[0] and distributed.is_writer():
      record = self.zoo.records[self.row_of_base]
      facts = {'encoder': encoder, 'rate': rate, 'record': record}
      generator.save(self.workdir, params, facts)
    found['rate'] = rate
    return found

  def report(self, predictions: list[dict[str, Any]]) -> model.Report:
    """Compares generated adapters with own ones and with all that needs no generator."""
    test, options = self.data['test'], self.options
    panel = baselines.panel(self)
    ours = np.stack([each[MODEL] for each in predictions])
    plain, own = panel[BASE], panel[OWN]
    steps = [f'generated, then {n} steps' for n in options.tune_steps]
    curves = {
      'generated': np.stack([each['tuned'] for each in predictions]),  # [S, steps, n].
      'zero': panel.pop(baselines.TUNED)[None],
    }
    losses = {
      MODEL: ours,
      **{
        name: np.stack([each[name] for each in predictions])
        for name in (
          'unseen paraphrase', 'nearest training description', 'mean description',
          'description of another task',
        )
      },
      **{name: curves['generated'][:, i] for i, name in enumerate(steps)},
      **{
        f'from zero, {n} steps': curves['zero'][:, i] for i, n in enumerate(options.tune_steps)
      },
      **{name: x[None] for name, x in panel.items()},
    }  # fmt: skip
    kinds = {
      OWN: 'ceiling',
      'mean description': 'control',
      'description of another task': 'control',
    }
    kinds |= dict.fromkeys([MODEL, 'unseen paraphrase', *steps], 'model')
    kinds |= {f'own adapter, {n} steps': 'reference' for n in options.own_steps}
    rows = {
      name: self.score(x, ours, plain, own, kinds.get(name, 'baseline'))
      for name, x in losses.items()
    }
    seconds = float(np.mean([each['seconds'] for each in predictions]))
    rows[MODEL].stats['milliseconds'] = {'value': 1e3 * seconds, 'method': 'none', 'n': len(test)}
    levels = self._levels(ours, plain, own)
    share, behind = rows[MODEL].stats['share'], rows['unseen paraphrase'].stats['behind']
    last = next((n for n in steps if n.endswith(' 15 steps')), steps[-1])
    nats = {name: row.value('nats') or 0 for name, row in rows.items()}
    from_zero = [f'from zero, {n} steps' for n in options.tune_steps]
    best = min(
      (name for name, row in rows.items() if row.kind == 'baseline' and name not in from_zero),
      key=nats.__getitem__,
    )
    zero = min(from_zero, key=nats.__getitem__)
    ahead = self.row({'behind': losses[zero] - losses[last]}).stats['behind']
    return model.Report(
      f'From the text alone, {len(test)} held-out tasks get {SHARE.text(share["value"])} % '
      f'[{SHARE.interval(share)}] of the gain of an adapter of their own; {last} on '
      f'{options.examples} examples: {SHARE.text(rows[last].value("share"))} % '
      f'[{SHARE.interval(rows[last].stats["share"])}].',
      {
        'methods': model.Table(
          'Held-out tasks',
          self.METRICS,
          rows,
          'The words of these tasks are in no list of training and not in the corpus of the base '
          'model. Steps and learning rates are chosen on validation tasks. 95 % intervals resample '
          'tasks and, of the generator, training seeds; methods beside it are trained once. '
          '"Description of another task" shows whether descriptions are read.',
          summary=('nats', 'share', 'behind'),
        ),
        'levels': model.Table(
          'What was held out',
          (NATS, SHARE),
          levels,
          'A task alone, all tasks of a country, or a whole family of lists; and by the source of '
          'the lists. The rows are adapters generated from the text.',
        ),
      },
      {
        'tuning': model.Figure(
          'lines',
          {
            'panels': [
              {
                'lines': [
                  {
                    'x': [0, *options.tune_steps],
                    'y': [float(x) for x in (start.mean(), *curve.mean((0, 2)))],
                    'label': label,
                    'kind': kind,
                  }
                  for label, curve, start, kind in (
                    ('from the generated adapter', curves['generated'], ours, 'model'),
                    ('from zero', curves['zero'], plain, 'baseline'),
                  )
                ],
                'xlabel': f'steps on {options.examples} examples',
              }
            ],
            'ylabel': 'nats per character',
            'xscale': 'doubling',
          },
          'Tuning after generation',
          'Mean over held-out tasks.',
        )
      },
      findings={
        'Paraphrase': f'An unseen paraphrase costs {BEHIND.with_unit(behind["value"])} nats '
        f'[{BEHIND.interval(behind)}].',
        'Best baseline': f'{best}: {NATS.text(rows[best].value("nats"))} nats, '
        f'{BEHIND.text(rows[best].value("behind"))} '
        f'[{BEHIND.interval(rows[best].stats["behind"])}] behind generated.',
        'Tuning': f'The examples alone: {zero} has {NATS.text(nats[zero])} nats, '
        f'{BEHIND.text(ahead["value"])} [{BEHIND.interval(ahead)}] more than {last}.',
        'Cost': self._cost(1e3 * seconds, nats),
      },
      facts={
        'Generator': self.model_facts(
          {'encoder': options.encoder, **dict(options.network), **dict(options.lora)}
        ),
        'Tasks': {
          'suite': f'{self.suite.name} {self.suite.version}',
          **{split: len(self.data[split]) for split in base.SPLITS},
          'chosen': self.chosen
          | {'tuning from generated: rates': str([each['rate'] for each in predictions])},
        },
      },
    )

  def _cost(self, milliseconds: float, nats: Mapping[str, float]) -> str:
    """Compares one pass with the training of an own adapter to the loss that it has."""
    found = baselines.milliseconds(self)
    reached = [n for n in self.options.own_steps if nats[f'own adapter, {n} steps'] <= nats[MODEL]]
    text = (
      f'An adapter takes {milliseconds:.2g} ms from the vector of a text, which takes '
      f'{found["text"]:.2g} ms; a step of training one on {self.options.own_words} words takes '
      f'{found["step"]:.2g} ms'
    )
    if not reached:
      return f'{text}, and no number of steps that was tried has a loss as low.'
    own = reached[0] * found['step']
    with_text = own / (milliseconds + found['text'])
    return (
      f'{text}, and {reached[0]} of them, the fewest that were tried with a loss as low, '
      f'{own / milliseconds:,.0f} times as long as the pass, {with_text:.2g} times with the text.'
    )

  def score(
    self,
    losses: np.ndarray,
    ours: np.ndarray,
    plain: np.ndarray,
    own: np.ndarray,
    kind: str,
    rows: np.ndarray | None = None,
  ) -> model.Row:
    """Computes means over tasks and seeds, paired with the generated adapters.

    Args:
      losses: [S or 1, n] of a method.
      ours: [S, n] of adapters generated from text.
      plain: [n] of the base.
      own: [n] of adapters trained on each task.
      kind: of the row.
      rows: the tasks that count; None is all.
    """
    if rows is not None:
      losses, ours, plain, own = losses[:, rows], ours[:, rows], plain[rows], own[rows]
    gap = np.broadcast_to(losses, ours.shape) - ours
    tables: dict[str, Any] = {
      'nats': losses,
      'share': (
        lambda s, n: (plain[n].mean() - losses[s, n].mean()) / (plain[n].mean() - own[n].mean()),
        losses.shape,
      ),
    }
    if gap.any():
      tables |= {'behind': gap, 'won': (gap > 0).astype(np.float32)}
    return self.row(tables, kind)

  def _levels(self, ours: np.ndarray, plain: np.ndarray, own: np.ndarray) -> dict[str, model.Row]:
    """Rows of the generated adapters, by what was held out and by source."""
    tasks = self.data['test'].tasks
    groups = {f'held out: {level}': [t.level == level for t in tasks] for level in lexicon.LEVELS}
    for source in sorted({task.name.partition('/')[0] for task in tasks}):
      groups[f'source: {source}'] = [task.name.startswith(f'{source}/') for task in tasks]
    return {
      name: self.score(ours, ours, plain, own, 'model', np.flatnonzero(chosen))
      for name, chosen in groups.items()
      if any(chosen)
    }
