"""Checkpoints to try things on, and what to look at in them."""

import gc
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.train.checkpoint import checkpoint

FILTERS = pytest.mark.filterwarnings(
  'ignore::pytest.PytestUnraisableExceptionWarning',
  'ignore::pytest.PytestUnhandledThreadExceptionWarning',
  'ignore:coroutine:RuntimeWarning',
)


def tree(seed):
  rng = np.random.default_rng(seed)
  one, two = rng.standard_normal((2, 128, 64)).astype(np.float32)
  return {'params': {'w': jnp.asarray(one), 'v': jnp.asarray(two)}, 'count': jnp.int32(seed)}


def restore(path, like=None):
  checkpoints = checkpoint.Checkpoints(path)
  restored = checkpoints.restore(tree(0) if like is None else like)
  checkpoints.close()
  gc.collect()  # Here, not in another test: orbax drops its reads on damage.
  return restored


def check(restored, step):
  assert restored[0] == step and restored[2] == {'loss': [float(step)]}
  jax.tree.map(np.testing.assert_array_equal, restored[1], tree(step))


def largest(folder: pathlib.Path) -> pathlib.Path:
  files = [file for file in folder.rglob('*') if file.is_file()]
  return max(files, key=lambda file: file.stat().st_size)


def steps_in(folder):
  return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


def save_metrics(path, metrics, **kwargs):
  checkpoints = checkpoint.Checkpoints(path, **kwargs)
  for step, metric in metrics.items():
    checkpoints.save(step, tree(step), {'loss': [float(step)]}, metric=metric)
  checkpoints.close()


def flip(step_folder, *, at):
  file = largest(step_folder / 'state')
  content = bytearray(file.read_bytes())
  content[int(at * (len(content) - 1))] ^= 1
  file.write_bytes(content)
