"""Whether the units of a network form modules, and whether classes have units of their own."""

import warnings
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import sklearn.cluster
from jaxtyping import Array, Bool, Float, Int

from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.symmetry import group as group_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import graph as graph_lib

_COUNTS = 64  # Numbers of units that are tried, at most.


def adjacency(params: typing.Params, spec: spec_lib.Spec) -> Float[np.ndarray, 'units units']:
  """Graph of one network: the norm of the weights between two units, inputs and outputs included.

  Source: Filan et al. 2021, arXiv:2103.03386, section 2.1.
  """
  wiring = graph_lib.wiring(spec)
  found = np.zeros((sum(each.size for each in wiring.sets),) * 2)
  for block in wiring.edge_blocks:
    grid = np.asarray(block.grid(np.asarray(params[block.leaf.path])))
    rows, columns = wiring.sets[block.source].nodes, wiring.sets[block.target].nodes
    found[rows, columns] += (grid.astype(np.float64) ** 2).sum(axis=-1)
  return np.sqrt(found + found.T)


def normalized_cut(
  graph: Float[np.ndarray, 'units units'], labels: Int[np.ndarray, ' units']
) -> float:
  """Sum over modules of the share of their weights that leads out of them; low is modular.

  Source: Shi and Malik 2000, IEEE TPAMI 22:888.
  """
  same = labels[:, None] == labels
  cuts, volumes = (graph * ~same).sum(axis=1), graph.sum(axis=1)
  return float(sum(cuts[labels == k].sum() / volumes[labels == k].sum() for k in np.unique(labels)))


def newman(graph: Float[np.ndarray, 'units units'], labels: Int[np.ndarray, ' units']) -> float:
  """Share of weights within modules, less what it is by chance; high is modular, 0 is chance.

  Source: Newman 2006, PNAS 103:8577, eq. 1, with weights as in Newman 2004, PRE 70:056131.
  """
  volumes, same = graph.sum(axis=1), labels[:, None] == labels
  expected = np.outer(volumes, volumes) / volumes.sum()
  return float(((graph - expected) * same).sum() / volumes.sum())


def modules(
  graph: Float[np.ndarray, 'units units'], count: int, *, seed: int = 0
) -> Int[np.ndarray, ' units']:
  """Module of each unit by spectral clustering; units without any weight are alone in one.

  Raises:
    ValueError: unless more units than modules have weights.

  Source: Shi and Malik 2000, IEEE TPAMI 22:888, as in Filan et al. 2021, arXiv:2103.03386; labels
    by Damle et al. 2019, Information and Inference 8:181.
  """
  linked = graph.sum(axis=1) > 0
  if not 2 <= count < linked.sum():
    raise ValueError(f'{linked.sum()} units with weights; {count} modules: allowed are 2 to fewer.')
  cluster = sklearn.cluster.SpectralClustering(
    count, affinity='precomputed', assign_labels='cluster_qr', random_state=seed
  )
  labels = np.full(len(graph), count)
  with warnings.catch_warnings():
    warnings.filterwarnings('ignore', 'Graph is not fully connected')  # Parts are modules.
    labels[linked] = cluster.fit_predict(graph[np.ix_(linked, linked)])
  return labels


def against_shuffled(
  params: typing.Params,
  spec: spec_lib.Spec,
  *,
  count: int = 4,
  num_shuffled: int = 20,
  seed: int = 0,
  measure: Callable[[np.ndarray, np.ndarray], float] = normalized_cut,
) -> tuple[float, Float[np.ndarray, ' shuffled']]:
  """Normalized cut of one network, and of networks with the weights of each layer shuffled.

  Units are clustered anew in each. Weights stay in their kernel, so that the null has the same
  layers and the same weights in each: it is the "shuffled" one of the source.

  Args:
    params: of one network.
    spec: of its model.
    count: of modules.
    num_shuffled: networks with shuffled weights.
    seed: of shuffling and clustering.
    measure: (graph, labels) -> number: `normalized_cut` or `newman`.

  Source: Filan et al. 2021, arXiv:2103.03386, section 3.
  """
  rng = np.random.default_rng(seed)

  def cut(params: Mapping[str, np.ndarray]) -> float:
    graph = adjacency(params, spec)
    labels = modules(graph, count, seed=seed)
    linked = labels < count
    return measure(graph[np.ix_(linked, linked)], labels[linked])

  shuffled = [
    cut({path: rng.permutation(np.ravel(x)).reshape(x.shape) for path, x in params.items()})
    for _ in range(num_shuffled)
  ]
  return cut(params), np.array(shuffled)


def beside(value: float, null: Float[np.ndarray, ' n'], *, low: bool) -> tuple[float, float]:
  """How far a number is from those of a null, and how probable that is by chance.

  Args:
    value: of the network.
    null: of networks with shuffled weights, at least 2.
    low: whether small numbers are remarkable, as cuts are, or large ones, as Newman's modularity.

  Returns:
    z, (value - mean) / deviation, NaN where all of the null are equal; and the one-sided
    permutation p, (1 + number as extreme) / (1 + n).

  Source: Phipson and Smyth 2010, SAGMB 9:39 (p is never 0).
  """
  extreme = null <= value if low else null >= value
  spread = null.std(ddof=1)
  z = (value - null.mean()) / spread if spread > 0 else np.nan
  return float(z), float((1 + extreme.sum()) / (1 + len(null)))


def class_units(
  model: model_lib.Model,
  params: typing.Params,
  inputs: Float[Array, 'n ...'],
  labels: Int[Array, ' n'],
  *,
  num_classes: int,
  share: float = 0.9,
) -> Bool[Array, 'classes units']:
  """Hidden units that each class needs: the fewest important ones that keep its recall.

  Units of all groups are ranked by the rise of the loss of the class if they were not there, to
  first order; all others are set to zero. A class that has no right input needs none.

  Args:
    model: a classifier.
    params: of one network.
    inputs: [n, ...].
    labels: classes.
    num_classes: of the labels.
    share: of the recall that is kept.

  Source: Molchanov et al. 2017, arXiv:1611.06440, section 2.2, without the absolute value: units
    that hurt a class come last.
  """
  total = sum(group.size for group in model.spec.groups)
  counts = np.unique(np.linspace(1, total, min(total, _COUNTS)).astype(int))

  def of_class(number: jax.Array, scores: jax.Array) -> jax.Array:
    def right(mask: jax.Array) -> jax.Array:
      found = model.apply(_masked(params, model.spec, mask), inputs).argmax(-1) == labels
      return jnp.sum(found & (labels == number))

    rank = jnp.argsort(jnp.argsort(-scores))
    kept = jax.lax.map(lambda count: right((rank < count).astype(jnp.float32)), jnp.asarray(counts))
    whole = right(jnp.ones(total))
    enough = kept >= share * whole
    return (rank < jnp.asarray(counts)[jnp.argmax(enough)]) & (whole > 0)

  scores = importance(model, params, inputs, labels, num_classes=num_classes)
  return jax.lax.map(lambda x: of_class(*x), (jnp.arange(num_classes), scores))


def importance(
  model: model_lib.Model,
  params: typing.Params,
  inputs: Float[Array, 'n ...'],
  labels: Int[Array, ' n'],
  *,
  num_classes: int,
) -> Float[Array, 'classes units']:
  """Rise of the summed loss of each class, in nats, if a hidden unit were 0, to first order.

  That is minus activation times gradient, summed over the examples of the class and, for a channel,
  over pixels. Units are those of the groups of the spec, in its order; arguments as in
  `class_units`.

  Source: Molchanov et al. 2017, arXiv:1611.06440, section 2.2 (with its sign kept).
  """

  def losses(mask: jax.Array) -> jax.Array:
    log_p = jax.nn.log_softmax(model.apply(_masked(params, model.spec, mask), inputs))
    own = jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]
    return -jax.nn.one_hot(labels, num_classes).T @ own

  return -jax.jacrev(losses)(jnp.ones(sum(group.size for group in model.spec.groups)))


def _masked(params: typing.Params, spec: spec_lib.Spec, mask: jax.Array) -> typing.Params:
  """Multiplies hidden units by a number each, by way of the weights that read them."""
  sizes = [group.size for group in spec.groups]
  ids = (group.id for group in spec.groups)
  parts = dict(zip(ids, jnp.split(mask, np.cumsum(sizes)[:-1]), strict=True))
  wiring = graph_lib.wiring(spec)
  found = dict(params)
  for block in wiring.edge_blocks:
    id = wiring.sets[block.source].group
    if id is not None:
      line = group_lib.along(parts[id], block.leaf, block.axes[0])
      found[block.leaf.path] = found[block.leaf.path] * line
  return found


def overlap(chosen: Bool[np.ndarray, 'classes units']) -> float:
  """Units that two classes share, over the number that two random sets of their sizes would share.

  Random sets of a and b of n units share a b / n in the mean. Mean over pairs of classes; NaN if no
  two classes need units.
  """
  sets = np.asarray(chosen)[np.any(chosen, axis=1)].astype(float)
  if len(sets) < 2:
    return float('nan')
  sizes = sets.sum(axis=1)
  ratio = (sets @ sets.T) / (np.outer(sizes, sizes) / sets.shape[1])
  return float(ratio[np.triu_indices(len(sets), 1)].mean())


def angles(
  a: Float[np.ndarray, 'n p'], b: Float[np.ndarray, 'm p'], k: int
) -> Float[np.ndarray, ' k']:
  """Angles in radians, increasing, between the k leading principal directions of two sets.

  Raises:
    ValueError: unless k is at least 1 and below the size of both sets.

  Source: Bjorck and Golub 1973, Mathematics of Computation 27:579.
  """
  if not 1 <= k < min(len(a), len(b)):
    raise ValueError(f'k is {k}; allowed: 1 to fewer than the {min(len(a), len(b))} networks.')
  spans = []
  for vectors in (a, b):
    centred = np.asarray(vectors, np.float64) - np.mean(vectors, axis=0, dtype=np.float64)
    spans.append(scipy.linalg.svd(centred, full_matrices=False)[2][:k].T)
  return scipy.linalg.subspace_angles(*spans)[::-1]


def shared_subspace(
  a: Float[np.ndarray, 'n p'], b: Float[np.ndarray, 'm p'], k: int, *, seed: int = 0
) -> dict[str, float]:
  """How far the k leading principal directions of two sets of networks, as of two tasks, agree.

  An overlap is the mean squared cosine of the angles, 1 for one space and 0 for orthogonal ones.
  All are between halves of sets of equal size, so that few networks blur them alike. Vectors are
  those of matched networks, since units in another order turn all directions.

  Returns:
    'across' the two sets, a mean over four pairs of halves; 'within' one set, between its halves, a
    mean over both; 'chance', that of random spaces, k / p.

  Raises:
    ValueError: unless k is below half the size of both sets.

  Source: Gur-Ari et al. 2018, arXiv:1812.04754 (the overlap of subspaces).
  """
  rng = np.random.default_rng(seed)
  half = min(len(a), len(b)) // 2
  halves = []
  for vectors in (a, b):
    order = rng.permutation(len(vectors))
    halves.append([vectors[order[:half]], vectors[order[half : 2 * half]]])

  def overlapping(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean(np.cos(angles(x, y, k)) ** 2))

  return {
    'across': float(np.mean([overlapping(x, y) for x in halves[0] for y in halves[1]])),
    'within': float(np.mean([overlapping(*pair) for pair in halves])),
    'chance': k / a.shape[1],
  }
