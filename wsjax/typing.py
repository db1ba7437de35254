"""Names for the shapes of data that pass between rooms.

Shape letters used in docstrings and variable names: B batch, N neurons,
E weights (edges of the graph), T tokens, D features, L layers, S steps.
"""

from typing import Any, TypeAlias

import jax
import numpy as np

Array: TypeAlias = jax.Array | np.ndarray

# One network: a flat dict 'layer0/kernel' -> array. Kernels are stored (in, out), convolutions
# (height, width, in, out), as Flax has them.
Params: TypeAlias = dict[str, Array]

# Many networks of one architecture: the same keys, each array with a leading axis over networks.
# Every function on Params can be vmapped over it.
StackedParams: TypeAlias = dict[str, Array]

PyTree: TypeAlias = Any
