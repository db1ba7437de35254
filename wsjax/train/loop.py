"""The training loop: blocks of steps, checkpoints, exact resumption."""

import inspect
import pathlib
import signal
import threading
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec
from rich import progress as rich_progress

from wsjax import typing
from wsjax.train import checkpoint, optimizer, state, step

# Loss of the validation split is measured with this many noise draws, of models
# whose loss is noisy without training too.
_VAL_DRAWS = 8

History = dict[str, list[float]]


class Interrupted(Exception):
  """Training stopped on a signal, with a checkpoint at `step`.

  Attributes:
    step: updates so far.
    signal: number of the signal.
  """

  def __init__(self, step: int, signal: int):
    super().__init__(f'stopped by signal {signal}; saved at step {step}')
    self.step = step
    self.signal = signal


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

  A run that was stopped and started again ends bitwise where it would have
  ended without the stop, on the same devices.

  Args:
    model: has `init(key, example)` and `loss(params, batch, key, *, train)`:
      a plug-in of `generate`, or an objective of `predict`. It may have a
      `microbatch`, examples whose gradients are best taken at once on CPU, and
      `val_draws`, 1 where validation has no noise.
    data: the training split; arrays with leading axis [N], such as latents
      [N, T, D], of which a batch is some rows.
    section: of the config: steps, batch_size (at most N is used),
      inner_steps (steps per compiled call), checkpoint_every_steps,
      ema_decay, mesh, and the arguments of `optimizer.make`. 'seeds' is for
      who calls this once per seed.
    seed: of parameters, batches and noise.
    workdir: of the checkpoints.
    val: the same of a split that is only looked at, or None.
    progress: whether to show a progress bar.

  Returns:
    The averaged parameters, and the history: step, loss and, with `val`,
    val_loss, one entry per block.

  Raises:
    Interrupted: on SIGTERM or SIGINT, after a checkpoint. A second signal
      does not wait for the block to end.
    ValueError: if `section` lacks a key or has one too many, `data` or the
      loss is not finite (nothing is saved after that), or `workdir` holds
      the checkpoints of another model.
  """
  settings, tx = _settings(section)
  steps, save_every = settings['steps'], settings['checkpoint_every_steps']
  mesh = step.make_mesh(settings['mesh'])
  for name, split in (('data', data), ('val', val)):
    if not all(np.all(np.isfinite(x)) for x in jax.tree.leaves(split)):
      raise ValueError(f'{name} to train on is not finite everywhere.')
  init_key, run_key, val_key = jax.random.split(jax.random.key(seed), 3)

  example = jax.tree.map(lambda x: x[0], data)
  size = len(jax.tree.leaves(data)[0])
  replicated = NamedSharding(mesh, PartitionSpec())
  train_state = jax.jit(
    lambda key: state.create(model.init(key, example), tx),
    out_shardings=replicated,
  )(init_key)
  checkpoints = checkpoint.Checkpoints(workdir)
  history: History = {'step': [], 'loss': []}
  if restored := checkpoints.restore(train_state):
    _, train_state, history = restored
  batch_size = min(settings['batch_size'], size)
  block = step.make_train_block(
    model.loss,
    tx,
    mesh,
    key=run_key,
    batch_size=batch_size,
    ema_decay=settings['ema_decay'],
    microbatch=_microbatch(model, batch_size // mesh.shape['data']),
  )
  val_loss = None if val is None else _make_val_loss(model, val, val_key)

  data = jax.device_put(data, replicated)
  done = int(train_state.step)
  with _Bar(steps, done, progress) as bar, _Signals() as signals:
    while done < steps:
      # Blocks end where saves are due, so a resumed run has the same blocks.
      count = min(
        settings['inner_steps'], save_every - done % save_every, steps - done
      )
      train_state, metrics = block(train_state, data, count)
      done += count
      loss = float(jnp.mean(metrics['loss']))
      if not np.isfinite(loss):
        raise ValueError(
          f'The training loss is {loss} between steps {done - count} and '
          f'{done}; the last checkpoint is from before it. Try a lower '
          'train.learning_rate or a train.clip_norm.'
        )
      history['step'].append(done)
      history['loss'].append(loss)
      if val_loss is not None:
        value = float(val_loss(train_state.ema))
        history.setdefault('val_loss', []).append(value)
      bar.update(done, loss)
      stopped = signals.received
      if done % save_every == 0 or done == steps or stopped:
        checkpoints.save(done, train_state, history)
      if stopped:
        checkpoints.close()
        raise Interrupted(done, stopped)
  checkpoints.close()
  return train_state.ema, history


def _settings(
  section: Mapping[str, Any],
) -> tuple[dict[str, Any], optax.GradientTransformation]:
  """What the loop reads of a config section, and the optimizer of the rest."""
  rest = {key: value for key, value in section.items() if key != 'seeds'}
  names = (
    'batch_size', 'inner_steps', 'checkpoint_every_steps', 'ema_decay', 'mesh',
  )  # fmt: skip
  if missing := sorted({*names, 'steps', 'learning_rate'} - set(rest)):
    raise ValueError(f'The train section lacks {missing[0]!r}.')
  settings = {name: rest.pop(name) for name in names}
  for name in ('batch_size', 'inner_steps', 'checkpoint_every_steps'):
    if settings[name] < 1:
      raise ValueError(f'train.{name} is {settings[name]}, not >= 1.')
  allowed = inspect.signature(optimizer.make).parameters
  if unknown := sorted(set(rest) - set(allowed)):
    raise ValueError(
      f'The train section has {unknown[0]!r}; allowed: '
      f'{", ".join(sorted({*names, *allowed}))}.'
    )
  return {**settings, 'steps': rest['steps']}, optimizer.make(**rest)


def _microbatch(model: Any, batch_size: int) -> int:
  """Examples at once; 0, which is all, on accelerators."""
  wanted = getattr(model, 'microbatch', 0)
  if not wanted or jax.default_backend() != 'cpu':
    return 0
  return wanted if batch_size % wanted == 0 else 0


def _make_val_loss(model: Any, val: typing.PyTree, key: jax.Array) -> Any:
  """Parameters -> loss of the validation split, always the same noise."""
  data = jax.tree.map(jnp.asarray, val)
  keys = jax.random.split(key, getattr(model, 'val_draws', _VAL_DRAWS))

  # Data as an argument: of constants the compiler works out what it can.
  @jax.jit
  def mean_loss(params, data):
    return jnp.mean(
      jax.lax.map(lambda k: model.loss(params, data, k, train=False)[0], keys)
    )

  return lambda params: mean_loss(params, data)


class _Signals:
  """Remembers SIGTERM and SIGINT instead of dying in the middle of a block."""

  def __init__(self):
    self.received = 0
    self._before = {}

  def __enter__(self) -> '_Signals':
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT):
        self._before[number] = signal.signal(number, self._receive)
    return self

  def __exit__(self, *_) -> None:
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _receive(self, number: int, _) -> None:
    if self.received:
      raise KeyboardInterrupt
    self.received = number


class _Bar:
  """A progress bar with the loss, the rate and the time that is left."""

  def __init__(self, steps: int, done: int, show: bool):
    self._bar = rich_progress.Progress(
      rich_progress.TextColumn('train'),
      rich_progress.BarColumn(),
      rich_progress.MofNCompleteColumn(),
      rich_progress.TimeRemainingColumn(),
      rich_progress.TextColumn('{task.fields[note]}'),
      disable=not show,
    )
    self._task = self._bar.add_task('train', total=steps, note='')
    self._bar.update(self._task, completed=done)

  def __enter__(self) -> '_Bar':
    self._bar.start()
    return self

  def __exit__(self, *_) -> None:
    self._bar.stop()

  def update(self, done: int, loss: float) -> None:
    """Shows the number of updates and the loss of the last block."""
    rate = self._bar.tasks[0].finished_speed or self._bar.tasks[0].speed or 0
    note = f'loss {loss:.4g}, {rate:.0f} steps/s'
    self._bar.update(self._task, completed=done, note=note)
