"""Predictions of many networks on one test set, reduced while computing, and their calibration.

Networks are padded to calls of a fixed size: one program is compiled per architecture and test set.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Float

from wsjax import networks, typing
from wsjax.models import model as model_lib

NUM_BINS = 15  # Of confidence, for calibration errors.
# Monte-Carlo draws per network behind the chance level of its ECE.
_NULL_DRAWS = 8
NUM_PROBES = 256  # Test items that stand for the function of a network.
_NETWORKS_PER_CALL = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Items:
  """A test set on the device, in blocks.

  Attributes:
    inputs: [k, b, ...] float32, the last block padded.
    labels: [k, b] int32.
    real: [k, b] float32, 0 for padding.
    num_items: n <= k * b.
  """

  inputs: jax.Array
  labels: jax.Array
  real: jax.Array
  num_items: int


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
  """Predictions of N networks on n items.

  Attributes:
    labels: [N, n] int16 predicted class; -1 where the output is not finite, which counts as an
      error made with uniform probabilities.
    nll: [N, n] float32 negative log likelihood, nats.
    brier: [N] mean Brier score.
    ece: [N] expected calibration error, 15 bins of equal width.
    ece_null: [N] mean calibration error of a network that is right with a probability equal to its
      confidence.
  """

  labels: np.ndarray
  nll: np.ndarray
  brier: np.ndarray
  ece: np.ndarray
  ece_null: np.ndarray


def make_items(inputs: typing.Array, labels: typing.Array, *, block: int = 2000) -> Items:
  """Cuts a test set, inputs [n, ...] and int labels [n], into blocks of at most `block` items.

  Raises:
    ValueError: if there is no item or the two differ in length.
  """
  count = len(inputs)
  if not count or count != len(labels):
    raise ValueError(
      f'Items need as many labels as inputs, at least 1; got {count} inputs '
      f'and {len(labels)} labels.'
    )
  block = min(block, count)
  blocks = -(-count // block)
  order = np.arange(blocks * block)

  def cut(value: np.ndarray) -> jax.Array:
    value = value[np.minimum(order, count - 1)]
    return jnp.asarray(value.reshape(blocks, block, *value.shape[1:]))

  return Items(
    inputs=cut(np.asarray(inputs, np.float32)),
    labels=cut(np.asarray(labels, np.int32)),
    real=jnp.asarray((order < count).astype(np.float32).reshape(blocks, block)),
    num_items=count,
  )


def accuracy(
  architecture: model_lib.Model,
  params: typing.StackedParams,
  inputs: typing.Array,
  labels: typing.Array,
) -> np.ndarray:
  """[N] share of items [n, ...] whose label [n] each network predicts."""
  found = predict(architecture, params, make_items(inputs, labels))
  return np.mean(found.labels == np.asarray(labels)[None], axis=1)


def predict(
  architecture: model_lib.Model, params: typing.StackedParams, items: Items, *, seed: int = 0
) -> Predictions:
  """Runs N networks with logits as outputs, path -> [N, ...], over a test set.

  The seed is of the Monte-Carlo draws, of which network i has its own, whatever the calls.
  """
  key, n = jax.random.key(seed), items.num_items
  labels, nll, brier, hits, confidence, null_hits = networks.in_chunks(
    lambda chunk: _call(
      architecture, chunk[0], chunk[1], items.inputs, items.labels, items.real, key
    ),
    (params, np.arange(networks.length(params))),
    _NETWORKS_PER_CALL,
  )
  ece = np.asarray(expected_calibration_error(hits, confidence, n))
  null = expected_calibration_error(null_hits, confidence[:, None], n)
  return Predictions(labels[:, :n], nll[:, :n], brier / n, ece, np.mean(null, axis=1))


@functools.partial(jax.jit, static_argnames=('architecture',))
def _call(
  architecture: model_lib.Model,
  params: typing.StackedParams,
  index: jax.Array,
  inputs: jax.Array,
  labels: jax.Array,
  real: jax.Array,
  key: jax.Array,
) -> tuple[jax.Array, ...]:
  """Labels and NLL [c, n'], then sums over items: Brier [c], bins [c, ...]."""
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)

  def block(sums, batch):
    number, x, y, is_real = batch
    logits = jax.vmap(architecture.apply, (0, None))(params, x)
    finite = jnp.all(jnp.isfinite(logits), axis=-1)
    log_p = jax.nn.log_softmax(jnp.where(finite[..., None], logits, 0.0))
    y = jnp.broadcast_to(y[None], finite.shape)
    nll = -jnp.take_along_axis(log_p, y[..., None], axis=-1)[..., 0]
    predicted = jnp.where(finite, jnp.argmax(logits, axis=-1), -1)
    confidence = jnp.exp(jnp.max(log_p, axis=-1))
    bins = bin_weights(confidence) * is_real[None, :, None]
    uniform = jax.vmap(
      lambda k: jax.random.uniform(jax.random.fold_in(k, number), (_NULL_DRAWS, x.shape[0]))
    )(keys)
    hits = (predicted == y).astype(jnp.float32)
    null_hits = (uniform < confidence[:, None]).astype(jnp.float32)
    brier = brier_score(jnp.exp(log_p), y) @ is_real
    found = (
      brier,
      jnp.einsum('ci,cib->cb', hits, bins),
      jnp.einsum('ci,cib->cb', confidence, bins),
      jnp.einsum('cri,cib->crb', null_hits, bins),
    )
    return jax.tree.map(jnp.add, sums, found), (predicted.astype(jnp.int16), nll)

  count, bins = len(index), NUM_BINS
  shapes = ((count,), (count, bins), (count, bins), (count, _NULL_DRAWS, bins))
  zeros = tuple(map(jnp.zeros, shapes))
  sums, (predicted, nll) = jax.lax.scan(
    block, zeros, (jnp.arange(len(inputs)), inputs, labels, real)
  )

  def join(value: jax.Array) -> jax.Array:
    return jnp.moveaxis(value, 0, 1).reshape(count, -1)

  return (join(predicted), join(nll), *sums)


@functools.partial(jax.jit, static_argnames='num_bins')
def bin_weights(confidence: jax.Array, num_bins: int = NUM_BINS) -> jax.Array:
  """[*b, k] one-hot membership of confidences [*b] in equal bins (0, 1/k], (1/k, 2/k], ..."""
  index = jnp.ceil(confidence * num_bins).astype(jnp.int32) - 1
  return jax.nn.one_hot(jnp.clip(index, 0, num_bins - 1), num_bins)


@functools.partial(jax.jit, static_argnames='num_items')
def expected_calibration_error(hits: jax.Array, confidence: jax.Array, num_items: int) -> jax.Array:
  """ECE [*b], sum over bins of (n_b / n) |accuracy_b - confidence_b|, from sums per bin.

  Args:
    hits: [*b, k] number of correct items per bin.
    confidence: [*b, k] sum of confidences per bin.
    num_items: n.

  Source: Guo et al. 2017, arXiv:1706.04599, eq. 3; n_b cancels.
  """
  return jnp.sum(jnp.abs(hits - confidence), axis=-1) / num_items


def calibration_gaps(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
  """[*b, n, k] right minus confidence [*b, n] of every item, in the bin of its confidence."""
  bins = np.asarray(bin_weights(confidence))
  return (right - confidence)[..., None] * bins


def ece_of(gaps: np.ndarray) -> np.ndarray:
  """Expected calibration error [*b] of `calibration_gaps` [*b, n, k]."""
  return np.abs(gaps.sum(axis=-2)).sum(axis=-1) / gaps.shape[-2]


def brier_score(probabilities: jax.Array, labels: jax.Array) -> jax.Array:
  """Brier score [*b] of items, in [0, 2], from class probabilities [*b, c] and labels [*b].

  Source: Brier 1950, Monthly Weather Review 78:1.
  """
  target = jax.nn.one_hot(labels, probabilities.shape[-1])
  return jnp.sum((probabilities - target) ** 2, axis=-1)


def logits(
  architecture: model_lib.Model, params: typing.StackedParams, inputs: typing.Array
) -> Float[np.ndarray, 'networks n c']:
  """Logits of networks on inputs [n, ...]; all 0 for an item where the output is not finite."""
  inputs = np.asarray(inputs, np.float32)
  return networks.in_chunks(
    lambda chunk: _logits(architecture, chunk, inputs), params, _NETWORKS_PER_CALL
  )


def log_probabilities(
  architecture: model_lib.Model, params: typing.StackedParams, inputs: typing.Array
) -> Float[np.ndarray, 'networks n c']:
  """Natural logarithms of class probabilities; uniform where the output is not finite."""
  return scipy.special.log_softmax(logits(architecture, params, inputs), axis=-1)


def outputs_on_probes(
  architecture: model_lib.Model, params: typing.StackedParams, inputs: typing.Array
) -> Float[np.ndarray, 'networks features']:
  """Function of each network as one vector: its centred logits on a few fixed items.

  Networks of one orbit have one vector, so that sets are compared without alignment. The logits of
  an item have mean 0, for a constant that is added to all of them changes no probability. At most
  256 of the inputs [n, ...] are taken, at even steps, for they may be sorted by class.
  """
  chosen = np.linspace(0, len(inputs) - 1, min(NUM_PROBES, len(inputs))).astype(int)
  found = logits(architecture, params, np.asarray(inputs, np.float32)[chosen])
  return (found - found.mean(axis=-1, keepdims=True)).reshape(len(found), -1)


@functools.partial(jax.jit, static_argnames='architecture')
def _logits(
  architecture: model_lib.Model, params: typing.StackedParams, inputs: jax.Array
) -> jax.Array:
  outputs = jax.vmap(architecture.apply, (0, None))(params, inputs)
  finite = jnp.all(jnp.isfinite(outputs), axis=-1, keepdims=True)
  return jnp.where(finite, outputs, 0.0)


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
