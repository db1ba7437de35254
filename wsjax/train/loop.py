"""The training loop: blocks of steps, checkpoints, exact resumption."""

import contextlib
import dataclasses
import functools
import math
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from wsjax import config, distributed, signals, terminal, typing
from wsjax.train import objective as objective_lib
from wsjax.train import privacy as privacy_lib
from wsjax.train import sharding, step
from wsjax.train.checkpoint import checkpoint
from wsjax.train.monitor import goodput, metrics_writer, profile

# Fields that change no number of the result; a run may be resumed with others.
_CHECKPOINTS = ('checkpoint_every_steps', 'checkpoint_every_seconds', 'keep', 'keep_best')
EXECUTION = (*_CHECKPOINTS, 'mesh', 'parallel', 'data', 'sharding', 'fsdp')


@dataclasses.dataclass(frozen=True)
class Settings(config.Section):
  """Settings of the training loop.

  Attributes:
    steps: number of updates of the whole run.
    batch_size: examples per step, over all devices; at most all of the training split.
    learning_rate: largest learning rate of AdamW.
    inner_steps: steps per compiled call.
    checkpoint_every_steps: steps between checkpoints; the last step has one, too.
    ema_decay: decay of the average of parameters; 0 disables the average.
    mesh: (axis, size) pairs, one of them 'data'; one size may be -1, the remaining devices.
    seeds: training seeds; the experiment is trained once with each.
    schedule: 'constant', or 'cosine' from `learning_rate` to `final_learning_rate`.
    warmup_steps: steps of a linear rise from 0 to `learning_rate`.
    final_learning_rate: learning rate at the end of 'cosine'.
    weight_decay: decoupled weight decay.
    clip_norm: largest norm of the gradient; 0 is no limit.
    checkpoint_every_seconds: longest time between checkpoints, which are saved at the end of a
      block; 0 is no limit.
    keep: number of newest checkpoints to keep.
    keep_best: number of further checkpoints to keep, of the lowest validation loss, or of the
      lowest training loss if there is no validation split.
    parallel: 'jit', 'shard_map' or 'pmap'; see `step.make`.
    data: 'device' puts all examples on every device; with 'host' every process puts only its part
      of every batch on its devices.
    microbatch: examples whose gradients are computed together; 0 is what the objective prefers on
      CPU, and the whole batch elsewhere.
    sharding: rules by parameter name; see `sharding.of_state`.
    fsdp: whether the training state is spread over the axis 'data'.
    compute_dtype: 'float32' or 'bfloat16', inside the loss.
    skip_nonfinite: number of steps in a row with a loss or gradient that is not finite which are
      skipped; one more ends training.
    patience: blocks in a row without a lower validation loss after which training ends, with the
      parameters of the lowest one. 0 trains to the last step, and takes its parameters.
    privacy: epsilon of differentially private training, where one example more or less is hidden;
      0 hides nothing. See `privacy`.
    privacy_delta: delta of it.
    privacy_clip: largest norm of the gradient of one example then.
  """

  steps: config.PositiveInt
  batch_size: config.PositiveInt
  learning_rate: config.PositiveFloat
  inner_steps: config.PositiveInt
  checkpoint_every_steps: config.PositiveInt
  ema_decay: config.Rate
  mesh: tuple[tuple[str, Annotated[int, config.Range(min=-1)]], ...]
  seeds: tuple[config.Seed, ...] = (0,)
  schedule: Literal['constant', 'cosine'] = 'constant'
  warmup_steps: config.NonNegativeInt = 0
  final_learning_rate: config.NonNegativeFloat = 0.0
  weight_decay: config.NonNegativeFloat = 0.0
  clip_norm: config.NonNegativeFloat = 0.0
  checkpoint_every_seconds: config.NonNegativeFloat = 0.0
  keep: config.PositiveInt = 2
  keep_best: config.NonNegativeInt = 0
  parallel: Annotated[str, config.OneOf(step.PARALLEL)] = 'jit'
  data: Literal['device', 'host'] = 'device'
  microbatch: config.NonNegativeInt = 0
  sharding: tuple[tuple[str, tuple[str | None, ...]], ...] = ()
  fsdp: bool = False
  compute_dtype: Annotated[str, config.OneOf(step.COMPUTE_DTYPES)] = 'float32'
  skip_nonfinite: config.NonNegativeInt = 0
  patience: config.NonNegativeInt = 0
  privacy: config.NonNegativeFloat = 0.0
  privacy_delta: config.PositiveFloat = 1e-5
  privacy_clip: config.PositiveFloat = 1.0

  def __post_init__(self):
    super().__post_init__()
    config.check_seeds(self.seeds, 'train.seeds')
    if self.warmup_steps > self.steps:
      raise ValueError(
        f'train.warmup_steps is {self.warmup_steps}; allowed: at most the {self.steps} train.steps.'
      )
    names, sizes = [name for name, _ in self.mesh], [size for _, size in self.mesh]
    if 'data' not in names or len(set(names)) < len(names) or 0 in sizes or sizes.count(-1) > 1:
      raise ValueError(
        f'train.mesh is {self.mesh}; allowed: (name, size) pairs of different axes, one of them '
        "'data', with sizes of at least 1 or one -1."
      )
    if self.patience and not self.keep_best:
      raise ValueError(
        f'train.patience is {self.patience} and train.keep_best is 0; with patience it must be at '
        'least 1, so that the best checkpoint is kept.'
      )
    if self.patience and self.checkpoint_every_steps % self.inner_steps:
      raise ValueError(
        'Patience counts blocks, which end where checkpoints are due: with train.patience, '
        'train.checkpoint_every_steps must be a multiple of train.inner_steps; they are '
        f'{self.checkpoint_every_steps} and {self.inner_steps}.'
      )

    plain = {
      'parallel': 'jit', 'data': 'device', 'skip_nonfinite': 0, 'compute_dtype': 'float32'
    }  # fmt: skip
    for name, value in plain.items():
      if self.privacy and getattr(self, name) != value:
        raise ValueError(
          f'train.{name} is {getattr(self, name)!r}; allowed with train.privacy: {value!r}.'
        )

  def private(self, size: int) -> privacy_lib.Private | None:
    """How training on so many examples is kept private; None without privacy."""
    if not self.privacy:
      return None
    return privacy_lib.Private.make(
      epsilon=self.privacy, delta=self.privacy_delta, clip=self.privacy_clip, size=size,
      batch_size=min(self.batch_size, size), steps=self.steps, microbatch=self.microbatch,
    )  # fmt: skip

  def optimizer(self) -> optax.GradientTransformation:
    """AdamW with warm-up, schedule and gradient clipping.

    Source: Loshchilov & Hutter 2019, arXiv:1711.05101.
    """
    rate = optax.constant_schedule(self.learning_rate)
    if self.schedule == 'cosine':
      alpha = self.final_learning_rate / self.learning_rate
      steps = max(self.steps - self.warmup_steps, 1)
      rate = optax.cosine_decay_schedule(self.learning_rate, steps, alpha)
    if self.warmup_steps:
      rise = optax.linear_schedule(0.0, self.learning_rate, self.warmup_steps)
      rate = optax.join_schedules([rise, rate], [self.warmup_steps])
    clip = [optax.clip_by_global_norm(self.clip_norm)] if self.clip_norm else []
    return optax.chain(*clip, optax.adamw(rate, weight_decay=self.weight_decay))


# Field -> value, of those that a section may leave out.
DEFAULTS = config.defaults(Settings)
# The settings that a section describes.
read_settings = functools.partial(config.read, Settings, 'train')


# Training examples, and as many samples, whose spreads are compared.
_NUM_COMPARED = 64
# Share of the steps before which the diversity of samples is not checked.
_WARM_UP = 0.1


def make_val_loss(
  objective: objective_lib.Objective, val: typing.PyTree, key: jax.Array, mesh: Mesh
) -> Callable[[typing.PyTree, int], float]:
  """Function from (parameters, steps done) to the loss of the validation split, with fixed noise.

  The loss is averaged over `val_draws` noise draws by the key; `val` has a leading axis [V], and
  every device computes the whole loss.
  """
  replicated = NamedSharding(mesh, PartitionSpec())
  keys = jax.random.split(key, objective.val_draws)

  # The data are an argument: XLA would fold constants for minutes.
  @functools.partial(jax.jit, out_shardings=replicated)
  def mean_loss(params: typing.PyTree, data: typing.PyTree) -> jax.Array:
    return jnp.mean(jax.lax.map(lambda k: objective.loss(params, data, k, train=False)[0], keys))

  placed = sharding.place(val, replicated)
  return lambda params, done: float(mean_loss(params, placed))


def make_diversity(
  objective: objective_lib.Objective, data: typing.PyTree, key: jax.Array, mesh: Mesh, *, steps: int
) -> Callable[[typing.PyTree, int], float]:
  """Function from (parameters, steps done) to the spread of samples over that of the data.

  The function raises ValueError if samples have collapsed after a tenth of the steps of the run.

  Args:
    objective: objective with `diversity` and `min_diversity`.
    data: arrays with leading axis [N]; some rows are compared.
    key: randomness of the samples, equal for every call.
    mesh: every device computes the whole.
    steps: length of the whole run.
  """
  replicated = NamedSharding(mesh, PartitionSpec())
  size = len(jax.tree.leaves(data)[0])
  rows = np.linspace(0, size - 1, min(_NUM_COMPARED, size)).astype(int)
  placed = sharding.place(jax.tree.map(lambda x: x[rows], data), replicated)
  measure = jax.jit(functools.partial(objective.diversity, key=key), out_shardings=replicated)

  def checked(params: typing.PyTree, done: int) -> float:
    value = float(measure(params, placed))
    if done >= _WARM_UP * steps and not value >= objective.min_diversity:
      raise ValueError(
        f'Samples have collapsed at step {done}: their spread is {value:.3g} of that of the '
        f'training networks; strategy.min_diversity is {objective.min_diversity}. Try a larger '
        'strategy.distribution or a lower train.learning_rate.'
      )
    return value

  return checked


def blocks_since_best(losses: Sequence[float | None]) -> int:
  """Number of blocks after the one with the lowest validation loss."""
  values = np.array([np.inf if x is None else x for x in losses], float)
  return len(values) - 1 - int(np.argmin(values)) if len(values) else 0


def is_over(history: Mapping[str, Sequence[float | None]], patience: int) -> bool:
  """Whether `val_loss` has not improved for `patience` blocks."""
  return 0 < patience <= blocks_since_best(history.get('val_loss', ()))


def check_params(params: typing.PyTree, done: int, saved: int | None) -> None:
  """Raises ValueError unless all parameters after `done` steps are finite."""
  if not _all_finite(params):
    raise ValueError(
      f'The parameters are not finite at step {done}, though the loss was; {_advice(saved)}'
    )


@jax.jit
def _all_finite(tree: typing.PyTree) -> jax.Array:
  return jnp.all(jnp.array([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]))


def _advice(saved: int | None) -> str:
  kept = 'there is no checkpoint yet'
  if saved is not None:
    kept = f'the last checkpoint is of step {saved}'
  return f'{kept}. Try a lower train.learning_rate or a train.clip_norm.'


def means(values: Mapping[str, np.ndarray]) -> dict[str, float]:
  """Means over the steps of a block that were not skipped, and the number skipped."""
  good = np.isfinite(values['loss']) & (values.get('skipped', 0.0) == 0)
  mean = {key: float(x[good].mean()) if good.any() else float('nan') for key, x in values.items()}
  if 'skipped' in values:
    mean['skipped'] = float(values['skipped'].sum())
  return mean


def count_skipped(
  values: Mapping[str, np.ndarray], before: int, allowed: int, done: int, saved: int | None
) -> int:
  """Number of steps in a row, at the end of a block, that were not finite.

  Args:
    values: metrics [steps] of the block.
    before: number in a row before the block.
    allowed: largest number in a row; more raise ValueError.
    done: number of steps after the block.
    saved: step of the last checkpoint, or None.
  """
  bad = values.get('skipped', ~np.isfinite(values['loss']))
  run = before
  for number, is_bad in enumerate(bad):
    run = run + 1 if is_bad else 0
    if run > allowed:
      in_a_row = f', {run} steps in a row' if allowed else ''
      raise ValueError(
        f'The training loss is {values["loss"][number]} between steps '
        f'{done - len(bad)} and {done}{in_a_row}; {_advice(saved)}'
      )
  return run


History = dict[str, list[float | None]]


class Interrupted(Exception):
  """Training stopped on the signal of number `signal`, with a checkpoint after `step` updates."""

  def __init__(self, step: int, signal: int):
    super().__init__(f'stopped by signal {signal}; saved at step {step}')
    self.step, self.signal = step, signal


def fit(
  objective: objective_lib.Objective,
  data: typing.PyTree,
  section: Mapping[str, Any],
  *,
  seed: int,
  workdir: pathlib.Path,
  val: typing.PyTree | None = None,
  progress: bool = True,
  trains: bool = True,
) -> tuple[typing.PyTree, History]:
  """Minimizes an objective, or resumes an interrupted run.

  A resumed run ends bitwise where it would have ended without the interruption, on the same
  devices; on others, up to rounding.

  Args:
    objective: loss to minimize.
    data: training split, arrays with leading axis [N]; a batch is some of the rows.
    section: section `train` of a config, see `Settings`. A batch has at most N examples.
    seed: seed of parameters, batches and noise.
    workdir: directory of the checkpoints, metrics.jsonl and goodput.jsonl.
    val: validation split with the structure of `data`, or None.
    progress: whether to show a progress bar.
    trains: whether to train; without it a finished training is only read, and nothing is written.

  Returns:
    Averaged parameters, of the last step or, with patience, of the lowest `val_loss`; and the
    history with one entry per block: step, loss, val_loss with a validation split, diversity with
    `min_diversity`, skipped_in_a_row if steps may be skipped. None where a value is not finite.

  Raises:
    Interrupted: on SIGTERM or SIGINT, after a checkpoint. A second Ctrl-C does not wait for the
      end of the block.
    ValueError: if the section is wrong, `data` or the loss is not finite, samples have collapsed,
      there is patience and no `val`, or `workdir` has checkpoints of another model, or, without
      `trains`, none of a finished training.
    OSError: if a checkpoint cannot be written.
  """
  distributed.require_jax_defaults()
  settings = read_settings(section)
  for name, split in (('data', data), ('val', val)):
    if not all(np.all(np.isfinite(x)) for x in jax.tree.leaves(split)):
      raise ValueError(f'{name} to train on is not finite everywhere.')
  if settings.patience and val is None:
    raise ValueError(f'train.patience is {settings.patience}, but there is no validation split.')
  secret = privacy_lib.secret_key(workdir) if settings.privacy and trains else None
  program = _compile(objective, data, val, settings, config.check_seed(seed, 'seed'), secret)
  with contextlib.ExitStack() as stack:
    checkpoints = checkpoint.Checkpoints(
      workdir, keep=settings.keep, keep_best=settings.keep_best, read_only=not trains
    )
    # After an error the other processes are elsewhere, and closing waits for all of them.
    if jax.process_count() == 1:
      stack.callback(checkpoints.close)
    is_writer = distributed.is_writer()
    recorder = stack.enter_context(
      goodput.Recorder(workdir / 'goodput.jsonl', enabled=is_writer and trains)
    )
    start = time.perf_counter()
    state, history = program.initial(), {'step': [], 'loss': []}
    if restored := checkpoints.restore(state):
      _, state, history = restored
    done = int(state.step)
    if done >= settings.steps or is_over(history, settings.patience):
      return _result(checkpoints, state, settings), history
    if not trains:
      raise ValueError(
        f'{workdir} has no checkpoint of a finished training: it has {done} of {settings.steps} '
        'steps. `wsjax run` trains the rest.'
      )
    recorder.start(done)
    if restored:
      recorder.restore(time.perf_counter() - start)
    tensorboard = metrics_writer.tensorboard_wanted()
    metrics = stack.enter_context(
      metrics_writer.Metrics(workdir, resume_step=done, tensorboard=tensorboard, enabled=is_writer)
    )
    capture = None
    if is_writer and (wanted := os.environ.get(profile.VARIABLE)):
      capture = stack.enter_context(profile.Capture(workdir, profile.parse(wanted)))
    bar = stack.enter_context(
      terminal.Progress(
        'train', settings.steps, done=done, note='compiling', show=progress and is_writer
      )
    )
    guard = stack.enter_context(signals.polled())
    # One of several processes cannot end alone, since the others would wait for it.
    several = jax.process_count() > 1
    guard.wait(several)

    saved, saved_at = (done if restored else None), time.monotonic()
    # The count goes on after a restart, or every restart would allow some more.
    skipped = int((history.get('skipped_in_a_row') or [0])[-1])
    compiled, over, stopped = set(), False, 0
    data = program.data(done, _block_length(settings, done))
    while (count := _block_length(settings, done)) and not over:
      start = time.perf_counter()
      if capture:
        capture.before(done, count)
      with _no_transfers():
        state, values = program.train_block(state, data, count)
      done += count
      if following := _block_length(settings, done):  # While the devices compute.
        data = program.data(done, following)
      values = {key: np.asarray(x) for key, x in values.items()}
      seconds = time.perf_counter() - start
      guard.wait(True)  # From here on there is something to save.
      if capture:
        capture.after(done)
      recorder.block(done - count, done, seconds=seconds, compiled=count not in compiled)
      compiled.add(count)

      skipped = count_skipped(values, skipped, settings.skip_nonfinite, done, saved)
      entry = means(values)
      entry |= {name: measure(state.ema, done) for name, measure in program.measures.items()}
      history['step'].append(done)
      for name in ('loss', *program.measures):
        value = entry[name] if math.isfinite(entry[name]) else None
        history.setdefault(name, []).append(value)
      if settings.skip_nonfinite:
        history.setdefault('skipped_in_a_row', []).append(skipped)
      metrics.write(done, entry, seconds=seconds)
      bar.update(done, f'loss {entry["loss"]:.4g}')

      stopped = guard.received = _any_signal(guard.received)
      over = is_over(history, settings.patience)
      if stopped or over or _is_save_due(settings, done, saved_at, history):
        start = time.perf_counter()
        check_params(state.params, done, saved)
        checkpoints.save(done, state, history, metric=entry.get('val_loss', entry['loss']))
        recorder.save(time.perf_counter() - start)
        saved, saved_at = done, time.monotonic()
      if stopped:
        checkpoints.wait()
        recorder.stop(done, f'signal {stopped}')
        raise Interrupted(done, stopped)
      if saved == done:
        guard.wait(several)
    checkpoints.wait()
    recorder.stop(done, goodput.DONE)
    return _result(checkpoints, state, settings), history


def batch_note(wanted: int, count: int) -> str:
  """Describes batches that are cut; '' if there are as many examples as are wanted."""
  if wanted <= count:
    return ''
  return (
    f'train.batch_size is {wanted}, but there are {count} examples to train on: every batch is all '
    'of them.'
  )


def _any_signal(number: int) -> int:
  """Number of the signal that any process got, so that all stop at the same step; 0 is none."""
  return distributed.largest(number)


class _Program(NamedTuple):
  """The compiled functions of a run."""

  initial: Callable[[], step.TrainState]  # The state before the first step, on the devices.
  train_block: Callable[..., tuple[step.TrainState, step.Metrics]]
  data: sharding.BlockData
  measures: dict[str, Callable[[typing.PyTree, int], float]]  # Of (parameters, steps done).


def _compile(
  objective: objective_lib.Objective,
  data: typing.PyTree,
  val: typing.PyTree | None,
  settings: Settings,
  seed: int,
  secret: jax.Array | None,
) -> _Program:
  """Builds the functions of a run over the mesh of its settings."""
  tx = settings.optimizer()
  mesh = sharding.make_mesh(settings.mesh)
  init_key, run_key, val_key = jax.random.split(jax.random.key(seed), 3)
  size = len(jax.tree.leaves(data)[0])
  batch_size = min(settings.batch_size, size)
  if batch_size < settings.batch_size and distributed.is_writer():
    logging.warning('%s', batch_note(settings.batch_size, batch_size))
  example = jax.tree.map(lambda x: x[0], data)
  if settings.privacy:  # Parameters before training are public.
    example = jax.tree.map(np.zeros_like, example)

  def initial(key_data: np.ndarray) -> step.TrainState:
    return step.create(objective.init(jax.random.wrap_key_data(key_data), example), tx)

  # Shapes before allocation: a large state exists only in its shards.
  init_data = np.asarray(jax.random.key_data(init_key))
  shardings = sharding.of_state(
    jax.eval_shape(initial, init_data), mesh, rules=settings.sharding, fsdp=settings.fsdp
  )
  loss, public = objective.split() if settings.privacy else (objective.loss, None)
  train_block = step.make_train_block(
    loss,
    tx,
    mesh,
    key=run_key if secret is None else secret,
    batch_size=batch_size,
    ema_decay=settings.ema_decay,
    state_sharding=shardings,
    skip_nonfinite=settings.skip_nonfinite > 0,
    streamed=settings.data == 'host',
    parallel=settings.parallel,
    private=settings.private(size),
    public=public,
    microbatch=settings.microbatch or step.preferred_microbatch(objective, batch_size),
    compute_dtype=settings.compute_dtype,
  )
  if settings.data == 'host':
    block_data = sharding.from_host(data, mesh, key=run_key, batch_size=batch_size)
  else:
    block_data = sharding.on_device(data, mesh)
  measures = {}
  if val is not None:
    measures['val_loss'] = make_val_loss(objective, val, val_key, mesh)
  if objective.min_diversity:
    measures['diversity'] = make_diversity(
      objective, data, jax.random.fold_in(val_key, 1), mesh, steps=settings.steps
    )
  return _Program(
    lambda: jax.jit(initial, out_shardings=shardings)(init_data), train_block, block_data, measures
  )


def _no_transfers() -> contextlib.AbstractContextManager[None]:
  """Refuses implicit transfers: all that a compiled block needs is on the devices."""
  # Without compilation every operation transfers its constants, and JAX repeats a step so when it
  # looks for a NaN.
  if jax.config.jax_disable_jit or jax.config.jax_debug_nans or jax.config.jax_debug_infs:
    return contextlib.nullcontext()
  return jax.transfer_guard('disallow')


def _block_length(settings: Settings, done: int) -> int:
  """Number of steps of the block after step `done`; 0 after the last.

  Blocks end where checkpoints are due, so a resumed run has equal blocks.
  """
  every = settings.checkpoint_every_steps
  return min(settings.inner_steps, every - done % every, max(settings.steps - done, 0))


def _is_save_due(settings: Settings, done: int, saved_at: float, history: History) -> bool:
  """Whether to save a checkpoint after step `done`."""
  if done % settings.checkpoint_every_steps == 0 or done == settings.steps:
    return True
  if settings.patience and not blocks_since_best(history['val_loss']):
    return True
  limit = settings.checkpoint_every_seconds
  if not limit:
    return False
  # All processes save together: when the clock of any of them says so.
  return distributed.largest(int(time.monotonic() - saved_at >= limit)) > 0


def _result(
  checkpoints: checkpoint.Checkpoints, state: step.TrainState, settings: Settings
) -> typing.PyTree:
  """Averaged parameters after training, as arrays that any program can use."""
  if settings.patience and (best := checkpoints.best(state)):
    state = best[1]
  checkpoints.close()
  return state.ema if jax.device_count() == 1 else distributed.everywhere(state.ema)
