"""The training loop: blocks of steps, checkpoints, exact resumption."""

import contextlib
import dataclasses
import math
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from wsjax import distributed, typing
from wsjax.train import data as feed_lib
from wsjax.train import early_stopping, gradients, nan_policy, optimizer, sharding, step, validation
from wsjax.train import settings as settings_lib
from wsjax.train import state as state_lib
from wsjax.train.checkpoint import checkpoint
from wsjax.train.monitor import goodput, profile
from wsjax.train.monitor import metrics_writer as metrics_lib
from wsjax.train.monitor import progress as bar_lib
from wsjax.train.monitor import signals as signals_lib

History = dict[str, list[float | None]]
Interrupted = signals_lib.Interrupted
_SKIPPED = 'skipped_in_a_row'


def fit(
  model: Any,
  data: typing.PyTree,
  section: Mapping[str, Any],
  *,
  seed: int,
  workdir: pathlib.Path,
  val: typing.PyTree | None = None,
  progress: bool = True,
) -> tuple[typing.PyTree, History]:
  """Trains a model, or goes on with one that was interrupted.

  A run that was stopped and started again ends bitwise where it would have ended without the stop,
  on the same devices; on others, up to rounding.

  Args:
    model: has `init(key, example)` and `loss(params, batch, key, *, train)`: a plug-in of
      `generate`, or an objective of this room. It may have a `microbatch`, examples whose gradients
      are best taken at once on CPU, `val_draws`, 1 where validation has no noise, and a
      `min_dispersion` not 0, the least that `dispersion(params, batch, key)` may become.
    data: the training split; arrays with leading axis [N], such as latents
      [N, T, D], of which a batch is some rows.
    section: of the config: `settings.Settings`, of whose batch at most N is used, and the arguments
      of `optimizer.make`. 'seeds' is for who calls this once per seed.
    seed: of parameters, batches and noise.
    workdir: of the checkpoints, metrics.jsonl and goodput.jsonl.
    val: the same of a split that is only looked at, or None.
    progress: whether to show a progress bar.

  Returns:
    The averaged parameters, at the end or, with patience, where `val_loss` was lowest; and the
    history: step, loss and, with `val`, val_loss, one entry
    per block; None where a loss is not finite, as of a block whose every step was skipped. With
    steps that may be skipped also skipped_in_a_row, how many before the end of the block; with a
    least dispersion also that.

  Raises:
    Interrupted: on SIGTERM or SIGINT, after a checkpoint. A Ctrl-C after it does not wait for the
      block to end.
    ValueError: if `section` lacks a key or has one too many, `data` or the loss is not finite or
      samples have collapsed (nothing is saved after that), there is patience and no `val`, or
      `workdir` holds the checkpoints of another model.
    OSError: if a checkpoint cannot be written.
  """
  settings, rest = settings_lib.read(section, optimizer.make)
  tx = optimizer.make(**rest)
  mesh = sharding.make_mesh(settings.mesh)
  for name, split in (('data', data), ('val', val)):
    if not all(np.all(np.isfinite(x)) for x in jax.tree.leaves(split)):
      raise ValueError(f'{name} to train on is not finite everywhere.')
  init_key, run_key, val_key = jax.random.split(jax.random.key(seed), 3)

  example = jax.tree.map(lambda x: x[0], data)
  batch_size = min(settings.batch_size, len(jax.tree.leaves(data)[0]))

  def initial(key_data: np.ndarray) -> state_lib.TrainState:
    key = jax.random.wrap_key_data(key_data)
    return state_lib.create(model.init(key, example), tx)

  # Shapes before allocation: a large state exists only in its shards.
  init_data = np.asarray(jax.random.key_data(init_key))
  shardings = sharding.of_state(
    jax.eval_shape(initial, init_data), mesh, rules=settings.sharding, fsdp=settings.fsdp
  )
  block = step.make_train_block(
    model.loss,
    tx,
    mesh,
    key=run_key,
    batch_size=batch_size,
    ema_decay=settings.ema_decay,
    state_sharding=shardings,
    skip_nonfinite=settings.skip_nonfinite > 0,
    streamed=settings.data == 'host',
    parallel=settings.parallel,
    microbatch=settings.microbatch or gradients.wished(model, batch_size),
    compute_dtype=settings.compute_dtype,
  )
  if settings.data == 'host':
    feed = feed_lib.of_host(data, mesh, key=run_key, batch_size=batch_size)
  else:
    feed = feed_lib.of_device(data, mesh)
  val_loss = dispersion = None
  if val is not None:
    val_loss = validation.make_loss(model, val, val_key, mesh)
  elif settings.patience:
    raise ValueError(
      f'train.patience is {settings.patience}, and there is no validation split to lose it with.'
    )
  if getattr(model, 'min_dispersion', 0.0):
    dispersion = early_stopping.make_dispersion(
      model, data, jax.random.fold_in(val_key, 1), mesh, steps=settings.steps
    )

  writes = distributed.is_writer()
  with contextlib.ExitStack() as stack:
    checkpoints = checkpoint.Checkpoints(workdir, keep=settings.keep, keep_best=settings.keep_best)
    # After an error the other processes are elsewhere; to close is for all.
    if jax.process_count() == 1:
      stack.callback(checkpoints.close)
    recorder = goodput.Recorder(workdir / 'goodput.jsonl', enabled=writes)
    stack.enter_context(recorder)
    start = time.perf_counter()
    train_state = jax.jit(initial, out_shardings=shardings)(init_data)
    history: History = {'step': [], 'loss': []}
    if restored := checkpoints.restore(train_state):
      _, train_state, history = restored
    done = int(train_state.step)
    if done >= settings.steps or early_stopping.is_over(history, settings.patience):
      return _result(checkpoints, train_state, history, settings)
    recorder.start(done)
    if restored:
      recorder.restore(time.perf_counter() - start)
    metrics = metrics_lib.Metrics(
      workdir, resume_step=done, tensorboard=metrics_lib.tensorboard_wanted(), enabled=writes
    )
    run = _Run(
      settings,
      block,
      feed,
      val_loss,
      dispersion,
      checkpoints,
      recorder,
      stack.enter_context(metrics),
      stack.enter_context(profile.Capture(workdir, enabled=writes)),
      stack.enter_context(bar_lib.Bar(settings.steps, done, progress and writes)),
      stack.enter_context(signals_lib.Signals()),
    )
    train_state = run.go_on(train_state, done, history)
    return _result(checkpoints, train_state, history, settings)


def _result(
  checkpoints: checkpoint.Checkpoints,
  train_state: state_lib.TrainState,
  history: History,
  settings: settings_lib.Settings,
) -> tuple[typing.PyTree, History]:
  """What `fit` returns, when training is over."""
  if settings.patience and (best := checkpoints.best(train_state)):
    train_state = best[1]
  checkpoints.close()
  return _on_host(train_state.ema), history


def _on_host(params: typing.PyTree) -> typing.PyTree:
  """Parameters that any program can take; of one device as they are."""
  return params if jax.device_count() == 1 else distributed.everywhere(params)


@dataclasses.dataclass(frozen=True)
class _Run:
  """What the blocks of a run need besides the state."""

  settings: settings_lib.Settings
  block: Callable[..., tuple[state_lib.TrainState, step.Metrics]]
  feed: feed_lib.Feed
  val_loss: Callable[[typing.PyTree], jax.Array] | None
  dispersion: Callable[[typing.PyTree, int], float] | None
  checkpoints: checkpoint.Checkpoints
  recorder: goodput.Recorder
  metrics: metrics_lib.Metrics
  capture: profile.Capture
  bar: bar_lib.Bar
  signals: signals_lib.Signals

  def go_on(
    self, train_state: state_lib.TrainState, done: int, history: History
  ) -> state_lib.TrainState:
    """Trains from update `done` to the last; adds to the history."""
    settings, compiled = self.settings, set()
    # Counted on, or every restart would let some more through.
    skipped = int((history.get(_SKIPPED) or [0])[-1])
    saved_at = time.monotonic()
    data = self.feed(done, self._length(done))
    while count := self._length(done):
      start = time.perf_counter()
      self.capture.before(done, count)
      # All that a block needs lies on the devices already.
      with jax.transfer_guard('disallow'):
        train_state, values = self.block(train_state, data, count)
      done += count
      if following := self._length(done):  # While the devices compute.
        data = self.feed(done, following)
      values = {key: np.asarray(x) for key, x in values.items()}
      seconds = time.perf_counter() - start
      self.capture.after(done)
      self.recorder.block(done - count, done, seconds=seconds, compiled=count not in compiled)
      compiled.add(count)
      skipped = nan_policy.skipped(values, skipped, settings.skip_nonfinite, done)
      entry = nan_policy.means(values)
      if self.val_loss is not None:
        entry['val_loss'] = float(self.val_loss(train_state.ema))
      if self.dispersion is not None:
        entry['dispersion'] = self.dispersion(train_state.ema, done)
      for key in ('loss', 'val_loss', 'dispersion'):
        if key in entry:
          value = entry[key] if math.isfinite(entry[key]) else None
          history.setdefault(key, []).append(value)
      if settings.skip_nonfinite:
        history.setdefault(_SKIPPED, []).append(skipped)
      history['step'].append(done)
      self.metrics.write(done, entry, seconds=seconds)
      self.bar.update(done, entry['loss'])
      stopped = self.signals.received()
      over = early_stopping.is_over(history, settings.patience)
      if stopped or over or self._is_due(done, saved_at, history):
        start = time.perf_counter()
        nan_policy.check(train_state.params, done)
        metric = entry.get('val_loss', entry['loss'])
        self.checkpoints.save(done, train_state, history, metric=metric)
        self.recorder.save(time.perf_counter() - start)
        saved_at = time.monotonic()
      if stopped:
        self.checkpoints.wait()
        self.recorder.stop(done, f'signal {stopped}')
        raise Interrupted(done, stopped)
      if over:
        break
    self.checkpoints.wait()
    self.recorder.stop(done, goodput.DONE)
    return train_state

  def _length(self, done: int) -> int:
    """Steps of the block behind update `done`; 0 behind the last.

    Blocks end where saves are due, so a resumed run has the same blocks.
    """
    settings = self.settings
    every = settings.checkpoint_every_steps
    return min(settings.inner_steps, every - done % every, max(settings.steps - done, 0))

  def _is_due(self, done: int, saved_at: float, history: History) -> bool:
    """Whether to save behind update `done`; by the clock, of any host."""
    settings = self.settings
    if done % settings.checkpoint_every_steps == 0 or done == settings.steps:
      return True
    if settings.patience and not early_stopping.blocks_since_best(history['val_loss']):
      return True
    limit = settings.checkpoint_every_seconds
    if not limit:
      return False
    return distributed.largest(int(time.monotonic() - saved_at >= limit)) > 0
