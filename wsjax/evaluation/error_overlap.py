"""Overlap of the test items that two networks get wrong."""

import numpy as np


def error_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """[A, B] float32 |wrong_a & wrong_b| / |wrong_a | wrong_b| of errors [A, n] and [B, n] bool.

  It is 1 for two networks without any error.

  Raises:
    ValueError: if the two are not over the same items.

  Source: arXiv:2506.07998, section 3.
  """
  if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
    raise ValueError(f'error_iou needs [A, n] and [B, n]; got {a.shape} and {b.shape}.')
  a, b = a.astype(np.float32), b.astype(np.float32)
  both = a @ b.T  # Counts below 2^24 are exact in float32.
  either = a.sum(axis=1)[:, None] + b.sum(axis=1)[None] - both
  return np.where(either > 0, both / np.maximum(either, 1), np.float32(1))


def max_iou(iou: np.ndarray, *, exclude_same_index: bool = False) -> tuple[np.ndarray, np.ndarray]:
  """[A] largest error-IoU of each network with a training network, and [A] which one it is.

  Args:
    iou: [A, B] from `error_iou`, training networks second.
    exclude_same_index: whether network i is training network i, and is not compared with it.

  Raises:
    ValueError: if leave-one-out is asked of two sets that differ in size or hold one network.
  """
  if exclude_same_index:
    if iou.shape[0] != iou.shape[1] or len(iou) < 2:
      raise ValueError(f'Leave-one-out needs the same networks twice, at least 2; got {iou.shape}.')
    iou = np.where(np.eye(len(iou), dtype=bool), -1, iou)
  nearest = np.argmax(iou, axis=1)
  return iou[np.arange(len(iou)), nearest], nearest
