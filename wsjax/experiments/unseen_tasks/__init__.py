"""Generates networks for tasks that no training network had.

A task is a subset of the classes against the others. The generator is given the code of the task,
or labelled images of it; it has seen every class, and every training image, under other tasks.
Source of the question: Wang et al. 2025, arXiv:2501.11587 (RPG).
"""

import dataclasses
import functools
import itertools
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from wsjax import config as config_lib
from wsjax import typing
from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation.report import model
from wsjax.experiments import base, sections
from wsjax.experiments.unseen_tasks import baselines, tasks
from wsjax.generators.conditions import task_code
from wsjax.generators.parts import task_network
from wsjax.models import model as model_lib
from wsjax.train import objective as objective_lib
from wsjax.zoo.data import datasets, subsets
from wsjax.zoo.store import store

# The claim of the report: a mean gap of at most so much, on so many tasks or more.
THRESHOLD, NUM_TASKS = 0.01, 100
REFERENCE = 'trained one by one'

ACCURACY = metric_lib.Metric(
  'accuracy', 'accuracy', better='higher', format='.2%', doc='Share of right test images.'
)
GAP = metric_lib.Metric(
  'gap', 'gap', better='lower', format='.2%', heading='gap, points',
  doc='Accuracy of the networks trained one by one minus that of the method, mean over tasks.',
)  # fmt: skip
WORST = metric_lib.Metric(
  'worst', 'worst gap', better='lower', format='.1%', heading='worst gap, points',
  doc='Largest gap of a task.',
)  # fmt: skip
SECONDS = metric_lib.Metric(
  'seconds_per_net', 'seconds per network', unit='s', better='lower', heading='s per network',
  doc='Wall time: of one call for all tasks, or of the training steps.',
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Objective(objective_lib.Objective):
  """Cross-entropy of generated networks on training images.

  The examples of a batch are split among some tasks that are drawn, and each task relabels their
  classes by its code. The module is given the condition of a task or some of its labelled examples;
  then the generated network is scored on the others.

  Attributes:
    module: from a condition to the weights of one network.
    architecture: of the networks.
    codes: 'train' and 'val' -> [n, num_classes] labels of the classes, per task of the split.
    conditions: 'train' and 'val' -> [n, C].
    num_tasks: per step; divides the batch.
    set_size: examples per task that the module is given instead of conditions; 0 is none.
  """

  val_draws: ClassVar[int] = 1

  module: nn.Module
  architecture: model_lib.Model
  codes: Mapping[str, np.ndarray]
  conditions: Mapping[str, np.ndarray]
  num_tasks: int
  set_size: int = 0

  def init(self, key: jax.Array, example: Mapping[str, Any]) -> typing.PyTree:
    """Initializes the module, from one example 'x' and its class 'y'."""
    given = jnp.asarray(self.conditions['train'][0])
    if self.set_size:
      x = jnp.repeat(jnp.asarray(example['x'])[None], self.set_size, 0)
      given = labelled(x, jnp.zeros(self.set_size))
    return self.module.init(key, given)

  def loss(
    self,
    params: typing.PyTree,
    batch: Mapping[str, jax.Array],
    key: jax.Array,
    *,
    train: bool = True,
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Computes the mean cross-entropy in nats, and the accuracy.

    Args:
      params: variables of the module.
      batch: 'x' [b, ...] and classes 'y' [b].
      key: of the tasks that are drawn.
      train: whether training tasks are drawn; else all validation tasks share the batch.

    Raises:
      ValueError: if the batch is too small for the tasks.
    """
    split = 'train' if train else 'val'
    codes, conditions = jnp.asarray(self.codes[split]), jnp.asarray(self.conditions[split])
    if train:
      rows = jax.random.randint(key, (self.num_tasks,), 0, len(codes))
      codes, conditions = codes[rows], conditions[rows]
    share = len(batch['y']) // len(codes)
    if share <= self.set_size:
      raise ValueError(
        f'{len(batch["y"])} examples for {len(codes)} tasks are {share} each; '
        f'more than {self.set_size} are needed.'
      )
    x, y = (
      batch[part][: share * len(codes)].reshape(len(codes), share, *batch[part].shape[1:])
      for part in ('x', 'y')
    )

    def of_task(
      code: jax.Array, condition: jax.Array, x: jax.Array, y: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
      labels, given, size = code[y], condition, self.set_size
      if size:
        given = labelled(x[:size], labels[:size])
        x, labels = x[size:], labels[size:]
      logits = self.architecture.apply(self.module.apply(params, given), x)
      losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
      return losses.mean(), (logits.argmax(-1) == labels).mean()

    losses, accuracies = jax.vmap(of_task)(codes, conditions, x, y)
    return losses.mean(), {'accuracy': accuracies.mean()}


@dataclasses.dataclass(frozen=True)
class Section(config_lib.Section):
  """The section `tasks`.

  Attributes:
    split: 'pair', or 'leaky' as a control.
    condition: section of a condition.
    set_size: labelled images per task that the module is given; 0 gives it the condition.
    encoder: fields of `task_network.SetEncoder`.
    network: fields of `task_network.TaskNetwork`.
    num_tasks: tasks per step, which share its images.
    steps_of_classes: updates of the network of all classes, a baseline.
    fresh_steps: updates of the networks trained one by one, increasing.
  """

  split: Literal['pair', 'leaky']
  condition: Mapping
  set_size: config_lib.NonNegativeInt
  encoder: Mapping
  network: Mapping
  num_tasks: config_lib.PositiveInt
  steps_of_classes: config_lib.PositiveInt
  fresh_steps: tuple[config_lib.PositiveInt, ...]

  def __post_init__(self):
    super().__post_init__()
    config_lib.check('generators.conditions', self.condition, 'tasks.condition')
    config_lib.check_fields(task_network.SetEncoder, self.encoder, 'tasks.encoder')
    config_lib.check_fields(
      task_network.TaskNetwork, self.network, 'tasks.network', given=('architecture',)
    )
    steps = self.fresh_steps
    if not steps or any(b <= a for a, b in itertools.pairwise(steps)):
      raise ValueError(f'tasks.fresh_steps is {steps}; allowed: one or more increasing numbers.')


class UnseenTasks(base.Experiment):
  """Trains a hypernetwork from task codes to weights; held-out tasks are generated.

  With `config.tasks.split` 'leaky' the second task of every test pair is moved to the training
  split, as a control: then a complement has been seen.
  """

  METRICS = (ACCURACY, GAP, WORST, SECONDS)
  SECTIONS: ClassVar[Mapping[str, type]] = {
    'tasks': Section,
    'symmetry': sections.Symmetry,
    'evaluate': sections.Evaluate,
  }

  @classmethod
  def check(cls, config: ml_collections.ConfigDict, counts: Mapping[str, int] | None) -> None:
    """Checks that there are networks, tasks and images for them; see `Experiment.check`."""
    if counts is not None:
      base.check_splits(counts)
    if 'recipe' not in config.zoo or 'dataset' not in config.zoo:
      raise ValueError('zoo.recipe or zoo.dataset is missing; unseen tasks need both.')
    if config.zoo.dataset.get('labels') != 'subsets':
      raise ValueError(
        f'zoo.dataset.labels is {config.zoo.dataset.get("labels")!r}; unseen tasks are made of '
        "subsets of classes; allowed: 'subsets'."
      )
    if config.zoo.dataset.get('val_fraction') == 0:
      raise ValueError(
        'zoo.dataset.val_fraction is 0.0, and must be above 0: unseen tasks are validated on '
        'images of their own.'
      )
    share = config.train.batch_size // config.tasks.num_tasks
    if share <= config.tasks.set_size:
      raise ValueError(
        f'train.batch_size is {config.train.batch_size} and tasks.num_tasks is '
        f'{config.tasks.num_tasks}: {share} examples each; allowed: more than tasks.set_size, '
        f'{config.tasks.set_size}.'
      )

  def __init__(self, config: ml_collections.ConfigDict, zoo: store.Zoo):
    super().__init__(config, zoo)
    self.tasks = read(config, zoo)
    dataset = self.tasks.dataset
    if not len(dataset.val_y):
      raise ValueError(
        'zoo.dataset.val_fraction is '
        f'{config.zoo.dataset.val_fraction}; unseen tasks are validated on images of their own.'
      )
    self.train = {'x': dataset.train_x, 'y': dataset.train_y}
    self.val = {'x': dataset.val_x, 'y': dataset.val_y}
    encoder = None
    if config.tasks.set_size:
      encoder = task_network.SetEncoder(**config.tasks.encoder.to_dict())
    self.module = task_network.TaskNetwork(
      architecture=self.tasks.architecture, encoder=encoder, **config.tasks.network.to_dict()
    )

  def objective(self, seed: int) -> Objective:
    """Makes the cross-entropy of generated networks."""
    data, options = self.tasks, self.config.tasks
    return Objective(
      self.module,
      data.architecture,
      data.codes,
      data.conditions,
      options.num_tasks,
      options.set_size,
    )

  def predict(self, params: typing.PyTree, seed: int) -> baselines.Method:
    """Generates networks for the test tasks, and evaluates them."""
    given = requests(self.config, self.tasks)
    run = jax.jit(jax.vmap(functools.partial(self.module.apply, params)))
    jax.block_until_ready(run(given))  # Compiles.
    start = time.perf_counter()
    networks = jax.block_until_ready(run(given))
    seconds = (time.perf_counter() - start) / len(given)
    accuracy = self.tasks.accuracy(jax.device_get(networks), self.tasks.codes['test'])
    return baselines.Method(accuracy[None], 'model', seconds)

  def report(self, predictions: list[baselines.Method]) -> model.Report:
    """Compares generated networks with networks trained one by one, and with baselines."""
    config, data = self.config, self.tasks
    codes = data.codes['test']
    given = f'{config.tasks.set_size} labelled images' if config.tasks.set_size else 'the code'
    generated = f'generated from {given}'
    panel = baselines.panel(config, data)
    # The price of a training step, from the networks that were trained longest.
    longest = max(method.seconds or 0.0 for method in panel.values())
    per_step = longest / config.tasks.fresh_steps[-1]
    trained = data.accuracy(data.params['test'], codes)
    methods = {
      REFERENCE: baselines.Method(trained[None], 'reference', per_step * config.zoo.recipe.steps),
      generated: baselines.Method(
        np.concatenate([each.accuracy for each in predictions]),
        'model',
        float(np.mean([each.seconds for each in predictions])),
      ),
      **panel,
    }
    rows = {name: self.score(method, trained) for name, method in methods.items()}
    worst = {
      name: subsets.text(codes[(trained - method.accuracy.mean(0)).argmax()])
      for name, method in methods.items()
    }
    gap = rows[generated].value('gap')
    met = gap <= THRESHOLD and len(codes) >= NUM_TASKS and not data.num_leaks
    better = [n for n, row in rows.items() if row.kind == 'baseline' and row.value('gap') <= gap]
    leaks = data.num_leaks
    return model.Report(
      f'Networks {generated} of {len(codes)} unseen tasks ({leaks or "no"} '
      f'complement{"" if leaks == 1 else "s"} seen) have an accuracy of '
      f'{ACCURACY.text(rows[generated].value("accuracy"))} %, {GAP.text(gap)} points '
      f'[{GAP.interval(rows[generated].stats["gap"])}] below those trained one by one '
      f'({ACCURACY.text(rows[REFERENCE].value("accuracy"))} %).',
      {
        'methods': model.Table(
          'Accuracy on unseen tasks',
          self.METRICS,
          rows,
          f'A task is a subset of the classes of {data.dataset.name} against the others. The gap '
          f'is to networks trained one by one for {config.zoo.recipe.steps} steps on that task and '
          'the same images. 95 % intervals resample test tasks and training seeds. Ridge '
          'regressions read the code and all products of two of its bits; their penalty is chosen '
          'on validation tasks. A vote, and the summed probabilities of a network of all classes, '
          'are no single networks of this architecture: they show how easy the tasks are without '
          'a generator.',
        )
      },
      findings={
        'threshold': f'The threshold, a mean gap of at most {100 * THRESHOLD:g} points on '
        f'{NUM_TASKS} tasks or more of which no complement was seen, is '
        f'{"met" if met else "not met"}. Baselines that are as good or better: '
        f'{"; ".join(better) or "none"}.'
      },
      facts={
        'Generator': self.model_facts({'name': 'task_network', **config.tasks.network.to_dict()}),
        'Tasks': {
          'dataset': data.dataset.name,
          'split': config.tasks.split,
          'condition': given if config.tasks.set_size else config.tasks.condition.name,
          'num_train': len(data.codes['train']),
          'num_test': len(codes),
          'complements_seen': leaks,
          'steps_one_by_one': config.zoo.recipe.steps,
        },
        'Task with the largest gap': worst,
      },
    )

  def score(self, method: baselines.Method, trained: np.ndarray) -> model.Row:
    """Computes means over tasks and seeds, and the largest gap, with their intervals.

    Args:
      method: accuracies [S, n].
      trained: [n] accuracies of the networks trained one by one. All methods of a report share the
        resampled tasks, so that gaps are paired.
    """
    gap = trained[None] - method.accuracy
    tables = {
      'accuracy': method.accuracy,
      'gap': gap,
      'worst': ((lambda s, rows: gap[s, rows].max()), gap.shape),
    }
    row = self.row(tables, method.kind)
    if method.seconds is not None:
      stat = {'value': method.seconds, 'low': None, 'high': None, 'n': row.n, 'method': 'none'}
      row.stats['seconds_per_net'] = stat
    return row


def read(config: ml_collections.ConfigDict, zoo: store.Zoo) -> tasks.Tasks:
  """Reads codes, conditions and networks of every split, and the images.

  Raises:
    ValueError: if the networks are no MLPs of binary tasks, a split has none, or the complement of
      a test task is for training but in 'leaky'.
  """
  leaky = config.tasks.split == 'leaky'
  if not leaky and config.tasks.split != 'pair':
    raise ValueError(f"tasks.split is {config.tasks.split!r}; allowed: 'pair', 'leaky'.")
  architecture = zoo.model
  if architecture.name != 'mlp':
    raise ValueError(f'Unseen tasks are for MLPs; those at {zoo.path} are {architecture.name}.')
  rows = base.final_rows(zoo)
  if leaky:
    seen, kept = rows['test'][1::2], rows['test'][::2]
    rows |= {'train': np.sort(np.append(rows['train'], seen)), 'test': kept}
  condition = config_lib.build('generators.conditions', config.tasks.condition)
  records = {split: [zoo.records[row] for row in chosen] for split, chosen in rows.items()}
  codes = {split: task_code.bits(records[split]).astype(np.int32) for split in rows}
  if (leaks := subsets.num_leaks(codes['train'], codes['test'])) and not leaky:
    raise ValueError(
      f'{leaks} of {len(codes["test"])} test tasks have their complement in the training split; '
      "only tasks.split = 'leaky' allows that."
    )
  source = config.zoo.dataset.to_dict()
  source.pop('labels', None)
  return tasks.Tasks(
    architecture=architecture,
    dataset=datasets.load_for(zoo.records, **source),
    codes=codes,
    conditions={split: condition.of_records(records[split]) for split in rows},
    params={split: zoo.params(chosen) for split, chosen in rows.items()},
    num_leaks=leaks,
  )


def requests(config: ml_collections.ConfigDict, data: tasks.Tasks) -> np.ndarray:
  """Conditions of the generator for every test task.

  Returns:
    [n, C] conditions; or [n, S, d + 1] labelled training images, drawn for each task.
  """
  size, dataset = config.tasks.set_size, data.dataset
  if not size:
    return data.conditions['test']
  rng = np.random.default_rng(config.seed)

  def draw(code: np.ndarray) -> jax.Array:
    rows = rng.choice(len(dataset.train_y), size, replace=False)
    return labelled(dataset.train_x[rows], code[dataset.train_y[rows]])

  return np.stack([draw(code) for code in data.codes['test']]).astype(np.float32)


def labelled(x: jax.Array, labels: jax.Array) -> jax.Array:
  """[S, d + 1] examples [S, ...] flattened, and labels [S] as signs."""
  signs = 2.0 * labels[:, None] - 1
  return jnp.concatenate([x.reshape(len(x), -1), signs], axis=1)
