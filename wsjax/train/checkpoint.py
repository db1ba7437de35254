"""Training checkpoints; the only file that imports orbax.

Orbax notices a truncated or missing file, but not a flipped bit, so every
checkpoint carries a digest of each leaf, which restoring verifies. A damaged
checkpoint is set aside, and the newest good one before it is used.
"""

import pathlib
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from wsjax import typing
from wsjax.zoo import digest


class Checkpoints:
  """Checkpoints of one training run."""

  def __init__(self, path: pathlib.Path, *, keep: int = 2):
    """Opens a folder of checkpoints.

    Args:
      path: created if it does not exist.
      keep: how many of the newest are kept.
    """
    self._path = path.absolute()
    self._keep = keep
    self._manager = self._open()

  def save(
    self, step: int, tree: typing.PyTree, history: dict[str, list[float]]
  ) -> None:
    """Writes a checkpoint; returns when it is on disk.

    Args:
      step: its number; one that exists is left as it is.
      tree: of arrays.
      history: of the training up to this step.
    """
    if step in self._manager.all_steps():
      return
    self._manager.save(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(tree),
        meta=ocp.args.JsonSave(
          {
            'leaves': leaves(tree),
            'digests': digests(tree),
            'history': history,
          }
        ),
      ),
    )
    self._manager.wait_until_finished()

  def restore(
    self, like: typing.PyTree
  ) -> tuple[int, typing.PyTree, dict[str, list[float]]] | None:
    """The newest checkpoint that is not damaged.

    Args:
      like: tree of arrays of the shapes and shardings to restore to.

    Returns:
      (step, tree, history), or None if there is none.

    Raises:
      ValueError: if the newest one that can be read is of another model.
    """
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    for step in sorted(self._manager.all_steps(), reverse=True):
      try:
        return step, *self._read(step, abstract)
      except _AnotherModel:
        raise
      # Damage shows as any of a dozen exceptions of the layers below.
      except Exception as error:
        self._quarantine(step, error)
    return None

  def close(self) -> None:
    """Releases what the manager holds."""
    self._manager.close()

  def _open(self) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(
      self._path,
      options=ocp.CheckpointManagerOptions(
        max_to_keep=self._keep,
        enable_async_checkpointing=False,
        cleanup_tmp_directories=True,
      ),
    )

  def _read(self, step: int, abstract: typing.PyTree) -> tuple[Any, Any]:
    # First what it holds: a sound checkpoint of another model is no damage.
    meta = self._manager.restore(
      step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())
    ).meta
    wanted = leaves(abstract)
    if other := sorted(set(meta['leaves'].items()) ^ set(wanted.items())):
      path = other[0][0]
      raise _AnotherModel(
        f'Checkpoint {step} in {self._path} is of another model: {path} is '
        f'{meta["leaves"].get(path, "not")} there and '
        f'{wanted.get(path, "not")} here. Train in another folder.'
      )
    state = self._manager.restore(
      step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
    ).state
    found = digests(state)
    if damaged := sorted(
      path
      for path, expected in meta['digests'].items()
      if found.get(path) != expected
    ):
      raise ValueError(f'the values of {damaged[0]} were changed')
    return state, meta['history']

  def _quarantine(self, step: int, error: Exception) -> None:
    """Sets a damaged checkpoint aside; it is never deleted."""
    aside, count = self._path / f'{step}.corrupt', 1
    while aside.exists():
      aside, count = self._path / f'{step}.corrupt{count}', count + 1
    logging.warning(
      'Checkpoint %d in %s is damaged (%s); it is kept as %s and the one '
      'before it is used.',
      step,
      self._path,
      (str(error) or repr(error)).splitlines()[0],
      aside.name,
    )
    self._manager.close()
    (self._path / str(step)).rename(aside)
    self._manager = self._open()


class _AnotherModel(ValueError):
  """A sound checkpoint that does not fit; nothing is set aside."""


def leaves(tree: typing.PyTree) -> dict[str, str]:
  """Type and shape of every leaf, by its path."""
  return {
    jax.tree_util.keystr(path): f'{leaf.dtype}{list(leaf.shape)}'
    for path, leaf in jax.tree.leaves_with_path(tree)
  }


def digests(tree: typing.PyTree) -> dict[str, str]:
  """SHA-256 of every leaf, by its path."""
  return {
    jax.tree_util.keystr(path): digest.of_tensors({'leaf': np.asarray(leaf)})
    for path, leaf in jax.tree.leaves_with_path(tree)
  }
