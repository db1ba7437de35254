"""Search for the training network that is nearest to each network, up to symmetry."""

import numpy as np

from wsjax import typing
from wsjax.evaluation import methods
from wsjax.symmetry import distance as distance_lib


class Search(distance_lib.Neighbours):
  """Search for the training network nearest to each network, some of which may have failed.

  The distance found is an upper bound; tau is found by the same search.
  """

  def nearest(
    self,
    params: typing.StackedParams,
    *,
    similarity: np.ndarray | None = None,
    exclude_same_index: bool = False,
  ) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the nearest training network, and which one it is.

    Args:
      params: path -> [A, ...] networks.
      similarity: [A, B] similarity in function, such as the error-IoU; None if it is not known.
      exclude_same_index: whether network i is training network i, and is not compared with it.

    Returns:
      [A] distance and [A] index; NaN and -1 for a network whose weights are not finite.

    Raises:
      ValueError: if training networks have weights that are not finite, or none is left.
    """
    usable = methods.usable(params)
    broken = np.sum(~methods.usable(self.zoo))
    if broken:
      raise ValueError(f'{broken} training networks have no finite weights.')
    distance = np.full(len(usable), np.nan)
    index = np.full(len(usable), -1)
    rows = np.flatnonzero(usable)
    if len(rows):
      distance[rows], index[rows] = super().nearest(
        methods.take(params, rows),
        similarity=None if similarity is None else similarity[rows],
        excluded=rows if exclude_same_index else None,
      )
    return distance, index
