"""Training checkpoints; the only file that imports orbax.

Orbax does not notice a flipped bit, so every checkpoint carries a checksum of each leaf, which
restoring verifies. A damaged checkpoint is set aside, and the newest good one before it is used.

All processes of a run make the same calls; process 0 alone renames and deletes, and what one of
them finds wrong is wrong for all.
"""

import contextlib
import dataclasses
import errno
import math
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from wsjax import distributed, typing
from wsjax.train.checkpoint import checksums

# What orbax calls a checkpoint that is not finished.
_UNFINISHED = '*.orbax-checkpoint-tmp*'
# Errors of memory, a disk, a network or a limit, which say nothing of the file.
_DISK, _LIMIT = (errno.EIO, errno.ESTALE), (errno.EMFILE, errno.ENFILE)
_PASSING = (*_DISK, *_LIMIT, errno.ETIMEDOUT, errno.ENOTCONN, errno.EACCES, errno.EPERM)
_PASSING_WORDS = re.compile(
  'RESOURCE_EXHAUSTED|UNAVAILABLE|DEADLINE_EXCEEDED|PERMISSION_DENIED|Permission denied'
  '|PermissionError'
)


def _prepare(path: pathlib.Path) -> None:
  """Creates a folder of checkpoints, or removes unfinished ones from it.

  Raises:
    OSError: on every process, if nothing can be written there.
  """

  def action() -> None:
    path.mkdir(parents=True, exist_ok=True)
    # Permission bits do not tell: of root, of network disks and of full ones.
    with tempfile.TemporaryFile(dir=path) as file:
      file.write(b'written')
      file.flush()
    unfinished = sorted(path.glob(_UNFINISHED))
    for folder in unfinished:
      shutil.rmtree(folder)
    if unfinished:
      names = ', '.join(folder.name for folder in unfinished)
      message = 'Removed %d unfinished checkpoints from %s, whose saves were cut off: %s.'
      logging.warning(message, len(unfinished), path, names)

  _on_writer(action, f'Checkpoints cannot be written to {path}')


def _steps(path: pathlib.Path) -> list[int]:
  """Numbers of the checkpoints in a folder, ascending; none if there is no folder."""
  return sorted(int(file.name) for file in path.glob('*') if file.name.isdecimal())


def _set_aside(path: pathlib.Path, step: int, why: str) -> None:
  """Renames a checkpoint in a folder that is damaged, and says why; it is never deleted.

  Raises:
    OSError: on every process, if it cannot be renamed.
  """

  def action() -> None:
    aside, count = path / f'{step}.corrupt', 1
    while aside.exists():
      aside, count = path / f'{step}.corrupt{count}', count + 1
    message = 'Checkpoint %d in %s is damaged (%s); it is kept as %s and another one is used.'
    logging.warning(message, step, path, why, aside.name)
    (path / str(step)).rename(aside)

  _on_writer(action, f'Checkpoint {step} in {path} is damaged ({why}) and cannot be set aside')


def _failed_save(path: pathlib.Path, step: int, error: Exception | None) -> OSError:
  """The error to raise for a step that could not be written to a folder: what is left, what to do.

  The cause is None if it was in another process.
  """
  left, onwards = 'There is no older checkpoint', 'begins anew'
  if kept := _steps(path):
    left = f'Older checkpoints ({", ".join(map(str, kept))}) are intact'
    onwards = f'goes on from step {kept[-1]}'
  return OSError(
    f'Checkpoint {step} could not be written to {path}: {_first_line(error)}. {left}. Free space '
    f'there or make it writable, then start the run again: it {onwards}.'
  )


def _is_passing(error: Exception | None) -> bool:
  """Whether an error in reading may be gone in the next try."""
  return (
    isinstance(error, MemoryError | PermissionError)
    or getattr(error, 'errno', None) in _PASSING
    or _PASSING_WORDS.search(str(error)) is not None
  )


def _first_line(error: Exception | None) -> str:
  """What an error says, in short; None is of another process."""
  if error is None:
    return 'another process failed'
  # That the others came too late is what followed, not what happened.
  while 'Barrier timed out' in str(error) and error.__context__ is not None:
    error = error.__context__
  line = (str(error).strip() or repr(error)).splitlines()[0]
  # TensorStore wraps the cause in the paths of files, and adds how it was called and its sources.
  line = re.split(r' \[(?:os_error|source|tensorstore_spec)', line)[0].rstrip('.')
  return line if len(line) <= 300 else f'{line[:100]} ... {line[-200:]}'


def _on_writer(action: Callable[[], None], problem: str) -> None:
  """Does something in process 0; if it fails, all processes raise."""
  error = None
  if distributed.is_writer():
    try:
      action()
    except OSError as caught:
      error = caught
  if distributed.largest(int(error is not None)):
    raise OSError(f'{problem}: {_first_line(error)}.') from error


History = dict[str, list[float]]
Restored = tuple[int, typing.PyTree, History]

# Seconds between the first and the last process to have written a checkpoint.
_PATIENCE = 300


class Checkpoints:
  """Checkpoints of one training run.

  Only one process, or one group, may have a folder open, which removes what was not finished: see
  `wsjax.files`.
  """

  def __init__(
    self, path: pathlib.Path, *, keep: int = 2, keep_best: int = 0, read_only: bool = False
  ):
    """Opens or creates a folder of checkpoints.

    The `keep` newest are kept, and the `keep_best` with the lowest metric. With `read_only` nothing
    is written, not even to set damage aside.

    Raises:
      OSError: if nothing can be written there.
      ValueError: if nothing would be kept.
    """
    if keep < 1 or keep_best < 0:
      raise ValueError(
        f'keep is {keep} and keep_best {keep_best}; allowed are at least 1 and at least 0.'
      )
    self._path = path.absolute()
    self._read_only = read_only
    self._policy = _NewestAndBest(keep, keep_best, self._metric)
    self._metrics: dict[int, float | None] = {}
    self._writing: int | None = None
    self._manager: ocp.CheckpointManager | None = self._open()

  def save(
    self, step: int, tree: typing.PyTree, history: History, *, metric: float | None = None
  ) -> None:
    """Copies a state and writes it in the background, after the save before it.

    Args:
      step: its number; one that exists is left as it is.
      tree: of arrays; the caller may donate or change it at once.
      history: of the training up to this step.
      metric: how good the state is, lower is better; one that is not finite is as good as none.

    Raises:
      OSError: if this save cannot start, or the one before it failed.
    """
    if step in self.steps():
      return
    tree = jax.tree.map(_copy, tree)
    described = checksums.describe(step, tree, history, metric)
    self._metrics[step], self._writing = described['metric'], step
    state, meta = ocp.args.StandardSave(tree), ocp.args.JsonSave(described)
    args = ocp.args.Composite(state=state, meta=meta)
    # Forced, so that a step before the newest is saved, too.
    self._finish(lambda: self._manager.save(step, args=args, force=True))

  def wait(self) -> None:
    """Returns when the last save is on disk; raises OSError if it failed."""
    if self._writing is not None:
      self._finish(self._manager.wait_until_finished)
      self._writing = None

  def restore(self, like: typing.PyTree) -> Restored | None:
    """The newest checkpoint that is not damaged, as (step, tree, history), or None.

    Args:
      like: tree of arrays or `jax.ShapeDtypeStruct`, of the shapes and the shardings to restore to,
        which need not be those of the save; a leaf without a sharding goes to all devices.

    Raises:
      OSError: if a save failed, or what is damaged cannot be set aside.
      ValueError: if the newest one that can be read is of another model.
    """
    return self._first_sound(reversed(self.steps()), like)

  def best(self, like: typing.PyTree) -> Restored | None:
    """The first checkpoint of the lowest metric, as `restore`; None if none has a metric."""
    steps = self.steps()
    found = [self._metric(step) for step in steps]
    # One process may fail to read what the others can.
    found = distributed.of_writer(np.array(found, float))  # NaN for None.
    order = np.argsort(found, kind='stable')[: np.isfinite(found).sum()]
    return self._first_sound([steps[i] for i in order], like)

  def steps(self) -> list[int]:
    """Numbers of the checkpoints, ascending; waits for the last save."""
    self.wait()
    if self._read_only:
      return _steps(self._path)
    if self._manager is None:
      self._manager = self._open()
    return sorted(int(step) for step in self._manager.all_steps())

  def close(self) -> None:
    """Waits for the last save, see `wait`, and releases what the manager holds."""
    self.wait()
    if self._manager is not None:
      self._manager.close()
      self._manager = None

  def _open(self) -> ocp.CheckpointManager | None:
    if self._read_only:
      return None
    _prepare(self._path)
    # A directory that cannot be created in the background leaves threads that wait for it for
    # minutes, and the process with them. Where one process fails the others wait `_PATIENCE`.
    wait = ocp.AsyncOptions(create_directories_asynchronously=False, timeout_secs=_PATIENCE)
    options = ocp.CheckpointManagerOptions(preservation_policy=self._policy, async_options=wait)
    return ocp.CheckpointManager(self._path, options=options)

  def _finish(self, action: Callable[[], Any]) -> None:
    """Does a part of a save; if it fails anywhere, everywhere raises."""
    error = None
    try:
      action()
    # A full disk shows as any of a dozen exceptions of the layers below.
    except Exception as caught:
      error = caught
    if not distributed.largest(int(error is not None)):
      return
    step, self._writing = self._writing, None
    self._metrics.pop(step, None)
    # A manager that has failed goes on failing; the next call opens another.
    with contextlib.suppress(Exception):
      self._manager.close()
    self._manager = None
    raise _failed_save(self._path, step, error) from error

  def _first_sound(self, steps: Iterable[int], like: typing.PyTree) -> Restored | None:
    abstract = jax.tree.map(_abstract, like)
    for step in steps:
      try:
        return step, *self._read(step, abstract)
      except checksums.Damaged as error:
        self.close()
        self._metrics.pop(step, None)
        if self._read_only:
          logging.warning('Checkpoint %d in %s is damaged (%s).', step, self._path, error)
        else:
          _set_aside(self._path, step, str(error))
        self._manager = self._open()
    return None

  def _read(self, step: int, abstract: typing.PyTree) -> tuple[Any, History]:
    # First what it holds: a sound checkpoint of another model is no damage.
    described = _agreed(lambda: self._described(step))
    if other := checksums.check_model(described, abstract):
      raise ValueError(
        f'Checkpoint {step} in {self._path} is of another model: {other}. Train in another folder.'
      )
    # Not by the manager, which waits for the other processes, also for one that cannot read.
    path, args = self._path / str(step) / 'state', ocp.args.StandardRestore(abstract)
    state = _agreed(lambda: ocp.StandardCheckpointHandler().restore(path, args=args))
    checksums.check_values(described, state)
    return state, described['history']

  def _described(self, step: int) -> checksums.Description:
    described = dict(ocp.JsonCheckpointHandler().restore(self._path / str(step) / 'meta'))
    checksums.check_description(described, step)
    return described

  def _metric(self, step: int) -> float | None:
    """Of a checkpoint; None if it has none, NaN if that cannot be known."""
    if step not in self._metrics:
      try:
        self._metrics[step] = self._described(step).get('metric')
      except Exception as error:
        message = 'The metric of checkpoint %d in %s cannot be read (%s).'
        logging.warning(message, step, self._path, _first_line(error))
        return math.nan
    return self._metrics[step]


@dataclasses.dataclass(frozen=True)
class _NewestAndBest:
  """Preservation policy of orbax: the `newest` steps, and the `best` with the lowest metric.

  The policies of orbax read metrics from files of their own, without which a folder cannot be
  opened. `metric` gives that of a step: None if it has none, NaN if that cannot be known.
  """

  newest: int
  best: int
  metric: Callable[[int], float | None]

  def should_preserve(self, checkpoints: Sequence[Any], *, context: Any = None) -> list[bool]:
    """For each checkpoint, which has a `step`, whether it is kept."""
    del context
    steps = sorted(checkpoint.step for checkpoint in checkpoints)
    kept = set(steps[-self.newest :])
    if self.best:
      metrics = {step: value for step in steps if (value := self.metric(step)) is not None}
      # What cannot be read today may turn out to be the best.
      unknown = {step for step, value in metrics.items() if math.isnan(value)}
      known = sorted(metrics.keys() - unknown)
      kept |= unknown | set(sorted(known, key=metrics.get)[: self.best])
    return [checkpoint.step in kept for checkpoint in checkpoints]


def _agreed(read: Callable[[], Any]) -> Any:
  """What is read; damaged for all processes if it is for one of them."""
  value, error = None, None
  try:
    value = read()
  # Damage shows as any of a dozen exceptions of the layers below.
  except Exception as caught:
    error = caught
  # No fault of the file: to go on would set one good checkpoint after another aside.
  passing = _is_passing(error)
  verdict = distributed.largest(0 if error is None else 2 if passing else 1)
  if verdict == 2:
    raise OSError(f'A checkpoint cannot be read here: {_first_line(error)}.') from error
  if verdict == 1:
    raise checksums.Damaged(_first_line(error)) from error
  return value


def _copy(leaf: typing.Array) -> jax.Array:
  """A leaf that nobody donates or overwrites while orbax writes it.

  Orbax reads arrays on the CPU in the background, and copies those on other devices itself.
  """
  if isinstance(leaf, jax.Array) and jax.default_backend() != 'cpu':
    return leaf
  return jnp.copy(leaf)


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
  if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
    leaf = jnp.asarray(leaf)
  sharding = leaf.sharding
  if sharding is None:
    sharding = NamedSharding(Mesh(jax.devices(), ('all',)), PartitionSpec())
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
